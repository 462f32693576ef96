import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { IsInt, IsUUID, Max, Min } from 'class-validator';
import { IsName } from '../../src/extend.ts';

/** An id of a property, a room or a rate plan. */
export const ResourceId = (): PropertyDecorator =>
  applyDecorators(ApiProperty({ format: 'uuid' }), IsUUID('all', { message: 'must be a UUID' }));

export function WholeNumber(minimum: number, maximum: number): PropertyDecorator {
  const message = `must be a whole number from ${String(minimum)} to ${String(maximum)}`;
  return applyDecorators(
    ApiProperty({ type: 'integer', minimum, maximum }),
    IsInt({ message }),
    Min(minimum, { message }),
    Max(maximum, { message }),
  );
}

/** Of a property, a room or a rate plan. */
export const DisplayName = (): PropertyDecorator => applyDecorators(ApiProperty({ maxLength: 100 }), IsName(1, 100));
