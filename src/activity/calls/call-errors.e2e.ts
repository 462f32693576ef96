import { connect } from 'node:net';
import { type Answer, type Partner, type PartnerWithToken, TestApp } from '../../../test/support/app.ts';
import { CallModule, slowCall } from '../../../test/support/call-module.ts';
import { onDatabase } from '../../../test/support/database.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { eventually, inParallel, LOOPBACK_PROXIES, until } from '../../../test/support/sign-ins.ts';

interface Item {
  id: string;
  at: string;
  method: string;
  route: string;
  status: number;
  code: string | null;
  title: string;
  reason: string;
  hint: string;
  requestId: string;
  count: number;
}
interface Page {
  items: Item[];
  nextCursor: string | null;
}

const DAY_MS = 86_400_000;
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const application = { features: [CallModule] };

let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES }, application);
  for (const role of ['viewer', 'operator', 'admin'] as const) await app.asStaff(role);
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

const startOther = (changes: Partial<typeof app.config> = {}): Promise<TestApp> =>
  TestApp.start({ ...app.config, ...changes }, application);
const call = (token: string | undefined, path: string, on = app): Promise<Answer> => on.request('GET', path, { token });
const pathOf = ({ id }: Pick<Partner, 'id'>): string => `/admin/channel-users/${id}/errors`;
const list = async (partner: Pick<Partner, 'id'>, query = ''): Promise<Page> =>
  (await call((await app.asStaff('viewer')).token, pathOf(partner) + query)).expect(200).json<Page>();
/** What staff see once the answers of all refused calls have been sent, which is when they are recorded. */
const recorded = (partner: Pick<Partner, 'id'>, errors: number): Promise<Item[]> =>
  eventually(
    async () => {
      const { items } = await list(partner, '?limit=200');
      return items.length === errors ? items : undefined;
    },
    `${String(errors)} errors`,
  );
const requestIdOf = (answer: Answer): string => answer.headers.get('x-request-id') ?? '';
const rowsOf = ({ id }: Pick<Partner, 'id'>): Promise<{ count: number }[]> =>
  onDatabase(
    app.databaseUrl,
    async (client) =>
      (await client.query<{ count: number }>('SELECT * FROM call_error WHERE channel_user_id = $1', [id])).rows,
  );
const change = async (method: string, path: string, json?: unknown): Promise<void> => {
  const answer = await app.request(method, path, { token: (await app.asStaff('admin')).token, json });
  expect(answer.status).toBeLessThan(300);
};
/** So that a test does not span two minutes. */
const atStartOfMinute = (): number => 60_000 - (Date.now() % 60_000);

describe('an error of a partner', () => {
  it('says what was asked, what was answered, why and what to do', async () => {
    const partner = await app.asPartner();
    const before = Date.now();
    const answer = await app.request('POST', '/boats', { token: partner.token, json: { name: 'Nellie' } });
    expect(answer.status).toBe(403);
    const items = await recorded(partner, 1);
    expect(items).toEqual([
      {
        id: expect.stringMatching(UUID) as string,
        at: expect.stringMatching(ISO) as string,
        method: 'POST',
        route: '/boats',
        status: 403,
        code: answer.json()['code'],
        title: answer.json()['title'],
        reason: 'The token lacks a scope that the call needs.',
        hint: expect.stringContaining('Ask your contact') as string,
        requestId: requestIdOf(answer),
        count: 1,
      },
    ]);
    expect(Date.parse(items[0]?.at ?? '')).toBeGreaterThanOrEqual(before);
    expect(await list(partner)).toEqual({ items, nextCursor: null });
    const own = await call(partner.token, '/me/errors');
    expect(own.expect(200).json()).toEqual({ items, nextCursor: null });
  });

  it('is recorded with the code and title of its answer, whoever made it', async () => {
    const partner = await app.asPartner({ scopes: ['boat:write'] });
    const { token } = partner;
    const post = (json: unknown): Promise<Answer> => app.request('POST', '/boats', { token, json });
    const answers = [
      await post({ name: '' }),
      await call(token, '/boats/broken/engine'),
      await call(token, '/boats/broken/rudder'),
      await call(token, '/boats/broken/compass'),
      await call(token, `/boats/${UNKNOWN}/crew`),
      await call(token, '/admin/overview'),
      await call(token, '/me/usage?hours=0'),
    ];
    await call(token, '/boats/broken/anchor');
    const items = (await recorded(partner, 8)).reverse();
    expect(items.slice(0, 7).map(({ status, code, title, requestId }) => ({ status, code, title, requestId }))).toEqual(
      answers.map((answer) => {
        const { status, code, title, requestId } = answer.json<Item>();
        return { status, code, title, requestId };
      }),
    );
    expect(items.map(({ route, status }) => [route, status])).toEqual([
      ['/boats', 400],
      ['/boats/broken/engine', 500],
      ['/boats/broken/rudder', 503],
      ['/boats/broken/compass', 422],
      ['/boats/:boatId/crew', 404],
      ['/admin/overview', 403],
      ['/me/usage', 400],
      ['/boats/broken/anchor', 418],
    ]);
    expect(items[7]).toMatchObject({ code: null, title: "I'm a Teapot" });
    for (const { reason, hint } of items) {
      expect(reason).toMatch(/^[A-Z].*\.$/);
      expect(hint).toMatch(/^[A-Z].*\.$/);
    }
  });

  it('gives the true reason for a refused token, which the answer does not', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 60, allowedIps: ['127.0.0.0/8', '::1', '198.18.0.0/15'] });
    const token = await app.generateToken(partner);
    const users = `/admin/channel-users/${partner.id}`;
    const refuse = async (headers: Record<string, string> = {}, sent = token): Promise<string> => {
      const answer = await app.request('GET', '/me', { token: sent, headers });
      expect(answer.status).toBe(401);
      return `${String(answer.json()['code'])}: ${String(answer.json()['detail'])}`;
    };
    const said = [await refuse({ 'x-forwarded-for': '203.0.113.5' })];
    await change('POST', `${users}/suspend`, { reason: 'r' });
    said.push(await refuse());
    await change('POST', `${users}/reactivate`, {});
    await change('PATCH', users, { expiresAt: '2020-01-01T00:00:00Z' });
    said.push(await refuse());
    await change('PATCH', users, { expiresAt: null });
    await change('POST', `${users}/revoke-tokens`, { reason: 'r' });
    said.push(await refuse());
    const single = await app.generateToken(partner);
    const { jti } = JSON.parse(Buffer.from(single.split('.')[1] ?? '', 'base64url').toString()) as { jti: string };
    await change('DELETE', `/admin/tokens/${jti}`);
    said.push(await refuse({}, single));
    const last = await app.generateToken(partner);
    await change('DELETE', `${users}/credentials/${partner.credentialId}`);
    said.push(await refuse({}, last));
    expect(new Set(said)).toEqual(new Set(['auth.invalid-token: The token is no longer valid.']));
    app.clockOffset = 61_000;
    await refuse({}, last);
    const items = (await recorded(partner, 7)).reverse();
    expect(items.map(({ reason }) => reason)).toEqual([
      'The address is not on the list of addresses that your account may use.',
      'The account was suspended.',
      'The account has expired.',
      'The token was revoked before it expired.',
      'The token was revoked before it expired.',
      'The password that the token was obtained with was revoked.',
      'The token had expired.',
    ]);
    for (const item of items) {
      expect(item).toMatchObject({ route: '/me', status: 401, code: 'auth.invalid-token', title: 'Unauthorized' });
    }
  });

  it('is none of a call without a valid token, or of one that was refused before', async () => {
    const partner = await app.asPartner();
    const { token } = partner;
    await call(undefined, '/me');
    await call(`${token.slice(0, -2)}xx`, '/me');
    await call(token, '/nowhere');
    await app.request('POST', '/boats', { token, body: '{', headers: { 'content-type': 'application/json' } });
    await call(token, '/me');
    await call(token, '/boats/broken/engine');
    expect(await recorded(partner, 1)).toMatchObject([{ route: '/boats/broken/engine' }]);
  });

  it('tells of a client that hung up', async () => {
    const partner = await app.asPartner();
    const { hostname, port } = new URL(app.url);
    const socket = connect(Number(port), hostname);
    socket.write(`GET /boats/slow/crossing HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${partner.token}\r\n\r\n`);
    await slowCall.begun.promise;
    socket.destroy();
    const items = await recorded(partner, 1);
    slowCall.end.resolve(undefined);
    expect(items).toMatchObject([{ status: 499, code: 'client.gone', title: 'Client Closed Request' }]);
  });

  it('has nothing of what was sent', async () => {
    const partner = await app.asPartner({ scopes: ['boat:write'] });
    const { token } = partner;
    const secretId = '5ec2e700-0000-4000-8000-000000000000';
    await call(token, `/boats/${secretId}/crew?note=s3cret-query`);
    await call(token, '/boats/broken/compass');
    await app.request('POST', '/boats', { token, json: { name: '', 's3cret-field': 's3cret-value' } });
    await recorded(partner, 3);
    await until(async () => (await rowsOf(partner)).length === 3, 'they are written');
    const stored = JSON.stringify(await rowsOf(partner));
    for (const text of ['s3cret', secretId, 'is broken']) expect(stored).not.toContain(text);
  });
});

describe('the errors of a partner', () => {
  it('are paged, newest first', async () => {
    const partner = await app.asPartner();
    for (const path of ['/boats/broken/engine', '/boats/broken/rudder', '/boats/broken/compass']) {
      await call(partner.token, path);
    }
    const all = await recorded(partner, 3);
    expect(all.map(({ status }) => status)).toEqual([422, 503, 500]);
    const ask = async (query: string): Promise<Page> =>
      (await call(partner.token, `/me/errors${query}`)).expect(200).json<Page>();
    const first = await ask('?limit=2');
    expect(first.items).toEqual(all.slice(0, 2));
    expect(await ask(`?limit=2&cursor=${first.nextCursor ?? ''}`)).toEqual({ items: all.slice(2), nextCursor: null });
    for (const query of ['?limit=0', '?limit=201', '?cursor=x', '?outcome=refused']) {
      expect([query, (await call(partner.token, `/me/errors${query}`)).status]).toEqual([query, 400]);
    }
  });

  it('beyond 30 a minute for one reason share one item, and leave room for others', async () => {
    const partner = await app.asPartner();
    app.clockOffset = atStartOfMinute();
    const other = await startOther();
    other.clockOffset = app.clockOffset;
    await inParallel(50, 8, () => call(partner.token, '/boats/broken/engine'));
    await inParallel(35, 8, () => call(partner.token, '/boats/broken/engine', other));
    await call(partner.token, '/boats/broken/compass');
    await other.stop();
    const items = await eventually(async () => {
      const found = (await list(partner, '?limit=200')).items;
      return found.reduce((sum, { count }) => sum + count, 0) === 86 ? found : undefined;
    }, 'all are recorded');
    expect(items.filter(({ status }) => status === 422)).toHaveLength(1);
    // Each instance has 30 of its own, and all count in one.
    expect(items.filter(({ status, count }) => status === 500 && count === 1)).toHaveLength(60);
    expect(items.filter(({ count }) => count > 1).map(({ count }) => count)).toEqual([25]);
    app.clockOffset += 60_000;
    await call(partner.token, '/boats/broken/engine');
    await recorded(partner, 63);
  });

  it('are shown to nobody else', async () => {
    const [partner, stranger] = [await app.asPartner(), await app.asPartner()];
    await call(partner.token, '/boats/broken/engine');
    await recorded(partner, 1);
    const { nextCursor } = await list(partner, '?limit=1');
    expect(nextCursor).toBeNull();
    expect((await call(stranger.token, '/me/errors')).json()).toEqual({ items: [], nextCursor: null });
    expect((await call(stranger.token, `/me/errors?id=${partner.id}`)).status).toBe(400);
    // A cursor is only a place in the list.
    await call(partner.token, '/boats/broken/engine');
    await recorded(partner, 2);
    const cursor = (await list(partner, '?limit=1')).nextCursor ?? '';
    await call(stranger.token, '/boats/broken/rudder');
    await recorded(stranger, 2);
    const page = (await call(stranger.token, `/me/errors?cursor=${cursor}`)).json<Page>();
    expect(page.items.filter(({ route }) => route === '/boats/broken/engine')).toEqual([]);
    expect((await call(stranger.token, pathOf(partner))).status).toBe(403);
    expect((await call(undefined, '/me/errors')).status).toBe(401);
    const { token } = await app.asStaff('viewer');
    expect((await call(token, '/me/errors')).status).toBe(403);
    for (const id of [UNKNOWN, 'x']) {
      const answer = await call(token, pathOf({ id }));
      expect([answer.status, answer.json()['code']]).toEqual([404, 'channel-user.not-found']);
    }
  });

  it('are kept for 14 days', async () => {
    const partner = await app.asPartner();
    await call(partner.token, '/boats/broken/engine');
    await until(async () => (await rowsOf(partner)).length === 1, 'it is written');
    app.clockOffset = 14 * DAY_MS - 3_600_000;
    await app.runTask('Deleting old calls');
    expect(await rowsOf(partner)).toHaveLength(1);
    app.clockOffset = 14 * DAY_MS + 3_600_000;
    await app.runTask('Deleting old calls');
    expect(await rowsOf(partner)).toHaveLength(0);
  });

  it('are deleted with the partner', async () => {
    const [partner, stayer] = [await app.asPartner(), await app.asPartner()];
    for (const { token } of [partner, stayer]) await call(token, '/boats/broken/engine');
    await until(async () => (await rowsOf(partner)).length === 1, 'it is written');
    await change('DELETE', `/admin/channel-users/${partner.id}`);
    // Its token is refused, for an account that is gone.
    expect((await call(partner.token, '/me')).status).toBe(401);
    await call(stayer.token, '/boats/broken/engine');
    await recorded(stayer, 2);
    await until(async () => (await rowsOf(stayer)).length === 2, 'the others are written');
    expect(await rowsOf(partner)).toEqual([]);
  });

  it('are written when an instance stops', async () => {
    const partner = await app.asPartner();
    const other = await startOther();
    await inParallel(40, 8, () => call(partner.token, '/boats/broken/engine', other));
    await other.stop();
    expect((await rowsOf(partner)).reduce((sum, { count }) => sum + count, 0)).toBe(40);
  });
});

describe('errors while the database is away', () => {
  let proxy: PostgresProxy;
  let proxied: TestApp;
  let partner: PartnerWithToken;

  beforeAll(async () => {
    proxy = await PostgresProxy.start(app.databaseUrl);
    proxied = await startOther({ databaseUrl: proxy.url });
    partner = await app.asPartner();
    expect((await call(partner.token, '/me', proxied)).status).toBe(200);
  });
  afterAll(async () => {
    await proxied.stop();
    await proxy.shut();
  });

  it('are kept in memory, with those that it causes, and written when it is back', async () => {
    await proxy.shut();
    try {
      for (let i = 0; i < 3; i++) expect((await call(partner.token, '/me', proxied)).status).toBe(503);
    } finally {
      await proxy.open();
    }
    for (const item of await recorded(partner, 3)) {
      expect(item).toMatchObject({
        route: '/me',
        status: 503,
        code: 'service.unavailable',
        title: 'Service Unavailable',
      });
    }
  });
});
