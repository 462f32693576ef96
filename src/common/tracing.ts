import { tracingChannel } from 'node:diagnostics_channel';

/** A password that is verified against a slow hash. */
export interface SlowHashTrace {
  /** How long it waited for its turn, in milliseconds; absent when that did not come. */
  waitedMs?: number;
}

/**
 * Work that a trace should show besides requests and queries. Telemetry listens where it is on; where nobody does, the
 * work is done and nothing else.
 */
export const slowHashTraces = tracingChannel<unknown, SlowHashTrace>('latchkey:slow-hash');
export const signatureTraces = tracingChannel('latchkey:signature');
