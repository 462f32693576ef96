import { type ArgumentMetadata, applyDecorators, Injectable, type PipeTransform } from '@nestjs/common';
import { plainToInstance, Transform } from 'class-transformer';
import { isEmail, IsInt, Max, Min, ValidateBy, ValidateIf, type ValidationError, validateSync } from 'class-validator';
import { type FieldError, InvalidInputError } from '../common/errors.ts';
import { NIL_UUID, UUID_PATTERN } from '../common/uuid.ts';

/** The field may be absent. Unlike `@IsOptional()`, this does not accept `null`. */
export const MayBeAbsent = (): PropertyDecorator => ValidateIf((_, value) => value !== undefined);

/** The field may be absent or `null`, which clears it. */
export const MayBeNull = (): PropertyDecorator => ValidateIf((_, value) => value !== undefined && value !== null);

const codePoints = (text: string): number => {
  let count = 0;
  for (const _ of text) count++;
  return count;
};

/**
 * Text for people: no control characters (PostgreSQL refuses NUL), well-formed Unicode, and not only spaces.
 *
 * @param min and max in code points
 * @param lines whether line breaks and tabs are allowed
 */
export const isPlainText = (value: unknown, min: number, max: number, lines = false): value is string =>
  typeof value === 'string' &&
  // A code point has at most two code units.
  value.length <= 2 * max &&
  value.isWellFormed() &&
  !(lines ? /(?![\n\r\t])\p{Cc}/u : /\p{Cc}/u).test(value) &&
  codePoints(value) >= min &&
  codePoints(value) <= max &&
  (min === 0 || value.trim() !== '');

/** Composes characters (NFC) and removes surplus spaces, so that texts that look the same are the same. */
export function tidied(text: string): string {
  const spaced = text.normalize('NFC').replaceAll(/\p{Zs}+/gu, ' ');
  return spaced.slice(spaced.startsWith(' ') ? 1 : 0, spaced.length > 1 && spaced.endsWith(' ') ? -1 : undefined);
}

/** Replaces a text by what {@link tidied} makes of it. */
export const Tidied = (): PropertyDecorator =>
  Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? tidied(value) : value));

/** A name or another line that people type: {@link isPlainText} without line breaks, after {@link tidied}. */
export const IsName = (min: number, max: number): PropertyDecorator => applyDecorators(Tidied(), IsPlainText(min, max));

/**
 * The field must satisfy {@link isPlainText}.
 *
 * @param each whether the field is a list of such texts
 */
export function IsPlainText(min: number, max: number, { lines = false, each = false } = {}): PropertyDecorator {
  const rule = {
    name: 'isPlainText',
    validator: {
      validate: (value: unknown) => isPlainText(value, min, max, lines),
      defaultMessage: () =>
        `${each ? 'each ' : ''}must be text of ${String(min)} to ${String(max)} characters without control ` +
        `characters${min > 0 ? ', not blank' : ''}`,
    },
  };
  return ValidateBy(rule, { each });
}

/** An e-mail address of at most 254 characters (RFC 5321 §4.5.3.1.3). The domain may lack a dot, as in a company. */
export const IsEmailAddress = (): PropertyDecorator =>
  applyDecorators(
    Tidied(),
    ValidateBy({
      name: 'isEmailAddress',
      validator: {
        validate: (value: unknown) =>
          typeof value === 'string' &&
          value.length <= 254 &&
          value.isWellFormed() &&
          !/\p{Cc}/u.test(value) &&
          isEmail(value, { require_tld: false }),
        defaultMessage: () => 'must be an e-mail address of at most 254 characters',
      },
    }),
  );

const DATE_TIME = /^(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d)(?::(\d\d)(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:\d\d)$/;

/** Whether a value is an ISO 8601 date and time with a zone, on a day that exists, in the years 1 to 9999. */
function isDateTime(value: unknown): boolean {
  const parts = typeof value === 'string' ? DATE_TIME.exec(value) : null;
  if (!parts || typeof value !== 'string') return false;
  const [year, month, day] = parts.slice(1, 4).map(Number) as [number, number, number];
  const date = new Date(value);
  const lastDay = new Date(Date.UTC(2000 + (year % 400), month, 0)).getUTCDate();
  return (
    !Number.isNaN(date.getTime()) &&
    year >= 1 &&
    day <= lastDay &&
    date.getUTCFullYear() >= 1 &&
    date.getUTCFullYear() <= 9999
  );
}

/** A point in time: ISO 8601 with its zone. */
export const IsDateTime = (): PropertyDecorator =>
  ValidateBy({
    name: 'isDateTime',
    validator: {
      validate: isDateTime,
      defaultMessage: () => 'must be an ISO 8601 date and time with a time zone, such as 2030-01-31T00:00:00Z',
    },
  });

/** A whole number in a query string. */
export function IsQueryInteger(min: number, max: number): PropertyDecorator {
  const message = `must be a whole number from ${String(min)} to ${String(max)}`;
  return applyDecorators(
    Transform(({ value }: { value: unknown }) =>
      typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value,
    ),
    IsInt({ message }),
    Min(min, { message }),
    Max(max, { message }),
  );
}

function fieldErrors(errors: ValidationError[], path = ''): FieldError[] {
  return errors.flatMap(({ property, constraints, children }) => {
    const field = path === '' ? property : `${path}.${property}`;
    // class-validator starts its own messages with the property's name.
    const messages = Object.entries(constraints ?? {}).map(([rule, message]) =>
      rule === 'whitelistValidation' ? 'is not a known field' : message.replace(`${property} `, ''),
    );
    return [
      ...(messages.length > 0 ? [{ field, messages: [...new Set(messages)] }] : []),
      ...fieldErrors(children ?? [], field),
    ];
  });
}

/** A class whose decorators are validation rules. */
export type Dto<T extends object = object> = new () => T;

/** Levels of a body. No valid request has more than a few, and class-transformer and class-validator recurse. */
const MAX_DEPTH = 16;
/** Fields of an object. class-transformer compares each name with all others. */
const MAX_FIELDS = 100;
/** Entries of a list. class-validator compares each entry that must be unique with all others. */
const MAX_ENTRIES = 2_000;
/** Values of all kinds in a whole body, lists and objects included. Each one is copied and validated. */
const MAX_VALUES = 20_000;
/** Fields of a list whose errors are reported. The rest of a long list usually has the same errors. */
const MAX_LIST_ERRORS = 50;

/** @returns the limit of size that a value exceeds, if any; must run before anything recurses into the value */
function excessOf(value: object): string | undefined {
  let level: object[] = [value];
  let values = 0;
  for (let depth = 0; level.length > 0; depth++) {
    if (depth > MAX_DEPTH) return 'must be nested less deeply';
    const deeper: object[] = [];
    for (const each of level) {
      const children: unknown[] = Object.values(each);
      values += children.length;
      if (values > MAX_VALUES) return `must have at most ${String(MAX_VALUES)} values`;
      if (Array.isArray(each)) {
        if (each.length > MAX_ENTRIES) return `must have at most ${String(MAX_ENTRIES)} entries in a list`;
      } else if (children.length > MAX_FIELDS) {
        return `must have at most ${String(MAX_FIELDS)} fields`;
      }
      for (const child of children) if (typeof child === 'object' && child !== null) deeper.push(child);
    }
    level = deeper;
  }
  return undefined;
}

/** Makes a DTO of what a client sent. @returns the DTO, and every field that is unknown or breaks a rule */
export function toDto<T extends object>(input: unknown, dto: Dto<T>): { value: T; errors: FieldError[] } {
  const refused = (message: string) => ({ value: new dto(), errors: [{ field: '', messages: [message] }] });
  if (typeof input !== 'object' || input === null || Array.isArray(input) || Buffer.isBuffer(input)) {
    return refused('must be a JSON object');
  }
  const excess = excessOf(input);
  if (excess !== undefined) return refused(excess);
  const value = plainToInstance(dto, input, { exposeUnsetFields: false });
  const errors = validateSync(value, {
    whitelist: true,
    forbidNonWhitelisted: true,
    forbidUnknownValues: true,
    stopAtFirstError: false,
  });
  // class-transformer leaves out names that an object inherits, so the whitelist does not see them.
  const inherited = Object.keys(input).filter((key) => !Object.hasOwn(value, key));
  return {
    value,
    errors: [...fieldErrors(errors), ...inherited.map((field) => ({ field, messages: ['is not a known field'] }))],
  };
}

/**
 * A list of DTOs, for {@link ListBody}.
 *
 * @param unique a field that no two entries may share
 * @throws InvalidInputError whose fields begin with the index of the entry, from 0
 */
export function validatedList<T extends object>(
  input: unknown,
  dto: Dto<T>,
  { max, unique }: { max: number; unique?: (keyof T & string) | undefined },
): T[] {
  const refused = (message: string) => new InvalidInputError([{ field: '', messages: [message] }]);
  if (!Array.isArray(input)) throw refused('must be a JSON list');
  if (input.length === 0) throw refused('must have at least one entry');
  if (input.length > max) throw refused(`must have at most ${String(max)} entries`);
  const excess = excessOf(input);
  if (excess !== undefined) throw refused(excess);
  const found: FieldError[] = [];
  const places = new Map<unknown, number>();
  const values: T[] = [];
  for (const [i, entry] of input.entries()) {
    const { value, errors } = toDto(entry, dto);
    values.push(value);
    found.push(...errors.map(({ field, messages }) => ({ field: pathOf(i, field), messages })));
    if (unique !== undefined && !errors.some(({ field }) => field === unique || field === '')) {
      const first = places.get(value[unique]);
      if (first === undefined) places.set(value[unique], i);
      else found.push({ field: pathOf(i, unique), messages: [`must differ from that of entry ${String(first)}`] });
    }
    if (found.length >= MAX_LIST_ERRORS) break;
  }
  if (found.length > 0) throw new InvalidInputError(found.slice(0, MAX_LIST_ERRORS));
  return values;
}

const pathOf = (place: number, field: string): string => (field === '' ? String(place) : `${String(place)}.${field}`);

/**
 * Turns bodies and queries into their DTO, or answers 400 with every field that is unknown or breaks a rule. Unlike
 * Nest's own pipe, this one refuses a body that is not an object. A body that is a list needs `@ListBody()`.
 */
@Injectable()
export class DtoPipe implements PipeTransform {
  transform(value: unknown, { type, metatype }: ArgumentMetadata): unknown {
    if ((type !== 'body' && type !== 'query') || !metatype || metatype === Object || metatype === String) return value;
    const { value: dto, errors } = toDto(value === undefined ? {} : value, metatype as Dto);
    if (errors.length > 0) throw new InvalidInputError(errors);
    return dto;
  }
}

/** A path parameter that is a UUID. Any other text becomes the nil UUID, so that the feature answers its own 404. */
@Injectable()
export class UuidPipe implements PipeTransform {
  transform(value: string): string {
    // The nil UUID names nothing, so services need no branch for malformed ids.
    return UUID_PATTERN.test(value) ? value.toLowerCase() : NIL_UUID;
  }
}
