import { performance } from 'node:perf_hooks';
import { FaultLoad, report } from '../support/fault-load.ts';
import { FaultServer } from '../support/fault-server.ts';
import { createDatabase } from '../support/database.ts';
import { describeWithRedis, RedisServer } from '../support/redis.ts';

const AWAY = /^Redis does not answer \(.+\): each instance counts limits for itself$/;
const BACK = /^Redis answers again: all instances share the limits$/;

describeWithRedis('Redis', () => {
  let redis: RedisServer;
  let database: Awaited<ReturnType<typeof createDatabase>>;
  let server: FaultServer;
  let admin: string;

  beforeAll(async () => {
    database = await createDatabase();
    redis = await RedisServer.start();
    server = await FaultServer.start({ DATABASE_URL: database.url, REDIS_URL: redis.url });
    admin = await server.adminToken();
  });
  afterAll(async () => {
    redis.thaw();
    await server.remove();
    await redis.remove();
    await database.drop();
  });

  const faults: [what: string, fail: () => void | Promise<void>, mend: () => void | Promise<void>][] = [
    ['stopped, and started again', () => redis.stop(), () => redis.restart()],
    [
      'frozen',
      () => {
        redis.freeze();
      },
      () => {
        redis.thaw();
      },
    ],
    [
      'restarted, again and again',
      async () => {
        for (let i = 0; i < 3; i++) {
          await redis.stop();
          await redis.restart();
        }
        await redis.stop();
      },
      () => redis.restart(),
    ],
  ];
  it.each(faults)('%s: nobody notices', async (what, fail, mend) => {
    const load = await FaultLoad.prepare(server, admin);
    try {
      await load.begin();
      await server.shows('latchkey_limiter_store_up', (up) => up === 1);
      const begun = performance.now();
      const lines = server.log.length;
      await fail();
      await server.shows('latchkey_limiter_store_up', (up) => up === 0);
      await server.logs(AWAY, lines);
      // For a while: every kind of call has been made meanwhile.
      await load.recovered(performance.now());
      await mend();
      const since = performance.now();
      await server.shows('latchkey_limiter_store_up', (up) => up === 1);
      const shared = Math.round(performance.now() - since);
      await server.logs(BACK, lines);
      await load.recovered(performance.now());
      report(`Redis ${what}; limits shared again after ${String(shared)} ms`, load.seen(begun), 0);
      expect(shared).toBeLessThan(5_000);
      load.unharmed(begun);
      expect(load.seen(begun).slowestMs).toBeLessThan(2_500);
      await load.verify();
      expect(await load.missingActivity()).toEqual([]);
    } finally {
      await load.end();
    }
  });
});
