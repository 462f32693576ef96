import type { FastifyReply, FastifyRequest } from 'fastify';
import { performance } from 'node:perf_hooks';
import type { RequestLine } from '../common/logging.ts';
import type { CallObservers } from './call-observers.ts';

/** The status of a request whose client hung up before the answer, for log and metrics. nginx uses the same number. */
export const CLIENT_GONE = 499;

/** Counts and logs each request once, when its answer has been sent or its client has gone. */
export class RequestLog {
  /**
   * @param write writes a line
   * @param calls told of each call with a channel user's token
   * @param ended called when a request ends, before its line is written
   */
  constructor(
    private readonly write: (line: RequestLine) => void,
    private readonly calls: CallObservers,
    private readonly ended: (request: FastifyRequest) => void,
  ) {}

  /** Records the request if its client goes away. Fastify then does not call `onResponse`. */
  watch(request: FastifyRequest, reply: FastifyReply): void {
    // The event comes only once, and `once()` would cost more.
    reply.raw.on('close', () => {
      if (reply.raw.writableFinished) return;
      const status = reply.raw.headersSent ? reply.statusCode : CLIENT_GONE;
      this.record(request, status, performance.now() - request.arrivedAt, 'client.gone');
    });
  }

  /** @param code the code of the error that was answered, if any */
  record(request: FastifyRequest, status: number, durationMs: number, code: string | undefined): void {
    if (request.hasEnded) return;
    request.hasEnded = true;
    this.ended(request);
    const { stats } = request;
    stats?.count(request.method, status, durationMs, code);
    if (request.channelUserId !== undefined) this.calls.tell(request, status, code);
    this.write({
      // Probes and scrapes are frequent and would fill the log.
      level: stats?.api === 'ops' ? 'debug' : 'info',
      requestId: request.id,
      method: request.method,
      route: request.unknownRoute === undefined ? stats?.route : undefined,
      status,
      code,
      durationMs: Math.round(durationMs * 10) / 10,
      address: request.clientAddress,
      channelUser: request.channelUser?.id,
      staff: request.staff?.id,
      serviceAccount: request.serviceAccount?.id,
    });
  }
}
