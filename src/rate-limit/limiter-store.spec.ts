import { randomBytes } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Config } from '../platform/config/config.ts';
import { FailureThrottle } from './failure-throttle.ts';
import { type Limiter, LimiterStore } from './limiter-store.service.ts';

/** Three throttles with three limiters each: pairs, addresses and waits. */
const LIMITERS = 9;
/** Memory that outsiders may fill in the limiters. The contract allows 64 MB for everything that they can fill. */
const LIMIT_BYTES = 40_000_000;

const newStore = (): LimiterStore => new LimiterStore({ publicUrl: 'http://latchkey.test' } as Config);

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
function usedBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

it('gives no room to keys that are only read', async () => {
  const limiter = newStore().create({ name: 'test', durationSeconds: 900 });
  for (let i = 0; i < 100_001; i++) expect(await limiter.get(`asked-${String(i)}`)).toBeNull();
  // With shared buckets, some of so many keys would find a count already.
  for (let i = 0; i < 10_000; i++) {
    const { consumedPoints } = await limiter.use(`counted-${String(i)}`);
    expect(consumedPoints).toBe(1);
  }
  expect((await limiter.get('counted-7'))?.consumedPoints).toBe(1);
});

it('keeps all limiters within their memory, however many keys there are', async () => {
  const store = newStore();
  const limiters: Limiter[] = [];
  const before = usedBytes();
  for (let i = 0; i < LIMITERS; i++) limiters.push(store.create({ name: String(i), durationSeconds: 900 }));
  for (const limiter of limiters) {
    for (let n = 0; n < 60_000; n++) {
      const key = randomBytes(16).toString('base64url');
      if (n % 2 === 0) await limiter.use(key);
      else await limiter.set(key, 1, 900);
    }
  }
  expect(usedBytes() - before).toBeLessThan(LIMIT_BYTES);
  expect(limiters).toHaveLength(LIMITERS);
});

it('stores small keys for any names and addresses', async () => {
  const failures = 10_000;
  const names = Array.from({ length: failures }, (_, n) => `${'x'.repeat(250)}${String(n)}`);
  const before = usedBytes();
  const throttle = new FailureThrottle(newStore(), 'partner', randomBytes(32));
  for (const [n, name] of names.entries()) await throttle.fail(`2001:db8:${n.toString(16)}:1::1`, name);
  // Each failure takes two keys: the pair and the address.
  expect((usedBytes() - before) / (2 * failures)).toBeLessThan(220);
  expect(throttle.decisions.allowed).toBe(names.length);
});
