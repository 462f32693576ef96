import * as argon2 from '@node-rs/argon2';
import { randomUUID } from 'node:crypto';
import { LimiterStore } from '../src/rate-limit/limiter-store.service.ts';
import { type Answer, TestApp } from './support/app.ts';
import { describeWithRedis, RedisServer } from './support/redis.ts';
import { secret } from './support/secrets.ts';
import {
  eventually,
  importPassword,
  inParallel,
  logLines,
  LOOPBACK_PROXIES,
  newAddress,
  signInFrom,
  tally,
} from './support/sign-ins.ts';

describeWithRedis('with REDIS_URL', () => {
  let redis: RedisServer;
  /** Two instances on one database and one Redis. */
  let a: TestApp;
  let b: TestApp;

  beforeAll(async () => {
    redis = await RedisServer.start();
    a = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES, redisUrl: redis.url });
    b = await TestApp.start({ ...a.config });
    await bothAre('redis');
  });
  afterAll(async () => {
    redis.thaw();
    await b.close();
    await a.close();
    await redis.remove();
  });

  const stateOf = (app: TestApp): string => app.app.nest.get(LimiterStore).state;
  const bothAre = (state: string): Promise<true> =>
    eventually(() => ([a, b].every((app) => stateOf(app) === state) ? true : undefined), `both say ${state}`);
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
  /** An answer, and how long it took. */
  const timed = async (ask: Promise<Answer>): Promise<{ answer: Answer; ms: number }> => {
    const started = performance.now();
    return { answer: await ask, ms: performance.now() - started };
  };
  /** Lines that were logged since there were so many, by the limiter's store. */
  const linesSince = (count: number): string[] =>
    logLines()
      .slice(count)
      .filter(({ context }) => context === 'LimiterStore')
      .map(({ level, msg }) => `${String(level)} ${String(msg)}`);

  it('failures are counted by all instances together', async () => {
    const { username } = await a.newPartner();
    const address = newAddress();
    const [ofA, ofB] = await Promise.all([failures(a, 5, address, username), failures(b, 5, address, username)]);
    expect([tally(ofA), tally(ofB)]).toEqual([{ 401: 5 }, { 401: 5 }]);
    for (const app of [a, b]) expect(waitOf(await signInFrom(app, address, wrong(username)))).toBeLessThanOrEqual(15);
    for (const app of [a, b]) expect((await signInFrom(app, newAddress(), wrong(username))).status).toBe(401);
  });

  it('failures are counted exactly, also when they come at once to both', async () => {
    const { username } = await a.newPartner();
    const address = newAddress();
    const answers = await Promise.all([failures(a, 15, address, username), failures(b, 15, address, username)]);
    expect(tally(answers.flat())).toEqual({ 401: 10, 429: 20 });
  });

  it('failures of an address are counted by all instances together', async () => {
    const address = newAddress();
    const attempts = await inParallel(110, 55, (i) =>
      signInFrom(i % 2 === 0 ? a : b, address, wrong(`nobody-${String(i % 20)}`)),
    );
    expect(tally(attempts)).toEqual({ 401: 100, 429: 10 });
  });

  it('failures of staff are counted by all instances together', async () => {
    const member = await a.newStaff('viewer');
    const address = newAddress();
    const signIn = (app: TestApp, password: string): Promise<Answer> =>
      app.request('POST', '/admin/session', {
        json: { email: member.email, password },
        headers: { 'x-forwarded-for': address },
      });
    const answers = await inParallel(10, 10, (i) => signIn(i % 2 === 0 ? a : b, 'wrong'));
    expect(tally(answers)).toEqual({ 401: 10 });
    for (const app of [a, b]) expect((await signIn(app, member.password)).status).toBe(429);
  });

  it('tokens of the minute are counted by all instances together', async () => {
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

  it('the waits grow with each failure that follows one, up to the window', async () => {
    const { username } = await a.newPartner();
    const address = newAddress();
    expect(tally(await failures(a, 10, address, username))).toEqual({ 401: 10 });
    const waits = [waitOf(await signInFrom(b, address, wrong(username)))];
    for (let i = 0; i < 8; i++) {
      // As if the time had passed.
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

  it('what is kept there ends with the window, and tells no name and no address', async () => {
    const { username } = await a.newPartner();
    const address = newAddress();
    await failures(a, 11, address, username);
    await redis.use(async (client) => {
      const keys = await client.keys('*');
      expect(keys.length).toBeGreaterThan(3);
      for (const key of keys) {
        expect(key).toMatch(/^latchkey:[0-9a-f]{8}:[a-z-]+(:[a-z-]+)?:[\w-]+$/);
        expect(key).not.toContain(username);
        expect(key).not.toContain(address);
        const seconds = await client.ttl(key);
        expect(seconds).toBeGreaterThan(0);
        expect(seconds).toBeLessThanOrEqual(900);
      }
    });
  });

  it('without Redis, sign-ins go on at once, each instance counts for itself, and the log says so', async () => {
    const partner = await a.newPartner();
    const { username } = await a.newPartner();
    const lines = logLines().length;
    await redis.stop();
    await bothAre('redis-away');
    for (const app of [a, b]) {
      const address = newAddress();
      const right = await timed(signInFrom(app, address, partner));
      expectToken(right.answer);
      expect(right.ms).toBeLessThan(1_000);
      const wrongOnes = await inParallel(14, 14, () => timed(signInFrom(app, address, wrong(username))));
      expect(tally(wrongOnes.map(({ answer }) => answer))).toEqual({ 401: 10, 429: 4 });
      for (const { ms } of wrongOnes) expect(ms).toBeLessThan(1_250);
      expectToken(await signInFrom(app, address, partner));
    }
    const limited = await a.newPartner({ tokensPerMinute: 2 });
    expect(tally(await inParallel(4, 4, () => signInFrom(a, newAddress(), limited)))).toEqual({ 200: 2, 429: 2 });
    // Once for each instance, however long it lasts.
    expect(linesSince(lines)).toEqual([
      expect.stringMatching(/^warn Redis does not answer \(.+\): each instance counts limits for itself$/),
      expect.stringMatching(/^warn Redis does not answer \(.+\): each instance counts limits for itself$/),
    ]);
  });

  it('when Redis is back, limits are shared again, and the log says so', async () => {
    const lines = logLines().length;
    await redis.restart();
    await bothAre('redis');
    await eventually(() => (linesSince(lines).length === 2 ? true : undefined), 'two lines in the log');
    const line = 'warn Redis answers again: limits are shared by all instances';
    expect(linesSince(lines)).toEqual([line, line]);
    const { username } = await a.newPartner();
    const address = newAddress();
    const answers = await Promise.all([failures(a, 8, address, username), failures(b, 8, address, username)]);
    expect(tally(answers.flat())).toEqual({ 401: 10, 429: 6 });
  });

  describe('that does not answer', () => {
    let linesAtFreeze: number;
    beforeAll(() => {
      linesAtFreeze = logLines().length;
      redis.freeze();
    });
    afterAll(async () => {
      redis.thaw();
      await bothAre('redis');
    });

    it('nothing waits long, each instance counts for itself, and what is right passes', async () => {
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
      expect(slowest([...right, ...wrongOnes, ...more, again])).toBeLessThan(1_500);
    });

    it('is noticed: the state and the log say so', async () => {
      await eventually(
        async () => {
          await signInFrom(a, newAddress(), wrong('nobody'));
          return stateOf(a) === 'redis-away' ? true : undefined;
        },
        'a state that says so',
        5_000,
      );
      // It may have been noticed in the test before.
      const line = /^warn Redis does not answer \(.+\): each instance counts limits for itself$/;
      expect(linesSince(linesAtFreeze).filter((each) => line.test(each)).length).toBeGreaterThan(0);
    });

    it('passwords from an older system are still verified', async () => {
      const partner = await a.newPartner();
      const password = secret(`Winter-${randomUUID()}`);
      await importPassword(a, partner.id, await argon2.hash(password, { memoryCost: 4096, timeCost: 1 }));
      const { answer, ms } = await timed(signInFrom(a, newAddress(), { ...partner, password }));
      expectToken(answer);
      expect(ms).toBeLessThan(1_500);
    });
  });

  it('when it answers again, limits are shared again', async () => {
    await bothAre('redis');
    const { username } = await a.newPartner();
    const address = newAddress();
    const answers = await Promise.all([failures(a, 8, address, username), failures(b, 8, address, username)]);
    expect(tally(answers.flat())).toEqual({ 401: 10, 429: 6 });
  });
});
