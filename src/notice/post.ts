import type { LookupAddress } from 'node:dns';
import http from 'node:http';
import https from 'node:https';
import type { LookupFunction } from 'node:net';
import type { DeliveryError } from './notice-delivery.entity.ts';

/** Bytes of an answer's body that are read, so that the connection can end normally. Only the status counts. */
const MAX_ANSWER_BYTES = 16 * 1024;
/** Milliseconds for which an answer's body is read. */
const MAX_ANSWER_MS = 1_000;

/** Our own agents, since the global ones may use a proxy of the environment. Connections are not reused. */
const AGENTS = { 'http:': new http.Agent({ keepAlive: false }), 'https:': new https.Agent({ keepAlive: false }) };

const TLS_CODES = /^(ERR_TLS|ERR_SSL|CERT_|SELF_SIGNED|DEPTH_ZERO|UNABLE_TO|HOSTNAME_MISMATCH|EPROTO)/;

/** Classifies an error of {@link post}. */
export function deliveryErrorOf(error: unknown): DeliveryError {
  const { code = '', name = '' } = error as { code?: string; name?: string };
  if (name === 'TimeoutError') return 'timed_out';
  if (code.startsWith('HPE_')) return 'invalid_response';
  return TLS_CODES.test(code) ? 'tls_failed' : 'connection_failed';
}

/**
 * Posts a body to a URL. Connects only to the addresses given, which were checked, and does not resolve the name again.
 * Does not follow redirects.
 *
 * @param signal aborts the request
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
    // Errors after the status do not matter.
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
    else reject(new Error('The connection ended without a response'));
  });
  request.end(body);
  return promise;
}
