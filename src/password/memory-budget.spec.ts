import { FairQueue } from './fair-queue.ts';
import { MemoryBudget } from './memory-budget.ts';

const never = (): boolean => false;
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Jobs that end when the test says so, and the memory that the running ones need. */
class Jobs {
  readonly running = new Map<string, () => void>();

  add(queue: FairQueue, name: string, kib: number): void {
    const work = (): Promise<void> =>
      new Promise((resolve) => {
        this.running.set(name, () => {
          this.running.delete(name);
          resolve();
        });
      });
    void queue.run(name, work, never, kib);
  }

  async end(name: string): Promise<string[]> {
    this.running.get(name)?.();
    await settled();
    return [...this.running.keys()];
  }
}

describe('the memory budget of slow hashes', () => {
  it('limits what runs at once, on any number of cores and in all queues together', async () => {
    const memory = new MemoryBudget(192);
    const [partners, staff] = [new FairQueue(64, 100, 100, memory), new FairQueue(64, 100, 100, memory)];
    const jobs = new Jobs();
    for (const name of ['a', 'b', 'c', 'd']) jobs.add(partners, name, 64);
    jobs.add(staff, 's', 64);
    await settled();
    expect([...jobs.running.keys()]).toEqual(['a', 'b', 'c']);
    expect(memory.used).toBe(192);
    // The queues take turns: one does not wait until the other is empty.
    expect(await jobs.end('a')).toEqual(['b', 'c', 'd']);
    expect(await jobs.end('b')).toEqual(['c', 'd', 's']);
    for (const name of ['c', 'd', 's']) await jobs.end(name);
    expect(memory.used).toBe(0);
  });

  it('runs a job that needs more than everything alone, before any later job', async () => {
    const memory = new MemoryBudget(192);
    const [queue, other] = [new FairQueue(64, 100, 100, memory), new FairQueue(64, 100, 100, memory)];
    const jobs = new Jobs();
    jobs.add(queue, 'small', 19);
    await settled();
    jobs.add(queue, 'large', 256);
    jobs.add(queue, 'later', 19);
    await settled();
    jobs.add(other, 'elsewhere', 19);
    await settled();
    expect([...jobs.running.keys()]).toEqual(['small']);
    expect(await jobs.end('small')).toEqual(['large']);
    expect(await jobs.end('large')).toEqual(['elsewhere', 'later']);
    for (const name of ['elsewhere', 'later']) await jobs.end(name);
    expect(memory.used).toBe(0);
  });

  it('does not delay jobs that need no memory', async () => {
    const memory = new MemoryBudget(192);
    const [queue, other] = [new FairQueue(64, 100, 100, memory), new FairQueue(64, 100, 100, memory)];
    const jobs = new Jobs();
    jobs.add(queue, 'large', 256);
    await settled();
    jobs.add(other, 'bcrypt', 0);
    await settled();
    expect([...jobs.running.keys()]).toEqual(['large', 'bcrypt']);
    for (const name of ['large', 'bcrypt']) await jobs.end(name);
  });

  it('is granted in turn to work outside of queues', async () => {
    const memory = new MemoryBudget(192);
    const done: string[] = [];
    const ends: (() => void)[] = [];
    const run = (name: string, kib: number): Promise<void> =>
      memory.run(kib, () => {
        done.push(name);
        return new Promise((resolve) => ends.push(resolve));
      });
    const all = [run('a', 100), run('b', 100), run('c', 50)];
    await settled();
    expect(done).toEqual(['a']);
    ends[0]?.();
    await settled();
    expect(done).toEqual(['a', 'b', 'c']);
    for (const end of ends) end();
    await Promise.all(all);
    expect(memory.used).toBe(0);
  });
});
