import { once } from 'node:events';
import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import pg from 'pg';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import type { PersonClaims } from '../../../test/support/identity-provider.ts';
import { secret } from '../../../test/support/secrets.ts';
import {
  CONSOLE_URL,
  patient,
  type SingleSignOn,
  signInAs,
  startSingleSignOn,
  Visitor,
} from '../../../test/support/single-sign-on.ts';
import { until } from '../../../test/support/sign-ins.ts';

interface Staff {
  id: string;
  email: string;
  name: string;
  role: string;
  identity: { issuer: string; subject: string } | null;
}

const SESSION = '/admin/session';
const CALLBACK = '/admin/session/oidc/callback';
let sso: SingleSignOn;
let admin: string;

beforeAll(async () => {
  sso = await startSingleSignOn();
  admin = (await sso.app.asStaff('admin')).token;
});
afterAll(async () => {
  await sso.app.close();
  await sso.provider.close();
});
afterEach(() => {
  sso.app.clockOffset = 0;
  Object.assign(sso.provider, { state: 'up', forge: undefined, metadata: {}, inIdToken: true, person: undefined });
});

let counter = 0;
/** A person whom the provider knows, with an e-mail of its own. */
function person(claims: PersonClaims = {}): { subject: string; claims: PersonClaims } {
  const n = String(++counter);
  return {
    subject: `sub-${n}`,
    claims: { email: `p${n}@company.example`, name: `Person ${n}`, groups: ['g-ops'], ...claims },
  };
}
const asAdmin = (method: string, path: string, json?: unknown): Promise<Answer> =>
  sso.app.request(method, path, { token: admin, json });
const staffOf = async (subject: string): Promise<Staff | undefined> =>
  (await asAdmin('GET', '/admin/staff'))
    .json<{ items: Staff[] }>()
    .items.find((one) => one.identity?.subject === subject);
const codeOf = (answer: Answer): string => answer.json<{ code: string }>().code;
const actionsOf = async (id: string): Promise<string[]> => {
  const { items } = (await asAdmin('GET', `/admin/audit-events?target=${id}`)).json<{ items: { action: string }[] }>();
  return items.map(({ action }) => action).reverse();
};
/** A signed-in person. */
async function signedIn(
  claims: PersonClaims = {},
): Promise<{ subject: string; visitor: Visitor; claims: PersonClaims }> {
  const { subject, claims: all } = person(claims);
  const { visitor, answer } = await signInAs(sso, subject, all);
  answer.expect(302);
  return { subject, visitor, claims: all };
}
const again = (subject: string, claims: PersonClaims): Promise<{ visitor: Visitor; answer: Answer }> =>
  signInAs(sso, subject, claims);

describe('a sign-in at the identity provider', () => {
  it('opens a session of the console and creates the account of a person with a mapped group', async () => {
    const { subject, claims } = person({ groups: ['g-ops', 'another'] });
    const { visitor, answer } = await signInAs(sso, subject, claims);
    expect({ status: answer.status, location: answer.headers.get('location') }).toEqual({
      status: 302,
      location: `${CONSOLE_URL}/console/`,
    });
    const cookies = answer.headers.getSetCookie();
    expect(cookies).toEqual([
      expect.stringMatching(/^latchkey_oidc_\d+=; Max-Age=0; Path=\/admin\/session\/oidc; HttpOnly; SameSite=Lax$/),
      expect.stringMatching(/^latchkey_session_\d+=\S+; Max-Age=28800; Path=\/admin; HttpOnly; SameSite=Strict$/),
    ]);
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer');
    const session = (await visitor.request('GET', SESSION)).expect(200).json();
    expect(session).toMatchObject({
      email: claims['email'],
      name: claims['name'],
      role: 'operator',
      secondFactor: false,
      breakGlass: false,
      enrolmentRequired: false,
      identity: { issuer: sso.provider.issuer, subject },
      session: { idleSeconds: 1_800 },
    });
    expect(await actionsOf(session['id'] as string)).toEqual(['staff.created', 'staff.signed-in']);
    (await visitor.request('DELETE', SESSION)).expect(200);
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
  });

  it('begins with PKCE, state and nonce, and keeps them in a sealed cookie of this browser', async () => {
    const visitor = new Visitor(sso.app);
    const begun = (await visitor.request('GET', '/admin/session/oidc')).expect(302);
    const [cookie = '', ...others] = begun.headers.getSetCookie();
    expect(others).toEqual([]);
    expect(cookie).toMatch(
      /^latchkey_oidc_\d+=[\w-]+; Max-Age=600; Path=\/admin\/session\/oidc; HttpOnly; SameSite=Lax$/,
    );
    const url = new URL(begun.headers.get('location') ?? '');
    const { state = '', nonce = '', code_challenge: challenge = '', ...others2 } = Object.fromEntries(url.searchParams);
    expect([state, nonce, challenge].map((text) => text.length)).toEqual([43, 43, 43]);
    expect(others2).toEqual({
      client_id: 'latchkey',
      redirect_uri: `${CONSOLE_URL}${CALLBACK}`,
      response_type: 'code',
      response_mode: 'query',
      scope: 'openid profile email',
      code_challenge_method: 'S256',
    });
    expect(Buffer.from(cookie.split('=', 2)[1] ?? '', 'base64url').toString('latin1')).not.toContain(state);
    const another = await new Visitor(sso.app).begin();
    for (const name of ['state', 'nonce', 'code_challenge']) {
      expect(another.searchParams.get(name)).not.toBe(url.searchParams.get(name));
    }
  });

  it('may end on another instance than it began', async () => {
    const { app } = sso;
    const second = await TestApp.start(app.config);
    patient(second);
    const { subject, claims } = person();
    sso.provider.people.set(subject, claims);
    sso.provider.person = subject;
    const visitor = new Visitor(app);
    const back = await visitor.visit(await visitor.begin());
    (await visitor.request('GET', back, undefined, second)).expect(302);
    expect((await visitor.request('GET', SESSION)).status).toBe(200);
    await second.close();
  });

  it.each([
    ['?from=/console/channel-users?sort=username', '/console/channel-users?sort=username'],
    ['?from=https://evil.example/console/', '/console/'],
    ['?from=//evil.example/console/', '/console/'],
    ['?from=/console/../admin/staff', '/console/'],
    ['?from=/console/%5C..%5C', '/console/'],
    ['?from=/consoles', '/console/'],
    ['?from=/console/channel-users?q=%E2%82%AC%C3%A9', '/console/channel-users?q=%E2%82%AC%C3%A9'],
    [`?from=/console/channel-users?q=${'x'.repeat(900)}`, `/console/channel-users?q=${'x'.repeat(900)}`],
    [`?from=/console/channel-users?q=${'x'.repeat(1_900)}`, '/console/'],
    ['?popUp=true&from=/console/staff', '/console/signed-in'],
  ])('leads with %s to %s', async (query, path) => {
    const { subject, claims } = person();
    sso.provider.people.set(subject, claims);
    sso.provider.person = subject;
    const answer = await new Visitor(sso.app).signIn(query);
    expect(answer.expect(302).headers.get('location')).toBe(CONSOLE_URL + path);
  });

  it('reads the role anew each time, of several groups the highest, and a new role ends other sessions', async () => {
    const { subject, visitor, claims } = await signedIn({ groups: ['g-eyes', 'g-admins', 'g-ops'] });
    expect((await staffOf(subject))?.role).toBe('admin');
    const same = await again(subject, claims);
    expect((await visitor.request('GET', SESSION)).status).toBe(200);
    const lower = await again(subject, { ...claims, groups: 'g-eyes' });
    lower.answer.expect(302);
    expect((await staffOf(subject))?.role).toBe('viewer');
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
    expect((await same.visitor.request('GET', SESSION)).status).toBe(401);
    expect((await lower.visitor.request('GET', SESSION)).json()['role']).toBe('viewer');
    expect((await actionsOf((await staffOf(subject))?.id ?? '')).slice(-2)).toEqual([
      'staff.updated',
      'staff.signed-in',
    ]);
  });

  it('takes groups and e-mail from the UserInfo endpoint if the ID token has none', async () => {
    sso.provider.inIdToken = false;
    sso.provider.rotate();
    const { subject, claims } = await signedIn({ groups: ['g-admins'] });
    expect(await staffOf(subject)).toMatchObject({ role: 'admin', email: claims['email'] });
    sso.provider.inIdToken = true;
    sso.provider.rotate();
  });

  it('creates one account when a person signs in for the first time twice at once', async () => {
    const { subject, claims } = person();
    sso.provider.people.set(subject, claims);
    sso.provider.person = subject;
    const visitors = Array.from({ length: 4 }, () => new Visitor(sso.app));
    const backs = await Promise.all(visitors.map(async (visitor) => visitor.visit(await visitor.begin())));
    const answers = await Promise.all(visitors.map((visitor, i) => visitor.request('GET', backs[i] ?? '')));
    expect(answers.map(({ status }) => status)).toEqual([302, 302, 302, 302]);
    for (const visitor of visitors) expect((await visitor.request('GET', SESSION)).status).toBe(200);
  });

  it('is offered by name', async () => {
    const answer = await sso.app.request('GET', '/admin/session/methods');
    expect(answer.json()).toEqual({
      singleSignOn: {
        name: 'Company Login',
        path: '/admin/session/oidc',
        // Also for a browser at another address, whose cookie would not come to the callback.
        url: `${CONSOLE_URL}/admin/session/oidc`,
      },
      localSignIn: 'everybody',
    });
  });
});

describe('a person whom the provider knows', () => {
  it('keeps the account under another e-mail and name', async () => {
    const { subject, claims } = await signedIn();
    const before = await staffOf(subject);
    const email = `renamed-${String(counter)}@company.example`;
    (await again(subject, { ...claims, email, name: 'Another Name' })).answer.expect(302);
    expect(await staffOf(subject)).toMatchObject({ id: before?.id, email, name: 'Another Name' });
  });

  it('gets no other account by an e-mail that was changed at the provider', async () => {
    const local = await sso.app.newStaff('admin');
    const { subject, claims } = await signedIn();
    (await again(subject, { ...claims, email: local.email.toUpperCase() })).answer.expect(302);
    expect(await staffOf(subject)).toMatchObject({ email: claims['email'], role: 'operator' });
    expect((await sso.app.request('GET', SESSION, { token: local.token })).json()['identity']).toBeNull();
  });

  it('keeps the old e-mail if another account takes the new one at the same moment', async () => {
    const { subject, claims } = await signedIn();
    const email = `taken-${String(counter)}@company.example`;
    const holder = new pg.Client({ connectionString: sso.app.databaseUrl });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query(
        `INSERT INTO staff (id, email, email_key, name, role, password_hash, created_at)
         VALUES (gen_random_uuid(), $1, $1, 'Another', 'viewer', '-', now())`,
        [email],
      );
      const signingIn = again(subject, { ...claims, email, name: 'New Name' });
      await until(async () => {
        const { rowCount } = await holder.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rowCount !== 0;
      }, 'the sign-in waits for the other account');
      await holder.query('COMMIT');
      (await signingIn).answer.expect(302);
    } finally {
      await holder.end();
    }
    expect(await staffOf(subject)).toMatchObject({ email: claims['email'], name: 'New Name' });
  });

  it('is created again by a sign-in after an admin has removed the account', async () => {
    const { subject, visitor, claims } = await signedIn();
    const before = await staffOf(subject);
    const back = visitor.visit(await visitor.begin());
    (await asAdmin('DELETE', `/admin/staff/${before?.id ?? ''}`)).expect(204);
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
    (await visitor.request('GET', await back)).expect(302);
    const after = await staffOf(subject);
    expect(after?.id).not.toBe(before?.id);
    expect(after?.email).toBe(claims['email']);
  });

  it('is named by sub and e-mail only in the encrypted part of the audit trail', async () => {
    const { subject, claims } = await signedIn();
    const { id = '' } = (await staffOf(subject)) ?? {};
    (await again(subject, { ...claims, email: `other-${String(counter)}@company.example` })).answer.expect(302);
    (await asAdmin('DELETE', `/admin/staff/${id}/identity`)).expect(200);
    (await asAdmin('PUT', `/admin/staff/${id}/identity`, { subject })).expect(200);
    (await asAdmin('DELETE', `/admin/staff/${id}`)).expect(204);
    const rows = await sso.app.dataSource.query<{ changes: string }[]>(
      'SELECT changes::text FROM audit_event WHERE target_id = $1',
      [id],
    );
    expect(rows.length).toBeGreaterThanOrEqual(7);
    for (const { changes } of rows) expect(changes).not.toMatch(new RegExp(`${subject}|@company`));
  });

  it('is refused if another person has the same e-mail', async () => {
    const { claims } = await signedIn();
    const { subject } = person();
    const { answer, visitor } = await again(subject, { ...claims, email: String(claims['email']).toUpperCase() });
    expect([answer.status, codeOf(answer)]).toEqual([409, 'session.email-in-use']);
    expect(answer.json()['detail']).toContain(`your identity is: ${subject}`);
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
    expect(await staffOf(subject)).toBeUndefined();
  });

  it('gets an account with a password once an admin attaches the identity', async () => {
    const local = await sso.app.newStaff('viewer');
    const { subject, claims } = person({ email: local.email });
    expect(codeOf((await again(subject, claims)).answer)).toBe('session.email-in-use');
    const path = `/admin/staff/${local.id}/identity`;
    for (const none of ['', ' ', 'sub-ä', 'x'.repeat(256), null]) {
      expect(codeOf(await asAdmin('PUT', path, { subject: none }))).toBe('request.invalid');
    }
    const attached = (await asAdmin('PUT', path, { subject })).expect(200);
    expect(attached.json<Staff>().identity).toEqual({ issuer: sso.provider.issuer, subject });
    expect((await sso.app.request('GET', SESSION, { token: local.token })).status).toBe(401);
    const json = { email: local.email, password: local.password };
    expect((await sso.app.request('POST', SESSION, { json })).status).toBe(401);
    const { visitor } = await again(subject, claims);
    expect((await visitor.request('GET', SESSION)).json()).toMatchObject({ id: local.id, role: 'operator' });
    const other = await sso.app.newStaff('viewer');
    const taken = await asAdmin('PUT', `/admin/staff/${other.id}/identity`, { subject });
    expect([taken.status, codeOf(taken)]).toEqual([409, 'staff.identity-taken']);

    (await asAdmin('DELETE', path)).expect(200);
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
    expect(codeOf((await again(subject, claims)).answer)).toBe('session.email-in-use');
    expect(codeOf(await asAdmin('DELETE', path))).toBe('staff.no-identity');
    const { password } = (await asAdmin('POST', `/admin/staff/${local.id}/reset-password`)).json<{
      password: string;
    }>();
    await sso.app.signIn(local.email, secret(password));
    expect((await actionsOf(local.id)).filter((action) => action.includes('identity'))).toEqual([
      'staff.identity-attached',
      'staff.identity-detached',
    ]);
  });

  it('is refused without a mapped group, and loses the sessions of before', async () => {
    const { subject, visitor, claims } = await signedIn();
    const { answer } = await again(subject, { ...claims, groups: ['g-other'] });
    expect([answer.status, codeOf(answer)]).toEqual([403, 'session.no-mapped-group']);
    expect(answer.json()['detail']).toContain('Ask whoever manages the groups at Company Login');
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
    const stranger = person({ groups: [] });
    expect(codeOf((await again(stranger.subject, stranger.claims)).answer)).toBe('session.no-mapped-group');
    expect(await staffOf(stranger.subject)).toBeUndefined();
  });

  it.each([
    ['are absent', { groups: undefined }],
    [
      'are too many for the token',
      { groups: undefined, _claim_names: { groups: 'src1' }, _claim_sources: { src1: {} } },
    ],
    ['are too many, although some are there', { groups: ['g-eyes'], _claim_names: { groups: 'src1' } }],
    ['are no texts', { groups: ['g-eyes', 5] }],
    ['are an object', { groups: { 0: 'g-eyes' } }],
  ])('is refused and never demoted if the groups %s', async (_, groups) => {
    const { subject, visitor, claims } = await signedIn({ groups: ['g-admins'] });
    const { answer } = await again(subject, { ...claims, ...groups });
    expect([answer.status, codeOf(answer)]).toEqual([403, 'session.groups-unknown']);
    expect((await staffOf(subject))?.role).toBe('admin');
    expect((await visitor.request('GET', SESSION)).json()['role']).toBe('admin');
  });

  it.each([[undefined], ['nobody'], [5]])('is refused with the e-mail %j', async (email) => {
    const { subject, claims } = person({ email });
    const { answer } = await again(subject, claims);
    expect([answer.status, codeOf(answer)]).toEqual([403, 'session.no-email']);
  });

  it('has no password, second factor or role of Latchkey', async () => {
    const { subject, visitor, claims } = await signedIn();
    const { id } = (await staffOf(subject)) ?? {};
    const local = { email: claims['email'], password: 'x'.repeat(20) };
    expect(codeOf(await sso.app.request('POST', SESSION, { json: local }))).toBe('session.invalid-credentials');
    const own = { currentPassword: 'x', newPassword: 'y'.repeat(20) };
    const refused = [
      await visitor.request('PATCH', `${SESSION}/password`, own),
      await visitor.request('POST', `${SESSION}/totp`, { currentPassword: 'x' }),
      await asAdmin('POST', `/admin/staff/${id ?? ''}/reset-password`),
      await asAdmin('POST', `/admin/staff/${id ?? ''}/reset-password`, { deliver: 'link' }),
      await asAdmin('PATCH', `/admin/staff/${id ?? ''}`, { role: 'admin' }),
    ];
    expect(refused.map((answer) => [answer.status, codeOf(answer)])).toEqual(
      refused.map(() => [409, 'staff.signs-in-at-provider']),
    );
    await asAdmin('PATCH', '/admin/settings', { secondFactorRequired: true });
    expect((await visitor.request('GET', '/admin/channel-users')).status).toBe(200);
    await sso.app.dataSource.query('UPDATE settings SET second_factor_required = false');
  });
});

describe('the last admin who has a password', () => {
  it('cannot be removed, demoted or moved to the provider, however many admins the provider has', async () => {
    const own = await startSingleSignOn();
    const { id, token } = await own.app.asStaff('admin');
    const { subject, claims } = person({ groups: ['g-admins'] });
    const { visitor } = await signInAs(own, subject, claims);
    const refused = [
      await own.app.request('DELETE', `/admin/staff/${id}`, { token }),
      await visitor.request('PATCH', `/admin/staff/${id}`, { role: 'viewer' }),
      await visitor.request('PUT', `/admin/staff/${id}/identity`, { subject: 'another' }),
    ];
    expect(refused.map(codeOf)).toEqual(refused.map(() => 'staff.last-admin'));
    await own.app.close();
    await own.provider.close();
  });
});

describe('an answer that the provider did not give to this browser', () => {
  /** Signs in with a tampered ID token. */
  async function forged(forge: NonNullable<SingleSignOn['provider']['forge']>): Promise<Answer> {
    const { subject, claims } = person();
    sso.provider.forge = forge;
    const { answer, visitor } = await again(subject, claims);
    expect((await visitor.request('GET', SESSION)).status).toBe(401);
    expect(await staffOf(subject)).toBeUndefined();
    return answer;
  }
  const now = (): number => Math.floor(Date.now() / 1000);

  it.each([
    ['another issuer', (claims: PersonClaims) => ({ ...claims, iss: 'https://evil.example' })],
    ['another audience', (claims: PersonClaims) => ({ ...claims, aud: 'another-client' })],
    [
      'several audiences for another party',
      (claims: PersonClaims) => ({ ...claims, aud: ['latchkey', 'x'], azp: 'x' }),
    ],
    ['its time over', (claims: PersonClaims) => ({ ...claims, iat: now() - 7_200, exp: now() - 3_600 })],
    ['another nonce', (claims: PersonClaims) => ({ ...claims, nonce: 'x'.repeat(43) })],
    ['no nonce', (claims: PersonClaims) => ({ ...claims, nonce: undefined })],
    ['no sub', (claims: PersonClaims) => ({ ...claims, sub: undefined })],
    ['an endless sub', (claims: PersonClaims) => ({ ...claims, sub: 'x'.repeat(256) })],
  ])('is refused: a token with %s', async (_, change) => {
    const answer = await forged((parts) => ({ ...parts, claims: change(parts.claims) }));
    expect([answer.status, codeOf(answer)]).toEqual([400, 'session.provider-answer-invalid']);
  });

  it('is refused: a token without a signature, with a MAC, and of another key', async () => {
    const { createSecretKey, generateKeyPairSync } = await import('node:crypto');
    const other = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const mac = createSecretKey(Buffer.from(sso.provider.clientSecret.padEnd(32, 'x')));
    const answers = [
      await forged((parts) => ({ ...parts, header: { alg: 'none' } })),
      await forged((parts) => ({ ...parts, header: { alg: 'HS256' }, key: mac })),
      await forged((parts) => ({ ...parts, key: other })),
      await forged((parts) => ({ ...parts, header: { ...parts.header, kid: 'unknown' } })),
    ];
    expect(answers.map((answer) => [answer.status, codeOf(answer)])).toEqual(
      answers.map(() => [400, 'session.provider-answer-invalid']),
    );
  });

  /** A browser that comes back from the provider with a code. */
  async function returning(): Promise<{ visitor: Visitor; back: string }> {
    const { subject, claims } = person();
    sso.provider.people.set(subject, claims);
    sso.provider.person = subject;
    const visitor = new Visitor(sso.app);
    return { visitor, back: await visitor.visit(await visitor.begin()) };
  }
  const expectRefused = (answer: Answer, code: string): void => {
    expect([answer.status, codeOf(answer)]).toEqual([400, `session.${code}`]);
    expect(answer.headers.getSetCookie().some((line) => line.startsWith('latchkey_session'))).toBe(false);
  };

  it('is refused: a code that was used, with its state', async () => {
    const { visitor, back } = await returning();
    const cookie = visitor.cookies.header;
    (await visitor.request('GET', back)).expect(302);
    expectRefused(await new Visitor(sso.app).request('GET', back), 'sign-in-expired');
    expectRefused(await sso.app.request('GET', back, { headers: { cookie } }), 'provider-answer-invalid');
    // The browser itself has forgotten the sign-in.
    expectRefused(await visitor.request('GET', back), 'sign-in-expired');
  });

  it('opens one session if it comes twice at the same moment', async () => {
    const { visitor, back } = await returning();
    const headers = { cookie: visitor.cookies.header };
    const answers = await Promise.all([1, 2].map(() => sso.app.request('GET', back, { headers })));
    expect(answers.map(({ status }) => status).sort()).toEqual([302, 400]);
    for (const answer of answers) {
      for (const line of answer.headers.getSetCookie()) {
        const [, value] = /^[^=]+=([^;]+)/.exec(line) ?? [];
        if (value !== undefined) secret(value);
      }
    }
  });

  it('is refused: the code of one person in the browser of another', async () => {
    const one = await returning();
    const other = await returning();
    expectRefused(await other.visitor.request('GET', one.back), 'sign-in-expired');
    // Even with the state of the other browser, the code does not fit its verifier.
    const mixed = new URL(one.back, CONSOLE_URL);
    const third = await returning();
    mixed.searchParams.set('state', new URL(third.back, CONSOLE_URL).searchParams.get('state') ?? '');
    expectRefused(await third.visitor.request('GET', mixed.pathname + mixed.search), 'provider-answer-invalid');
  });

  it.each<[string, (query: URLSearchParams) => void]>([
    [
      'another iss',
      (query) => {
        query.set('iss', 'https://evil.example');
      },
    ],
    [
      'no iss, although the provider sends it',
      (query) => {
        query.delete('iss');
      },
    ],
    [
      'no code',
      (query) => {
        query.delete('code');
      },
    ],
    [
      'two codes',
      (query) => {
        query.append('code', 'x');
      },
    ],
  ])('is refused: %s', async (_, change) => {
    const { visitor, back } = await returning();
    const url = new URL(back, CONSOLE_URL);
    change(url.searchParams);
    expectRefused(await visitor.request('GET', url.pathname + url.search), 'provider-answer-invalid');
  });

  it('is refused: without a cookie, with a changed one, and after ten minutes', async () => {
    const { visitor, back } = await returning();
    const cookie = visitor.cookies.header;
    const changed = cookie.slice(0, -8) + (cookie.endsWith('AAAAAAAA') ? 'BBBBBBBB' : 'AAAAAAAA');
    expectRefused(await sso.app.request('GET', back), 'sign-in-expired');
    expectRefused(await sso.app.request('GET', back, { headers: { cookie: changed } }), 'sign-in-expired');
    sso.app.clockOffset = 601_000;
    expectRefused(await sso.app.request('GET', back, { headers: { cookie } }), 'sign-in-expired');
    expectRefused(await sso.app.request('GET', CALLBACK, { headers: { cookie } }), 'sign-in-expired');
  });

  it('is refused as the provider refuses it', async () => {
    sso.provider.person = 'cancel';
    const answer = await new Visitor(sso.app).signIn();
    expect([answer.status, codeOf(answer)]).toEqual([403, 'session.provider-refused']);
  });
});

describe('the provider', () => {
  it.each(['down', 'silent', 'broken'] as const)(
    'stops no local sign-in while it is %s, and people are told',
    async (state) => {
      const own = await startSingleSignOn();
      patient(own.app, state === 'silent' ? 50 : undefined);
      own.provider.state = state;
      const answer = await own.app.request('GET', '/admin/session/oidc');
      expect([answer.status, codeOf(answer)]).toEqual([503, 'session.provider-unavailable']);
      expect(answer.json()['detail']).toContain('Company Login did not answer');
      const { email, password } = await own.app.asStaff('admin');
      await own.app.signIn(email, password);
      own.provider.state = 'up';
      patient(own.app);
      const { subject, claims } = person();
      own.provider.people.set(subject, claims);
      own.provider.person = subject;
      const visitor = new Visitor(own.app);
      const back = await visitor.visit(await visitor.begin());
      own.provider.state = state;
      patient(own.app, state === 'silent' ? 50 : undefined);
      const late = await visitor.request('GET', back);
      expect([late.status, codeOf(late)]).toEqual([503, 'session.provider-unavailable']);
      await own.app.close();
      await own.provider.close();
    },
  );

  it.each<[string, (issuer: string) => Record<string, unknown>]>([
    ['another issuer', () => ({ issuer: 'https://evil.example' })],
    // Identities are compared as text, so they must not differ by how the setting is written.
    ['the issuer with a slash more', (issuer) => ({ issuer: `${issuer}/` })],
    ['no keys', () => ({ jwks_uri: undefined })],
  ])('is not used if its metadata has %s', async (_, metadata) => {
    const own = await startSingleSignOn();
    own.provider.metadata = metadata(own.provider.issuer);
    const answer = await own.app.request('GET', '/admin/session/oidc');
    expect([answer.status, codeOf(answer)]).toEqual([503, 'session.provider-unavailable']);
    await own.app.close();
    await own.provider.close();
  });

  it.each<[string, (response: ServerResponse, issuer: string) => void]>([
    [
      'are an error',
      (response) => {
        response.writeHead(500).end('{}');
      },
    ],
    [
      'are a redirect, even to the right ones',
      (response, issuer) => {
        response.writeHead(302, { location: `${issuer}/jwks` }).end();
      },
    ],
    [
      'do not end',
      (response) => {
        response.writeHead(200, { 'content-type': 'application/json' }).end(`{"keys":[],"x":"${'x'.repeat(1 << 21)}"}`);
      },
    ],
  ])('counts as down if its keys %s', async (_, respond) => {
    const own = await startSingleSignOn();
    const { provider } = own;
    const server = createServer((request, response) => {
      respond(response, provider.issuer);
    }).listen(0, '127.0.0.1');
    await once(server, 'listening');
    provider.metadata = { jwks_uri: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/jwks` };
    const { subject, claims } = person();
    const { answer } = await signInAs(own, subject, claims);
    expect([answer.status, codeOf(answer)]).toEqual([503, 'session.provider-unavailable']);
    await own.app.close();
    await provider.close();
    server.close();
  });

  it('may replace its key at any time', async () => {
    await signedIn();
    sso.provider.rotate();
    await signedIn();
  });

  it('is read when somebody signs in, and not at the start', async () => {
    const own = await startSingleSignOn();
    expect(own.provider.requests).toEqual([]);
    await new Visitor(own.app).begin();
    await new Visitor(own.app).begin();
    expect(own.provider.requests).toEqual(['/.well-known/openid-configuration']);
    await own.app.close();
    await own.provider.close();
  });

  it('knows Latchkey by a private key instead of a secret', async () => {
    const { generateKeyPairSync } = await import('node:crypto');
    const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
    const pem = secret(privateKey.export({ type: 'pkcs8', format: 'pem' }).toString());
    const own = await startSingleSignOn({ STAFF_OIDC_CLIENT_SECRET: '', STAFF_OIDC_PRIVATE_KEY: pem });
    own.provider.client = {
      token_endpoint_auth_method: 'private_key_jwt',
      jwks: { keys: [{ ...publicKey.export({ format: 'jwk' }), alg: 'ES256', use: 'sig' }] },
    };
    const { subject, claims } = person();
    (await signInAs(own, subject, claims)).answer.expect(302);
    await own.app.close();
    await own.provider.close();
  });
});

describe('a refusal', () => {
  it('is a page for browsers that says whom to ask, without scripts', async () => {
    const answer = await sso.app.request('GET', CALLBACK, { headers: { accept: 'text/html,application/xhtml+xml' } });
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toBe('text/html; charset=utf-8');
    expect(answer.headers.get('content-security-policy')).toContain("default-src 'none'");
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.text).toContain('<h1>This sign-in is over</h1>');
    expect(answer.text).toContain(answer.headers.get('x-request-id') ?? '');
    expect(answer.text).not.toContain('<script');
  });

  it('escapes what the provider says', async () => {
    const { claims } = await signedIn();
    const subject = `<b>&"'${String(counter)}`;
    sso.provider.people.set('x', claims);
    sso.provider.person = 'x';
    sso.provider.forge = (parts) => ({ ...parts, claims: { ...parts.claims, sub: subject } });
    const visitor = new Visitor(sso.app);
    const back = await visitor.visit(await visitor.begin());
    const headers = { cookie: visitor.cookies.header, accept: 'text/html' };
    const answer = await sso.app.request('GET', back, { headers });
    expect(answer.status).toBe(409);
    expect(answer.text).toContain('&lt;b&gt;&amp;&quot;&#39;');
    expect(answer.text).not.toContain('<b>');
  });
});

describe('without an identity provider', () => {
  it('nobody is sent anywhere', async () => {
    const app = await TestApp.start();
    for (const path of ['/admin/session/oidc', CALLBACK]) {
      const answer = await app.request('GET', path);
      expect([answer.status, codeOf(answer)]).toEqual([404, 'session.oidc-not-configured']);
    }
    const methods = await app.request('GET', '/admin/session/methods');
    expect(methods.json()).toEqual({ singleSignOn: null, localSignIn: 'everybody' });
    await app.close();
  });
});
