import { Redis } from 'ioredis';
import { createReadStream } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { Agent, type IncomingMessage, request } from 'node:http';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { signInForm } from './accounts.ts';
import { withClient } from './database.ts';
import { runLoad } from './load.ts';
import { OwnPostgres, OwnRedis } from './own-servers.ts';
import { writePage } from './page.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { pinToGeneratorCore, ServerProcess } from './server-process.ts';
import { runProgram, tell } from './terminal.ts';
import { latchkey } from './variants.ts';

/**
 *     npm run build && node bench/capacity.ts   writes CAPACITY.md, in about two minutes
 *
 * What PostgreSQL, Redis and the network see of a token and of a guarded call, and what that comes to in a large
 * deployment. One instance on a PostgreSQL and a Redis of its own, each request sent once.
 */

const PAGE = 'CAPACITY.md';
const RESULTS = path.join(import.meta.dirname, 'RESULTS.md');
const ACCOUNTS = 1_000;
const REQUESTS = 20_000;
/** Rows that one instance writes at most: `src/activity/usage`. */
const USAGE_ROWS_PER_SECOND = 250;
const PARTNERS = 100_000;
const IDLE_MS = 20_000;
/** Until batches are written and PostgreSQL's statistics are up to date. */
const SETTLE_MS = 12_000;

/** Counters that only grow. */
type Totals = Record<string, number>;

/** Per second while idle; per thousand requests otherwise. */
interface Phase {
  readonly totals: Totals;
  readonly requests: number;
  readonly seconds: number;
}

async function postgresTotals(url: string): Promise<Totals> {
  const row = await withClient(url, async (client) => {
    const { rows } = await client.query<Record<string, string>>(
      `SELECT xact_commit AS "PostgreSQL: transactions", tup_inserted AS "PostgreSQL: rows inserted",
          tup_updated AS "PostgreSQL: rows updated", tup_deleted AS "PostgreSQL: rows deleted",
          pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0') AS "PostgreSQL: WAL bytes",
          (SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'activity'::regclass)
            AS "PostgreSQL: bytes of activity on disk"
        FROM pg_stat_database WHERE datname = current_database()`,
    );
    return rows[0] ?? {};
  });
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, Number(value)]));
}

async function redisTotals(url: string): Promise<Totals> {
  const redis = new Redis(url);
  try {
    const text = await redis.info('commandstats');
    const calls = [...text.matchAll(/^cmdstat_(\S+):calls=(\d+)/gm)].filter(([, name]) => name !== 'info');
    return {
      'Redis: commands, including those in scripts': calls.reduce((sum, [, , count]) => sum + Number(count), 0),
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

/** The median number of responses a second of an instance on one core, read from RESULTS.md. */
async function ratesOfBenchmark(): Promise<{ tokens: number; calls: number }> {
  const text = await readFile(RESULTS, 'utf8');
  const rates = [...text.matchAll(/^\| Latchkey, 100,000 channel users +\| +([\d,]+)/gm)].map(([, rate]) =>
    Number(rate?.replaceAll(',', '')),
  );
  const [tokens, calls] = rates;
  if (tokens === undefined || calls === undefined) throw new Error(`${RESULTS} has no figures`);
  return { tokens, calls };
}

async function firstLines(file: string, count: number): Promise<string[]> {
  const lines: string[] = [];
  for await (const line of createInterface({ input: createReadStream(file) })) {
    lines.push(line);
    if (lines.length === count) break;
  }
  return lines;
}

const number = (value: number, digits = 0): string =>
  value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });

interface Measured {
  readonly idle: Phase;
  readonly tokens: Totals;
  readonly calls: Totals;
  readonly tokenBytes: { in: number; out: number };
  readonly callBytes: { in: number; out: number };
}

function render({ idle, tokens, calls, tokenBytes, callBytes }: Measured, rates: { tokens: number; calls: number }) {
  const rows = Object.keys(tokens).map((name) =>
    [
      name,
      number((idle.totals[name] ?? 0) / idle.seconds, 1),
      number(tokens[name] ?? NaN, 1),
      number(calls[name] ?? NaN, 1),
    ].join(' | '),
  );
  const of = (totals: Totals, name: string): number => totals[name] ?? NaN;
  const TOKENS = 10_000;
  const CALLS = 50_000;
  const HEADROOM = 0.7;
  const share = TOKENS / (HEADROOM * rates.tokens) + CALLS / (HEADROOM * rates.calls);
  const instances = Math.ceil(share);
  const [inserted, updated] = ['PostgreSQL: rows inserted', 'PostgreSQL: rows updated'] as const;
  const wal = 'PostgreSQL: WAL bytes';
  const redis = 'Redis: commands, including those in scripts';
  // Rows for each account, however often it calls: limited by the number of accounts or by the instance.
  const usageRows = instances * USAGE_ROWS_PER_SECOND;
  const lastUses = (2 * PARTNERS) / 60;
  const usageWal = of(calls, wal) / (of(calls, inserted) + of(calls, updated));
  const walPerSecond = (TOKENS * of(tokens, wal)) / 1000 + usageRows * usageWal;
  const redisPerSecond = (TOKENS * of(tokens, redis)) / 1000 + (instances * of(idle.totals, redis)) / idle.seconds;
  const day = TOKENS * 86_400;
  const activity = of(tokens, 'PostgreSQL: bytes of activity on disk') / 1000;
  const megabits = ((TOKENS * (tokenBytes.in + tokenBytes.out) + CALLS * (callBytes.in + callBytes.out)) * 8) / 1e6;
  const line = (what: string, sum: string, result: string): string => `| ${what} | ${sum} | ${result} |`;
  return `# Capacity

Written by \`node bench/capacity.ts\`: one instance with its own PostgreSQL and Redis, ${number(REQUESTS)} tokens for
${number(ACCOUNTS)} partners, then ${number(REQUESTS)} guarded calls with them, as fast as they are answered. The cost of the same time at rest
is subtracted.

| | at rest, a second | 1,000 tokens | 1,000 guarded calls |
| --- | ---: | ---: | ---: |
${rows.map((row) => `| ${row} |`).join('\n')}
| Network: bytes of a request, headers included | | ${number(tokenBytes.in)} | ${number(callBytes.in)} |
| Network: bytes of its response | | ${number(tokenBytes.out)} | ${number(callBytes.out)} |

A batch of sign-in activity has at most 500 records. Below 2,000 tokens a second, an instance writes four batches a
second of any size, so a token costs more transactions than shown here. Guarded calls insert and update rows with the
call count of each credential: their number grows with the number of credentials and with time, not with the calls.
The heartbeat of each instance (five times a second, on its listening connection) is not included.

## 100,000 partners, ${number(TOKENS)} tokens and ${number(CALLS)} guarded calls a second

Calculated from these figures and from those of one instance on one core in [RESULTS.md](RESULTS.md): ${number(rates.tokens)} tokens or
${number(rates.calls)} guarded calls a second with 100,000 accounts in use; every instance at ${number(HEADROOM * 100)} % of that.

| what | arithmetic | result |
| --- | --- | ---: |
${[
  line(
    'instances, a core each',
    `${number(TOKENS)} ÷ (${String(HEADROOM)} × ${number(rates.tokens)}) + ${number(CALLS)} ÷ (${String(HEADROOM)} × ${number(rates.calls)}) = ${number(share, 1)}`,
    number(instances),
  ),
  line(
    'PostgreSQL: batches of activity a second',
    `the greater of ${number(TOKENS / 1000)} × ${number(of(tokens, 'PostgreSQL: transactions'), 1)} and ${String(instances)} × 4`,
    number(Math.max((TOKENS / 1000) * of(tokens, 'PostgreSQL: transactions'), instances * 4)),
  ),
  line(
    'PostgreSQL: rows of activity a second',
    `${number(TOKENS / 1000)} × ${number(of(tokens, inserted))}`,
    number((TOKENS / 1000) * of(tokens, inserted)),
  ),
  line(
    'PostgreSQL: updates of lastTokenAt and lastUsedAt a second, at most',
    `2 × ${number(PARTNERS)} ÷ 60 s`,
    number(lastUses),
  ),
  line(
    'PostgreSQL: rows of call counts a second, at most',
    `${String(instances)} × ${number(USAGE_ROWS_PER_SECOND)}`,
    number(usageRows),
  ),
  line(
    'PostgreSQL: WAL a second',
    `${number(TOKENS / 1000)} × ${number(of(tokens, wal) / 1e3)} kB + ${number(usageRows)} × ${number(usageWal)} bytes`,
    `${number(walPerSecond / 1e6, 1)} MB`,
  ),
  line('PostgreSQL: heartbeats a second', `${String(instances)} × 5`, number(instances * 5)),
  line('PostgreSQL: connections', `${String(instances)} × (10 + 1)`, number(instances * 11)),
  line(
    'Redis: commands a second',
    `${number(TOKENS / 1000)} × ${number(of(tokens, redis))} + ${String(instances)} × ${number(of(idle.totals, redis) / idle.seconds, 1)}`,
    number(redisPerSecond),
  ),
  line(
    'network of all instances, both directions',
    `(${number(TOKENS)} × ${number(tokenBytes.in + tokenBytes.out)} + ${number(CALLS)} × ${number(callBytes.in + callBytes.out)}) × 8`,
    `${number(megabits)} Mbit/s`,
  ),
  line(
    'activity on disk, a day',
    `${number(day)} tokens × ${number(activity)} bytes`,
    `${number((day * activity) / 1e9)} GB`,
  ),
].join('\n')}
`;
}

async function measure(folder: string): Promise<Measured> {
  await using postgres = await OwnPostgres.start(path.join(folder, 'postgres'));
  await using redis = await OwnRedis.start();
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

async function main(): Promise<void> {
  pinToGeneratorCore();
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-capacity-'));
  try {
    const page = render(await measure(folder), await ratesOfBenchmark());
    await writePage(PAGE, page);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
