import type { Activity, ChannelUserStatus } from './partner-api.ts';

export { durationOf } from '../../../src/partner-page/words/time.ts';

/** The API's states in words for staff. */
export const STATUS_WORDS: Record<ChannelUserStatus, string> = {
  active: 'Active',
  suspended: 'Suspended',
  expired: 'Expired',
};

/** What staff can do about a sign-in, by the code of its true reason. */
const ADVICE: Record<string, string> = {
  wrong_password:
    'Ask the partner for the fingerprint of its password and compare it with those under Passwords, or create a new password.',
  revoked_credential:
    'One of the partner’s systems still uses an old password. If the partner has lost the current one, create a new one.',
  address_not_allowed: 'If the address belongs to the partner, add it to the allow-list.',
  account_suspended: 'Reactivate the partner to let it call again.',
  account_expired: 'Set a later expiry for the account.',
  credential_expired: 'Create a new password.',
  no_proof: 'A new password is created with an active one, and a password is ended with itself.',
  not_checked:
    'The password may be right. Too many imported passwords were waiting, or too many wrong ones came before. The partner can try again.',
  password_too_long: 'bcrypt ignores everything after 72 bytes, so the password cannot be checked. Create a new one.',
  issuance_limit: 'The partner should reuse a token until it expires. Raise the limit only if it needs more.',
  invalid_scope: 'If the partner should have this scope, add it under Account.',
  legacy_query: 'Ask the partner to send the password in the form body, because URLs end up in logs.',
};

export const adviceOf = ({ reason }: Activity): string | undefined => ADVICE[reason ?? ''];

const NO_COMBINING_MARKS = /\p{M}/gu;

/** Derives a username from a display name: "Blué Channel, Ltd." becomes blue-channel-ltd. */
export function suggestUsername(displayName: string): string {
  return displayName
    .normalize('NFKD')
    .replace(NO_COMBINING_MARKS, '')
    .toLowerCase()
    .replace(/ß/g, 'ss')
    .replace(/&/g, ' and ')
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 64)
    .replace(/^-|-$/g, '');
}

/** Quotes a text for a POSIX shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** A command that gets a token through `/generateToken`, for the partner to paste. */
export const curlOf = (origin: string, username: string, password: string): string =>
  `curl -s ${origin}/generateToken \\\n  --data-urlencode ${quoted(`Username=${username}`)} \\\n  --data-urlencode ${quoted(`Password=${password}`)}`;

/** A command that gets a token through OAuth (RFC 6749 §4.4), for the partner to paste. */
export const oauthCurlOf = (origin: string, username: string, password: string): string =>
  `curl -s ${origin}/oauth2/token \\\n  -u ${quoted(`${encodeURIComponent(username)}:${encodeURIComponent(password)}`)} \\\n  -d grant_type=client_credentials`;

export const countOf = (count: number, one: string, many: string): string =>
  `${count.toLocaleString()} ${count === 1 ? one : many}`;
