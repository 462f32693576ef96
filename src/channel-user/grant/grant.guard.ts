import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { InvalidInputError, ResourceNotFoundError } from '../../platform/common/errors.ts';
import { GRANTED, type GrantedRule } from '../../platform/api/security.ts';
import { isResourceId } from './grant.dto.ts';
import { GrantService } from './grant.service.ts';

/** Resources that one request may name in a field. */
const MAX_NAMED = 100;

/**
 * Every value of a field in path, query and body, so that a route cannot use another value than the guard checked. If
 * some entries of a list in the body have the field and others lack it, `undefined` is added, which is refused.
 */
function valuesOf({ params, query, body }: FastifyRequest, field: string): unknown[] {
  const ofPart = (part: unknown): unknown[] => {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, field)) return [];
    const value = (part as Record<string, unknown>)[field];
    // An empty list is returned as a value, which is refused, so that it does not bypass the check.
    return Array.isArray(value) && value.length > 0 ? (value as unknown[]) : [value];
  };
  const ofBody = Array.isArray(body) ? body.map(ofPart) : [ofPart(body)];
  const isLacking = ofBody.some(({ length }) => length > 0) && ofBody.some(({ length }) => length === 0);
  return [...ofPart(params), ...ofPart(query), ...ofBody.flat(), ...(isLacking ? [undefined] : [])];
}

/** The id of a resource as text; a whole number is converted. @throws InvalidInputError */
function idOf(value: unknown, field: string): string {
  const text = Number.isSafeInteger(value) ? String(value) : value;
  if (isResourceId(text)) return text;
  throw new InvalidInputError([{ field, messages: ['must be the id of a resource'] }]);
}

/** The distinct ids that a request names in a field. @throws InvalidInputError */
function idsOf(request: FastifyRequest, field: string): Set<string> {
  const ids = new Set<string>();
  for (const value of valuesOf(request, field)) {
    ids.add(idOf(value, field));
    if (ids.size > MAX_NAMED) {
      throw new InvalidInputError([{ field, messages: [`must name at most ${String(MAX_NAMED)} resources`] }]);
    }
  }
  if (ids.size === 0) throw new InvalidInputError([{ field, messages: ['must be given'] }]);
  return ids;
}

/** Refuses channel users without the grant on routes with `@Granted()`. Runs after the token guard. */
@Injectable()
export class GrantGuard implements CanActivate {
  constructor(private readonly grants: GrantService) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const rules = Reflect.getMetadata(GRANTED, context.getHandler()) as readonly GrantedRule[] | undefined;
    if (!rules) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const { channelUser } = request;
    if (!channelUser) throw new Error('@Granted() on a route that is not in the partner API');
    // Reads all ids before the first check, so that an invalid id does not leave an unhandled rejection behind.
    const asked = rules.map((rule) => ({ ...rule, ids: idsOf(request, rule.field) }));
    const pending: Promise<void>[] = [];
    for (const { type, permission, ids } of asked) {
      const permitted = this.grants.permitsAll(channelUser.id, type, ids, permission);
      if (permitted !== true) pending.push(this.#require(type, permitted));
    }
    return pending.length === 0 ? true : Promise.all(pending).then(() => true);
  }

  async #require(type: string, permitted: boolean | Promise<boolean>): Promise<void> {
    if (!(await permitted)) throw new ResourceNotFoundError(type);
  }
}
