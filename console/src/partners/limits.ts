import type { Limits } from './partner-api.ts';
import { durationOf } from './words.ts';

/** The names of what staff may change, in the order they are shown in. */
export const LIMIT_WORDS: Record<keyof Limits, string> = {
  displayName: 'Display name',
  contactEmail: 'Contact e-mail',
  scopes: 'Scopes',
  allowedIps: 'Allowed addresses',
  tokenTtlSeconds: 'A token works for',
  tokensPerMinute: 'Tokens per minute',
  expiresAt: 'Account ends',
  notes: 'Notes',
};

export const LIMIT_NAMES = Object.keys(LIMIT_WORDS) as (keyof Limits)[];

/** Lists are the same whatever their order: the API keeps sets. */
export function isSame(one: unknown, other: unknown): boolean {
  const key = (value: unknown): string =>
    JSON.stringify(Array.isArray(value) ? [...(value as string[])].sort() : (value ?? null));
  return key(one) === key(other);
}

/** What differs from `before`: the body of a change. */
export function changesOf(before: Limits, after: Limits): Partial<Limits> {
  return Object.fromEntries(
    LIMIT_NAMES.filter((name) => !isSame(before[name], after[name])).map((name) => [name, after[name] ?? null]),
  );
}

const date = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** A value as one reads it in a sentence. */
export function shownAs(name: keyof Limits, value: Limits[keyof Limits] | undefined): string {
  if (Array.isArray(value)) return value.length > 0 ? value.join(', ') : name === 'scopes' ? 'none' : 'anywhere';
  if (value === null || value === undefined || value === '') return name === 'expiresAt' ? 'never' : 'empty';
  if (name === 'tokenTtlSeconds') return durationOf(Number(value));
  if (name === 'expiresAt') return date.format(new Date(value));
  return String(value);
}
