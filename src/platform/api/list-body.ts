import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { ApiBody, ApiExtraModels, getSchemaPath } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { type Dto, validatedList } from './validation.ts';

const body = createParamDecorator((_: unknown, context: ExecutionContext): unknown => {
  return context.switchToHttp().getRequest<FastifyRequest>().body;
});

/**
 * Parameter: the body as a list of DTOs, with the same rules as a single one, and errors such as `3.date`. An empty or
 * too long list is 400. `@Body()` refuses every list, since it cannot know the class of the entries.
 *
 * @param dto the class of each entry
 * @param max the highest number of entries
 * @param unique a field that no two entries may share
 */
export function ListBody<T extends object>(
  dto: Dto<T>,
  { max, unique }: { max: number; unique?: keyof T & string },
): ParameterDecorator {
  const pipe = { transform: (value: unknown): T[] => validatedList(value, dto, { max, unique }) };
  return (target, key, index) => {
    body(undefined, pipe)(target, key, index);
    const descriptor = key === undefined ? undefined : Object.getOwnPropertyDescriptor(target, key);
    if (key === undefined || !descriptor) return;
    ApiExtraModels(dto)(target, key, descriptor);
    ApiBody({ schema: { type: 'array', minItems: 1, maxItems: max, items: { $ref: getSchemaPath(dto) } } })(
      target,
      key,
      descriptor,
    );
  };
}
