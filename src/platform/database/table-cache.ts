import type { ChangeFeed, ChangeListener } from './change-feed.service.ts';

/**
 * Caches a small table as a whole. The cached table is used while the change feed is trusted and has announced no
 * change since the table was read; otherwise it is read again.
 */
export class TableCache<T> implements ChangeListener {
  #value: T | undefined;
  /** Counts announced changes, so that a table that was read before the latest change is not taken for current. */
  #changes = 0;
  #isNewest = false;
  #reading: Promise<T> | undefined;
  #nextReading: Promise<T> | undefined;

  /**
   * @param topic the topic of the table's triggers
   * @param read reads the whole table; gets its previous result, if there is one
   */
  constructor(
    private readonly feed: ChangeFeed,
    topic: string,
    private readonly read: (before: T | undefined) => Promise<T>,
  ) {
    feed.subscribe(topic, this);
  }

  /** The cached table, or undefined if it may be outdated. */
  peek(): T | undefined {
    return this.#isNewest && this.feed.trusted ? this.#value : undefined;
  }

  /** The table as last read, even if it may be outdated. Only for display. */
  get last(): T | undefined {
    return this.#value;
  }

  /** The cached table, or the table read again if the cached one may be outdated. */
  async current(): Promise<T> {
    return this.peek() ?? this.fresh();
  }

  /** Reads the table with a query that starts after this call. Calls before the query starts share it. */
  fresh(): Promise<T> {
    this.#nextReading ??= this.#readAfter(this.#reading);
    return this.#nextReading;
  }

  changed(): void {
    this.reset();
  }

  reset(): void {
    this.#changes++;
    this.#isNewest = false;
    // After a failure, the next caller that needs the table reads it again.
    this.fresh().catch(() => undefined);
  }

  async #readAfter(previous: Promise<T> | undefined): Promise<T> {
    // Even without a previous read, this lets simultaneous callers share the query.
    await previous?.catch(() => undefined);
    this.#nextReading = undefined;
    this.#reading = this.#read();
    return this.#reading;
  }

  async #read(): Promise<T> {
    const changes = this.#changes;
    const value = await this.read(this.#value);
    this.#value = value;
    this.#isNewest = changes === this.#changes && this.feed.connected;
    return value;
  }
}
