import type { Server } from 'node:http';
import { performance } from 'node:perf_hooks';

/**
 * How long idle connections are kept after the listener was closed, where a proxy may be about to send on one: longer
 * than the proxy keeps them itself, and short enough for the last request's deadline within the time of a stop.
 */
export const LINGER_MS = 4_000;
/** How long the listener stays at most for connections that wait to be accepted. */
const ACCEPT_MS = 1_000;
/**
 * Before that, a silence is waited for: no answer under way, and nobody who connects. Whoever gets an answer may connect
 * again, and takes a moment for it; a refused sign-in takes 250 ms.
 */
const SILENCE_MS = 20;
const SILENT_AFTER_MS = 300;
const QUIET_TURNS = 3;
/**
 * How long such a turn may take at first, since who connects during the last one is lost; twice as long after each so many
 * milliseconds, for machines that are busy.
 */
const QUIET_TURN_MS = 0.1;
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
 * Waits until there is silence, or has been none for too long. Then for a few turns, one after the other, in which none
 * came, and so short that hardly one can have come since.
 *
 * @param isAnswering whether answers are under way
 * @param done closes the listeners, at once
 */
export function acceptWaiting(servers: readonly Server[], isAnswering: () => boolean, done: () => void): void {
  const start = performance.now();
  let heardAt = start;
  let firstTurnAt = start;
  // None has yet.
  let turnBegunAt = -Infinity;
  let quietTurns = 0;
  const note = (): void => {
    heardAt = performance.now();
  };
  for (const server of servers) server.on('connection', note);

  const listen = (): void => {
    const now = performance.now();
    if (isAnswering()) heardAt = now;
    if (now - heardAt < SILENCE_MS && now - start < SILENT_AFTER_MS) setTimeout(listen, 1);
    else {
      firstTurnAt = now;
      // The first one ends the present turn, and looks at nothing.
      setImmediate(turn);
    }
  };
  const turn = (): void => {
    const now = performance.now();
    const patienceMs = QUIET_TURN_MS * 2 ** Math.floor((now - firstTurnAt) / DOUBLE_MS);
    const isQuiet = heardAt < turnBegunAt && now - turnBegunAt <= patienceMs;
    quietTurns = isQuiet ? quietTurns + 1 : 0;
    if (quietTurns < QUIET_TURNS && now - start <= ACCEPT_MS) {
      turnBegunAt = now;
      setImmediate(turn);
      return;
    }
    for (const server of servers) server.off('connection', note);
    done();
  };
  listen();
}
