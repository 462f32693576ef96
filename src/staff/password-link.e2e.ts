import { randomBytes } from 'node:crypto';
import pg from 'pg';
import { type Answer, type StaffMember, TestApp } from '../../test/support/app.ts';
import { passLimits } from '../../test/support/inside.ts';
import { secret } from '../../test/support/secrets.ts';
import { inParallel, LOOPBACK_PROXIES, newAddress, tally } from '../../test/support/sign-ins.ts';

interface Invited {
  id: string;
  email: string;
  link: string;
  linkExpiresAt: string;
}
interface Event {
  action: string;
  actor: { type: string; id: string | null };
  address: string | null;
  changes: Record<string, unknown>;
}

const STAFF = '/admin/staff';
const HOUR_MS = 3_600_000;
const CHOSEN = secret('a password that Mia chose');

let app: TestApp;
let admin: StaffMember;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  admin = await app.asStaff('admin');
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

let counter = 0;
const asAdmin = (method: string, path: string, json?: unknown, on = app, token = admin.token): Promise<Answer> =>
  on.request(method, path, { token, json });
const secretOf = ({ link }: Pick<Invited, 'link'>): string => secret(link.slice(link.indexOf('#') + 1));

async function invite(fields: Record<string, unknown> = {}): Promise<Invited> {
  const email = `invited-${String(++counter)}@staff.example`;
  const answer = await asAdmin('POST', STAFF, { email, name: 'Mia', role: 'operator', deliver: 'link', ...fields });
  expect({ status: answer.status, text: answer.status === 201 ? '' : answer.text }).toEqual({ status: 201, text: '' });
  const invited = answer.json<Invited>();
  secretOf(invited);
  return invited;
}
async function reset({ id }: Pick<Invited, 'id'>): Promise<Invited> {
  const answer = await asAdmin('POST', `${STAFF}/${id}/reset-password`, { deliver: 'link' });
  expect(answer.status).toBe(200);
  const invited = answer.json<Invited>();
  secretOf(invited);
  return invited;
}
const post = (json: unknown, address = newAddress(), on = app): Promise<Answer> =>
  on.request('POST', '/admin/password-link/use', { json, headers: { 'x-forwarded-for': address } });
const choose = (of: Pick<Invited, 'link'>, newPassword = CHOSEN, address?: string): Promise<Answer> =>
  post({ secret: secretOf(of), newPassword }, address);
const signIn = async (email: string, password: string): Promise<number> =>
  (await app.request('POST', '/admin/session', { json: { email, password } })).status;
const trailOf = async ({ id }: Pick<Invited, 'id'>): Promise<Event[]> => {
  const answer = await asAdmin('GET', `/admin/audit-events?target=${id}&limit=200`);
  return answer.json<{ items: Event[] }>().items.reverse();
};
const expectGone = (answer: Answer): void => {
  expect({ status: answer.status, code: answer.json()['code'] }).toEqual({ status: 410, code: 'password-link.gone' });
};

describe('a new colleague', () => {
  it('gets a link in place of a password and chooses one', async () => {
    const before = Date.now();
    const answer = await asAdmin('POST', STAFF, {
      email: 'first@staff.example',
      name: 'Mia Berg',
      role: 'operator',
      deliver: 'link',
    });
    expect(answer.status).toBe(201);
    const { link, linkExpiresAt, ...member } = answer.json<Invited>();
    expect(Object.keys(member).sort()).toEqual(
      ['id', 'email', 'name', 'role', 'createdAt', 'lastSignInAt', 'secondFactor', 'identity', 'breakGlass'].sort(),
    );
    expect(answer.headers.get('location')).toBe(`${STAFF}/${member.id}`);
    expect(link).toMatch(/^http:\/\/latchkey\.test\/console\/password-link#[A-Za-z0-9_-]{43}$/);
    secretOf({ link });
    expect(Math.abs(Date.parse(linkExpiresAt) - before - 72 * HOUR_MS)).toBeLessThan(10_000);

    const chosen = await choose({ link });
    expect({ status: chosen.status, body: chosen.json() }).toEqual({ status: 200, body: { email: member.email } });
    expect(chosen.headers.get('cache-control')).toBe('no-store');
    const token = await app.signIn(member.email, CHOSEN);
    expect((await app.request('GET', '/admin/session', { token })).json()).toMatchObject({ role: 'operator' });
  });

  it.each([{ deliver: 'password' }, {}])('gets a password by default: %j', async (fields) => {
    const email = `by-password-${String(++counter)}@staff.example`;
    const answer = await asAdmin('POST', STAFF, { email, name: 'x', role: 'viewer', ...fields });
    const body = answer.json<{ password: string }>();
    expect(await signIn(email, secret(body.password))).toBe(200);
    expect(body).not.toHaveProperty('link');
    expect(body).not.toHaveProperty('linkExpiresAt');
  });

  it.each(['mail', '', null, 1, ['link']])('is not added with deliver %p', async (deliver) => {
    const answer = await asAdmin('POST', STAFF, { email: 'nobody@staff.example', name: 'x', role: 'viewer', deliver });
    expect(answer.status).toBe(400);
    const [error] = answer.json<{ errors: { field: string }[] }>().errors;
    expect(error?.field).toBe('deliver');
  });

  it('must have an e-mail that is free', async () => {
    const { email } = await invite();
    const answer = await asAdmin('POST', STAFF, { email, name: 'x', role: 'viewer', deliver: 'link' });
    expect({ status: answer.status, code: answer.json()['code'] }).toEqual({ status: 409, code: 'staff.email-taken' });
  });
});

describe('a reset of a password', () => {
  it.each([undefined, {}, { deliver: 'password' }])('gives a password by default: %j', async (json) => {
    const member = await app.newStaff('viewer');
    const answer = await asAdmin('POST', `${STAFF}/${member.id}/reset-password`, json);
    expect(answer.status).toBe(200);
    expect(await signIn(member.email, secret(answer.json<{ password: string }>().password))).toBe(200);
  });

  it('by link ends the sessions and the old password at once, and the new one is chosen', async () => {
    const member = await app.newStaff('operator');
    const invited = await reset(member);
    expect((await app.request('GET', '/admin/session', { token: member.token })).status).toBe(401);
    expect(await signIn(member.email, member.password)).toBe(401);
    expect((await choose(invited)).status).toBe(200);
    expect(await signIn(member.email, member.password)).toBe(401);
    expect(await signIn(member.email, CHOSEN)).toBe(200);
  });

  it('of one’s own by link signs out, and the link works', async () => {
    const member = await app.newStaff('admin');
    const path = `${STAFF}/${member.id}/reset-password`;
    const answer = await asAdmin('POST', path, { deliver: 'link' }, app, member.token);
    expect((await app.request('GET', '/admin/session', { token: member.token })).status).toBe(401);
    expect((await choose(answer.json<Invited>())).status).toBe(200);
  });
});

describe('a link for choosing a password', () => {
  it('works once, however many requests use it at once', async () => {
    const invited = await invite();
    const passwords = Array.from({ length: 6 }, (_, i) => secret(`chosen by number ${String(i)}`));
    const answers = await Promise.all(passwords.map((password) => choose(invited, password)));
    const statuses = answers.map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(1);
    expect(statuses.filter((status) => ![200, 410, 429].includes(status))).toEqual([]);
    expect(await signIn(invited.email, passwords[statuses.indexOf(200)] ?? '')).toBe(200);
    expectGone(await choose(invited));
  });

  const ENDS: [string, (invited: Invited) => Promise<unknown>][] = [
    ['used', (invited) => choose(invited)],
    [
      'expired',
      () => {
        app.clockOffset = 72 * HOUR_MS + 1_000;
        return Promise.resolve();
      },
    ],
    ['replaced by another', (invited) => reset(invited)],
    [
      'replaced by a password',
      async ({ id }) => {
        const answer = await asAdmin('POST', `${STAFF}/${id}/reset-password`);
        secret(answer.json<{ password: string }>().password);
      },
    ],
    ['of somebody who was removed', ({ id }) => asAdmin('DELETE', `${STAFF}/${id}`)],
  ];
  const withoutIds = ({ status, headers, text }: Answer): unknown => ({
    status,
    headers: [...headers].filter(([name]) => name !== 'date' && name !== 'x-request-id'),
    text: text.replace(/"requestId":"[^"]*"/, ''),
  });

  it.each(ENDS)('that is %s looks like an unknown one and changes nothing', async (_, end) => {
    const invited = await invite();
    await end(invited);
    const password = secret('of somebody else entirely');
    const answer = await choose(invited, password);
    expectGone(answer);
    const unknown = await post({ secret: randomBytes(32).toString('base64url'), newPassword: password });
    expect(withoutIds(answer)).toEqual(withoutIds(unknown));
    app.clockOffset = 0;
    expect(await signIn(invited.email, password)).toBe(401);
  });

  it.each(ENDS.slice(0, 4))('that is %s makes ten events at most and takes no lock after them', async (_, end) => {
    const invited = await invite();
    await end(invited);
    expect(tally(await inParallel(40, 4, () => choose(invited)))).toEqual({ 410: 40 });
    const holder = new pg.Client({ connectionString: app.databaseUrl });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM staff WHERE id = $1 FOR UPDATE', [invited.id]);
      await holder.query('LOCK TABLE audit_event, audit_chain IN ACCESS EXCLUSIVE MODE');
      expectGone(await choose(invited));
    } finally {
      await holder.end();
    }
    app.clockOffset = 0;
    const refused = (await trailOf(invited)).filter(({ action }) => action === 'password-link.refused');
    expect(refused).toHaveLength(10);
  });

  const BAD: [string, unknown, string][] = [
    ['too short', 'eleven char', 'newPassword'],
    ['too long', 'x'.repeat(257), 'newPassword'],
    ['with a control character', 'with a\u0000zero byte', 'newPassword'],
    ['none', undefined, 'newPassword'],
    ['no text', 123_456_789_012, 'newPassword'],
  ];
  it.each(BAD)('refuses a password that is %s and remains usable', async (_, newPassword, field) => {
    const invited = await invite();
    const answer = await post({ secret: secretOf(invited), newPassword });
    expect(answer.status).toBe(400);
    expect(answer.json<{ errors: { field: string }[] }>().errors.map((error) => error.field)).toEqual([field]);
    expect((await choose(invited)).status).toBe(200);
  });

  it.each(['', 'x', 'x'.repeat(44), null, 5, {}])('is malformed with an invalid secret: %p', async (value) => {
    expect((await post({ secret: value, newPassword: CHOSEN })).status).toBe(400);
  });

  it('keeps the second factor', async () => {
    const member = await app.newStaff('operator');
    await app.dataSource.query(
      `UPDATE staff SET second_factor_at = now(), totp_secret = '\\x00', last_totp_step = 1 WHERE id = $1`,
      [member.id],
    );
    expect((await choose(await reset(member))).status).toBe(200);
    const answer = await app.request('POST', '/admin/session', { json: { email: member.email, password: CHOSEN } });
    expect({ status: answer.status, code: answer.json()['code'] }).toEqual({
      status: 401,
      code: 'session.code-required',
    });
  });

  it('is stored nowhere, and neither is the password', async () => {
    const invited = await invite();
    const linkSecret = secretOf(invited);
    await choose(invited);
    const texts = [
      JSON.stringify(await trailOf(invited)),
      (await asAdmin('GET', STAFF)).text,
      JSON.stringify(await app.dataSource.query('SELECT t::text FROM password_link t')),
      JSON.stringify(await app.dataSource.query('SELECT t::text FROM audit_event t')),
    ];
    for (const text of texts) {
      expect(text).not.toContain(linkSecret);
      expect(text).not.toContain(CHOSEN);
    }
  });

  it('has its steps in the trail', async () => {
    const invited = await invite();
    const second = await reset(invited);
    await choose(second, CHOSEN, '203.0.113.50');
    await choose(second, CHOSEN, '203.0.113.51');
    const events = (await trailOf(invited)).map(({ action, actor, address }) => [action, actor.id, address]);
    expect(events).toEqual([
      ['staff.created', admin.id, '127.0.0.1'],
      ['password-link.created', admin.id, '127.0.0.1'],
      ['staff.password-reset', admin.id, '127.0.0.1'],
      ['password-link.revoked', admin.id, '127.0.0.1'],
      ['password-link.created', admin.id, '127.0.0.1'],
      ['password-link.used', null, '203.0.113.50'],
      ['password-link.refused', null, '203.0.113.51'],
    ]);
  });

  it('may be guessed ten times from an address before waits, without affecting working links', async () => {
    const address = newAddress();
    const guess = (): Promise<Answer> =>
      post({ secret: randomBytes(32).toString('base64url'), newPassword: CHOSEN }, address);
    const answers = [];
    for (let i = 0; i < 12; i++) answers.push(await guess());
    expect(tally(answers)).toEqual({ 410: 10, 429: 2 });
    const waits = answers.slice(10).map(({ headers }) => headers.get('retry-after'));
    for (const wait of waits) expect(wait).toMatch(/^[1-9]\d*$/);
    // A guess during a wait does not lengthen it.
    expect(Number(waits[1])).toBeLessThanOrEqual(Number(waits[0]));
    // A guess after a wait begins a longer one.
    passLimits(app, 15_000);
    const later = await guess();
    expect([later.status, Number(later.headers.get('retry-after'))]).toEqual([429, 30]);
    expect((await choose(await invite(), CHOSEN, address)).status).toBe(200);
  });
});

describe('with a listener for staff', () => {
  let own: TestApp;
  beforeAll(async () => {
    own = await TestApp.start({ adminPort: 0, trustedProxies: LOOPBACK_PROXIES });
  });
  afterAll(() => own.close());
  const linkFrom = async (headers: Record<string, string>): Promise<string> => {
    const { token } = await own.asStaff('admin');
    const json = { email: `own-${String(++counter)}@staff.example`, name: 'x', role: 'viewer', deliver: 'link' };
    const answer = await own.request('POST', STAFF, { token, json, headers });
    const invited = answer.json<Invited>();
    secretOf(invited);
    return invited.link;
  };

  it('leads to it, and opens only there', async () => {
    const link = await linkFrom({});
    expect(link.split('#')[0]).toBe(`${own.staffUrl}/console/password-link`);
    const page = await fetch(link);
    expect({ status: page.status, type: page.headers.get('content-type') }).toEqual({
      status: 200,
      type: 'text/html; charset=utf-8',
    });
    expect((await fetch(`${own.url}/console/password-link`)).status).toBe(404);
    const json = { secret: secretOf({ link }), newPassword: CHOSEN };
    const elsewhere = await fetch(`${own.url}/admin/password-link/use`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(json),
    });
    expect(elsewhere.status).toBe(404);
    expect((await post(json, newAddress(), own)).status).toBe(200);
  });

  it('has the host name that the admin used', async () => {
    const { host } = new URL(own.staffUrl);
    const forwarded = { 'x-forwarded-proto': 'https', 'x-forwarded-for': '203.0.113.9' };
    expect(await linkFrom(forwarded)).toMatch(new RegExp(`^https://${host}/console/password-link#`));
    expect(await linkFrom({ origin: 'http://latchkey.test' })).toMatch(/^http:\/\/latchkey\.test\/console\//);
    // An Origin that is neither Latchkey's nor the request's is ignored.
    expect(await linkFrom({ origin: 'https://evil.example' })).toMatch(new RegExp(`^http://${host}/console/`));
  });
});

describe('the page of a link', () => {
  const FILES = ['', '/page.css', '/form.css', '/page.js', '/icon.svg'].map((name) => `/console/password-link${name}`);

  it.each(['%23', '%2523', '/%23'])('opens when the # of a link arrives as %s', async (hash) => {
    const part = secretOf(await invite());
    const page = hash.startsWith('/') ? '../password-link' : 'password-link';
    for (const tail of ['', '.', '%3E']) {
      const answer = await fetch(`${app.url}/console/password-link${hash}${part}${tail}`, { redirect: 'manual' });
      expect([tail, answer.status, answer.headers.get('location')]).toEqual([tail, 302, `${page}#${part}`]);
    }
  });

  it.each(FILES)('is the same for everybody, loads only its own files and sends no referrer: %s', async (path) => {
    const answer = await app.request('GET', path);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-security-policy')).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
        "require-trusted-types-for 'script'; trusted-types 'none'",
    );
    expect(answer.headers.get('referrer-policy')).toBe('no-referrer');
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(answer.text).not.toMatch(/<script>|style=|onclick/);
  });
});
