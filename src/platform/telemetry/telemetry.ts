import { isSpanContextValid, trace } from '@opentelemetry/api';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { PgInstrumentation } from '@opentelemetry/instrumentation-pg';
import { RuntimeNodeInstrumentation } from '@opentelemetry/instrumentation-runtime-node';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import http from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import type { TelemetryConfig } from '../config/telemetry.ts';
import { metricExporter, traceExporter } from './exporters.ts';
import { Outage } from './outage.ts';
import { nameSpansByRoute, traceOwnWork } from './spans.ts';

export interface Telemetry {
  /** `traceId` and `spanId` of the active span for a log line, or an empty object without one. */
  readonly logFields: () => object;
  /** Sends the remaining spans and metrics, and gives up after `withinMs` milliseconds. Does not throw. */
  stop(withinMs: number): Promise<void>;
}

/** Probes and scrapes are not traced. Their paths exist only on the operations port. */
const isProbe = ({ url = '' }: http.IncomingMessage): boolean => url.startsWith('/health/') || url === '/metrics';

/**
 * Starts OpenTelemetry. This module and its imports are loaded only if the configuration asks for telemetry.
 *
 * No loader hook is needed, although Latchkey consists of ES modules: the instrumentations used here patch prototypes,
 * which all importers share. They only have to see each module required once, see {@link requireInstrumented}.
 */
export function startTelemetry({ serviceName, traces, metrics, metricIntervalMs }: TelemetryConfig): Telemetry {
  const outage = new Outage();
  const sdk = new NodeSDK({
    ...(serviceName !== undefined && { serviceName }),
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
    // Logs are not exported: they go to standard output, with their trace ids.
    logRecordProcessors: [],
    instrumentations: [
      new HttpInstrumentation({ ignoreIncomingRequestHook: isProbe, requireParentforOutgoingSpans: true }),
      // Records SQL with placeholders, without the values. A query outside a request makes no trace.
      new PgInstrumentation({ requireParentSpan: true, enhancedDatabaseReporting: false }),
      // Records the command without its arguments, since AUTH has a password.
      new IORedisInstrumentation({ requireParentSpan: true, dbStatementSerializer: (command) => command }),
      ...(metrics ? [new RuntimeNodeInstrumentation()] : []),
    ],
  });
  sdk.start();
  requireInstrumented();
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

/** Requires each instrumented module once, so that the instrumentations' `require` hooks patch it. */
function requireInstrumented(): void {
  const require = createRequire(import.meta.url);
  for (const name of ['http', 'https', 'pg', 'ioredis']) require(name);
  createRequire(require.resolve('pg'))('pg-pool');
  // Makes the patched functions visible to `import { request } from 'node:http'`.
  syncBuiltinESMExports();
}
