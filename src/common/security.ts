import { applyDecorators, createParamDecorator, type ExecutionContext, SetMetadata } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type {
  Actor,
  CurrentChannelUser as ChannelUserPrincipal,
  CurrentStaff as StaffPrincipal,
  Role,
} from './request-context.ts';

export const PUBLIC = 'latchkey:public';
export const SCOPES = 'latchkey:scopes';
export const SCOPE_DESCRIPTIONS = 'latchkey:scope-descriptions';
export const ROLE = 'latchkey:role';
export const GRANTED = 'latchkey:granted';
export const BEFORE_ENROLMENT = 'latchkey:before-enrolment';

/** Lets any channel user with it ask about any token (RFC 7662). */
export const INTROSPECT_SCOPE = 'token:introspect';

/** Scopes that no route asks for with {@link Scopes}, and what they are for. */
export const BUILT_IN_SCOPES: Readonly<Record<string, string>> = {
  [INTROSPECT_SCOPE]: 'Ask about the token of any channel user at /oauth2/introspect.',
};

/** Opens a route, or every route of a controller, to callers without a token. Everything else is closed. */
export const Public = (): MethodDecorator & ClassDecorator => SetMetadata(PUBLIC, true);

/** A scope with what it is for, see {@link describedScope}. */
export interface DescribedScope {
  readonly name: string;
  readonly description: string;
}

const SCOPE = /^[a-z][a-z0-9_-]{0,63}(:[a-z][a-z0-9_-]{0,63})?$/;

/**
 * A scope that the catalogue and the console show with a description. To be used in {@link Scopes}: that is what
 * declares it.
 *
 * @param name `name` or `name:name` in lower case, such as `calendar:write`
 * @param description one sentence for staff: what whoever has it may do
 */
export function describedScope(name: string, description: string): DescribedScope {
  if (!SCOPE.test(name)) throw new Error(`"${name}" is not a scope`);
  return { name, description };
}

/**
 * On the partner plane: the token must have all of these scopes, else 403 `insufficient_scope`. With that they are in
 * the catalogue.
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

/** As a module names its kinds of resources, in grants and in the audit trail: `property`, `rate-plan`. */
export const RESOURCE_TYPE = /^[a-z][a-z0-9-]{0,31}$/;

/** What {@link Granted} says. */
export interface GrantedRule {
  readonly type: string;
  readonly field: string;
  readonly permission: string | undefined;
}

/**
 * On the partner plane: the channel user must have been granted the resource that a field of the request names, else
 * 404, the same as for one that does not exist. Where a module said with `GrantService.through()` that resources of the
 * type are granted with others, those are looked at. The field is looked for in the path, the query and the body; where it
 * stands more than once, or is a list, every value must be granted. Several of these on a handler all count.
 *
 * @param type as staff grant it, such as `property`
 * @param field such as `propertyId`
 * @param permission that the grant must have; seeing needs none
 */
export const Granted =
  (type: string, field: string, permission?: string): MethodDecorator =>
  (_target, _key, descriptor: PropertyDescriptor) => {
    const handler = descriptor.value as object;
    const rules = (Reflect.getMetadata(GRANTED, handler) ?? []) as GrantedRule[];
    Reflect.defineMetadata(GRANTED, [{ type, field, permission }, ...rules], handler);
  };

/** On the staff plane (`/admin/*`): the least role that may call this. Every route there must say one. */
export const Roles = (role: Role): MethodDecorator & ClassDecorator => SetMetadata(ROLE, role);

/** On the staff plane: open as well to somebody who has yet to set up the second factor that is required of all. */
export const BeforeEnrolment = (): MethodDecorator & ClassDecorator => SetMetadata(BEFORE_ENROLMENT, true);

/** Parameter: the channel user whose token opened the route. */
export const CurrentChannelUser = createParamDecorator(
  (_: unknown, context: ExecutionContext): ChannelUserPrincipal => {
    const { channelUser } = context.switchToHttp().getRequest<FastifyRequest>();
    if (!channelUser) throw new Error('@CurrentChannelUser() on a route that is not on the partner plane');
    return channelUser;
  },
);

/** Parameter: the staff member whose session opened the route. */
export const CurrentStaff = createParamDecorator((_: unknown, context: ExecutionContext): StaffPrincipal => {
  const { staff } = context.switchToHttp().getRequest<FastifyRequest>();
  if (!staff) throw new Error('@CurrentStaff() on a route that is not on the staff plane');
  return staff;
});

/** The signed-in staff member of a request as the author of what it changes. */
export function actorOf(
  request: FastifyRequest,
  staff: Pick<StaffPrincipal, 'id' | 'name'> | undefined = request.staff,
): Actor {
  if (!staff) throw new Error('A change was attempted on a route that is not on the staff plane');
  return {
    type: 'staff',
    id: staff.id,
    name: staff.name,
    address: request.clientAddress ?? null,
    requestId: request.id,
  };
}

/** Parameter: who makes the change, for the audit trail. */
export const CurrentActor = createParamDecorator((_: unknown, context: ExecutionContext): Actor =>
  actorOf(context.switchToHttp().getRequest<FastifyRequest>()),
);
