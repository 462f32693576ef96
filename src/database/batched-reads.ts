import type { ChangeFeed } from './change-feed.service.ts';

/** Batches under way at once: what arrives meanwhile makes the next one, however much it is. */
const MAX_UNDER_WAY = 2;
const MAX_KEYS = 500;

/** Keys that are read in one query, and what it found. */
export abstract class Batch {
  /** Owners whose rows changed while the query was under way: what it read of them must not be remembered. */
  readonly changed = new Set<string>();
  mayRemember = true;
  readonly #settled = Promise.withResolvers<undefined>();
  readonly done = this.#settled.promise;

  constructor() {
    // Whoever waits for it handles the failure.
    this.done.catch(() => undefined);
  }

  /** How many keys it has. */
  abstract get size(): number;

  resolve(): void {
    this.#settled.resolve(undefined);
  }

  reject(error: unknown): void {
    this.#settled.reject(error);
  }
}

/**
 * Joins reads into batches, so that any number of them costs a bounded number of queries, and keeps what changes
 * meanwhile from being remembered as it was.
 */
export class BatchedReads<B extends Batch> {
  readonly #underWay = new Set<B>();
  readonly #waiting: B[] = [];

  /**
   * @param create makes an empty batch
   * @param read reads what a batch asks for, puts it there, and remembers of it what may be remembered
   */
  constructor(
    private readonly feed: ChangeFeed,
    private readonly create: () => B,
    private readonly read: (batch: B) => Promise<void>,
  ) {}

  /** A batch to put keys into: it has not been sent, so its query starts after this call. */
  open(): B {
    const last = this.#waiting.at(-1);
    if (last && last.size < MAX_KEYS) return last;
    const batch = this.create();
    this.#waiting.push(batch);
    // After everything that has arrived on the sockets by now.
    setImmediate(() => {
      this.#send();
    });
    return batch;
  }

  /** Something of this owner changed. */
  changed(owner: string): void {
    for (const batch of this.#underWay) batch.changed.add(owner);
  }

  /** Anything may have changed. */
  reset(): void {
    for (const batch of this.#underWay) batch.mayRemember = false;
  }

  #send(): void {
    while (this.#underWay.size < MAX_UNDER_WAY) {
      const batch = this.#waiting.shift();
      if (!batch) return;
      this.#underWay.add(batch);
      void this.#run(batch);
    }
  }

  async #run(batch: B): Promise<void> {
    batch.mayRemember = this.feed.connected;
    try {
      await this.read(batch);
      batch.resolve();
    } catch (error) {
      batch.reject(error);
    } finally {
      this.#underWay.delete(batch);
      this.#send();
    }
  }
}
