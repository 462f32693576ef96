/**
 * Shares a bounded amount of memory among queues. An owner that asks for more than is free waits in line, and a later,
 * smaller request does not overtake it. A job that needs more than the total runs alone.
 */
export class MemoryBudget {
  /** Owners in line, the next first, with the callback that lets them ask again. */
  readonly #waiting = new Map<object, () => void>();
  #free: number;

  /** @param total in KiB */
  constructor(private readonly total: number) {
    this.#free = total;
  }

  /** Memory in use, in KiB. A job larger than the total counts as the total. */
  get used(): number {
    return this.total - this.#free;
  }

  /**
   * Takes memory, or else a place in the line.
   *
   * @param kib needed memory, in KiB
   * @param owner identifies the caller; an owner has at most one place in the line
   * @param retry called when the owner may ask again
   * @returns whether the memory was taken
   */
  take(kib: number, owner: object, retry: () => void): boolean {
    const needed = Math.min(kib, this.total);
    const [first = owner] = this.#waiting.keys();
    if (needed > this.#free || (needed > 0 && first !== owner)) {
      if (!this.#waiting.has(owner)) this.#waiting.set(owner, retry);
      return false;
    }
    this.#waiting.delete(owner);
    this.#free -= needed;
    return true;
  }

  /** Gives up an owner's place in the line. */
  leave(owner: object): void {
    this.#waiting.delete(owner);
  }

  giveBack(kib: number): void {
    this.#free += Math.min(kib, this.total);
    this.#wake();
  }

  /** Runs work once its memory, in KiB, is free. */
  async run<T>(kib: number, work: () => Promise<T>): Promise<T> {
    const owner = {};
    await new Promise<void>((resolve) => {
      const ask = (): void => {
        if (this.take(kib, owner, ask)) resolve();
      };
      ask();
    });
    try {
      return await work();
    } finally {
      this.giveBack(kib);
    }
  }

  /** Lets the first owner ask again, then the next ones, until an owner does not get its memory. */
  #wake(): void {
    for (let [first] = this.#waiting; first;) {
      const [owner, retry] = first;
      retry();
      [first] = this.#waiting;
      if (first?.[0] === owner) return;
    }
  }
}
