/** Bytes of the longest answer of the identity provider that is read. Key sets and metadata have a few thousand. */
const MAX_ANSWER_BYTES = 1024 * 1024;

export const ANSWER_TOO_LONG = 'ANSWER_TOO_LONG';

/** The provider's answer is longer than any that it has a reason to give. */
class AnswerTooLongError extends Error {
  readonly code = ANSWER_TOO_LONG;
}

type Fetch = (url: string, init: RequestInit) => Promise<Response>;

async function limited(response: Response): Promise<Response> {
  if (response.body === null) return response;
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES) throw new AnswerTooLongError('The answer of the identity provider is too long');
    chunks.push(chunk);
  }
  const { status, headers } = response;
  return new Response(Buffer.concat(chunks), { status, headers });
}

/**
 * A fetch for the identity provider that follows no redirect, reads no endless answer, and ends with a signal.
 *
 * @param signal ends every request, with that of the caller
 */
export const providerFetch =
  (signal?: AbortSignal): Fetch =>
  async (url, init) => {
    const signals = [signal, init.signal].filter((each) => each != null);
    return limited(await fetch(url, { ...init, redirect: 'manual', signal: AbortSignal.any(signals) }));
  };

/** Waits for work until a signal ends it, also if the work does not know of the signal. */
export async function inTime<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const { promise: over, reject } = Promise.withResolvers<never>();
  over.catch(() => undefined);
  const end = (): void => {
    reject(signal.reason as Error);
  };
  if (signal.aborted) end();
  signal.addEventListener('abort', end, { once: true });
  try {
    return await Promise.race([work, over]);
  } finally {
    signal.removeEventListener('abort', end);
  }
}
