import { DiscoveryService, ModulesContainer } from '@nestjs/core';
import { randomUUID } from 'node:crypto';
import { controllerRoutes } from '../../src/platform/api/controller-routes.ts';
import { GRANTED, type GrantedRule, SCOPES } from '../../src/platform/api/security.ts';
import type { Answer, PartnerWithToken, TestApp } from './app.ts';

interface GrantedRoute {
  readonly method: string;
  /** The path, with `:name` for parameters. */
  readonly path: string;
  readonly rules: readonly GrantedRule[];
  readonly scopes: readonly string[];
}

/** Creates resources of one type. */
export interface ResourceFactory {
  /** Creates a resource. @returns its id */
  readonly create: () => Promise<string>;
  /** For a type that is granted through another type: that type, and the id of the other resource. */
  readonly grantedWith?: { readonly type: string; readonly idOf: (id: string) => Promise<string> };
}

/** Every route of the running application that has `@Granted()`. */
export function grantedRoutes({ app }: TestApp): GrantedRoute[] {
  const said = <T>(key: string, target: object): T | undefined => Reflect.getMetadata(key, target) as T | undefined;
  return controllerRoutes(new DiscoveryService(app.nest.get(ModulesContainer))).flatMap((route) => {
    const { method, path, controller, handler } = route;
    const rules = said<GrantedRule[]>(GRANTED, handler);
    const scopes = [handler, controller].flatMap((target) => said<string[]>(SCOPES, target) ?? []);
    return rules ? [{ method, path, rules, scopes }] : [];
  });
}

/** The parts of an answer that must be equal for all refusals. */
const comparable = ({ status, headers, text }: Answer): unknown => ({
  status,
  headers: [...headers.keys()].sort(),
  body: text.replace(/"requestId":"[^"]+"/, ''),
});

/**
 * Tries every route that has `@Granted()`, for every resource that it asks for. Expects one and the same 404 without a
 * grant, without the permission, with another resource's grant and with an unknown id, and not with the right grant.
 *
 * @param app the application with the modules to be tried
 * @param factories a factory for each resource type that a route asks for
 * @returns the routes that were tried
 */
export async function expectGrantsToHold(
  app: TestApp,
  factories: Readonly<Record<string, ResourceFactory>>,
): Promise<string[]> {
  const routes = grantedRoutes(app);
  const scopes = [...new Set(routes.flatMap((route) => route.scopes))];
  const factoryOf = (type: string): ResourceFactory => {
    const factory = factories[type];
    if (!factory) throw new Error(`A route asks for a grant of "${type}": say how one is created`);
    return factory;
  };

  async function grant(partner: PartnerWithToken, { type, permission }: GrantedRule, id: string): Promise<void> {
    const { grantedWith } = factoryOf(type);
    const resourceType = grantedWith?.type ?? type;
    const resourceIds = [grantedWith ? await grantedWith.idOf(id) : id];
    const permissions = permission === undefined ? [] : [permission];
    await app.grant(partner, { resourceType, resourceIds, permissions });
  }

  for (const { method, path, rules } of routes) {
    for (const rule of rules) {
      const route = `${method} ${path} (${rule.type})`;
      const partner = await app.asPartner({ scopes });
      const { create, grantedWith } = factoryOf(rule.type);
      const [mine, others] = [await create(), await create()];
      await grant(await app.asPartner(), rule, others);
      const further = new Map<string, string>();
      for (const other of rules.filter(({ field }) => field !== rule.field)) {
        const id = await factoryOf(other.type).create();
        await grant(partner, other, id);
        further.set(other.field, id);
      }
      const call = (id: string): Promise<Answer> => {
        const fields = new Map([...further, [rule.field, id]]);
        const query = new URLSearchParams([...fields].filter(([field]) => !path.includes(`:${field}`)));
        const url = path.replaceAll(/:(\w+)/g, (_, name: string) =>
          encodeURIComponent(fields.get(name) ?? randomUUID()),
        );
        return app.request(method, `${url}?${query.toString()}`, {
          token: partner.token,
          ...(method !== 'GET' && { json: {} }),
        });
      };

      const refused = await call(randomUUID());
      const problem = refused.status === 404 ? refused.json() : {};
      expect([route, refused.status, problem['code']]).toEqual([route, 404, 'resource.not-found']);
      const expectRefusal = async (why: string, id: string): Promise<void> => {
        expect([route, why, comparable(await call(id))]).toEqual([route, why, comparable(refused)]);
      };
      await expectRefusal('not granted', mine);
      await expectRefusal('granted to somebody else', others);
      if (rule.permission !== undefined) {
        await grant(partner, { ...rule, permission: undefined }, mine);
        await expectRefusal('granted without the permission', mine);
      }
      if (grantedWith) {
        await app.grant(partner, { resourceType: rule.type, resourceIds: [others] });
        await expectRefusal(`granted as ${rule.type}, which counts for nothing`, others);
      }
      await grant(partner, rule, mine);
      const opened = await call(mine);
      // The request lacks everything but the grant, so any answer but the 404 will do.
      expect([route, 'granted', opened.status === 404 ? opened.text : 'opens']).toEqual([route, 'granted', 'opens']);
      await expectRefusal('another one is granted', others);
    }
  }
  return routes.map(({ method, path }) => `${method} ${path}`);
}
