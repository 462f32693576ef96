import { writeFileSync } from 'node:fs';
import pg from 'pg';
import type { QueryRunner } from 'typeorm';
import { TestApp } from '../support/app.ts';
import { createDatabase } from '../support/database.ts';
import {
  BOUNDS,
  EXPORTS_OF_NOBODY,
  MATCHED_BY_FEW,
  MATCHED_BY_MANY,
  MATCHED_BY_NONE,
  MATCHED_BY_TIME,
  PARTNERS_SEED,
  SORTS,
  TRAIL_FILTERS,
  USERS,
} from '../support/list-plans.ts';

/** The bounds hold for any number: `LATCHKEY_PLAN_ROWS=1000000` tries them on a million, in about three minutes. */
const ROWS = Number(process.env['LATCHKEY_PLAN_ROWS'] ?? 100_000);
const EVENTS = Math.min(ROWS, 200_000);

let app: TestApp;
let client: pg.Client;
let drop: () => Promise<void>;
let token: string;
const measured: Record<string, number> = {};

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
  for (const statement of PARTNERS_SEED) await client.query(statement, [ROWS]);
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

it('finds the refusals of a partner without reading its tokens', async () => {
  const { rows } = await client.query<{ id: string }>('SELECT id FROM channel_user LIMIT 1');
  const [{ id } = { id: '' }] = rows;
  await client.query(
    `INSERT INTO activity (day, id, channel_user_id, at, request_id, count, outcome, reason)
      SELECT current_date, gen_random_uuid(), $1, now() - n * interval '1 millisecond', 'r', 1,
        CASE WHEN n = 20000 THEN 'refused' ELSE 'token' END, CASE WHEN n = 20000 THEN 'wrong_password' END
      FROM generate_series(1, 20000) AS n`,
    [id],
  );
  await client.query('VACUUM ANALYZE activity');
  const path = `${USERS}/${id}/activity?outcome=refused`;
  expect((await pageOf(path)).items).toHaveLength(1);
  expect(await buffersOf(path)).toBeLessThan(50);
});

it('measures pages, so that a scan of all partners would be noticed', async () => {
  expect(await buffersOf(`${USERS}?limit=1`)).toBeGreaterThan(10);
  const { rows } = await client.query<{ 'QUERY PLAN': { Plan: Record<string, number> }[] }>(
    `EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) SELECT max(notes) FROM channel_user`,
  );
  const plan = rows[0]?.['QUERY PLAN'][0]?.Plan;
  expect((plan?.['Shared Hit Blocks'] ?? 0) + (plan?.['Shared Read Blocks'] ?? 0)).toBeGreaterThan(ROWS / 40);
});

describe.each(SORTS)('sorted by %s', (sort) => {
  it.each(MATCHED_BY_NONE)('costs next to nothing when nobody matches: %s', async (filter) => {
    const path = `${USERS}?sort=${sort}&${filter}`;
    const buffers = await buffersOf(path);
    expect(await pageOf(path)).toEqual({ items: [], total: 0, nextCursor: null });
    expect(buffers).toBeLessThan(BOUNDS.none);
  });

  it.each(MATCHED_BY_FEW)('costs what the matches cost when few match: %s', async (filter) => {
    const path = `${USERS}?sort=${sort}&${filter}`;
    const buffers = await buffersOf(path);
    const { total } = await pageOf(path);
    expect(total).toBeGreaterThan(0);
    expect(buffers).toBeLessThan(BOUNDS.few(total));
  });

  it.each(MATCHED_BY_MANY)('costs no more than counting to 10,000 on the second page: all, or %s', async (filter) => {
    const path = `${USERS}?sort=${sort}&${filter}`;
    expect(await buffersOf(path)).toBeLessThan(BOUNDS.many);
    const { nextCursor } = await pageOf(path);
    expect(await buffersOf(`${path}&cursor=${nextCursor ?? ''}`)).toBeLessThan(BOUNDS.many);
  });

  it.each(MATCHED_BY_TIME)('costs little more than counting to 10,000: %s', async (filter) => {
    expect(await buffersOf(`${USERS}?sort=${sort}&${filter}`)).toBeLessThan(BOUNDS.time);
  });
});

it.each(EXPORTS_OF_NOBODY)('costs next to nothing for the export with %s', async (filter) => {
  expect(await buffersOf(`${USERS}/export?${filter}`)).toBeLessThan(BOUNDS.none);
});

it.each(TRAIL_FILTERS)('costs a page for the audit trail by %s', async (filter) => {
  expect(await buffersOf(`/admin/audit-events?${filter}`)).toBeLessThan(BOUNDS.trail);
});

it('costs no more than counting to 10,000 for the overview and the scopes', async () => {
  expect(await buffersOf('/admin/scopes')).toBeLessThan(BOUNDS.scopes);
  expect(await buffersOf('/admin/overview')).toBeLessThan(BOUNDS.overview);
  const { channelUsers } = (await app.request('GET', '/admin/overview', { token })).json<{
    channelUsers: Record<string, number>;
  }>();
  expect(channelUsers['total']).toBe(ROWS);
});
