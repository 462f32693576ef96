import { Injectable } from '@nestjs/common';
import { performance } from 'node:perf_hooks';

/** The time, injected so that tests can move it. */
@Injectable()
export class Clock {
  /** Milliseconds since the epoch, UTC. */
  now(): number {
    return Date.now();
  }

  /** Milliseconds since this process started. Unlike {@link now}, never set back. */
  elapsed(): number {
    return performance.now();
  }
}
