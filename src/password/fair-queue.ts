import { performance } from 'node:perf_hooks';
import { slowHashTraces, type SlowHashTrace } from '../platform/common/tracing.ts';
import { MemoryBudget } from './memory-budget.ts';

interface Job {
  readonly run: () => Promise<void>;
  readonly drop: () => void;
  /** Memory that the job needs while it runs. */
  readonly kib: number;
}

/** A job was never run: the queue had no room for it, or its caller gave up before its turn came. */
export class NotRunError extends Error {}

/** Share of the slowest duration that remains after each further job, so that an old peak fades out. */
const DECAY = 0.9;
/** How many times slower the machine may get while jobs wait. A job beyond its estimate makes every failure a 503. */
const SAFETY_FACTOR = 2.5;
/** Lower bound of the estimates: bcrypt of cost 10, or argon2id, on one core. */
const MIN_JOB_MS = 65;

/**
 * Runs a bounded number of expensive jobs at once and gives each waiting key its turn, so that a flood of one key
 * delays only that key. A full queue drops the newest job of the key that has the most.
 */
export class FairQueue {
  /** Waiting jobs by key. The first key has the next turn. */
  readonly #waiting = new Map<string, Job[]>();
  #waitingJobs = 0;
  #running = 0;
  #completed = 0;
  #minJobMs = MIN_JOB_MS;
  #slowestMs = MIN_JOB_MS;

  /**
   * @param concurrency jobs that run at once
   * @param maxWaiting jobs that wait at most
   * @param maxPerKey jobs of one key that wait at most
   * @param memory budget that running jobs share with other queues
   */
  constructor(
    private readonly concurrency: number,
    private readonly maxWaiting: number,
    private readonly maxPerKey: number,
    private readonly memory = new MemoryBudget(Infinity),
  ) {}

  /**
   * Milliseconds until a job that is added now should be done: {@link averageMs} for each job before it, and twice the
   * slowest recent job for itself.
   */
  get estimatedMs(): number {
    return this.jobs * this.averageMs + 2 * this.#slowestMs;
  }

  /** Milliseconds by which each job ahead delays the next: the slowest recent one with the safety factor, by worker. */
  get averageMs(): number {
    return (SAFETY_FACTOR * this.#slowestMs) / this.concurrency;
  }

  /** Jobs that wait or run. */
  get jobs(): number {
    return this.#waitingJobs + this.#running;
  }

  /** Records how long a job took, in milliseconds. */
  measured(ms: number): void {
    this.#slowestMs = Math.max(this.#minJobMs, ms, this.#slowestMs * DECAY);
  }

  /** Raises the lower bound of the estimates: a job may take this many milliseconds, even if no recent one did. */
  expect(ms: number): void {
    this.#minJobMs = Math.max(this.#minJobMs, ms);
    this.measured(0);
  }

  /** Jobs that run now. */
  get running(): number {
    return this.#running;
  }

  /** Jobs that have finished since the start. */
  get completed(): number {
    return this.#completed;
  }

  /** Jobs that wait for their turn. */
  get length(): number {
    return this.#waitingJobs;
  }

  /** Whether the queue would accept a job of a key that has none waiting. */
  get hasRoom(): boolean {
    return this.#waitingJobs < this.maxWaiting || [...this.#waiting.values()].some(({ length }) => length > 1);
  }

  /**
   * Runs work when its key's turn comes.
   *
   * @param isOver called when the turn comes; returns true if the caller no longer waits for the result
   * @param kib memory that the work needs, in KiB
   * @throws NotRunError if the work was not run, and whatever the work throws
   */
  run<T>(key: string, work: () => Promise<T>, isOver: () => boolean, kib = 0): Promise<T> {
    const trace: SlowHashTrace = {};
    return slowHashTraces.tracePromise(() => this.#enqueue(key, { work, isOver, kib }, trace), trace);
  }

  #enqueue<T>(
    key: string,
    { work, isOver, kib }: { work: () => Promise<T>; isOver: () => boolean; kib: number },
    trace: SlowHashTrace,
  ): Promise<T> {
    const added = performance.now();
    return new Promise<T>((resolve, reject) => {
      const drop = (): void => {
        reject(new NotRunError());
      };
      const run = async (): Promise<void> => {
        if (isOver()) {
          drop();
          return;
        }
        const started = performance.now();
        trace.waitedMs = started - added;
        await work().then(resolve, reject);
        this.#completed++;
        this.measured(performance.now() - started);
      };
      if (!this.#add(key, { run, drop, kib })) drop();
    });
  }

  #add(key: string, job: Job): boolean {
    const jobs = this.#waiting.get(key) ?? [];
    if (jobs.length >= this.maxPerKey) return false;
    if (this.#waitingJobs >= this.maxWaiting && !this.#makeRoom(jobs.length)) return false;
    jobs.push(job);
    this.#waiting.set(key, jobs);
    this.#waitingJobs++;
    // Starts the job only after the caller has received its promise.
    queueMicrotask(this.#work);
    return true;
  }

  /** Drops the newest job of the key with the most, if that key has more than the newcomer's key will have. */
  #makeRoom(ofNewcomer: number): boolean {
    const longest = [...this.#waiting.values()].reduce((a, b) => (b.length > a.length ? b : a));
    if (longest.length <= ofNewcomer + 1) return false;
    longest.pop()?.drop();
    this.#waitingJobs--;
    return true;
  }

  /** Starts jobs as long as a worker and enough memory are free. */
  readonly #work = (): void => {
    while (this.#running < this.concurrency) {
      const [[head] = []] = this.#waiting.values();
      if (!head) {
        this.memory.leave(this);
        return;
      }
      if (!this.memory.take(head.kib, this, this.#work)) return;
      this.#next();
      this.#running++;
      void head.run().then(() => {
        this.#running--;
        this.memory.giveBack(head.kib);
        this.#work();
      });
    }
  };

  /** Removes the next job from the queue and moves its key to the end. */
  #next(): void {
    const [turn] = this.#waiting;
    if (!turn) return;
    const [key, jobs] = turn;
    jobs.shift();
    this.#waitingJobs--;
    this.#waiting.delete(key);
    if (jobs.length > 0) this.#waiting.set(key, jobs);
  }
}
