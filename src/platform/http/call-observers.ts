import type { FastifyRequest } from 'fastify';

/**
 * Learns of a call whose token was a channel user's, once it was answered or its client has gone.
 *
 * @param request has `channelUserId`, also if the token was refused
 * @param code the code of the error, if any
 */
export type CallObserver = (request: FastifyRequest, status: number, code: string | undefined) => void;

/** The features that learn of guarded calls. They register when the application starts. */
export class CallObservers {
  readonly #observers: CallObserver[] = [];

  register(observer: CallObserver): void {
    this.#observers.push(observer);
  }

  tell(request: FastifyRequest, status: number, code: string | undefined): void {
    for (const observe of this.#observers) observe(request, status, code);
  }
}
