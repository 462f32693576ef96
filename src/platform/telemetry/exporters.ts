import { OTLPMetricExporter as GrpcMetricExporter } from '@opentelemetry/exporter-metrics-otlp-grpc';
import { OTLPMetricExporter as JsonMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPMetricExporter as ProtobufMetricExporter } from '@opentelemetry/exporter-metrics-otlp-proto';
import { OTLPTraceExporter as GrpcTraceExporter } from '@opentelemetry/exporter-trace-otlp-grpc';
import { OTLPTraceExporter as JsonTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { OTLPTraceExporter as ProtobufTraceExporter } from '@opentelemetry/exporter-trace-otlp-proto';
import { ConsoleMetricExporter, type PushMetricExporter } from '@opentelemetry/sdk-metrics';
import { ConsoleSpanExporter, type ReadableSpan, type SpanExporter } from '@opentelemetry/sdk-trace';
import type { SignalConfig } from '../config/telemetry.ts';
import type { Outage } from './outage.ts';
import { exportable } from './redaction.ts';

const TRACE_EXPORTERS = {
  grpc: GrpcTraceExporter,
  'http/json': JsonTraceExporter,
  'http/protobuf': ProtobufTraceExporter,
} satisfies Record<SignalConfig['protocol'], unknown>;

const METRIC_EXPORTERS = {
  grpc: GrpcMetricExporter,
  'http/json': JsonMetricExporter,
  'http/protobuf': ProtobufMetricExporter,
} satisfies Record<SignalConfig['protocol'], unknown>;

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
export function traceExporter({ exporter, protocol }: SignalConfig, outage: Outage): SpanExporter {
  const target = exporter === 'console' ? new ConsoleSpanExporter() : new TRACE_EXPORTERS[protocol]();
  return outage.watch(new RedactingExporter(target));
}

/** Creates the metric exporter, which reads the environment like {@link traceExporter}. */
export function metricExporter({ exporter, protocol }: SignalConfig, outage: Outage): PushMetricExporter {
  const target: PushMetricExporter =
    exporter === 'console' ? new ConsoleMetricExporter() : new METRIC_EXPORTERS[protocol]();
  return outage.watch(target);
}
