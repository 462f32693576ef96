import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { type ClientRequest, type IncomingMessage, request } from 'node:http';
import net from 'node:net';
import { performance } from 'node:perf_hooks';
import { TestApp } from '../../../test/support/app.ts';
import { failToReadMigrations } from '../../../test/support/inside.ts';
import { administer, createDatabase } from '../../../test/support/database.ts';
import { scrape } from '../../../test/support/metrics.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { describeWithRedis, RedisServer } from '../../../test/support/redis.ts';
import { keepOutput, secret } from '../../../test/support/secrets.ts';
import { isRunning, ServerProcess } from '../../../test/support/server.ts';
import { eventually, logLines } from '../../../test/support/sign-ins.ts';

interface Readiness {
  readonly http: number;
  readonly ms: number;
  readonly status: string;
  readonly details: Record<string, { status: string; state: string }>;
}

async function ready(opsUrl: string): Promise<Readiness> {
  const started = performance.now();
  const answer = await fetch(`${opsUrl}/health/ready`);
  const body = (await answer.json()) as Pick<Readiness, 'status' | 'details'>;
  return { http: answer.status, ms: performance.now() - started, status: body.status, details: body.details };
}

const live = async (opsUrl: string): Promise<number> => (await fetch(`${opsUrl}/health/live`)).status;

/** Asks until readiness matches. @returns the milliseconds until then */
async function becomes(opsUrl: string, expected: unknown): Promise<number> {
  const started = performance.now();
  let last: unknown;
  await eventually(
    async () => {
      last = await ready(opsUrl);
      try {
        expect(last).toMatchObject(expected as object);
        return true;
      } catch {
        return undefined;
      }
    },
    `readiness becomes ${JSON.stringify(expected)}`,
  ).catch((error: unknown) => {
    throw new Error(`${(error as Error).message}; it is ${JSON.stringify(last)}`);
  });
  return performance.now() - started;
}

const GOOD = {
  process: { status: 'up', state: 'serving' },
  database: { status: 'up', state: 'answers' },
  migrations: { status: 'up', state: 'current' },
  listener: { status: 'up', state: 'trusted' },
  limiterStore: { status: 'up', state: 'memory' },
};
const IS_READY = { http: 200, status: 'ok', details: GOOD };

describe('an instance', () => {
  let first: TestApp;
  let proxy: PostgresProxy;
  let app: TestApp;

  beforeAll(async () => {
    first = await TestApp.start();
    proxy = await PostgresProxy.start(first.databaseUrl);
    app = await TestApp.start({ ...first.config, databaseUrl: proxy.url });
  });
  afterAll(async () => {
    await app.close();
    await proxy.shut();
    await first.close();
  });
  beforeEach(() => becomes(app.opsUrl, IS_READY));
  afterEach(() => {
    proxy.reset();
  });

  it('is ready and lists its checks', async () => {
    expect(await ready(app.opsUrl)).toMatchObject(IS_READY);
    for (const path of ['/health/live', '/health/startup', '/health/ready']) {
      const answer = await fetch(app.opsUrl + path);
      expect([path, answer.status, answer.headers.get('cache-control')]).toEqual([path, 200, 'no-store']);
      const text = await answer.text();
      expect(text).toContain('"status":"ok"');
      // The body names no address, no database and no statement.
      expect(text).not.toMatch(/127\.0\.0\.1|localhost|postgres|SELECT|latchkey|redis:/i);
    }
  });

  it('does not log probes', async () => {
    await ready(app.opsUrl);
    const { level } = await eventually(
      () => logLines().find(({ route, msg }) => route === '/health/ready' && msg === 'request'),
      'the line of a probe',
    );
    expect(level).toBe('debug');
    await app.request('GET', '/me');
    const other = await eventually(
      () => logLines().find(({ route, msg }) => route === '/me' && msg === 'request'),
      'the line of a call',
    );
    expect(other['level']).toBe('info');
  });

  it('queries the database at most twice a second, however many probes arrive', async () => {
    const counter = proxy.countQueries("current_setting('transaction_read_only')");
    const started = performance.now();
    const answers = await Promise.all(Array.from({ length: 300 }, () => ready(app.opsUrl)));
    const elapsed = performance.now() - started;
    expect(answers.every(({ http }) => http === 200)).toBe(true);
    expect(counter.count).toBeLessThanOrEqual(1 + Math.ceil(elapsed / 500));
  });

  it('is not ready within two seconds after losing the database, stays alive and recovers', async () => {
    await proxy.shut();
    try {
      const ms = await becomes(app.opsUrl, {
        http: 503,
        details: { database: { status: 'down', state: 'no-answer' } },
      });
      expect(ms).toBeLessThan(2_000);
      expect(await live(app.opsUrl)).toBe(200);
      const { details } = await ready(app.opsUrl);
      expect(details).toMatchObject({ process: { state: 'serving' }, migrations: { state: 'unknown' } });
      await becomes(app.opsUrl, { details: { listener: { status: 'degraded', state: 'disconnected' } } });
      expect((await scrape(app.opsUrl)).value('latchkey_database_up')).toBe(0);
    } finally {
      await proxy.open();
    }
    await becomes(app.opsUrl, IS_READY);
    expect((await scrape(app.opsUrl)).value('latchkey_database_up')).toBe(1);
  });

  it('reports a frozen database within a second without hanging', async () => {
    proxy.stall();
    const ms = await becomes(app.opsUrl, { http: 503, details: { database: { status: 'down', state: 'no-answer' } } });
    expect(ms).toBeLessThan(2_000);
    for (let i = 0; i < 3; i++) {
      const answer = await ready(app.opsUrl);
      expect([answer.http, answer.ms < 1_200]).toEqual([503, true]);
    }
    await becomes(app.opsUrl, { details: { listener: { status: 'degraded' } } });
    expect(await live(app.opsUrl)).toBe(200);
    proxy.mend();
    await becomes(app.opsUrl, IS_READY);
  });

  it('is degraded but ready while no changes are notified, and bypasses the cache', async () => {
    proxy.cut('feed');
    await becomes(app.opsUrl, {
      http: 200,
      status: 'degraded',
      details: { database: { status: 'up' }, listener: { status: 'degraded', state: 'disconnected' } },
    });
    const { token } = await app.asPartner();
    expect((await app.request('GET', '/me', { token })).status).toBe(200);
    proxy.mend();
    await becomes(app.opsUrl, IS_READY);
  });

  it('is not ready with pending migrations, and ready with later ones', async () => {
    const name = 'OfALaterVersion9999999999999';
    await first.dataSource.query('INSERT INTO migration (timestamp, name) VALUES (9999999999999, $1)', [name]);
    try {
      await becomes(app.opsUrl, { http: 200, status: 'ok', details: { migrations: { status: 'up', state: 'newer' } } });
    } finally {
      await first.dataSource.query('DELETE FROM migration WHERE name = $1', [name]);
    }
    const [newest] = await first.dataSource.query<{ timestamp: string; name: string }[]>(
      'SELECT timestamp, name FROM migration ORDER BY timestamp DESC LIMIT 1',
    );
    await first.dataSource.query('DELETE FROM migration WHERE name = $1', [newest?.name]);
    try {
      await becomes(app.opsUrl, { http: 503, details: { migrations: { status: 'down', state: 'pending' } } });
    } finally {
      await first.dataSource.query('INSERT INTO migration (timestamp, name) VALUES ($1, $2)', [
        newest?.timestamp,
        newest?.name,
      ]);
    }
  });

  it('is degraded but ready on a read-only database', async () => {
    const { pathname } = new URL(first.databaseUrl);
    const name = pathname.slice(1);
    const endConnections = `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '${name}'`;
    try {
      await administer(`ALTER DATABASE "${name}" SET default_transaction_read_only = on`, endConnections);
      await becomes(app.opsUrl, { http: 200, details: { database: { status: 'degraded', state: 'read-only' } } });
    } finally {
      await administer(`ALTER DATABASE "${name}" RESET default_transaction_read_only`, endConnections);
    }
    await becomes(app.opsUrl, IS_READY);
  });
});

describeWithRedis('an instance with Redis', () => {
  it('is degraded but ready while Redis is down, and counts limits in memory', async () => {
    const redis = await RedisServer.start();
    const app = await TestApp.start({ redisUrl: redis.url });
    try {
      const stored = { http: 200, status: 'ok', details: { limiterStore: { status: 'up', state: 'redis' } } };
      await becomes(app.opsUrl, stored);
      expect((await scrape(app.opsUrl)).value('latchkey_limiter_store_up')).toBe(1);
      await redis.stop();
      await becomes(app.opsUrl, {
        http: 200,
        status: 'degraded',
        details: { limiterStore: { status: 'degraded', state: 'redis-away' } },
      });
      expect((await scrape(app.opsUrl)).value('latchkey_limiter_store_up')).toBe(0);
      await app.asPartner();
      await redis.restart();
      await becomes(app.opsUrl, stored);
    } finally {
      await app.close();
      await redis.remove();
    }
  });
});

/** A request whose headers have arrived, but not its body. */
class SlowRequest {
  readonly #sent: ClientRequest;
  readonly #answer: Promise<IncomingMessage>;
  readonly #rest: string;

  constructor(url: string, headers: Record<string, string>, body: string) {
    this.#rest = body.slice(1);
    this.#sent = request(url, {
      method: 'POST',
      headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
      agent: false,
    });
    this.#answer = once(this.#sent, 'response').then(([answer]) => answer as IncomingMessage);
    this.#answer.catch(() => undefined);
    this.#sent.write(body.slice(0, 1));
  }

  async finish(): Promise<{ status: number | undefined; text: string }> {
    this.#sent.end(this.#rest);
    const answer = await this.#answer;
    let text = '';
    for await (const chunk of answer) text += String(chunk);
    return { status: answer.statusCode, text };
  }
}

/** Whether a server accepts connections at an address. */
function accepts(url: string): Promise<boolean> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve) => {
    const socket = net.connect(Number(port), hostname);
    const end = (is: boolean): void => {
      socket.destroy();
      resolve(is);
    };
    socket.on('connect', () => {
      end(true);
    });
    socket.on('error', () => {
      end(false);
    });
  });
}

describe('the built server', () => {
  let app: TestApp;
  let server: ServerProcess | undefined;

  beforeAll(async () => {
    // This application creates the accounts. The server shares its database.
    app = await TestApp.start();
  });
  afterAll(() => app.close());
  afterEach(async () => {
    if (!server) return;
    if (isRunning(server.pid)) await server.kill('SIGKILL');
    keepOutput(server.stdout + server.stderr);
    server = undefined;
  });

  const start = (env: Record<string, string> = {}): ServerProcess =>
    (server = new ServerProcess({
      env: {
        NODE_ENV: 'development',
        DATABASE_URL: app.databaseUrl,
        PUBLIC_URL: app.config.publicUrl,
        KEY_ENCRYPTION_KEY: app.config.keyEncryptionKeys[0].toString('base64'),
        PORT: '0',
        ADMIN_PORT: '0',
        OPS_PORT: '0',
        ...env,
      },
    }));

  it('on SIGTERM is not ready first, then closes, answers what it has, and is observable to the end', async () => {
    const running = start();
    const url = await running.listening();
    const staffUrl = running.line('Staff API on ');
    const opsUrl = running.line('Operations on ');
    await becomes(opsUrl, { http: 200, details: { process: { state: 'serving' } } });
    const partner = await app.newPartner();
    const staff = await app.asStaff('operator');
    const slow = new SlowRequest(
      `${url}/generateToken`,
      { 'content-type': 'application/x-www-form-urlencoded' },
      new URLSearchParams({ Username: partner.username, Password: partner.password }).toString(),
    );
    const slowStaff = new SlowRequest(
      `${staffUrl}/admin/channel-users`,
      { 'content-type': 'application/json', authorization: `Bearer ${staff.token}` },
      JSON.stringify({ username: 'during-the-drain', displayName: 'During the drain', deliver: 'link' }),
    );
    await eventually(async () => {
      const metrics = await scrape(opsUrl);
      // The scrape is in flight, too.
      return metrics.value('latchkey_http_requests_in_flight') === 3 ? true : undefined;
    }, 'both have arrived');

    process.kill(running.pid, 'SIGTERM');
    await eventually(async () => {
      const isOpen = (await Promise.all([accepts(url), accepts(staffUrl)])).some(Boolean);
      // Asks for readiness after trying the listeners: once they are closed, readiness must say so.
      const { http, status, details } = await ready(opsUrl);
      if (isOpen) return undefined;
      expect({ http, status, details }).toEqual({
        http: 503,
        status: 'shutting_down',
        details: { process: { status: 'down', state: 'shutting-down' } },
      });
      return true;
    }, 'both are closed');
    expect(await live(opsUrl)).toBe(200);
    expect((await scrape(opsUrl)).value('latchkey_shutting_down')).toBe(1);

    const [token, provisioned] = await Promise.all([slow.finish(), slowStaff.finish()]);
    expect([token.status, provisioned.status]).toEqual([200, 201]);
    secret(token.text);
    expect(await running.exited).toBe(0);
    expect(await accepts(opsUrl)).toBe(false);
  });

  it('stops at once when only idle connections are left, even of probes', async () => {
    const running = start();
    const url = await running.listening();
    const opsUrl = running.line('Operations on ');
    // fetch() keeps these connections open.
    await Promise.all([fetch(`${url}/me`), ready(opsUrl), scrape(opsUrl), fetch(running.line('Staff API on '))]);
    const started = performance.now();
    expect(await running.kill('SIGTERM')).toBe(0);
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it('reports its start only when it answers calls', async () => {
    const free = net.createServer().listen(0, '127.0.0.1');
    await once(free, 'listening');
    const { port } = free.address() as net.AddressInfo;
    free.close();
    await once(free, 'close');
    const opsUrl = `http://127.0.0.1:${String(port)}`;
    const running = start({ OPS_PORT: String(port) });
    const statuses = new Set<number | undefined>();
    await eventually(
      async () => {
        const status = await fetch(`${opsUrl}/health/startup`).then(
          (answer) => answer.status,
          () => undefined,
        );
        statuses.add(status);
        return status === 200 ? true : undefined;
      },
      'it has started',
      60_000,
    );
    // Before the 200, there was no answer or a 503.
    expect([...statuses].every((status) => status === undefined || status === 503 || status === 200)).toBe(true);
    const url = await running.listening();
    expect((await fetch(`${url}/me`)).status).toBe(401);
    expect(await running.kill('SIGTERM')).toBe(0);
  });
});

it('answers probes and scrapes after everything else has ended', async () => {
  const app = await TestApp.start();
  try {
    await app.app.close();
    expect(await accepts(app.url)).toBe(false);
    expect(await ready(app.opsUrl)).toMatchObject({ http: 503, status: 'shutting_down' });
    expect(await live(app.opsUrl)).toBe(200);
    const metrics = await scrape(app.opsUrl);
    expect(metrics.value('latchkey_shutting_down')).toBe(1);
    expect(metrics.value('latchkey_database_up')).toBe(0);
  } finally {
    await app.close();
  }
  expect(await accepts(app.opsUrl)).toBe(false);
});

it('answers probes correctly before the database was ever reached', async () => {
  const { url, drop } = await createDatabase();
  const proxy = await PostgresProxy.start(url);
  const app = await TestApp.start({ databaseUrl: proxy.url, keyEncryptionKeys: [randomBytes(32)] });
  try {
    // The first probe meets a database that is unreachable.
    await proxy.shut();
    expect(await ready(app.opsUrl)).toMatchObject({
      http: 503,
      details: { database: { status: 'down' }, migrations: { status: 'degraded', state: 'unknown' } },
    });
    await proxy.open();
    await becomes(app.opsUrl, IS_READY);
  } finally {
    await app.close();
    await proxy.shut();
    await drop();
  }
});

it('is ready again after the migrations could not be read once', async () => {
  const app = await TestApp.start();
  try {
    // The first probe fails with too many open files.
    const error = Object.assign(new Error('EMFILE: too many open files'), { code: 'EMFILE' });
    const mend = failToReadMigrations(app, error);
    expect(await ready(app.opsUrl)).toMatchObject({ http: 503 });
    mend();
    await becomes(app.opsUrl, IS_READY);
  } finally {
    await app.close();
  }
});
