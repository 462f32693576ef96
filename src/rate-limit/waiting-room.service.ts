import { Injectable, type OnModuleInit } from '@nestjs/common';
import { hash } from '@node-rs/argon2';
import { availableParallelism } from 'node:os';
import { performance } from 'node:perf_hooks';
import type { FailureThrottle, Standing } from './failure-throttle.ts';
import { FairQueue, NotRunError } from './fair-queue.ts';

export { NotRunError };

/** Refused sign-ins leave this long after they arrived, or after a multiple of it. */
const MOMENT_MS = 250;
/** Two seconds: the deadline of a request is four. */
const MAX_MULTIPLE = 8;
/** What a sign-in needs besides a slow hash. */
const MARGIN_MS = 40;
/** What follows a slow hash before the moment: a refusal must not leave later for having waited for one. */
const AFTERWARDS_MS = 15;
/** Those that are refused for too many failures leave on this grid. */
const GRID_MS = 25;
/** Refusals that wait at once. */
const CAPACITY = 2_000;
const MAX_WAITING_HASHES = 256;
const MAX_WAITING_HASHES_PER_USER = 4;
/** Of today's cost, on one core. */
const ARGON2_MS = 30;

/** The slow hashes of one kind of sign-in. */
export class SlowHashes {
  readonly queue = new FairQueue(
    // One core stays free for everything else.
    Math.max(1, availableParallelism() - 1),
    MAX_WAITING_HASHES,
    MAX_WAITING_HASHES_PER_USER,
  );
  /** Sign-ins that have begun, and have not been answered. */
  #open = 0;

  /** @param areExpected whether any sign-in may need one */
  constructor(private areExpected: boolean) {}

  /**
   * How long it may take until the hash of a sign-in that begins now is verified, in milliseconds. Where one may be
   * needed, every sign-in counts as one that needs it, until it is answered: what is known of its name must not show in
   * how long the next one takes.
   */
  get estimatedMs(): number {
    const coming = this.areExpected ? Math.max(0, this.#open - this.queue.jobs) : 0;
    return this.queue.estimatedMs + coming * this.queue.eachMs;
  }

  begin(): void {
    this.#open++;
  }

  end(): void {
    this.#open--;
  }

  /**
   * From now on any sign-in may need one.
   *
   * @param cost how many times as long it takes as the argon2id of today
   */
  expect(cost = 1): void {
    this.areExpected = true;
    this.queue.expect(cost * ARGON2_MS);
  }
}

/** Not before a point of the monotonic clock: timers count from the start of the event loop's turn and may be early. */
async function sleepUntil(time: number): Promise<void> {
  for (let left = time - performance.now(); left > 0; left = time - performance.now()) {
    const delay = Math.max(1, Math.floor(left));
    await new Promise((resolve) => setTimeout(resolve, delay));
  }
}

/** The moment at which a refusal of one request may leave: fixed when the request arrives, equal for all names. */
export class Moment {
  readonly #reached = Promise.withResolvers<undefined>();
  readonly #timer: NodeJS.Timeout;
  #isOver = false;

  /**
   * The timer starts now, whatever the request will turn out to be: one that started when the work was done would
   * tell, by fractions of a millisecond, how long that took.
   *
   * @param arrivedAt on the monotonic clock
   */
  constructor(
    readonly arrivedAt: number,
    private readonly durationMs: number,
    private readonly hashes: SlowHashes,
  ) {
    hashes.begin();
    this.#timer = setTimeout(() => {
      void sleepUntil(arrivedAt + durationMs).then(() => {
        this.#reached.resolve(undefined);
      });
    }, durationMs);
  }

  /** When to give up what the answer depends on, on the monotonic clock. */
  get lastMinute(): number {
    return this.arrivedAt + this.durationMs - AFTERWARDS_MS;
  }

  /** The sign-in needs a slow hash. */
  needsHash(): void {
    this.hashes.expect();
  }

  /** The sign-in is answered, or is one that nothing was looked up for. */
  cancel(): void {
    if (!this.#isOver) this.hashes.end();
    this.#isOver = true;
    clearTimeout(this.#timer);
  }

  /** Resolves at the moment; when that has passed, at the next multiple of its own. */
  async wait(): Promise<void> {
    const late = performance.now() - this.arrivedAt;
    if (late <= this.durationMs) await this.#reached.promise;
    else await sleepUntil(this.arrivedAt + Math.ceil(late / MOMENT_MS) * MOMENT_MS);
  }
}

/** How a failed sign-in is to be answered. */
export interface Refusal {
  /** Seconds until another attempt makes sense: 429. Absent: 401. */
  readonly retryAfter: number | undefined;
  /** Resolves when the answer may leave. To be called, once. */
  wait(): Promise<void>;
}

const inSeconds = (ms: number): number => Math.max(1, Math.ceil(ms / 1000));

/**
 * Where refused sign-ins wait until they may leave, so that the time of an answer tells nothing. Waiting costs a timer;
 * the number that wait is bounded, and so is the number of slow hashes that wait to be verified.
 */
@Injectable()
export class WaitingRoom implements OnModuleInit {
  /** Passwords of channel users that came from an older system. */
  readonly partnerHashes = new SlowHashes(false);
  /** Passwords of staff: a flood of either kind does not delay the other. */
  readonly staffHashes = new SlowHashes(true);
  #waiting = 0;

  /** How many refusals wait for their moment. */
  get waiting(): number {
    return this.#waiting;
  }

  /** The first hash of a process takes longest, and tells how fast this machine is. */
  async onModuleInit(): Promise<void> {
    const started = performance.now();
    await hash('');
    for (const { queue } of [this.partnerHashes, this.staffHashes]) queue.measured(performance.now() - started);
  }

  /**
   * @param arrivedAt when the request arrived, on the monotonic clock
   * @param hashes those that this sign-in may need one of
   */
  momentFor(arrivedAt: number, hashes: SlowHashes): Moment {
    const load = Math.max(this.partnerHashes.estimatedMs, this.staffHashes.estimatedMs);
    const multiple = Math.min(MAX_MULTIPLE, Math.ceil((load + MARGIN_MS) / MOMENT_MS));
    return new Moment(arrivedAt, multiple * MOMENT_MS, hashes);
  }

  /** Counts a failure and says how to answer it. While a wait is on, nothing is counted, whatever the name. */
  async refuse(throttle: FailureThrottle, moment: Moment, address: string | undefined, name: string): Promise<Refusal> {
    const { waitMs } = await throttle.standing(address, name);
    if (waitMs > 0) {
      throttle.noteRefusal();
      return this.#onGrid(moment, inSeconds(waitMs));
    }
    return this.#seat(moment, await throttle.fail(address, name));
  }

  /** For what is no failure, but must not leave before one would. */
  holdBack(moment: Moment): Refusal {
    return this.#seat(moment, { limited: false, waitMs: 0 });
  }

  #seat(moment: Moment, { limited, waitMs }: Standing): Refusal {
    if (this.#waiting >= CAPACITY) return this.#onGrid(moment, inSeconds(waitMs));
    this.#waiting++;
    return {
      retryAfter: limited ? inSeconds(waitMs) : undefined,
      wait: () => moment.wait().finally(() => this.#waiting--),
    };
  }

  /**
   * Waits for a slow hash that is being verified, but not for too long.
   *
   * @returns false as well when there was no room for it, or when it was not done in time
   */
  async inTime(verification: Promise<boolean>, moment: Moment): Promise<boolean> {
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<false>((resolve) => {
      timer = setTimeout(
        // What was finished while the event loop was busy still counts.
        () => setImmediate(resolve, false),
        Math.max(0, moment.lastMinute - performance.now()),
      );
    });
    try {
      return await Promise.race([verification, tooLate]);
    } catch (error) {
      if (error instanceof NotRunError) return false;
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  #onGrid(moment: Moment, retryAfter: number): Refusal {
    moment.cancel();
    const { arrivedAt } = moment;
    const wait = (): Promise<void> => {
      const elapsed = performance.now() - arrivedAt;
      return sleepUntil(arrivedAt + (Math.floor(elapsed / GRID_MS) + 1) * GRID_MS);
    };
    return { retryAfter, wait };
  }
}
