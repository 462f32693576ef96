import type { FastifyInstance, FastifyRequest } from 'fastify';
import { AppError } from '../common/errors.ts';
import type { RouteSettings } from './fastify-types.ts';
import { UPLOAD_TYPES } from './uploads.ts';

const MAX_JSON_BYTES = 256 * 1024;
/** Bytes of a body on public routes and of a form. Clients send little there. */
export const MAX_PUBLIC_BYTES = 8 * 1024;

const JSON_TYPE = 'application/json';
const FORM_TYPE = 'application/x-www-form-urlencoded';
/** The media type in lower case, without parameters. Empty when there is none. */
function mediaTypeOf(request: FastifyRequest): string {
  return (request.headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** Whether the headers announce a body. A chunked body may turn out to be empty. */
export function hasBody(request: FastifyRequest): boolean {
  return request.headers['transfer-encoding'] !== undefined || hasLength(request);
}

/** Whether Content-Length announces a body that is not empty. */
function hasLength(request: FastifyRequest): boolean {
  const { 'content-length': length } = request.headers;
  return length !== undefined && Number(length) !== 0;
}

const JSON_ONLY = [JSON_TYPE];
const FORM_ONLY = [FORM_TYPE];

/** 415, with the media types that the route accepts. */
function unsupportedContentType(expected: readonly string[] = JSON_ONLY): AppError {
  return new AppError({
    status: 415,
    code: 'request.unsupported-content-type',
    detail: `The body must be ${expected.join(' or ')}.`,
  });
}

/** `beforeBody` of a route that takes a form. @throws AppError 415 */
export function requireForm(request: FastifyRequest): void {
  if (mediaTypeOf(request) !== FORM_TYPE) throw unsupportedContentType(FORM_ONLY);
}

/**
 * Checks the type of a body before it is read. Clients without a body may send any content type, and some of them send
 * a chunked body without chunks, which {@link takeEmptyBody} reads.
 *
 * @throws AppError 415
 */
export function checkBody(request: FastifyRequest, { body: expected = JSON_ONLY }: RouteSettings): void {
  const { headers } = request;
  const announced = hasBody(request);
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? '';
  if (announced && coding !== '' && coding !== 'identity') {
    throw new AppError({
      status: 415,
      code: 'request.unsupported-content-encoding',
      detail: 'The body must not be compressed: send it without Content-Encoding.',
      headers: { 'accept-encoding': 'identity' },
    });
  }
  if (expected === 'form') return;
  if (!announced && headers['content-type'] === undefined) return;
  if (expected.includes(mediaTypeOf(request))) return;
  if (hasLength(request) || (announced && expected !== JSON_ONLY)) throw unsupportedContentType(expected);
  delete headers['content-type'];
}

/** The parser for bodies of any other type, which must be empty. */
function takeEmptyBody(
  _request: FastifyRequest,
  payload: NodeJS.ReadableStream,
  done: (error: Error | null, body?: unknown) => void,
): void {
  let isDone = false;
  const finish = (error: Error | null): void => {
    if (!isDone) done(error);
    isDone = true;
  };
  payload.once('data', () => {
    payload.pause();
    finish(unsupportedContentType());
  });
  payload.once('end', () => {
    finish(null);
  });
  payload.once('error', finish);
}

/** Replaces Fastify's parsers. A handler gets parsed JSON, the bytes of a form, or the stream of an upload. */
export function addBodyParsers(fastify: FastifyInstance): void {
  fastify.removeAllContentTypeParsers();
  const parseJson = fastify.getDefaultJsonParser('error', 'error');
  fastify.addContentTypeParser(JSON_TYPE, { parseAs: 'string', bodyLimit: MAX_JSON_BYTES }, (request, body, done) => {
    // Some clients send the header without a body, mostly with DELETE.
    if (body === '') done(null, undefined);
    else void parseJson(request, body as string, done);
  });
  fastify.addContentTypeParser(
    FORM_TYPE,
    { parseAs: 'buffer', bodyLimit: MAX_PUBLIC_BYTES },
    (_request, body, done) => {
      done(null, body);
    },
  );
  fastify.addContentTypeParser('*', takeEmptyBody);
  // The handler reads the stream, after it has checked that this client may send a file.
  fastify.addContentTypeParser([...UPLOAD_TYPES], (_request, payload, done) => {
    done(null, payload);
  });
}
