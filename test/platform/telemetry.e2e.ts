import * as argon2 from '@node-rs/argon2';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { type Partner, TestApp } from '../support/app.ts';
import { OtlpReceiver, type ReceivedSpan } from '../support/otlp-receiver.ts';
import { freePort } from '../support/ports.ts';
import { itWithRedis, RedisServer } from '../support/redis.ts';
import { secret } from '../support/secrets.ts';
import { ServerProcess } from '../support/server.ts';
import { eventually, importPassword, until } from '../support/sign-ins.ts';
import { signInStaff } from '../support/staff-sign-in.ts';

const [INTERNAL, SERVER, CLIENT] = [1, 2, 3];

/** An instance in the test's own process, for provisioning on the database that the built server uses. */
let app: TestApp;
const processes: ServerProcess[] = [];

beforeAll(async () => {
  app = await TestApp.start();
});

afterEach(async () => {
  await Promise.all(processes.splice(0).map((server) => server.kill('SIGKILL').catch(() => undefined)));
});

afterAll(async () => {
  await app.close();
});

/** The built server, as an operator runs it. */
function start(env: Record<string, string>, nodeOptions: string[] = []): ServerProcess {
  const server = new ServerProcess({
    command: [process.execPath, ...nodeOptions, 'dist/src/main.js'],
    env: {
      PORT: '0',
      NODE_ENV: 'development',
      DATABASE_URL: app.databaseUrl,
      PUBLIC_URL: app.config.publicUrl,
      TOKEN_AUDIENCE: app.config.tokenAudience,
      KEY_ENCRYPTION_KEY: app.config.keyEncryptionKeys[0].toString('base64'),
      ...env,
    },
  });
  processes.push(server);
  return server;
}

/** Batches leave soon. */
const exportTo = (endpoint: string): Record<string, string> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
  OTEL_BSP_SCHEDULE_DELAY: '50',
  OTEL_METRIC_EXPORT_INTERVAL: '200',
});

const form = (fields: Record<string, string>): RequestInit => ({ method: 'POST', body: new URLSearchParams(fields) });

const signIn = (url: string, { username, password }: Pick<Partner, 'username' | 'password'>): Promise<Response> =>
  fetch(`${url}/generateToken`, form({ Username: username, Password: password }));

interface LogLine extends Record<string, unknown> {
  readonly msg: string;
  readonly requestId?: string;
}

const logOf = (server: ServerProcess): LogLine[] =>
  server.stdout
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as LogLine);

const idOf = (answer: Response): string => answer.headers.get('x-request-id') ?? '';

describe('with a collector', () => {
  let receiver: OtlpReceiver;
  beforeEach(async () => {
    receiver = await OtlpReceiver.start();
  });
  afterEach(() => receiver.close());

  /** The span of a request, by the id that its client was given. */
  const spanOf = (answer: Response): Promise<ReceivedSpan> =>
    eventually(
      () => receiver.spans.find(({ attributes }) => attributes['latchkey.request_id'] === idOf(answer)),
      `The span of ${answer.url} arrives`,
    );
  const childrenOf = (span: ReceivedSpan): ReceivedSpan[] =>
    receiver.spans.filter((s) => s.parentSpanId === span.spanId);

  it('exports a request as a span under its route with its queries, in the trace of its caller', async () => {
    const partner = await app.newPartner();
    const server = start(exportTo(receiver.url));
    const url = await server.listening();
    const [traceId, parentSpanId] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
    const answer = await fetch(`${url}/generateToken`, {
      ...form({ Username: partner.username, Password: partner.password }),
      headers: { traceparent: `00-${traceId}-${parentSpanId}-01` },
    });
    const token = secret(await answer.text());
    expect(answer.status).toBe(200);
    const span = await spanOf(answer);
    expect(span).toMatchObject({ name: 'POST /generateToken', kind: SERVER, traceId, parentSpanId });
    expect(span.attributes).toMatchObject({
      'http.request.method': 'POST',
      'http.route': '/generateToken',
      'http.response.status_code': 200,
    });
    const work = await eventually(() => {
      const children = childrenOf(span);
      return children.some(({ name }) => name === 'sign token') && children.some(({ kind }) => kind === CLIENT)
        ? children
        : undefined;
    }, 'The spans of the work arrive');
    expect(work.find(({ name }) => name === 'sign token')).toMatchObject({ kind: INTERNAL, traceId });
    const queries = receiver.spans.filter((s) => s.traceId === traceId && s.attributes['db.query.text'] !== undefined);
    expect(queries.length).toBeGreaterThan(0);
    for (const { kind, attributes } of queries) {
      expect([kind, attributes['db.system.name']]).toEqual([CLIENT, 'postgresql']);
    }

    const me = await fetch(`${url}/me`, { headers: { authorization: `Bearer ${token}` } });
    expect(await spanOf(me)).toMatchObject({ name: 'GET /me', kind: SERVER });
    const refused = await fetch(`${url}/admin/channel-users/${partner.id}`, {
      headers: { authorization: `Bearer ${token}` },
    });
    const refusal = await spanOf(refused);
    expect(refusal.name).toBe('GET /admin/channel-users/:id');
    expect(refusal.attributes).toMatchObject({ 'http.response.status_code': 403 });
    expect(refusal.attributes['latchkey.error_code']).toEqual(expect.stringContaining('.'));
    const unknown = await spanOf(await fetch(`${url}/no/such/path`));
    expect([unknown.name, unknown.attributes['http.route']]).toEqual(['GET', undefined]);
    expect(receiver.resources[0]).toMatchObject({ 'service.name': 'latchkey' });
  });

  it('writes the ids of exported spans into the log', async () => {
    const partner = await app.newPartner();
    const server = start(exportTo(receiver.url));
    const url = await server.listening();
    const answers = [await signIn(url, partner), await fetch(`${url}/me`), await fetch(`${url}/nowhere`)];
    for (const answer of answers) {
      const { traceId, spanId } = await spanOf(answer);
      const line = await eventually(
        () => logOf(server).find(({ msg, requestId }) => msg === 'request' && requestId === idOf(answer)),
        'The line of the request is written',
      );
      expect(line).toMatchObject({ traceId, spanId });
    }
    expect(new Set(answers.map(idOf)).size).toBe(3);
  });

  it('exports no password, token or username, wherever a client puts it', async () => {
    const partner = await app.newPartner();
    const imported = await app.newPartner();
    const humanMade = secret(`hunter-${randomBytes(6).toString('hex')}`);
    await importPassword(app, imported.id, await argon2.hash(humanMade));
    const mistyped = secret(`mistyped-${randomBytes(6).toString('hex')}`);
    const server = start({ ...exportTo(receiver.url), LEGACY_QUERY_CREDENTIALS: 'true' });
    const url = await server.listening();
    const token = secret(await (await signIn(url, partner)).text());
    const session = await signInStaff(url, { email: `${mistyped}@staff.example`, password: mistyped });
    const query = new URLSearchParams({ username: partner.username, password: partner.password }).toString();
    const legacy = await fetch(`${url}/generateToken?${query}`, { method: 'POST' });
    secret(await legacy.text());
    const slow = await signIn(url, { username: imported.username, password: humanMade });
    secret(await slow.text());
    const answers = [
      session,
      legacy,
      slow,
      await signIn(url, { username: mistyped, password: mistyped }),
      await fetch(`${url}/me?access_token=${token}`, { headers: { cookie: `latchkey=${token}`, 'user-agent': token } }),
      await fetch(`${url}/nothing/${partner.password}?password=${partner.password}`, {
        headers: { 'x-forwarded-for': mistyped },
      }),
      await fetch(`${url}/me`, { headers: { authorization: `Bearer ${token}` } }),
      // Not a UUID: what PostgreSQL says of it quotes it.
      await fetch(`${url}/admin/channel-users/${mistyped}`, { headers: { authorization: `Bearer ${token}` } }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([401, 200, 200, 401, 401, 404, 200, 403]);
    const [, legacySpan, slowSpan] = await Promise.all(answers.map(spanOf));
    expect(legacySpan?.name).toBe('POST /generateToken');
    const hash = await eventually(
      () => receiver.spans.find(({ name, traceId }) => name === 'verify slow hash' && traceId === slowSpan?.traceId),
      'The span of the slow hash arrives',
    );
    expect(Number(hash.attributes['latchkey.waited_ms'])).toBeGreaterThanOrEqual(0);
    // Everything there is.
    expect(await server.kill('SIGTERM')).toBe(0);
    expect(receiver.payload).toContain('POST /generateToken');
    expect(receiver.payload).toContain('http.server.request.duration');
    const secrets = [
      partner.password,
      partner.username,
      imported.username,
      humanMade,
      mistyped,
      token,
      'Bearer ',
      query,
    ];
    for (const text of secrets) {
      expect(receiver.payload).not.toContain(text);
      expect(receiver.payload).not.toContain(encodeURIComponent(text));
    }
    for (const key of ['url.full', 'url.query', 'url.path', 'user_agent.original', 'client.address']) {
      expect(receiver.payload).not.toContain(key);
    }
  });

  it('exports metrics of requests and of the runtime', async () => {
    const server = start(exportTo(receiver.url));
    const url = await server.listening();
    await fetch(`${url}/me`);
    const series = await eventually(
      () => receiver.metrics.get('http.server.request.duration')?.filter((point) => point['http.route'] === '/me'),
      'The metric of the request arrives',
    );
    expect(series).toEqual([
      expect.objectContaining({ 'http.response.status_code': 401, 'http.request.method': 'GET' }),
    ]);
    expect([...receiver.metrics.keys()]).toEqual(
      expect.arrayContaining(['nodejs.eventloop.utilization', 'v8js.memory.heap.used']),
    );
  });

  it('exports the name that a variable gives to the service', async () => {
    const servers = [
      start({ ...exportTo(receiver.url), OTEL_SERVICE_NAME: 'first' }),
      start({ ...exportTo(receiver.url), OTEL_SERVICE_NAME: '', OTEL_RESOURCE_ATTRIBUTES: 'a=b, service.name=second' }),
    ];
    for (const [i, name] of ['first', 'second'].entries()) {
      await fetch(`${(await servers[i]?.listening()) ?? ''}/me`);
      await eventually(
        () => receiver.resources.find((resource) => resource['service.name'] === name),
        `A span of the service ${name} arrives`,
      );
    }
    expect(receiver.resources.map((resource) => resource['service.name'])).not.toContain('latchkey');
  });

  itWithRedis('exports Redis commands without their arguments', async () => {
    const partner = await app.newPartner();
    const redis = await RedisServer.start();
    try {
      const server = start({ ...exportTo(receiver.url), REDIS_URL: redis.url });
      const url = await server.listening();
      const texts = await eventually(async () => {
        const { traceId } = await spanOf(await signIn(url, { ...partner, password: 'wrong' }));
        const commands = receiver.spans.filter(
          (s) => s.traceId === traceId && s.kind === CLIENT && s.attributes['db.system.name'] === 'redis',
        );
        return commands.length > 2 ? commands.map(({ attributes }) => String(attributes['db.query.text'])) : undefined;
      }, 'A sign-in counts in Redis');
      expect(texts.filter((text) => !/^[a-z]+$/i.test(text))).toEqual([]);
    } finally {
      await redis.remove();
    }
  });

  it('is not delayed when the collector freezes, and logs its loss and return once', async () => {
    receiver.isFrozen = true;
    const server = start({ ...exportTo(receiver.url), OTEL_EXPORTER_OTLP_TIMEOUT: '500' });
    const url = await server.listening();
    const slowest = await slowestOf(url, 200);
    expect(slowest).toBeLessThan(1_000);
    const told = (text: string): LogLine[] => logOf(server).filter(({ msg }) => msg.startsWith(text));
    await eventually(() => told('Sending telemetry failed')[0], 'The outage is told');
    // Both signals fail, again and again.
    const before = receiver.requests;
    await until(() => receiver.requests >= before + 4, 'Batches go on');
    expect(told('Sending telemetry failed')).toHaveLength(1);
    receiver.thaw();
    await fetch(`${url}/me`);
    await eventually(() => told('Sending telemetry works again')[0], 'The return is told');
  });

  it('stops in time although the collector is frozen', async () => {
    receiver.isFrozen = true;
    // As long as OpenTelemetry waits unless told otherwise.
    const server = start(exportTo(receiver.url));
    const url = await server.listening();
    await fetch(`${url}/me`);
    await until(() => receiver.requests > 0, 'Something is on its way');
    const begun = performance.now();
    // SIGTERM keeps idle connections for a while.
    expect(await server.interrupt()).toBe(0);
    expect(performance.now() - begun).toBeLessThan(5_000);
  });

  it('sends the remaining data when the server stops', async () => {
    const server = start({ ...exportTo(receiver.url), OTEL_BSP_SCHEDULE_DELAY: '60000' });
    const url = await server.listening();
    const answer = await fetch(`${url}/me`);
    expect(await server.kill('SIGTERM')).toBe(0);
    expect(receiver.spans.map(({ attributes }) => attributes['latchkey.request_id'])).toContain(idOf(answer));
  });
});

/** Sends requests one after the other. @returns how long the slowest took, in milliseconds */
async function slowestOf(url: string, count: number): Promise<number> {
  let slowest = 0;
  for (let i = 0; i < count; i++) {
    const begun = performance.now();
    expect((await fetch(`${url}/me`)).status).toBe(401);
    slowest = Math.max(slowest, performance.now() - begun);
  }
  return slowest;
}

it('answers requests, logs once and stops in time without a collector', async () => {
  const server = start(exportTo(`http://127.0.0.1:${String(await freePort())}`));
  const url = await server.listening();
  expect(await slowestOf(url, 200)).toBeLessThan(1_000);
  const told = (): LogLine[] => logOf(server).filter(({ msg }) => msg.startsWith('Sending telemetry'));
  // OpenTelemetry tries for some seconds before it gives a batch up.
  const line = await eventually(() => told()[0], 'The outage is told', 25_000);
  expect(line).toMatchObject({ level: 'warn', msg: expect.stringContaining('ECONNREFUSED') as string });
  const begun = performance.now();
  expect(await server.interrupt()).toBe(0);
  expect(performance.now() - begun).toBeLessThan(5_000);
  expect(told()).toHaveLength(1);
});

describe('the loaded modules', () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'latchkey-loaded-'));
  afterAll(() => {
    rmSync(folder, { recursive: true, force: true });
  });

  /** @returns the packages that a running server has loaded */
  async function loaded(env: Record<string, string>): Promise<Set<string>> {
    const file = path.join(folder, randomBytes(4).toString('hex'));
    const server = start({ ...env, LOADED_MODULES: file }, ['--import', './test/support/loaded-modules.mjs']);
    const url = await server.listening();
    await fetch(`${url}/me`);
    expect(await server.kill('SIGTERM')).toBe(0);
    const urls = readFileSync(file, 'utf8').split('\n');
    return new Set(urls.map((each) => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(each)?.[1] ?? 'latchkey'));
  }
  const ofTelemetry = (packages: Set<string>): string[] =>
    [...packages].filter((name) => /opentelemetry|in-the-middle|grpc|protobuf/.test(name));

  it('contain no OpenTelemetry without its variables', async () => {
    const packages = await loaded({ OTEL_SERVICE_NAME: 'named, but for nobody' });
    expect([...packages]).toEqual(expect.arrayContaining(['pg', 'fastify', '@nestjs/core']));
    expect(ofTelemetry(packages)).toEqual([]);
  });

  it('contain no OpenTelemetry where it is disabled', async () => {
    const packages = await loaded({ ...exportTo('http://127.0.0.1:1'), OTEL_SDK_DISABLED: 'true' });
    expect(ofTelemetry(packages)).toEqual([]);
  });

  it('contain OpenTelemetry where it is asked for', async () => {
    const packages = await loaded({ OTEL_TRACES_EXPORTER: 'console' });
    expect(ofTelemetry(packages)).toContain('@opentelemetry/sdk-node');
  });
});

it.each([
  [{ OTEL_TRACES_EXPORTER: 'zipkin' }, 'OTEL_TRACES_EXPORTER must be otlp or console or none'],
  [
    { ...exportTo('http://127.0.0.1:4317'), OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc' },
    'OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf; found "grpc". Send http/protobuf to an OpenTelemetry Collector',
  ],
])('refuses a variable that it cannot follow at the start, and names it: %p', async (variables, problem) => {
  const server = start(variables);
  expect(await server.exited).toBe(1);
  expect(server.stderr).toContain(problem);
});
