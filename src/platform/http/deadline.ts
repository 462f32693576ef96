import type { FastifyReply, FastifyRequest } from 'fastify';
import { performance } from 'node:perf_hooks';
import { AppError, UnavailableError } from '../common/errors.ts';
import type { ErrorFilter } from './error.filter.ts';

interface Pending {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Milliseconds between checks, which is how late a passed deadline may be noticed. */
const SWEEP_MS = 50;

/**
 * One deadline for all requests. Requests are kept in the order of their arrival, so that one timer has to check only
 * the oldest. Fastify's `handlerTimeout`, with a timer and an abort signal for each request, costs more than the guard.
 */
export class Deadline {
  readonly #pending = new Map<string, Pending>();
  /** Requests without a deadline (uploads). */
  readonly #unhurried = new Map<string, Pending>();
  readonly #timer: NodeJS.Timeout;

  /**
   * @param milliseconds from a request's arrival to its deadline
   * @param answer answers in place of the handler, which may still be running
   */
  constructor(milliseconds: number, answer: (request: FastifyRequest, reply: FastifyReply) => void) {
    this.#timer = setInterval(() => {
      const oldest = performance.now() - milliseconds;
      for (const [id, { request, reply }] of this.#pending) {
        if (request.arrivedAt > oldest) return;
        this.#pending.delete(id);
        // An answer that has begun, such as a file, may take longer.
        if (!reply.sent && !reply.raw.headersSent) answer(request, reply);
      }
    }, SWEEP_MS).unref();
  }

  begin(request: FastifyRequest, reply: FastifyReply): void {
    this.#pending.set(request.id, { request, reply });
  }

  /** Removes the deadline of a request. */
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

  /** Adds `Connection: close` to the answers of pending requests, so that clients send their next request elsewhere. */
  endConnections(): void {
    for (const { reply } of [...this.#pending.values(), ...this.#unhurried.values()]) reply.raw.shouldKeepAlive = false;
  }

  close(): void {
    clearInterval(this.#timer);
  }
}

/** 408, after which the connection ends (RFC 9110 §15.5.9). */
class RequestTimeoutError extends AppError {
  constructor() {
    super({ status: 408, code: 'request.timeout', detail: 'The request took too long to arrive.' });
  }
}

/** Answers a request whose deadline has passed: 503, or 408 when the client has not sent all of it. */
export function answerOverdue(request: FastifyRequest, reply: FastifyReply, filter: ErrorFilter): void {
  if (request.raw.complete) {
    filter.answer(new UnavailableError(new Error('The deadline of the request has passed')), request, reply);
  } else {
    void reply.header('connection', 'close');
    filter.answer(new RequestTimeoutError(), request, reply);
  }
  ignoreLateAnswer(reply);
}

/** Drops the answer that the handler gives after the deadline, and closes its stream. */
function ignoreLateAnswer(reply: FastifyReply): void {
  reply.send = (payload?: unknown) => {
    (payload as { destroy?: () => void } | null | undefined)?.destroy?.();
    return reply;
  };
}

/** Whether an answer can still reach the client. */
export const isAnswerable = (reply: FastifyReply): boolean => !reply.sent && !reply.raw.destroyed;
