import type { ChangeFeed } from './change-feed.service.ts';

/** Batches that are read at once. Keys that arrive meanwhile go into the following batches. */
const MAX_UNDER_WAY = 2;
/** Keys in one query. */
const MAX_KEYS = 500;

/** Keys that are read in one query, and the rows that it found. */
export abstract class Batch {
  /** Owners whose rows changed during the query. Their rows must not be cached. */
  readonly changed = new Set<string>();
  /** Whether the rows may be cached. */
  mayRemember = true;
  readonly #settled = Promise.withResolvers<undefined>();
  readonly done = this.#settled.promise;

  constructor() {
    // Each reader handles the failure of its batch, so a batch without readers must not fail the process.
    this.done.catch(() => undefined);
  }

  /** The number of keys. */
  abstract get size(): number;

  resolve(): void {
    this.#settled.resolve(undefined);
  }

  reject(error: unknown): void {
    this.#settled.reject(error);
  }
}

/**
 * Joins reads into batches, so that any number of reads costs a bounded number of queries. Rows that change during a
 * query are not cached. Own code, since a reader needs a query that starts after its request.
 */
export class ReadBatcher<B extends Batch> {
  readonly #underWay = new Set<B>();
  readonly #waiting: B[] = [];

  /**
   * @param create creates an empty batch
   * @param read reads the rows of a batch, stores them in the batch, and caches the rows that may be cached
   */
  constructor(
    private readonly feed: ChangeFeed,
    private readonly create: () => B,
    private readonly read: (batch: B) => Promise<void>,
  ) {}

  /** A batch that still takes keys. Its query starts after this call. */
  open(): B {
    const last = this.#waiting.at(-1);
    if (last && last.size < MAX_KEYS) return last;
    const batch = this.create();
    this.#waiting.push(batch);
    // Lets the requests that have already arrived join the batch.
    setImmediate(() => {
      this.#send();
    });
    return batch;
  }

  /** A row of this owner changed: open queries must not cache the owner's rows. */
  changed(owner: string): void {
    for (const batch of this.#underWay) batch.changed.add(owner);
  }

  /** Any row may have changed: open queries must not cache anything. */
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
