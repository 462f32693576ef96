import { performance } from 'node:perf_hooks';
import { setImmediate } from 'node:timers/promises';

/** Milliseconds that a loop may block the event loop before requests get their turn. */
const SLICE_MS = 2;

/** Tells a loop over very many items when to yield to the other work of the event loop. */
export class Turns {
  #since = performance.now();

  /** Whether the loop should yield now. */
  get isOver(): boolean {
    return performance.now() - this.#since >= SLICE_MS;
  }

  /** Yields, and begins the next slice. */
  async next(): Promise<void> {
    await setImmediate();
    this.#since = performance.now();
  }
}
