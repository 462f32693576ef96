/** Milliseconds. The client never waits longer than this, whatever `Retry-After` says. */
const MAX_WAIT_MS = 60_000;
const FIRST_BACKOFF_MS = 250;

/**
 * The wait from `Retry-After` (RFC 9110 §10.2.3): seconds, or a date, compared with the server's clock if known.
 *
 * @param now milliseconds since the epoch
 */
export function retryAfterSeconds(headers: Headers, now: number): number | undefined {
  const value = headers.get('retry-after')?.trim();
  if (value === undefined || value === '') return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const date = Date.parse(value);
  const serverNow = Date.parse(headers.get('date') ?? '');
  const seconds = Math.ceil((date - (Number.isNaN(serverNow) ? now : serverNow)) / 1000);
  return Number.isNaN(seconds) ? undefined : Math.max(0, seconds);
}

/**
 * How long to wait before the next attempt: what the server says and up to a fifth more, so that those who were
 * refused together do not come back together; without its word twice as long each time.
 *
 * @param attempt 1 after the first
 * @param random from 0 to 1
 * @returns milliseconds, or nothing when that is too long to wait for
 */
export function waitBefore(attempt: number, seconds: number | undefined, random: number): number | undefined {
  const least = seconds === undefined ? FIRST_BACKOFF_MS * 2 ** (attempt - 1) : seconds * 1000;
  return least > MAX_WAIT_MS ? undefined : least * (1 + random / 5) + random * 100;
}

/** Resolves after a time, or rejects when the signal aborts. */
export async function wait(ms: number, signal?: AbortSignal | null): Promise<void> {
  signal?.throwIfAborted();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await orAborted(new Promise<void>((resolve) => (timer = setTimeout(resolve, ms))), signal);
  } finally {
    clearTimeout(timer);
  }
}

/** Work that several callers wait for continues when one of them stops waiting. */
export function orAborted<T>(promise: Promise<T>, signal?: AbortSignal | null): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const forget = onAbort(signal, reject);
    // Also if the signal has aborted already, since an unhandled rejection would end the process.
    promise.then(resolve, reject).finally(forget);
  });
}

/** The signal of one attempt. */
export interface Limit {
  readonly signal: AbortSignal;
  /** Must be called when the attempt is over. */
  readonly release: () => void;
}

/**
 * Ends an attempt after a time, or when its caller gives up. Not `AbortSignal.any` of a timeout: in Node 20 that one
 * never fires once garbage was collected, and leaves something at the caller's signal for each call.
 */
export function limit(ms: number, caller?: AbortSignal | null): Limit {
  const controller = new AbortController();
  const end = (reason: unknown): void => {
    release();
    controller.abort(reason);
  };
  const timer = setTimeout(() => {
    end(new DOMException(`Not within ${String(ms)} ms`, 'TimeoutError'));
  }, ms);
  timer.unref();
  let forget: (() => void) | undefined;
  const release = (): void => {
    clearTimeout(timer);
    forget?.();
  };
  if (caller) forget = onAbort(caller, end);
  return { signal: controller.signal, release };
}

const heard = new WeakMap<AbortSignal, Set<(reason: unknown) => void>>();

/**
 * One listener at each signal, for all calls that it may end: with more than ten Node tells of a leak.
 *
 * @returns forgets the callback
 */
function onAbort(signal: AbortSignal, callback: (reason: unknown) => void): () => void {
  if (signal.aborted) {
    callback(signal.reason);
    return () => undefined;
  }
  let callbacks = heard.get(signal);
  if (!callbacks) {
    const all = new Set<(reason: unknown) => void>();
    const abort = (): void => {
      for (const each of all) each(signal.reason);
    };
    signal.addEventListener('abort', abort, { once: true });
    heard.set(signal, (callbacks = all));
  }
  const kept = callbacks;
  kept.add(callback);
  return () => kept.delete(callback);
}
