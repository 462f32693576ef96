import * as argon2 from '@node-rs/argon2';
import { randomUUID } from 'node:crypto';
import { request } from 'node:http';
import net from 'node:net';
import { readFileSync } from 'node:fs';
import { DURATION_BOUNDS } from '../../platform/http/route-stats.ts';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { holdRefusals } from '../../../test/support/inside.ts';
import { type Metrics, scrape } from '../../../test/support/metrics.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { secret } from '../../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  eventually,
  importPassword,
  inParallel,
  logLines,
  newAddress,
  signInFrom,
  until,
} from '../../../test/support/sign-ins.ts';

let app: TestApp;
let proxy: PostgresProxy;
/** An instance that reaches the same database through a proxy. */
let proxied: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  proxy = await PostgresProxy.start(app.databaseUrl);
  proxied = await TestApp.start({ ...app.config, databaseUrl: proxy.url });
});
afterAll(async () => {
  await proxied.close();
  await proxy.shut();
  await app.close();
});
afterEach(() => {
  proxy.reset();
  app.clockOffset = 0;
});

type Labels = Record<string, string>;

/** Measures by how much counters grow during some work. */
async function growth(work: () => Promise<unknown>): Promise<(name: string, labels?: Labels) => number> {
  const before = await scrape(app.opsUrl);
  await work();
  const after = await scrape(app.opsUrl);
  return (name, labels) => after.sum(`latchkey_${name}`, labels) - before.sum(`latchkey_${name}`, labels);
}

/** Scrapes until the metrics match. */
const seen = (of: TestApp, is: (metrics: Metrics) => boolean, what: string): Promise<Metrics> =>
  eventually(async () => {
    const metrics = await scrape(of.opsUrl);
    return is(metrics) ? metrics : undefined;
  }, what);

const me = (token?: string): Promise<Answer> => app.request('GET', '/me', token === undefined ? {} : { token });

/** Sends any method and path. fetch() would refuse some. */
function raw(method: string, path: string, headers: Record<string, string> = {}): Promise<number> {
  const { hostname, port } = new URL(app.url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers, agent: false }, (answer) => {
      answer.resume().on('end', () => {
        resolve(answer.statusCode ?? 0);
      });
    });
    sent.on('error', reject).end();
  });
}

const TYPES = {
  http_requests_total: 'counter',
  http_request_duration_seconds: 'histogram',
  http_requests_in_flight: 'gauge',
  tokens_generated_total: 'counter',
  tokens_refused_total: 'counter',
  guard_refusals_total: 'counter',
  limiter_decisions_total: 'counter',
  limiter_store_up: 'gauge',
  directory_reads_total: 'counter',
  directory_accounts: 'gauge',
  change_feed_up: 'gauge',
  change_feed_lag_seconds: 'gauge',
  database_up: 'gauge',
  database_pool_connections: 'gauge',
  database_pool_waiting: 'gauge',
  database_pool_max: 'gauge',
  database_errors_total: 'counter',
  queue_depth: 'gauge',
  records_lost_total: 'counter',
  slow_hashes_total: 'counter',
  slow_hash_running: 'gauge',
  signing_key_age_seconds: 'gauge',
  audit_events_total: 'counter',
  audit_chain_sequence: 'gauge',
  notice_deliveries_total: 'counter',
  shutting_down: 'gauge',
  build_info: 'gauge',
};

it('has the text format with a type and a help text for each metric', async () => {
  const answer = await fetch(`${app.opsUrl}/metrics`);
  expect(answer.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(answer.headers.get('cache-control')).toBe('no-store');
  const text = await answer.text();
  for (const [name, type] of Object.entries(TYPES)) {
    expect(text).toContain(`# TYPE latchkey_${name} ${type}\n`);
    expect(text).toMatch(new RegExp(`^# HELP latchkey_${name} \\S.+\\.$`, 'm'));
  }
  expect(text).toMatch(/^nodejs_eventloop_lag_p99_seconds [\d.e-]+$/m);
  expect(text).toMatch(/^process_resident_memory_bytes \d+$/m);
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const metrics = await scrape(app.opsUrl);
  expect(metrics.value('latchkey_build_info', { version })).toBe(1);
  expect(metrics.value('latchkey_shutting_down')).toBe(0);
  expect(metrics.value('latchkey_limiter_store_up')).toBe(1);
  // Every series is unique, since Prometheus would refuse the whole scrape otherwise.
  const keys = metrics.series.map(({ name, labels }) => `${name} ${JSON.stringify(Object.entries(labels).sort())}`);
  expect(new Set(keys).size).toBe(keys.length);
});

describe('requests in the metrics', () => {
  it('are counted by API, template, method and status', async () => {
    const { token, id } = await app.asPartner();
    const staff = await app.asStaff('viewer');
    const grown = await growth(async () => {
      for (let i = 0; i < 3; i++) await me(token);
      await me();
      await app.request('GET', `/admin/channel-users/${id}`, { token: staff.token });
      await app.request('GET', `/admin/channel-users/${randomUUID()}`, { token: staff.token });
      await app.request('PUT', '/me', { token });
      await app.request('GET', '/nothing-here');
    });
    const count = (labels: Labels): number => grown('http_requests_total', labels);
    const ofMe = { plane: 'partner', route: '/me', method: 'GET' };
    expect(count({ ...ofMe, status: '200' })).toBe(3);
    expect(count({ ...ofMe, status: '401' })).toBe(1);
    const ofOne = { plane: 'staff', route: '/admin/channel-users/:id', method: 'GET' };
    expect(count({ ...ofOne, status: '200' })).toBe(1);
    expect(count({ ...ofOne, status: '404' })).toBe(1);
    expect(count({ ...ofMe, method: 'PUT', status: '405' })).toBe(1);
    expect(count({ plane: 'partner', route: 'unmatched', method: 'GET', status: '404' })).toBe(1);
    // Counts the first of the two scrapes.
    expect(count({ plane: 'ops', route: '/metrics', method: 'GET', status: '200' })).toBe(1);
    expect(grown('guard_refusals_total', { plane: 'partner', error_code: 'auth.no-token' })).toBe(1);
    expect(grown('guard_refusals_total')).toBe(1);
  });

  it('have durations in buckets that add up', async () => {
    const partner = await app.newPartner();
    const route = { plane: 'partner', route: '/generateToken' };
    const grown = await growth(async () => {
      secret(await app.generateToken(partner));
      app.waits = 'real';
      // This refusal is answered after 250 ms or a multiple.
      await app.generateToken({ ...partner, password: 'wrong' }).catch(() => undefined);
      app.waits = 'none';
    });
    const name = 'http_request_duration_seconds';
    const buckets = [...DURATION_BOUNDS.map(String), '+Inf'].map((le) => grown(`${name}_bucket`, { ...route, le }));
    expect(buckets).toEqual([...buckets].sort((a, b) => a - b));
    expect(buckets.at(-1)).toBe(2);
    expect(grown(`${name}_count`, route)).toBe(2);
    expect(grown(`${name}_bucket`, { ...route, le: '0.1' })).toBeLessThanOrEqual(1);
    expect(grown(`${name}_sum`, route)).toBeGreaterThan(0.24);
    expect(grown(`${name}_sum`, route)).toBeLessThan(10);
  });

  it('are logged and counted once, and not in flight, after their clients hang up', async () => {
    const partner = await app.asPartner();
    const gone = { route: '/generateToken', status: '499' };
    let requestId = '';
    const grown = await growth(async () => {
      const { hostname, port } = new URL(app.url);
      const body = new URLSearchParams({ Username: partner.username, Password: 'wrong' }).toString();
      const headers = { 'content-type': 'application/x-www-form-urlencoded', 'x-forwarded-for': '192.0.2.99' };
      const release = holdRefusals(app);
      const sent = request({ hostname, port, path: '/generateToken', method: 'POST', headers, agent: false });
      sent.on('error', () => undefined).end(body);
      const waiting = { queue: 'waiting_room' };
      await seen(app, (metrics) => metrics.value('latchkey_queue_depth', waiting) === 1, 'the refusal waits');
      sent.destroy();
      await seen(app, (metrics) => metrics.sum('latchkey_http_requests_total', gone) > 0, 'it is counted');
      const line = await eventually(
        () => logLines().find(({ address, msg }) => address === '192.0.2.99' && msg === 'request'),
        'it is logged',
      );
      requestId = String(line['requestId']);
      expect(line).toMatchObject({ route: '/generateToken', status: 499, code: 'client.gone' });
      release();
      // The answer for the client that left is ready, too.
      await seen(app, (metrics) => metrics.value('latchkey_queue_depth', waiting) === 0, 'no refusal waits');
    });
    expect(grown('http_requests_total', { route: '/generateToken' })).toBe(1);
    expect(grown('tokens_refused_total', { error_code: 'client.gone' })).toBe(1);
    expect(logLines().filter((line) => line['requestId'] === requestId && line['msg'] === 'request')).toHaveLength(1);
    // The scrape itself is in flight.
    await seen(app, (metrics) => metrics.value('latchkey_http_requests_in_flight') <= 1, 'nothing is in flight');
  });

  it('are counted when the parser refuses them', async () => {
    const grown = await growth(async () => {
      expect(await raw('GET', '/', { 'x-large': 'x'.repeat(40_000) })).toBe(431);
      expect(await raw('GET', '/%zz')).toBe(400);
    });
    const unmatched = { plane: 'partner', route: 'unmatched' };
    expect(grown('http_requests_total', { ...unmatched, method: 'other', status: '431' })).toBe(1);
    expect(grown('http_requests_total', { ...unmatched, method: 'GET', status: '400' })).toBe(1);
  });

  it('have a bounded number of series without names, whatever clients send', async () => {
    const { hostname, port } = new URL(app.url);
    const malformed = async (): Promise<void> => {
      const socket = net.connect(Number(port), hostname);
      socket.end(`${randomUUID()}\r\n\r\n`);
      for await (const _ of socket);
    };
    const partner = await app.newPartner();
    const sent: string[] = [partner.username, partner.id, partner.credentialId];
    const storm = async (): Promise<void> => {
      await inParallel(60, 10, async (i) => {
        const id = randomUUID();
        const username = `guess-${id}`;
        const address = newAddress();
        sent.push(id, address);
        await signInFrom(app, address, { username, password: id }, { 'user-agent': id });
        for (const path of [`/${id}`, `/admin/${id}`, `/me/${id}`, `/console/${id}`, `/generateToken?${id}=1`]) {
          await raw('GET', path, { 'x-forwarded-for': address, authorization: `Bearer ${id}` });
        }
        await app.request('GET', `/admin/channel-users/${id}`, { token: id });
        const methods = ['PROPFIND', 'M-SEARCH', 'REPORT', 'MKCALENDAR', 'QUERY', 'TRACE', 'OPTIONS', 'PURGE', 'LOCK'];
        await raw(methods[i % methods.length] ?? '', i % 2 === 0 ? '/me' : `/${id}`);
        await malformed();
      });
    };
    const seriesOf = ({ series }: Metrics): string[] =>
      series
        .filter(({ name }) => name.startsWith('latchkey_'))
        .map(({ name, labels }) => `${name} ${JSON.stringify(labels)}`)
        .sort();
    await storm();
    const first = await scrape(app.opsUrl);
    await storm();
    const second = await scrape(app.opsUrl);
    expect(seriesOf(second)).toEqual(seriesOf(first));
    for (const text of sent) expect(second.text).not.toContain(text);

    const routes = new Set(app.app.table.routes.map(({ url }) => url));
    for (const { labels } of second.all('latchkey_http_requests_total')) {
      expect(['partner', 'staff', 'ops']).toContain(labels['plane']);
      expect(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'other']).toContain(labels['method']);
      expect([labels['route'], routes.has(labels['route'] ?? '') || labels['route'] === 'unmatched']).toEqual([
        labels['route'],
        true,
      ]);
      expect(labels['status']).toMatch(/^[1-5]\d\d$/);
    }
    expect(second.sum('latchkey_http_requests_total', { method: 'other', route: 'unmatched' })).toBeGreaterThan(0);
    expect(
      second.sum('latchkey_http_requests_total', { method: 'other', route: '/me', status: '405' }),
    ).toBeGreaterThan(0);
  });

  it('are counted by each application separately', async () => {
    const before = await scrape(proxied.opsUrl);
    const { token } = await app.asPartner();
    await me(token);
    const after = await scrape(proxied.opsUrl);
    expect(after.sum('latchkey_http_requests_total', { plane: 'partner' })).toBe(
      before.sum('latchkey_http_requests_total', { plane: 'partner' }),
    );
  });
});

describe('tokens in the metrics', () => {
  it('are counted by endpoint, and refusals by code', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 2 });
    const suspended = await app.newPartner();
    const { token } = await app.asStaff('operator');
    await app.request('POST', `/admin/channel-users/${suspended.id}/suspend`, { token, json: { reason: 'test' } });
    const generate = (form: Record<string, string> | string): Promise<Answer> =>
      app.request('POST', '/generateToken', { form });
    const oauth = (client: typeof partner): Promise<Answer> =>
      app.request('POST', '/oauth2/token', {
        form: { grant_type: 'client_credentials', client_id: client.username, client_secret: client.password },
      });
    const grown = await growth(async () => {
      secret((await generate({ Username: partner.username, Password: partner.password })).text);
      secret((await oauth(partner)).json<{ access_token: string }>().access_token);
      expect((await generate({ Username: partner.username, Password: partner.password })).status).toBe(429);
      expect((await generate({ Username: partner.username, Password: 'wrong' })).status).toBe(401);
      expect((await generate({ Username: suspended.username, Password: suspended.password })).status).toBe(403);
      expect((await generate('Username=x')).status).toBe(400);
      expect((await app.request('GET', '/generateToken')).status).toBe(405);
      expect((await oauth({ ...partner, password: 'wrong' })).status).toBe(401);
    });
    expect(grown('tokens_generated_total', { endpoint: 'generate_token' })).toBe(1);
    expect(grown('tokens_generated_total', { endpoint: 'oauth2_token' })).toBe(1);
    const refused = (endpoint: string, code: string): number =>
      grown('tokens_refused_total', { endpoint, error_code: code });
    for (const code of [
      'too_many_requests',
      'invalid_credentials',
      'account_suspended',
      'malformed_request',
      'method_not_allowed',
    ]) {
      expect([code, refused('generate_token', code)]).toEqual([code, 1]);
    }
    expect(refused('oauth2_token', 'invalid_client')).toBe(1);
    expect(grown('tokens_refused_total')).toBe(6);
    expect(grown('limiter_decisions_total', { limiter: 'issuance', decision: 'allowed' })).toBe(2);
    expect(grown('limiter_decisions_total', { limiter: 'issuance', decision: 'refused' })).toBe(1);
    expect(grown('limiter_decisions_total', { limiter: 'partner_failures', decision: 'allowed' })).toBe(2);
  });

  it('are counted as refusals of the guard when they are missing or of the wrong kind', async () => {
    const { token } = await app.asPartner();
    const staff = await app.asStaff('viewer');
    const grown = await growth(async () => {
      expect((await app.request('GET', '/admin/overview', { token })).status).toBe(403);
      expect((await me(staff.token)).status).toBe(403);
      expect((await me('not-a-token')).status).toBe(401);
      expect((await app.request('POST', '/admin/staff', { token: staff.token, json: {} })).status).toBe(403);
    });
    const refused = (api: string, code: string): number =>
      grown('guard_refusals_total', { plane: api, error_code: code });
    expect(refused('staff', 'auth.wrong-plane')).toBe(1);
    expect(refused('partner', 'auth.wrong-plane')).toBe(1);
    expect(refused('partner', 'auth.invalid-token')).toBe(1);
    expect(refused('staff', 'auth.insufficient-role')).toBe(1);
  });
});

it('counts failures beyond the free ones as refusals of their limiter', async () => {
  const address = newAddress();
  const partner = await app.newPartner();
  const statuses: number[] = [];
  const grown = await growth(async () => {
    for (let i = 0; i < 13; i++) {
      statuses.push((await signInFrom(app, address, { ...partner, password: `wrong ${String(i)}` })).status);
    }
  });
  const count = (status: number): number => statuses.filter((each) => each === status).length;
  expect([count(401), count(429)]).toEqual([10, 3]);
  const limiter = 'partner_failures';
  expect(grown('limiter_decisions_total', { limiter, decision: 'allowed' })).toBe(10);
  expect(grown('limiter_decisions_total', { limiter, decision: 'refused' })).toBe(3);
});

describe('the account cache in the metrics', () => {
  it('counts hits, misses and bypasses', async () => {
    const { token } = await app.asPartner();
    await me(token);
    await seen(app, (metrics) => metrics.value('latchkey_change_feed_up') === 1, 'the feed is up');
    const hits = await growth(async () => {
      for (let i = 0; i < 5; i++) await me(token);
    });
    expect(hits('directory_reads_total', { result: 'hit' })).toBeGreaterThanOrEqual(5);
    expect(hits('directory_reads_total', { result: 'bypass' })).toBe(0);
    expect((await scrape(app.opsUrl)).value('latchkey_directory_accounts')).toBeGreaterThan(0);
    const { token: another } = await proxied.asPartner();
    // Another instance created the account.
    const misses = await growth(() => me(another));
    expect(misses('directory_reads_total', { result: 'miss' })).toBe(1);
    const bypasses = await growth(() => signInFrom(app, newAddress(), { username: 'nobody', password: 'wrong' }));
    expect(
      bypasses('directory_reads_total', { result: 'bypass' }) + bypasses('directory_reads_total', { result: 'miss' }),
    ).toBe(1);
  });

  it('counts a sign-in as a miss, and a refusal that the database decides as a hit and a bypass', async () => {
    await seen(app, (metrics) => metrics.value('latchkey_change_feed_up') === 1, 'the feed is up');
    // Another instance creates the account.
    const partner = await proxied.newPartner();
    const readsOf = async (
      password: string,
    ): Promise<[status: number, hits: number, misses: number, bypasses: number]> => {
      let status = 0;
      const grown = await growth(async () => {
        status = (await signInFrom(app, newAddress(), { ...partner, password })).status;
      });
      const reads = (result: string): number => grown('directory_reads_total', { result });
      return [status, reads('hit'), reads('miss'), reads('bypass')];
    };
    expect(await readsOf(partner.password)).toEqual([200, 0, 1, 0]);
    expect(await readsOf('wrong')).toEqual([401, 1, 0, 1]);
  });

  it('is bypassed while no changes are notified, and the feed reports its lag', async () => {
    const { token } = await proxied.asPartner();
    const up = await seen(proxied, (metrics) => metrics.value('latchkey_change_feed_up') === 1, 'the feed is up');
    expect(up.value('latchkey_change_feed_lag_seconds')).toBeLessThan(0.8);
    proxy.stall('feed');
    const down = await seen(proxied, (metrics) => metrics.value('latchkey_change_feed_up') === 0, 'the feed is down');
    expect(down.value('latchkey_change_feed_lag_seconds')).toBeGreaterThan(0.7);
    const bypasses = { result: 'bypass' };
    const before = down.value('latchkey_directory_reads_total', bypasses);
    for (let i = 0; i < 3; i++) expect((await proxied.request('GET', '/me', { token })).status).toBe(200);
    expect((await scrape(proxied.opsUrl)).value('latchkey_directory_reads_total', bypasses)).toBe(before + 3);
    await seen(proxied, (metrics) => metrics.value('latchkey_change_feed_lag_seconds') > 1.2, 'the lag grows');
    proxy.mend();
    await seen(proxied, (metrics) => metrics.value('latchkey_change_feed_up') === 1, 'the feed is up again');
  });
});

describe('the database in the metrics', () => {
  it('shows used, waiting and possible connections of the pool', async () => {
    const size = app.config.databasePoolSize;
    const runners = Array.from({ length: size }, () => app.dataSource.createQueryRunner());
    try {
      await Promise.all(runners.map((runner) => runner.connect()));
      const waiting = app.dataSource.query('SELECT 1');
      const full = await seen(app, (metrics) => metrics.value('latchkey_database_pool_waiting') > 0, 'one waits');
      expect(full.value('latchkey_database_pool_connections', { state: 'active' })).toBe(size);
      expect(full.value('latchkey_database_pool_connections', { state: 'idle' })).toBe(0);
      expect(full.value('latchkey_database_pool_max')).toBe(size);
      await Promise.all(runners.map((runner) => runner.release()));
      await waiting;
    } finally {
      await Promise.all(runners.filter(({ isReleased }) => !isReleased).map((runner) => runner.release()));
    }
    const free = await seen(app, (metrics) => metrics.value('latchkey_database_pool_waiting') === 0, 'none waits');
    expect(free.value('latchkey_database_pool_connections', { state: 'idle' })).toBeGreaterThan(0);
  });

  it('causes 503s and waiting records while it is down', async () => {
    const partner = await proxied.asPartner();
    const before = await seen(proxied, (metrics) => metrics.value('latchkey_database_up') === 1, 'it is up');
    await proxy.shut();
    let during: Metrics;
    try {
      await seen(proxied, (metrics) => metrics.value('latchkey_database_up') === 0, 'it is away');
      const answer = await proxied.request('GET', '/me', { token: partner.token });
      expect(answer.status).toBe(503);
      during = await scrape(proxied.opsUrl);
    } finally {
      await proxy.open();
    }
    expect(during.value('latchkey_database_errors_total')).toBe(before.value('latchkey_database_errors_total') + 1);
    await seen(proxied, (metrics) => metrics.value('latchkey_database_up') === 1, 'it is back');
  });
});

describe('queues in the metrics', () => {
  it('of activity and usage show unwritten records, none of which is lost', async () => {
    const partner = await proxied.asPartner();
    await proxied.request('GET', '/me', { token: partner.token });
    const first = await seen(proxied, (m) => m.value('latchkey_queue_depth', { queue: 'usage' }) > 0, 'usage waits');
    expect(first.value('latchkey_records_lost_total', { queue: 'usage' })).toBe(0);
    // Holds back the answer to the INSERT, so that later records wait.
    const held = proxy.hold('INSERT 0');
    try {
      await proxied.generateToken(partner);
      await proxied.generateToken(partner);
      await seen(proxied, (m) => m.value('latchkey_queue_depth', { queue: 'activity' }) > 0, 'activity waits');
    } finally {
      held.release();
    }
    const after = await seen(
      proxied,
      (m) => m.value('latchkey_queue_depth', { queue: 'activity' }) === 0,
      'it is written',
    );
    expect(after.value('latchkey_records_lost_total', { queue: 'activity' })).toBe(0);
  });

  it('of refusals and slow hashes show what waits', async () => {
    const partner = await app.newPartner();
    const hash = await argon2.hash(secret('older system 2019'), { memoryCost: 19_456, timeCost: 2, parallelism: 1 });
    await importPassword(app, partner.id, hash);
    const before = await scrape(app.opsUrl);
    const release = holdRefusals(app);
    const attempts = inParallel(4, 4, (i) =>
      signInFrom(app, newAddress(), { username: partner.username, password: `wrong ${String(i)}` }),
    );
    const during = await seen(
      app,
      (m) => m.value('latchkey_queue_depth', { queue: 'waiting_room' }) > 0,
      'refusals wait',
    );
    expect(during.value('latchkey_http_requests_in_flight')).toBeGreaterThan(1);
    release();
    await attempts;
    const after = await seen(
      app,
      (m) => m.value('latchkey_queue_depth', { queue: 'waiting_room' }) === 0,
      'none waits',
    );
    expect(after.value('latchkey_slow_hashes_total')).toBeGreaterThan(before.value('latchkey_slow_hashes_total'));
    const left = (m: Metrics): number =>
      m.value('latchkey_slow_hash_running') + m.value('latchkey_queue_depth', { queue: 'slow_hash' });
    await seen(app, (m) => left(m) === 0, 'no hash runs or waits');
  });
});

it('shows the age of the signing keys, which a rotation resets', async () => {
  const ageOf = async (purpose: string): Promise<number> =>
    (await scrape(app.opsUrl)).value('latchkey_signing_key_age_seconds', { purpose });
  expect(await ageOf('partner')).toBeLessThan(600);
  app.clockOffset = 3_600_000;
  expect(await ageOf('partner')).toBeGreaterThanOrEqual(3_600);
  expect(await ageOf('staff')).toBeGreaterThanOrEqual(3_600);
  const { token } = await app.newStaff('admin');
  const rotated = await app.request('POST', '/admin/signing-keys/rotate', { token, json: { reason: 'test' } });
  expect(rotated.status).toBeLessThan(300);
  await until(async () => (await ageOf('partner')) < 600, 'the new key is young');
  expect(await ageOf('staff')).toBeGreaterThanOrEqual(3_600);
});

it('counts the audit events of this instance and shows the length of the chain', async () => {
  const before = await scrape(app.opsUrl);
  await app.newPartner();
  const after = await scrape(app.opsUrl);
  const written = after.value('latchkey_audit_events_total') - before.value('latchkey_audit_events_total');
  // One event for the account, and one for its password.
  expect(written).toBe(2);
  expect(after.value('latchkey_audit_chain_sequence')).toBe(before.value('latchkey_audit_chain_sequence') + 2);
});
