import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Client } from 'pg';
import { accountNumbers, signInForm } from './accounts.ts';
import { createDatabase, withClient } from './database.ts';
import { type LoadResult, type RandomPace, type RequestSet, runLoad } from './load.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { ServerProcess } from './server-process.ts';
import { createAdmin, signInAdmin } from './staff.ts';
import { interruption, tell } from './terminal.ts';
import { latchkey } from './variants.ts';

export const BESIDE_PARTNERS = 20_000;
const IN_USE = 1_000;
const REVOKED = 100_000;
const REVOCATIONS_PER_SECOND = 50;
const IMPORTED = 5_000;
const PACE: RandomPace = { kind: 'random', warmUpSeconds: 0.5, seconds: 4 };
/** Of the load's {@link PACE}: the storm has this many in the seconds that are measured. */
const NOTIFICATIONS = 100_000;
const NOTIFICATIONS_AT_ONCE = 2_500;
const NOTIFY_EVERY_MS = (PACE.seconds * 1000 * NOTIFICATIONS_AT_ONCE) / NOTIFICATIONS;

/** Runs during a load, repeatedly until it is stopped. */
type Job = (signal: AbortSignal) => Promise<void>;

/** Guarded calls beside something, and just before it: a result of each round. */
export interface Beside {
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

/** Notifications as another instance causes them: partners in turn have changed, and caches must drop them. */
function notifier(client: Client): Job {
  let next = 0;
  return async () => {
    const due = sleep(NOTIFY_EVERY_MS);
    await client.query(
      `SELECT pg_notify('latchkey_change', 'channel_user:' || id)
       FROM (SELECT id FROM channel_user ORDER BY id OFFSET $1 LIMIT $2) AS changed`,
      [next, NOTIFICATIONS_AT_ONCE],
    );
    next = (next + NOTIFICATIONS_AT_ONCE) % BESIDE_PARTNERS;
    await due;
  };
}

/** Repeats a job while work is done. */
async function during<T>(jobs: readonly Job[], work: () => Promise<T>): Promise<T> {
  const controller = new AbortController();
  const { signal } = controller;
  const repeated = Promise.all(
    jobs.map(async (job) => {
      while (!signal.aborted) await job(signal);
    }),
  );
  // Awaited below, where a job that failed in the meantime ends the benchmark.
  repeated.catch(() => undefined);
  try {
    return await work();
  } finally {
    controller.abort();
    await repeated;
  }
}

/** What staff start. */
function staffJobs(origin: string, token: string): [name: string, job: Job][] {
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

/** A server with partners in use, and what disturbs it. */
interface Scene {
  readonly load: () => Promise<LoadResult>;
  readonly jobs: readonly (readonly [name: string, job: Job])[];
}

async function measureScene({ load, jobs }: Scene, rounds: number): Promise<Beside[]> {
  const all = ['all of these at once', ...jobs.map(([, job]) => job)] as const;
  const [nameOfAll, ...everything] = all;
  const rows = [...jobs.map(([name, job]) => ({ name, jobs: [job] })), { name: nameOfAll, jobs: everything }].map(
    (row) => ({ ...row, alone: [] as LoadResult[], beside: [] as LoadResult[] }),
  );
  for (const row of rows) {
    for (let round = 1; round <= rounds; round += 1) {
      interruption.throwIfAborted();
      tell(`/me beside ${row.name}, round ${String(round)} of ${String(rounds)}`);
      row.alone.push(await load());
      row.beside.push(await during(row.jobs, load));
    }
  }
  return rows.map(({ name, alone, beside }) => ({ name, alone, beside }));
}

/** Measures guarded calls beside work of staff and of other instances. @param folder for logs and requests */
export async function measureBeside(rounds: number, folder: string): Promise<Beside[]> {
  await using database = await createDatabase('beside');
  await migrate(database.url);
  await seedChannelUsers(database.url, BESIDE_PARTNERS);
  const definition = latchkey('latchkey-beside', database.url);
  await using server = await ServerProcess.start(definition, folder);
  const { origin, pid: serverPid } = server;
  const forms = path.join(folder, 'beside-forms');
  const tokens = path.join(folder, 'beside-tokens');
  await writeFile(forms, accountNumbers(IN_USE).map(signInForm).join('\n'));
  const signIns: RequestSet = { method: 'POST', path: '/generateToken', part: 'form', file: forms };
  await runLoad({ origin, serverPid, requests: signIns, pace: { kind: 'once', answersFile: tokens } });
  const requests: RequestSet = { method: 'GET', path: '/me', part: 'bearer', file: tokens };
  const load = (): Promise<LoadResult> => runLoad({ origin, serverPid, requests, pace: PACE });
  await load();
  const token = await signInAdmin(origin, await createAdmin(definition.env));
  return await withClient(database.url, (client) =>
    withClient(database.url, async (revoking) => {
      await revoke(revoking, REVOKED);
      const jobs = [
        ...staffJobs(origin, token),
        [`a storm of ${NOTIFICATIONS.toLocaleString('en')} notifications`, notifier(client)] as const,
        [
          `${String(REVOCATIONS_PER_SECOND)} revocations a second, after ${REVOKED.toLocaleString('en')}`,
          async () => {
            await Promise.all([revoke(revoking, 1), sleep(1000 / REVOCATIONS_PER_SECOND)]);
          },
        ] as const,
      ];
      return await measureScene({ load, jobs }, rounds);
    }),
  );
}
