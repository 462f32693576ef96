const EXPORTERS = ['otlp', 'console', 'none'] as const;
const PROTOCOLS = ['http/protobuf', 'http/json', 'grpc'] as const;

/** How traces or metrics are exported. */
export interface SignalConfig {
  readonly exporter: 'otlp' | 'console';
  /** The protocol of the `otlp` exporter. */
  readonly protocol: (typeof PROTOCOLS)[number];
}

/** How Latchkey uses OpenTelemetry. The SDK itself reads endpoints, headers, samplers and limits. */
export interface TelemetryConfig {
  readonly traces: SignalConfig | undefined;
  readonly metrics: SignalConfig | undefined;
  /** Milliseconds between two exports of metrics. */
  readonly metricIntervalMs: number;
}

type Variables = Record<string, string | undefined>;

function oneOf<T extends string>(
  variables: Variables,
  name: string,
  values: readonly T[],
  problems: string[],
): T | undefined {
  const text = variables[name]?.trim();
  if (text === undefined || text === '') return undefined;
  const value = values.find((known) => known === text);
  if (value === undefined) problems.push(`${name} must be ${values.join(' or ')}; found ${JSON.stringify(text)}`);
  return value;
}

function signal(
  name: 'TRACES' | 'METRICS',
  usualProtocol: SignalConfig['protocol'],
  variables: Variables,
  problems: string[],
): SignalConfig | undefined {
  const hasEndpoint = ['OTEL_EXPORTER_OTLP_ENDPOINT', `OTEL_EXPORTER_OTLP_${name}_ENDPOINT`].some(
    (variable) => (variables[variable] ?? '') !== '',
  );
  const exporter = oneOf(variables, `OTEL_${name}_EXPORTER`, EXPORTERS, problems) ?? (hasEndpoint ? 'otlp' : 'none');
  const protocol = oneOf(variables, `OTEL_EXPORTER_OTLP_${name}_PROTOCOL`, PROTOCOLS, problems) ?? usualProtocol;
  return exporter === 'none' ? undefined : { exporter, protocol };
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
  const protocol = oneOf(variables, 'OTEL_EXPORTER_OTLP_PROTOCOL', PROTOCOLS, problems) ?? 'http/protobuf';
  const traces = signal('TRACES', protocol, variables, problems);
  const metrics = signal('METRICS', protocol, variables, problems);
  const interval = variables['OTEL_METRIC_EXPORT_INTERVAL'] ?? '';
  const metricIntervalMs = interval === '' ? 60_000 : Number(interval);
  if (!Number.isSafeInteger(metricIntervalMs) || metricIntervalMs <= 0) {
    problems.push(
      `OTEL_METRIC_EXPORT_INTERVAL must be a whole number of milliseconds; found ${JSON.stringify(interval)}`,
    );
  }
  return traces || metrics ? { traces, metrics, metricIntervalMs } : undefined;
}
