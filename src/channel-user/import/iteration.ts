import { setImmediate as othersHaveHadTheirTurn } from 'node:timers/promises';

/** Rows, and bytes of a file, that are handled before the event loop serves other requests: about a millisecond each. */
const ROWS_A_TURN = 25;
const BYTES_A_TURN = 4096;

/** Passes chunks on until a signal aborts, even while no chunk arrives. */
export async function* endedBy<T>(signal: AbortSignal, source: AsyncIterable<T>): AsyncGenerator<T> {
  const chunks = source[Symbol.asyncIterator]();
  for (;;) {
    signal.throwIfAborted();
    // Each chunk has its own promise, since a shared one would keep every chunk in memory.
    const ended = Promise.withResolvers<never>();
    const end = (): void => {
      ended.reject(signal.reason);
    };
    signal.addEventListener('abort', end);
    try {
      const next = await Promise.race([chunks.next(), ended.promise]);
      if (next.done === true) return;
      yield next.value;
    } finally {
      signal.removeEventListener('abort', end);
    }
  }
}

/** Splits chunks of bytes into small ones, and lets the event loop serve other requests between them. */
export async function* inSmallChunks(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for await (const chunk of chunks) {
    for (let start = 0; start < chunk.length; start += BYTES_A_TURN) {
      yield chunk.subarray(start, start + BYTES_A_TURN);
      await othersHaveHadTheirTurn();
    }
  }
}

/** Passes rows on, and lets the event loop serve other requests in between. */
export async function* inTurns<T>(rows: Iterable<T>): AsyncGenerator<T> {
  let count = 0;
  for (const row of rows) {
    if (count++ % ROWS_A_TURN === 0) await othersHaveHadTheirTurn();
    yield row;
  }
}

/** Maps rows with at most `atOnce` calls at a time and in turns, and keeps the order. */
export async function inParallel<T, R>(
  items: readonly T[],
  atOnce: number,
  work: (item: T) => Promise<R>,
): Promise<R[]> {
  const results = new Array<R>(items.length);
  const left = items.entries();
  const worker = async (): Promise<void> => {
    for await (const [i, item] of inTurns(left)) results[i] = await work(item);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
