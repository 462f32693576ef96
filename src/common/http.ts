import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import findMyWay, { type HTTPMethod } from 'find-my-way';
import type { BaseLogger } from 'pino';
import type { Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { clientAddress } from './client-address.ts';
import { acceptWaiting, keepIdleConnections } from './closing.ts';
import { Deadline } from './deadline.ts';
import { type ErrorFilter, problemOf } from './error.filter.ts';
import { AppError, UnavailableError } from './errors.ts';
import { HttpStats } from './http-stats.ts';
import type { Listeners, Planes } from './listeners.ts';
import { planeOfRoute } from './planes.ts';
import type { HttpOptions, RouteSettings } from './request-context.ts';
import { UPLOAD_TYPES, Uploads } from './uploads.ts';

/** Headers and body together may take this long to arrive; then the connection ends. */
export const REQUEST_TIMEOUT_MS = 15_000;
/** Contract §5: one deadline for every request, well inside the five seconds that are promised. */
const DEADLINE_MS = 4_000;
export const MAX_HEADER_BYTES = 32 * 1024;
const MAX_JSON_BYTES = 256 * 1024;
/** In the log and the metrics alone: the client has hung up before it was answered. nginx says it so, too. */
const CLIENT_GONE = 499;
const MAX_FORM_BYTES = 8 * 1024;

class NoHostError extends AppError {
  constructor() {
    super({ status: 400, code: 'request.malformed', detail: 'The request names no host.' });
  }
}

/** RFC 9110 §15.5.9: the connection ends with the answer. */
class RequestTimeoutError extends AppError {
  constructor() {
    super({ status: 408, code: 'request.timeout', detail: 'The request took too long to arrive.' });
  }
}

/** Sent with every answer, also where no route matched. */
function securityHeaders(requestId: string, { publicUrl }: HttpOptions): Record<string, string> {
  return {
    'x-request-id': requestId,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    // RFC 6797 §7.2: not over plain HTTP. A year.
    ...(publicUrl.startsWith('https:') && { 'strict-transport-security': 'max-age=31536000' }),
  };
}

/** The media type without its parameters, lower case; empty when there is none. */
function mediaTypeOf(request: FastifyRequest): string {
  return (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

export function hasBody(request: FastifyRequest): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  return encoding !== undefined || (length !== undefined && length !== '0');
}

const JSON_ONLY = ['application/json'];
const FORM_ONLY = ['application/x-www-form-urlencoded'];

function unsupportedContentType(expected: readonly string[]): AppError {
  return new AppError({
    status: 415,
    code: 'request.unsupported-content-type',
    detail: `The body must be ${expected.join(' or ')}.`,
  });
}

/**
 * Knows every route of the running server by method and path, so that a path that exists under another method is
 * answered with 405 and `Allow` (RFC 9110 §15.5.6), and lists them for the tests that walk all of them.
 */
export class RouteTable {
  readonly routes: { method: string; url: string }[] = [];
  readonly #router = findMyWay({ maxParamLength: 500 });
  readonly #methods = new Set<string>();

  add(method: string, url: string, settings: RouteSettings): void {
    this.routes.push({ method, url });
    this.#methods.add(method);
    this.#router.on(method as HTTPMethod, url, () => undefined, settings);
  }

  /**
   * @param planes those that are served where the request came in
   * @returns the methods that the path answers to there, and the settings of one of its routes
   */
  match(path: string, planes: Planes): { methods: string[]; settings: RouteSettings } | undefined {
    const found = [...this.#methods].flatMap((method) => {
      const settings = this.#router.find(method as HTTPMethod, path)?.store as RouteSettings | undefined;
      return settings?.plane && planes.includes(settings.plane) ? [{ method, settings }] : [];
    });
    const [first] = found;
    return first && { methods: found.map(({ method }) => method).sort(), settings: first.settings };
  }
}

function pathOf(url: string): string {
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

/** For a path that is none where it was asked for, though it may be one of another listener. */
const NO_ROUTE: RouteSettings = {};

/** 405 where the path exists under another method, else 404; decided before authentication and before any body. */
function refuseUnknownRoute(request: FastifyRequest, table: RouteTable, planes: Planes): AppError {
  const match = table.match(pathOf(request.url), planes);
  request.matchedConfig = match?.settings ?? NO_ROUTE;
  if (!match) return new AppError({ status: 404, code: 'route.not-found', detail: 'There is nothing at this path.' });
  return new AppError({
    status: 405,
    code: 'route.method-not-allowed',
    detail: `This path answers to ${match.methods.join(', ')}.`,
    headers: { allow: match.methods.join(', ') },
  });
}

/**
 * Sets up what happens around every route: request ids, security headers, unknown paths and methods, content types,
 * body parsers and the request log.
 *
 * @param fastify the server, before any route is added
 */
export function prepareFastify(
  fastify: FastifyInstance,
  {
    filter,
    table,
    listeners,
    options,
    requestLog,
  }: { filter: ErrorFilter; table: RouteTable; listeners: Listeners; options: HttpOptions; requestLog: BaseLogger },
): void {
  fastify.decorateRequest('arrivedAt', 0);
  fastify.decorateRequest('clientAddress', undefined);
  fastify.decorateRequest('channelUser', undefined);
  fastify.decorateRequest('staff', undefined);
  fastify.decorateRequest('errorCode', undefined);
  fastify.decorateRequest('matchedConfig', undefined);
  fastify.decorateRequest('stats', undefined);
  fastify.decorateRequest('hasEnded', false);

  const deadline = new Deadline(DEADLINE_MS, (request, reply) => {
    // A client that has not sent all of it is not waiting for us.
    if (request.raw.complete) {
      filter.answer(new UnavailableError(new Error('The deadline of the request has passed')), request, reply);
    } else {
      void reply.header('connection', 'close');
      filter.answer(new RequestTimeoutError(), request, reply);
    }
  });

  const stats = new HttpStats(() => deadline.pending);
  fastify.decorate('stats', stats);
  const uploads = new Uploads(deadline);
  fastify.decorate('uploads', uploads);

  listeners.attach(fastify, (error, socket, planes) => {
    answerParserError(error, socket, { options, stats, uploads, planes });
  });

  fastify.addHook('onRoute', (route) => {
    const plane = planeOfRoute(route.url);
    route.config = { ...route.config, plane, stats: stats.ofRoute(plane, route.url) };
    for (const each of [route.method].flat()) table.add(each, route.url, route.config);
  });

  let closing = false;
  /**
   * While waiting connections are accepted: requests that have come on them. Clients that wait for an answer send
   * nothing, so that there is an end to it.
   */
  let held: (() => void)[] | undefined;

  fastify.addHook('onRequest', (request, reply, done) => {
    request.arrivedAt = performance.now();
    deadline.begin(request, reply);
    // Fastify does not speak of answers that nobody was there for any more.
    reply.raw.once('close', () => {
      if (reply.raw.writableFinished) return;
      const status = reply.raw.headersSent ? reply.statusCode : CLIENT_GONE;
      ended(request, status, performance.now() - request.arrivedAt, 'client.gone');
    });
    void reply.headers(securityHeaders(request.id, options));
    request.clientAddress = clientAddress(request.raw.socket.remoteAddress, request.headers, options.trustedProxies);
    const planes = listeners.servedTo(request);
    try {
      const settings: RouteSettings = request.routeOptions.config;
      if (request.is404 || settings.plane === undefined || !planes.includes(settings.plane)) {
        const refusal = refuseUnknownRoute(request, table, planes);
        request.stats = request.matchedConfig?.stats ?? stats.unmatched(planes[0]);
        throw refusal;
      }
      request.stats = settings.stats;
      // RFC 9112 §3.2.
      if (request.headers.host === undefined && request.raw.httpVersion === '1.1') throw new NoHostError();
      settings.beforeBody?.(request, options);
      if (settings.body !== 'form' && hasBody(request)) {
        const expected = settings.body ?? JSON_ONLY;
        if (!expected.includes(mediaTypeOf(request))) throw unsupportedContentType(expected);
      }
      if (held) held.push(done);
      else done();
    } catch (error) {
      filter.answer(error, request, reply);
    }
  });

  fastify.addHook('preClose', (done) => {
    const waiting = (held = [] as (() => void)[]);
    const servers = listeners.requested;
    for (const server of servers) keepIdleConnections(server, listeners.lingerMs);
    const isAnswering = (): boolean => deadline.pending > waiting.length;
    acceptWaiting(servers, isAnswering, () => {
      // Waited for below: the listener of staff closes, and the public one with `done`.
      void listeners.drain();
      done();
      closing = true;
      // Not before: clients would come back on connections of their own, as long as the listener takes them.
      deadline.endConnections();
      held = undefined;
      for (const begin of waiting) begin();
    });
  });

  fastify.addHook('onClose', async () => {
    await listeners.drain();
    deadline.close();
  });

  /** Once for each request: when its answer has left, or cannot any more. */
  const ended = (request: FastifyRequest, status: number, durationMs: number, code: string | undefined): void => {
    if (request.hasEnded) return;
    request.hasEnded = true;
    deadline.end(request);
    uploads.end(request);
    // What had begun to leave before could not say `Connection: close`; the server ends when no connection is left.
    if (closing) {
      setImmediate(() => {
        listeners.closeIdleConnections();
      });
    }
    const { stats: counted } = request;
    counted?.count(request.method, status, durationMs, code);
    // Probes and scrapes come all the time.
    requestLog[counted?.plane === 'ops' ? 'debug' : 'info'](
      {
        requestId: request.id,
        method: request.method,
        // The template, never the URL: what a client puts there may be a credential.
        route: request.matchedConfig === undefined ? counted?.route : undefined,
        status,
        code,
        durationMs: Math.round(durationMs * 10) / 10,
        address: request.clientAddress,
        channelUser: request.channelUser?.id,
        staff: request.staff?.id,
      },
      'request',
    );
  };

  fastify.addHook('onResponse', (request, reply, done) => {
    ended(request, reply.statusCode, reply.elapsedTime, request.errorCode);
    done();
  });

  fastify.removeAllContentTypeParsers();
  const parseJson = fastify.getDefaultJsonParser('error', 'error');
  fastify.addContentTypeParser(
    'application/json',
    { parseAs: 'string', bodyLimit: MAX_JSON_BYTES },
    (request, body, done) => {
      // Clients send the header without a body, with DELETE above all.
      if (body === '') done(null, undefined);
      else void parseJson(request, body as string, done);
    },
  );
  fastify.addContentTypeParser(
    'application/x-www-form-urlencoded',
    { parseAs: 'buffer', bodyLimit: MAX_FORM_BYTES },
    (_request, body, done) => {
      done(null, body);
    },
  );
  // Not read here: whoever may send one is known only later.
  fastify.addContentTypeParser([...UPLOAD_TYPES], (_request, payload, done) => {
    done(null, payload);
  });
}

/** For `beforeBody` of a route that takes a form. @throws AppError 415 */
export function requireForm(request: FastifyRequest): void {
  if (mediaTypeOf(request) !== 'application/x-www-form-urlencoded') throw unsupportedContentType(FORM_ONLY);
}

/** Answers what Node's HTTP parser refuses before there is a request: 431, 408 and 400. */
export function answerParserError(
  error: NodeJS.ErrnoException,
  socket: Socket,
  { options, stats, uploads, planes }: { options: HttpOptions; stats: HttpStats; uploads: Uploads; planes: Planes },
): void {
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && uploads.allow(socket)) return;
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, code, detail]: [number, string, string] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'request.headers-too-large', 'The request headers are too large.']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'request.timeout', 'The request took too long to arrive.']
        : [400, 'request.malformed', 'This is not a valid HTTP request.'];
  const refusal = new AppError({ status, code, detail });
  stats.unmatched(planes[0]).count('', status, 0, code);
  const requestId = randomUUID();
  const problem = problemOf(refusal, requestId);
  const body = JSON.stringify(problem);
  const headers = {
    ...securityHeaders(requestId, options),
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  socket.end(`HTTP/1.1 ${String(status)} ${String(problem['title'])}\r\n${lines.join('')}\r\n${body}`);
}

/** Answers what Fastify's router refuses before any hook runs, such as a URL with a broken escape. */
export function answerRouterError(
  error: Error,
  request: FastifyRequest,
  reply: FastifyReply,
  { filter, options, stats, planes }: { filter: ErrorFilter; options: HttpOptions; stats: HttpStats; planes: Planes },
): void {
  void reply.headers(securityHeaders(request.id, options));
  filter.answer(error, request, reply);
  stats.unmatched(planes[0]).count(request.method, reply.statusCode, 0, request.errorCode);
}
