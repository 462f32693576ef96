import type { LookupAddress } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import type { DeliveryError } from './notice-delivery.entity.ts';

/** Of an answer nothing but the status counts; so much of the rest is read, so that the connection ends in peace. */
const MAX_ANSWER_BYTES = 16 * 1024;
const MAX_ANSWER_MS = 1_000;

/** No agent of others, which may know a proxy from the environment; and no connection that is kept. */
const AGENTS = { 'http:': new http.Agent({ keepAlive: false }), 'https:': new https.Agent({ keepAlive: false }) };

const TLS_CODES = /^(ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|HOSTNAME_MISMATCH|EPROTO)/;

/** Says what an error of {@link post} was about. */
export function deliveryErrorOf(error: unknown): DeliveryError {
  const { code = '', name = '' } = error as { code?: string; name?: string };
  if (name === 'TimeoutError') return 'timed_out';
  if (code.startsWith('HPE_')) return 'invalid_response';
  return TLS_CODES.test(code) ? 'tls_failed' : 'connection_failed';
}

/**
 * Sends a body to addresses that were checked, and to no others: the name is not looked up again. Redirects are not
 * followed.
 *
 * @param signal ends it
 * @returns the status of the answer
 */
export async function post(
  url: URL,
  {
    addresses,
    headers,
    body,
    signal,
  }: { addresses: readonly LookupAddress[]; headers: Record<string, string>; body: string; signal: AbortSignal },
): Promise<number> {
  const lookup: LookupFunction = (_, { all }, callback) => {
    const [first] = addresses;
    if (all === true) callback(null, [...addresses]);
    else callback(null, first?.address ?? '', first?.family);
  };
  const secure = url.protocol === 'https:';
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const request = (secure ? https : http).request(url, {
    method: 'POST',
    agent: AGENTS[secure ? 'https:' : 'http:'],
    lookup,
    headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
    signal,
  });
  let status: number | undefined;
  request.on('response', (answer) => {
    status = answer.statusCode;
    let left = MAX_ANSWER_BYTES;
    const cut = setTimeout(() => answer.destroy(), MAX_ANSWER_MS);
    answer.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) answer.destroy();
    });
    // What goes wrong after the status does not matter any more.
    answer.on('error', () => undefined);
    answer.on('close', () => {
      clearTimeout(cut);
    });
  });
  request.on('error', (error) => {
    if (status === undefined) reject(signal.aborted ? (signal.reason as Error) : error);
  });
  request.on('close', () => {
    if (status !== undefined) resolve(status);
    else reject(new Error('The connection ended without an answer'));
  });
  request.end(body);
  return promise;
}
