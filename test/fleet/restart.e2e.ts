import pg from 'pg';
import { createDatabase } from '../support/database.ts';
import { Fleet, type FleetAccount, type Instance, Load, type Mix, send } from '../support/fleet.ts';
import { Nginx } from '../support/nginx.ts';
import { RedisServer } from '../support/redis.ts';
import { describeWith } from '../support/programs.ts';
import { keepOutput, secret } from '../support/secrets.ts';
import { eventually } from '../support/sign-ins.ts';

/** Requests at once, all the time. */
const AT_ONCE = 12;
const SECOND = 1_000;

describeWith('/usr/sbin/nginx', '/usr/bin/redis-server')('three instances behind nginx', () => {
  const started = new AsyncDisposableStack();
  let database: Awaited<ReturnType<typeof createDatabase>>;
  let redis: RedisServer;
  let fleet: Fleet;
  let nginx: Nginx;
  let accounts: FleetAccount[];
  let tokens: string[];
  let load: Load | undefined;

  beforeAll(async () => {
    database = await createDatabase();
    started.defer(database.drop);
    redis = await RedisServer.start();
    started.defer(() => redis.remove());
    fleet = await Fleet.start(database.url, { REDIS_URL: redis.url });
    started.defer(() => fleet.remove());
    started.defer(() => {
      for (const { output } of fleet.instances) keepOutput(output);
    });
    nginx = await Nginx.start(fleet.ports);
    started.defer(() => nginx.remove());
    secret(fleet.staffToken);
    accounts = [];
    for (let i = 0; i < 6; i++) accounts.push(await fleet.newAccount());
    tokens = await Promise.all(accounts.map((account) => fleet.newToken(account)));
    for (const text of [...tokens, ...accounts.map(({ password }) => password)]) secret(text);
  });

  afterEach(async () => {
    await load?.stop();
  });

  afterAll(() => started.disposeAsync());

  let provisioned = 0;
  const any = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T;

  /** What partners and staff do all day: two of five must not be sent twice. */
  const mix: Mix = {
    call: () => ({ path: '/me', token: any(tokens) }),
    token: () => fleet.signIn(any(accounts)),
    'another call': () => ({ path: '/me', token: any(tokens) }),
    list: () => ({ path: '/admin/channel-users?limit=1', token: fleet.staffToken }),
    provision: () => ({
      method: 'POST',
      path: '/admin/channel-users',
      token: fleet.staffToken,
      json: { username: `under-load-${String(++provisioned)}`, displayName: 'Under load' },
    }),
  };

  async function ask<T extends object>(query: string, values: unknown[] = []): Promise<T[]> {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      return (await client.query<T>(query, values)).rows;
    } finally {
      await client.end();
    }
  }

  /** What nginx says of every request that failed. */
  const refusals = async (): Promise<string[]> => (await nginx.log()).filter((line) => / 503 \d/.test(line));

  /** Those of the answered sign-ins that the database knows nothing of. */
  async function unrecorded({ outcomes }: Load): Promise<string[]> {
    const answered = outcomes.filter(({ name, status }) => name === 'token' && status === 200);
    const rows = await ask<{ requestId: string }>('SELECT request_id AS "requestId" FROM activity');
    const known = new Set(rows.map(({ requestId }) => requestId));
    return answered.flatMap(({ requestId = 'none' }) => (known.has(requestId) ? [] : [requestId]));
  }

  it('can be restarted one by one under load without failing or repeating a request', async () => {
    load = new Load(nginx.url, mix, AT_ONCE);
    await load.further(100);
    for (const instance of fleet.instances) {
      const { exit, ms } = await instance.stop();
      expect([exit, ms < 10 * SECOND]).toEqual([0, true]);
      await load.further(60);
      await instance.start();
      await load.further(60);
    }
    await load.stop();
    expect([load.failureKinds, await refusals()]).toEqual([{}, []]);
    // Each of them was provisioned once, and nobody else.
    const [row] = await ask<{ count: number }>(
      `SELECT count(*)::int FROM channel_user WHERE username LIKE 'under-load-%'`,
    );
    expect(row?.count).toBe(load.succeeded('provision').length);
    // A token that was obtained twice would show as one more.
    const answered = tokens.length + load.succeeded('token').length;
    const written = async (): Promise<number> =>
      (await ask<{ count: number }>('SELECT count(*)::int FROM activity'))[0]?.count ?? 0;
    await eventually(async () => (await written()) >= answered || undefined, 'The last sign-ins are written');
    expect(await written()).toBe(answered);
    for (const instance of fleet.instances) expect(instance.complaints).toEqual([]);
  });

  it('lose only the running requests of one that is killed', async () => {
    load = new Load(nginx.url, mix, AT_ONCE);
    await load.further(100);
    const victim: Instance = fleet.instance(1);
    await victim.stop('SIGKILL');
    const endedAt = performance.now();
    await load.further(200);
    await load.stop();
    const { failures } = load;
    expect(failures.length).toBeLessThanOrEqual(AT_ONCE);
    for (const failure of failures) {
      // What may not be sent again, and had been sent before the end.
      expect(failure).toMatchObject({ name: 'provision', status: 503 });
      expect(failure.begunAt).toBeLessThan(endedAt);
    }
    await victim.start();
    expect((await send(victim.url, { path: '/me', token: tokens[0] })).status).toBe(200);
  });

  it.each([
    ['on connections that are kept', true],
    // Under load some of those always wait to be accepted.
    ['each on a connection of its own', false],
  ])('answer and record everything that arrives before SIGTERM closes the listener: %s', async (_, keepAlive) => {
    const [instance] = fleet.instances as [Instance];
    load = new Load(instance.url, mix, 2 * AT_ONCE, { keepAlive });
    await load.further(200);
    const { exit, ms } = await instance.stop();
    await load.stop();
    await instance.start();
    expect(exit).toBe(0);
    expect(ms).toBeLessThan(10 * SECOND);
    // The listener was closed, and after that nobody could connect.
    const refused = load.failures.filter(({ error }) => error === 'ECONNREFUSED');
    expect(refused.length).toBeGreaterThan(0);
    expect(load.failures.filter((failure) => !refused.includes(failure))).toEqual([]);
    expect(await unrecorded(load)).toEqual([]);
  });
});
