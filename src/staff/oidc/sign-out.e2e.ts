import { generateKeyPairSync, type KeyObject, randomUUID } from 'node:crypto';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { signToken } from '../../../test/support/identity-provider.ts';
import {
  CONSOLE_URL,
  patient,
  type SingleSignOn,
  signInAs,
  startSingleSignOn,
  Visitor,
} from '../../../test/support/single-sign-on.ts';

const SESSION = '/admin/session';
const LOGOUT = '/admin/session/oidc/backchannel-logout';
const EVENTS = { 'http://schemas.openid.net/event/backchannel-logout': {} };
let sso: SingleSignOn;
let counter = 0;

beforeAll(async () => {
  sso = await startSingleSignOn();
});
afterAll(async () => {
  await sso.app.close();
  await sso.provider.close();
});
afterEach(() => {
  sso.provider.state = 'up';
  sso.provider.metadata = {};
});

/** A person with one session, or another session of the same person. */
async function signedIn(subject = `sub-${String(++counter)}`): Promise<{ subject: string; visitor: Visitor }> {
  const claims = { email: `${subject}@company.example`, name: 'Person', groups: ['g-admins'] };
  const { visitor, answer } = await signInAs(sso, subject, claims);
  answer.expect(302);
  return { subject, visitor };
}
const isSignedIn = async (visitor: Visitor): Promise<boolean> => (await visitor.request('GET', SESSION)).status === 200;
async function sidOf(visitor: Visitor): Promise<string> {
  const token = /latchkey_session_\d+=([^;]+)/.exec(visitor.cookies.header)?.[1] ?? '';
  const { jti } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string };
  const rows = await sso.app.dataSource.query<{ sid: string }[]>(
    'SELECT oidc_sid AS sid FROM staff_session WHERE id = $1',
    [jti],
  );
  return rows[0]?.sid ?? '';
}

interface Token {
  header?: Record<string, unknown>;
  claims?: Record<string, unknown>;
  key?: KeyObject;
}
/** A logout token of the provider, with changes. */
async function logoutToken({ header = {}, claims = {}, key = sso.provider.key.privateKey }: Token): Promise<string> {
  const iat = Math.floor(Date.now() / 1000);
  return signToken({
    header: { alg: 'ES256', typ: 'logout+jwt', kid: sso.provider.key.kid, ...header },
    claims: {
      iss: sso.provider.issuer,
      aud: 'latchkey',
      iat,
      exp: iat + 120,
      jti: randomUUID(),
      events: EVENTS,
      ...claims,
    },
    key,
  });
}
const send = (token: string, app = sso.app): Promise<Answer> =>
  app.request('POST', LOGOUT, { form: { logout_token: token } });

describe('a sign-out', () => {
  it('offers to sign out at the provider, which then comes back to the console', async () => {
    const { visitor } = await signedIn();
    const answer = (await visitor.request('DELETE', SESSION)).expect(200);
    expect(await isSignedIn(visitor)).toBe(false);
    const url = new URL(answer.json<{ endSessionUrl: string }>().endSessionUrl);
    expect(url.origin).toBe(sso.provider.issuer);
    expect(url.searchParams.get('post_logout_redirect_uri')).toBe(`${CONSOLE_URL}/console/`);
    expect(url.searchParams.get('id_token_hint')).toMatch(/^[\w-]+\.[\w-]+\.[\w-]+$/);
    const page = await fetch(url);
    expect([page.status, await page.text()]).toEqual([200, expect.stringContaining('<form')]);
  });

  it.each([
    ['is down', 'down', {}],
    ['has no page for it', 'up', { end_session_endpoint: undefined }],
  ] as const)('ends the session alone while the provider %s', async (_, state, metadata) => {
    const second = await TestApp.start(sso.app.config);
    patient(second);
    const { visitor } = await signedIn();
    sso.provider.state = state;
    sso.provider.metadata = metadata;
    (await visitor.request('DELETE', SESSION, undefined, second)).expect(204);
    expect(await isSignedIn(visitor)).toBe(false);
    await second.close();
  });

  it('of a session with a password offers nothing', async () => {
    const { token } = await sso.app.newStaff('viewer');
    (await sso.app.request('DELETE', SESSION, { token })).expect(204);
  });

  it('keeps the ID token readable for nobody else in the database', async () => {
    const { visitor } = await signedIn();
    const rows = await sso.app.dataSource.query<{ row: string }[]>(
      `SELECT encode(id_token, 'escape') AS row FROM staff_session WHERE id_token IS NOT NULL`,
    );
    expect(rows.length).toBeGreaterThan(0);
    for (const { row } of rows) expect(row).not.toMatch(/eyJ/);
    expect(await isSignedIn(visitor)).toBe(true);
  });
});

describe('a back-channel logout', () => {
  it('of the provider itself ends the session that the person opened there', async () => {
    const { visitor } = await signedIn();
    const url = new URL((await visitor.request('GET', '/admin/session/oidc')).headers.get('location') ?? '');
    expect(url.origin).toBe(sso.provider.issuer);
    await visitor.signOutAtProvider(sso.provider.issuer);
    expect(await isSignedIn(visitor)).toBe(false);
  });

  it('ends the session of a sid, all sessions of a sub, and no others', async () => {
    const first = await signedIn();
    const second = await signedIn(first.subject);
    const stranger = await signedIn();
    (await send(await logoutToken({ claims: { sid: await sidOf(first.visitor) } }))).expect(200);
    expect([await isSignedIn(first.visitor), await isSignedIn(second.visitor)]).toEqual([false, true]);
    const third = await signedIn(first.subject);
    const both = { sid: await sidOf(third.visitor), sub: stranger.subject };
    (await send(await logoutToken({ claims: both }))).expect(200);
    expect(await isSignedIn(third.visitor)).toBe(true);
    (await send(await logoutToken({ claims: { sub: first.subject } }))).expect(200);
    const visitors = [second.visitor, third.visitor, stranger.visitor];
    expect(await Promise.all(visitors.map(isSignedIn))).toEqual([false, false, true]);
    (await send(await logoutToken({ claims: { sub: 'nobody' } }))).expect(200);
    const { token } = await sso.app.asStaff('admin');
    const events = await sso.app.request('GET', '/admin/audit-events?action=staff.signed-out', { token });
    expect(events.json<{ items: { reason: string | null }[] }>().items.map(({ reason }) => reason)).toContain(
      'Signed out at the identity provider',
    );
  });

  it('counts once, also on another instance', async () => {
    const { subject } = await signedIn();
    const token = await logoutToken({ claims: { sub: subject } });
    (await send(token)).expect(200);
    const again = await signedIn(subject);
    const second = await TestApp.start(sso.app.config);
    patient(second);
    for (const app of [sso.app, second]) expect((await send(token, app)).status).toBe(400);
    expect(await isSignedIn(again.visitor)).toBe(true);
    await second.close();
  });

  const now = Math.floor(Date.now() / 1000);
  it.each<[string, Token]>([
    ['the type of an ID token', { header: { typ: 'JWT' } }],
    ['no type', { header: { typ: undefined } }],
    ['no signature', { header: { alg: 'none' } }],
    ['a key of somebody else', { key: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey }],
    ['another issuer', { claims: { iss: 'https://evil.example' } }],
    ['another audience', { claims: { aud: 'another-client' } }],
    ['no event', { claims: { events: undefined } }],
    ['another event', { claims: { events: { 'https://evil.example/event': {} } } }],
    ['an event that is no object', { claims: { events: { [Object.keys(EVENTS)[0] ?? '']: true } } }],
    ['a nonce', { claims: { nonce: 'x' } }],
    ['no jti', { claims: { jti: undefined } }],
    ['no iat', { claims: { iat: undefined } }],
    ['no exp', { claims: { exp: undefined } }],
    ['its time over', { claims: { iat: now - 7_200, exp: now - 7_000 } }],
    ['an old iat and a late exp', { claims: { iat: now - 3_600, exp: now + 3_600 } }],
    ['an iat in the future', { claims: { iat: now + 3_600, exp: now + 7_200 } }],
    ['neither sub nor sid', { claims: { sub: undefined } }],
    ['a sub that is no text', { claims: { sub: 5 } }],
  ])('is refused with %s', async (_, change) => {
    const { subject, visitor } = await signedIn();
    const answer = await send(await logoutToken({ ...change, claims: { sub: subject, ...change.claims } }));
    expect([answer.status, answer.json()['code']]).toEqual([400, 'session.logout-token-invalid']);
    expect(await isSignedIn(visitor)).toBe(true);
  });

  it('is refused without a token, with two, and in another form', async () => {
    const form = 'logout_token=a&logout_token=b';
    for (const body of ['', 'logout_token=', form]) {
      expect((await sso.app.request('POST', LOGOUT, { form: body })).status).toBe(400);
    }
    expect((await sso.app.request('POST', LOGOUT, { json: { logout_token: 'x' } })).status).toBe(415);
    expect((await sso.app.request('POST', LOGOUT, { form: `logout_token=${'x'.repeat(9_000)}` })).status).toBe(413);
  });

  it('is answered 503 while the keys of the provider cannot be read, and 404 without a provider', async () => {
    const second = await TestApp.start(sso.app.config);
    patient(second);
    sso.provider.state = 'down';
    expect((await send(await logoutToken({ claims: { sub: 'x' } }), second)).status).toBe(503);
    await second.close();
    const without = await TestApp.start();
    expect((await send('x', without)).status).toBe(404);
    await without.close();
  });

  it('leaves nothing behind for longer than its token counts', async () => {
    (await send(await logoutToken({ claims: { sub: 'x' } }))).expect(200);
    const count = async (): Promise<number> =>
      (await sso.app.dataSource.query<unknown[]>('SELECT FROM used_logout_token')).length;
    await sso.app.runTask('Deleting used logout tokens');
    expect(await count()).toBeGreaterThan(0);
    sso.app.clockOffset = 1_300_000;
    await sso.app.runTask('Deleting used logout tokens');
    sso.app.clockOffset = 0;
    expect(await count()).toBe(0);
  });
});
