import { AsyncResource } from 'node:async_hooks';
import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { performance } from 'node:perf_hooks';
import { SendQueues } from './send-queues.ts';

/** Limits on what connections may cost. Tests lower them. */
export interface ConnectionLimits {
  /** Requests of one connection that are handled at once. Further pipelined requests wait for their turn. */
  readonly maxHandled: number;
  /** Waiting requests of all connections together, about 3 KB each. A connection that sends one more is closed. */
  readonly maxWaiting: number;
  /** Milliseconds for which a client may read nothing of its answers. Its connection ends up to two thirds later. */
  readonly stallMs: number;
  /** Milliseconds from a request's arrival until it is answered 503. */
  readonly deadlineMs: number;
}

export const CONNECTION_LIMITS: ConnectionLimits = {
  maxHandled: 4,
  maxWaiting: 10_000,
  stallMs: 30_000,
  // Well within the five seconds that the contract promises (§5).
  deadlineMs: 4_000,
};
/** Checks of a connection during `stallMs`. */
const LOOKS = 3;
/** Milliseconds that a client has to read the last answer of its connection. */
const LAST_ANSWER_MS = 2_000;

interface Connection {
  /** Responses whose handlers have begun and which have not been sent completely. */
  readonly handled: Set<ServerResponse>;
  /** Functions that begin a waiting request each. */
  readonly waiting: (() => void)[];
  /** When the client was first seen to read nothing, on the monotonic clock, and the bytes in the send queue then. */
  stalled: { readonly since: number; readonly queue: number | undefined } | undefined;
  /** When the connection was last checked. */
  lookedAt: number;
  /** Sends the last answer. Called once the answers to earlier requests have been sent. */
  last: (() => void) | undefined;
  isEnding: boolean;
}

const CONNECTION = Symbol('connection');
type ServerSocket = Socket & { [CONNECTION]?: Connection };

function connectionOf(socket: ServerSocket): Connection {
  return (socket[CONNECTION] ??= {
    handled: new Set(),
    waiting: [],
    stalled: undefined,
    lookedAt: -Infinity,
    last: undefined,
    isEnding: false,
  });
}

/** Whether a request that has arrived completely still waits for its answer. */
const isAnswering = ({ handled, waiting }: Connection): boolean =>
  waiting.length > 0 || [...handled].some(({ req }) => req.complete);

/** Closes an answer whose connection has ended. Node closes only the answer that it is sending, not those behind it. */
function abandon(response: ServerResponse): void {
  const internals = response as unknown as { destroyed: boolean; _closed: boolean };
  internals.destroyed = true;
  // `stream.finished()` reads this field if it is called later.
  internals._closed = true;
  response.emit('close');
}

/** Sends a last answer, and soon ends the connection even if the client does not. */
function end(socket: Socket, answer: string): void {
  connectionOf(socket).isEnding = true;
  const timer = setTimeout(() => {
    socket.destroy();
  }, LAST_ANSWER_MS).unref();
  socket.once('close', () => {
    clearTimeout(timer);
  });
  // A paused socket would not notice that the client has ended its half.
  socket.resume();
  socket.end(answer);
}

/** Limits how much each connection holds, and for how long. */
export class Connections {
  #waiting = 0;
  readonly #sendQueues = new SendQueues();
  readonly #open = new Map<Server, Set<Socket>>();

  constructor(readonly limits: ConnectionLimits) {}

  /**
   * Handles the requests of a server, a few of each connection at once.
   *
   * @param handle answers a request
   */
  watch(server: Server, handle: RequestListener): void {
    const { maxHandled, maxWaiting, stallMs } = this.limits;
    const begin = (connection: Connection, request: IncomingMessage, response: ServerResponse): void => {
      connection.handled.add(response);
      // The event comes only once, and `once()` would cost more.
      response.on('close', ended);
      handle(request, response);
    };
    // One function serves all answers, because a closure for each request would cost more.
    const ended = function (this: ServerResponse): void {
      const { socket } = this.req;
      const connection = connectionOf(socket);
      connection.handled.delete(this);
      if (socket.destroyed) return;
      const next = connection.waiting.shift();
      if (next) {
        release(1);
        if (connection.waiting.length === 0) socket.resume();
        next();
      }
      if (connection.last && !isAnswering(connection)) connection.last();
    };
    const release = (count: number): void => {
      this.#waiting -= count;
    };

    server.on('request', (request, response) => {
      const { socket } = request;
      // This request came in the same packet as one that ended the connection.
      if (socket.destroyed) return;
      const connection = connectionOf(socket);
      if (connection.handled.size < maxHandled && connection.waiting.length === 0) {
        begin(connection, request, response);
      } else if (this.#waiting < maxWaiting) {
        this.#waiting++;
        // The request begins in its own trace, not in that of the answer that it waits for.
        connection.waiting.push(
          AsyncResource.bind(() => {
            begin(connection, request, response);
          }),
        );
        socket.pause();
      } else {
        socket.destroy();
      }
    });
    this.#track(server);
    this.#watchStalls(server, stallMs / LOOKS);
  }

  /** Keeps track of the open connections of a server, and cleans up when one closes. */
  #track(server: Server): void {
    const open = new Set<Socket>();
    this.#open.set(server, open);
    server.on('connection', (socket) => {
      open.add(socket);
      socket.once('close', () => {
        open.delete(socket);
        const { handled, waiting } = connectionOf(socket);
        this.#waiting -= waiting.length;
        waiting.length = 0;
        for (const response of handled) if (response.socket === null) abandon(response);
      });
    });
  }

  /** @param lookMs milliseconds between checks of a connection whose client reads nothing */
  #watchStalls(server: Server, lookMs: number): void {
    // Node checks after this time whether anything was sent or received, and once more if a write was in progress.
    server.timeout = lookMs;
    server.on('timeout', (socket: ServerSocket) => {
      // An idle connection has another timeout, the keep-alive one.
      if (socket.timeout !== lookMs) socket.destroy();
      else void this.#lookAt(socket, lookMs);
    });
  }

  /** Ends a connection whose client has read nothing for too long. */
  async #lookAt(socket: ServerSocket, lookMs: number): Promise<void> {
    const connection = connectionOf(socket);
    if (socket.writableLength > 0) {
      const queue = await this.#sendQueues.of(socket);
      // The connection has ended or become idle in the meantime.
      if (socket.destroyed || socket.timeout !== lookMs) return;
      const { stalled, lookedAt } = connection;
      const now = performance.now();
      // Node skips checks while the client reads, so a longer gap means that it has read something.
      const isStill = stalled?.queue === queue && now - lookedAt < 1.5 * lookMs;
      connection.lookedAt = now;
      if (!stalled || !isStill) connection.stalled = { since: now, queue };
      // Timers sometimes fire a millisecond early.
      else if (now - stalled.since > this.limits.stallMs - lookMs / 2) socket.destroy();
    } else {
      connection.stalled = undefined;
    }
    socket.setTimeout(lookMs);
  }

  /**
   * Answers bytes that are not a request, after the answers to earlier requests, and ends the connection.
   *
   * @param answer makes the whole answer
   */
  endWith(socket: Socket, answer: () => string): void {
    const connection = connectionOf(socket);
    if (connection.isEnding) return;
    const last = (): void => {
      const [unfinished] = connection.handled;
      // An answer that has begun leaves no room for another one.
      if (!socket.writable || unfinished?.headersSent) socket.destroy();
      else end(socket, answer());
    };
    if (isAnswering(connection)) connection.last ??= last;
    else last();
  }

  /** Ends the connections of a server without a request in progress, also those that never had one. */
  closeUnused(server: Server): void {
    for (const socket of this.#open.get(server) ?? []) {
      const { handled, waiting, isEnding } = connectionOf(socket);
      if (handled.size === 0 && waiting.length === 0 && !isEnding) socket.destroy();
    }
  }

  /** Whether the client waits for answers. Its next request may then be late without its fault. */
  isAnswering(socket: Socket): boolean {
    return isAnswering(connectionOf(socket));
  }
}
