import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { fastify, type FastifyInstance, LogController } from 'fastify';
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { AppModule } from '../app.module.ts';
import type { Application } from '../application.ts';
import { CONNECTION_LIMITS, type ConnectionLimits, Connections } from '../platform/http/connections.ts';
import { ErrorFilter } from '../platform/http/error.filter.ts';
import { prepareFastify } from '../platform/http/server-hooks.ts';
import { answerParserError, answerRouterError } from '../platform/http/parser-errors.ts';
import { MAX_PARAM_LENGTH, RouteTable } from '../platform/http/route-table.ts';
import { SERVER_OPTIONS } from '../platform/http/server-options.ts';
import { Lifecycle } from '../platform/common/lifecycle.ts';
import { ListenError, Listeners, urlOf } from '../platform/http/listeners.ts';
import { NestLogger, requestLines } from '../platform/common/logging.ts';
import { DtoPipe } from '../platform/api/validation.ts';
import type { Config } from '../platform/config/config.ts';

/** Milliseconds for the requests in progress when the server stops. After that, their connections are cut. */
const DRAIN_MS = 8_000;

/** The URLs of the listeners. */
export interface Urls {
  readonly public: string;
  /** Absent when the public listener also serves staff. */
  readonly staff: string | undefined;
  readonly ops: string | undefined;
}

export class App {
  constructor(
    readonly nest: NestFastifyApplication,
    /** Every route of the server. */
    readonly table: RouteTable,
    private readonly listeners: Listeners,
  ) {}

  /**
   * Opens all ports, the public one last.
   *
   * @param port the public port. 0 lets the system choose one
   * @throws ListenError
   */
  async listen(host: string, port: number): Promise<Urls> {
    await this.nest.init();
    await this.nest.getHttpAdapter().getInstance().ready();
    const further = await this.listeners.open(host);
    try {
      await this.nest.listen(port, host);
    } catch (error) {
      throw (error as NodeJS.ErrnoException).syscall === 'listen' ? new ListenError('PORT', host, port, error) : error;
    }
    this.nest.get(Lifecycle).state = 'serving';
    return { ...further, public: urlOf(this.nest.getHttpServer()) };
  }

  /**
   * Reports the shutdown to probes, answers the received requests, and ends everything but the operators' listener,
   * which {@link end} closes.
   *
   * @param lingerMs milliseconds for which a proxy may still use its idle connections
   */
  async close(lingerMs = 0): Promise<void> {
    this.listeners.lingerMs = lingerMs;
    this.nest.get(Lifecycle).state = 'shutting-down';
    const cut = setTimeout(() => {
      this.listeners.cut();
    }, DRAIN_MS);
    try {
      await this.nest.close();
    } finally {
      clearTimeout(cut);
    }
  }

  /** Closes the operators' listener. Called after everything else has ended. */
  async end(): Promise<void> {
    await this.listeners.end();
  }
}

export interface AppOptions {
  /** Builds the module graph and the routes without creating providers or connections. */
  readonly preview?: boolean;
  /** Modules and migrations besides those of `src`. */
  readonly application?: Application;
  readonly connectionLimits?: ConnectionLimits;
}

/**
 * Builds the application without listening. `main`, the tests and the OpenAPI writer use it.
 *
 * @param config the complete configuration
 * @param logger the logger for every line
 */
export async function createApp(
  config: Config,
  logger: Logger,
  { preview = false, application = {}, connectionLimits = CONNECTION_LIMITS }: AppOptions = {},
): Promise<App> {
  const filter = new ErrorFilter();
  const table = new RouteTable();
  const connections = new Connections(connectionLimits);
  const listeners = new Listeners(config, SERVER_OPTIONS, connections);
  const instance = fastify({
    loggerInstance: logger,
    // RequestLog writes the one line of each request.
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    // A child logger for each request costs more than adding the request's id to the few lines that need it.
    childLoggerFactory: (parent) => parent,
    serverFactory: (handle) => listeners.create(handle),
    // The requests received before a shutdown are still answered.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    routerOptions: { maxParamLength: MAX_PARAM_LENGTH },
    clientErrorHandler: (error, socket) => {
      const { stats, uploads } = instance;
      answerParserError(error, socket, {
        options: config,
        stats,
        uploads,
        connections,
        apis: listeners.publicApis,
      });
    },
    frameworkErrors: (error, request, reply) => {
      const apis = listeners.servedTo(request);
      answerRouterError(error, request, reply, { filter, options: config, stats: instance.stats, apis });
    },
  }) as unknown as FastifyInstance;
  prepareFastify(instance, {
    filter,
    table,
    listeners,
    connections,
    options: config,
    writeRequestLine: requestLines(logger),
  });
  const nest = await NestFactory.create<NestFastifyApplication>(
    AppModule.for(config, application),
    new FastifyAdapter(instance as never),
    { bodyParser: false, logger: new NestLogger(logger), abortOnError: false, preview },
  );
  nest.useGlobalFilters(filter);
  nest.useGlobalPipes(new DtoPipe());
  return new App(nest, table, listeners);
}
