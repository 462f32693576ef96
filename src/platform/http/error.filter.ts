import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { STATUS_CODES } from 'node:http';
import { AppError } from '../common/errors.ts';
import { postgresError } from '../common/postgres-errors.ts';
import type { RouteSettings } from './fastify-types.ts';

/** The answers to Fastify's own errors. Its other 4xx errors keep their status and get a general text. */
const FASTIFY_ERRORS: Record<string, [code: string, detail: string]> = {
  FST_ERR_CTP_BODY_TOO_LARGE: ['request.too-large', 'The request body is too large.'],
  FST_ERR_CTP_INVALID_MEDIA_TYPE: ['request.unsupported-content-type', 'The body must be application/json.'],
  FST_ERR_CTP_INVALID_JSON_BODY: ['request.malformed-json', 'The body is not valid JSON.'],
  FST_ERR_CTP_INVALID_CONTENT_LENGTH: ['request.malformed', 'The length of the body differs from Content-Length.'],
  FST_ERR_BAD_URL: ['request.bad-url', 'The URL is not valid.'],
};

const GENERAL: Record<number, [code: string, detail: string]> = {
  400: ['request.malformed', 'The request is malformed.'],
  404: ['route.not-found', 'There is nothing at this path.'],
  408: ['request.timeout', 'The request took too long to arrive.'],
  413: ['request.too-large', 'The request body is too large.'],
  414: ['request.uri-too-long', 'The URL is too long.'],
  415: ['request.unsupported-content-type', 'The body must be application/json.'],
  431: ['request.headers-too-large', 'The request headers are too large.'],
};

/** Turns anything that was thrown into one of Latchkey's errors, with the original as its private cause. */
function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  const fromPostgres = postgresError(error);
  if (fromPostgres) return fromPostgres;
  // Nest wraps Fastify's 4xx errors and keeps the original as the cause.
  const source = error instanceof HttpException && error.cause !== undefined ? error.cause : error;
  const { code, statusCode } = source as { code?: unknown; statusCode?: unknown };
  const status = error instanceof HttpException ? error.getStatus() : typeof statusCode === 'number' ? statusCode : 500;
  if (status >= 400 && status < 500) {
    const known = FASTIFY_ERRORS[String(code)] ?? GENERAL[status] ?? ['request.refused', 'The request was refused.'];
    return new AppError({ status, code: known[0], detail: known[1] }, error);
  }
  return new AppError(
    {
      status: 500,
      code: 'server.error',
      detail: 'Something went wrong on the server. Quote the request id when you report this.',
    },
    error,
  );
}

/** The title of a problem, which follows from its status (RFC 9457 §3.1.3). */
export const titleOf = (status: number): string => STATUS_CODES[status] ?? 'Error';

/** The `application/problem+json` document of an error (RFC 9457). */
export function problemOf(error: AppError, requestId: string): Record<string, unknown> {
  return {
    type: `urn:latchkey:problem:${error.code}`,
    title: titleOf(error.status),
    status: error.status,
    detail: error.message,
    code: error.code,
    requestId,
    ...error.extension,
    ...(error.errors && { errors: error.errors }),
  };
}

/** The one place where errors become HTTP answers. */
@Catch()
export class ErrorFilter implements ExceptionFilter {
  catch(thrown: unknown, host: ArgumentsHost): void {
    const http = host.switchToHttp();
    this.answer(thrown, http.getRequest<FastifyRequest>(), http.getResponse<FastifyReply>());
  }

  /** Answers an error. Also called for errors of Fastify's router and parsers, outside of Nest's routes. */
  answer(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const error = toAppError(thrown);
    request.errorCode = error.code;
    if (error.status >= 500) {
      const level = error.status === 503 ? 'warn' : 'error';
      request.log[level]({ requestId: request.id, err: error.cause ?? error, code: error.code }, 'request failed');
    }
    // The deadline has answered, the client has gone, or an answer has begun.
    if (reply.sent || reply.raw.headersSent) return;
    void reply.status(error.status).headers(error.headers);
    const settings: RouteSettings = request.unknownRoute?.settings ?? request.routeOptions.config;
    if (settings.renderError) {
      settings.renderError(error, request, reply);
    } else {
      void reply.type('application/problem+json; charset=utf-8').send(JSON.stringify(problemOf(error, request.id)));
    }
  }
}
