import { performance } from 'node:perf_hooks';
import { slowHashTraces, type SlowHashTrace } from '../common/tracing.ts';

interface Job {
  readonly run: () => Promise<void>;
  readonly drop: () => void;
}

/** The queue has no room, or the caller's time was over before the turn came. */
export class NotRunError extends Error {}

/** How much of the slowest is left after another one. */
const FADING = 0.9;
/** By how much a machine may become slower while jobs wait. */
const CAUTION = 1.5;
/** What a hash may take that has not been met yet: bcrypt of cost 10, or argon2id, on one core. */
const LEAST_MS = 65;

/**
 * Runs expensive work, a bounded number at once, in turns among the keys that wait: whoever floods one key delays
 * nobody but that key. When it is full, the key that waits with most loses its newest.
 */
export class FairQueue {
  /** In the order of their next turn. */
  readonly #waiting = new Map<string, Job[]>();
  #waitingJobs = 0;
  #running = 0;
  #completed = 0;
  #slowestMs = LEAST_MS;

  /**
   * @param concurrency jobs that run at once
   * @param maxWaiting jobs that wait at most
   * @param maxPerKey jobs of one key that wait at most
   */
  constructor(
    private readonly concurrency: number,
    private readonly maxWaiting: number,
    private readonly maxPerKey: number,
  ) {}

  /**
   * How long it may take until something that is added now is done, in milliseconds: each before it half as long
   * again as the slowest of late, itself twice as long.
   */
  get estimatedMs(): number {
    return this.jobs * this.eachMs + 2 * this.#slowestMs;
  }

  /** How much later that is for each job more that comes before it, in milliseconds. */
  get eachMs(): number {
    return (CAUTION * this.#slowestMs) / this.concurrency;
  }

  /** Jobs that wait or run. */
  get jobs(): number {
    return this.#waitingJobs + this.#running;
  }

  /** Notes how long a job took, in milliseconds. */
  measured(ms: number): void {
    this.#slowestMs = Math.max(LEAST_MS, ms, this.#slowestMs * FADING);
  }

  /** Jobs that run now. */
  get running(): number {
    return this.#running;
  }

  /** Jobs that were run, since the start. */
  get completed(): number {
    return this.#completed;
  }

  /** Jobs that wait for their turn. */
  get length(): number {
    return this.#waitingJobs;
  }

  /**
   * @param isOver asked when the turn comes: whether nobody waits for the result any more
   * @throws NotRunError and whatever the work throws
   */
  run<T>(key: string, work: () => Promise<T>, isOver: () => boolean): Promise<T> {
    const trace: SlowHashTrace = {};
    return slowHashTraces.tracePromise(() => this.#enqueue(key, work, isOver, trace), trace);
  }

  #enqueue<T>(key: string, work: () => Promise<T>, isOver: () => boolean, trace: SlowHashTrace): Promise<T> {
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
      if (!this.#add(key, { run, drop })) drop();
    });
  }

  #add(key: string, job: Job): boolean {
    const jobs = this.#waiting.get(key) ?? [];
    if (jobs.length >= this.maxPerKey) return false;
    if (this.#waitingJobs >= this.maxWaiting && !this.#makeRoom(jobs.length)) return false;
    jobs.push(job);
    this.#waiting.set(key, jobs);
    this.#waitingJobs++;
    // Not before the caller has what it asked for.
    queueMicrotask(() => void this.#work());
    return true;
  }

  /** Takes one from the key with the most, provided that it has more than the newcomer will have. */
  #makeRoom(ofNewcomer: number): boolean {
    const longest = [...this.#waiting.values()].reduce((a, b) => (b.length > a.length ? b : a));
    if (longest.length <= ofNewcomer + 1) return false;
    longest.pop()?.drop();
    this.#waitingJobs--;
    return true;
  }

  async #work(): Promise<void> {
    if (this.#running >= this.concurrency) return;
    this.#running++;
    for (let job = this.#next(); job; job = this.#next()) await job.run();
    this.#running--;
  }

  #next(): Job | undefined {
    const [turn] = this.#waiting;
    if (!turn) return undefined;
    const [key, jobs] = turn;
    const job = jobs.shift();
    this.#waitingJobs--;
    this.#waiting.delete(key);
    if (jobs.length > 0) this.#waiting.set(key, jobs);
    return job;
  }
}
