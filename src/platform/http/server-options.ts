import type { ServerOptions } from 'node:http';

/** Bytes of the request line and the headers. Longer requests are answered with 431. */
const MAX_HEADER_BYTES = 32 * 1024;
/** Milliseconds in which headers and body must arrive. After that, the connection ends with 408. */
const REQUEST_TIMEOUT_MS = 15_000;
/** Milliseconds between Node's checks for requests that did not arrive in time. Its default is half a minute. */
const CHECK_INTERVAL_MS = 5_000;
/** Milliseconds that an idle connection is kept, a little longer than proxies and load balancers keep theirs. */
const KEEP_ALIVE_MS = 72_000;

/** Limits that Node enforces on every listener, before there is a request. */
export const SERVER_OPTIONS: ServerOptions = {
  maxHeaderSize: MAX_HEADER_BYTES,
  // Node uses the shorter of these two for the headers, and the longer one for the body.
  headersTimeout: REQUEST_TIMEOUT_MS,
  requestTimeout: REQUEST_TIMEOUT_MS,
  connectionsCheckingInterval: CHECK_INTERVAL_MS,
  keepAliveTimeout: KEEP_ALIVE_MS,
  // checkHost() refuses such requests with a problem document. Node's own answer would have none.
  requireHostHeader: false,
};
