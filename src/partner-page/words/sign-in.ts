import { second, type Text } from './text.ts';

/** What both the staff API and the partner's own API say of a sign-in. */
export interface SignInState {
  readonly id: string;
  readonly at: string;
  readonly address: string | null;
  readonly outcome: 'token' | 'refused';
  readonly errorCode: string | null;
  readonly requestId: string;
  readonly count: number;
}

/** The words for the true reason of a refusal, by the code of the API. */
const REASONS: Record<string, string> = {
  wrong_password: 'Wrong password',
  revoked_credential: 'Used a revoked password',
  address_not_allowed: 'Called from an address outside its allow-list',
  account_suspended: 'The partner is suspended',
  account_expired: 'The account has expired',
  credential_expired: 'The password has expired',
  no_proof: 'Tried to change its passwords with one that does not prove the right to do so',
  not_checked: 'The password was not checked',
  password_too_long: 'The password is longer than 72 bytes and was imported as a bcrypt hash',
  issuance_limit: 'Requested more tokens than allowed in a minute',
  invalid_scope: 'Requested a scope that it does not have',
};

/** The true reason of a refusal. A code that this page does not know is shown as the API names it. */
export function reasonWords(reason: string | null): string {
  if (reason === null) return 'Refused';
  return REASONS[reason] ?? reason.replaceAll('_', ' ');
}

/** The codes of a 429: to a sign-in, and to a change that a password has to prove. */
const TOO_MANY: readonly (string | null)[] = ['too_many_requests', 'credential.too-many-attempts'];

/** The outcome of a sign-in. @param reason the code of the true reason */
function outcomeWords({ outcome, errorCode }: SignInState, reason: string | null): string {
  if (outcome === 'token') {
    if (reason === 'partner_page') return 'Signed in on the partner’s page';
    return reason === 'legacy_query' ? 'Got a token, but sent its password in the URL' : 'Got a token';
  }
  const isHeldOff = TOO_MANY.includes(errorCode) && reason !== 'issuance_limit';
  return isHeldOff ? `${reasonWords(reason)}, too many times` : reasonWords(reason);
}

/** The outcome of a sign-in that may stand for several. */
export const signInTitle = (signIn: SignInState, reason: string | null): string =>
  outcomeWords(signIn, reason) +
  (signIn.count > 1 ? ` (${signIn.count.toLocaleString('en-GB')} times within a minute)` : '');

/** Where a sign-in came from, and what it was answered. @param more what only one of the two pages knows */
export function signInDetails(
  { address, outcome, errorCode, requestId }: SignInState,
  { userAgent = null, label }: { readonly userAgent?: string | null; readonly label?: string | undefined } = {},
): Text {
  return [
    address === null ? 'from an unknown address' : `from ${address}`,
    ...(userAgent === null ? [] : [` by ${userAgent}`]),
    ...(label === undefined ? [] : [` with “${label}”`]),
    ...(errorCode === null ? [] : [' · the partner received ', { code: errorCode }]),
    ...(outcome === 'refused' ? [' · request ', { request: requestId }] : []),
  ];
}

export const noSignIns = (isRefusedOnly: boolean): string =>
  isRefusedOnly ? 'No sign-in of this partner was refused.' : 'This partner has not tried to sign in yet.';

/** Joins successive equal successes into one entry. Each refusal stays an entry of its own. */
export function foldRuns<T extends SignInState>(
  signIns: readonly T[],
  isSame: (one: T, other: T) => boolean,
): (T & { run: T[] })[] {
  const entries: (T & { run: T[] })[] = [];
  for (const signIn of signIns) {
    const last = entries.at(-1);
    if (last?.outcome === 'token' && signIn.outcome === 'token' && isSame(last, signIn)) last.run.push(signIn);
    else entries.push({ ...signIn, run: [signIn] });
  }
  return entries;
}

/** One of several equal successes. */
export const runEntry = ({ at, requestId }: SignInState): Text => [second(at), ', request ', { request: requestId }];

/** What stands below the newest of several equal successes. @param older those before it, the newest first */
export function olderRun(older: readonly SignInState[]): Text {
  const oldest = older.at(-1);
  if (!oldest) return [];
  const times = older.length === 1 ? 'once' : `${older.length.toLocaleString('en-GB')} times`;
  return [`The same ${times} before, since `, second(oldest.at), '.'];
}
