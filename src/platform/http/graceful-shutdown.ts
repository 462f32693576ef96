import type { Server } from 'node:http';
import { performance } from 'node:perf_hooks';
import type { Connections } from './connections.ts';
import type { Deadline } from './deadline.ts';
import type { Listeners } from './listeners.ts';

/**
 * Milliseconds that idle connections stay open after the listener closes, for a proxy that may still send on them.
 * Longer than proxies reuse them, and short enough that the last request's deadline fits into the time of a stop.
 */
export const LINGER_MS = 4_000;
/** Milliseconds that connections stay open if no proxy is waited for. A first request may be on its way. */
const UNUSED_MS = 1_000;
/** Milliseconds that the listener stays open at most, to accept the connections in the kernel's queue. */
const ACCEPT_MS = 1_000;
/**
 * Milliseconds without a request in progress or a new connection that are waited for first, since a client that got an
 * answer may connect again. `SILENT_AFTER_MS` ends the wait. It is longer than the 250 ms of a refused sign-in.
 */
const SILENCE_MS = 20;
const SILENT_AFTER_MS = 300;
const QUIET_TURNS = 3;
/**
 * Milliseconds that a quiet turn of the event loop may take, since a connection that arrives during the last one is
 * lost. On a busy machine turns are slower, so the limit doubles every `DOUBLE_MS`.
 */
const QUIET_TURN_MS = 0.1;
const DOUBLE_MS = 100;

/**
 * Keeps idle connections open for a while, which Node would close together with the listener. A proxy may just have
 * sent a request on one of them, and may not repeat it unless it is idempotent (RFC 9110 §9.2.2).
 *
 * @param lingerMs 0 lets Node close idle connections
 * @param closeUnused closes connections without a request in progress. Node does not close those that never had one
 */
function keepIdleConnections(server: Server, lingerMs: number, closeUnused: () => void): void {
  if (lingerMs > 0) server.closeIdleConnections = () => undefined;
  setTimeout(
    () => {
      delete (server as Partial<Server>).closeIdleConnections;
      closeUnused();
    },
    Math.max(lingerMs, UNUSED_MS),
  ).unref();
}

/**
 * Closing the listener drops connections in the kernel's accept queue, and Node accepts one in each turn of its loop.
 * This function therefore waits for silence, and then for a few consecutive turns without a new connection, which are
 * so short that hardly any connection can have arrived during the last one. Both waits are limited.
 *
 * @param isAnswering whether requests are being answered
 * @param done closes the listeners immediately
 */
function acceptWaiting(servers: readonly Server[], isAnswering: () => boolean, done: () => void): void {
  const start = performance.now();
  let heardAt = start;
  let firstTurnAt = start;
  // No turn has begun yet.
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
      // The first call only ends the current turn, in which nothing was checked.
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

/** Stops without losing a request: accepts the connections in the kernel's queue, answers all requests and closes. */
export class GracefulShutdown {
  #isClosing = false;
  #willCloseIdle = false;
  /**
   * Requests that arrive while the kernel's queue is accepted; absent at any other time. They wait, because a client
   * that gets no answer sends no further request, and so the queue becomes empty.
   */
  #held: (() => void)[] | undefined;

  constructor(
    private readonly listeners: Listeners,
    private readonly connections: Connections,
    private readonly deadline: Deadline,
  ) {}

  /** Begins a request. If the server is about to close its listeners, the request begins after that. */
  admit(begin: () => void): void {
    if (this.#held) this.#held.push(begin);
    else begin();
  }

  /** For Fastify's `preClose`. @param done closes the public listener */
  begin(done: () => void): void {
    const held = (this.#held = [] as (() => void)[]);
    const servers = this.listeners.requested;
    for (const server of servers) {
      keepIdleConnections(server, this.listeners.lingerMs, () => {
        this.connections.closeUnused(server);
      });
    }
    const isAnswering = (): boolean => this.deadline.pending > held.length;
    acceptWaiting(servers, isAnswering, () => {
      // Closes the staff listener. end() waits until it has closed.
      void this.listeners.drain();
      done();
      this.#isClosing = true;
      // While the listener was open, clients would have come back on new connections.
      this.deadline.endConnections();
      this.#held = undefined;
      for (const begin of held) begin();
    });
  }

  /** For Fastify's `onClose`. */
  async end(): Promise<void> {
    await this.listeners.drain();
    this.deadline.close();
  }

  /**
   * Closes idle connections once a request of a closing server has ended. An answer that had begun before the shutdown
   * does not say `Connection: close`, and the server waits for every connection.
   */
  requestEnded(): void {
    if (!this.#isClosing || this.#willCloseIdle) return;
    this.#willCloseIdle = true;
    // Called once for all requests that end in the same turn, since each call checks all connections.
    setImmediate(() => {
      this.#willCloseIdle = false;
      this.listeners.closeIdleConnections();
    });
  }
}
