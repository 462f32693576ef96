import type { AuthProvider } from 'react-admin';
import { api, ApiError } from './api.ts';
import { hasUnsaved } from './leave-guard.tsx';
import type { Schemas, Session } from './types.ts';

let session: Promise<Session> | undefined;
/** Whether the API has answered that there is no session, so that signing out has none to end. */
let ended = false;
let lastSession: Session | undefined;
/** Where the person who signed out last can sign out of the identity provider as well. */
let endSessionUrl: string | undefined;

/** @returns the identity provider's page for signing out, after a sign-out from a session that it opened */
export const signOutElsewhere = (): string | undefined => endSessionUrl;

/** @returns the current session, loaded once until the next sign-in or sign-out. @throws ApiError 401 */
export function currentSession(): Promise<Session> {
  session ??= api<Session>('GET', '/admin/session').then(
    ({ data }) => {
      ended = false;
      lastSession = data;
      return data;
    },
    (error: unknown) => {
      session = undefined;
      ended = error instanceof ApiError && error.status === 401;
      throw error;
    },
  );
  return session;
}

/** @returns the session that the API returned last, even if it has ended */
export const lastKnownSession = (): Session | undefined => lastSession;

/** Makes the next {@link currentSession} ask the API again. */
export function forgetSession(): void {
  session = undefined;
}

/** @returns the session that was opened in another window. @throws ApiError 401 when there is none */
export function renewedSession(): Promise<Session> {
  forgetSession();
  ended = false;
  return currentSession();
}

export interface SignInFields {
  readonly email: string;
  readonly password: string;
  readonly code?: string | undefined;
}

/** How often a sign-in is sent while the server has no time to check the password. */
const ATTEMPTS = 4;
/** The longest `Retry-After` that a person is left waiting for without a word. */
const MAX_WAIT_SECONDS = 5;

/** Opens a session. A busy server answers 503 before it has checked the password, which changes nothing. */
async function openSession(json: object, attempts = ATTEMPTS): Promise<void> {
  try {
    await api('POST', '/admin/session', { json });
  } catch (error) {
    const seconds = error instanceof ApiError && error.status === 503 ? error.retryAfter : undefined;
    if (attempts === 1 || seconds === undefined || seconds > MAX_WAIT_SECONDS) throw error;
    await new Promise((resolve) => setTimeout(resolve, seconds * 1000));
    await openSession(json, attempts - 1);
  }
}

/** Opens a session and checks that the browser has kept its cookie. @throws ApiError */
export async function signIn({ email, password, code }: SignInFields): Promise<Session> {
  forgetSession();
  await openSession({ email, password, cookie: true, ...(code !== undefined && code !== '' && { code }) });
  ended = false;
  try {
    return await currentSession();
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) throw cookieNotKept();
    throw error;
  }
}

/** The error when the password was right, but the browser sent no cookie with the next request. */
function cookieNotKept(): ApiError {
  const advice = insecureAddressProblem() ?? 'Allow cookies for this address, then sign in again.';
  return new ApiError(401, {
    code: 'session.cookie-not-kept',
    detail: `Your password is right, but the browser did not keep the session cookie. ${advice}`,
  });
}

/** @returns why no sign-in can work at this address, or undefined if the page knows of no reason */
export function insecureAddressProblem(): string | undefined {
  const meta = (name: string): string => document.querySelector<HTMLMetaElement>(`meta[name="${name}"]`)?.content ?? '';
  if (window.location.protocol !== 'http:' || meta('public-scheme') !== 'https') return undefined;
  return (
    `Latchkey is set up for https://${meta('public-host')}, and browsers send its session cookie only over https. ` +
    `This page was opened over http, at ${window.location.origin}. Open the console over https.`
  );
}

/** react-admin's authentication. The session is in an HttpOnly cookie, which this page cannot read. */
export const authProvider: AuthProvider = {
  login: async (params: unknown) => {
    await signIn(params as SignInFields);
  },
  logout: async () => {
    forgetSession();
    lastSession = undefined;
    if (ended) return;
    try {
      const { data } = await api<Schemas['SignedOutDto'] | undefined>('DELETE', '/admin/session');
      endSessionUrl = data?.endSessionUrl;
    } catch (error) {
      // Shows the sign-in page even if the API refuses, for example because the session has ended.
      if (!(error instanceof ApiError)) throw error;
    }
  },
  checkAuth: async () => {
    try {
      await currentSession();
    } catch (error) {
      // Only a 401 means signed out, not a network failure. Over unsaved input, a dialog asks instead.
      if (error instanceof ApiError && error.status === 401 && !hasUnsaved()) throw error;
    }
  },
  checkError: (error: unknown) => {
    if (!(error instanceof ApiError) || error.status !== 401) return Promise.resolve();
    // A plain rejection would sign out and lose the form. `message: false`, since the dialog explains it.
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- react-admin reads these two
    return Promise.reject(hasUnsaved() ? { logoutUser: false, message: false } : error);
  },
  getIdentity: async () => {
    const { id, name } = await currentSession();
    return { id, fullName: name };
  },
  getPermissions: async () => (await currentSession()).role,
};
