import type { ChangeFeed, ChangeListener } from './change-feed.service.ts';

/**
 * A small table kept in memory as a whole. It is believed while the change feed can be trusted and has said nothing
 * since it was read; otherwise it is read again.
 */
export class Replica<T> implements ChangeListener {
  #value: T | undefined;
  /** Counts what the feed said, so that a read that it overtook does not pass for new. */
  #changes = 0;
  #isNewest = false;
  #reading: Promise<T> | undefined;
  #nextReading: Promise<T> | undefined;

  /**
   * @param topic the topic of the table's triggers
   * @param read reads the whole table; what it returned before, if anything, is given to it
   */
  constructor(
    private readonly feed: ChangeFeed,
    topic: string,
    private readonly read: (before: T | undefined) => Promise<T>,
  ) {
    feed.subscribe(topic, this);
  }

  /** What is in memory, if it may be believed. */
  peek(): T | undefined {
    return this.#isNewest && this.feed.trusted ? this.#value : undefined;
  }

  /** What was read last, believed or not: for looking at. */
  get last(): T | undefined {
    return this.#value;
  }

  /** What is in memory, or else what the database says. */
  async current(): Promise<T> {
    return this.peek() ?? this.fresh();
  }

  /** Read by a query that starts after this call; whoever asks before it starts shares it. */
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
    // When it fails, the next one who needs it tries again.
    this.fresh().catch(() => undefined);
  }

  async #readAfter(previous: Promise<T> | undefined): Promise<T> {
    // Also lets those in who ask at the same moment.
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
