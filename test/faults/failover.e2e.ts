import { performance } from 'node:perf_hooks';
import { FaultLoad, obtain, provision, report, send } from '../support/fault-load.ts';
import { FaultServer } from '../support/fault-server.ts';
import { PostgresCluster } from '../support/postgres-cluster.ts';
import { PostgresProxy } from '../support/postgres-proxy.ts';
import { until } from '../support/sign-ins.ts';

/** Contract §3: on every other instance. */
const VISIBLE_MS = 1_000;

let primary: PostgresCluster;
let proxy: PostgresProxy;
let server: FaultServer;
let admin: string;
const clusters: PostgresCluster[] = [];

beforeAll(async () => {
  primary = await PostgresCluster.start();
  clusters.push(primary);
  proxy = await PostgresProxy.start(primary.url);
  server = await FaultServer.start({ DATABASE_URL: proxy.url });
  admin = await server.adminToken();
});
afterAll(async () => {
  await server.remove();
  await proxy.shut();
  for (const cluster of clusters) await cluster.remove();
});

/** Suspends an account as another instance would, and measures until its token is refused. */
async function timeOfSuspension(): Promise<number> {
  const partner = await provision(server, admin);
  const token = await obtain(server, partner);
  const status = async (): Promise<number> => (await send(server, '/me', { token })).status;
  // It is in memory now.
  expect(await status()).toBe(200);
  expect(await status()).toBe(200);
  await primary.administer(`UPDATE channel_user SET suspended_at = now() WHERE id = '${partner.id}'`);
  const suspended = performance.now();
  await until(async () => (await status()) === 401, 'the token is refused');
  return Math.round(performance.now() - suspended);
}

it('notices changes of others in time while the listening connection is half open', async () => {
  const load = await FaultLoad.prepare(server, admin);
  try {
    await load.begin();
    const begun = performance.now();
    const lines = server.log.length;
    const times: number[] = [];
    for (let i = 0; i < 2; i++) {
      await server.shows('latchkey_change_feed_up', (up) => up === 1);
      proxy.abandon('feed');
      times.push(await timeOfSuspension());
    }
    await server.shows('latchkey_change_feed_lag_seconds', (lag) => lag < 1);
    report(`LISTEN half open; suspension seen after ${times.join(', ')} ms`, load.seen(begun), await load.recovered());
    expect(Math.max(...times)).toBeLessThan(VISIBLE_MS);
    await server.logs(
      /^Change notifications do not arrive \(.*timeout.*\): bypassing the caches until they do$/i,
      lines,
    );
    await server.logs(/^Change notifications arrive again, caches are trusted$/, lines);
    // Nobody else noticed.
    load.unharmed(begun);
    await load.verify();
    expect(await load.missingActivity()).toEqual([]);
  } finally {
    await load.end();
  }
});

it.each([
  ['the primary loses power', (old: PostgresCluster) => old.stop('immediate')],
  [
    // A proxy or a floating address that moves does not end what is connected.
    'the primary stays up, read-only, and keeps the connections',
    (old: PostgresCluster) =>
      old.administer('ALTER SYSTEM SET default_transaction_read_only = on', 'SELECT pg_reload_conf()'),
  ],
])('fails over to another port: %s', async (what, fence) => {
  const old = primary;
  const standby = await old.standby();
  clusters.push(standby);
  // What is answered is on both.
  await old.administer(`ALTER SYSTEM SET synchronous_standby_names = '*'`, 'SELECT pg_reload_conf()');
  const load = await FaultLoad.prepare(server, admin);
  try {
    await load.begin();
    const begun = performance.now();
    const lines = server.log.length;
    await fence(old);
    await load.fails('provision', 'change', 'rotate');
    await standby.caughtUpWith(old);
    await standby.promote();
    primary = standby;
    proxy.target = standby.url;
    const recovery = await load.recovered(performance.now());
    // Nobody believes what the old one says.
    const times = [await timeOfSuspension(), await timeOfSuspension()];
    report(`failover, ${what}; suspension seen after ${times.join(', ')} ms`, load.seen(begun), recovery);
    expect(Math.max(...times)).toBeLessThan(VISIBLE_MS);
    expect(recovery).toBeLessThan(3_000);
    await server.logs(/^Change notifications do not arrive \(.+\): bypassing the caches until they do$/, lines);
    await server.logs(/^Change notifications arrive again, caches are trusted$/, lines);
    await load.verify();
    expect(await load.missingActivity()).toEqual([]);
  } finally {
    await load.end();
  }
});
