import type { Clock } from './clock.ts';

/** Caches a value that is expensive to read. Concurrent callers share one reading. */
export class Recent<T> {
  #known: { readonly at: number; readonly value: T } | undefined;
  #reading: Promise<T> | undefined;

  /**
   * @param keepMs how long the value is kept, from the beginning of its reading
   * @param read reads the value
   */
  constructor(
    private readonly clock: Clock,
    private readonly keepMs: number,
    private readonly read: () => Promise<T>,
  ) {}

  async get(): Promise<T> {
    const age = this.clock.now() - (this.#known?.at ?? -Infinity);
    if (this.#known && age >= 0 && age < this.keepMs) return this.#known.value;
    this.#reading ??= this.#readAnew().finally(() => {
      this.#reading = undefined;
    });
    return this.#reading;
  }

  async #readAnew(): Promise<T> {
    const at = this.clock.now();
    const value = await this.read();
    this.#known = { at, value };
    return value;
  }
}
