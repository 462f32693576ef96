import { writeFileSync } from 'node:fs';
import pg from 'pg';
import type { QueryRunner } from 'typeorm';
import { TestApp } from '../support/app.ts';
import { createDatabase } from '../support/database.ts';

/** The bounds hold for any number: `LATCHKEY_PLAN_ROWS=1000000` tries them on a million, in about three minutes. */
const ROWS = Number(process.env['LATCHKEY_PLAN_ROWS'] ?? 100_000);
const EVENTS = Math.min(ROWS, 200_000);

const USERS = '/admin/channel-users';
const SORTS = ['username', '-username', 'createdAt', '-createdAt', 'lastTokenAt', '-lastTokenAt'];

let app: TestApp;
let client: pg.Client;
let drop: () => Promise<void>;
let token: string;
const measured: Record<string, number> = {};

/**
 * Partners of every kind: of ten, one is suspended, three have never obtained a token, half have a scope. One in a
 * thousand has a rare scope. A fifth of the credentials end within 30 days.
 */
const SEED = [
  `INSERT INTO channel_user (username, username_key, display_name, contact_email, scopes, token_ttl_seconds,
     tokens_per_minute, allowed_ips, search_text, created_at, updated_at, last_token_at, suspended_at, expires_at, external_id)
   SELECT name, name, 'Partner ' || n, 'ops' || n || '@partner.example',
     CASE WHEN n % 1000 = 0 THEN '{rare:scope}' WHEN n % 2 = 0 THEN '{calendar:write,properties:read}' ELSE '{}' END::text[],
     3600, 60, '{}', name || E'\\npartner ' || n || E'\\nops' || n || '@partner.example',
     now() - n * interval '1 minute', now(), CASE WHEN n % 10 > 2 THEN now() - (n * 37 % $1) * interval '1 minute' END,
     CASE WHEN n % 10 = 0 THEN now() END, CASE WHEN n % 30 = 7 THEN now() - interval '1 day' END,
     'crm-' || n / 3
   FROM generate_series(1, $1::int) AS n, concat('partner-', lpad(n::text, 7, '0')) AS name`,
  `INSERT INTO credential (channel_user_id, label, secret_hash, expires_at)
   SELECT id, 'initial', '$sha256$x', CASE WHEN right(username, 1) IN ('3', '8') THEN now() + interval '10 days' END
   FROM channel_user WHERE $1 > 0`,
  `INSERT INTO sign_in_failure (channel_user_id, since, last_at, reason, refusals)
   SELECT id, now(), now(), 'wrong_password', 1 FROM channel_user WHERE right(username, 2) = '42' AND $1 > 0`,
];
/** By staff all but a few, which are the oldest. They stand far behind the chain, which does not see them here. */
const EVENTS_SEED = `
  INSERT INTO audit_event (seq, id, at, actor_type, actor_id, action, target_type, target_id, target_personal, changes, mac)
  OVERRIDING SYSTEM VALUE
  SELECT 1000000 + n, gen_random_uuid(), now() - ($1 - n) * interval '1 second',
    CASE WHEN n < 5 THEN 'cli' WHEN n < 10 THEN 'system' ELSE 'staff' END,
    CASE WHEN n >= 10 THEN gen_random_uuid() END, 'channel-user.updated', 'channel-user', gen_random_uuid(), '\\x00', '{}',
    '\\x00'
  FROM generate_series(1, $1::int) AS n`;

beforeAll(async () => {
  const database = await createDatabase();
  drop = database.drop;
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query('SET synchronous_commit = off');
  for (const statement of SEED) await client.query(statement, [ROWS]);
  app = await TestApp.start({ databaseUrl: database.url });
  token = (await app.asStaff('viewer')).token;
  // VACUUM marks a page as visible to all only when the commits of its rows are on disk.
  await client.query('SET synchronous_commit = on');
  await client.query(EVENTS_SEED, [EVENTS]);
  await client.query('VACUUM ANALYZE');
});
afterAll(async () => {
  const file = process.env['LATCHKEY_PLAN_FILE'];
  if (file !== undefined) writeFileSync(file, JSON.stringify(measured, null, 2));
  await app.close();
  await client.end();
  await drop();
});

/** The statements that a request sends to PostgreSQL. */
async function statementsOf(path: string): Promise<[text: string, parameters: unknown[]][]> {
  const sent: [string, unknown[]][] = [];
  const { dataSource } = app;
  const create = dataSource.createQueryRunner.bind(dataSource);
  dataSource.createQueryRunner = (...mode) => {
    const runner = create(...mode);
    const query = runner.query.bind(runner);
    runner.query = ((text: string, parameters: unknown[] = [], ...more: []) => {
      sent.push([text, parameters]);
      return query(text, parameters, ...more);
    }) as QueryRunner['query'];
    return runner;
  };
  try {
    const answer = await app.request('GET', path, { token });
    expect([path, answer.status]).toEqual([path, 200]);
  } finally {
    dataSource.createQueryRunner = create;
  }
  return sent.filter(([text]) => /^\s*(SELECT|WITH)\b/.test(text) && !/\b(INSERT|UPDATE|DELETE)\b/.test(text));
}

/** How many pages of the database a request looks at, in all its statements. */
async function buffersOf(path: string): Promise<number> {
  let sum = 0;
  for (const [text, parameters] of await statementsOf(path)) {
    const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
      `EXPLAIN (ANALYZE, BUFFERS, TIMING OFF, FORMAT JSON) ${text}`,
      parameters,
    );
    const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
    sum += (plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0);
  }
  measured[path] = sum;
  return sum;
}

const pageOf = async (path: string): Promise<{ total: number | null; nextCursor: string | null; items: unknown[] }> =>
  (await app.request('GET', path, { token })).json();

it('measures pages, so that a scan of all partners would be noticed', async () => {
  expect(await buffersOf(`${USERS}?limit=1`)).toBeGreaterThan(10);
  const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
    `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT max(notes) FROM channel_user`,
  );
  const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
  expect((plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0)).toBeGreaterThan(ROWS / 40);
});

describe.each(SORTS)('sorted by %s', (sort) => {
  it.each([
    'scope=none:such',
    'q=qx',
    'q=%23',
    'q=zzz-nobody',
    'q=---',
    'q=rtner-99999999',
    'status=suspended&scope=none:such',
    'expiringWithinDays=30&q=zzz-nobody',
    'silentForDays=365&scope=none:such',
    'failing=true&scope=none:such',
    'externalId=none',
  ])('costs next to nothing when nobody matches: %s', async (filter) => {
    const path = `${USERS}?sort=${sort}&${filter}`;
    const buffers = await buffersOf(path);
    expect(await pageOf(path)).toEqual({ items: [], total: 0, nextCursor: null });
    expect(buffers).toBeLessThan(1_500);
  });

  it.each([
    'scope=rare:scope',
    'externalId=crm-777',
    'q=partner-00777',
    'q=partner-0077&status=active',
    'failing=true',
    'q=partner-0077&expiringWithinDays=30',
    'q=partner-0077&silentForDays=1',
  ])('costs what the matches cost when few match: %s', async (filter) => {
    const path = `${USERS}?sort=${sort}&${filter}`;
    const buffers = await buffersOf(path);
    const { total } = await pageOf(path);
    expect(total).toBeGreaterThan(0);
    if (total !== null) expect(buffers).toBeLessThan(4_000 + 12 * total);
    else expect(buffers).toBeLessThan(60_000);
  });

  it.each([
    '',
    'q=partner',
    'q=par',
    'q=pa',
    'status=active',
    'status=suspended',
    'scope=calendar:write',
    'status=expired',
  ])('costs no more than counting to 10,000 on the second page: all, or %s', async (filter) => {
    const path = `${USERS}?sort=${sort}&${filter}`;
    expect(await buffersOf(path)).toBeLessThan(25_000);
    const { nextCursor } = await pageOf(path);
    expect(await buffersOf(`${path}&cursor=${nextCursor ?? ''}`)).toBeLessThan(25_000);
  });

  it.each(['expiringWithinDays=30', 'expiringWithinDays=5', 'silentForDays=1', 'silentForDays=30'])(
    'costs little more than counting to 10,000: %s',
    async (filter) => {
      expect(await buffersOf(`${USERS}?sort=${sort}&${filter}`)).toBeLessThan(60_000);
    },
  );
});

it.each(['q=qx', 'scope=none:such', 'q=zzz-nobody'])('costs next to nothing for the export with %s', async (filter) => {
  expect(await buffersOf(`${USERS}/export?${filter}`)).toBeLessThan(1_500);
});

it.each([
  'actor=cli',
  'actor=system',
  'actor=staff',
  'actor=3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11',
  'action=no.such',
  'target=3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11',
  'from=2090-01-01T00:00:00Z',
  'to=2000-01-01T00:00:00Z',
  'actor=cli&action=no.such',
])('costs a page for the audit trail by %s', async (filter) => {
  expect(await buffersOf(`/admin/audit-events?${filter}`)).toBeLessThan(1_000);
});

it('costs no more than counting to 10,000 for the overview and the scopes', async () => {
  expect(await buffersOf('/admin/scopes')).toBeLessThan(500);
  expect(await buffersOf('/admin/overview')).toBeLessThan(60_000);
  const { channelUsers } = (await app.request('GET', '/admin/overview', { token })).json<{
    channelUsers: Record<string, number>;
  }>();
  expect(channelUsers['total']).toBe(ROWS);
});
