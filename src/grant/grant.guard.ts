import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { InvalidInputError, ResourceNotFoundError } from '../common/errors.ts';
import { GRANTED, type GrantedRule } from '../common/security.ts';
import { isResourceId } from './grant.dto.ts';
import { GrantService } from './grant.service.ts';

/** Every value that a field has, wherever a request can say it: no route can be told one and guarded by another. */
function valuesOf(request: FastifyRequest, field: string): unknown[] {
  return [request.params, request.query, request.body].flatMap((part) => {
    if (typeof part !== 'object' || part === null || !Object.hasOwn(part, field)) return [];
    const value = (part as Record<string, unknown>)[field];
    // A list names several; an empty one names none, which is no way around.
    return Array.isArray(value) && value.length > 0 ? (value as unknown[]) : [value];
  });
}

/** A resource's id as grants have it; numbers are written out. */
function idOf(value: unknown, field: string): string {
  const text = Number.isSafeInteger(value) ? String(value) : value;
  if (isResourceId(text)) return text;
  throw new InvalidInputError([{ field, messages: ['must be an id'] }]);
}

/** The ids that a request names in a field, each once. @throws InvalidInputError */
function idsOf(request: FastifyRequest, field: string): Set<string> {
  const values = valuesOf(request, field);
  if (values.length === 0) throw new InvalidInputError([{ field, messages: ['must be given'] }]);
  return new Set(values.map((value) => idOf(value, field)));
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
      for (const id of ids) {
        const permitted = this.grants.permits(channelUser.id, type, id, permission);
        if (permitted !== true) pending.push(this.#require(type, permitted));
      }
    }
    return pending.length === 0 ? true : Promise.all(pending).then(() => true);
  }

  async #require(type: string, permitted: boolean | Promise<boolean>): Promise<void> {
    if (!(await permitted)) throw new ResourceNotFoundError(type);
  }
}
