import * as argon2 from '@node-rs/argon2';
import { randomUUID } from 'node:crypto';
import { type Answer, TestApp } from '../../test/support/app.ts';
import { Metrics, scrape } from '../../test/support/metrics.ts';
import { freePort } from '../../test/support/ports.ts';
import { realTime } from '../../test/support/real-time.ts';
import { describeWithRedis, RedisServer } from '../../test/support/redis.ts';
import { secret } from '../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  eventually,
  importPassword,
  inParallel,
  logLines,
  newAddress,
  signInFrom,
  tally,
  until,
} from '../../test/support/sign-ins.ts';

describeWithRedis('with REDIS_URL', () => {
  let redis: RedisServer;
  /** Two instances on one database and one Redis. */
  let a: TestApp;
  let b: TestApp;

  /** How long the slowest of some refusals takes with Redis: 250 ms, and what a busy machine adds. */
  let usualMs: number;

  beforeAll(async () => {
    redis = await RedisServer.start();
    a = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES, redisUrl: redis.url });
    b = await TestApp.start({ ...a.config });
    for (const app of [a, b]) app.waits = 'real';
    await bothAre('redis');
    const refused = await inParallel(14, 14, () => timed(signInFrom(a, newAddress(), wrong('nobody'))));
    usualMs = Math.max(...refused.map(({ ms }) => ms));
  });
  afterAll(async () => {
    redis.thaw();
    await b.close();
    await a.close();
    await redis.remove();
  });

  /** Where an instance counts. */
  const stateOf = async (app: TestApp): Promise<'redis' | 'redis-away'> =>
    (await scrape(app.opsUrl)).value('latchkey_limiter_store_up') === 1 ? 'redis' : 'redis-away';
  const bothAre = (state: 'redis' | 'redis-away'): Promise<true> =>
    eventually(async () => {
      const states = await Promise.all([a, b].map(stateOf));
      return states.every((each) => each === state) ? true : undefined;
    }, `both say ${state}`);
  const wrong = (username: string): { username: string; password: string } => ({
    username,
    password: `wrong ${randomUUID()}`,
  });
  const failures = (app: TestApp, count: number, address: string, username: string): Promise<Answer[]> =>
    inParallel(count, count, () => signInFrom(app, address, wrong(username)));
  const waitOf = (answer: Answer): number => {
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 429, text: 'too many requests' });
    expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    return Number(answer.headers.get('retry-after'));
  };
  function expectToken(answer: Answer): void {
    expect({ status: answer.status, text: answer.status === 200 ? '' : answer.text }).toEqual({
      status: 200,
      text: '',
    });
    secret(answer.text);
  }
  /** An answer, and how many milliseconds it took. */
  const timed = async (ask: Promise<Answer>): Promise<{ answer: Answer; ms: number }> => {
    const started = performance.now();
    return { answer: await ask, ms: performance.now() - started };
  };
  /** Lines that the limiter store has logged after the first `count` lines. */
  const linesSince = (count: number): string[] =>
    logLines()
      .slice(count)
      .filter(({ context }) => context === 'LimiterStore')
      .map(({ level, msg }) => `${String(level)} ${String(msg)}`);

  it('adds up failures of all instances', async () => {
    const { username } = await a.newPartner();
    const address = newAddress();
    const [ofA, ofB] = await Promise.all([failures(a, 5, address, username), failures(b, 5, address, username)]);
    expect([tally(ofA), tally(ofB)]).toEqual([{ 401: 5 }, { 401: 5 }]);
    for (const app of [a, b]) expect(waitOf(await signInFrom(app, address, wrong(username)))).toBeLessThanOrEqual(15);
    for (const app of [a, b]) expect((await signInFrom(app, newAddress(), wrong(username))).status).toBe(401);
  });

  it('counts failures exactly when they arrive at both instances at once', async () => {
    const { username } = await a.newPartner();
    const address = newAddress();
    const answers = await Promise.all([failures(a, 15, address, username), failures(b, 15, address, username)]);
    expect(tally(answers.flat())).toEqual({ 401: 10, 429: 20 });
  });

  it('adds up failures of an address on all instances', async () => {
    const address = newAddress();
    const attempts = await inParallel(110, 55, (i) =>
      signInFrom(i % 2 === 0 ? a : b, address, wrong(`nobody-${String(i % 20)}`)),
    );
    expect(tally(attempts)).toEqual({ 401: 100, 429: 10 });
  });

  it('adds up failures of staff on all instances', async () => {
    const member = await a.newStaff('viewer');
    const address = newAddress();
    const signIn = (app: TestApp, password: string): Promise<Answer> =>
      app.request('POST', '/admin/session', {
        json: { email: member.email, password },
        headers: { 'x-forwarded-for': address },
      });
    // One after the other, since many slow hashes at once take longer than a sign-in waits.
    const answers = await inParallel(10, 1, (i) => signIn(i % 2 === 0 ? a : b, 'wrong'));
    expect(tally(answers)).toEqual({ 401: 10 });
    for (const app of [a, b]) expect((await signIn(app, member.password)).status).toBe(429);
  });

  it('adds up the tokens of a minute on all instances', async () => {
    const partner = await a.newPartner({ tokensPerMinute: 4 });
    const answers = await inParallel(10, 10, (i) => signInFrom(i % 2 === 0 ? a : b, newAddress(), partner));
    expect(tally(answers)).toEqual({ 200: 4, 429: 6 });
    for (const answer of answers) {
      if (answer.status === 200) secret(answer.text);
      else {
        expect(answer.headers.get('ratelimit-policy')).toBe('"tokens";q=4;w=60');
        expect(answer.headers.get('ratelimit')).toBe(`"tokens";r=0;t=${String(waitOf(answer))}`);
      }
    }
  });

  it('lets the wait grow with each further failure up to the window', async () => {
    // Redis counts real time: on a machine that stalls until the first wait is over, begins again.
    const { username, address, refused } = await eventually(async () => {
      const { username } = await a.newPartner();
      const address = newAddress();
      expect(tally(await failures(a, 10, address, username))).toEqual({ 401: 10 });
      const refused = await signInFrom(b, address, wrong(username));
      return refused.status === 429 ? { username, address, refused } : undefined;
    }, 'a wait');
    const waits = [waitOf(refused)];
    for (let i = 0; i < 8; i++) {
      // Ends the waits, as if their time had passed.
      await redis.use(async (client) => {
        const keys = await client.keys('*:waits:*');
        await client.del(...keys);
      });
      waits.push(waitOf(await signInFrom(i % 2 === 0 ? a : b, address, wrong(username))));
      // While a wait is on, nothing is counted.
      expect(waitOf(await signInFrom(i % 2 === 0 ? b : a, address, wrong(username)))).toBeLessThanOrEqual(
        waits.at(-1) ?? 0,
      );
    }
    expect(waits[0]).toBeGreaterThanOrEqual(13);
    expect(waits).toEqual([waits[0], 30, 60, 120, 240, 480, 900, 900, 900]);
  });

  it('keeps entries until their window ends, without names or addresses', async () => {
    const { username } = await a.newPartner();
    const address = newAddress();
    await failures(a, 11, address, username);
    await redis.use(async (client) => {
      const keys = await client.keys('*');
      let alive = 0;
      expect(keys.length).toBeGreaterThan(3);
      for (const key of keys) {
        expect(key).toMatch(/^latchkey:[0-9a-f]{8}:[a-z-]+(:[a-z-]+)?:[\w-]+$/);
        expect(key).not.toContain(username);
        expect(key).not.toContain(address);
        const seconds = await client.ttl(key);
        // It may end just now. A key without an end has -1.
        if (seconds === -2) continue;
        expect(seconds).toBeGreaterThanOrEqual(0);
        expect(seconds).toBeLessThanOrEqual(900);
        alive++;
      }
      expect(alive).toBeGreaterThan(0);
    });
  });

  it('lets each instance count for itself without Redis, and logs it', async () => {
    const partner = await a.newPartner();
    const { username } = await a.newPartner();
    const lines = logLines().length;
    await redis.stop();
    await bothAre('redis-away');
    for (const app of [a, b]) {
      const address = newAddress();
      const right = await timed(signInFrom(app, address, partner));
      expectToken(right.answer);
      expect(right.ms).toBeLessThan(750 + usualMs);
      const wrongOnes = await inParallel(14, 14, () => timed(signInFrom(app, address, wrong(username))));
      expect(tally(wrongOnes.map(({ answer }) => answer))).toEqual({ 401: 10, 429: 4 });
      for (const { ms } of wrongOnes) expect(ms).toBeLessThan(1_000 + usualMs);
      expectToken(await signInFrom(app, address, partner));
    }
    const limited = await a.newPartner({ tokensPerMinute: 2 });
    expect(tally(await inParallel(4, 4, () => signInFrom(a, newAddress(), limited)))).toEqual({ 200: 2, 429: 2 });
    // Each instance logs the outage once, however long it lasts.
    expect(linesSince(lines)).toEqual([
      expect.stringMatching(/^warn Redis does not answer \(.+\): each instance counts limits for itself$/),
      expect.stringMatching(/^warn Redis does not answer \(.+\): each instance counts limits for itself$/),
    ]);
  });

  it('shares limits again when Redis returns, and logs it', async () => {
    const lines = logLines().length;
    await redis.restart();
    await bothAre('redis');
    await until(() => linesSince(lines).length === 2, 'two lines in the log');
    const line = 'warn Redis answers again: all instances share the limits';
    expect(linesSince(lines)).toEqual([line, line]);
    const { username } = await a.newPartner();
    const address = newAddress();
    const answers = await Promise.all([failures(a, 8, address, username), failures(b, 8, address, username)]);
    expect(tally(answers.flat())).toEqual({ 401: 10, 429: 6 });
  });

  describe('while Redis does not answer', () => {
    let linesAtFreeze: number;
    beforeAll(() => {
      linesAtFreeze = logLines().length;
      redis.freeze();
    });
    afterAll(async () => {
      redis.thaw();
      await bothAre('redis');
    });

    it('delays nobody, lets each instance count for itself and accepts right passwords', async () => {
      const partner = await a.newPartner();
      const { username } = await a.newPartner();
      const address = newAddress();
      const right = await inParallel(20, 20, (i) => timed(signInFrom(i % 2 === 0 ? a : b, address, partner)));
      for (const { answer } of right) expectToken(answer);
      const wrongOnes = await inParallel(14, 14, () => timed(signInFrom(a, address, wrong(username))));
      expect(tally(wrongOnes.map(({ answer }) => answer))).toEqual({ 401: 10, 429: 4 });
      const more = await inParallel(5, 5, () => timed(signInFrom(a, address, wrong(username))));
      expect(tally(more.map(({ answer }) => answer))).toEqual({ 429: 5 });
      const again = await timed(signInFrom(a, address, partner));
      expectToken(again.answer);
      const slowest = (answers: { ms: number }[]): number => Math.max(...answers.map(({ ms }) => Math.round(ms)));
      expect(slowest([...right, ...wrongOnes, ...more, again])).toBeLessThan(1_250 + usualMs);
    });

    it('reports it in the metrics and the log', async () => {
      await eventually(
        async () => {
          await signInFrom(a, newAddress(), wrong('nobody'));
          return (await stateOf(a)) === 'redis-away' ? true : undefined;
        },
        'a state that says so',
        5_000,
      );
      // The outage may have been logged during the test before.
      const line = /^warn Redis does not answer \(.+\): each instance counts limits for itself$/;
      expect(linesSince(linesAtFreeze).filter((each) => line.test(each)).length).toBeGreaterThan(0);
    });

    it('still verifies passwords from an older system', async () => {
      const partner = await a.newPartner();
      const password = secret(`Winter-${randomUUID()}`);
      await importPassword(a, partner.id, await argon2.hash(password, { memoryCost: 4096, timeCost: 1 }));
      const { answer, ms } = await timed(signInFrom(a, newAddress(), { ...partner, password }));
      expectToken(answer);
      expect(ms).toBeLessThan(1_250 + usualMs);
    });
  });

  it('shares limits again when it answers', async () => {
    await bothAre('redis');
    const { username } = await a.newPartner();
    const address = newAddress();
    const answers = await Promise.all([failures(a, 8, address, username), failures(b, 8, address, username)]);
    expect(tally(answers.flat())).toEqual({ 401: 10, 429: 6 });
  });

  const refusals: [how: string, refuse: string[][], permit: string[][]][] = [
    ['is full (maxmemory)', [['CONFIG', 'SET', 'maxmemory', '1']], [['CONFIG', 'SET', 'maxmemory', '0']]],
    ['is a replica', [['REPLICAOF', '127.0.0.1', '{port}']], [['REPLICAOF', 'NO', 'ONE']]],
    [
      'does not permit scripts',
      [['ACL', 'SETUSER', 'default', '-evalsha', '-eval']],
      [['ACL', 'SETUSER', 'default', '+@all']],
    ],
    ['does not permit SET', [['ACL', 'SETUSER', 'default', '-set']], [['ACL', 'SETUSER', 'default', '+@all']]],
    [
      'does not have enough replicas',
      [['CONFIG', 'SET', 'min-replicas-to-write', '3']],
      [['CONFIG', 'SET', 'min-replicas-to-write', '0']],
    ],
  ];
  it.each(refusals)('treats a Redis that %s as down until it accepts writes', async (_, refuse, permit) => {
    await bothAre('redis');
    const closedPort = String(await freePort());
    const send = (commands: string[][]): Promise<void> =>
      redis.use(async (client) => {
        for (const [name = '', ...args] of commands)
          await client.call(
            name,
            args.map((arg) => arg.replace('{port}', closedPort)),
          );
      });
    const up = async (): Promise<number> =>
      new Metrics(await (await fetch(`${a.opsUrl}/metrics`)).text()).sum('latchkey_limiter_store_up');
    expect(await up()).toBe(1);
    const lines = logLines().length;
    await send(refuse);
    try {
      await bothAre('redis-away');
      expect(await up()).toBe(0);
      const partner = await a.newPartner();
      const { username } = await a.newPartner();
      for (const app of [a, b]) {
        const address = newAddress();
        expect(tally(await failures(app, 14, address, username))).toEqual({ 401: 10, 429: 4 });
        expectToken(await signInFrom(app, address, partner));
      }
      // Further checks are not logged.
      await realTime('Redis is checked again');
      const line = expect.stringMatching(
        /^warn Redis refuses to count \(.+\): each instance counts limits for itself$/,
      ) as string;
      expect(linesSince(lines)).toEqual([line, line]);
      expect((await (await fetch(`${a.opsUrl}/health/ready`)).json()) as object).toMatchObject({
        status: 'degraded',
        details: { limiterStore: { state: 'redis-away' } },
      });
    } finally {
      await send(permit);
    }
    await bothAre('redis');
    expect(await up()).toBe(1);
    const { username } = await a.newPartner();
    const address = newAddress();
    const answers = await Promise.all([failures(a, 8, address, username), failures(b, 8, address, username)]);
    expect(tally(answers.flat())).toEqual({ 401: 10, 429: 6 });
  });

  it.each(['99', '16'])('refuses at the start a database number that Redis lacks: %s', async (name) => {
    const start = TestApp.start({ ...a.config, redisUrl: `${redis.url}/${name}` });
    await expect(start).rejects.toThrow(
      /REDIS_URL names database .*, which this Redis does not have: use a number below/,
    );
  });

  it('uses a database number that Redis has', async () => {
    const c = await TestApp.start({ ...a.config, redisUrl: `${redis.url}/7` });
    try {
      await until(async () => (await stateOf(c)) === 'redis', 'it counts in Redis');
      const partner = await a.newPartner();
      const address = newAddress();
      await failures(c, 1, address, partner.username);
      const keys = await redis.use(async (client) => {
        await client.select(7);
        return client.keys('*:failures:*');
      });
      expect(keys).toHaveLength(1);
    } finally {
      await c.close();
    }
  });

  it('accepts a percent-encoded password in the URL', async () => {
    const password = 'p/w@d:%#? +=';
    await redis.use((client) => client.call('ACL', 'SETUSER', 'latchkey', 'on', `>${password}`, '~*', '&*', '+@all'));
    const url = new URL(redis.url);
    url.username = 'latchkey';
    url.password = encodeURIComponent(password);
    const c = await TestApp.start({ ...a.config, redisUrl: url.href });
    try {
      await until(async () => (await stateOf(c)) === 'redis', 'it counts in Redis');
    } finally {
      await c.close();
    }
  });
});
