import type { FastifyInstance } from 'fastify';
import { performance } from 'node:perf_hooks';
import { addBodyParsers, checkBody } from './body-types.ts';
import { CallObservers } from './call-observers.ts';
import { clientAddress } from './client-address.ts';
import type { Connections } from './connections.ts';
import type { RequestLine } from '../common/logging.ts';
import { answerOverdue, Deadline } from './deadline.ts';
import type { ErrorFilter } from './error.filter.ts';
import type { HttpOptions } from './fastify-types.ts';
import { GracefulShutdown } from './graceful-shutdown.ts';
import type { Listeners } from './listeners.ts';
import { answerParserError } from './parser-errors.ts';
import { checkHost, checkTransferEncoding } from './request-checks.ts';
import { RequestLog } from './request-log.ts';
import { HttpStats } from './route-stats.ts';
import type { RouteTable } from './route-table.ts';
import { securityHeaders } from './security-headers.ts';
import { answerUnknownRoute } from './unknown-route.ts';
import { Uploads } from './uploads.ts';

interface Http {
  readonly filter: ErrorFilter;
  readonly table: RouteTable;
  readonly listeners: Listeners;
  readonly connections: Connections;
  readonly options: HttpOptions;
  readonly writeRequestLine: (line: RequestLine) => void;
}

/** Declares the fields of requests in advance, so that all request objects have one hidden class. */
function decorateRequests(fastify: FastifyInstance): void {
  fastify.decorateRequest('arrivedAt', 0);
  fastify.decorateRequest('clientAddress', undefined);
  fastify.decorateRequest('channelUser', undefined);
  fastify.decorateRequest('channelUserId', undefined);
  fastify.decorateRequest('tokenRefusal', undefined);
  fastify.decorateRequest('staff', undefined);
  fastify.decorateRequest('serviceAccount', undefined);
  fastify.decorateRequest('errorCode', undefined);
  fastify.decorateRequest('unknownRoute', undefined);
  fastify.decorateRequest('stats', undefined);
  fastify.decorateRequest('hasEnded', false);
}

/**
 * Installs the steps that every request passes before Nest, in order from top to bottom. The steps share one hook,
 * because a hook for each step would cost more than most of the steps.
 *
 * @param fastify the server, before any route is added
 */
export function prepareFastify(fastify: FastifyInstance, http: Http): void {
  const { filter, table, listeners, connections, options } = http;
  decorateRequests(fastify);
  const deadline = new Deadline(connections.limits.deadlineMs, (request, reply) => {
    answerOverdue(request, reply, filter);
  });
  const stats = new HttpStats(() => deadline.pending);
  const uploads = new Uploads(deadline);
  fastify.decorate('stats', stats);
  fastify.decorate('uploads', uploads);
  fastify.decorate('callObservers', new CallObservers());
  const shutdown = new GracefulShutdown(listeners, connections, deadline);
  const log = new RequestLog(http.writeRequestLine, fastify.callObservers, (request) => {
    deadline.end(request);
    uploads.end(request);
    shutdown.requestEnded();
  });

  listeners.attach(fastify, (error, socket, apis) => {
    answerParserError(error, socket, { options, stats, uploads, connections, apis });
  });
  fastify.addHook('onRoute', (route) => {
    table.register(route, stats);
  });

  fastify.addHook('onRequest', (request, reply, done) => {
    request.arrivedAt = performance.now();
    deadline.begin(request, reply);
    log.watch(request, reply);
    void reply.headers(securityHeaders(request.id, options));
    request.clientAddress = clientAddress(request.raw.socket.remoteAddress, request.headers, options.trustedProxies);
    const apis = listeners.servedTo(request);
    try {
      const settings = table.resolve(request, apis);
      request.stats = settings.stats ?? stats.unmatched(apis[0]);
      checkHost(request);
      checkTransferEncoding(request);
      if (settings.isDocument) void reply.header('access-control-allow-origin', '*');
      if (request.unknownRoute) {
        answerUnknownRoute(request, reply, request.unknownRoute, apis);
        return;
      }
      settings.beforeBody?.(request, options);
      checkBody(request, settings);
      shutdown.admit(done);
    } catch (error) {
      filter.answer(error, request, reply);
    }
  });
  addBodyParsers(fastify);

  fastify.addHook('onResponse', (request, reply, done) => {
    log.record(request, reply.statusCode, reply.elapsedTime, request.errorCode);
    done();
  });
  fastify.addHook('preClose', (done) => {
    shutdown.begin(done);
  });
  fastify.addHook('onClose', () => shutdown.end());
}
