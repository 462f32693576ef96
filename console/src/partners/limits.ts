import type { Limits } from './partner-api.ts';
import { LIMIT_NAMES } from './partner-fields.tsx';

/** Compares two values. The order of a list does not matter, since the API stores lists as sets. */
export function isSame(one: unknown, other: unknown): boolean {
  const key = (value: unknown): string =>
    JSON.stringify(Array.isArray(value) ? [...(value as string[])].sort() : (value ?? null));
  return key(one) === key(other);
}

/** The fields that differ from `before`, as the body of a PATCH. */
export function changesOf(before: Limits, after: Limits): Partial<Limits> {
  return Object.fromEntries(
    LIMIT_NAMES.filter((name) => !isSame(before[name], after[name])).map((name) => [name, after[name] ?? null]),
  );
}
