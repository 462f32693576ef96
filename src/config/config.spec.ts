import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { ConfigError, Environment, OPTIONAL, loadConfig, parseKeyEncryptionKey } from './config.ts';

const KEY = randomBytes(32).toString('base64');
const PRODUCTION = {
  NODE_ENV: 'production',
  DATABASE_URL: 'postgres://app:Zq8f-real-one@db.internal:5432/latchkey',
  PUBLIC_URL: 'https://latchkey.example',
  KEY_ENCRYPTION_KEY: KEY,
};

function problemsOf(variables: Record<string, string>): string[] {
  try {
    loadConfig(variables);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

it('.env.example describes every variable and no other', () => {
  const described = [...readFileSync('.env.example', 'utf8').matchAll(/^([A-Z_]+)=/gm)].map(([, name]) => name);
  expect(described.sort()).toEqual([...Object.keys(new Environment()), ...OPTIONAL].sort());
});

it('without any variable there are defaults for trying Latchkey out', () => {
  expect(loadConfig({})).toMatchObject({
    production: false,
    host: '127.0.0.1',
    port: 3000,
    databaseUrl: undefined,
    publicUrl: undefined,
    dataDir: '.latchkey',
    legacyQueryCredentials: false,
    logLevel: 'info',
  });
  expect(loadConfig({ PORT: '', PUBLIC_URL: '', UNRELATED: 'x' }).port).toBe(3000);
});

it.each([
  [{ PORT: 'abc' }, 'PORT must be a whole number'],
  [{ PORT: '65536' }, 'PORT must be at most 65535'],
  [{ PORT: '-1000' }, 'PORT must be at least 0'],
  [{ PORT: '1e3' }, 'PORT must be a whole number'],
  [{ OPS_PORT: '65536' }, 'OPS_PORT must be at most 65535'],
  [{ ADMIN_PORT: 'x1' }, 'ADMIN_PORT must be a whole number'],
  [{ ADMIN_PORT: '3000' }, 'ADMIN_PORT must differ from PORT'],
  [{ PORT: '9464', OPS_PORT: '9464' }, 'OPS_PORT must differ from PORT'],
  [{ ADMIN_PORT: '3001', OPS_PORT: '3001' }, 'OPS_PORT must differ from ADMIN_PORT'],
  [{ NODE_ENV: 'staging' }, 'NODE_ENV must be development, production or test'],
  [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL must be one of'],
  [{ LEGACY_QUERY_CREDENTIALS: 'yes' }, 'LEGACY_QUERY_CREDENTIALS must be true or false'],
  [{ TRUSTED_PROXIES: '10.0.0.0/33' }, 'TRUSTED_PROXIES must be a comma-separated list'],
  [{ DATABASE_URL: 'mysql://root@localhost/x' }, 'DATABASE_URL must be a URL such as'],
  [{ DATABASE_DIRECT_URL: 'mysql://root@localhost/x' }, 'DATABASE_DIRECT_URL must be a URL such as'],
  [{ DATABASE_DIRECT_URL: 'postgres://db.internal/latchkey' }, 'DATABASE_DIRECT_URL is the way around'],
  [{ PUBLIC_URL: 'latchkey.example' }, 'PUBLIC_URL must be an http or https URL'],
  [{ PUBLIC_URL: 'https://latchkey.example/?a=b' }, 'PUBLIC_URL must be an http or https URL'],
  [{ KEY_ENCRYPTION_KEY: 'c2hvcnQ=' }, 'KEY_ENCRYPTION_KEY must be 32 random bytes'],
  [{ TOKEN_AUDIENCE: 'two words' }, 'TOKEN_AUDIENCE must be 1 to 255 characters'],
])('%j is refused by name and rule, not by value', (variables: Record<string, string>, message) => {
  const problems = problemsOf(variables);
  expect(problems.join('\n')).toContain(message);
  for (const value of Object.values(variables)) {
    if (value.length > 3) expect(problems.join('\n')).not.toContain(value);
  }
});

it('ports that the system chooses are never the same', () => {
  expect(loadConfig({ PORT: '0', ADMIN_PORT: '0', OPS_PORT: '0' })).toMatchObject({ adminPort: 0, opsPort: 0 });
  expect(loadConfig({ PORT: '8080', ADMIN_PORT: '', OPS_PORT: '3000' })).toMatchObject({
    adminPort: undefined,
    opsPort: 3000,
  });
});

it('every broken variable is told at once', () => {
  expect(problemsOf({ PORT: 'x', LOG_LEVEL: 'x', HOST: 'a b' })).toHaveLength(3);
});

it('a database of your own needs an issuer and a key', () => {
  expect(problemsOf({ DATABASE_URL: 'postgres://u@localhost/x' })).toEqual([
    'PUBLIC_URL is required when DATABASE_URL is set, the same on all instances',
    'KEY_ENCRYPTION_KEY is required when DATABASE_URL is set, the same on all instances',
  ]);
});

describe('in production', () => {
  it('a complete configuration is taken', () => {
    expect(loadConfig(PRODUCTION)).toMatchObject({ production: true, publicUrl: 'https://latchkey.example' });
  });

  it.each([
    [{ DATABASE_URL: '' }, 'DATABASE_URL is required in production'],
    [{ DATABASE_URL: 'postgres://app:postgres@db/latchkey' }, 'DATABASE_URL must not carry an example password'],
    [{ PUBLIC_URL: '' }, 'PUBLIC_URL is required'],
    [{ PUBLIC_URL: 'http://latchkey.example' }, 'PUBLIC_URL must be an https URL'],
    [{ KEY_ENCRYPTION_KEY: '' }, 'KEY_ENCRYPTION_KEY is required'],
    [{ KEY_ENCRYPTION_KEY: Buffer.alloc(32).toString('base64') }, 'KEY_ENCRYPTION_KEY must not be an example value'],
    [
      { KEY_ENCRYPTION_KEY: Buffer.from('this-is-an-example-key-change-me').toString('base64') },
      'KEY_ENCRYPTION_KEY must not be an example value',
    ],
  ])('%j is refused', (variables: Record<string, string>, message) => {
    expect(problemsOf({ ...PRODUCTION, ...variables }).join('\n')).toContain(message);
  });
});

describe('a key encryption key', () => {
  it('is 32 bytes, in base64, base64url or hexadecimal', () => {
    const key = randomBytes(32);
    for (const encoding of ['base64', 'base64url', 'hex'] as const) {
      expect(parseKeyEncryptionKey(key.toString(encoding))?.equals(key)).toBe(true);
    }
  });

  it('is nothing else', () => {
    for (const text of ['', 'x', KEY.slice(4), `${KEY}AAAA`, '!'.repeat(44)]) {
      expect(parseKeyEncryptionKey(text)).toBeUndefined();
    }
  });
});

describe('OpenTelemetry', () => {
  const telemetryOf = (variables: Record<string, string>): unknown => loadConfig(variables).telemetry;
  const otlp = (protocol: string): object => ({ exporter: 'otlp', protocol });

  it('is off unless an exporter or an endpoint is named, and where it is disabled', () => {
    for (const variables of [
      {},
      { OTEL_SERVICE_NAME: 'latchkey', OTEL_TRACES_SAMPLER: 'always_on', OTEL_EXPORTER_OTLP_ENDPOINT: '' },
      { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318' },
      { OTEL_SDK_DISABLED: 'True', OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318' },
    ]) {
      expect(telemetryOf(variables as Record<string, string>)).toBeUndefined();
    }
  });

  it('sends the signals that have somewhere to go', () => {
    const both = { traces: otlp('http/protobuf'), metrics: otlp('http/protobuf'), metricIntervalMs: 60_000 };
    expect(telemetryOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318' })).toEqual(both);
    expect(
      telemetryOf({
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://x:4318/v1/traces',
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      }),
    ).toEqual({ traces: otlp('grpc'), metrics: undefined, metricIntervalMs: 60_000 });
    expect(
      telemetryOf({
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318',
        OTEL_TRACES_EXPORTER: 'none',
        OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'http/json',
        OTEL_METRIC_EXPORT_INTERVAL: '15000',
      }),
    ).toEqual({ traces: undefined, metrics: otlp('http/json'), metricIntervalMs: 15_000 });
  });

  it('names what cannot be meant', () => {
    expect(
      problemsOf({
        OTEL_METRICS_EXPORTER: 'prometheus',
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http',
        OTEL_METRIC_EXPORT_INTERVAL: '1m',
      }),
    ).toEqual([
      'OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf or http/json or grpc',
      'OTEL_METRICS_EXPORTER must be otlp or console or none',
      'OTEL_METRIC_EXPORT_INTERVAL must be a whole number of milliseconds',
    ]);
  });
});
