import { Redis } from 'ioredis';
import { createReadStream } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { signInForm } from './accounts.ts';
import { withClient } from './database.ts';
import { runLoad } from './load.ts';
import { OwnPostgres, OwnRedis } from './own-servers.ts';
import { familyCpuSeconds, parentOf } from './proc.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { pinToGeneratorCore, ServerProcess } from './server-process.ts';
import { STATEMENTS_LIBRARY } from './statements.ts';
import { tell } from './terminal.ts';
import { latchkey } from './variants.ts';

export const ACCOUNTS = 1_000;
export const REQUESTS = 20_000;
const IDLE_MS = 20_000;
/** Until batches are written and PostgreSQL's statistics are up to date. */
const SETTLE_MS = 12_000;

/** The rows of the page's first table. */
export const STATEMENTS = 'PostgreSQL: statements';
export const TRANSACTIONS = 'PostgreSQL: transactions';
export const INSERTED = 'PostgreSQL: rows inserted';
export const UPDATED = 'PostgreSQL: rows updated';
export const WAL = 'PostgreSQL: WAL bytes';
export const ACTIVITY = 'PostgreSQL: bytes of activity on disk';
export const CALL_COUNTS = 'PostgreSQL: bytes of call counts on disk';
export const POSTGRES_CPU = 'PostgreSQL: processor time, ms';
export const REDIS = 'Redis: commands, including those in scripts';
export const REDIS_CPU = 'Redis: processor time, ms';

/** Counters that only grow. */
export type Totals = Record<string, number>;

/** Per second while idle; per thousand requests otherwise. */
interface Phase {
  readonly totals: Totals;
  readonly requests: number;
  readonly seconds: number;
}

export interface Capacity {
  readonly idle: Phase;
  readonly tokens: Totals;
  readonly calls: Totals;
  readonly tokenBytes: { in: number; out: number };
  readonly callBytes: { in: number; out: number };
}

const COUNTERS = `
  SELECT (SELECT sum(calls) FROM pg_stat_statements WHERE query NOT LIKE '%pg_stat%'
      AND query NOT LIKE 'SHOW transaction_read_only%') AS "${STATEMENTS}",
    xact_commit AS "${TRANSACTIONS}", tup_inserted AS "${INSERTED}", tup_updated AS "${UPDATED}",
    tup_deleted AS "PostgreSQL: rows deleted", pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS "${WAL}",
    (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'activity'::regclass) AS "${ACTIVITY}",
    pg_total_relation_size('call_count') + pg_total_relation_size('credential_usage') AS "${CALL_COUNTS}"
  FROM pg_stat_database WHERE datname = current_database()`;

function postgresTotals(url: string): Promise<Totals> {
  return withClient(url, async (client) => {
    const { rows: backends } = await client.query<{ pid: number }>('SELECT pg_backend_pid() AS pid');
    const cpuMs = familyCpuSeconds(parentOf(backends[0]?.pid ?? NaN)) * 1000;
    const { rows } = await client.query<Record<string, string>>(COUNTERS);
    const counters = Object.entries(rows[0] ?? {}).map(([name, value]) => [name, Number(value)] as const);
    return { ...Object.fromEntries(counters), [POSTGRES_CPU]: cpuMs };
  });
}

async function redisTotals(url: string): Promise<Totals> {
  const redis = new Redis(url);
  try {
    const text = await redis.info('commandstats');
    const calls = [...text.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)].filter(([, name]) => name !== 'info');
    const cpu = [...(await redis.info('cpu')).matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)];
    return {
      [REDIS]: calls.reduce((sum, [, , count]) => sum + Number(count), 0),
      [REDIS_CPU]: cpu.reduce((sum, [, seconds]) => sum + Number(seconds) * 1000, 0),
    };
  } finally {
    redis.disconnect();
  }
}

/** The bytes of requests and answers on one connection, headers included. */
async function bytesOf(origin: string, path: string, make: () => { headers: Record<string, string>; body?: string }) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const SAMPLES = 50;
  let socket: Socket | undefined;
  for (let i = 0; i < SAMPLES; i++) {
    const { headers, body } = make();
    const sent = request(origin + path, { agent, method: body === undefined ? 'GET' : 'POST', headers });
    sent.end(body);
    const [answer] = (await once(sent, 'response')) as [IncomingMessage];
    socket = answer.socket;
    answer.resume();
    await once(answer, 'end');
  }
  const sizes = { in: (socket?.bytesWritten ?? NaN) / SAMPLES, out: (socket?.bytesRead ?? NaN) / SAMPLES };
  agent.destroy();
  return sizes;
}

const minus = (after: Totals, before: Totals): Totals =>
  Object.fromEntries(Object.entries(after).map(([name, value]) => [name, value - (before[name] ?? 0)]));

const per1000 = ({ totals, requests, seconds }: Phase, idle: Phase): Totals =>
  Object.fromEntries(
    Object.entries(totals).map(([name, value]) => [
      name,
      Math.max(0, ((value - ((idle.totals[name] ?? 0) / idle.seconds) * seconds) / requests) * 1000),
    ]),
  );

async function firstLines(file: string, count: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    lines.push(line);
    if (lines.length === count) break;
  }
  return lines;
}

/**
 * Sends tokens and guarded calls to an instance with a PostgreSQL and a Redis of its own.
 *
 * @param folder for data, logs and requests
 */
export async function measureCapacity(folder: string): Promise<Capacity> {
  await using postgres = await OwnPostgres.start(path.join(folder, 'postgres'), {
    shared_preload_libraries: STATEMENTS_LIBRARY,
  });
  await using redis = await OwnRedis.start();
  // These two are pinned to no core.
  pinToGeneratorCore();
  await withClient(postgres.url, (client) => client.query(`CREATE EXTENSION ${STATEMENTS_LIBRARY}`));
  await migrate(postgres.url);
  await seedChannelUsers(postgres.url, ACCOUNTS);
  const { name, args, env } = latchkey('capacity', postgres.url);
  await using server = await ServerProcess.start({ name, args, env: { ...env, REDIS_URL: redis.url } }, folder);
  const totals = async (): Promise<Totals> => ({
    ...(await postgresTotals(postgres.url)),
    ...(await redisTotals(redis.url)),
  });
  const during = async (requests: number, work: () => Promise<unknown>): Promise<Phase> => {
    // PostgreSQL logs a page as a whole at its first write after a checkpoint, so every phase begins with a checkpoint.
    await withClient(postgres.url, (client) => client.query('CHECKPOINT'));
    const from = performance.now();
    const before = await totals();
    await work();
    return { totals: minus(await totals(), before), requests, seconds: (performance.now() - from) / 1000 };
  };
  const file = (label: string): string => path.join(folder, label);
  const forms = Array.from({ length: REQUESTS }, (_, i) => signInForm((i % ACCOUNTS) + 1));
  await writeFile(file('forms'), `${forms.join('\n')}\n`);
  await sleep(SETTLE_MS);

  tell('at rest');
  const idle = await during(0, () => sleep(IDLE_MS));
  tell('tokens');
  const origin = { origin: server.origin, serverPid: server.pid };
  const tokens = await during(REQUESTS, async () => {
    const requests = { method: 'POST', path: '/generateToken', part: 'form', file: file('forms') } as const;
    await runLoad({ ...origin, requests, pace: { kind: 'once', answersFile: file('tokens') } });
    await sleep(SETTLE_MS);
  });
  tell('guarded calls');
  const calls = await during(REQUESTS, async () => {
    const requests = { method: 'GET', path: '/me', part: 'bearer', file: file('tokens') } as const;
    await runLoad({ ...origin, requests, pace: { kind: 'once' } });
    await sleep(SETTLE_MS);
  });
  const [token = ''] = await firstLines(file('tokens'), 1);
  return {
    idle,
    tokens: per1000(tokens, idle),
    calls: per1000(calls, idle),
    tokenBytes: await bytesOf(server.origin, '/generateToken', () => ({
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: signInForm(1),
    })),
    callBytes: await bytesOf(server.origin, '/me', () => ({ headers: { authorization: `Bearer ${token}` } })),
  };
}
