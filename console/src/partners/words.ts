import type { Activity, ChannelUserStatus } from './partner-api.ts';

/** What staff read for the API's words. */
export const STATUS_WORDS: Record<ChannelUserStatus, string> = {
  active: 'Active',
  suspended: 'Suspended',
  expired: 'Expired',
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
      'Ask for the fingerprint of the password it uses and compare it with those under Passwords, or make a new one.',
  },
  revoked_credential: {
    words: 'Used a revoked password',
    advice: 'One of its systems still has an old password. Make a new one if it lost the current one.',
  },
  address_not_allowed: {
    words: 'Called from an address outside its allow-list',
    advice: 'If the address is really the partner’s, add it to the allow-list.',
  },
  account_suspended: { words: 'The partner is suspended', advice: 'Reactivate the partner when it may call again.' },
  account_expired: { words: 'The account has expired', advice: 'Move the account’s expiry to a later day.' },
  credential_expired: { words: 'The password has expired', advice: 'Make a new password.' },
  issuance_limit: {
    words: 'Asked for more tokens a minute than it may have',
    advice: 'It should keep a token until it ends. Raise its limit only if it needs more.',
  },
  invalid_scope: { words: 'Asked for a scope that it does not have', advice: 'Grant the scope if it should have it.' },
};

/** The true reason of a refusal, in words. One that is new to this console is shown as it is. */
export function reasonOf(reason: string | null): Reason {
  if (reason === null) return { words: 'Refused' };
  return REASONS[reason] ?? { words: reason.replaceAll('_', ' ') };
}

/** What became of a sign-in, in words. */
export function outcomeOf({ outcome, reason, errorCode }: Activity): Reason {
  if (outcome === 'token') {
    return reason === 'legacy_query'
      ? {
          words: 'Got a token, but sent its password in the URL',
          advice: 'Ask the partner to send it in the form body: URLs end up in logs.',
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

/** A length of time in the two largest units that it has: 5400 is "1 hour 30 minutes". */
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

/** A username made of a display name: "Blué Channel, Ltd." is blue-channel-ltd. */
export function suggestUsername(displayName: string): string {
  return displayName
    .normalize('NFKD')
    .replace(NO_COMBINING_MARKS, '')
    .toLowerCase()
    .replace(/ß/g, 'ss')
    .replace(/&/g, ' and ')
    .replace(/[^a-z0-9]+/g, '-')
    .slice(0, 64)
    .replace(/^-+|-+$/g, '');
}

/** Quotes a text for a POSIX shell. */
const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** What the partner pastes to get its first token. The contract's own form. */
export const curlOf = (origin: string, username: string, password: string): string =>
  `curl -s ${origin}/generateToken \\\n  --data-urlencode ${quoted(`Username=${username}`)} \\\n  --data-urlencode ${quoted(`Password=${password}`)}`;

/** The same through OAuth (RFC 6749 §4.4). */
export const oauthCurlOf = (origin: string, username: string, password: string): string =>
  `curl -s ${origin}/oauth2/token \\\n  -u ${quoted(`${encodeURIComponent(username)}:${encodeURIComponent(password)}`)} \\\n  -d grant_type=client_credentials`;

export const countOf = (count: number, one: string, many: string): string =>
  `${count.toLocaleString()} ${count === 1 ? one : many}`;
