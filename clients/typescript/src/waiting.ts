/** Longer than this nobody waits for a single answer, whatever `Retry-After` says. */
const MAX_WAIT_MS = 60_000;
const FIRST_BACKOFF_MS = 250;

/**
 * What `Retry-After` says (RFC 9110 §10.2.3): seconds, or a date.
 *
 * @param now milliseconds since the epoch
 */
export function retryAfterSeconds(headers: Headers, now: number): number | undefined {
  const value = headers.get('retry-after')?.trim();
  if (value === undefined || value === '') return undefined;
  if (/^\d{1,9}$/.test(value)) return Number(value);
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
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

/** Resolves after a time; rejects as soon as the signal says so. */
export async function wait(ms: number, signal?: AbortSignal | null): Promise<void> {
  signal?.throwIfAborted();
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await orAborted(new Promise<void>((resolve) => (timer = setTimeout(resolve, ms))), signal);
  } finally {
    clearTimeout(timer);
  }
}

/** What others wait for too goes on when one of them stops waiting. */
export function orAborted<T>(promise: Promise<T>, signal?: AbortSignal | null): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- the reason is the caller's
      reject(signal.reason);
    };
    if (signal.aborted) {
      abort();
      return;
    }
    signal.addEventListener('abort', abort, { once: true });
    promise.then(resolve, reject).finally(() => {
      signal.removeEventListener('abort', abort);
    });
  });
}
