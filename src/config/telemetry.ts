const EXPORTERS = ['otlp', 'console', 'none'] as const;
const PROTOCOLS = ['http/protobuf', 'http/json', 'grpc'] as const;

/** How traces, or metrics, leave. */
export interface SignalConfig {
  readonly exporter: 'otlp' | 'console';
  /** Of `otlp`. */
  readonly protocol: (typeof PROTOCOLS)[number];
}

/** What OpenTelemetry does here. Endpoints, headers, samplers and limits its SDK reads from the environment itself. */
export interface TelemetryConfig {
  readonly traces: SignalConfig | undefined;
  readonly metrics: SignalConfig | undefined;
  /** Metrics leave this far apart, in milliseconds. */
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
  if (value === undefined) problems.push(`${name} must be ${values.join(' or ')}`);
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
 * Whether and how to use OpenTelemetry: as its specification of environment variables has it, except that nothing is
 * sent where no variable names an exporter or an endpoint.
 *
 * @param problems is told which variables break a rule
 * @returns nothing where no signal leaves
 */
export function parseTelemetry(variables: Variables, problems: string[]): TelemetryConfig | undefined {
  if (variables['OTEL_SDK_DISABLED']?.trim().toLowerCase() === 'true') return undefined;
  const protocol = oneOf(variables, 'OTEL_EXPORTER_OTLP_PROTOCOL', PROTOCOLS, problems) ?? 'http/protobuf';
  const traces = signal('TRACES', protocol, variables, problems);
  const metrics = signal('METRICS', protocol, variables, problems);
  const interval = variables['OTEL_METRIC_EXPORT_INTERVAL'] ?? '';
  const metricIntervalMs = interval === '' ? 60_000 : Number(interval);
  if (!Number.isSafeInteger(metricIntervalMs) || metricIntervalMs <= 0) {
    problems.push('OTEL_METRIC_EXPORT_INTERVAL must be a whole number of milliseconds');
  }
  return traces || metrics ? { traces, metrics, metricIntervalMs } : undefined;
}
