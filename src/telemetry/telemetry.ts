import { isSpanContextValid, trace } from '@opentelemetry/api';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg';
import { RuntimeNodeInstrumentation } from '@opentelemetry/instrumentation-runtime-node';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import http from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { TelemetryConfig } from '../config/telemetry.ts';
import { metricExporter, traceExporter } from './exporters.ts';
import { Outage } from './outage.ts';
import { nameSpansByRoute, traceOwnWork } from './spans.ts';

export interface Telemetry {
  /** The ids of the trace and of the span that the present work belongs to, for the log. */
  readonly logFields: () => object;
  /** Sends what is left, and gives up after some milliseconds. Does not throw. */
  stop(withinMs: number): Promise<void>;
}

/**
 * Whoever scrapes and probes is no traffic. These paths are served on a port of their own, and nowhere else.
 */
const isProbe = ({ url = '' }: http.IncomingMessage): boolean => url.startsWith('/health/') || url === '/metrics';

/**
 * Starts OpenTelemetry. This module and everything it imports is loaded only where the configuration asks for it.
 *
 * Applications in ES modules need hooks in Node's loader where an instrumentation replaces what a module exports. Those
 * used here change methods of prototypes, which are the same whoever imports the module and when: the modules are
 * required once, so that the instrumentations see them, and no loader hook slows down every import.
 */
export function startTelemetry({ traces, metrics, metricIntervalMs }: TelemetryConfig): Telemetry {
  const outage = new Outage();
  const sdk = new NodeSDK({
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES come later and win.
    resource: defaultResource().merge(resourceFromAttributes({ 'service.name': 'latchkey' })),
    ...(traces ? { traceExporter: traceExporter(traces, outage) } : { spanProcessors: [] }),
    metricReaders: metrics
      ? [
          new PeriodicExportingMetricReader({
            exporter: metricExporter(metrics, outage),
            exportIntervalMillis: metricIntervalMs,
            exportTimeoutMillis: Math.min(metricIntervalMs, 30_000),
          }),
        ]
      : [],
    // The log goes to standard output, with the ids of its traces.
    logRecordProcessors: [],
    instrumentations: [
      new HttpInstrumentation({ ignoreIncomingRequestHook: isProbe, requireParentforOutgoingSpans: true }),
      // Statements have placeholders; what they stand for is not asked for. Timers and heartbeats make no traces.
      new PgInstrumentation({ requireParentSpan: true, enhancedDatabaseReporting: false }),
      // The command alone: AUTH is one, too.
      new IORedisInstrumentation({ requireParentSpan: true, dbStatementSerializer: (command) => command }),
      ...(metrics ? [new RuntimeNodeInstrumentation()] : []),
    ],
  });
  sdk.start();
  showModules();
  if (traces) {
    nameSpansByRoute();
    traceOwnWork();
  }
  return {
    logFields: () => {
      const context = trace.getActiveSpan()?.spanContext();
      return context && isSpanContextValid(context) ? { traceId: context.traceId, spanId: context.spanId } : {};
    },
    stop: async (withinMs) => {
      outage.end();
      const timeout = new Promise((resolve) => setTimeout(resolve, Math.max(0, withinMs)).unref());
      await Promise.race([sdk.shutdown().catch(() => undefined), timeout]);
    },
  };
}

/** Requires what is instrumented, through the hooks that the instrumentations have set. */
function showModules(): void {
  const require = createRequire(import.meta.url);
  for (const name of ['http', 'https', 'pg', 'ioredis']) require(name);
  createRequire(require.resolve('pg'))('pg-pool');
  // For `import { request } from 'node:http'`.
  syncBuiltinESMExports();
}
