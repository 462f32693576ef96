import { performance } from 'node:perf_hooks';
import { FaultLoad, report } from '../support/fault-load.ts';
import { FaultServer } from '../support/fault-server.ts';
import { PostgresCluster } from '../support/postgres-cluster.ts';
import { PostgresProxy } from '../support/postgres-proxy.ts';
import { realTime } from '../support/real-time.ts';
import { eventually, until } from '../support/sign-ins.ts';

const MAX_CONNECTIONS = 40;
const NO_NOTICES = /^Change notifications do not arrive \(.+\): bypassing the caches until they do$/;
const NOTICES_AGAIN = /^Change notifications arrive again, caches are trusted$/;
const KILL_ALL = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'partner_service'`;

let postgres: PostgresCluster;
let server: FaultServer;
let admin: string;
let load: FaultLoad;
let lines: number;
let begun: number;

beforeAll(async () => {
  postgres = await PostgresCluster.start({ max_connections: String(MAX_CONNECTIONS) });
  server = await FaultServer.start({ DATABASE_URL: postgres.url });
  admin = await server.adminToken();
});
afterAll(async () => {
  await server.remove();
  await postgres.remove();
});

beforeEach(async () => {
  load = await FaultLoad.prepare(server, admin);
  await load.begin();
  lines = server.log.length;
  begun = performance.now();
});
afterEach(async () => {
  await load.end();
  await postgres.mend();
});

/** What holds after every fault. @param withinMs from the mending to the last call that was begun in vain */
async function verify(fault: string, recoveryMs: number, withinMs: number): Promise<void> {
  report(fault, load.seen(begun), recoveryMs);
  expect(recoveryMs).toBeLessThan(withinMs);
  await load.verify();
  expect(await load.missingActivity()).toEqual([]);
}

describe('PostgreSQL', () => {
  it.each([
    ['stopped', 'fast'],
    ['killed, and recovers from its log', 'immediate'],
  ] as const)('%s', async (what, mode) => {
    await postgres.stop(mode);
    await load.fails('me', 'token', 'provision');
    await server.shows('latchkey_database_up', (up) => up === 0);
    await server.shows('latchkey_change_feed_up', (up) => up === 0);
    expect(await server.health('ready')).toBe(503);
    expect(await server.health('live')).toBe(200);
    await postgres.run();
    const recovery = await load.recovered();
    expect(await server.metric('latchkey_database_errors_total')).toBeGreaterThan(0);
    await server.shows('latchkey_database_up', (up) => up === 1);
    await server.shows('latchkey_change_feed_up', (up) => up === 1);
    await server.logs(NO_NOTICES, lines);
    await server.logs(NOTICES_AGAIN, lines);
    await server.logs(/^request failed$/, lines);
    await verify(`PostgreSQL ${what}`, recovery, 3_000);
    expect(await server.health('ready')).toBe(200);
  });

  it('frozen', async () => {
    await postgres.freeze();
    await load.fails('me', 'token', 'provision');
    await server.shows('latchkey_database_up', (up) => up === 0);
    await server.shows('latchkey_change_feed_up', (up) => up === 0);
    await postgres.thaw();
    const thawed = performance.now();
    const recovery = await load.recovered(thawed);
    await server.logs(NO_NOTICES, lines);
    await server.logs(NOTICES_AGAIN, lines);
    await verify('PostgreSQL frozen', recovery, 5_000);
  });

  it('its connections killed, again and again', async () => {
    for (let i = 0; i < 5; i++) {
      await postgres.administer(KILL_ALL);
      await realTime('connections are killed again');
    }
    const recovery = await load.recovered(performance.now());
    await server.logs(NO_NOTICES, lines);
    await server.logs(NOTICES_AGAIN, lines);
    await verify('connections killed', recovery, 1_000);
  });

  it('its connections killed in the moment in which they begin', async () => {
    const proxy = await PostgresProxy.start(postgres.url);
    const behind = await FaultServer.start({
      DATABASE_URL: proxy.url,
      KEY_ENCRYPTION_KEY: server.env['KEY_ENCRYPTION_KEY'] ?? '',
    });
    try {
      const list = (): Promise<Response> =>
        fetch(`${behind.url}/admin/channel-users`, { headers: { authorization: `Bearer ${admin}` } });
      proxy.terminateNew();
      await postgres.administer(KILL_ALL);
      await eventually(async () => {
        const { status } = await list();
        return status === 503 && proxy.terminated >= 10 ? true : undefined;
      }, 'ten connections are terminated');
      expect(behind.isRunning).toBe(true);
      proxy.mend();
      await until(async () => (await list()).status === 200, 'staff are served again');
    } finally {
      await behind.remove();
      await proxy.shut();
    }
  });

  it('with every connection of the pool held by a lock', async () => {
    {
      await using locker = await postgres.connect('latchkey');
      await locker.query('BEGIN');
      // Whoever reads an account waits.
      await locker.query('LOCK TABLE channel_user IN ACCESS EXCLUSIVE MODE');
      await load.fails('token of a suspended', 'provision');
      await server.shows('latchkey_database_pool_waiting', (waiting) => waiting > 0);
      await server.shows('latchkey_queue_depth', (depth) => depth > 0, { queue: 'activity' });
      await locker.query('ROLLBACK');
    }
    const recovery = await load.recovered(performance.now());
    // Who is remembered needs no connection.
    load.unharmed(begun, ['me', 'token']);
    await verify('pool exhausted by locks', recovery, 4_000);
  });

  it('with no connection left for this server', async () => {
    // Before the places are taken; three are kept for such as this.
    await using superuser = await postgres.connect('latchkey');
    const others: AsyncDisposable[] = [];
    const takeAll = async (): Promise<void> => {
      try {
        for (;;) others.push(await postgres.connect('partner_service'));
      } catch (error) {
        expect(error).toMatchObject({ code: '53300' });
      }
    };
    try {
      await takeAll();
      while (others.length < MAX_CONNECTIONS - 10) await takeAll();
      // Whose places others take at once.
      for (let i = 0; i < 20; i++) {
        await superuser.query(`${KILL_ALL} AND application_name LIKE 'latchkey%'`);
        await takeAll();
      }
      await load.fails('me', 'provision');
      await server.shows('latchkey_database_up', (up) => up === 0);
    } finally {
      for (const other of others) await other[Symbol.asyncDispose]();
    }
    const recovery = await load.recovered(performance.now());
    await server.logs(NO_NOTICES, lines);
    await verify('out of connections', recovery, 3_000);
  });

  it('read-only', async () => {
    await postgres.administer('ALTER SYSTEM SET default_transaction_read_only = on', 'SELECT pg_reload_conf()');
    await load.fails('provision', 'change', 'rotate');
    await server.logs(/^Writing the sign-in log failed, retrying: .*read-only/, lines);
    await server.shows('latchkey_queue_depth', (depth) => depth > 0, { queue: 'activity' });
    // In a read-only session, this is what may still be said.
    await postgres.administer(
      'SET default_transaction_read_only = off',
      'ALTER SYSTEM RESET default_transaction_read_only',
      'SELECT pg_reload_conf()',
    );
    const recovery = await load.recovered(performance.now());
    load.unharmed(begun, ['me', 'token', 'token with a wrong']);
    await server.logs(/^Writing the sign-in log works again, rows lost meanwhile: 0$/, lines);
    await verify('read-only', recovery, 3_000);
  });
});
