import type { FastifyInstance, FastifyRequest } from 'fastify';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerOptions } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { RoutePlane } from './planes.ts';

export type Planes = readonly [RoutePlane, ...RoutePlane[]];
type PortVariable = 'PORT' | 'ADMIN_PORT' | 'OPS_PORT';

/** Which ports there are besides `PORT`; 0 lets the system choose. */
export interface Ports {
  readonly adminPort: number | undefined;
  readonly opsPort: number | undefined;
}

const SERVED = Symbol('the planes that the listener serves');
type TaggedRequest = IncomingMessage & { [SERVED]?: Planes };

const REASONS: Record<string, string> = {
  EADDRINUSE: 'something else does',
  EACCES: 'the system does not allow it',
  EADDRNOTAVAIL: 'this machine has no such address',
};

/** A port cannot be had. */
export class ListenError extends Error {
  constructor(variable: PortVariable, host: string, port: number, cause: unknown) {
    const { code = '', message } = cause as NodeJS.ErrnoException;
    const reason = REASONS[code] ?? message;
    super(
      `It cannot listen on ${host}:${String(port)}: ${reason}. Set ${variable}${code === 'EADDRINUSE' ? '' : ' or HOST'}.`,
      {
        cause,
      },
    );
  }
}

/** Where a browser on this machine finds a listener. */
export function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  const name = address === '0.0.0.0' || address === '::' ? '127.0.0.1' : family === 'IPv6' ? `[${address}]` : address;
  return `http://${name}:${String(port)}`;
}

/** Node would answer 417 by itself to what it does not know. It may be ignored (RFC 9110 §10.1.1). */
function ignoreExpectations(server: Server): void {
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
}

/** A further port, whose requests the same Fastify answers. */
class Listener {
  readonly server: Server;
  #closed: Promise<unknown> | undefined;

  constructor(
    private readonly variable: PortVariable,
    private readonly port: number,
    readonly planes: Planes,
    options: ServerOptions,
    fastify: () => FastifyInstance,
  ) {
    this.server = createServer(options, (request: TaggedRequest, response) => {
      request[SERVED] = planes;
      fastify().routing(request, response);
    });
  }

  async open(host: string): Promise<string> {
    this.server.listen(this.port, host);
    try {
      await once(this.server, 'listening');
    } catch (error) {
      throw new ListenError(this.variable, host, this.port, error);
    }
    return urlOf(this.server);
  }

  /** Takes no more connections. Resolves when the last one has ended. */
  close(): Promise<unknown> {
    // A server that never listened says so, and has no connections.
    this.#closed ??= new Promise((resolve) => this.server.close(resolve));
    return this.#closed;
  }
}

/**
 * The ports of the process. Fastify owns the public one; the others hand their requests to the same Fastify, each with
 * the planes that it serves.
 */
export class Listeners {
  readonly #staff: Listener | undefined;
  readonly #ops: Listener | undefined;
  readonly #public: Planes;
  #fastify: FastifyInstance | undefined;
  /** How long idle connections are kept after the listeners were closed, in milliseconds. */
  lingerMs = 0;

  /** @param options those of the public server: what it limits, all limit */
  constructor({ adminPort, opsPort }: Ports, options: ServerOptions) {
    const fastify = (): FastifyInstance => {
      if (!this.#fastify) throw new Error('A request came before there was anything to answer it');
      return this.#fastify;
    };
    this.#public = adminPort === undefined ? ['partner', 'staff'] : ['partner'];
    if (adminPort !== undefined) {
      this.#staff = new Listener('ADMIN_PORT', adminPort, ['staff'], options, fastify);
    }
    if (opsPort !== undefined) this.#ops = new Listener('OPS_PORT', opsPort, ['ops'], options, fastify);
  }

  /**
   * Lets Fastify answer, under the limits of its own server.
   *
   * @param refuse answers what is no HTTP request, on a listener with these planes
   */
  attach(fastify: FastifyInstance, refuse: (error: Error, socket: Socket, planes: Planes) => void): void {
    this.#fastify = fastify;
    ignoreExpectations(fastify.server);
    const { keepAliveTimeout, headersTimeout, requestTimeout, timeout, maxRequestsPerSocket } = fastify.server;
    for (const { server, planes } of this.#further) {
      Object.assign(server, { keepAliveTimeout, headersTimeout, requestTimeout, timeout, maxRequestsPerSocket });
      ignoreExpectations(server);
      server.on('clientError', (error, socket) => {
        refuse(error, socket as Socket, planes);
      });
    }
  }

  /** The planes that are served where a request came in. */
  servedTo(request: FastifyRequest): Planes {
    return (request.raw as TaggedRequest)[SERVED] ?? this.#public;
  }

  /** What the public port serves. */
  get publicPlanes(): Planes {
    return this.#public;
  }

  /** The servers whose requests are all answered before the process ends. */
  get requested(): Server[] {
    return [this.#fastify, this.#staff].flatMap((of) => (of ? [of.server as Server] : []));
  }

  /** Opens the further ports. @throws ListenError */
  async open(host: string): Promise<{ staff: string | undefined; ops: string | undefined }> {
    return { ops: await this.#ops?.open(host), staff: await this.#staff?.open(host) };
  }

  /** Takes no more requests of staff, when Fastify takes none of partners. Resolves when the last connection has ended. */
  async drain(): Promise<void> {
    await this.#staff?.close();
  }

  /** Ends connections on which no request is under way, but for those of the operators. */
  closeIdleConnections(): void {
    this.#fastify?.server.closeIdleConnections();
    this.#staff?.server.closeIdleConnections();
  }

  /** As {@link closeIdleConnections}, whatever is under way. */
  cut(): void {
    this.#fastify?.server.closeAllConnections();
    this.#staff?.server.closeAllConnections();
  }

  /** Last of all: until now, probes and scrapes were answered. */
  async end(): Promise<void> {
    const closed = this.#ops?.close();
    this.#ops?.server.closeAllConnections();
    await closed;
  }

  get #further(): Listener[] {
    return [this.#staff, this.#ops].filter((listener) => listener !== undefined);
  }
}
