import type { HttpOptions } from './fastify-types.ts';

/** The headers of every answer, including those to unknown routes and to bytes that are no HTTP request. */
export function securityHeaders(
  requestId: string,
  { publicUrl }: Pick<HttpOptions, 'publicUrl'>,
): Record<string, string> {
  return {
    'x-request-id': requestId,
    'x-content-type-options': 'nosniff',
    'cache-control': 'no-store',
    // A year in seconds. RFC 6797 §7.2 forbids the header over plain HTTP.
    ...(publicUrl.startsWith('https:') && { 'strict-transport-security': 'max-age=31536000' }),
  };
}
