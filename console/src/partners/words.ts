import type { Activity, ChannelUserStatus, Credential } from './partner-api.ts';

/** The API's states in words for staff. */
export const STATUS_WORDS: Record<ChannelUserStatus, string> = {
  active: 'Active',
  suspended: 'Suspended',
  expired: 'Expired',
};

/** The API's states of a password in words for staff. */
export const CREDENTIAL_STATUS_WORDS: Record<Credential['status'], string> = {
  active: 'Works',
  pending: 'Works, not used yet',
  expired: 'Expired',
  revoked: 'Revoked',
  withdrawn: 'Withdrawn unused',
};

interface Reason {
  readonly words: string;
  /** What staff can do about it. */
  readonly advice?: string;
}

const REASONS: Record<string, Reason> = {
  wrong_password: {
    words: 'Wrong password',
    advice:
      'Ask the partner for the fingerprint of its password and compare it with those under Passwords, or create a new password.',
  },
  revoked_credential: {
    words: 'Used a revoked password',
    advice:
      'One of the partner’s systems still uses an old password. If the partner has lost the current one, create a new one.',
  },
  address_not_allowed: {
    words: 'Called from an address outside its allow-list',
    advice: 'If the address belongs to the partner, add it to the allow-list.',
  },
  account_suspended: { words: 'The partner is suspended', advice: 'Reactivate the partner to let it call again.' },
  account_expired: { words: 'The account has expired', advice: 'Set a later expiry for the account.' },
  credential_expired: { words: 'The password has expired', advice: 'Create a new password.' },
  no_proof: {
    words: 'Tried to change its passwords with one that does not prove the right to do so',
    advice: 'A new password is created with an active one, and a password is ended with itself.',
  },
  not_checked: {
    words: 'The password was not checked',
    advice:
      'The password may be right. Too many imported passwords were waiting, or too many wrong ones came before. The partner can try again.',
  },
  password_too_long: {
    words: 'The password is longer than 72 bytes and was imported as a bcrypt hash',
    advice: 'bcrypt ignores everything after 72 bytes, so the password cannot be checked. Create a new one.',
  },
  issuance_limit: {
    words: 'Requested more tokens than allowed in a minute',
    advice: 'The partner should reuse a token until it expires. Raise the limit only if it needs more.',
  },
  invalid_scope: {
    words: 'Requested a scope that it does not have',
    advice: 'If the partner should have this scope, add it under Account.',
  },
};

/** The true reason of a refusal in words. A reason that this console does not know is shown as the API names it. */
export function reasonOf(reason: string | null): Reason {
  if (reason === null) return { words: 'Refused' };
  return REASONS[reason] ?? { words: reason.replaceAll('_', ' ') };
}

/** The outcome of a sign-in in words. */
export function outcomeOf({ outcome, reason, errorCode }: Activity): Reason {
  if (outcome === 'token') {
    if (reason === 'partner_page') return { words: 'Signed in on the partner’s page' };
    return reason === 'legacy_query'
      ? {
          words: 'Got a token, but sent its password in the URL',
          advice: 'Ask the partner to send the password in the form body, because URLs end up in logs.',
        }
      : { words: 'Got a token' };
  }
  const found = reasonOf(reason);
  const isHeldOff = errorCode === 'too_many_requests' && reason !== 'issuance_limit';
  return isHeldOff ? { ...found, words: `${found.words}, too many times` } : found;
}

const UNITS = [
  [86_400, 'day', 'days'],
  [3_600, 'hour', 'hours'],
  [60, 'minute', 'minutes'],
  [1, 'second', 'seconds'],
] as const;

/** A duration in its two largest units: 5400 seconds are "1 hour 30 minutes". */
export function durationOf(seconds: number): string {
  const parts: string[] = [];
  let rest = Math.max(0, Math.round(seconds));
  for (const [size, one, many] of UNITS) {
    const count = Math.floor(rest / size);
    if (count > 0) parts.push(`${count.toLocaleString()} ${count === 1 ? one : many}`);
    rest -= count * size;
  }
  return parts.length === 0 ? '0 seconds' : parts.slice(0, 2).join(' ');
}

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
