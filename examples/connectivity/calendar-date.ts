import { applyDecorators } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { ValidateBy } from 'class-validator';

const FORMS = /^(\d{4})-(\d\d)-(\d\d)(?:T00:00:00\.000\+00:00)?$/;
const MESSAGE = 'must be an existing day, as YYYY-MM-DD or YYYY-MM-DDT00:00:00.000+00:00';

function isDay(value: unknown): boolean {
  const parts = typeof value === 'string' ? FORMS.exec(value) : null;
  if (!parts) return false;
  const day = parts.slice(1, 4).join('-');
  const date = new Date(`${day}T00:00:00Z`);
  return !day.startsWith('0000') && !Number.isNaN(date.getTime()) && date.toISOString().startsWith(day);
}

/** A day of a calendar, in either of the two forms that partners send; it becomes `YYYY-MM-DD`. */
export const IsCalendarDate = (): PropertyDecorator =>
  applyDecorators(
    ApiProperty({ example: '2030-01-31', description: 'Also accepted as `2030-01-31T00:00:00.000+00:00`.' }),
    Transform(({ value }: { value: unknown }) => (isDay(value) ? (value as string).slice(0, 10) : value)),
    ValidateBy({ name: 'isCalendarDate', validator: { validate: isDay, defaultMessage: () => MESSAGE } }),
  );
