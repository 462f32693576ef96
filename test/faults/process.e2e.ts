import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { createDatabase } from '../support/database.ts';
import { FaultLoad, post, report, send } from '../support/fault-load.ts';
import { FaultServer } from '../support/fault-server.ts';
import { isLong } from '../support/long.ts';
import { PostgresProxy } from '../support/postgres-proxy.ts';
import { realTime } from '../support/real-time.ts';
import { secret } from '../support/secrets.ts';
import { newAddress } from '../support/sign-ins.ts';

/** docs/deploying.md: what a crash may lose of the activity, besides what is being written. */
const BATCH_MS = 250;

let folder: string;
let server: FaultServer | undefined;
let drop: (() => Promise<void>) | undefined;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-process-'));
});
afterEach(async () => {
  await server?.remove();
  server = undefined;
  await drop?.();
  drop = undefined;
  await rm(folder, { recursive: true, force: true });
});

async function ownDatabase(): Promise<string> {
  const database = await createDatabase();
  drop = database.drop;
  return database.url;
}

describe('recovers from kill -9 in the middle of everything', () => {
  it.each([
    ['a database of its own', isLong ? 25 : 3],
    ['the embedded database', isLong ? 15 : 1],
  ])(
    'keeps what was answered and nothing in part with %s',
    async (what, rounds) => {
      const env: Record<string, string> =
        what === 'the embedded database' ? { LATCHKEY_DATA_DIR: folder } : { DATABASE_URL: await ownDatabase() };
      server = await FaultServer.start(env);
      const admin = await server.adminToken();
      let latest = 0;
      let slowestStart = 0;
      for (let i = 0; i < rounds; i++) {
        const load = await FaultLoad.prepare(server, admin);
        try {
          load.start();
          await realTime('requests are under way', 300 + Math.random() * 1_200);
          load.mayBreak = true;
          const killed = performance.now();
          await server.kill();
          await load.end();
          const restarted = performance.now();
          await server.restart();
          slowestStart = Math.max(slowestStart, Math.round(performance.now() - restarted));
          await load.verify();
          const allowed = BATCH_MS + load.slowest('provision', killed);
          for (const { endedAt } of await load.missingActivity()) {
            latest = Math.max(latest, Math.round(killed - endedAt));
            expect(killed - endedAt).toBeLessThan(allowed);
          }
        } finally {
          await load.end();
        }
      }
      process.stdout.write(
        `fault: kill -9, ${what}, ${String(rounds)} times: serves again after ${String(slowestStart)} ms at most, ` +
          `activity lost of the last ${String(latest)} ms\n`,
      );
    },
    isLong ? 900_000 : 120_000,
  );
});

it('ends in time on SIGTERM while PostgreSQL hangs', async () => {
  const proxy = await PostgresProxy.start(await ownDatabase());
  try {
    server = await FaultServer.start({ DATABASE_URL: proxy.url });
    const admin = await server.adminToken();
    const load = await FaultLoad.prepare(server, admin);
    load.start();
    await realTime('requests are under way');
    load.mayBreak = true;
    proxy.stall('pool', 'feed');
    const stopped = performance.now();
    await server.stop();
    expect(performance.now() - stopped).toBeLessThan(10_500);
    await load.end();
  } finally {
    await proxy.shut();
  }
});

describe('a clock that is set', () => {
  it('forwards and back by a minute disturbs and delays nobody', async () => {
    const file = path.join(folder, 'clock');
    server = await FaultServer.start(
      { DATABASE_URL: await ownDatabase(), CLOCK_STEP_FILE: file },
      { runtime: ['--import', './test/support/clock-step.mjs'] },
    );
    const running = server;
    const admin = await running.adminToken();
    const step = async (ms: number): Promise<void> => {
      await writeFile(file, String(ms));
      process.kill(running.process.pid, 'SIGUSR2');
      // A line of the log has the time.
      for (let seen = NaN; !(Math.abs(seen - Date.now() - ms) < 10_000);) {
        const lines = running.log.length;
        await send(running, '/me');
        const line = await running.logs(/^request$/, lines);
        seen = Date.parse(String(line['time']));
      }
    };
    const load = await FaultLoad.prepare(running, admin);
    try {
      await load.begin();
      const begun = performance.now();
      const username = 'limited';
      const body = { username, displayName: 'Limited', tokensPerMinute: 2 };
      const { credential } = JSON.parse(await post(running, '/admin/channel-users', admin, body)) as {
        credential: { password: string };
      };
      const form = new URLSearchParams({ Username: username, Password: secret(credential.password) });
      const signIn = (): Promise<Response> =>
        send(running, '/generateToken', { method: 'POST', form, headers: { 'x-forwarded-for': newAddress() } });
      for (let i = 0; i < 2; i++) secret(await (await signIn()).text());
      for (const ms of [60_000, 0, -60_000, 0]) {
        await step(ms);
        await load.recovered(performance.now());
        const refused = await signIn();
        expect(refused.status).toBe(429);
        expect(Number(refused.headers.get('retry-after'))).toBeLessThanOrEqual(60);
      }
      report('clock stepped by a minute, four times', load.seen(begun), 0);
      load.unharmed(begun);
      await load.verify();
      expect(await load.missingActivity()).toEqual([]);
    } finally {
      await load.end();
    }
  });
});
