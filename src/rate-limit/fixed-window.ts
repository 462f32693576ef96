import { createHash } from 'node:crypto';

/** How often a key was used in its window, and how many milliseconds of the window are left. */
export interface WindowUse {
  readonly consumedPoints: number;
  readonly msBeforeNext: number;
}

interface Window {
  consumed: number;
  /** On the monotonic clock, so that setting the clock back does not lengthen a window. */
  readonly endsAt: number;
}

/** Buckets shared by the keys beyond `maxKeys`. */
const SHARED_BUCKETS = 1_024;
/** How often expired keys are removed while the limiter is full. */
const SWEEP_WHEN_FULL_MS = 10_000;

const toUse = ({ consumed, endsAt }: Window, now: number): WindowUse => ({
  consumedPoints: consumed,
  msBeforeNext: endsAt - now,
});

/**
 * Counts in fixed windows; a window begins with the first use of its key. Own code, since outsiders choose the keys and
 * the library's in-memory limiter has no bound on their number. It also takes 420 bytes and a timer for each key, where
 * this class takes 92 bytes, and reads a clock that can be set back. Its CPU time would be no reason (1 µs a use more).
 *
 * Beyond `maxKeys`, new keys share buckets, so their counts may be too high but never too low.
 */
export class FixedWindow {
  readonly #windows = new Map<string, Window>();
  #sweepAt = 0;

  /**
   * @param durationMs how long a window lasts
   * @param maxKeys keys that are counted separately
   * @param now the monotonic clock, in milliseconds
   */
  constructor(
    private readonly durationMs: number,
    private readonly maxKeys: number,
    private readonly now: () => number,
  ) {}

  /** Keys in memory, the shared buckets included. */
  get size(): number {
    return this.#windows.size;
  }

  /** Counts one use of a key. */
  use(key: string): WindowUse {
    const now = this.now();
    if (now >= this.#sweepAt) this.#sweep(now);
    const name = this.#nameOf(key);
    let window = this.#windows.get(name);
    if (!window || window.endsAt <= now) {
      window = { consumed: 0, endsAt: now + this.durationMs };
      this.#windows.set(name, window);
    }
    window.consumed++;
    return toUse(window, now);
  }

  /** The present count of a key, or null without one. Takes no memory. */
  get(key: string): WindowUse | null {
    const now = this.now();
    const window = this.#windows.get(this.#nameOf(key));
    return window && window.endsAt > now ? toUse(window, now) : null;
  }

  /** Starts a new window for a key. @param durationMs how long this window lasts */
  set(key: string, consumed: number, durationMs: number): void {
    const now = this.now();
    if (now >= this.#sweepAt) this.#sweep(now);
    this.#windows.set(this.#nameOf(key), { consumed, endsAt: now + durationMs });
  }

  #nameOf(key: string): string {
    if (this.#windows.size < this.maxKeys || this.#windows.has(key)) return key;
    return `shared:${String(createHash('sha256').update(key).digest().readUInt32BE() % SHARED_BUCKETS)}`;
  }

  /** Removes expired keys, once a window, so that a key is kept for at most two windows. */
  #sweep(now: number): void {
    for (const [key, { endsAt }] of this.#windows) if (endsAt <= now) this.#windows.delete(key);
    this.#sweepAt = now + (this.#windows.size < this.maxKeys ? this.durationMs : SWEEP_WHEN_FULL_MS);
  }
}
