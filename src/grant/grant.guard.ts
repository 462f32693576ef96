import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { InvalidInputError, ResourceNotFoundError } from '../common/errors.ts';
import { GRANTED, type GrantedRule } from '../common/security.ts';
import { isResourceId } from './grant.dto.ts';
import { GrantService } from './grant.service.ts';

/** Resources that one request may name in a field. */
const MAX_NAMED = 100;

/**
 * Every value that a field has, wherever a request can say it: no route can be told one and guarded by another. In a body
 * that is a list, either no entry has the field or each of them: one that lacks it has `undefined`.
 */
function valuesOf({ params, query, body }: FastifyRequest, field: string): unknown[] {
  const ofPart = (part: unknown): unknown[] => {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, field)) return [];
    const value = (part as Record<string, unknown>)[field];
    // A list names several; an empty one names none, which is no way around.
    return Array.isArray(value) && value.length > 0 ? (value as unknown[]) : [value];
  };
  const ofBody = Array.isArray(body) ? body.map(ofPart) : [ofPart(body)];
  const isLacking = ofBody.some(({ length }) => length > 0) && ofBody.some(({ length }) => length === 0);
  return [...ofPart(params), ...ofPart(query), ...ofBody.flat(), ...(isLacking ? [undefined] : [])];
}

/** A resource's id as grants have it; numbers are written out. */
function idOf(value: unknown, field: string): string {
  const text = Number.isSafeInteger(value) ? String(value) : value;
  if (isResourceId(text)) return text;
  throw new InvalidInputError([{ field, messages: ['must be an id'] }]);
}

/** The ids that a request names in a field, each once. @throws InvalidInputError */
function idsOf(request: FastifyRequest, field: string): Set<string> {
  const ids = new Set<string>();
  for (const value of valuesOf(request, field)) {
    ids.add(idOf(value, field));
    if (ids.size > MAX_NAMED) {
      throw new InvalidInputError([{ field, messages: [`must name at most ${String(MAX_NAMED)}`] }]);
    }
  }
  if (ids.size === 0) throw new InvalidInputError([{ field, messages: ['must be given'] }]);
  return ids;
}

/** Closes routes that say `@Granted()` to channel users without the grant. Runs after the guard of tokens. */
@Injectable()
export class GrantGuard implements CanActivate {
  constructor(private readonly grants: GrantService) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const rules = Reflect.getMetadata(GRANTED, context.getHandler()) as readonly GrantedRule[] | undefined;
    if (!rules) return true;
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const { channelUser } = request;
    if (!channelUser) throw new Error('@Granted() on a route that is not on the partner plane');
    // All of them are read before the first is asked for: what is asked for and refused must have somebody who hears it.
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
