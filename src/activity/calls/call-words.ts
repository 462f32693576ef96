import type { TokenRefusalReason } from '../../platform/common/token-refusal.ts';
import { CLIENT_GONE } from '../../platform/http/request-log.ts';
import { titleOf } from '../../platform/http/error.filter.ts';
import type { Explanation } from '../sign-in-log/sign-in-words.ts';

/** Why tokens are refused, in words for the partner itself. The answer to the call says less: a thief may read it. */
const REFUSALS: Record<TokenRefusalReason, Explanation> = {
  token_expired: {
    reason: 'The token had expired.',
    hint: 'Request the next token before this one ends: every answer says in Token-Expires-In how many seconds are left.',
  },
  token_revoked: {
    reason: 'The token was revoked before it expired.',
    hint: 'Request a new token. If you did not revoke it, ask your contact why.',
  },
  revoked_credential: {
    reason: 'The password that the token was obtained with was revoked.',
    hint: 'Request a new token with the newest password you were given.',
  },
  account_suspended: {
    reason: 'The account was suspended.',
    hint: 'Ask your contact why. Tokens that have not expired work again once the account is reactivated.',
  },
  account_expired: { reason: 'The account has expired.', hint: 'Ask your contact to extend it.' },
  address_not_allowed: {
    reason: 'The address is not on the list of addresses that your account may use.',
    hint: 'Call from an address on the list, or ask your contact to add the address of this system.',
  },
};

const CODES: Record<string, Explanation> = {
  'auth.insufficient-scope': {
    reason: 'The token lacks a scope that the call needs.',
    hint: 'The WWW-Authenticate header of the answer names the scope. Ask your contact for it, then request a new token.',
  },
  'auth.wrong-plane': {
    reason: 'The call went to the API for staff, which takes no token of a partner.',
    hint: 'Correct the path. The reference at /docs lists the calls that partners can make.',
  },
  'credential.wrong-password': {
    reason: 'The password in the request did not prove the right to the change.',
    hint: 'Send an active password of your account; to end a password, send that very one. Compare fingerprints at GET /me/credentials.',
  },
  'credential.too-many-attempts': {
    reason: 'Too many wrong passwords had been sent.',
    hint: 'Wait as long as the Retry-After header says, then send the right one.',
  },
  'credential.rotation-by-staff': {
    reason: 'The pending password was created by your contact, so only your contact can withdraw it.',
    hint: 'Sign in with the new password, or ask your contact. If it has leaked, report it at POST /credentials/report-leaked.',
  },
  'credential.rotation-pending': {
    reason: 'A new password is waiting for its first use, and only one can wait at a time.',
    hint: 'Sign in with it. If you have lost it, withdraw it if you created it yourself, or ask your contact for a new link.',
  },
  'credential.not-pending': {
    reason: 'The password no longer waits for its first use, so it could not be withdrawn.',
    hint: 'Read GET /me/credentials: the password was used, has ended or was replaced meanwhile.',
  },
  'credential.last-active': {
    reason: 'The password is the last one that your software is known to use, so it could not be ended.',
    hint: 'Sign in with a new password first. If this one has leaked, report it at POST /credentials/report-leaked.',
  },
  'credential.too-many': {
    reason: 'The account has as many passwords as it can have.',
    hint: 'End one that you no longer use, then try again.',
  },
  'credential.self-service-off': {
    reason: 'Your account may not create passwords by itself.',
    hint: 'Ask your contact for a new password.',
  },
  'resource.not-found': {
    reason: 'There is no such resource, or it is not granted to your account.',
    hint: 'Check the id. If it is right, ask your contact to grant you the resource.',
  },
  'request.invalid': {
    reason: 'The request was not valid.',
    hint: 'The answer lists the fields and what is wrong with them. Compare the request with the reference at /docs.',
  },
  'client.gone': {
    reason: 'The connection was closed before the answer was complete.',
    hint: 'Let your client wait longer for answers. A change may have been made: check before you repeat it.',
  },
};

const STATUSES: Record<number, Explanation> = {
  404: { reason: 'There is nothing with this id.', hint: 'Check the id that the call names.' },
  409: {
    reason: 'The request conflicts with the current state of the resource.',
    hint: 'Read the resource, then decide whether the change is still needed.',
  },
  412: { reason: 'The resource has changed since it was read.', hint: 'Read it again, then repeat the change.' },
  413: { reason: 'The request was too large.', hint: 'Send it in smaller parts.' },
  429: { reason: 'Too many calls were made.', hint: 'Wait as long as the Retry-After header says, then try again.' },
  503: {
    reason: 'The service could not answer at that moment.',
    hint: 'Try again after as many seconds as the Retry-After header says. A change may have been made: check first.',
  },
};

const REFUSED: Explanation = {
  reason: 'The call was refused.',
  hint: 'The `detail` of the answer says why. Compare the request with the reference at /docs.',
};
const FAILED: Explanation = {
  reason: 'The server failed.',
  hint: 'Try again. If it happens again, send the request id to your contact.',
};

/** What happened to a refused or failed call, and what the partner can do about it. */
export function explainCall({ reason, code, status }: CallProblem): Explanation {
  return (
    (Object.hasOwn(REFUSALS, reason) ? REFUSALS[reason as TokenRefusalReason] : undefined) ??
    CODES[code ?? ''] ??
    STATUSES[status] ??
    (status < 500 ? REFUSED : FAILED)
  );
}

interface CallProblem {
  readonly reason: string;
  readonly code: string | null;
  readonly status: number;
}

/** The title of the answer. A client that has gone got none, and its status has no name of its own. */
export const titleOfCall = (status: number): string =>
  status === CLIENT_GONE ? 'Client Closed Request' : titleOf(status);
