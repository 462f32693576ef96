import type { Server } from 'node:http';
import { performance } from 'node:perf_hooks';

/**
 * How long idle connections are kept after the listener was closed, where a proxy may be about to send on one: longer
 * than the proxy keeps them itself, and short enough for the last request's deadline within the time of a stop.
 */
export const LINGER_MS = 4_000;
/** How long the listener stays at most for connections that wait to be accepted. */
const ACCEPT_MS = 1_000;
const QUIET_TURNS = 3;
/** How long such a turn may take at first; twice as long after each so many milliseconds, for machines that are busy. */
const QUIET_TURN_MS = 0.5;
const DOUBLE_MS = 100;

/**
 * Node ends idle connections together with the listener. A proxy may have sent a request on one of them that has not
 * arrived yet, which nothing may send again unless it is idempotent (RFC 9110 §9.2.2). So they are kept for a while:
 * whatever comes is answered with `Connection: close`.
 *
 * @param lingerMs 0 leaves them to Node
 */
export function keepIdleConnections(server: Server, lingerMs: number): void {
  if (lingerMs === 0) return;
  server.closeIdleConnections = () => undefined;
  setTimeout(() => {
    delete (server as Partial<Server>).closeIdleConnections;
    server.closeIdleConnections();
  }, lingerMs).unref();
}

/**
 * Connections that wait to be accepted are lost with the listener, and Node accepts one in a turn of its loop only.
 * Waits for a few turns, one after the other, in which none came, and so short that hardly one can have come since.
 *
 * @param done closes the listeners, at once
 */
export function acceptWaiting(servers: readonly Server[], done: () => void): void {
  const start = performance.now();
  let begun = start;
  let accepted = true;
  let quietTurns = 0;
  const note = (): void => {
    accepted = true;
  };
  for (const server of servers) server.on('connection', note);
  const turn = (): void => {
    const now = performance.now();
    const patienceMs = QUIET_TURN_MS * 2 ** Math.floor((now - start) / DOUBLE_MS);
    quietTurns = accepted || now - begun > patienceMs ? 0 : quietTurns + 1;
    if (quietTurns === QUIET_TURNS || now - start > ACCEPT_MS) {
      for (const server of servers) server.off('connection', note);
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
