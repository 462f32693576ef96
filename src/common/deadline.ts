import type { FastifyReply, FastifyRequest } from 'fastify';
import { performance } from 'node:perf_hooks';

interface Pending {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** How late the deadline may be noticed. */
const SWEEP_MS = 50;

/**
 * One deadline for all requests. Requests are kept in the order of their arrival, so that one timer looks at the oldest
 * only: a timer and an abort signal for each, as Fastify's `handlerTimeout` has them, cost more than the guard.
 */
export class Deadline {
  readonly #pending = new Map<string, Pending>();
  /** Those that take the time they need. */
  readonly #unhurried = new Map<string, Pending>();
  readonly #timer: NodeJS.Timeout;

  /**
   * @param milliseconds from a request's arrival to the end of its time
   * @param answer answers in place of the handler, which may still be at work
   */
  constructor(milliseconds: number, answer: (request: FastifyRequest, reply: FastifyReply) => void) {
    this.#timer = setInterval(() => {
      const oldest = performance.now() - milliseconds;
      for (const [id, { request, reply }] of this.#pending) {
        if (request.arrivedAt > oldest) return;
        this.#pending.delete(id);
        // What has begun to leave, such as a file, takes its time.
        if (!reply.sent && !reply.raw.headersSent) answer(request, reply);
      }
    }, SWEEP_MS).unref();
  }

  begin(request: FastifyRequest, reply: FastifyReply): void {
    this.#pending.set(request.id, { request, reply });
  }

  /** From now on it may take longer. */
  lift(request: FastifyRequest): void {
    const pending = this.#pending.get(request.id);
    if (!pending) return;
    this.#pending.delete(request.id);
    this.#unhurried.set(request.id, pending);
  }

  end(request: FastifyRequest): void {
    if (!this.#pending.delete(request.id)) this.#unhurried.delete(request.id);
  }

  /** How many requests are being answered. */
  get pending(): number {
    return this.#pending.size + this.#unhurried.size;
  }

  /** Those that have begun say `Connection: close` with their answer: their clients send the next request elsewhere. */
  endConnections(): void {
    for (const { reply } of [...this.#pending.values(), ...this.#unhurried.values()]) reply.raw.shouldKeepAlive = false;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
