import { tracingChannel } from 'node:diagnostics_channel';

/** The verification of a password against a slow hash. */
export interface SlowHashTrace {
  /** Milliseconds that it waited for its turn. Absent when it never got one. */
  waitedMs?: number;
}

/**
 * Work that a trace should show besides requests and queries. Telemetry subscribes to these channels when it is on.
 * Without a subscriber, only the work itself is done.
 */
export const slowHashTraces = tracingChannel<unknown, SlowHashTrace>('latchkey:slow-hash');
export const signatureTraces = tracingChannel('latchkey:signature');
