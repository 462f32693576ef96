import { type Answer, type Partner, type PartnerWithToken, TestApp } from '../../../test/support/app.ts';
import { CallModule, ISLANDS } from '../../../test/support/call-module.ts';
import { changeFeedOf } from '../../../test/support/inside.ts';
import { scrape } from '../../../test/support/metrics.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { eventually, inParallel, logLines, until } from '../../../test/support/sign-ins.ts';

interface Total {
  method: string | null;
  route: string;
  statusClass: string;
  count: number;
}
interface Count extends Total {
  hour: string;
}
interface Calls {
  from: string;
  totals: Total[];
  items: Count[];
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const application = { features: [CallModule] };

let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start({}, application);
  for (const role of ['viewer', 'operator', 'admin'] as const) await app.asStaff(role);
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

const startOther = (changes: Partial<typeof app.config> = {}): Promise<TestApp> =>
  TestApp.start({ ...app.config, ...changes }, application);
const call = (token: string | undefined, path: string, on = app): Promise<Answer> => on.request('GET', path, { token });
const pathOf = ({ id }: Pick<Partner, 'id'>): string => `/admin/channel-users/${id}/calls`;
const ask = async (partner: Pick<Partner, 'id'>, query = '', on = app): Promise<Answer> =>
  on.request('GET', pathOf(partner) + query, { token: (await app.asStaff('viewer')).token });
const callsOf = async (partner: Pick<Partner, 'id'>, query = '', on = app): Promise<Calls> =>
  (await ask(partner, query, on)).expect(200).json<Calls>();
const sumOf = (items: readonly Count[]): number => items.reduce((sum, { count }) => sum + count, 0);
/** What staff see once all calls have ended: a call is counted when its answer has been sent. */
const counted = (partner: Pick<Partner, 'id'>, calls: number, on = app, query = ''): Promise<Count[]> =>
  eventually(
    async () => {
      const { items } = await callsOf(partner, query, on);
      return sumOf(items) === calls ? items : undefined;
    },
    `${String(calls)} calls`,
  );
const rowsOf = ({ id }: Pick<Partner, 'id'>): Promise<unknown[]> =>
  app.dataSource.query<unknown[]>('SELECT calls FROM call_count WHERE channel_user_id = $1', [id]);
const hourOf = (time: number): string => new Date(Math.floor(time / HOUR_MS) * HOUR_MS).toISOString();
const change = async (method: string, path: string, json?: unknown): Promise<void> => {
  const answer = await app.request(method, path, { token: (await app.asStaff('admin')).token, json });
  expect(answer.status).toBeLessThan(300);
};

describe('the calls of a partner', () => {
  it('are counted by hour, method, route and class of the status, those of modules included', async () => {
    app.clockOffset = HOUR_MS - (Date.now() % HOUR_MS);
    const partner = await app.asPartner();
    const hour = hourOf(Date.now() + app.clockOffset);
    const paths = ['/me', '/boats/Nellie', '/boats/Nellie', '/boats/Bounty', '/boats/broken/engine'];
    for (const path of paths) await call(partner.token, path);
    await app.request('HEAD', '/boats/Nellie', { token: partner.token });
    await app.request('POST', '/boats', { token: partner.token, json: { name: 'Nellie' } });
    const items = [
      { hour, method: 'POST', route: '/boats', statusClass: '4xx', count: 1 },
      { hour, method: 'GET', route: '/boats/:name', statusClass: '2xx', count: 3 },
      { hour, method: 'HEAD', route: '/boats/:name', statusClass: '2xx', count: 1 },
      { hour, method: 'GET', route: '/boats/broken/engine', statusClass: '5xx', count: 1 },
      { hour, method: 'GET', route: '/me', statusClass: '2xx', count: 1 },
    ];
    expect(await counted(partner, 7)).toEqual(items);
    const own = (await call(partner.token, '/me/usage')).expect(200).json<Calls>();
    const totals = items.map(({ hour: _, ...total }) => total);
    expect(own).toEqual({ from: hourOf(Date.now() + app.clockOffset - 23 * HOUR_MS), totals, items });
    // The partner's own question is a call, too.
    expect((await counted(partner, 8)).at(-1)).toMatchObject({ route: '/me/usage', count: 1 });
  });

  it('include those with an expired or revoked token, and no others without a valid one', async () => {
    const partner = await app.asPartner({ tokenTtlSeconds: 60 });
    const { token } = partner;
    await call(undefined, '/me');
    await call(`${token.slice(0, -2)}xx`, '/me');
    await call(token, '/nowhere');
    await change('POST', `/admin/channel-users/${partner.id}/suspend`, { reason: 'r' });
    await call(token, '/me');
    await change('POST', `/admin/channel-users/${partner.id}/reactivate`, {});
    app.clockOffset = 61_000;
    await call(token, '/me');
    // An instance that does not know the token yet.
    const other = await startOther();
    other.clockOffset = 61_000;
    await call(token, '/me', other);
    await other.close();
    const items = await counted(partner, 3);
    for (const item of items) expect(item).toMatchObject({ route: '/me', statusClass: '4xx' });
  });

  it('are shown for as many hours as asked for', async () => {
    const partner = await app.asPartner({ tokenTtlSeconds: 86_400 });
    const start = HOUR_MS - (Date.now() % HOUR_MS);
    for (const hours of [0, 0, 1, 4]) {
      app.clockOffset = start + hours * HOUR_MS;
      await call(partner.token, '/me');
    }
    const now = Date.now() + app.clockOffset;
    expect((await counted(partner, 4)).map(({ hour, count }) => [hour, count])).toEqual([
      [hourOf(now), 1],
      [hourOf(now - 3 * HOUR_MS), 1],
      [hourOf(now - 4 * HOUR_MS), 2],
    ]);
    expect((await callsOf(partner)).totals).toEqual([{ method: 'GET', route: '/me', statusClass: '2xx', count: 4 }]);
    expect((await callsOf(partner, '?hours=3')).totals).toMatchObject([{ count: 1 }]);
    expect(await counted(partner, 1, app, '?hours=1')).toHaveLength(1);
    expect(await counted(partner, 1, app, '?hours=3')).toHaveLength(1);
    expect(await counted(partner, 2, app, '?hours=4')).toHaveLength(2);
    expect((await callsOf(partner, '?hours=168')).from).toBe(hourOf(now - 167 * HOUR_MS));
    for (const query of [
      '?hours=0',
      '?hours=169',
      '?hours=',
      '?hours=1.5',
      '?hours=x',
      '?hours=1&hours=2',
      '?days=1',
    ]) {
      expect([query, (await ask(partner, query)).status]).toEqual([query, 400]);
      expect([query, (await call(partner.token, `/me/usage${query}`)).status]).toEqual([query, 400]);
    }
  });

  it('to more than 50 routes are counted as other, whichever instance counted them', async () => {
    const partner = await app.asPartner();
    const other = await startOther();
    for (let i = 0; i < ISLANDS; i++) await call(partner.token, `/islands/${String(i)}`);
    for (let i = ISLANDS - 1; i >= 0; i--) await call(partner.token, `/islands/${String(i)}`, other);
    await call(partner.token, '/islands/54');
    await call(partner.token, '/islands/54');
    // Read from the database alone, what both have counted.
    await other.close();
    const reader = await startOther();
    const items = await counted(partner, 2 * ISLANDS + 2, reader);
    const { totals } = await callsOf(partner, '', reader);
    await reader.close();
    expect(totals).toEqual(items.map(({ hour: _, ...total }) => total));
    expect(items).toHaveLength(51);
    expect(items.at(-1)).toMatchObject({ route: 'other', method: null, statusClass: '2xx' });
    expect(items.filter(({ route }) => route.startsWith('/islands/'))).toHaveLength(50);
    const rows = await app.dataSource.query<{ n: number }[]>(
      `SELECT count(DISTINCT (route, method))::int AS n FROM call_count WHERE channel_user_id = $1 GROUP BY writer`,
      [partner.id],
    );
    expect(rows).toEqual([{ n: 51 }, { n: 51 }]);
  });

  it('to further routes are counted as other when an instance has too many counts, and then given up', async () => {
    // Four counts by route, and four more.
    const small = await startOther({ accountCacheSize: 1 });
    const partners = await Promise.all(Array.from({ length: 6 }, () => app.asPartner()));
    const [busy, ...others] = partners;
    for (const i of [0, 1, 2, 3, 4, 4, 5]) await call(busy?.token, `/islands/${String(i)}`, small);
    for (const { token } of others) await call(token, '/me', small);
    await until(
      async () => (await scrape(small.opsUrl)).sum('latchkey_records_lost_total', { queue: 'calls' }) === 2,
      'two are given up',
    );
    await small.close();
    const rows = await app.dataSource.query<{ route: string; calls: string }[]>(
      `SELECT route, sum(calls) AS calls FROM call_count WHERE channel_user_id = ANY ($1::uuid[])
       GROUP BY channel_user_id, route ORDER BY channel_user_id <> $2, route`,
      [partners.map(({ id }) => id), busy?.id],
    );
    expect(rows.map(({ route, calls }) => [route, calls])).toEqual([
      ['/islands/0', '1'],
      ['/islands/1', '1'],
      ['/islands/2', '1'],
      ['/islands/3', '1'],
      ['other', '3'],
      ['other', '1'],
      ['other', '1'],
      ['other', '1'],
    ]);
  });

  it('are summed over instances, without a loss when many come at once', async () => {
    const partner = await app.asPartner();
    const other = await startOther();
    try {
      const reading = async (): Promise<void> => {
        for (let i = 0; i < 10; i++) await callsOf(partner, '', i % 2 === 0 ? app : other);
      };
      await Promise.all([
        inParallel(120, 8, () => call(partner.token, '/me')),
        inParallel(80, 8, () => call(partner.token, '/me', other)),
        reading(),
      ]);
      await counted(partner, 200);
      await counted(partner, 200, other);
    } finally {
      await other.close();
    }
    expect(sumOf((await callsOf(partner)).items)).toBe(200);
  });

  it('are written when an instance stops', async () => {
    const partner = await app.asPartner();
    const other = await startOther();
    // The first call is written at once; those after it wait.
    for (let i = 0; i < 5; i++) await call(partner.token, '/me', other);
    await other.stop();
    expect(sumOf((await callsOf(partner)).items)).toBe(5);
  });

  it('are shown to nobody else', async () => {
    const [partner, stranger] = [await app.asPartner(), await app.asPartner()];
    await call(partner.token, '/boats/Nellie');
    await counted(partner, 1);
    expect((await call(stranger.token, '/me/usage')).json<Calls>().items).toEqual([]);
    for (const path of [`/me/usage?id=${partner.id}`, `/me/usage?channelUserId=${partner.id}`]) {
      expect((await call(stranger.token, path)).status).toBe(400);
    }
    expect((await call(stranger.token, pathOf(partner))).status).toBe(403);
    expect((await call(undefined, '/me/usage')).status).toBe(401);
    const { token } = await app.asStaff('viewer');
    expect((await call(token, '/me/usage')).status).toBe(403);
    for (const id of [UNKNOWN, 'x']) {
      const answer = await ask({ id });
      expect([answer.status, answer.json()['code']]).toEqual([404, 'channel-user.not-found']);
    }
  });

  it('are kept for 8 days', async () => {
    const partner = await app.asPartner();
    await call(partner.token, '/me');
    await counted(partner, 1);
    await until(async () => (await rowsOf(partner)).length === 1, 'it is written');
    app.clockOffset = 8 * DAY_MS - HOUR_MS;
    await app.runTask('Deleting old calls');
    expect(await rowsOf(partner)).toHaveLength(1);
    app.clockOffset = 8 * DAY_MS + HOUR_MS;
    await app.runTask('Deleting old calls');
    expect(await rowsOf(partner)).toHaveLength(0);
  });

  it('are deleted with the partner, and not written afterwards', async () => {
    const [partner, stayer] = [await app.asPartner(), await app.asPartner()];
    for (const { token } of [partner, stayer]) await call(token, '/me');
    await until(async () => (await rowsOf(partner)).length === 1, 'it is written');
    await change('DELETE', `/admin/channel-users/${partner.id}`);
    expect(await rowsOf(partner)).toEqual([]);
    const other = await startOther();
    for (const { token } of [partner, stayer]) await call(token, '/boats/Nellie', other);
    await other.stop();
    expect(await rowsOf(partner)).toEqual([]);
    expect(await rowsOf(stayer)).toHaveLength(2);
  });
});

describe('counts of calls while the database is away', () => {
  let proxy: PostgresProxy;
  let proxied: TestApp;
  let partner: PartnerWithToken;

  beforeAll(async () => {
    proxy = await PostgresProxy.start(app.databaseUrl);
    proxied = await startOther({ databaseUrl: proxy.url });
  });
  beforeEach(async () => {
    partner = await app.asPartner();
  });
  afterAll(async () => {
    await proxied.stop();
    await proxy.shut();
  });

  it('wait, failed calls included, and are written when it is back', async () => {
    await call(partner.token, '/me', proxied);
    await proxy.shut();
    try {
      await until(() => !changeFeedOf(proxied).trusted, 'the loss is noticed');
      expect((await call(partner.token, '/me', proxied)).status).toBe(503);
      expect((await call(partner.token, '/me/usage', proxied)).status).toBe(503);
    } finally {
      await proxy.open();
    }
    const items = await counted(partner, 3);
    expect(items.map(({ route, statusClass, count }) => [route, statusClass, count])).toEqual([
      ['/me', '2xx', 1],
      ['/me', '5xx', 1],
      ['/me/usage', '5xx', 1],
    ]);
  });

  it('are given up when the table is missing, which the log and the metrics say', async () => {
    const lines = logLines().length;
    const lost = async (): Promise<number> =>
      (await scrape(proxied.opsUrl)).sum('latchkey_records_lost_total', { queue: 'calls' });
    const before = await lost();
    await app.dataSource.query('ALTER TABLE call_count RENAME TO call_count_elsewhere');
    try {
      await call(partner.token, '/me', proxied);
      await until(async () => (await lost()) === before + 1, 'it is lost');
    } finally {
      await app.dataSource.query('ALTER TABLE call_count_elsewhere RENAME TO call_count');
    }
    const said = logLines().slice(lines);
    expect(said.map(({ msg }) => String(msg)).filter((msg) => msg.startsWith('Writing counts of calls'))).toEqual([
      expect.stringContaining('failed') as string,
    ]);
    await call(partner.token, '/me', proxied);
    // What was lost remains in the total of the hour, so it is written with the next call.
    await until(async () => (await rowsOf(partner)).length === 1, 'the next one is written');
  });
});
