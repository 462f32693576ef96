import { FairQueue, NotRunError } from './fair-queue.ts';
import { realTime } from '../../test/support/real-time.ts';

const never = (): boolean => false;

/** Jobs that end when the test says so. */
class Work {
  readonly log: string[] = [];
  readonly results: Promise<string>[] = [];
  readonly #ends: (() => void)[] = [];

  /** Adds a job that logs its start. */
  add(queue: FairQueue, key: string, name: string, isOver = never): Promise<string> {
    const result = queue.run(
      key,
      () => {
        this.log.push(name);
        return new Promise<string>((resolve) => {
          this.#ends.push(() => {
            resolve(name);
          });
        });
      },
      isOver,
    );
    // The tests that expect a failure handle it.
    result.catch(() => undefined);
    this.results.push(result);
    return result;
  }

  /** Ends the running job that started first. */
  async finish(times = 1): Promise<void> {
    for (let i = 0; i < times; i++) {
      this.#ends.shift()?.();
      await settled();
    }
  }
}

/** Resolves after the microtasks and timers that are due now. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('a fair queue', () => {
  it('runs jobs at once while it has room, and the rest in turns among the keys', async () => {
    const queue = new FairQueue(1, 100, 100);
    const work = new Work();
    void work.add(queue, 'a', 'a1');
    await settled();
    for (const name of ['a2', 'a3', 'a4']) void work.add(queue, 'a', name);
    for (const name of ['b1', 'b2']) void work.add(queue, 'b', name);
    void work.add(queue, 'c', 'c1');
    expect(work.log).toEqual(['a1']);
    expect(queue.length).toBe(6);
    await work.finish(7);
    // a1 started when nothing else waited. From then on, each key has its turn.
    expect(work.log).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4']);
    expect(await Promise.all(work.results)).toEqual(['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1']);
    expect(queue.length).toBe(0);
  });

  it('lets a new key wait for at most one job of each other key', async () => {
    const queue = new FairQueue(1, 1000, 500);
    const work = new Work();
    for (let i = 0; i < 200; i++) void work.add(queue, 'flood', `flood ${String(i)}`);
    for (let i = 0; i < 100; i++) void work.add(queue, 'other flood', `other flood ${String(i)}`);
    await settled();
    void work.add(queue, 'partner', 'partner');
    await work.finish(3);
    expect(work.log.indexOf('partner')).toBeLessThanOrEqual(3);
    expect(work.log).toContain('partner');
    // A key whose turn is over goes to the end of the queue, also when it adds another job.
    void work.add(queue, 'partner', 'partner again');
    await work.finish(3);
    expect(work.log).toContain('partner again');
  });

  it.each([1, 2, 5])('runs %d jobs at once and no more', async (concurrency) => {
    const queue = new FairQueue(concurrency, 100, 100);
    const work = new Work();
    for (let i = 0; i < 12; i++) void work.add(queue, String(i % 3), String(i));
    await settled();
    expect(work.log).toHaveLength(concurrency);
    for (let done = 1; done <= 12; done++) {
      await work.finish();
      expect(work.log).toHaveLength(Math.min(12, concurrency + done));
    }
    await Promise.all(work.results);
    // An empty queue starts again.
    void work.add(queue, 'x', 'again');
    await settled();
    expect(work.log.at(-1)).toBe('again');
  });

  it('refuses too many jobs of one key and accepts others', async () => {
    const queue = new FairQueue(1, 100, 2);
    const work = new Work();
    void work.add(queue, 'a', 'a1');
    await settled();
    for (const name of ['a2', 'a3']) void work.add(queue, 'a', name);
    await expect(work.add(queue, 'a', 'a4')).rejects.toThrow(NotRunError);
    void work.add(queue, 'b', 'b1');
    await work.finish();
    // One job of the key has started, so there is room for another.
    void work.add(queue, 'a', 'a5');
    await work.finish(4);
    expect(work.log).toEqual(['a1', 'a2', 'b1', 'a3', 'a5']);
  });

  it('when full accepts the newest job of the key with the most', async () => {
    const queue = new FairQueue(1, 4, 4);
    const work = new Work();
    void work.add(queue, 'running', 'running');
    await settled();
    const flood = ['f1', 'f2', 'f3', 'f4'].map((name) => work.add(queue, 'flood', name));
    expect(queue.length).toBe(4);
    void work.add(queue, 'a', 'a1');
    await expect(flood[3]).rejects.toThrow(NotRunError);
    void work.add(queue, 'b', 'b1');
    await expect(flood[2]).rejects.toThrow(NotRunError);
    expect(queue.length).toBe(4);
    // No key has more jobs than these newcomers would have, so nothing is dropped for them.
    await expect(work.add(queue, 'flood', 'f5')).rejects.toThrow(NotRunError);
    await expect(work.add(queue, 'a', 'a2')).rejects.toThrow(NotRunError);
    void work.add(queue, 'c', 'c1');
    await expect(flood[1]).rejects.toThrow(NotRunError);
    await expect(work.add(queue, 'd', 'd1')).rejects.toThrow(NotRunError);
    expect(queue.length).toBe(4);
    await work.finish(5);
    expect(work.log).toEqual(['running', 'f1', 'a1', 'b1', 'c1']);
    expect(queue.length).toBe(0);
  });

  it('never exceeds its limit, however many keys there are', async () => {
    const queue = new FairQueue(2, 16, 4);
    const work = new Work();
    for (let i = 0; i < 1000; i++) {
      void work.add(queue, String(i % 100), String(i));
      expect(queue.length).toBeLessThanOrEqual(16);
      if (i < 2) await settled();
    }
    await work.finish(18);
    const outcomes = await Promise.allSettled(work.results);
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(18);
    expect(work.log).toHaveLength(18);
  });

  it('drops a job in its turn when nobody waits for it, and continues', async () => {
    const queue = new FairQueue(1, 100, 100);
    const work = new Work();
    let over = false;
    void work.add(queue, 'a', 'a1');
    await settled();
    const late = ['a2', 'a3'].map((name) => work.add(queue, 'a', name, () => over));
    const inTime = work.add(queue, 'a', 'a4');
    over = true;
    await work.finish(2);
    for (const each of late) await expect(each).rejects.toThrow(NotRunError);
    await expect(inTime).resolves.toBe('a4');
    expect(work.log).toEqual(['a1', 'a4']);
  });

  it('passes on what a job throws and continues', async () => {
    const queue = new FairQueue(1, 100, 100);
    const failing = queue.run('a', () => Promise.reject(new Error('broken')), never);
    const next = queue.run('a', () => Promise.resolve('fine'), never);
    await expect(failing).rejects.toThrow('broken');
    await expect(failing).rejects.not.toThrow(NotRunError);
    await expect(next).resolves.toBe('fine');
    expect(queue.length).toBe(0);
  });

  it('estimates a longer wait for each waiting job, divided by the parallel ones', () => {
    const steps = [1, 2].map((concurrency) => {
      const queue = new FairQueue(concurrency, 100, 100);
      const work = new Work();
      const estimates = Array.from({ length: 10 }, (_, i) => {
        const before = queue.estimatedMs;
        void work.add(queue, 'a', String(i));
        return queue.estimatedMs - before;
      });
      for (const step of estimates) expect(step).toBeCloseTo(estimates[0] ?? 0, 6);
      return estimates[0] ?? 0;
    });
    expect(steps[0]).toBeGreaterThan(0);
    expect(steps[0]).toBeCloseTo(2 * (steps[1] ?? 0), 6);
  });

  it('estimates by recent durations, raises at once after a slow job and lowers it over time', async () => {
    const queue = new FairQueue(1, 100, 100);
    const first = queue.estimatedMs;
    await queue.run('a', () => realTime('a job is slow'), never);
    await settled();
    // At least the measured duration (a timer may be early by a millisecond), and bounded.
    expect(queue.estimatedMs).toBeGreaterThanOrEqual(299);
    expect(queue.estimatedMs).toBeLessThan(2_000);
    for (let i = 0; i < 60; i++) await queue.run('a', () => Promise.resolve(), never);
    await settled();
    expect(queue.estimatedMs).toBe(first);
    queue.measured(1_000);
    expect(queue.estimatedMs).toBeGreaterThanOrEqual(1_000);
    for (let i = 0; i < 20; i++) queue.measured(100);
    expect(queue.estimatedMs).toBeGreaterThanOrEqual(100);
    expect(queue.estimatedMs).toBeLessThan(500);
  });

  it('does not learn from a job that did not run', async () => {
    const queue = new FairQueue(1, 100, 100);
    const before = queue.estimatedMs;
    for (let i = 0; i < 20; i++) {
      await expect(
        queue.run(
          'a',
          () => Promise.resolve(),
          () => true,
        ),
      ).rejects.toThrow(NotRunError);
    }
    expect(queue.estimatedMs).toBe(before);
  });
});
