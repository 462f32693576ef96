import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import findMyWay, { type HTTPMethod } from 'find-my-way';
import type { BaseLogger } from 'pino';
import type { Server } from 'node:http';
import type { Socket } from 'node:net';
import { randomUUID } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { clientAddress } from './client-address.ts';
import { Deadline } from './deadline.ts';
import { type ErrorFilter, problemOf } from './error.filter.ts';
import { AppError, UnavailableError } from './errors.ts';
import type { HttpOptions, RouteSettings } from './request-context.ts';

/** Headers and body together may take this long to arrive; then the connection ends. */
export const REQUEST_TIMEOUT_MS = 15_000;
/** Contract §5: one deadline for every request, well inside the five seconds that are promised. */
const DEADLINE_MS = 4_000;
export const MAX_HEADER_BYTES = 32 * 1024;
/**
 * How long idle connections are kept after the listener was closed, when a proxy may be about to send on one: longer
 * than the proxy keeps them itself, and short enough for the last request's deadline within the time of a stop.
 */
export const LINGER_MS = 4_000;
/** How long the listener stays at most for connections that wait to be accepted. */
const ACCEPT_MS = 1_000;
const QUIET_TURN_MS = 0.5;
const QUIET_TURNS = 3;
const MAX_JSON_BYTES = 256 * 1024;
const MAX_FORM_BYTES = 8 * 1024;

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

function hasBody(request: FastifyRequest): boolean {
  const { 'content-length': length, 'transfer-encoding': encoding } = request.headers;
  return encoding !== undefined || (length !== undefined && length !== '0');
}

function unsupportedContentType(form: boolean): AppError {
  return new AppError({
    status: 415,
    code: 'request.unsupported-content-type',
    detail: `The body must be ${form ? 'application/x-www-form-urlencoded' : 'application/json'}.`,
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

  /** @returns the methods that the path answers to, and the settings of one of its routes */
  match(path: string): { methods: string[]; settings: RouteSettings } | undefined {
    const found = [...this.#methods].flatMap((method) => {
      const route = this.#router.find(method as HTTPMethod, path);
      return route ? [{ method, settings: (route.store ?? {}) as RouteSettings }] : [];
    });
    const [first] = found;
    return first && { methods: found.map(({ method }) => method).sort(), settings: first.settings };
  }
}

function pathOf(url: string): string {
  const end = url.search(/[?#]/);
  return end === -1 ? url : url.slice(0, end);
}

/** 405 where the path exists under another method, else 404; decided before authentication and before any body. */
function refuseUnknownRoute(request: FastifyRequest, table: RouteTable): AppError {
  const match = table.match(pathOf(request.url));
  if (!match) return new AppError({ status: 404, code: 'route.not-found', detail: 'There is nothing at this path.' });
  request.matchedConfig = match.settings;
  return new AppError({
    status: 405,
    code: 'route.method-not-allowed',
    detail: `This path answers to ${match.methods.join(', ')}.`,
    headers: { allow: match.methods.join(', ') },
  });
}

/** How the server stops: may be changed until it does. */
export interface Stopping {
  /** How long idle connections are kept after the listener was closed. */
  lingerMs: number;
}

/**
 * Node ends idle connections together with the listener. A proxy may have sent a request on one of them that has not
 * arrived yet, which nothing may send again unless it is idempotent (RFC 9110 §9.2.2). So they are kept for a while:
 * whatever comes is answered with `Connection: close`.
 */
function keepIdleConnections(server: Server, lingerMs: number): void {
  server.closeIdleConnections = () => undefined;
  setTimeout(() => {
    delete (server as Partial<Server>).closeIdleConnections;
    server.closeIdleConnections();
  }, lingerMs).unref();
}

/**
 * Connections that wait to be accepted are lost with the listener, and Node accepts one in a turn of its loop only.
 * Waits for a few turns, one after the other, in which none came, and so short that hardly one can have come since.
 */
function acceptWaiting(server: Server, done: () => void): void {
  const end = performance.now() + ACCEPT_MS;
  let begun = performance.now();
  let accepted = true;
  let quietTurns = 0;
  const note = (): void => {
    accepted = true;
  };
  server.on('connection', note);
  const turn = (): void => {
    const now = performance.now();
    quietTurns = accepted || now - begun > QUIET_TURN_MS ? 0 : quietTurns + 1;
    if (quietTurns === QUIET_TURNS || now > end) {
      server.off('connection', note);
      done();
      return;
    }
    accepted = false;
    begun = now;
    setImmediate(turn);
  };
  // The first one ends the present turn, and looks at nothing.
  setImmediate(turn);
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
    options,
    stopping,
    requestLog,
  }: {
    filter: ErrorFilter;
    table: RouteTable;
    options: HttpOptions;
    stopping: Stopping;
    requestLog: BaseLogger;
  },
): void {
  fastify.decorateRequest('arrivedAt', 0);
  fastify.decorateRequest('clientAddress', undefined);
  fastify.decorateRequest('channelUser', undefined);
  fastify.decorateRequest('staff', undefined);
  fastify.decorateRequest('errorCode', undefined);
  fastify.decorateRequest('matchedConfig', undefined);

  const deadline = new Deadline(DEADLINE_MS, (request, reply) => {
    filter.answer(new UnavailableError(new Error('The deadline of the request has passed')), request, reply);
  });

  fastify.addHook('onRoute', ({ method, url, config }) => {
    for (const each of [method].flat()) table.add(each, url, config ?? {});
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
    void reply.headers(securityHeaders(request.id, options));
    request.clientAddress = clientAddress(request.raw.socket.remoteAddress, request.headers, options.trustedProxies);
    try {
      if (request.is404) throw refuseUnknownRoute(request, table);
      const settings: RouteSettings = request.routeOptions.config;
      settings.beforeBody?.(request, options);
      if (settings.body !== 'form' && hasBody(request) && mediaTypeOf(request) !== 'application/json') {
        throw unsupportedContentType(false);
      }
      if (held) held.push(done);
      else done();
    } catch (error) {
      filter.answer(error, request, reply);
    }
  });

  fastify.addHook('preClose', (done) => {
    closing = true;
    deadline.endConnections();
    if (stopping.lingerMs > 0) keepIdleConnections(fastify.server, stopping.lingerMs);
    held = [];
    acceptWaiting(fastify.server, () => {
      // Closes the listener.
      done();
      const begin = held ?? [];
      held = undefined;
      for (const each of begin) each();
    });
  });

  fastify.addHook('onClose', (_, done) => {
    deadline.close();
    done();
  });

  fastify.addHook('onResponse', (request, reply, done) => {
    deadline.end(request);
    // What had begun to leave before could not say `Connection: close`; the server ends when no connection is left.
    if (closing) {
      setImmediate(() => {
        fastify.server.closeIdleConnections();
      });
    }
    const { statusCode } = reply;
    requestLog.info(
      {
        requestId: request.id,
        method: request.method,
        // The template, never the URL: what a client puts there may be a credential.
        route: request.is404 ? undefined : request.routeOptions.url,
        status: statusCode,
        code: request.errorCode,
        durationMs: Math.round(reply.elapsedTime * 10) / 10,
        address: request.clientAddress,
        channelUser: request.channelUser?.id,
        staff: request.staff?.id,
      },
      'request',
    );
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
}

/** For `beforeBody` of a route that takes a form. @throws AppError 415 */
export function requireForm(request: FastifyRequest): void {
  if (mediaTypeOf(request) !== 'application/x-www-form-urlencoded') throw unsupportedContentType(true);
}

/** Answers what Node's HTTP parser refuses before there is a request: 431, 408 and 400. */
export function answerParserError(error: NodeJS.ErrnoException, socket: Socket, options: HttpOptions): void {
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
  { filter, options }: { filter: ErrorFilter; options: HttpOptions },
): void {
  void reply.headers(securityHeaders(request.id, options));
  filter.answer(error, request, reply);
}
