import pg from 'pg';
import { createDatabase } from '../support/database.ts';
import { Fleet, type FleetAccount, send, type Sent } from '../support/fleet.ts';
import { RedisServer } from '../support/redis.ts';
import { describeWith } from '../support/programs.ts';
import { keepOutput, secret } from '../support/secrets.ts';
import { inParallel, tally } from '../support/sign-ins.ts';

/** Contract §3: how long a change may take to be known everywhere. */
const KNOWN_WITHIN_MS = 1_000;

describeWith('/usr/bin/redis-server')('three instances on one PostgreSQL and one Redis', () => {
  const started = new AsyncDisposableStack();
  let database: Awaited<ReturnType<typeof createDatabase>>;
  let redis: RedisServer;
  let fleet: Fleet;

  beforeAll(async () => {
    // Empty: all three start with a migration.
    database = await createDatabase({ migrated: false });
    started.defer(database.drop);
    redis = await RedisServer.start();
    started.defer(() => redis.remove());
    fleet = await Fleet.start(database.url, { NODE_ENV: 'development', REDIS_URL: redis.url });
    started.defer(() => fleet.remove());
    started.defer(() => {
      for (const { output } of fleet.instances) keepOutput(output);
    });
    secret(fleet.staffToken);
  });

  afterAll(() => started.disposeAsync());

  async function ask<T extends object>(...statements: string[]): Promise<T[]> {
    const client = new pg.Client({ connectionString: database.url });
    await client.connect();
    try {
      let rows: T[] = [];
      for (const statement of statements) ({ rows } = await client.query<T>(statement));
      return rows;
    } finally {
      await client.end();
    }
  }

  async function newAccount(fields: Record<string, unknown> = {}): Promise<FleetAccount & { token: string }> {
    const account = await fleet.newAccount(fields);
    secret(account.password);
    return { ...account, token: secret(await fleet.newToken(account)) };
  }

  it('migrate an empty database and make keys and partitions once when they start together', async () => {
    expect(await ask('SELECT name FROM migration GROUP BY name HAVING count(*) > 1')).toEqual([]);
    expect(
      await ask('SELECT purpose, state, count(*)::int FROM signing_key GROUP BY 1, 2 ORDER BY purpose, state'),
    ).toEqual([
      { purpose: 'partner', state: 'active', count: 1 },
      { purpose: 'partner', state: 'published', count: 1 },
      { purpose: 'staff', state: 'active', count: 1 },
      { purpose: 'staff', state: 'published', count: 1 },
    ]);
    const partitions = await ask(
      `SELECT FROM pg_inherits JOIN pg_class ON oid = inhrelid
        WHERE inhparent = 'activity'::regclass AND relname ~ '^activity_[0-9]{8}$'`,
    );
    expect(partitions).toHaveLength(3);
    for (const { complaints } of fleet.instances) expect(complaints).toEqual([]);
  });

  it('know at once what another one creates', async () => {
    const account = await newAccount();
    for (const [i, instance] of fleet.instances.entries()) {
      const token = secret(await fleet.newToken(account, instance));
      for (const other of fleet.instances) {
        expect([i, (await send(other.url, { path: '/me', token })).status]).toEqual([i, 200]);
      }
    }
  });

  type Victim = FleetAccount & { token: string };
  const jtiOf = (token: string): string =>
    (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string }).jti;
  const endings: Record<string, (victim: Victim) => Sent> = {
    suspended: ({ id }) => ({
      method: 'POST',
      path: `/admin/channel-users/${id}/suspend`,
      json: { reason: 'test' },
    }),
    'without its tokens': ({ id }) => ({
      method: 'POST',
      path: `/admin/channel-users/${id}/revoke-tokens`,
      json: { reason: 'test' },
    }),
    'without its password': ({ id, credentialId }) => ({
      method: 'DELETE',
      path: `/admin/channel-users/${id}/credentials/${credentialId}`,
    }),
    'without this token': ({ token }) => ({ method: 'DELETE', path: `/admin/tokens/${jtiOf(token)}` }),
    expired: ({ id }) => ({
      method: 'PATCH',
      path: `/admin/channel-users/${id}`,
      json: { expiresAt: new Date(Date.now() - 1_000).toISOString() },
    }),
    'limited to other addresses': ({ id }) => ({
      method: 'PATCH',
      path: `/admin/channel-users/${id}`,
      json: { allowedIps: ['192.0.2.1'] },
    }),
    deleted: ({ id }) => ({ method: 'DELETE', path: `/admin/channel-users/${id}` }),
  };

  it.each(Object.keys(endings))(
    'refuse a partner at once where it was %s and within a second elsewhere',
    async (name) => {
      const victim = await newAccount();
      // Every one has it in memory.
      for (const { url } of fleet.instances) {
        expect((await send(url, { path: '/me', token: victim.token })).status).toBe(200);
      }
      const make = endings[name];
      if (!make) throw new Error(name);
      const { status } = await fleet.admin(make(victim));
      expect(Math.floor(status / 100)).toBe(2);
      const answeredAt = performance.now();
      /** The latest moment at which a request was begun that was still accepted. */
      const lastAccepted = fleet.instances.map(() => -Infinity);
      await Promise.all(
        fleet.instances.map(async ({ url }, i) => {
          for (let begun = 0; begun < 1.3 * KNOWN_WITHIN_MS;) {
            begun = performance.now() - answeredAt;
            const answer = await send(url, { path: '/me', token: victim.token });
            expect([200, 401]).toContain(answer.status);
            if (answer.status === 200) lastAccepted[i] = begun;
          }
        }),
      );
      expect(lastAccepted[0]).toBe(-Infinity);
      for (const begun of lastAccepted) expect(begun).toBeLessThan(KNOWN_WITHIN_MS);
    },
  );

  /** While Redis is slow, each instance counts for itself: then it is tried again. */
  async function whileRedisAnswers(work: () => Promise<unknown>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const before = timesAway();
      try {
        await work();
        return;
      } catch (error) {
        if (attempt === 3 || timesAway() === before) throw error;
      }
    }
  }
  const timesAway = (): number =>
    fleet.instances.reduce((sum, { output }) => sum + output.split('Redis does not answer').length - 1, 0);

  it('issue together no more tokens than a partner may have', async () => {
    await whileRedisAnswers(async () => {
      const account = await fleet.newAccount({ tokensPerMinute: 10 });
      secret(account.password);
      const answers = await inParallel(30, 6, (i) => send(fleet.instance(i % 3).url, fleet.signIn(account)));
      for (const { status, text } of answers) if (status === 200) secret(text);
      expect(tally(answers)).toEqual({ 200: 10, 429: 20 });
    });
  });

  it('count the failures of a username and address together', async () => {
    let attempt = 0;
    await whileRedisAnswers(async () => {
      const account = await fleet.newAccount();
      secret(account.password);
      const wrong = { ...account, password: 'wrong' };
      const headers = { 'x-forwarded-for': `203.0.113.${String(++attempt)}` };
      const answers = await inParallel(24, 6, (i) =>
        send(fleet.instance(i % 3).url, { ...fleet.signIn(wrong), headers }),
      );
      expect(tally(answers)).toEqual({ 401: 10, 429: 14 });
      // The right password is refused nowhere for it.
      for (const { url } of fleet.instances) {
        const answer = await send(url, { ...fleet.signIn(account), headers });
        expect(answer.status).toBe(200);
        secret(answer.text);
      }
    });
  });

  it('maintain the activity tables once, even at the same moment', async () => {
    await ask(
      `CREATE TABLE activity_20200101 PARTITION OF activity FOR VALUES FROM ('2020-01-01') TO ('2020-01-02')`,
      `INSERT INTO sign_in_hour (hour, writer, tokens, refused) VALUES ('2020-01-01', gen_random_uuid(), 1, 1)`,
    );
    await Promise.all(fleet.instances.map((instance) => instance.stop('SIGINT')));
    await Promise.all(fleet.instances.map((instance) => instance.start()));
    const left = await ask(`SELECT to_regclass('activity_20200101')::text AS partition,
      (SELECT count(*)::int FROM sign_in_hour WHERE hour < '2021-01-01') AS hours`);
    expect(left).toEqual([{ partition: null, hours: 0 }]);
    for (const { complaints } of fleet.instances) expect(complaints).toEqual([]);
  });
});
