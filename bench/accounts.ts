import { createHash } from 'node:crypto';

/** The scopes of the measured accounts, a typical set. */
export const SCOPES = ['calendar:write', 'properties:read', 'properties:write'];

export const USERNAME_PREFIX = 'partner-';

/** From 1 to count. */
export const accountNumbers = (count: number): number[] => Array.from({ length: count }, (_, index) => index + 1);

/** The username of the n-th account, from 1 on. */
export const usernameOf = (n: number): string => `${USERNAME_PREFIX}${String(n)}`;

/** The password of the n-th account: a version 4 UUID, as Latchkey generates them, but predictable. */
export function passwordOf(n: number): string {
  const hex = createHash('md5')
    .update(`pw${String(n)}`)
    .digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20)}`;
}

/** The SQL expression that computes {@link passwordOf}. @param n an expression of type integer */
export function passwordSql(n: string): string {
  const part = (from: number, length: number): string =>
    `substr(md5('pw' || ${n}), ${String(from)}, ${String(length)})`;
  return `${part(1, 8)} || '-' || ${part(9, 4)} || '-4' || ${part(14, 3)} || '-a' || ${part(18, 3)} || '-' || ${part(21, 12)}`;
}

/** The body of `POST /generateToken`. */
export const signInForm = (n: number): string => `Username=${usernameOf(n)}&Password=${passwordOf(n)}`;

/** The body of a token request with client credentials (RFC 6749 §4.4.2, §2.3.1), for the same scopes. */
export const clientCredentialsForm = (n: number): string =>
  new URLSearchParams({
    grant_type: 'client_credentials',
    client_id: usernameOf(n),
    client_secret: passwordOf(n),
    scope: SCOPES.join(' '),
  }).toString();
