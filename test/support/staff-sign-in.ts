import { secret } from './secrets.ts';
import { unlessBusy } from './sign-ins.ts';

export interface StaffCredentials {
  readonly email: string;
  readonly password: string;
}

/**
 * Signs staff in at a server with a real clock. A busy machine may have no time to check the password, which answers
 * 503 and changes nothing; then this tries again.
 *
 * @param url the URL of the staff API's listener
 */
export function signInStaff(url: string, credentials: StaffCredentials): Promise<Response> {
  const body = JSON.stringify(credentials);
  const headers = { 'content-type': 'application/json' };
  return unlessBusy(() => fetch(`${url}/admin/session`, { method: 'POST', headers, body }));
}

/** @returns the bearer token that {@link signInStaff} obtains. @throws Error with the answer of a refused sign-in */
export async function staffTokenOf(url: string, credentials: StaffCredentials): Promise<string> {
  const answer = await signInStaff(url, credentials);
  const text = await answer.text();
  if (!answer.ok) throw new Error(`The sign-in was answered ${String(answer.status)}: ${text}`);
  return secret((JSON.parse(text) as { accessToken: string }).accessToken);
}
