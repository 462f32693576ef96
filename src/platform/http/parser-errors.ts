import type { FastifyReply, FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:net';
import { AppError } from '../common/errors.ts';
import type { Connections } from './connections.ts';
import { type ErrorFilter, problemOf } from './error.filter.ts';
import type { HttpOptions } from './fastify-types.ts';
import { type Apis, CONNECT_REFUSED } from './listeners.ts';
import type { HttpStats } from './route-stats.ts';
import { securityHeaders } from './security-headers.ts';
import type { Uploads } from './uploads.ts';

const MALFORMED = [400, 'request.malformed', 'This is not a valid HTTP request.'] as const;
/** Answers by the code of the parser's error. All other codes get {@link MALFORMED}. */
const PARSER_ERRORS: Record<string, readonly [status: number, code: string, detail: string]> = {
  HPE_HEADER_OVERFLOW: [431, 'request.headers-too-large', 'The request headers are too large.'],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'request.timeout', 'The request took too long to arrive.'],
  [CONNECT_REFUSED]: [400, 'request.malformed', 'CONNECT requests a tunnel, but this server is not a proxy.'],
};

interface ParserErrorContext {
  readonly options: Pick<HttpOptions, 'publicUrl'>;
  readonly stats: HttpStats;
  readonly uploads: Uploads;
  readonly connections: Connections;
  readonly apis: Apis;
}

/** Answers bytes that Node's HTTP parser refuses, with 431, 408 or 400, and ends the connection. */
export function answerParserError(
  error: NodeJS.ErrnoException,
  socket: Socket,
  { options, stats, uploads, connections, apis }: ParserErrorContext,
): void {
  const isLate = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
  if (isLate && (uploads.allow(socket) || connections.isAnswering(socket))) return;
  if (error.code === 'ECONNRESET') {
    socket.destroy();
    return;
  }
  connections.endWith(socket, () => {
    const [status, code, detail] = PARSER_ERRORS[error.code ?? ''] ?? MALFORMED;
    stats.unmatched(apis[0]).count('', status, 0, code);
    return rawAnswer(new AppError({ status, code, detail }), options);
  });
}

/** A complete HTTP answer as text, for a connection that has no request to reply to. */
function rawAnswer(error: AppError, options: Pick<HttpOptions, 'publicUrl'>): string {
  const requestId = randomUUID();
  const problem = problemOf(error, requestId);
  const body = JSON.stringify(problem);
  const headers = {
    ...securityHeaders(requestId, options),
    'content-type': 'application/problem+json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${String(error.status)} ${String(problem['title'])}\r\n${lines.join('')}\r\n${body}`;
}

/** Answers what Fastify's router refuses before any hook runs, such as a URL with a broken escape. */
export function answerRouterError(
  error: Error,
  request: FastifyRequest,
  reply: FastifyReply,
  {
    filter,
    options,
    stats,
    apis,
  }: { filter: ErrorFilter; options: Pick<HttpOptions, 'publicUrl'>; stats: HttpStats; apis: Apis },
): void {
  void reply.headers(securityHeaders(request.id, options));
  filter.answer(error, request, reply);
  stats.unmatched(apis[0]).count(request.method, reply.statusCode, 0, request.errorCode);
}
