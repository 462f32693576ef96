import { isEmail } from 'class-validator';
import { isPlainText, tidied } from '../../platform/api/validation.ts';
import { type Role, ROLES } from '../../platform/common/principal.ts';

/** Claims of an ID token, and of the UserInfo endpoint where the ID token lacks them. */
export type Claims = Readonly<Record<string, unknown>>;

/** Groups of a person that are read. A token with more is truncated or not meant seriously. */
const MAX_GROUPS = 10_000;

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === 'object' && value !== null;

/**
 * Whether the provider has too many groups of a person for a token, and says so in `_claim_names` (OpenID Connect Core
 * §5.6.2), or with Microsoft's `hasgroups`, which says nothing of app roles.
 */
export function isTruncated({ _claim_names: elsewhere, hasgroups: hasGroups }: Claims, name: string): boolean {
  const hasMore = name === 'groups' && (hasGroups === true || hasGroups === 'true');
  return (isRecord(elsewhere) && Object.hasOwn(elsewhere, name)) || hasMore;
}

/**
 * The groups of a person.
 *
 * @returns nothing when the claim is absent, truncated or malformed
 */
export function groupsOf(claims: Claims, name: string): readonly string[] | undefined {
  if (isTruncated(claims, name) || !Object.hasOwn(claims, name)) return undefined;
  const value = claims[name];
  const groups: unknown[] = Array.isArray(value) ? value : [value];
  return groups.length <= MAX_GROUPS && groups.every((group) => typeof group === 'string') ? groups : undefined;
}

/** The highest role among the mapped groups, if there is any. */
export function roleOf(groups: readonly string[], roles: ReadonlyMap<string, Role>): Role | undefined {
  const ranks = groups.map((group) => roles.get(group)).filter((role) => role !== undefined);
  return ROLES.findLast((role) => ranks.includes(role));
}

/** The e-mail address of a person, by the rules of the API. */
export function emailOf({ email }: Claims): string | undefined {
  if (typeof email !== 'string') return undefined;
  const text = tidied(email);
  if (text.length > 254 || !text.isWellFormed() || /\p{Cc}/u.test(text)) return undefined;
  return isEmail(text, { require_tld: false }) ? text : undefined;
}

/** What to call a person: the first of these claims that can be a name, otherwise the e-mail address. */
export function nameOf({ name, preferred_username: username }: Claims, email: string): string {
  const texts = [name, username].map((text) => (typeof text === 'string' ? tidied(text) : ''));
  return texts.find((text) => isPlainText(text, 1, 200)) ?? email.slice(0, 200);
}

/** Whether a claim can be the `sub` of a person (OpenID Connect Core §2): 255 ASCII characters at most. */
export const isSubject = (value: unknown): value is string =>
  typeof value === 'string' && /^[\x20-\x7e]{1,255}$/.test(value);

/** Whether a claim can be the `sid` of a session. */
export const isSid = (value: unknown): value is string =>
  typeof value === 'string' && /^[\x20-\x7e]{1,255}$/.test(value);
