import { Injectable } from '@nestjs/common';
import { performance } from 'node:perf_hooks';

/** A wait that may be given up. */
export interface Wait {
  /** Resolves at the time, and never after {@link cancel}. */
  readonly over: Promise<void>;
  cancel(): void;
}

/** The clock for durations, which nobody sets, and waits on it. Injected so that tests can stop it. */
@Injectable()
export class MonotonicClock {
  /** Milliseconds since the process started. */
  now = (): number => performance.now();

  /** Begins to wait for a time of this clock, such as that of an answer. On a stopped clock, it comes at once. */
  waitFor = (time: number): Wait => wait(time, this.now);

  /** Begins to wait for the time limit of other work. On a stopped clock, it never comes. */
  timeout = (time: number): Wait => wait(time, this.now);

  /** Sleeps until a time of this clock. */
  async sleepUntil(time: number): Promise<void> {
    await this.waitFor(time).over;
  }
}

/** Waits with one timer after the other: a timer may fire early, since it counts from the start of the loop's turn. */
function wait(time: number, now: () => number): Wait {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  let timer: NodeJS.Timeout | undefined;
  const look = (): void => {
    const left = time - now();
    if (left > 0) timer = setTimeout(look, Math.max(1, Math.floor(left)));
    else resolve(undefined);
  };
  look();
  return {
    over: promise,
    cancel: () => {
      clearTimeout(timer);
    },
  };
}
