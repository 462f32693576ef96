import { availableParallelism } from 'node:os';
import type { MonotonicClock } from '../platform/common/monotonic-clock.ts';
import { FairQueue } from './fair-queue.ts';
import type { MemoryBudget } from './memory-budget.ts';

const MAX_WAITING_HASHES = 256;
/** Above the free failures of one address, since several addresses may try one name. */
const MAX_WAITING_HASHES_PER_USER = 64;
/** A check that is still running this long before its deadline counts as missed for overlapping sign-ins. */
const CLOSE_MS = 25;
/** Highest `Retry-After` for a password that was not checked: by then its check is done or about to run. */
const MAX_RETRY_SECONDS = 5;
/** Duration of today's argon2id on one core. */
const ARGON2_MS = 30;

/** Whole seconds for `Retry-After`, at least one. */
export const inSeconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));

/** The slow hashes of one kind of sign-in. */
export class HashQueue {
  readonly queue: FairQueue;
  /** Sign-ins that have begun and are not answered yet. */
  #open = 0;
  /** Deadlines of the checks that sign-ins wait for, on the monotonic clock. */
  readonly #deadlines = new Set<{ readonly at: number }>();
  /** Cost of the most expensive hash expected so far, as a multiple of today's argon2id. */
  #highestCost = 1;
  /** The latest time at which a sign-in with a missed check is answered, on the monotonic clock. */
  #behindUntil = -Infinity;

  /**
   * @param areExpected whether any sign-in may need a slow hash
   * @param memory budget shared with other queues
   */
  constructor(
    private areExpected: boolean,
    memory: MemoryBudget,
    private readonly clock: MonotonicClock,
  ) {
    this.queue = new FairQueue(
      // One core stays free for everything else.
      Math.max(1, availableParallelism() - 1),
      MAX_WAITING_HASHES,
      MAX_WAITING_HASHES_PER_USER,
      memory,
    );
  }

  /**
   * Whether an overlapping sign-in missed its check, or is about to. Every sign-in without a match is then answered
   * 503, whatever its name, so that a missed check does not reveal which names need a slow hash.
   */
  isBehind(arrivedAt: number): boolean {
    if (arrivedAt <= this.#behindUntil) return true;
    const close = this.clock.now() + CLOSE_MS;
    for (const { at } of this.#deadlines) if (at <= close) return true;
    return false;
  }

  /** Records how many milliseconds today's argon2id takes on this machine now. */
  calibrated(ms: number): void {
    this.queue.measured(ms * this.#highestCost);
  }

  /** Records a missed check of a sign-in that is answered at `until`, on the monotonic clock. */
  missed(until: number): void {
    this.#behindUntil = Math.max(this.#behindUntil, until);
  }

  /** Registers a check and its deadline, on the monotonic clock. @returns a function to call when the wait is over */
  waitFor(at: number): () => void {
    const deadline = { at };
    this.#deadlines.add(deadline);
    return () => this.#deadlines.delete(deadline);
  }

  /** `Retry-After` for a password that was not checked, in seconds: equal for all names. */
  get retryAfter(): number {
    return Math.min(MAX_RETRY_SECONDS, inSeconds(this.queue.estimatedMs));
  }

  /**
   * Milliseconds until the hash of a sign-in that begins now should be verified. Every open sign-in counts as one that
   * needs a slow hash, so that the next delay does not reveal whether an earlier name did.
   */
  get estimatedMs(): number {
    const pendingHashes = this.areExpected ? Math.max(0, this.#open - this.queue.jobs) : 0;
    const pendingMs = pendingHashes * this.queue.averageMs;
    return this.queue.estimatedMs + pendingMs;
  }

  begin(): void {
    this.#open++;
  }

  end(): void {
    this.#open--;
  }

  /**
   * From now on, any sign-in may need a slow hash.
   *
   * @param cost its cost, as a multiple of today's argon2id
   */
  expect(cost = 1): void {
    this.areExpected = true;
    this.#highestCost = Math.max(this.#highestCost, cost);
    this.queue.expect(cost * ARGON2_MS);
  }
}
