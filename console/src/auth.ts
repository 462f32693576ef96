import type { AuthProvider } from 'react-admin';
import { api, ApiError } from './api.ts';
import type { Session } from './types.ts';

let session: Promise<Session> | undefined;

/** @returns who is signed in, asked once until somebody signs in or out. @throws ApiError 401 */
export function currentSession(): Promise<Session> {
  session ??= api<Session>('GET', '/admin/session').then(
    ({ data }) => data,
    (error: unknown) => {
      session = undefined;
      throw error;
    },
  );
  return session;
}

/** The next question asks the API again. */
export function forgetSession(): void {
  session = undefined;
}

/** The session is in an HttpOnly cookie: nothing here holds, reads or stores it. */
export const authProvider: AuthProvider = {
  login: async (params: unknown) => {
    const { email, password, code } = params as { email: string; password: string; code?: string };
    forgetSession();
    await api('POST', '/admin/session', {
      json: { email, password, cookie: true, ...(code !== undefined && code !== '' && { code }) },
    });
  },
  logout: async () => {
    forgetSession();
    try {
      await api('DELETE', '/admin/session');
    } catch (error) {
      // Without a session there is none to end; the page is reached all the same.
      if (!(error instanceof ApiError)) throw error;
    }
  },
  checkAuth: async () => {
    try {
      await currentSession();
    } catch (error) {
      // Only the API says who is signed out: a network that is down does not.
      if (error instanceof ApiError && error.status === 401) throw error;
    }
  },
  checkError: (error: unknown) =>
    error instanceof ApiError && error.status === 401 ? Promise.reject(error) : Promise.resolve(),
  getIdentity: async () => {
    const { id, name } = await currentSession();
    return { id, fullName: name };
  },
  getPermissions: async () => (await currentSession()).role,
};
