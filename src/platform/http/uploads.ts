import type { FastifyRequest } from 'fastify';
import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Deadline } from './deadline.ts';
import { AppError } from '../common/errors.ts';

/** The media types of uploaded files, which are read as they arrive. */
export const UPLOAD_TYPES = ['text/csv', 'application/x-ndjson'] as const;

/** Milliseconds for which the rest of a refused upload is read and discarded, so that its sender reads the answer. */
const LINGER_MS = 5_000;

/** Accepted uploads in progress. Neither the deadline of requests nor the timeout of bodies applies to them. */
export class Uploads {
  readonly #sockets = new WeakSet<Socket>();

  constructor(private readonly deadline: Deadline) {}

  begin(request: FastifyRequest): void {
    this.deadline.lift(request);
    this.#sockets.add(request.raw.socket);
  }

  end(request: FastifyRequest): void {
    this.#sockets.delete(request.raw.socket);
  }

  /** Whether this connection carries an upload, which may take longer to arrive. */
  allow(socket: Socket): boolean {
    return this.#sockets.has(socket);
  }
}

interface UploadLimits {
  /** The size above which an upload is refused. */
  readonly maxBytes: number;
  /** Milliseconds for which the sender may send nothing. */
  readonly stallMs: number;
}

/** The bytes of an upload as they arrive. */
export class Upload implements AsyncIterable<Uint8Array> {
  readonly #chunks: AsyncIterator<Uint8Array>;

  constructor(
    source: AsyncIterable<Uint8Array>,
    private readonly limits: UploadLimits,
  ) {
    this.#chunks = source[Symbol.asyncIterator]();
  }

  /** @throws AppError 413, 408 */
  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    const { maxBytes } = this.limits;
    let bytes = 0;
    for (;;) {
      const next = await this.#next();
      if (next.done === true) return;
      bytes += next.value.length;
      if (bytes > maxBytes) {
        const detail = `The file is too large: the limit is ${String(maxBytes)} bytes.`;
        throw new AppError({ status: 413, code: 'request.too-large', detail });
      }
      yield next.value;
    }
  }

  /** Discards the rest for up to `LINGER_MS`. Cutting the connection while the client sends would lose the answer. */
  async discard(): Promise<void> {
    const patience = new AbortController();
    const drain = async (): Promise<void> => {
      while ((await this.#chunks.next()).done !== true && !patience.signal.aborted);
    };
    await Promise.race([drain(), wait(LINGER_MS, undefined, { signal: patience.signal })]).catch(() => undefined);
    patience.abort();
  }

  async #next(): Promise<IteratorResult<Uint8Array, unknown>> {
    const { stallMs } = this.limits;
    let timer: NodeJS.Timeout | undefined;
    const stalled = new Promise<never>((_, reject) => {
      timer = setTimeout(() => {
        const detail = `The upload stalled: no data arrived for ${String(Math.ceil(stallMs / 1000))} seconds.`;
        reject(new AppError({ status: 408, code: 'request.timeout', detail }));
      }, stallMs);
    });
    try {
      return await Promise.race([this.#chunks.next(), stalled]);
    } finally {
      clearTimeout(timer);
    }
  }
}
