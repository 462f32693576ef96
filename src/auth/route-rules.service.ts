import { Injectable, type OnModuleInit } from '@nestjs/common';
import { DiscoveryService, Reflector } from '@nestjs/core';
import { OperatorError } from '../platform/common/operator-error.ts';
import { type ControllerRoute, controllerRoutes } from '../platform/api/controller-routes.ts';
import { ANY_PARTNER, GRANTED, PUBLIC, ROLE, SCOPES, SERVICE_ACCOUNTS } from '../platform/api/security.ts';
import { apiOfRoute } from '../platform/http/route-api.ts';

/** Some routes do not say who may call them, or say it in a contradictory way. */
class RouteRulesError extends OperatorError {}

/**
 * Refuses to start with a route that does not say who may call it. The guard would open such a route of the partner API
 * to every partner, and close one of the staff API to all staff.
 */
@Injectable()
export class RouteRules implements OnModuleInit {
  constructor(
    private readonly discovery: DiscoveryService,
    private readonly reflector: Reflector,
  ) {}

  /** @throws RouteRulesError with a line for each route */
  onModuleInit(): void {
    const faults = controllerRoutes(this.discovery).flatMap((route) => {
      const fault = this.#faultOf(route);
      return fault === undefined ? [] : [`${route.method} ${route.path} (${route.controller.name}): ${fault}`];
    });
    if (faults.length > 0)
      throw new RouteRulesError(['Every route must declare who may call it:', ...faults].join('\n  '));
  }

  #faultOf({ path, controller, handler }: ControllerRoute): string | undefined {
    const says = (key: string): boolean =>
      [handler, controller].some((target) => this.reflector.get<unknown>(key, target) !== undefined);
    const isPublic = says(PUBLIC);
    const isStaff = apiOfRoute(path) === 'staff';
    if (says(GRANTED) && (isPublic || isStaff)) {
      return '@Granted() works for partners only: remove it, or remove @Public() or the path /admin.';
    }
    if (says(SERVICE_ACCOUNTS) && !isStaff) {
      return '@OpenToServiceAccounts() works under /admin only: remove it.';
    }
    if (isPublic) return undefined;
    if (isStaff) {
      return says(ROLE) ? undefined : 'add @Roles() with the lowest staff role that may call it, or @Public().';
    }
    if (says(ROLE)) return '@Roles() works under /admin only: for partners use @Scopes().';
    const scopes = this.reflector.getAllAndMerge<string[]>(SCOPES, [handler, controller]);
    if (scopes.length > 0 || says(ANY_PARTNER)) return undefined;
    return (
      'add @Scopes() with the scopes that a partner needs, @AnyPartner() if any partner token will do, or ' +
      '@Public().'
    );
  }
}
