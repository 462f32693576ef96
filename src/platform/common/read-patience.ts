import { Injectable } from '@nestjs/common';
import { performance } from 'node:perf_hooks';

/** How long reads wait for recorded rows to be written. Injected so that tests can make it longer. */
@Injectable()
export class ReadPatience {
  /** Milliseconds, short enough that a reader notices no delay. */
  ms = 200;

  /**
   * Waits for a flush before a read, so that the read sees everything recorded before. If the flush fails or takes too
   * long, the read goes on and may show slightly older data.
   *
   * @param flush the flush, which reports its own failures
   * @param since when the current write began, on the monotonic clock. A write that is stuck is waited for only once
   */
  async waitFor(flush: Promise<unknown>, since = performance.now()): Promise<void> {
    const done = flush.catch(() => undefined);
    const left = since + this.ms - performance.now();
    if (left <= 0) return;
    let timer: NodeJS.Timeout | undefined;
    const enough = new Promise((resolve) => {
      timer = setTimeout(resolve, left);
    });
    await Promise.race([done, enough]);
    clearTimeout(timer);
  }
}
