import { noResponse, Problem, retryWords, SignedOutError } from './problem.ts';

/** A token of the person who signed in. It is kept in memory only. */
export interface Granted {
  readonly token: string;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number;
}

const REFUSED: Record<string, string> = {
  invalid_credentials:
    'Wrong username or password, or this address is not on your list. Try from your server’s network, or ask your contact.',
  account_suspended: 'The password is right, but the account is suspended. Ask your contact.',
  account_expired: 'The password is right, but the account has expired. Ask your contact.',
  credential_expired: 'This password has expired. Use the newest one that you were given, or ask your contact.',
};

function refusal(status: number, headers: Headers, description: string | undefined): string {
  const known = REFUSED[headers.get('error-code') ?? ''];
  if (known !== undefined) return known;
  if (status === 429) return `There were too many attempts. ${retryWords(headers)}`;
  if (status === 503) {
    return `The service cannot answer right now. ${retryWords(headers)} This says nothing about your password.`;
  }
  if (status === 400) return `The username or password is not valid. ${description ?? ''}`.trim();
  return 'Something went wrong on our side. Try again in a moment.';
}

/**
 * Signs in as any client does, but says that a person signs in: the sign-in is no first use of a new password, and the
 * token has no scopes.
 *
 * @throws Problem, SignedOutError if the person has left
 */
export async function requestToken(username: string, password: string, signal: AbortSignal): Promise<Granted> {
  const askedAt = Date.now();
  const response = await fetch('generateToken', {
    method: 'POST',
    headers: { accept: 'application/json', 'latchkey-client': 'partner-page' },
    body: new URLSearchParams({ Username: username, Password: password }),
    cache: 'no-store',
    credentials: 'omit',
    redirect: 'error',
    signal,
  }).catch(() => undefined);
  if (signal.aborted) throw new SignedOutError();
  if (!response) throw noResponse();
  const body = (await response.json().catch(() => ({}))) as {
    access_token?: string;
    expires_in?: number;
    error_description?: string;
  };
  if (response.ok && body.access_token !== undefined) {
    return { token: body.access_token, expiresAt: askedAt + (body.expires_in ?? 0) * 1000 };
  }
  throw new Problem(refusal(response.status, response.headers, body.error_description), response.status, undefined);
}
