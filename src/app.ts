import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { fastify, type FastifyInstance, LogController } from 'fastify';
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { AppModule } from './app.module.ts';
import type { Application } from './application.ts';
import { ErrorFilter } from './common/error.filter.ts';
import {
  answerParserError,
  answerRouterError,
  MAX_HEADER_BYTES,
  prepareFastify,
  REQUEST_TIMEOUT_MS,
  RouteTable,
} from './common/http.ts';
import { Lifecycle } from './common/lifecycle.ts';
import { ListenError, Listeners, urlOf } from './common/listeners.ts';
import { NestLogger, withoutRedaction } from './common/logging.ts';
import { DtoPipe } from './common/validation.ts';
import type { Config } from './config/config.ts';

/** What is still being answered when it stops may take this long; then the connections are cut. */
const DRAIN_MS = 8_000;

/** Where the listeners are found. */
interface Urls {
  readonly public: string;
  /** Absent: at the public one. */
  readonly staff: string | undefined;
  readonly ops: string | undefined;
}

export class App {
  constructor(
    readonly nest: NestFastifyApplication,
    /** Every route the server answers to. */
    readonly table: RouteTable,
    private readonly listeners: Listeners,
  ) {}

  /**
   * Opens every port, the public one last.
   *
   * @param port the public one; 0 lets the system choose
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
   * Tells probes that it goes, answers what has been received, and ends everything but the listener of the operators:
   * {@link end} is for that.
   *
   * @param lingerMs how long a proxy may still use the connections that it keeps
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

  /** After everything else has ended. */
  async end(): Promise<void> {
    await this.listeners.end();
  }
}

export interface AppOptions {
  /** Builds the module graph and the routes without creating a provider or a connection. */
  readonly preview?: boolean;
  /** What comes besides the modules of `app.module.ts`. */
  readonly application?: Application;
}

/**
 * Builds the application without listening: `main`, the tests and the OpenAPI writer start from here.
 *
 * @param config the complete configuration
 * @param logger where every line goes
 */
export async function createApp(
  config: Config,
  logger: Logger,
  { preview = false, application = {} }: AppOptions = {},
): Promise<App> {
  const filter = new ErrorFilter();
  const table = new RouteTable();
  // Node takes the shorter of the two for the headers, and the longer one, a minute unless it is set, for the body.
  const http = {
    maxHeaderSize: MAX_HEADER_BYTES,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // It would answer by itself; prepareFastify() refuses those in the words of the others.
    requireHostHeader: false,
  };
  const listeners = new Listeners(config, http);
  const instance = fastify({
    loggerInstance: logger,
    // One line a request, written by prepareFastify().
    logController: new LogController({ disableRequestLogging: true }),
    genReqId: () => randomUUID(),
    // A child logger for each request costs more than naming the request in the few lines that need it.
    childLoggerFactory: (parent) => parent,
    requestTimeout: REQUEST_TIMEOUT_MS,
    // On shutdown what has been received is still answered.
    return503OnClosing: false,
    forceCloseConnections: 'idle',
    http,
    routerOptions: { maxParamLength: 500 },
    clientErrorHandler: (error, socket) => {
      const { stats, uploads } = instance;
      answerParserError(error, socket, { options: config, stats, uploads, planes: listeners.publicPlanes });
    },
    frameworkErrors: (error, request, reply) => {
      const planes = listeners.servedTo(request);
      answerRouterError(error, request, reply, { filter, options: config, stats: instance.stats, planes });
    },
  }) as unknown as FastifyInstance;
  prepareFastify(instance, { filter, table, listeners, options: config, requestLog: withoutRedaction(logger) });
  const nest = await NestFactory.create<NestFastifyApplication>(
    AppModule.for(config, application),
    new FastifyAdapter(instance as never),
    { bodyParser: false, logger: new NestLogger(logger), abortOnError: false, preview },
  );
  nest.useGlobalFilters(filter);
  nest.useGlobalPipes(new DtoPipe());
  return new App(nest, table, listeners);
}
