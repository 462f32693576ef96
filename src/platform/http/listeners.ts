import type { FastifyInstance, FastifyRequest } from 'fastify';
import { once } from 'node:events';
import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerOptions } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { OperatorError } from '../common/operator-error.ts';
import type { Connections } from './connections.ts';
import type { Api } from './route-api.ts';

export type Apis = readonly [Api, ...Api[]];
type PortVariable = 'PORT' | 'ADMIN_PORT' | 'OPS_PORT';

/** The ports besides `PORT`. 0 lets the system choose one. */
export interface Ports {
  readonly adminPort: number | undefined;
  readonly opsPort: number | undefined;
}

const SERVED = Symbol('the APIs that the listener serves');
type TaggedRequest = IncomingMessage & { [SERVED]?: Apis };

const REASONS: Record<string, string> = {
  EADDRINUSE: 'the port is in use',
  EACCES: 'the system does not permit it',
  EADDRNOTAVAIL: 'this machine does not have that address',
};

/** A port cannot be opened. */
export class ListenError extends OperatorError {
  constructor(variable: PortVariable, host: string, port: number, cause: unknown) {
    const { code = '', message } = cause as NodeJS.ErrnoException;
    const reason = REASONS[code] ?? message;
    super(
      `Listening on ${host}:${String(port)} failed: ${reason}. Change ${variable}${code === 'EADDRINUSE' ? '' : ' or HOST'}.`,
      {
        cause,
      },
    );
  }
}

/** The URL of a listener for a browser on this machine. */
export function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  const name = address === '0.0.0.0' || address === '::' ? '127.0.0.1' : family === 'IPv6' ? `[${address}]` : address;
  return `http://${name}:${String(port)}`;
}

/** Answers bytes that are not a valid HTTP request, on a listener that serves these APIs. */
type Refuse = (error: NodeJS.ErrnoException, socket: Socket, apis: Apis) => void;

/** The code for CONNECT, which asks for a tunnel. Node would end the connection without an answer. */
export const CONNECT_REFUSED = 'LATCHKEY_CONNECT';

/** Answers requests that Node would otherwise answer itself or not at all. */
function answerInstead(server: Server, apis: Apis, refuse: Refuse): void {
  // Node would answer 417 to an unknown expectation, which a server may ignore (RFC 9110 §10.1.1).
  server.on('checkExpectation', (request, response) => server.emit('request', request, response));
  server.on('connect', (_request, socket) => {
    // Node has removed its own error listener from this socket.
    socket.on('error', () => socket.destroy());
    refuse(Object.assign(new Error('CONNECT'), { code: CONNECT_REFUSED }), socket as Socket, apis);
  });
}

/** A further port. The same Fastify answers its requests. */
class Listener {
  readonly server: Server;
  #closed: Promise<unknown> | undefined;

  constructor(
    private readonly variable: PortVariable,
    private readonly port: number,
    readonly apis: Apis,
    create: (handle: RequestListener) => Server,
    fastify: () => FastifyInstance,
  ) {
    this.server = create((request: TaggedRequest, response) => {
      request[SERVED] = apis;
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

  /** Stops accepting connections. Resolves when the last one has ended. */
  close(): Promise<unknown> {
    // A server that never listened passes an error, which is ignored: it has no connections.
    this.#closed ??= new Promise((resolve) => this.server.close(resolve));
    return this.#closed;
  }
}

/**
 * The ports of the process. Fastify owns the public one. The others pass their requests to the same Fastify, tagged
 * with the APIs that the port serves.
 */
export class Listeners {
  readonly #staff: Listener | undefined;
  readonly #ops: Listener | undefined;
  readonly #public: Apis;
  #fastify: FastifyInstance | undefined;
  /** Milliseconds that idle connections stay open after the listeners have closed. */
  lingerMs = 0;

  /** @param options the options of every server, so that all have the same limits */
  constructor(
    { adminPort, opsPort }: Ports,
    private readonly options: ServerOptions,
    private readonly connections: Connections,
  ) {
    const create = this.create.bind(this);
    const fastify = (): FastifyInstance => {
      if (!this.#fastify) throw new Error('A request came before there was anything to answer it');
      return this.#fastify;
    };
    this.#public = adminPort === undefined ? ['partner', 'staff'] : ['partner'];
    if (adminPort !== undefined) {
      this.#staff = new Listener('ADMIN_PORT', adminPort, ['staff'], create, fastify);
    }
    if (opsPort !== undefined) this.#ops = new Listener('OPS_PORT', opsPort, ['ops'], create, fastify);
  }

  /** Creates a server with limits on its connections. Also Fastify's `serverFactory`. */
  create(handle: RequestListener): Server {
    const server = createServer(this.options);
    this.connections.watch(server, handle);
    return server;
  }

  /** Makes Fastify answer the requests of all ports. */
  attach(fastify: FastifyInstance, refuse: Refuse): void {
    this.#fastify = fastify;
    answerInstead(fastify.server, this.#public, refuse);
    for (const { server, apis } of this.#further) {
      answerInstead(server, apis, refuse);
      server.on('clientError', (error, socket) => {
        refuse(error, socket as Socket, apis);
      });
    }
  }

  /** The APIs of the listener at which a request arrived. */
  servedTo(request: FastifyRequest): Apis {
    return (request.raw as TaggedRequest)[SERVED] ?? this.#public;
  }

  /** The APIs of the public port. */
  get publicApis(): Apis {
    return this.#public;
  }

  /** The servers of partners and staff. All of their requests are answered before the process ends. */
  get requested(): Server[] {
    return [this.#fastify, this.#staff].flatMap((of) => (of ? [of.server as Server] : []));
  }

  /** Opens the further ports. @throws ListenError */
  async open(host: string): Promise<{ staff: string | undefined; ops: string | undefined }> {
    return { ops: await this.#ops?.open(host), staff: await this.#staff?.open(host) };
  }

  /** Stops accepting staff connections, while Fastify stops for the public port. Resolves when the last has ended. */
  async drain(): Promise<void> {
    await this.#staff?.close();
  }

  /** Closes idle connections of partners and staff, but not of operators. */
  closeIdleConnections(): void {
    this.#fastify?.server.closeIdleConnections();
    this.#staff?.server.closeIdleConnections();
  }

  /** Closes all connections of partners and staff, even those with a request in progress. */
  cut(): void {
    this.#fastify?.server.closeAllConnections();
    this.#staff?.server.closeAllConnections();
  }

  /** Closes the operators' port. Called last, so that probes and scrapes are answered until then. */
  async end(): Promise<void> {
    const closed = this.#ops?.close();
    this.#ops?.server.closeAllConnections();
    await closed;
  }

  get #further(): Listener[] {
    return [this.#staff, this.#ops].filter((listener) => listener !== undefined);
  }
}
