import pg from 'pg';
import type { DataSource } from 'typeorm';
import { type Answer, type RequestOptions, type StaffMember, TestApp } from '../../../test/support/app.ts';
import { passLimits } from '../../../test/support/inside.ts';
import { secret } from '../../../test/support/secrets.ts';
import { eventually, inParallel, LOOPBACK_PROXIES, until } from '../../../test/support/sign-ins.ts';
import { generateKey } from './key-text.ts';

interface Key {
  id: string;
  status: string;
  createdAt: string;
  expiresAt: string | null;
  pendingUntil: string | null;
  retireOthers: { after: string; seconds: number } | null;
  lastUsedAt: string | null;
  lastUsedAddress: string | null;
}
interface Account {
  id: string;
  name: string;
  role: string;
  status: string;
  allowedIps: string[];
  createdAt: string;
  expiresAt: string | null;
  lastUsedAt: string | null;
  lastUsedAddress: string | null;
  keys: Key[];
}
interface Event {
  action: string;
  actor: { type: string; id: string | null; name: string };
  target: { type: string; id: string; name: string };
  address: string | null;
  reason: string | null;
  changes: Record<string, [unknown, unknown]>;
}

const ACCOUNTS = '/admin/service-accounts';
const USERS = '/admin/channel-users';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const DAY_MS = 86_400_000;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

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
const unique = (text: string): string => `${text}-${String(++counter)}`;
const as = (token: string, method: string, path: string, json?: unknown, on = app): Promise<Answer> =>
  on.request(method, path, { token, json });
const asAdmin = (method: string, path: string, json?: unknown): Promise<Answer> => as(admin.token, method, path, json);

function newKey(answer: Answer, status: number): Account & { key: string } {
  const created = answer.expect(status).json<Account & { key: string }>();
  secret(created.key);
  return created;
}
const create = async (fields: Record<string, unknown> = {}): Promise<Account & { key: string }> =>
  newKey(await asAdmin('POST', ACCOUNTS, { name: unique('script'), role: 'operator', ...fields }), 201);
const rotate = async ({ id }: Account, json: object = {}): Promise<Account & { key: string }> =>
  newKey(await asAdmin('POST', `${ACCOUNTS}/${id}/rotate`, json), 200);
const read = async ({ id }: Pick<Account, 'id'>): Promise<Account> =>
  (await asAdmin('GET', `${ACCOUNTS}/${id}`)).expect(200).json<Account>();
/** What a call with a key is answered. */
const tryKey = async (
  key: string,
  options: RequestOptions = {},
  on = app,
): Promise<[status: number, code?: string]> => {
  const answer = await on.request('GET', USERS, { token: key, ...options });
  return answer.status === 200 ? [200] : [answer.status, answer.json<{ code: string }>().code];
};
const eventsOf = async ({ id }: Pick<Account, 'id'>): Promise<Event[]> =>
  (await asAdmin('GET', `/admin/audit-events?target=${id}&limit=200`)).json<{ items: Event[] }>().items.reverse();

/** Lets the application's own queries run through `instead` while `work` runs. */
async function withQueries(
  instead: (run: () => unknown, text: string) => unknown,
  work: () => Promise<void>,
): Promise<void> {
  const { dataSource } = app;
  const query = dataSource.query.bind(dataSource);
  dataSource.query = ((text: string, parameters?: unknown[]) =>
    instead(() => query(text, parameters), text)) as DataSource['query'];
  try {
    await work();
  } finally {
    dataSource.query = query;
  }
}

function expectProblem(answer: Answer, status: number, code: string, fields?: string[]): void {
  const problem = answer.json<{ code: string; errors?: { field: string }[] }>();
  expect({ status: answer.status, code: problem.code }).toEqual({ status, code });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  if (fields) expect((problem.errors ?? []).map(({ field }) => field)).toEqual(fields);
}

describe('service accounts', () => {
  it('are created with a working key that is shown once and stored nowhere', async () => {
    const name = unique('provisioning');
    const answer = await asAdmin('POST', ACCOUNTS, { name, role: 'operator' });
    const { key, ...account } = newKey(answer, 201);
    expect(answer.headers.get('location')).toBe(`${ACCOUNTS}/${account.id}`);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(key).toMatch(/^lk_sa_[0-9a-f]{32}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/);
    const keyId = account.keys[0]?.id ?? '';
    expect(key.slice(6, 38)).toBe(keyId.replaceAll('-', ''));
    expect(account).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      name,
      role: 'operator',
      status: 'active',
      allowedIps: [],
      createdAt: expect.stringMatching(ISO) as string,
      expiresAt: null,
      lastUsedAt: null,
      lastUsedAddress: null,
      keys: [
        {
          id: keyId,
          status: 'active',
          createdAt: expect.stringMatching(ISO) as string,
          expiresAt: null,
          pendingUntil: null,
          retireOthers: null,
          lastUsedAt: null,
          lastUsedAddress: null,
        },
      ],
    });
    expect(await tryKey(key)).toEqual([200]);
    expect((await asAdmin('GET', ACCOUNTS)).text).not.toContain(key.slice(39, 82));
    const [row] = await app.dataSource.query<{ text: string }[]>(
      `SELECT string_agg(to_jsonb(key)::text, '') AS text FROM service_account_key AS key`,
    );
    expect(row?.text).toContain('$sha256$');
    expect(row?.text).not.toContain(key.slice(39, 82));
  });

  it('are listed by name', async () => {
    const first = await create({ name: unique('Ä last') });
    const second = await create({
      name: unique('a first'),
      allowedIps: ['192.0.2.0/24'],
      expiresAt: '2040-01-01T00:00:00Z',
    });
    const { items } = (await asAdmin('GET', ACCOUNTS)).expect(200).json<{ items: Account[] }>();
    const names = items.map(({ name }) => name);
    expect(names).toEqual(expect.arrayContaining([first.name, second.name]));
    expect(items.find(({ id }) => id === second.id)).toMatchObject({
      allowedIps: ['192.0.2.0/24'],
      expiresAt: '2040-01-01T00:00:00.000Z',
    });
    expect(JSON.stringify(items)).not.toContain('lk_sa_');
  });

  it('have unique names in any case', async () => {
    const { name } = await create({ name: unique('Deploy') });
    expectProblem(
      await asAdmin('POST', ACCOUNTS, { name: name.toUpperCase(), role: 'viewer' }),
      409,
      'service-account.name-taken',
      ['name'],
    );
    const other = await create();
    expectProblem(await asAdmin('PATCH', `${ACCOUNTS}/${other.id}`, { name }), 409, 'service-account.name-taken', [
      'name',
    ]);
  });

  it.each([
    ['name', ''],
    ['name', 'x'.repeat(101)],
    ['name', 7],
    ['role', 'root'],
    ['role', null],
    ['expiresAt', 'tomorrow'],
    ['allowedIps', '192.0.2.1'],
    ['allowedIps', ['192.0.2.1/33']],
    ['allowedIps', null],
    ['allowedIps', Array.from({ length: 101 }, (_, i) => `192.0.2.${String(i)}`)],
    ['password', 'secret'],
    ['key', 'lk_sa_'],
  ])('are refused with %s %p', async (field, value) => {
    const answer = await asAdmin('POST', ACCOUNTS, { name: unique('bad'), role: 'viewer', [field]: value });
    expectProblem(answer, 400, 'request.invalid', [field]);
  });

  it('require a name and a role', async () => {
    expectProblem(await asAdmin('POST', ACCOUNTS, {}), 400, 'request.invalid', ['name', 'role']);
  });

  it.each([UNKNOWN, 'not-a-uuid', '%00'])('get 404 under an unknown id: %s', async (id) => {
    const path = `${ACCOUNTS}/${id}`;
    const calls = [
      ['GET', path],
      ['PATCH', path, {}],
      ['DELETE', path],
      ['POST', `${path}/suspend`, { reason: 'x' }],
      ['POST', `${path}/reactivate`, {}],
      ['POST', `${path}/rotate`, {}],
      ['POST', `${path}/revoke`, { reason: 'x' }],
      ['POST', `${path}/keys/${UNKNOWN}/withdraw`],
      ['DELETE', `${path}/keys/${UNKNOWN}`],
    ] as const;
    for (const [method, url, json] of calls) {
      expectProblem(await asAdmin(method, url, json), 404, 'service-account.not-found');
    }
  });

  it('change their role, name, expiry and addresses from the next request on', async () => {
    const account = await create({ role: 'viewer' });
    const post = (): Promise<Answer> =>
      as(account.key, 'POST', USERS, { username: unique('made'), displayName: 'Made', deliver: 'link' });
    expectProblem(await post(), 403, 'auth.insufficient-role');
    const path = `${ACCOUNTS}/${account.id}`;
    const changed = (await asAdmin('PATCH', path, { role: 'operator', name: unique('renamed') })).expect(200);
    expect(changed.json<Account>()).toMatchObject({ role: 'operator', status: 'active' });
    secret((await post()).expect(201).json<{ handoverUrl: string }>().handoverUrl);

    (await asAdmin('PATCH', path, { allowedIps: ['198.51.100.0/24'] })).expect(200);
    expect(await tryKey(account.key)).toEqual([403, 'service-account.address-not-allowed']);
    (await asAdmin('PATCH', path, { allowedIps: ['127.0.0.1', '::1'] })).expect(200);
    expect(await tryKey(account.key)).toEqual([200]);

    (await asAdmin('PATCH', path, { expiresAt: '2020-01-01T00:00:00Z' })).expect(200);
    expect(await tryKey(account.key)).toEqual([401, 'service-account.expired']);
    expect((await read(account)).status).toBe('expired');
    (await asAdmin('PATCH', path, { expiresAt: null })).expect(200);
    expect(await tryKey(account.key)).toEqual([200]);

    // Nothing changes, so nothing is recorded.
    const before = (await eventsOf(account)).length;
    (await asAdmin('PATCH', path, { role: 'operator' })).expect(200);
    expect((await eventsOf(account)).length).toBe(before);
  });

  it('are suspended and reactivated, and the answer says which', async () => {
    const account = await create();
    const path = `${ACCOUNTS}/${account.id}`;
    expectProblem(await asAdmin('POST', `${path}/suspend`, {}), 400, 'request.invalid', ['reason']);
    for (let i = 0; i < 2; i++) {
      const suspended = (await asAdmin('POST', `${path}/suspend`, { reason: 'odd calls' })).expect(200);
      expect(suspended.json<Account>().status).toBe('suspended');
      expect(await tryKey(account.key)).toEqual([403, 'service-account.suspended']);
    }
    for (let i = 0; i < 2; i++) {
      expect((await asAdmin('POST', `${path}/reactivate`, {})).expect(200).json<Account>().status).toBe('active');
      expect(await tryKey(account.key)).toEqual([200]);
    }
    expect((await eventsOf(account)).map(({ action, reason }) => [action, reason])).toEqual([
      ['service-account.created', null],
      ['service-account.suspended', 'odd calls'],
      ['service-account.reactivated', null],
    ]);
  });

  it('are revoked for good, with every key', async () => {
    const account = await create();
    const next = await rotate(account);
    const path = `${ACCOUNTS}/${account.id}`;
    for (let i = 0; i < 2; i++) {
      const revoked = (await asAdmin('POST', `${path}/revoke`, { reason: 'leaked' })).expect(200).json<Account>();
      expect(revoked).toMatchObject({ status: 'revoked', keys: [] });
    }
    for (const key of [account.key, next.key]) expect(await tryKey(key)).toEqual([401, 'service-account.invalid-key']);
    const calls = [
      ['PATCH', path, { role: 'admin' }],
      ['POST', `${path}/suspend`, { reason: 'x' }],
      ['POST', `${path}/reactivate`, {}],
      ['POST', `${path}/rotate`, {}],
    ] as const;
    for (const [method, url, json] of calls) {
      expectProblem(await asAdmin(method, url, json), 409, 'service-account.revoked');
    }
    const last = (await eventsOf(account)).at(-1);
    expect(last).toMatchObject({
      action: 'service-account.revoked',
      reason: 'leaked',
      changes: { status: ['active', 'revoked'] },
    });
  });

  it('are deleted with their keys, and their name becomes free', async () => {
    const account = await create();
    expect((await asAdmin('DELETE', `${ACCOUNTS}/${account.id}`)).status).toBe(204);
    expect(await tryKey(account.key)).toEqual([401, 'service-account.invalid-key']);
    await create({ name: account.name });
    expect((await eventsOf(account)).at(-1)).toMatchObject({
      action: 'service-account.deleted',
      target: { type: 'service-account', name: account.name },
    });
  });
});

describe('a key', () => {
  it('does what its role may do, and the trail names the service account', async () => {
    const account = await create();
    const made = await as(account.key, 'POST', USERS, {
      username: unique('by-script'),
      displayName: 'By',
      deliver: 'link',
    });
    const { channelUser, handoverUrl } = made.expect(201).json<{ channelUser: { id: string }; handoverUrl: string }>();
    secret(handoverUrl);
    const [event] = (await asAdmin('GET', `/admin/audit-events?target=${channelUser.id}`)).json<{ items: Event[] }>()
      .items;
    const actor = { type: 'service-account', id: account.id, name: account.name };
    expect(event).toMatchObject({ actor, address: expect.stringMatching(/127\.0\.0\.1|::1/) as string });
    for (const filter of [account.id, 'service-account']) {
      const found = await asAdmin('GET', `/admin/audit-events?actor=${filter}&target=${channelUser.id}`);
      expect(found.json<{ items: Event[] }>().items[0]?.actor).toEqual(actor);
    }
    const csv = await asAdmin('GET', `/admin/audit-events/export?format=csv&actor=${account.id}`);
    expect(csv.text).toContain(`,service-account,${account.id},${account.name},`);
    expectProblem(await as(account.key, 'DELETE', `${USERS}/${channelUser.id}`), 403, 'auth.insufficient-role');

    const grant = { resourceType: 'property', resourceIds: ['7'] };
    (await as(account.key, 'POST', `${USERS}/${channelUser.id}/grants`, grant)).expect(200);
    const grants = await as(account.key, 'GET', `${USERS}/${channelUser.id}/grants`);
    expect(grants.json<{ items: { grantedBy: string }[] }>().items[0]?.grantedBy).toBe(account.id);
  });

  it('begins and withdraws rotations of partners under its name, and notices say so', async () => {
    const account = await create();
    const { id } = await app.newPartner();
    const credentials = `${USERS}/${id}/credentials`;
    const begin = await as(account.key, 'POST', credentials, { deliver: 'link' });
    const { credential, handoverUrl } = begin.expect(201).json<{
      credential: { id: string; startedBy: object };
      handoverUrl: string;
    }>();
    secret(handoverUrl);
    const startedBy = { type: 'service-account', id: account.id, name: account.name };
    expect(credential.startedBy).toEqual(startedBy);
    const refused = await asAdmin('POST', credentials, { deliver: 'link' });
    expect(refused.json()).toMatchObject({ code: 'credential.rotation-pending', startedBy });
    (await as(account.key, 'POST', `${credentials}/${credential.id}/withdraw`)).expect(200);
    const rows = await app.dataSource.query<{ type: string; data: Record<string, unknown> }[]>(
      'SELECT type, data FROM notice WHERE channel_user_id = $1 ORDER BY created_at, type',
      [id],
    );
    expect(rows).toEqual([
      {
        type: 'credential.rotation_started',
        data: expect.objectContaining({ startedBy: 'service-account' }) as object,
      },
      {
        type: 'credential.rotation_withdrawn',
        data: expect.objectContaining({ withdrawnBy: 'service-account' }) as object,
      },
    ]);
    // A deleted service account has no name any more.
    expect((await asAdmin('DELETE', `${ACCOUNTS}/${account.id}`)).status).toBe(204);
    const { items } = (await asAdmin('GET', credentials)).json<{ items: { startedBy: { name: unknown } | null }[] }>();
    expect(items[0]?.startedBy).toEqual({ ...startedBy, name: null });
  });

  it('imports partners under its name', async () => {
    const account = await create({ role: 'admin' });
    const answer = await app.request('POST', `${USERS}/import?dryRun=true`, {
      token: account.key,
      body: `username,displayName\n${unique('imported')},Imported\n`,
      headers: { 'content-type': 'text/csv' },
    });
    answer.expect(200);
    const { items } = (await as(account.key, 'GET', `${USERS}/imports`)).json<{ items: { by: object }[] }>();
    expect(items[0]?.by).toEqual({ type: 'service-account', id: account.id, name: account.name });
  });

  it('opens nothing in the partner API, and does not sign in to the console', async () => {
    const { key } = await create({ role: 'admin' });
    expectProblem(await as(key, 'GET', '/me'), 403, 'auth.wrong-plane');
    for (const json of [
      { email: key, password: key },
      { email: admin.email, password: key },
    ]) {
      const signIn = await app.request('POST', '/admin/session', { json, token: key });
      expectProblem(signIn, 401, 'session.invalid-credentials');
    }
    // The console's cookie holds a session, and nothing else counts there.
    const cookie = `latchkey_session_${String(app.config.port)}=${key}`;
    expectProblem(await app.request('GET', USERS, { headers: { cookie } }), 401, 'auth.invalid-token');
  });

  it('is refused with a challenge when it is mistyped, unknown, or has another secret', async () => {
    passLimits(app, DAY_MS);
    const { key, keys } = await create();
    const other = generateKey(keys[0]?.id ?? '');
    const cases: [key: string, code: string][] = [
      [`${key.slice(0, -1)}${key.endsWith('0') ? '1' : '0'}`, 'service-account.mistyped-key'],
      [key.slice(0, 60), 'service-account.mistyped-key'],
      ['lk_sa_', 'service-account.mistyped-key'],
      [generateKey(UNKNOWN), 'service-account.invalid-key'],
      [secret(other), 'service-account.invalid-key'],
    ];
    for (const [wrong, code] of cases) {
      const answer = await as(wrong, 'GET', USERS);
      expectProblem(answer, 401, code);
      expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="latchkey", error="invalid_token", /);
      expect(answer.text).not.toContain('lk_sa_');
    }
    expect(await tryKey(key)).toEqual([200]);
  });

  it('that is mistyped costs no query', async () => {
    passLimits(app, DAY_MS);
    const { key } = await create();
    let lookups = 0;
    await withQueries(
      (run, text) => {
        if (text.includes('key.secret_hash')) lookups++;
        return run();
      },
      async () => {
        expect((await tryKey(`${key.slice(0, -1)}_`))[0]).toBe(401);
        expect(lookups).toBe(0);
        expect(await tryKey(key)).toEqual([200]);
        expect(lookups).toBe(1);
      },
    );
  });

  it('is never refused for wrong ones from its address, which are throttled', async () => {
    passLimits(app, DAY_MS);
    const { key } = await create();
    const wrong = generateKey(UNKNOWN);
    for (let i = 0; i < 10; i++) expect(await tryKey(wrong)).toEqual([401, 'service-account.invalid-key']);
    const answer = await as(wrong, 'GET', USERS);
    expectProblem(answer, 429, 'service-account.too-many-attempts');
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await tryKey(key.slice(0, 50)))[0]).toBe(429);
    const right = await inParallel(20, 10, async () => (await tryKey(key))[0]);
    expect(right).toEqual(Array<number>(20).fill(200));
    // Nor are people, whose sign-ins have counters of their own.
    await app.signIn(admin.email, admin.password);
    // Another address is not throttled.
    const elsewhere = { headers: { 'x-forwarded-for': '198.51.100.9' } };
    expect(await tryKey(wrong, elsewhere)).toEqual([401, 'service-account.invalid-key']);
    passLimits(app, DAY_MS);
    expect(await tryKey(wrong)).toEqual([401, 'service-account.invalid-key']);
  });

  it('is accepted from its addresses only, behind proxies as well', async () => {
    const { key } = await create({ allowedIps: ['203.0.113.0/24', '2001:db8::/64'] });
    expect(await tryKey(key)).toEqual([403, 'service-account.address-not-allowed']);
    for (const [address, status] of [
      ['203.0.113.7', 200],
      ['2001:db8::7', 200],
      ['203.0.114.7', 403],
      ['2001:db8:0:1::7', 403],
    ] as const) {
      expect([address, (await tryKey(key, { headers: { 'x-forwarded-for': address } }))[0]]).toEqual([address, status]);
    }
  });

  it('records its last use and the address, at most once a minute and not in the request', async () => {
    const account = await create();
    await tryKey(account.key);
    const used = await eventually(async () => {
      const now = await read(account);
      return now.lastUsedAt === null ? undefined : now;
    }, 'the use is written');
    expect(used.lastUsedAddress).toMatch(/127\.0\.0\.1|::1/);
    expect(used.keys[0]).toMatchObject({ lastUsedAt: used.lastUsedAt, lastUsedAddress: used.lastUsedAddress });
    app.clockOffset = 30_000;
    await tryKey(account.key);
    expect((await read(account)).lastUsedAt).toBe(used.lastUsedAt);
    app.clockOffset = 61_000;
    await tryKey(account.key);
    await until(async () => (await read(account)).lastUsedAt !== used.lastUsedAt, 'the later use is written');
    // A refusal is no use.
    const viewer = await create({ role: 'viewer' });
    await as(viewer.key, 'POST', USERS, {});
    await as(viewer.key, 'GET', ACCOUNTS);
    expect((await read(viewer)).lastUsedAt).toBeNull();
  });

  it('goes on working while its rows are locked by somebody else', async () => {
    const account = await create();
    const holder = new pg.Client({ connectionString: app.databaseUrl });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM service_account WHERE id = $1 FOR UPDATE', [account.id]);
      expect(await tryKey(account.key)).toEqual([200]);
      await holder.query('COMMIT');
    } finally {
      await holder.end();
    }
    await until(async () => (await read(account)).lastUsedAt !== null, 'the use is written after all');
  });
});

describe('a rotation', () => {
  it('leaves the old key working until the first use of the new one, and then for a day', async () => {
    const account = await create();
    const next = await rotate(account);
    const [pending, active] = next.keys;
    expect(pending).toMatchObject({
      status: 'pending',
      expiresAt: null,
      retireOthers: { after: 'first-use', seconds: 86_400 },
      pendingUntil: new Date(Date.parse(pending?.createdAt ?? '') + 30 * DAY_MS).toISOString(),
    });
    expect(active).toMatchObject({ id: account.keys[0]?.id, status: 'active', expiresAt: null });
    for (let i = 0; i < 2; i++) expect(await tryKey(account.key)).toEqual([200]);
    expect((await read(account)).keys.map(({ status }) => status)).toEqual(['pending', 'active']);

    // A refusal is no first use.
    expect((await as(next.key, 'GET', ACCOUNTS)).status).toBe(403);
    expect((await read(account)).keys[0]?.status).toBe('pending');
    const before = Date.now();
    const uses = await inParallel(8, 8, async () => (await tryKey(next.key))[0]);
    expect(uses).toEqual(Array<number>(8).fill(200));
    const { keys } = await read(account);
    expect(keys.map(({ status }) => status)).toEqual(['active', 'active']);
    expect(keys[0]?.expiresAt).toBeNull();
    expect(Date.parse(keys[1]?.expiresAt ?? '') - before).toBeGreaterThanOrEqual(DAY_MS);
    expect(await tryKey(account.key)).toEqual([200]);
    app.clockOffset = DAY_MS + 60_000;
    expect(await tryKey(account.key)).toEqual([401, 'service-account.invalid-key']);
    expect(await tryKey(next.key)).toEqual([200]);
    app.clockOffset = 0;
    const told = (await eventsOf(account)).map(({ action, actor }) => [action, actor.type]);
    expect(told).toEqual([
      ['service-account.created', 'staff'],
      ['service-account-key.created', 'staff'],
      ['service-account-key.activated', 'system'],
      ['service-account-key.retired', 'system'],
    ]);
  });

  it('is completed once when the new key is used on two instances at the same moment', async () => {
    const beside = await TestApp.start(app.config);
    try {
      const account = await create();
      const next = await rotate(account);
      const uses = await inParallel(12, 12, async (i) => (await tryKey(next.key, {}, i % 2 === 0 ? app : beside))[0]);
      expect(uses).toEqual(Array<number>(12).fill(200));
      expect((await eventsOf(account)).map(({ action }) => action).slice(2)).toEqual([
        'service-account-key.activated',
        'service-account-key.retired',
      ]);
    } finally {
      await beside.stop();
    }
  });

  it('is refused while another one is pending, and says how to go on', async () => {
    const account = await create();
    const next = await rotate(account);
    const pending = next.keys[0]?.id ?? '';
    const answer = await asAdmin('POST', `${ACCOUNTS}/${account.id}/rotate`, {});
    expectProblem(answer, 409, 'service-account.rotation-pending');
    expect(answer.json()).toMatchObject({
      keyId: pending,
      pendingSince: next.keys[0]?.createdAt,
      withdraw: `POST ${ACCOUNTS}/${account.id}/keys/${pending}/withdraw`,
    });
    const replacing = await rotate(account, { replaces: pending, retireOthers: { seconds: 60 } });
    expect(await tryKey(next.key)).toEqual([401, 'service-account.invalid-key']);
    expect(replacing.keys.map(({ status }) => status)).toEqual(['pending', 'active']);
    expect(replacing.keys[0]?.retireOthers?.seconds).toBe(60);
    const withdraw = `${ACCOUNTS}/${account.id}/keys/${replacing.keys[0]?.id ?? ''}/withdraw`;
    expect((await asAdmin('POST', withdraw)).expect(200).json<Account>().keys).toHaveLength(1);
    expect(await tryKey(replacing.key)).toEqual([401, 'service-account.invalid-key']);
    expectProblem(await asAdmin('POST', withdraw), 409, 'service-account.key-not-pending');
    for (const id of [account.keys[0]?.id, pending]) {
      const gone = await asAdmin('POST', `${ACCOUNTS}/${account.id}/rotate`, { replaces: id });
      expectProblem(gone, 409, 'service-account.key-not-pending');
    }
    const unknown = await asAdmin('POST', `${ACCOUNTS}/${account.id}/rotate`, { replaces: UNKNOWN });
    expectProblem(unknown, 404, 'service-account.key-not-found');
    expect(await tryKey(account.key)).toEqual([200]);
  });

  it('can end the old key now or after a time', async () => {
    const account = await create();
    const pending = await rotate(account);
    const now = await rotate(account, { retireOthers: { after: 'now', seconds: 0 } });
    for (const key of [account.key, pending.key])
      expect(await tryKey(key)).toEqual([401, 'service-account.invalid-key']);
    expect(now.keys.map(({ status }) => status)).toEqual(['active']);
    const later = await rotate(account, { retireOthers: { after: 'now', seconds: 120 } });
    expect(later.keys.map(({ status }) => status)).toEqual(['active', 'active']);
    expect(await tryKey(now.key)).toEqual([200]);
    app.clockOffset = 121_000;
    expect(await tryKey(now.key)).toEqual([401, 'service-account.invalid-key']);
    expect(await tryKey(later.key)).toEqual([200]);
  });

  it.each([
    [{ retireOthers: { after: 'later' } }, 'retireOthers.after'],
    [{ retireOthers: { seconds: -1 } }, 'retireOthers.seconds'],
    [{ retireOthers: { seconds: 1.5 } }, 'retireOthers.seconds'],
    [{ retireOthers: 'now' }, 'retireOthers'],
    [{ replaces: 'x' }, 'replaces'],
    [{ key: 'lk_sa_' }, 'key'],
  ])('is refused with %j', async (json, field) => {
    const { id } = await create();
    expectProblem(await asAdmin('POST', `${ACCOUNTS}/${id}/rotate`, json), 400, 'request.invalid', [field]);
  });

  it('keeps at most five keys alive', async () => {
    const account = await create();
    for (let i = 0; i < 4; i++) await rotate(account, { retireOthers: { after: 'now', seconds: 3_600 } });
    const answer = await asAdmin('POST', `${ACCOUNTS}/${account.id}/rotate`, {
      retireOthers: { after: 'now', seconds: 60 },
    });
    expectProblem(answer, 409, 'service-account.too-many-keys');
    const [, , third] = (await read(account)).keys;
    const path = `${ACCOUNTS}/${account.id}/keys/${third?.id ?? ''}`;
    for (let i = 0; i < 2; i++) expect((await asAdmin('DELETE', path)).status).toBe(204);
    expect((await rotate(account, { retireOthers: { after: 'now', seconds: 60 } })).keys).toHaveLength(5);
    expectProblem(
      await asAdmin('DELETE', `${ACCOUNTS}/${account.id}/keys/${UNKNOWN}`),
      404,
      'service-account.key-not-found',
    );
  });

  it('starts one rotation when two are asked for at once', async () => {
    const account = await create();
    const answers = await Promise.all([1, 2].map(() => asAdmin('POST', `${ACCOUNTS}/${account.id}/rotate`, {})));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409]);
    for (const answer of answers) if (answer.status === 200) newKey(answer, 200);
  });

  it('ends unused after thirty days, unless the new key is the only one', async () => {
    const account = await create();
    const next = await rotate(account);
    const alone = await create();
    const only = await rotate(alone);
    expect((await asAdmin('DELETE', `${ACCOUNTS}/${alone.id}/keys/${alone.keys[0]?.id ?? ''}`)).status).toBe(204);
    await app.runTask('Withdrawing new keys that nobody used');
    expect((await read(account)).keys).toHaveLength(2);
    app.clockOffset = 30 * DAY_MS + 60_000;
    await app.runTask('Withdrawing new keys that nobody used');
    app.clockOffset = 0;
    expect(await tryKey(next.key)).toEqual([401, 'service-account.invalid-key']);
    expect(await tryKey(only.key)).toEqual([200]);
    expect((await eventsOf(account)).at(-1)).toMatchObject({
      action: 'service-account-key.withdrawn',
      actor: { type: 'system' },
      reason: 'The new key was not used within 30 days.',
    });
  });
});

describe('a request of a service account', () => {
  it('fails when the account was suspended while it waited', async () => {
    const account = await create();
    const partner = await app.newPartner();
    const holder = new pg.Client({ connectionString: app.databaseUrl });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM channel_user WHERE id = $1 FOR UPDATE', [partner.id]);
      const answer = as(account.key, 'PATCH', `${USERS}/${partner.id}`, { notes: 'too late' });
      await eventually(async () => {
        const { rowCount } = await holder.query(
          `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
        );
        return rowCount === 0 ? undefined : true;
      }, 'the request waits for the lock');
      (await asAdmin('POST', `${ACCOUNTS}/${account.id}/suspend`, { reason: 'stop' })).expect(200);
      await holder.query('COMMIT');
      expectProblem(await answer, 403, 'service-account.suspended');
    } finally {
      await holder.end();
    }
    const { notes } = (await asAdmin('GET', `${USERS}/${partner.id}`)).json<{ notes: string | null }>();
    expect(notes).toBeNull();
  });

  it('is answered 503 while the database is away, and the key works afterwards', async () => {
    const { key } = await create();
    const away = Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' });
    await withQueries(
      () => Promise.reject(away),
      async () => {
        const answer = await as(key, 'GET', USERS);
        expectProblem(answer, 503, 'service.unavailable');
        expect(answer.headers.get('retry-after')).not.toBeNull();
      },
    );
    expect(await tryKey(key)).toEqual([200]);
  });

  it('is refused on every instance at once after a suspension and a revocation', async () => {
    const beside = await TestApp.start(app.config);
    try {
      const account = await create();
      expect(await tryKey(account.key, {}, beside)).toEqual([200]);
      (await asAdmin('POST', `${ACCOUNTS}/${account.id}/suspend`, { reason: 'x' })).expect(200);
      expect(await tryKey(account.key, {}, beside)).toEqual([403, 'service-account.suspended']);
      (await asAdmin('POST', `${ACCOUNTS}/${account.id}/reactivate`, {})).expect(200);
      expect(await tryKey(account.key, {}, beside)).toEqual([200]);
      (await asAdmin('POST', `${ACCOUNTS}/${account.id}/revoke`, { reason: 'x' })).expect(200);
      expect(await tryKey(account.key, {}, beside)).toEqual([401, 'service-account.invalid-key']);
    } finally {
      await beside.stop();
    }
  });

  it('leaves no key in the trail, even one that somebody pasted into a reason', async () => {
    const { key } = await create();
    const account = await create();
    (await asAdmin('POST', `${ACCOUNTS}/${account.id}/suspend`, { reason: `found ${key} in a log` })).expect(200);
    expect((await eventsOf(account)).at(-1)?.reason).toBe('found lk_sa_[redacted] in a log');
  });
});
