import { NestFactory } from '@nestjs/core';
import { FastifyAdapter, type NestFastifyApplication } from '@nestjs/platform-fastify';
import { fastify, type FastifyInstance, LogController } from 'fastify';
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { AppModule } from './app.module.ts';
import { ErrorFilter } from './common/error.filter.ts';
import {
  answerParserError,
  answerRouterError,
  MAX_HEADER_BYTES,
  prepareFastify,
  REQUEST_TIMEOUT_MS,
  RouteTable,
  type Stopping,
} from './common/http.ts';
import { NestLogger, withoutRedaction } from './common/logging.ts';
import { DtoPipe } from './common/validation.ts';
import type { Config } from './config/config.ts';

export interface App {
  readonly nest: NestFastifyApplication;
  /** Every route the server answers to. */
  readonly table: RouteTable;
  readonly stopping: Stopping;
}

/**
 * Builds the application without listening: `main`, the tests and the OpenAPI writer start from here.
 *
 * @param config the complete configuration
 * @param logger where every line goes
 * @param options `preview` builds the module graph and the routes without creating a provider or a connection
 */
export async function createApp(config: Config, logger: Logger, { preview = false } = {}): Promise<App> {
  const filter = new ErrorFilter();
  const table = new RouteTable();
  const stopping: Stopping = { lingerMs: 0 };
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
    http: { maxHeaderSize: MAX_HEADER_BYTES },
    routerOptions: { maxParamLength: 500 },
    clientErrorHandler: (error, socket) => {
      answerParserError(error, socket, config);
    },
    frameworkErrors: (error, request, reply) => {
      answerRouterError(error, request, reply, { filter, options: config });
    },
  }) as unknown as FastifyInstance;
  prepareFastify(instance, { filter, table, options: config, stopping, requestLog: withoutRedaction(logger) });
  const nest = await NestFactory.create<NestFastifyApplication>(
    AppModule.for(config),
    new FastifyAdapter(instance as never),
    { bodyParser: false, logger: new NestLogger(logger), abortOnError: false, preview },
  );
  nest.useGlobalFilters(filter);
  nest.useGlobalPipes(new DtoPipe());
  return { nest, table, stopping };
}
