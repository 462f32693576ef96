import type { CallErrorState, CallTotal } from '../words/calls.ts';
import type { CredentialState } from '../words/credential.ts';
import type { RequestRecord } from '../words/request.ts';
import type { Beginner, LinkState } from '../words/rotation.ts';
import type { SignInState } from '../words/sign-in.ts';
import { noResponse, problemOf } from './problem.ts';
import type { Session } from './session.ts';

/** The account, as `GET /me` answers. */
export interface Me {
  readonly id: string;
  readonly username: string;
  readonly displayName: string;
  /** When the account ends; `null` if it does not. */
  readonly expiresAt: string | null;
  /** Whether the partner may create passwords by itself. */
  readonly selfService: boolean;
}

export interface OwnCredential extends CredentialState {
  /** Whether the person signed in with it. */
  readonly current: boolean;
  readonly startedBy: Beginner;
  readonly link: LinkState | null;
}

export interface OwnSignIn extends SignInState {
  readonly reasonCode: string | null;
  readonly hint: string | null;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly nextCursor: string | null;
}

export interface Calls {
  readonly from: string;
  readonly totals: readonly CallTotal[];
  readonly items: readonly (CallTotal & { readonly hour: string })[];
}

const PAGE = 25;

function pagePath(path: string, cursor: string | null, filter: Readonly<Record<string, string>> = {}): string {
  const query = new URLSearchParams({ ...filter, limit: String(PAGE), ...(cursor !== null && { cursor }) });
  return `${path}?${query.toString()}`;
}

/** The calls that the page makes, all below the page's own address. */
export const api = {
  me: (session: Session) => session.ask<Me>('GET', 'me'),
  credentials: (session: Session) => session.ask<{ items: OwnCredential[] }>('GET', 'me/credentials'),
  rotate: (session: Session, body: { password: string; label?: string; overlapSeconds: number }) =>
    session.ask<{ credential: OwnCredential & { password: string } }>('POST', 'me/credentials', body),
  withdraw: (session: Session, id: string, password: string) =>
    session.ask<OwnCredential>('POST', `me/credentials/${id}/withdraw`, { password }),
  endCredential: (session: Session, id: string, password: string) =>
    session.ask<undefined>('DELETE', `me/credentials/${id}`, { password }),
  activity: (session: Session, cursor: string | null, isRefusedOnly: boolean) =>
    session.ask<Page<OwnSignIn>>('GET', pagePath('me/activity', cursor, isRefusedOnly ? { outcome: 'refused' } : {})),
  usage: (session: Session, hours: number) => session.ask<Calls>('GET', `me/usage?hours=${String(hours)}`),
  errors: (session: Session, cursor: string | null) =>
    session.ask<Page<CallErrorState>>('GET', pagePath('me/errors', cursor)),
  request: (session: Session, id: string) => session.ask<RequestRecord>('GET', `me/requests/${id}`),
};

/**
 * Reports a password as leaked. Needs no sign-in: it works from any address.
 *
 * @throws Problem
 */
export async function reportLeaked(username: string, password: string): Promise<void> {
  const response = await fetch('credentials/report-leaked', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ username, password }),
    cache: 'no-store',
    credentials: 'omit',
    redirect: 'error',
  }).catch(() => undefined);
  if (!response) throw noResponse();
  if (!response.ok) throw await problemOf(response);
}
