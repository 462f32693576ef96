import { Injectable, type OnModuleInit } from '@nestjs/common';
import { hash } from '@node-rs/argon2';
import { performance } from 'node:perf_hooks';
import type { FailureThrottle, ThrottleState } from '../rate-limit/failure-throttle.ts';
import { MonotonicClock } from '../platform/common/monotonic-clock.ts';
import { HashQueue, inSeconds } from './hash-queue.ts';
import { MemoryBudget } from './memory-budget.ts';
import { DELAY_MS, ResponseDelay } from './response-delay.ts';

/** Two seconds, in multiples of `DELAY_MS`: well below the request deadline of four seconds. */
const MAX_MULTIPLE = 8;
/** Time that a sign-in needs besides its slow hash. */
const MARGIN_MS = 40;
/** Sign-ins throttled for too many failures are answered at the next multiple of this after they arrived. */
const GRID_MS = 25;
/** Refusals that may wait at once. Further ones are answered 429. */
const CAPACITY = 2_000;
/** Memory of today's argon2id, see `secret-hash.ts`. */
const CALIBRATION_KIB = 19_456;
/** Memory for all slow hashes that run at once (partners, staff and imports), in KiB. */
const HASH_MEMORY_KIB = 196_608;

/** How to answer a failed sign-in: 401 (`failed`), 429 (`too-many`), or 503 (`no-time`, a slow check was missed). */
export interface Refusal {
  readonly kind: 'failed' | 'too-many' | 'no-time';
  /** `Retry-After` in seconds; undefined for a 401. */
  readonly retryAfter: number | undefined;
  /** Resolves when the answer may be sent. Must be called exactly once. */
  wait(): Promise<void>;
}

/** An attempt that was counted. */
export interface CountedAttempt {
  /** How earlier failures throttle this attempt. */
  readonly before: ThrottleState;
  /** Decides how to answer it: at the deadline, or at once while a wait is on. Must be called exactly once. */
  refusal(): Promise<Refusal>;
}

/** The state of a refusal that does not count as a failure. */
const NOT_COUNTED: ThrottleState = { isLimited: false, retryAfterMs: 0 };

/**
 * Delays refused sign-ins, so that the time of an answer reveals nothing. A waiting refusal costs one timer. The number
 * of waiting refusals is bounded, and so is the number of slow hashes in the queues.
 */
@Injectable()
export class ResponseDelayService implements OnModuleInit {
  /** Memory for the slow hashes of both queues. */
  readonly memory = new MemoryBudget(HASH_MEMORY_KIB);
  /** Imported passwords of channel users. */
  readonly partnerHashes: HashQueue;
  /** Passwords of staff. A flood of one queue does not delay the other. */
  readonly staffHashes: HashQueue;
  #waiting = 0;

  constructor(private readonly clock: MonotonicClock) {
    this.partnerHashes = new HashQueue(false, this.memory, clock);
    this.staffHashes = new HashQueue(true, this.memory, clock);
  }

  /** How many refusals wait for their delay to end. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Calibrates at startup, since the first hash of a process takes longest. */
  async onModuleInit(): Promise<void> {
    await this.calibrate();
  }

  /**
   * Measures today's argon2id on this machine. If only sign-ins were measured, the delay on a slow machine would change
   * after the first sign-in of a known name, and reveal that the name exists.
   */
  async calibrate(): Promise<void> {
    const started = performance.now();
    await this.memory.run(CALIBRATION_KIB, () => hash('', { memoryCost: CALIBRATION_KIB, timeCost: 2 }));
    for (const hashes of [this.partnerHashes, this.staffHashes]) hashes.calibrated(performance.now() - started);
  }

  /**
   * Starts the delay of a request: a multiple of `DELAY_MS` that covers the present load of both queues.
   *
   * @param arrivedAt when the request arrived, on the monotonic clock
   * @param hashes the queue that this sign-in may need
   */
  delayFor(arrivedAt: number, hashes: HashQueue): ResponseDelay {
    const load = Math.max(this.partnerHashes.estimatedMs, this.staffHashes.estimatedMs);
    const multiple = Math.min(MAX_MULTIPLE, Math.ceil((load + MARGIN_MS) / DELAY_MS));
    return new ResponseDelay(arrivedAt, multiple * DELAY_MS, hashes, this.clock);
  }

  /**
   * Counts a failure and decides how to answer it. The decision falls at the deadline, shortly before the answer may be
   * sent. While a wait is on, nothing is counted, whatever the name.
   *
   * @param wasChecked whether the credentials are known to be wrong; if not, nothing is counted
   */
  async refuse(
    throttle: FailureThrottle,
    delay: ResponseDelay,
    address: string | undefined,
    name: string,
    wasChecked = true,
  ): Promise<Refusal> {
    const attempt = await this.count(throttle, delay, address, name, wasChecked);
    return attempt.refusal();
  }

  /**
   * Counts an attempt like a failure, before its result is known. For a request whose answer must not tell the result:
   * attempts that were counted in the order of their results would be answered differently once the limit is reached.
   *
   * @param wasChecked false if it is known already that the credentials cannot be checked; then nothing is counted
   */
  async count(
    throttle: FailureThrottle,
    delay: ResponseDelay,
    address: string | undefined,
    name: string,
    wasChecked = true,
  ): Promise<CountedAttempt> {
    const before = await throttle.stateOf(address, name);
    if (before.retryAfterMs > 0) {
      throttle.recordRefusal();
      return { before, refusal: () => Promise.resolve(this.#onGrid(delay, inSeconds(before.retryAfterMs))) };
    }
    // With a full queue, no name is counted: a name that needs a slow hash could not have been checked either.
    const hasRoom = wasChecked && delay.hasRoom;
    if (!hasRoom) delay.missed();
    const after = hasRoom ? await throttle.fail(address, name) : NOT_COUNTED;
    return { before, refusal: () => this.#delayed(delay, after) };
  }

  /** Delays an answer that is not a failure, but must not be sent earlier than a failure would be. */
  holdBack(delay: ResponseDelay): Promise<Refusal> {
    return this.#delayed(delay, NOT_COUNTED);
  }

  async #delayed(delay: ResponseDelay, { isLimited, retryAfterMs }: ThrottleState): Promise<Refusal> {
    if (this.#waiting >= CAPACITY) return this.#onGrid(delay, inSeconds(retryAfterMs));
    this.#waiting++;
    const wait = (): Promise<void> => delay.wait().finally(() => this.#waiting--);
    if (isLimited) return { kind: 'too-many', retryAfter: inSeconds(retryAfterMs), wait };
    await delay.decision();
    return delay.isBehind
      ? { kind: 'no-time', retryAfter: delay.retryAfter, wait }
      : { kind: 'failed', retryAfter: undefined, wait };
  }

  #onGrid(delay: ResponseDelay, retryAfter: number): Refusal {
    delay.cancel();
    const { arrivedAt } = delay;
    const wait = (): Promise<void> => {
      const elapsed = this.clock.now() - arrivedAt;
      return this.clock.sleepUntil(arrivedAt + (Math.floor(elapsed / GRID_MS) + 1) * GRID_MS);
    };
    return { kind: 'too-many', retryAfter, wait };
  }
}
