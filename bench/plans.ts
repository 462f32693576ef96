import { statfs } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../test/support/ports.ts';
import { accountNumbers, passwordOf } from './accounts.ts';
import { withClient } from './database.ts';
import { OwnPostgres } from './own-servers.ts';
import { casesOf, type Kind, kindOfJob, type PlanCase, type Subjects, WRITE } from './plan-cases.ts';
import { type PlanScale, seedForPlans, WITH_PASSWORD } from './plan-seed.ts';
import { migrate } from './seed.ts';
import { ServerProcess } from './server-process.ts';
import { createAdmin, signInAdmin } from './staff.ts';
import { type Statement, Statements, STATEMENTS_LIBRARY } from './statements.ts';
import { interruption, tell } from './terminal.ts';
import { latchkey } from './variants.ts';

/** Free space that the database needs, with what its making needs for a while. */
const FREE_BYTES = 15e9;
/** Until statements that an answer does not wait for are counted. */
const SETTLE_MS = 30;
/** A server that sends no statement for so long has started. */
const QUIET_MS = 1_000;
/** A busy machine may need several to answer in time. */
const ATTEMPTS = 3;
/** Until sign-ins and last uses are written. */
const WRITTEN_MS = 3_000;
/** For a database that is soon made and thrown away. The figures are pages looked at, which these do not change. */
const POSTGRES = {
  shared_preload_libraries: STATEMENTS_LIBRARY,
  autovacuum: 'off',
  fsync: 'off',
  full_page_writes: 'off',
  max_wal_size: '4GB',
  maintenance_work_mem: '512MB',
};

/** A row of the table. */
export interface PlanFigure {
  readonly kind: Kind;
  readonly what: string;
  readonly statements: number;
  readonly buffers: number;
  readonly rows: number;
  readonly milliseconds: number;
  readonly bound: number;
}

export interface Plans {
  readonly scale: PlanScale;
  readonly figures: readonly PlanFigure[];
  /** The size of the database. */
  readonly bytes: number;
  /** PostgreSQL's. */
  readonly version: string;
}

export const isWithin = ({ buffers, bound }: PlanFigure): boolean => buffers <= bound;

function figureOf(kind: Kind, what: string, statements: readonly Statement[], total: number | null = null): PlanFigure {
  const sum = (of: readonly Statement[], pick: (each: Statement) => number): number =>
    of.reduce((before, each) => before + pick(each), 0);
  const buffersOfOne = ({ buffers, calls }: Statement): number => buffers / calls;
  const dearest = [...statements].sort((a, b) => buffersOfOne(b) - buffersOfOne(a))[0];
  const calls = sum(statements, (each) => each.calls);
  const bound = kind.bound(total);
  if (kind.per === 'page') {
    const { buffers = 0, rows = 0, milliseconds = 0, calls: times = 1 } = dearest ?? {};
    const one = {
      buffers: Math.round(buffers / times),
      rows: Math.round(rows / times),
      milliseconds: milliseconds / times,
    };
    return { kind, what, statements: calls, ...one, bound };
  }
  return {
    kind,
    what,
    statements: calls,
    buffers: sum(statements, (each) => each.buffers),
    rows: sum(statements, (each) => each.rows),
    milliseconds: sum(statements, (each) => each.milliseconds),
    bound,
  };
}

/** Sends requests to a server and reads what its statements cost. */
class Meter {
  readonly #origin: string;
  readonly #token: string;
  readonly #statements: Statements;
  readonly figures: PlanFigure[] = [];

  constructor(origin: string, token: string, statements: Statements) {
    this.#origin = origin;
    this.#token = token;
    this.#statements = statements;
  }

  async request({ kind, path: target, isSecondPage = false, readsBytes }: PlanCase): Promise<void> {
    let cursor = '';
    if (isSecondPage) {
      const { nextCursor } = JSON.parse(await this.#get(target)) as { nextCursor: string };
      cursor = `${target.includes('?') ? '&' : '?'}cursor=${encodeURIComponent(nextCursor)}`;
    }
    let total: number | null = null;
    await this.measure(kind, isSecondPage ? `${target}, second page` : target, async () => {
      const text = await this.#get(target + cursor, readsBytes);
      if (kind.per === 'request' && text.startsWith('{'))
        total = (JSON.parse(text) as { total?: number }).total ?? null;
      return total;
    });
  }

  /** Waits until the server sends nothing of its own, such as what it reads after its start. */
  async quiet(): Promise<void> {
    do {
      interruption.throwIfAborted();
      await this.#statements.reset();
      await sleep(QUIET_MS);
    } while ((await this.#statements.read()).length > 0);
  }

  /** @param work resolves with the number of matches, if there is one */
  async measure(kind: Kind, what: string, work: () => Promise<number | null>): Promise<void> {
    interruption.throwIfAborted();
    await this.#statements.reset();
    const total = await work();
    await sleep(SETTLE_MS);
    const statements = await this.#statements.read();
    const figure = figureOf(kind, what, statements, total);
    this.figures.push(figure);
    if (isWithin(figure)) return;
    tell(`${what}: ${String(figure.buffers)} buffers, bound ${String(figure.bound)}`);
    for (const { text, calls, buffers } of statements.slice(0, 2)) {
      tell(`  ${String(buffers)} buffers in ${String(calls)} calls: ${text.replaceAll(/\s+/g, ' ')}`);
    }
  }

  async #get(target: string, readsBytes = Infinity): Promise<string> {
    const ask = (): Promise<Response> =>
      fetch(this.#origin + target, { headers: { authorization: `Bearer ${this.#token}` }, signal: interruption });
    let answer = await ask();
    // The answer that took too long brought into memory what the next attempt reads.
    for (let attempt = 1; answer.status === 503 && attempt < ATTEMPTS; attempt += 1) {
      tell(`${target} took too long, once more`);
      await answer.arrayBuffer();
      await this.quiet();
      answer = await ask();
    }
    if (!answer.ok) throw new Error(`${target} answers ${String(answer.status)}: ${await answer.text()}`);
    if (readsBytes === Infinity) return await answer.text();
    let read = 0;
    for await (const chunk of answer.body ?? []) {
      read += (chunk as Uint8Array).length;
      if (read >= readsBytes) break;
    }
    return '';
  }
}

async function subjectsOf(url: string): Promise<Subjects> {
  return await withClient(url, async (client) => {
    const partner = async (username: string): Promise<Subjects['busy']> => {
      const { rows } = await client.query<Subjects['busy']>(
        `SELECT channel_user.id, credential.id AS "credentialId" FROM channel_user
           JOIN credential ON channel_user_id = channel_user.id WHERE username_key = $1`,
        [username],
      );
      if (!rows[0]) throw new Error(`There is no ${username}`);
      return rows[0];
    };
    const { rows } = await client.query<{ id: string }>('SELECT id FROM webhook');
    return {
      busy: await partner('partner-0000001'),
      quiet: await partner('partner-0004711'),
      webhook: rows[0]?.id ?? '',
    };
  });
}

/** Has a partner obtain a token and use it. */
async function useToken(origin: string, n: number): Promise<void> {
  const body = new URLSearchParams({ Username: `partner-${String(n).padStart(7, '0')}`, Password: passwordOf(n) });
  const answer = await fetch(`${origin}/generateToken`, { method: 'POST', body });
  const token = await answer.text();
  if (!answer.ok) throw new Error(`Partner ${String(n)} obtains no token: ${token}`);
  const used = await fetch(`${origin}/me`, { headers: { authorization: `Bearer ${token}` } });
  if (!used.ok) throw new Error(`/me answers ${String(used.status)}: ${await used.text()}`);
  await used.arrayBuffer();
}

async function measureJobs(meter: Meter, origin: string, jobsOrigin: string): Promise<void> {
  await meter.measure(WRITE, 'sign-ins and last uses', async () => {
    // All at once, so that they are written in one batch. Suspended and expired partners are left out.
    const active = accountNumbers(WITH_PASSWORD).filter((n) => n % 10 !== 0 && n % 30 !== 7);
    await Promise.all(active.map((n) => useToken(origin, n)));
    await sleep(WRITTEN_MS);
    return null;
  });
  const names = (await (await fetch(jobsOrigin)).json()) as string[];
  if (names.length === 0) throw new Error('The server has registered no jobs');
  for (const name of names) {
    tell(name);
    await meter.measure(kindOfJob(name), name, async () => {
      const answer = await fetch(`${jobsOrigin}/${encodeURIComponent(name)}`, { method: 'POST' });
      if (!answer.ok) throw new Error(`${name} failed: ${await answer.text()}`);
      return null;
    });
  }
}

/**
 * Makes a large database, has a server answer every kind of list and run every job on it, and reads from PostgreSQL
 * how many pages of the database the server's own statements looked at.
 */
export async function measurePlans(scale: PlanScale, folder: string): Promise<Plans> {
  const { bavail, bsize } = await statfs(folder);
  if (bavail * bsize < FREE_BYTES) {
    throw new Error(
      `${folder} has ${((bavail * bsize) / 1e9).toFixed(0)} GB free, and ${String(FREE_BYTES / 1e9)} are needed: set TMPDIR to a folder with more`,
    );
  }
  await using postgres = await OwnPostgres.start(path.join(folder, 'postgres'), POSTGRES);
  await migrate(postgres.url);
  await seedForPlans(postgres.url, scale);
  await using statements = await Statements.open(postgres.url);
  const definition = latchkey('plans', postgres.url);
  // Its audit event begins the chain of the audit trail, which reads every event before it.
  tell('the chain of the audit trail');
  const password = await createAdmin(definition.env);
  const jobsPort = await freePort();
  await using server = await ServerProcess.start(
    {
      ...definition,
      args: ['--import', './bench/servers/jobs-on-request.ts', ...definition.args],
      env: { ...definition.env, JOBS_PORT: String(jobsPort) },
    },
    folder,
  );
  const token = await signInAdmin(server.origin, password);
  const meter = new Meter(server.origin, token, statements);
  const cases = casesOf(await subjectsOf(postgres.url));
  tell(`${String(cases.length)} requests`);
  await meter.quiet();
  for (const each of cases) await meter.request(each);
  await measureJobs(meter, server.origin, `http://127.0.0.1:${String(jobsPort)}`);
  const database = await withClient(postgres.url, async (client) => {
    const { rows } = await client.query<{ bytes: string; version: string }>(
      "SELECT pg_database_size(current_database()) AS bytes, current_setting('server_version') AS version",
    );
    return rows[0];
  });
  return { scale, figures: meter.figures, bytes: Number(database?.bytes), version: database?.version ?? 'unknown' };
}
