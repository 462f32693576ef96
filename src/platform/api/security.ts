import { applyDecorators, createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import { ApiBearerAuth } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { PersonRequiredError } from '../common/errors.ts';
import type {
  Actor,
  CurrentChannelUser as ChannelUserPrincipal,
  CurrentStaff as StaffPrincipal,
  Role,
} from '../common/principal.ts';
import { SERVICE_ACCOUNT_KEY } from './openapi.decorators.ts';

export const PUBLIC = 'latchkey:public';
export const SCOPES = 'latchkey:scopes';
export const ANY_PARTNER = 'latchkey:any-partner';
export const SCOPE_DESCRIPTIONS = 'latchkey:scope-descriptions';
export const ROLE = 'latchkey:role';
export const GRANTED = 'latchkey:granted';
export const BEFORE_ENROLMENT = 'latchkey:before-enrolment';
export const SERVICE_ACCOUNTS = 'latchkey:service-accounts';

/** A channel user with this scope may introspect any channel user's token (RFC 7662). */
export const INTROSPECT_SCOPE = 'token:introspect';

/** Scopes that no route declares with {@link Scopes}, and their descriptions. */
export const BUILT_IN_SCOPES: Readonly<Record<string, string>> = {
  [INTROSPECT_SCOPE]: 'Look up the tokens of any channel user at /oauth2/introspect.',
};

/** Opens a route, or every route of a controller, to callers without a token. Everything else is closed. */
export const Public = (): MethodDecorator & ClassDecorator => SetMetadata(PUBLIC, true);

/** A scope and its description, see {@link describedScope}. */
export interface DescribedScope {
  readonly name: string;
  readonly description: string;
}

const SCOPE = /^[a-z][a-z0-9_-]{0,63}(:[a-z][a-z0-9_-]{0,63})?$/;

/**
 * A scope that the catalogue and the console show with a description. Pass it to {@link Scopes}, which declares the
 * scope.
 *
 * @param name `name` or `name:name` in lower case, such as `calendar:write`
 * @param description one sentence for staff: what a partner with this scope may do
 */
export function describedScope(name: string, description: string): DescribedScope {
  if (!SCOPE.test(name)) throw new Error(`"${name}" is not a scope`);
  return { name, description };
}

/**
 * In the partner API: the token must have all of these scopes, else the answer is 403 `insufficient_scope`. This also
 * adds the scopes to the catalogue.
 *
 * @param scopes by name, or as {@link describedScope} makes them
 */
export const Scopes = (...scopes: (string | DescribedScope)[]): MethodDecorator & ClassDecorator =>
  applyDecorators(
    SetMetadata(
      SCOPES,
      scopes.map((scope) => (typeof scope === 'string' ? scope : scope.name)),
    ),
    SetMetadata(
      SCOPE_DESCRIPTIONS,
      scopes.filter((scope) => typeof scope !== 'string'),
    ),
  );

/**
 * On a partner route: any partner with a token may call it, whatever its scopes. The application does not start if a
 * partner route has neither this decorator nor {@link Scopes} nor {@link Public}.
 */
export const AnyPartner = (): MethodDecorator & ClassDecorator => SetMetadata(ANY_PARTNER, true);

/** A module's name for a type of resource, in grants and in the audit trail, such as `property` or `rate-plan`. */
export const RESOURCE_TYPE = /^[a-z][a-z0-9-]{0,31}$/;

/** What one {@link Granted} requires. */
export interface GrantedRule {
  readonly type: string;
  readonly field: string;
  readonly permission: string | undefined;
}

/**
 * In the partner API: the channel user must have been granted the resource that a field of the request names. If not,
 * the answer is 404, as for a resource that does not exist. If a module gave the type a parent with
 * `GrantService.viaParent()`, the grant of the parent counts. The field is read from the path, the query and the body.
 * If it occurs more than once, or is a list, every value must be granted. Several of these on a handler must all hold.
 *
 * @param type as staff grant it, such as `property`
 * @param field such as `propertyId`
 * @param permission that the grant must have; without one, any grant will do
 */
export const Granted =
  (type: string, field: string, permission?: string): MethodDecorator =>
  (_target, _key, descriptor: PropertyDescriptor) => {
    const handler = descriptor.value as object;
    const rules = (Reflect.getMetadata(GRANTED, handler) ?? []) as GrantedRule[];
    Reflect.defineMetadata(GRANTED, [{ type, field, permission }, ...rules], handler);
  };

/** In the staff API (`/admin/*`): the least role that may call this. Every route there must name one. */
export const Roles = (role: Role): MethodDecorator & ClassDecorator => SetMetadata(ROLE, role);

/** In the staff API: also open to staff who have not set up the required second factor yet. */
export const BeforeEnrolment = (): MethodDecorator & ClassDecorator => SetMetadata(BEFORE_ENROLMENT, true);

/**
 * In the staff API: also open to service accounts that have the role. Without this decorator a route is for people only,
 * and a service account gets 403 `session.person-required`, whatever its role.
 */
export const OpenToServiceAccounts = (): MethodDecorator & ClassDecorator =>
  applyDecorators(SetMetadata(SERVICE_ACCOUNTS, true), ApiBearerAuth(SERVICE_ACCOUNT_KEY));

/** Parameter: the channel user whose token opened the route. */
export const CurrentChannelUser = createParamDecorator(
  (_: unknown, context: ExecutionContext): ChannelUserPrincipal => {
    const { channelUser } = context.switchToHttp().getRequest<FastifyRequest>();
    if (!channelUser) throw new Error('@CurrentChannelUser() on a route that is not in the partner API');
    return channelUser;
  },
);

/** Parameter: the staff member whose session opened the route. A service account gets `session.person-required`. */
export const CurrentStaff = createParamDecorator((_: unknown, context: ExecutionContext): StaffPrincipal => {
  const { staff, serviceAccount } = context.switchToHttp().getRequest<FastifyRequest>();
  if (serviceAccount) throw new PersonRequiredError();
  if (!staff) throw new Error('@CurrentStaff() on a route that is not in the staff API');
  return staff;
});

/** Parameter: the role of the staff member or service account that calls. */
export const CallerRole = createParamDecorator((_: unknown, context: ExecutionContext): Role => {
  const { staff, serviceAccount } = context.switchToHttp().getRequest<FastifyRequest>();
  const caller = staff ?? serviceAccount;
  if (!caller) throw new Error('@CallerRole() on a route that is not in the staff API');
  return caller.role;
});

/** The staff member or service account of a request, as the actor of the changes that the request makes. */
export function actorOf(
  request: FastifyRequest,
  staff: (Pick<StaffPrincipal, 'id' | 'name' | 'role'> & { session: { id: string } }) | undefined = request.staff,
): Actor {
  const { serviceAccount } = request;
  const [type, caller, session] = staff
    ? (['staff', staff, staff.session] as const)
    : (['service-account', serviceAccount, serviceAccount?.key] as const);
  if (!caller || !session) throw new Error('A change was attempted on a route outside the staff API');
  return {
    type,
    id: caller.id,
    name: caller.name,
    address: request.clientAddress ?? null,
    requestId: request.id,
    session: { id: session.id, role: caller.role },
  };
}

/** Parameter: who makes the change, for the audit trail. */
export const CurrentActor = createParamDecorator((_: unknown, context: ExecutionContext): Actor =>
  actorOf(context.switchToHttp().getRequest<FastifyRequest>()),
);
