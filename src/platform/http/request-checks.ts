import type { FastifyRequest } from 'fastify';
import { isIPv6 } from 'node:net';
import { AppError } from '../common/errors.ts';

class MalformedRequestError extends AppError {
  constructor(detail: string) {
    super({ status: 400, code: 'request.malformed', detail });
  }
}

/** Characters of a Host: the longest DNS name and a port. */
const MAX_HOST_LENGTH = 260;
/** A host name or IPv4 address (RFC 3986 §3.2.2). {@link isHost} checks IPv6 addresses. */
const HOST_NAME = /^(?:[\w.~!$&'()*+,;=-]|%[\da-f]{2})+$/i;

/** `host` or `host:port` (RFC 9110 §7.2). */
function isHost(value: string): boolean {
  if (value.length > MAX_HOST_LENGTH) return false;
  const bracket = value.lastIndexOf(']');
  const colon = value.indexOf(':', bracket + 1);
  const name = colon === -1 ? value : value.slice(0, colon);
  const port = colon === -1 ? '' : value.slice(colon + 1);
  if (!/^\d{0,5}$/.test(port) || Number(port) > 65_535) return false;
  return name.startsWith('[') ? bracket === name.length - 1 && isIPv6(name.slice(1, -1)) : HOST_NAME.test(name);
}

/** The last valid Host. Nearly all requests have the same one, so most need no further check. */
let knownHost: string | undefined;

/**
 * Requires exactly one valid Host (RFC 9112 §3.2; HTTP/1.0 may have none). Otherwise a proxy and this server could take
 * a request to be for different hosts.
 *
 * @throws AppError 400
 */
export function checkHost({ raw: { rawHeaders, httpVersion } }: FastifyRequest): void {
  let host: string | undefined;
  for (let i = 0; i < rawHeaders.length; i += 2) {
    const name = rawHeaders[i];
    if (name?.length !== 4 || name.toLowerCase() !== 'host') continue;
    // Node's parsed headers keep only the first Host, so the raw headers are checked.
    if (host !== undefined) throw new MalformedRequestError('The request has more than one Host header.');
    host = rawHeaders[i + 1] ?? '';
  }
  if (httpVersion === '1.0' && (host === undefined || host === '')) return;
  if (host === undefined || host === '') throw new MalformedRequestError('The Host header is missing.');
  if (host === knownHost) return;
  if (!isHost(host))
    throw new MalformedRequestError('The Host header must be a host name or address, optionally with a port.');
  knownHost = host;
}

/**
 * Refuses every Transfer-Encoding but `chunked`, the only one that Node decodes. Node itself refuses those that do not
 * end in `chunked`.
 *
 * @throws AppError 501 (RFC 9112 §6.1)
 */
export function checkTransferEncoding(request: FastifyRequest): void {
  const { 'transfer-encoding': encoding } = request.headers;
  if (encoding === undefined || encoding === 'chunked') return;
  if (encoding.trim().toLowerCase() === 'chunked') return;
  // The end of the body is unknown, so the connection cannot be reused.
  const headers = { connection: 'close' };
  const detail = 'The only supported Transfer-Encoding is chunked.';
  throw new AppError({ status: 501, code: 'request.unknown-transfer-encoding', detail, headers });
}
