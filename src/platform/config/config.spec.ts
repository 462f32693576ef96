import { randomBytes } from 'node:crypto';
import { parse } from 'pg-connection-string';
import { ConfigError, loadConfig } from './config.ts';
import { parseKeyEncryptionKey } from './key-encryption-key.ts';

const KEY = randomBytes(32).toString('base64');
const HALF = randomBytes(16);
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

it('has defaults for trying Latchkey out without any variable', () => {
  expect(loadConfig({})).toMatchObject({
    production: false,
    host: '127.0.0.1',
    port: 3000,
    databaseUrl: undefined,
    publicUrl: undefined,
    dataDir: '.latchkey',
    legacyQueryCredentials: false,
    partnerPage: true,
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
  [{ LOG_LEVEL: 'loud' }, 'LOG_LEVEL must be fatal, error'],
  [{ LEGACY_QUERY_CREDENTIALS: 'yes' }, 'LEGACY_QUERY_CREDENTIALS must be true or false'],
  [{ TRUSTED_PROXIES: '10.0.0.0/33' }, 'TRUSTED_PROXIES must be a comma-separated list'],
  [{ DATABASE_URL: 'root:hunter2@localhost/x' }, 'DATABASE_URL must be a URL: expected a URL such as postgres://user'],
  [{ DATABASE_URL: 'mysql://root@localhost/x' }, 'DATABASE_URL must be a URL of PostgreSQL: found mysql://'],
  [{ DATABASE_DIRECT_URL: 'mysql://root@localhost/x' }, 'DATABASE_DIRECT_URL must be a URL of PostgreSQL'],
  [{ REDIS_URL: 'redis://localhost:6379/abc' }, 'REDIS_URL must have no path, or the number of a database'],
  [{ REDIS_URL: 'redis://localhost:6379/0/1' }, 'REDIS_URL must have no path, or the number of a database'],
  [{ REDIS_URL: 'redis://localhost:6379/-1' }, 'REDIS_URL must have no path, or the number of a database'],
  [{ DATABASE_DIRECT_URL: 'postgres://db.internal/latchkey' }, 'DATABASE_DIRECT_URL bypasses the pooler'],
  [{ PUBLIC_URL: 'latchkey.example' }, 'PUBLIC_URL must be an http or https URL'],
  [{ PUBLIC_URL: 'https://latchkey.example:99999' }, 'PUBLIC_URL must be an http or https URL with no port'],
  [{ PUBLIC_URL: 'https://latchkey.example:0' }, 'PUBLIC_URL must have no port, or one from 1 to 65535'],
  [{ PUBLIC_URL: 'https://a.example,https://b.example' }, 'PUBLIC_URL must be one URL, not a list'],
  [
    { PUBLIC_URL: 'https://latchkey.example/a/../b' },
    'PUBLIC_URL must have a path without dot segments, empty segments or characters that need encoding',
  ],
  [
    { PUBLIC_URL: 'https://latchkey.example//b' },
    'PUBLIC_URL must have a path without dot segments, empty segments or characters that need encoding',
  ],
  [
    { PUBLIC_URL: 'https://latchkey.example/a b' },
    'PUBLIC_URL must have a path without dot segments, empty segments or characters that need encoding',
  ],
  [{ PUBLIC_URL: 'https://user:hunter2@latchkey.example' }, 'PUBLIC_URL must have no user or password'],
  [{ PUBLIC_URL: 'https://ключ.example' }, 'PUBLIC_URL must be in ASCII; write this host name as "xn--'],
  [{ PUBLIC_URL: 'https://latch"key.example' }, 'PUBLIC_URL must name a host'],
  [{ PUBLIC_URL: '"https://latchkey.example"' }, 'PUBLIC_URL must be an http or https URL: found "\\"https:'],
  [{ PUBLIC_URL: 'https://latchkey.example/?a=b' }, 'PUBLIC_URL must be an http or https URL'],
  [{ KEY_ENCRYPTION_KEY: 'c2hvcnQ=' }, 'KEY_ENCRYPTION_KEY must be 32 random bytes'],
  [{ KEY_ENCRYPTION_KEY: `${KEY},c2hvcnQ=` }, 'KEY_ENCRYPTION_KEY must be a comma-separated list of keys, the newest'],
  [{ KEY_ENCRYPTION_KEY: `${KEY},` }, 'KEY_ENCRYPTION_KEY must be a comma-separated list of keys, the newest'],
  [{ TOKEN_AUDIENCE: 'two words' }, 'TOKEN_AUDIENCE must be 1 to 255 characters'],
])('refuses %j with its name and its rule', (variables: Record<string, string>, message) => {
  const problems = problemsOf(variables).join('\n');
  expect(problems).toContain(message);
  for (const [name, value] of Object.entries(variables)) {
    if (/^DATABASE_|^KEY_/.test(name)) expect(problems).not.toContain(value);
  }
  expect(problems).not.toContain('hunter2');
});

it('quotes the wrong value unless it may be a secret', () => {
  expect(
    problemsOf({ PORT: '99999', LOG_LEVEL: 'loud', REDIS_URL: 'redes://:hunter2@cache', TRUSTED_PROXIES: 'x' }),
  ).toEqual([
    'PORT must be at most 65535; found "99999"',
    'REDIS_URL must be a URL such as redis://user:password@host:6379/0',
    'TRUSTED_PROXIES must be a comma-separated list of IP addresses or CIDR networks; found "x"',
    'LOG_LEVEL must be fatal, error, warn, info, debug, trace or silent; found "loud"',
  ]);
});

describe('an address of a database', () => {
  const OTHERS = { NODE_ENV: 'development', PUBLIC_URL: 'http://localhost', KEY_ENCRYPTION_KEY: KEY };
  const urlOf = (DATABASE_URL: string, more: Record<string, string> = {}): string | undefined =>
    loadConfig({ ...OTHERS, DATABASE_URL, ...more }).databaseUrl;

  it.each([
    ['a slash', 'postgres://u:pa/ss@db/x', 'has a bare / in the password: write it as %2F'],
    ['a slash after digits', 'postgres://u:123/ss@db/x', 'has a bare / in the password: write it as %2F'],
    ['a question mark', 'postgres://u:pa?ss@db/x', 'has a bare ? in the password: write it as %3F'],
    ['a number sign', 'postgres://u:pa#ss@db/x', 'has a bare # in the password: write it as %23'],
    ['a number sign at its end', 'postgres://u@db/x#1', 'has a bare #'],
    ['a percent sign', 'postgres://u:100%@db/x', 'has a % without two hexadecimal digits after it'],
    ['bytes of another encoding', 'postgres://u:%e4@db/x', 'has percent-encoded bytes that are not UTF-8'],
    ['a space', 'postgres://u:pa ss@db/x', 'has a space: write it as %20'],
    ['a port out of range', 'postgres://u@db:99999/x', 'a port from 1 to 65535'],
    ['a port as a parameter', 'postgres://u@db/x?port=99999', 'must have a port from 1 to 65535: found "99999"'],
    ['a port of 0', 'postgres://u@db:0/x', 'must have a port from 1 to 65535: found "0"'],
    ['several hosts', 'postgres://u@a:5432,b:5432/x', 'DATABASE_URL cannot be read'],
    ['several hosts without ports', 'postgres://u@a,b/x', 'must name one host: found a list'],
    ['another sslmode', 'postgres://u@db/x?sslmode=on', 'sslmode: disable, prefer'],
    [
      'a missing certificate',
      'postgres://u@db/x?sslrootcert=/none.crt',
      'a file that cannot be read: /none.crt (ENOENT)',
    ],
  ])('is refused in one sentence with %s', (_, url, message) => {
    const problems = problemsOf({ ...OTHERS, DATABASE_URL: url });
    expect(problems).toEqual([expect.stringContaining(message)]);
    expect(problems[0]).toMatch(/^DATABASE_URL .*[^.]$/);
    expect(problems[0]).not.toMatch(/ss@|100%@/);
  });

  it.each([
    'postgres://u:pa%2Fss+1=2%25%23%3F@db.internal.:5432/x',
    'postgresql://u@[::1]:5432/x?application_name=a@b',
    'postgres:///x?host=/var/run/postgresql',
    'postgres://db_1/x',
  ])('is accepted as it is: %s', (url) => {
    expect(urlOf(`${url}\n`)).toBe(url);
  });

  it('accepts a password of any characters from DATABASE_PASSWORD', () => {
    const password = 'p/a+s=s%w?o#r d@:é';
    for (const url of ['postgres://u@db/x', 'postgres://u@db/x?sslmode=disable']) {
      expect(parse(urlOf(url, { DATABASE_PASSWORD: `${password}\n` }) ?? '')).toMatchObject({ host: 'db', password });
    }
    expect(problemsOf({ ...OTHERS, DATABASE_URL: 'postgres://u:one@db/x', DATABASE_PASSWORD: 'two' })).toEqual([
      'DATABASE_PASSWORD is set, and DATABASE_URL contains a password too: remove one of them',
    ]);
  });
});

it('accepts several ports that the system chooses', () => {
  expect(loadConfig({ PORT: '0', ADMIN_PORT: '0', OPS_PORT: '0' })).toMatchObject({ adminPort: 0, opsPort: 0 });
  expect(loadConfig({ PORT: '8080', ADMIN_PORT: '', OPS_PORT: '3000' })).toMatchObject({
    adminPort: undefined,
    opsPort: 3000,
  });
});

it('reports all broken variables at once', () => {
  expect(problemsOf({ PORT: 'x', LOG_LEVEL: 'x', HOST: 'a b' })).toHaveLength(3);
});

it('requires an issuer and a key with a database of your own', () => {
  expect(problemsOf({ DATABASE_URL: 'postgres://u@localhost/x' })).toEqual([
    'PUBLIC_URL is required with DATABASE_URL: set the same value on all instances',
    'KEY_ENCRYPTION_KEY is required with DATABASE_URL: set the same value on all instances',
  ]);
});

describe('in production', () => {
  it('accepts a complete configuration', () => {
    expect(loadConfig(PRODUCTION)).toMatchObject({ production: true, publicUrl: 'https://latchkey.example' });
  });

  it.each([
    [{ DATABASE_URL: 'postgres://app:postgres@db/latchkey' }, 'DATABASE_URL must not contain an example password'],
    [{ PUBLIC_URL: '' }, 'PUBLIC_URL is required'],
    [{ PUBLIC_URL: 'http://latchkey.example' }, 'PUBLIC_URL must be an https URL'],
    [{ DATABASE_URL: 'postgres://app@db/latchkey', DATABASE_PASSWORD: 'secret' }, 'DATABASE_PASSWORD must not be'],
    [{ KEY_ENCRYPTION_KEY: Buffer.from(Array.from({ length: 32 }, (_, i) => i)).toString('hex') }, 'or a pattern'],
    [
      { KEY_ENCRYPTION_KEY: Buffer.from(Array.from({ length: 32 }, (_, i) => 255 - 3 * i)).toString('hex') },
      'or a pattern',
    ],
    [{ KEY_ENCRYPTION_KEY: '0123456789abcdeffedcba9876543210'.repeat(2) }, 'or a pattern'],
    [{ KEY_ENCRYPTION_KEY: Buffer.concat([HALF, HALF]).toString('base64') }, 'or a pattern'],
    [{ KEY_ENCRYPTION_KEY: Buffer.from('größter Schlüssel der Welt 26').toString('base64') }, 'must not be an example'],
    [
      { KEY_ENCRYPTION_KEY: '', KEY_ENCRYPTION_KEYS: `${KEY},${'A'.repeat(43)}=` },
      'KEY_ENCRYPTION_KEYS must not be an example',
    ],
    [{ KEY_ENCRYPTION_KEY: `${KEY},${'A'.repeat(43)}=` }, 'KEY_ENCRYPTION_KEY must not be an example'],
    [{ KEY_ENCRYPTION_KEY: '' }, 'KEY_ENCRYPTION_KEY is required'],
    [{ KEY_ENCRYPTION_KEY: Buffer.alloc(32).toString('base64') }, 'KEY_ENCRYPTION_KEY must not be an example value'],
    [
      { KEY_ENCRYPTION_KEY: Buffer.from('this-is-an-example-key-change-me').toString('base64') },
      'KEY_ENCRYPTION_KEY must not be an example value',
    ],
  ])('refuses %j', (variables: Record<string, string>, message) => {
    expect(problemsOf({ ...PRODUCTION, ...variables }).join('\n')).toContain(message);
  });
});

it.each([
  ['https://latchkey.example', 'https://latchkey.example'],
  ['https://latchkey.example/', 'https://latchkey.example'],
  ['https://latchkey.example:8443/partners/v1', 'https://latchkey.example:8443/partners/v1'],
])('makes of PUBLIC_URL=%s the issuer %s', (PUBLIC_URL, publicUrl) => {
  expect(loadConfig({ ...PRODUCTION, PUBLIC_URL })).toMatchObject({ publicUrl });
});

describe('the identity provider of staff', () => {
  const OIDC = {
    STAFF_OIDC_ISSUER: 'https://login.company.example/tenant',
    STAFF_OIDC_CLIENT_ID: 'latchkey',
    STAFF_OIDC_CLIENT_SECRET: 'Zq8f-real-one',
    STAFF_OIDC_ROLES: 'g-1=admin',
  };

  it('is named by its host, and its groups by the last = and %2C', () => {
    const STAFF_OIDC_ROLES = 'CN=Latchkey%2COU=Staff=admin, g-2 = operator,7f0c%2cx=viewer';
    const { staffOidc } = loadConfig({ ...PRODUCTION, ...OIDC, STAFF_OIDC_ROLES });
    expect(staffOidc).toMatchObject({
      issuer: OIDC.STAFF_OIDC_ISSUER,
      name: 'login.company.example',
      clientId: 'latchkey',
      clientKey: { kind: 'secret', secret: 'Zq8f-real-one' },
      groupsClaim: 'groups',
    });
    expect([...(staffOidc?.roles ?? [])]).toEqual([
      ['CN=Latchkey,OU=Staff', 'admin'],
      ['g-2', 'operator'],
      ['7f0c,x', 'viewer'],
    ]);
    expect(loadConfig(PRODUCTION).staffOidc).toBeUndefined();
  });

  it.each([
    [{ STAFF_OIDC_ISSUER: '' }, 'STAFF_OIDC_CLIENT_ID is set, and STAFF_OIDC_ISSUER is not'],
    [{ STAFF_OIDC_CLIENT_ID: '' }, 'STAFF_OIDC_CLIENT_ID is required with STAFF_OIDC_ISSUER'],
    [{ STAFF_OIDC_ROLES: '' }, 'STAFF_OIDC_ROLES is required with STAFF_OIDC_ISSUER'],
    [{ STAFF_OIDC_CLIENT_SECRET: '' }, 'STAFF_OIDC_CLIENT_SECRET or STAFF_OIDC_PRIVATE_KEY is required'],
    [{ STAFF_OIDC_PRIVATE_KEY: 'x' }, 'STAFF_OIDC_PRIVATE_KEY must be a private key in PEM'],
    [{ STAFF_OIDC_CLIENT_SECRET: 'secret' }, 'STAFF_OIDC_CLIENT_SECRET must not be an example'],
    [{ STAFF_OIDC_ISSUER: 'http://login.company.example' }, 'STAFF_OIDC_ISSUER must be an https URL in production'],
    [{ STAFF_OIDC_ISSUER: 'login.company.example' }, 'STAFF_OIDC_ISSUER must be an http or https URL'],
    [{ STAFF_OIDC_ISSUER: 'https://login.company.example/?x' }, 'STAFF_OIDC_ISSUER must be an http or https URL'],
    [{ STAFF_OIDC_ROLES: 'g-1' }, 'STAFF_OIDC_ROLES must be a comma-separated list of group=role'],
    [{ STAFF_OIDC_ROLES: 'g-1=owner' }, 'STAFF_OIDC_ROLES must be a comma-separated list of group=role'],
    [{ STAFF_OIDC_ROLES: '=admin' }, 'STAFF_OIDC_ROLES must be a comma-separated list of group=role'],
    [{ STAFF_OIDC_ROLES: 'g-1=admin,' }, 'STAFF_OIDC_ROLES must be a comma-separated list of group=role'],
    [{ STAFF_OIDC_ROLES: 'g-1=admin,g-1=viewer' }, 'STAFF_OIDC_ROLES must name each group once'],
    [{ STAFF_OIDC_GROUPS_CLAIM: 'two words' }, 'STAFF_OIDC_GROUPS_CLAIM must be 1 to 255 characters'],
    [{ ADMIN_URL: 'http://console.latchkey.example' }, 'ADMIN_URL must be an https URL in production'],
    [{ ADMIN_URL: 'https://console.latchkey.example/staff' }, 'ADMIN_URL must have no path'],
    [{ PUBLIC_URL: 'https://latchkey.example/partners' }, 'ADMIN_URL is required with STAFF_OIDC_ISSUER'],
  ])('is refused with %j', (variables: Record<string, string>, message) => {
    const problems = problemsOf({ ...PRODUCTION, ...OIDC, ...variables }).join('\n');
    expect(problems).toContain(message);
    expect(problems).not.toContain('Zq8f-real-one');
  });

  it('has its console at ADMIN_URL, without the slash at its end', () => {
    const ADMIN_URL = 'https://console.latchkey.example/';
    expect(loadConfig({ ...PRODUCTION, ...OIDC, ADMIN_URL }).adminUrl).toBe('https://console.latchkey.example');
  });
});

describe('the rules that apply', () => {
  const { NODE_ENV: _, ...settings } = PRODUCTION;

  it.each(['', 'production', 'test'])('are those of production with DATABASE_URL and NODE_ENV=%s', (NODE_ENV) => {
    expect(loadConfig({ ...settings, NODE_ENV }).production).toBe(true);
    expect(
      problemsOf({ ...settings, NODE_ENV, PUBLIC_URL: 'http://localhost', KEY_ENCRYPTION_KEY: 'A'.repeat(43) }),
    ).toEqual([
      expect.stringContaining('PUBLIC_URL must be an https URL in production'),
      expect.stringContaining('KEY_ENCRYPTION_KEY must not be an example value'),
    ]);
  });

  it('are those for trying out with NODE_ENV=development and without a database', () => {
    const PUBLIC_URL = 'http://localhost:3000';
    expect(loadConfig({ ...settings, NODE_ENV: 'development', PUBLIC_URL })).toMatchObject({ production: false });
    expect(loadConfig({ PUBLIC_URL, KEY_ENCRYPTION_KEY: KEY })).toMatchObject({ production: false });
  });

  it('name both ways out in one sentence for production without a database', () => {
    expect(problemsOf({ NODE_ENV: 'production' })).toEqual([
      'DATABASE_URL is required with NODE_ENV=production: set DATABASE_URL, PUBLIC_URL and KEY_ENCRYPTION_KEY, or unset NODE_ENV to try Latchkey out on an embedded database',
    ]);
  });
});

describe('a key encryption key', () => {
  it('is 32 bytes in base64, base64url or hexadecimal', () => {
    const key = randomBytes(32);
    for (const encoding of ['base64', 'base64url', 'hex'] as const) {
      expect(parseKeyEncryptionKey(key.toString(encoding))?.equals(key)).toBe(true);
    }
  });

  it('may be followed by older keys that are being replaced', () => {
    const [newest, older] = [randomBytes(32), randomBytes(32)];
    const KEY_ENCRYPTION_KEY = `${newest.toString('base64')}, ${older.toString('hex')}`;
    expect(loadConfig({ KEY_ENCRYPTION_KEY }).keyEncryptionKeys).toEqual([newest, older]);
  });

  it('is refused in any other form', () => {
    for (const text of ['', 'x', KEY.slice(4), `${KEY}AAAA`, '!'.repeat(44)]) {
      expect(parseKeyEncryptionKey(text)).toBeUndefined();
    }
  });
});

describe('OpenTelemetry', () => {
  const telemetryOf = (variables: Record<string, string>): unknown => loadConfig(variables).telemetry;

  it('is off without an exporter or endpoint, and where it is disabled', () => {
    for (const variables of [
      {},
      { OTEL_SERVICE_NAME: 'latchkey', OTEL_TRACES_SAMPLER: 'always_on', OTEL_EXPORTER_OTLP_ENDPOINT: '' },
      { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318' },
      { OTEL_SDK_DISABLED: 'True', OTEL_TRACES_EXPORTER: 'otlp', OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318' },
    ]) {
      expect(telemetryOf(variables as Record<string, string>)).toBeUndefined();
    }
  });

  it('sends the signals that have a destination', () => {
    const serviceName = 'latchkey';
    expect(telemetryOf({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318' })).toEqual({
      serviceName,
      traces: 'otlp',
      metrics: 'otlp',
      metricIntervalMs: 60_000,
    });
    expect(
      telemetryOf({
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://x:4318/v1/traces',
        OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf',
      }),
    ).toEqual({ serviceName, traces: 'otlp', metrics: undefined, metricIntervalMs: 60_000 });
    expect(
      telemetryOf({
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4318',
        OTEL_TRACES_EXPORTER: 'console',
        OTEL_METRICS_EXPORTER: 'none',
        OTEL_METRIC_EXPORT_INTERVAL: '15000',
      }),
    ).toEqual({ serviceName, traces: 'console', metrics: undefined, metricIntervalMs: 15_000 });
  });

  it('leaves the name of the service to a variable that gives one', () => {
    const nameWith = (variables: Record<string, string>): string | undefined =>
      loadConfig({ OTEL_TRACES_EXPORTER: 'otlp', ...variables }).telemetry?.serviceName;
    expect(nameWith({ OTEL_SERVICE_NAME: ' ', OTEL_RESOURCE_ATTRIBUTES: 'a=service.name=b' })).toBe('latchkey');
    expect(nameWith({ OTEL_SERVICE_NAME: 'own' })).toBeUndefined();
    expect(nameWith({ OTEL_RESOURCE_ATTRIBUTES: 'a=b, service.name = own' })).toBeUndefined();
  });

  it('refuses other protocols than http/protobuf', () => {
    const advice = 'Send http/protobuf to an OpenTelemetry Collector, which can forward it as gRPC';
    expect(
      problemsOf({
        OTEL_EXPORTER_OTLP_ENDPOINT: 'http://x:4317',
        OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
        OTEL_EXPORTER_OTLP_TRACES_PROTOCOL: 'http/json',
        OTEL_EXPORTER_OTLP_METRICS_PROTOCOL: 'grpc',
      }),
    ).toEqual([
      `OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf; found "grpc". ${advice}`,
      `OTEL_EXPORTER_OTLP_TRACES_PROTOCOL must be http/protobuf; found "http/json". ${advice}`,
      `OTEL_EXPORTER_OTLP_METRICS_PROTOCOL must be http/protobuf; found "grpc". ${advice}`,
    ]);
  });

  it('names settings that contradict each other', () => {
    expect(
      problemsOf({
        OTEL_METRICS_EXPORTER: 'prometheus',
        OTEL_METRIC_EXPORT_INTERVAL: '1m',
      }),
    ).toEqual([
      'OTEL_METRICS_EXPORTER must be otlp or console or none; found "prometheus"',
      'OTEL_METRIC_EXPORT_INTERVAL must be a whole number of milliseconds; found "1m"',
    ]);
  });
});
