import { randomUUID } from 'node:crypto';
import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import os, { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs, promisify } from 'node:util';
import pg from 'pg';
import { signInForm, usernameOf } from './accounts.ts';
import { createDatabase, withClient } from './database.ts';
import { writePage } from './page.ts';
import { seedChannelUsers } from './seed.ts';
import { pinToGeneratorCore, ROOT, ServerProcess } from './server-process.ts';
import { type Spread, spreadOf } from './statistics.ts';
import { interruption, runProgram, tell } from './terminal.ts';
import { latchkey, latchkeyEnvironment } from './variants.ts';

/**
 * What a module costs around its statement: pushes of a year of inventory to examples/connectivity, against the same
 * upsert straight through `pg`, from the same process, on the same database, in turn.
 *
 *     npm run build && node bench/connectivity.ts [--quick]
 *
 * Writes CONNECTIVITY.md; with --quick it only shows what it measured.
 */

const APPLICATION = 'dist/examples/connectivity/application.js';
const DAYS = 365;
const NAME = 'Property of the benchmark';
const ROOMS = 1_000;
/** Concurrent requests of one partner, and connections of the other side. */
const PARALLEL = 4;
const FULL = { pushes: 200, rounds: 3 };
const QUICK = { pushes: 20, rounds: 1 };
/** Pushes that are not counted, during which the engine compiles code. */
const DISCARDED = 20;

/** The statement that examples/connectivity runs for a push. */
const UPSERT = `
  INSERT INTO calendar_day (room_id, date, inventory, pushed_by, pushed_at)
  SELECT $1, day, value, $4, $5 FROM unnest($2::date[], $3::integer[]) AS pushed (day, value) ORDER BY day
  ON CONFLICT (room_id, date) DO UPDATE
    SET inventory = excluded.inventory, pushed_by = excluded.pushed_by, pushed_at = excluded.pushed_at
    WHERE calendar_day.inventory IS DISTINCT FROM excluded.inventory`;

const DATES = Array.from({ length: DAYS }, (_, i) =>
  new Date(Date.UTC(2030, 0, 1) + i * 86_400_000).toISOString().slice(0, 10),
);

const run = promisify(execFile);

/** Writes a year of inventory of a room. */
type Push = (room: string, inventory: number) => Promise<void>;

/** Pushes, each to a different room. */
type Contenders = Record<'latchkey' | 'pg', readonly [push: Push, room: string]>;

interface Measured {
  /** Milliseconds for one push. */
  readonly year: { readonly latchkey: Spread; readonly pg: Spread };
  readonly retry: { readonly latchkey: Spread; readonly pg: Spread };
  /** Seconds for one push to each room. */
  readonly rooms: { readonly latchkey: Spread; readonly pg: Spread };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  interruption.throwIfAborted();
  const begun = performance.now();
  await work();
  return performance.now() - begun;
}

/** Pushes to all rooms, several at once. */
async function pushAll(push: Push, rooms: readonly string[], inventory: number): Promise<void> {
  const left = rooms.values();
  await Promise.all(
    Array.from({ length: PARALLEL }, async () => {
      for (const room of left) await push(room, inventory);
    }),
  );
}

async function seed(url: string): Promise<string[]> {
  await seedChannelUsers(url, 1);
  return withClient(url, async (client) => {
    const property = randomUUID();
    await client.query('INSERT INTO property (id, name) VALUES ($1, $2)', [property, NAME]);
    await client.query(
      `INSERT INTO resource_grant (channel_user_id, resource_type, resource_id)
         SELECT id, 'property', $1 FROM channel_user WHERE username = $2`,
      [property, usernameOf(1)],
    );
    const { rows } = await client.query<{ id: string }>(
      `INSERT INTO room (id, property_id, name, quantity, max_guests, max_adults, max_children)
         SELECT gen_random_uuid(), $1, 'Room ' || n, 9, 2, 2, 2 FROM generate_series(1, $2::integer) AS n RETURNING id`,
      [property, ROOMS],
    );
    return rows.map(({ id }) => id);
  });
}

async function tokenOf(origin: string): Promise<string> {
  const headers = { 'content-type': 'application/x-www-form-urlencoded' };
  const answer = await fetch(`${origin}/generateToken`, { method: 'POST', headers, body: signInForm(1) });
  if (answer.status !== 200) throw new Error(`/generateToken answered ${String(answer.status)}`);
  return answer.text();
}

function throughLatchkey(origin: string, token: string): Push {
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  return async (room, inventoryNumber) => {
    const body = JSON.stringify(DATES.map((date) => ({ date, inventoryNumber, propertyName: NAME })));
    const url = `${origin}/updateCalendarInventory?roomId=${room}`;
    const answer = await fetch(url, { method: 'POST', headers, body });
    const text = await answer.text();
    if (text !== 'calendar inventory updated') throw new Error(`A push was answered: ${text}`);
  };
}

const throughPg =
  (pool: pg.Pool): Push =>
  async (room, inventory) => {
    const values = DATES.map(() => inventory);
    await pool.query(UPSERT, [room, DATES, values, '00000000-0000-4000-8000-000000000000', new Date()]);
  };

/** Measures both in turn, on separate rooms. @param inventoryOf the n-th push */
async function alternate(
  pushes: number,
  contenders: Contenders,
  inventoryOf: (n: number) => number,
): Promise<Measured['year']> {
  const times = { latchkey: [] as number[], pg: [] as number[] };
  for (let n = 0; n < DISCARDED + pushes; n++) {
    for (const name of n % 2 === 0 ? (['latchkey', 'pg'] as const) : (['pg', 'latchkey'] as const)) {
      const [push, room] = contenders[name];
      const ms = await timed(() => push(room, inventoryOf(n)));
      if (n >= DISCARDED) times[name].push(ms);
    }
  }
  return { latchkey: spreadOf(times.latchkey), pg: spreadOf(times.pg) };
}

async function measure({ pushes, rounds }: typeof FULL, folder: string): Promise<Measured> {
  await using database = await createDatabase('connectivity');
  await run(process.execPath, ['dist/src/cli.js', '--application', APPLICATION, 'migrate', 'run'], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...latchkeyEnvironment(database.url) },
  });
  const rooms = await seed(database.url);
  const [first = '', second = ''] = rooms;
  const { args, ...definition } = latchkey('connectivity', database.url);
  await using server = await ServerProcess.start(
    { ...definition, args: [...args, '--application', APPLICATION] },
    folder,
  );
  const pool = new pg.Pool({ connectionString: database.url, max: PARALLEL });
  try {
    const push = throughLatchkey(server.origin, await tokenOf(server.origin));
    const contenders: Contenders = { latchkey: [push, first], pg: [throughPg(pool), second] };
    tell('a year for one room');
    const year = await alternate(pushes, contenders, (n) => n % 1_000);
    tell('the same year again');
    const retry = await alternate(pushes, contenders, () => 7);
    const times = { latchkey: [] as number[], pg: [] as number[] };
    for (let round = 0; round < rounds; round++) {
      tell(`${String(ROOMS)} rooms, round ${String(round + 1)}`);
      const order = round % 2 === 0 ? (['latchkey', 'pg'] as const) : (['pg', 'latchkey'] as const);
      for (const [i, name] of order.entries()) {
        const inventory = 2 * round + i;
        times[name].push((await timed(() => pushAll(contenders[name][0], rooms, inventory))) / 1_000);
        await withClient(database.url, async (client) => {
          const { rows } = await client.query<{ n: string }>(
            'SELECT count(*) AS n FROM calendar_day WHERE inventory = $1',
            [inventory],
          );
          if (Number(rows[0]?.n) !== ROOMS * DAYS) throw new Error('Not every day of every room was written');
          await client.query('VACUUM calendar_day');
        });
      }
    }
    return { year, retry, rooms: { latchkey: spreadOf(times.latchkey), pg: spreadOf(times.pg) } };
  } finally {
    await pool.end();
  }
}

const spread = ({ median: middle, min, max }: Spread): string =>
  `${middle.toFixed(1)} (${min.toFixed(1)}–${max.toFixed(1)})`;

function render({ year, retry, rooms }: Measured, { pushes, rounds }: typeof FULL): string {
  const row = (what: string, unit: string, of: Measured['year']): string =>
    `| ${what} | ${unit} | ${spread(of.latchkey)} | ${spread(of.pg)} | ${(of.latchkey.median / of.pg.median).toFixed(2)} |`;
  const [cpu] = os.cpus();
  const perSecond = Math.round(ROOMS / rooms.latchkey.median);
  return `# What a push of inventory costs

Written by \`node bench/connectivity.ts\`: examples/connectivity over HTTP (token, scope, grant, ${String(DAYS)} entries checked, one
upsert), compared with the same upsert directly through \`pg\` from the same process, in turn, on one PostgreSQL. The
server has one core, everything else the other. ${cpu?.model.trim() ?? 'Unknown'}, ${String(os.cpus().length)} cores, ${new Date().toISOString().slice(0, 10)}.
Median of ${String(pushes)} pushes, and of ${String(rounds)} rounds for all rooms (least–most).

| what | unit | Latchkey | \`pg\` alone | ratio |
| --- | --- | ---: | ---: | ---: |
${row(`${String(DAYS)} days of one room, all values changed`, 'ms', year)}
${row(`${String(DAYS)} days of one room, sent again`, 'ms', retry)}
${row(`${ROOMS.toLocaleString('en')} rooms with ${String(DAYS)} days each, ${String(PARALLEL)} at once`, 's', rooms)}

All rooms are ${(ROOMS * DAYS).toLocaleString('en')} days: ${String(perSecond)} rooms a second.
`;
}

async function main(): Promise<void> {
  const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false } } });
  const scale = values.quick ? QUICK : FULL;
  pinToGeneratorCore();
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-bench-'));
  try {
    const markdown = render(await measure(scale, folder), scale);
    if (values.quick) process.stdout.write(markdown);
    else await writePage('CONNECTIVITY.md', markdown);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
