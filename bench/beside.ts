import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import os, { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import { accountNumbers, signInForm } from './accounts.ts';
import { createDatabase, withClient } from './database.ts';
import { type LoadResult, type RandomPace, type RequestSet, runLoad } from './load.ts';
import { writePage } from './page.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { pinToGeneratorCore, ROOT, ServerProcess } from './server-process.ts';
import { spreadOf } from './statistics.ts';
import { runProgram, tell } from './terminal.ts';
import { latchkey } from './variants.ts';

/**
 * Measures guarded calls during revocations and jobs of staff, compared with the same calls alone just before:
 *
 *     node scripts/build.js --server && node bench/beside.ts
 *
 * Writes BESIDE.md. BENCH_QUICK=1 runs one round of each, to check that it works, and only prints the results.
 */

const PARTNERS = 20_000;
const REVOKED = 100_000;
const REVOCATIONS_PER_SECOND = 50;
const IMPORTED = 5_000;
const IS_QUICK = process.env['BENCH_QUICK'] === '1';
const ROUNDS = IS_QUICK ? 1 : 3;
const PACE: RandomPace = { kind: 'random', warmUpSeconds: 1, seconds: 4 };

const run = promisify(execFile);

/** Runs during a load, repeatedly until it is stopped. */
type Job = (signal: AbortSignal) => Promise<void>;

interface Measured {
  readonly name: string;
  readonly alone: readonly LoadResult[];
  readonly beside: readonly LoadResult[];
}

const revoke = (client: Client, count: number): Promise<unknown> =>
  client.query(
    `INSERT INTO revoked_token (jti, revoked_at, expires_at)
     SELECT gen_random_uuid(), now(), now() + interval '1 hour' FROM generate_series(1, $1)`,
    [count],
  );

async function measureBeside(name: string, load: () => Promise<LoadResult>, job: Job): Promise<Measured> {
  const alone: LoadResult[] = [];
  const beside: LoadResult[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    tell(`${name}, round ${String(round)} of ${String(ROUNDS)}`);
    alone.push(await load());
    const controller = new AbortController();
    const { signal } = controller;
    const repeated = (async () => {
      while (!signal.aborted) await job(signal);
    })();
    // Awaited below, where a job that failed in the meantime ends the benchmark.
    repeated.catch(() => undefined);
    beside.push(await load());
    controller.abort();
    await repeated;
  }
  return { name, alone, beside };
}

function report(measured: readonly Measured[]): string {
  const lines = measured.map(({ name, alone, beside }) => {
    const quotient = (of: (result: LoadResult) => number): string => {
      const { median, min, max } = spreadOf(beside.map((result, i) => of(result) / of(alone[i] ?? result)));
      return `${median.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
    };
    const median = (results: readonly LoadResult[]): string =>
      spreadOf(results.map(({ p99Ms }) => p99Ms)).median.toFixed(1);
    return `| ${name} | ${quotient(({ perSecond }) => perSecond)} | ${quotient(({ p99Ms }) => p99Ms)} | ${median(alone)} | ${median(beside)} |`;
  });
  return `# Guarded calls beside other work

Written by \`node bench/beside.ts\`: \`GET /me\` over 32 connections beside each of these, against the same load alone just before.
${PARTNERS.toLocaleString('en')} partners, ${os.cpus()[0]?.model.trim() ?? 'unknown'}, ${String(os.cpus().length)} cores, ${new Date().toISOString().slice(0, 10)}. Median of ${String(ROUNDS)} rounds (least–most).
Goals: beside revocations the rate is at least 0.9 of that alone; beside a job p99 is at most twice that alone.

| beside | rate ÷ alone | p99 ÷ alone | p99 alone, ms | p99 beside, ms |
| --- | ---: | ---: | ---: | ---: |
${lines.join('\n')}
`;
}

/** @returns the token of an admin of the benchmark's own */
async function signInAdmin(origin: string, env: Record<string, string>): Promise<string> {
  const email = 'bench@latchkey.example';
  const create = ['dist/src/cli.js', 'staff', 'create', '--email', email, '--name', 'Bench', '--role', 'admin'];
  const { stdout } = await run(process.execPath, create, { cwd: ROOT, env: { PATH: process.env['PATH'], ...env } });
  const password = /password: (\S+)/i.exec(stdout)?.[1] ?? '';
  const response = await fetch(`${origin}/admin/session`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ email, password }),
  });
  return ((await response.json()) as { accessToken: string }).accessToken;
}

function jobsOf(origin: string, token: string): [name: string, job: Job][] {
  const headers = { authorization: `Bearer ${token}` };
  const call = async (target: string, init: RequestInit, signal: AbortSignal): Promise<void> => {
    try {
      const response = await fetch(`${origin}${target}`, { ...init, headers: { ...headers, ...init.headers }, signal });
      if (!response.ok) throw new Error(`${target} answers ${String(response.status)}: ${await response.text()}`);
      await response.arrayBuffer();
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  };
  let imports = 0;
  const importPartners: Job = (signal) => {
    const batch = ++imports;
    const rows = Array.from(
      { length: IMPORTED },
      (_, i) => `import-${String(batch)}-${String(i)},Imported ${String(i)}`,
    );
    const body = ['username,displayName', ...rows].join('\n');
    return call(
      '/admin/channel-users/import',
      { method: 'POST', headers: { 'content-type': 'text/csv' }, body },
      signal,
    );
  };
  return [
    // First, because it fills the audit trail for the others.
    ['an import', importPartners],
    ['the export of the audit trail', (signal) => call('/admin/audit-events/export', {}, signal)],
    ['the export of partners', (signal) => call('/admin/channel-users/export', {}, signal)],
    [
      'a verification of the audit trail',
      (signal) => call('/admin/audit-events/chain/verify', { method: 'POST' }, signal),
    ],
  ];
}

async function measureAll(folder: string): Promise<Measured[]> {
  await using database = await createDatabase('beside');
  await migrate(database.url);
  await seedChannelUsers(database.url, PARTNERS);
  const definition = latchkey('latchkey', database.url);
  await using server = await ServerProcess.start(definition, folder);
  const { origin, pid: serverPid } = server;
  const forms = path.join(folder, 'forms');
  const tokens = path.join(folder, 'tokens');
  await writeFile(forms, accountNumbers(1_000).map(signInForm).join('\n'));
  const signIns: RequestSet = { method: 'POST', path: '/generateToken', part: 'form', file: forms };
  await runLoad({ origin, serverPid, requests: signIns, pace: { kind: 'once', answersFile: tokens } });
  const requests: RequestSet = { method: 'GET', path: '/me', part: 'bearer', file: tokens };
  const load = (): Promise<LoadResult> => runLoad({ origin, serverPid, requests, pace: PACE });
  await load();

  const token = await signInAdmin(origin, definition.env);
  const measured: Measured[] = [];
  for (const [name, job] of jobsOf(origin, token)) measured.push(await measureBeside(name, load, job));
  // Last, with a baseline measured before it.
  const before = await measureBeside('', load, () => sleep(PACE.seconds * 1000));
  await withClient(database.url, async (client) => {
    await revoke(client, REVOKED);
    const { beside } = await measureBeside('revocations', load, async () => {
      await Promise.all([revoke(client, 1), sleep(1000 / REVOCATIONS_PER_SECOND)]);
    });
    measured.push({ name: '50 revocations a second, after 100,000', alone: before.alone, beside });
  });
  return measured;
}

async function main(): Promise<void> {
  pinToGeneratorCore();
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-beside-'));
  try {
    const text = report(await measureAll(folder));
    if (!IS_QUICK) await writePage('BESIDE.md', text);
    process.stdout.write(text);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
