import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { type Answer, TestApp, type PartnerWithToken } from '../../../test/support/app.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { eventually as eventuallyDefined } from '../../../test/support/sign-ins.ts';

/** The id that only the query for the first page of the list has among its parameters. */
const FIRST_PAGE = '00000000-0000-0000-0000-000000000000';
/** Enough revoked tokens for three pages of the list. */
const REVOKED = 2_500;

/** Two instances on one database. The second one, `b`, reaches PostgreSQL through a proxy. */
let a: TestApp;
let b: TestApp;
let proxy: PostgresProxy;
let partner: PartnerWithToken;

beforeAll(async () => {
  a = await TestApp.start();
  await a.seed(
    `INSERT INTO revoked_token (jti, expires_at, revoked_at)
     SELECT gen_random_uuid(), now() + interval '1 hour' + n * interval '1 ms', now()
     FROM generate_series(1, $1::int) AS n`,
    [REVOKED],
  );
  proxy = await PostgresProxy.start(a.databaseUrl);
  b = await TestApp.start({ ...a.config, databaseUrl: proxy.url });
  partner = await a.asPartner({ tokensPerMinute: 10_000 });
});
afterAll(async () => {
  await b.close();
  await proxy.shut();
  await a.close();
});
afterEach(() => {
  proxy.reset();
});

const eventually = async (isSo: () => boolean | Promise<boolean>, what: string): Promise<void> => {
  await eventuallyDefined(async () => ((await isSo()) ? true : undefined), what);
};
const jtiOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }).jti;
const statusOf = async (token: string, app: TestApp): Promise<number> =>
  (await app.request('GET', '/me', { token })).status;

function revoke(token: string, app: TestApp): Promise<Answer> {
  const { username, password } = partner;
  return app.request('POST', '/oauth2/revoke', {
    form: { token, client_id: username, client_secret: password },
  });
}

/** Counts the second instance's queries on the deny-list: loads that begin, and lookups of one token. */
function countReads(jti: string): () => { loads: number; lookups: number } {
  const loads = ['revoked_token', FIRST_PAGE].map((text) => proxy.countQueries(text));
  const lookups = proxy.countQueries(jti);
  return () => ({ loads: loads.reduce((sum, { count }) => sum + count, 0), lookups: lookups.count });
}

/** Waits until the second instance accepts a token without looking it up in PostgreSQL. */
const isLoaded = (token: string): Promise<void> =>
  eventually(async () => {
    const reads = countReads(jtiOf(token));
    expect(await statusOf(token, b)).toBe(200);
    return reads().lookups === 0;
  }, 'the list is loaded');

/** Collects the notifications about `revoked_token` that `work` causes. */
async function notificationsOf(work: () => Promise<unknown>): Promise<string[]> {
  const listener = new pg.Client({ connectionString: a.databaseUrl });
  await listener.connect();
  try {
    const payloads: string[] = [];
    listener.on('notification', ({ payload = '' }) => payloads.push(payload));
    await listener.query('LISTEN latchkey_change');
    await work();
    await a.dataSource.query(`SELECT pg_notify('latchkey_change', 'test:end')`);
    await eventually(() => payloads.includes('test:end'), 'the last notification');
    return payloads.filter((payload) => payload.startsWith('revoked_token'));
  } finally {
    await listener.end();
  }
}

it('sends a revocation to other instances without another load of the list', async () => {
  const kept = await a.generateToken(partner);
  await isLoaded(kept);
  const reads = countReads(jtiOf(kept));
  for (let i = 0; i < 20; i++) {
    const token = await a.generateToken(partner);
    expect(await statusOf(token, b)).toBe(200);
    expect((await revoke(token, a)).status).toBe(200);
    expect(await statusOf(token, a)).toBe(401);
    await eventually(async () => (await statusOf(token, b)) === 401, 'it is refused on the other instance');
    expect(await statusOf(kept, b)).toBe(200);
  }
  expect(reads()).toEqual({ loads: 0, lookups: 0 });
});

it('deletes expired entries, even a large backlog, without a notification', async () => {
  const expired = `INSERT INTO revoked_token SELECT gen_random_uuid(), now() - interval '1 s', now()
    FROM generate_series(1, 12000)`;
  await a.seed(expired);
  const payloads = await notificationsOf(() => a.runTask('Deleting expired revocations'));
  expect(payloads).toEqual([]);
  const [row] = await a.dataSource.query<{ n: number }[]>(
    'SELECT count(*)::int AS n FROM revoked_token WHERE expires_at < now()',
  );
  expect(row?.n).toBe(0);
});

it('applies changes by hand to the table on every instance', async () => {
  const token = await a.generateToken(partner);
  const jti = jtiOf(token);
  await revoke(token, a);
  await eventually(async () => (await statusOf(token, b)) === 401, 'it is refused');
  await a.dataSource.query('DELETE FROM revoked_token WHERE jti = $1', [jti]);
  await eventually(async () => (await statusOf(token, b)) === 200, 'it works again');
  await a.dataSource.query(`INSERT INTO revoked_token VALUES ($1, now() + interval '1 day', now())`, [jti]);
  await eventually(async () => (await statusOf(token, b)) === 401, 'it is refused again');
  await a.dataSource.query('UPDATE revoked_token SET jti = $2 WHERE jti = $1', [jti, randomUUID()]);
  await eventually(async () => (await statusOf(token, b)) === 200, 'another token is refused');
});

it('serves while the list loads and looks up each token until then', async () => {
  const [good, revoked] = [await a.generateToken(partner), await a.generateToken(partner)];
  await revoke(revoked, a);
  await isLoaded(good);
  // A token of the second page.
  const [row] = await a.dataSource.query<{ jti: string }[]>(
    'SELECT jti FROM revoked_token WHERE expires_at > now() ORDER BY expires_at, jti OFFSET 1500 LIMIT 1',
  );
  const page = proxy.hold(row?.jti ?? '');
  const c = await TestApp.start({ ...a.config, databaseUrl: proxy.url });
  try {
    await page.reached;
    const reads = countReads(jtiOf(good));
    expect(await statusOf(good, c)).toBe(200);
    expect(reads().lookups).toBe(1);
    expect(await statusOf(revoked, c)).toBe(401);
    const late = await a.generateToken(partner);
    await revoke(late, a);
    expect(await statusOf(late, c)).toBe(401);
    const { status } = await fetch(`${c.opsUrl}/health/ready`);
    expect(status).toBe(200);
    page.release();
    await eventually(async () => {
      const later = countReads(jtiOf(good));
      expect(await statusOf(good, c)).toBe(200);
      return later().lookups === 0;
    }, 'the list is loaded');
    expect([await statusOf(revoked, c), await statusOf(late, c), await statusOf(good, c)]).toEqual([401, 401, 200]);
  } finally {
    await c.close();
  }
});

it('looks up a token once when it is used many times while the list loads', async () => {
  const token = await a.generateToken(partner);
  await isLoaded(token);
  proxy.cut('feed');
  const reads = countReads(jtiOf(token));
  const calls = 40;
  const statuses = await Promise.all(Array.from({ length: calls }, () => statusOf(token, b)));
  expect(new Set(statuses)).toEqual(new Set([200]));
  expect(reads().lookups).toBeLessThan(calls / 2);
});

it('refuses a token that was revoked while the change feed was down, before and after it returns', async () => {
  const [first, second] = [await a.generateToken(partner), await a.generateToken(partner)];
  await isLoaded(first);
  proxy.cut('feed');
  await revoke(first, a);
  await eventually(async () => (await statusOf(first, b)) === 401, 'it is refused without the feed');
  await revoke(second, a);
  proxy.mend();
  await eventually(async () => (await statusOf(second, b)) === 401, 'it is refused with the feed');
  await isLoaded(await a.generateToken(partner));
  expect([await statusOf(first, b), await statusOf(second, b)]).toEqual([401, 401]);
});

it('refuses a revoked token under the other spelling of its signature as well', async () => {
  const token = await a.generateToken(partner);
  const [header = '', payload = '', signature = ''] = token.split('.');
  const bytes = Buffer.from(signature, 'base64url');
  const ORDER = 0xffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551n;
  const s = ORDER - BigInt(`0x${bytes.subarray(32).toString('hex')}`);
  const other = Buffer.concat([bytes.subarray(0, 32), Buffer.from(s.toString(16).padStart(64, '0'), 'hex')]);
  const spelled = `${header}.${payload}.${other.toString('base64url')}`;
  expect(spelled).not.toBe(token);
  for (const app of [a, b]) expect(await statusOf(spelled, app)).toBe(200);
  expect((await revoke(token, a)).status).toBe(200);
  for (const each of [token, spelled]) {
    expect(await statusOf(each, a)).toBe(401);
    await eventually(async () => (await statusOf(each, b)) === 401, 'it is refused on the other instance');
  }
});

it('loads a list that could not be read as soon as it can be read', async () => {
  const token = await a.generateToken(partner);
  await a.dataSource.query('ALTER TABLE revoked_token RENAME TO revoked_token_away');
  try {
    await a.dataSource.query(`SELECT pg_notify('latchkey_change', 'revoked_token:*')`);
    await eventually(async () => (await statusOf(token, b)) !== 200, 'the database is asked');
  } finally {
    await a.dataSource.query('ALTER TABLE revoked_token_away RENAME TO revoked_token');
  }
  await eventually(async () => (await statusOf(token, b)) === 200, 'tokens work again');
  await isLoaded(token);
});
