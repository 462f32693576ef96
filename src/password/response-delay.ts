import type { MonotonicClock, Wait } from '../platform/common/monotonic-clock.ts';
import { NotRunError } from './fair-queue.ts';
import type { HashQueue } from './hash-queue.ts';

/** A refused sign-in is answered this long after it arrived, or after a multiple of this. */
export const DELAY_MS = 250;
/** Reserved for the work between a slow hash and the end of the delay, so that the hash never makes a refusal late. */
const AFTERWARDS_MS = 15;

/** When a refusal of one request may be sent: fixed when the request arrives, and equal for all names. */
export class ResponseDelay {
  readonly #end: Wait;
  #isOver = false;

  /**
   * Starts the wait of every request. A wait started after the work would reveal, by fractions of a millisecond, how
   * long the work took.
   *
   * @param arrivedAt when the request arrived, on the monotonic clock
   * @param durationMs how long after that a refusal is sent
   */
  constructor(
    readonly arrivedAt: number,
    private readonly durationMs: number,
    private readonly hashes: HashQueue,
    private readonly clock: MonotonicClock,
  ) {
    hashes.begin();
    this.#end = clock.waitFor(arrivedAt + durationMs);
  }

  /** When to stop waiting for a check, on the monotonic clock. */
  get deadline(): number {
    return this.arrivedAt + this.durationMs - AFTERWARDS_MS;
  }

  /** Whether a check that begins now would be too late. */
  get isOverdue(): boolean {
    return this.clock.now() >= this.deadline;
  }

  /**
   * Notes that the sign-in needs a slow hash.
   *
   * @param cost its cost, as a multiple of today's argon2id
   */
  needsHash(cost = 1): void {
    this.hashes.expect(cost);
  }

  /** Resolves at the deadline, after the results that arrived while the event loop was busy have been handled. */
  async decision(): Promise<void> {
    await this.clock.sleepUntil(this.deadline);
    for (let turns = 0; turns < 2; turns++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Waits for a check until the deadline. @returns its result, or undefined when it was not made in time */
  async result<T>(check: Promise<T>): Promise<T | undefined> {
    const done = this.hashes.waitFor(this.deadline);
    const timeout = this.clock.timeout(this.deadline);
    // A check that finished while the event loop was busy still counts.
    const tooLate = timeout.over.then(() => new Promise<undefined>((resolve) => setImmediate(resolve, undefined)));
    try {
      const result = await Promise.race([check, tooLate]);
      if (result === undefined) this.missed();
      return result;
    } catch (error) {
      if (!(error instanceof NotRunError)) throw error;
      this.missed();
      return undefined;
    } finally {
      timeout.cancel();
      done();
    }
  }

  /** Records that this sign-in's check was not made in time. */
  missed(): void {
    this.hashes.missed(this.arrivedAt + this.durationMs);
  }

  get isBehind(): boolean {
    return this.hashes.isBehind(this.arrivedAt);
  }

  /** Whether the queue would accept the check of a name that has none waiting. */
  get hasRoom(): boolean {
    return this.hashes.queue.hasRoom;
  }

  get retryAfter(): number {
    return this.hashes.retryAfter;
  }

  /** Ends the delay: the sign-in is answered, or nothing was looked up for it. */
  cancel(): void {
    if (!this.#isOver) this.hashes.end();
    this.#isOver = true;
    this.#end.cancel();
  }

  /** Resolves when the delay ends, or, if it is over, at the next multiple of `DELAY_MS`. */
  async wait(): Promise<void> {
    const late = this.clock.now() - this.arrivedAt;
    if (late <= this.durationMs) await this.#end.over;
    else await this.clock.sleepUntil(this.arrivedAt + Math.ceil(late / DELAY_MS) * DELAY_MS);
  }
}
