import { Injectable } from '@nestjs/common';

/** The time, injected so that tests can move it. */
@Injectable()
export class Clock {
  /** Milliseconds since the epoch, UTC. */
  now(): number {
    return Date.now();
  }
}
