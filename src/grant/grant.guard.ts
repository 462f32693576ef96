import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { InvalidInputError, ResourceNotFoundError } from '../common/errors.ts';
import { GRANTED, type GrantedRule } from '../common/security.ts';
import { MAX_RESOURCE_ID } from './grant.dto.ts';
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
  if (typeof text === 'string' && text !== '' && text.length <= MAX_RESOURCE_ID && !/\p{Cc}/u.test(text)) return text;
  throw new InvalidInputError([{ field, messages: ['must be an id'] }]);
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
    const pending: Promise<void>[] = [];
    for (const { type, field, permission } of rules) {
      const values = valuesOf(request, field);
      if (values.length === 0) throw new InvalidInputError([{ field, messages: ['must be given'] }]);
      for (const id of new Set(values.map((value) => idOf(value, field)))) {
        const permitted = this.grants.permits(channelUser.id, type, id, permission);
        if (permitted === true) continue;
        if (permitted === false) throw new ResourceNotFoundError(type);
        pending.push(
          permitted.then((isPermitted) => {
            if (!isPermitted) throw new ResourceNotFoundError(type);
          }),
        );
      }
    }
    return pending.length === 0 ? true : Promise.all(pending).then(() => true);
  }
}
