const EXPORTERS = ['otlp', 'console', 'none'] as const;

/** How traces or metrics are exported: `otlp` sends http/protobuf. */
export type TelemetryExporter = Exclude<(typeof EXPORTERS)[number], 'none'>;

/** How Latchkey uses OpenTelemetry. The SDK itself reads endpoints, headers, samplers and limits. */
export interface TelemetryConfig {
  /** Unset if a standard variable names the service, since the SDK would prefer this name. */
  readonly serviceName: string | undefined;
  readonly traces: TelemetryExporter | undefined;
  readonly metrics: TelemetryExporter | undefined;
  /** Milliseconds between two exports of metrics. */
  readonly metricIntervalMs: number;
}

type Variables = Record<string, string | undefined>;

/** The text of a variable, without the blanks around it; empty if it is unset. */
const textOf = (variables: Variables, name: string): string => variables[name]?.trim() ?? '';

function exporterOf(
  signal: 'TRACES' | 'METRICS',
  variables: Variables,
  problems: string[],
): TelemetryExporter | undefined {
  const name = `OTEL_${signal}_EXPORTER`;
  const text = textOf(variables, name);
  if (text === '') {
    const endpoints = ['OTEL_EXPORTER_OTLP_ENDPOINT', `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`];
    return endpoints.some((endpoint) => (variables[endpoint] ?? '') !== '') ? 'otlp' : undefined;
  }
  const exporter = EXPORTERS.find((known) => known === text);
  if (exporter === undefined) problems.push(`${name} must be ${EXPORTERS.join(' or ')}; found ${JSON.stringify(text)}`);
  return exporter === 'none' ? undefined : exporter;
}

function isServiceNamed(variables: Variables): boolean {
  const attributes = textOf(variables, 'OTEL_RESOURCE_ATTRIBUTES').split(',');
  return textOf(variables, 'OTEL_SERVICE_NAME') !== '' || attributes.some((text) => /^\s*service\.name\s*=/.test(text));
}

/** Refuses every OTLP protocol but the one that Latchkey sends. */
function checkProtocol(name: string, variables: Variables, problems: string[]): void {
  const text = textOf(variables, name);
  if (text === '' || text === 'http/protobuf') return;
  problems.push(
    `${name} must be http/protobuf; found ${JSON.stringify(text)}. Send http/protobuf to an OpenTelemetry Collector, ` +
      'which can forward it as gRPC',
  );
}

/**
 * Reads whether and how to use OpenTelemetry. Follows its specification of environment variables, except that nothing
 * is exported unless a variable names an exporter or an endpoint.
 *
 * @param problems collects the variables that break a rule
 * @returns nothing if no signal is exported
 */
export function parseTelemetry(variables: Variables, problems: string[]): TelemetryConfig | undefined {
  if (variables['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true') return undefined;
  for (const signal of ['', 'TRACES_', 'METRICS_']) {
    checkProtocol(`OTEL_EXPORTER_OTLP_${signal}PROTOCOL`, variables, problems);
  }
  const traces = exporterOf('TRACES', variables, problems);
  const metrics = exporterOf('METRICS', variables, problems);
  const interval = variables['OTEL_METRIC_EXPORT_INTERVAL'] ?? '';
  const metricIntervalMs = interval === '' ? 60_000 : Number(interval);
  if (!Number.isSafeInteger(metricIntervalMs) || metricIntervalMs <= 0) {
    problems.push(
      `OTEL_METRIC_EXPORT_INTERVAL must be a whole number of milliseconds; found ${JSON.stringify(interval)}`,
    );
  }
  const serviceName = isServiceNamed(variables) ? undefined : 'latchkey';
  return traces || metrics ? { serviceName, traces, metrics, metricIntervalMs } : undefined;
}
