import type { FastifyRequest } from 'fastify';
import type { Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import type { Deadline } from './deadline.ts';
import { AppError } from './errors.ts';

/** The media types of files that are read as they arrive. */
export const UPLOAD_TYPES = ['text/csv', 'application/x-ndjson'] as const;

/** What is still sent after an upload was refused is thrown away for so long: who only sends hears nothing. */
const LINGER_MS = 5_000;

/** Uploads that somebody who may send them has begun: neither the deadline of requests nor that of bodies is theirs. */
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

  /** Whether a request on this connection may take longer to arrive than others. */
  allow(socket: Socket): boolean {
    return this.#sockets.has(socket);
  }
}

interface UploadLimits {
  /** More are refused. */
  readonly maxBytes: number;
  /** How long the sender may send nothing while it is waited for. */
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
        const detail = `The file has more than ${String(maxBytes)} bytes.`;
        throw new AppError({ status: 413, code: 'request.too-large', detail });
      }
      yield next.value;
    }
  }

  /** Reads on, for a moment: a connection that is cut while the client sends loses the answer. */
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
        const detail = `Nothing arrived for ${String(Math.ceil(stallMs / 1000))} seconds.`;
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
