import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { ConsoleMetricExporter, type PushMetricExporter } from '@opentelemetry/sdk-metrics';
import { ConsoleSpanExporter, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace';
import type { TelemetryExporter } from '../config/telemetry.ts';
import type { Outage } from './outage.ts';
import { exportable } from './redaction.ts';

/** Exports only the parts of a span that `redaction.ts` allows. */
class RedactingExporter implements SpanExporter {
  constructor(private readonly exporter: SpanExporter) {}

  export(spans: ReadableSpan[], done: Parameters<SpanExporter['export']>[1]): void {
    this.exporter.export(spans.map(exportable), done);
  }
  async forceFlush(): Promise<void> {
    await this.exporter.forceFlush?.();
  }
  shutdown(): Promise<void> {
    return this.exporter.shutdown();
  }
}

/** Creates the span exporter, which reads its endpoint, headers, certificates and timeouts from the environment. */
export function traceExporter(exporter: TelemetryExporter, outage: Outage): SpanExporter {
  const target = exporter === 'console' ? new ConsoleSpanExporter() : new OTLPTraceExporter();
  return outage.watch(new RedactingExporter(target));
}

/** Creates the metric exporter, which reads the environment like {@link traceExporter}. */
export function metricExporter(exporter: TelemetryExporter, outage: Outage): PushMetricExporter {
  const target: PushMetricExporter = exporter === 'console' ? new ConsoleMetricExporter() : new OTLPMetricExporter();
  return outage.watch(target);
}
