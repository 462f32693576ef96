import { hash as argon2id } from '@node-rs/argon2';
import { randomUUID } from 'node:crypto';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { recordAttempt } from '../../../test/support/inside.ts';
import { onDatabase } from '../../../test/support/database.ts';
import { realTime } from '../../../test/support/real-time.ts';
import { secret } from '../../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  eventually,
  importPassword,
  inParallel,
  logLines,
  newAddress,
  signInFrom,
  tally,
  unlessBusy,
  until,
} from '../../../test/support/sign-ins.ts';

interface Item {
  id: string;
  at: string;
  address: string | null;
  outcome: string;
  errorCode: string | null;
  reason: string | null;
  credentialId: string | null;
  requestId: string;
  userAgent: string | null;
  count: number;
}
interface Page {
  items: Item[];
  nextCursor: string | null;
}

setFlagsFromString('--expose-gc');
const collectGarbage = runInNewContext('gc') as () => void;
function usedBytes(): number {
  collectGarbage();
  return process.memoryUsage().heapUsed;
}

const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const DAY_MS = 86_400_000;

/** Trusts X-Forwarded-For and accepts credentials in the URL. */
let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES, legacyQueryCredentials: true });
  // One after the other, since many slow hashes at once take longer than a sign-in waits.
  for (const role of ['viewer', 'operator', 'admin'] as const) await app.asStaff(role);
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

const pathOf = (id: string): string => `/admin/channel-users/${id}/activity`;
const ask = async (id: string, query = '', on = app): Promise<Answer> =>
  on.request('GET', pathOf(id) + query, { token: (await app.asStaff('viewer')).token });
const list = async (id: string, query = '', on = app): Promise<Page> => {
  const answer = await ask(id, query, on);
  expect({ status: answer.status, text: answer.status === 200 ? '' : answer.text }).toEqual({ status: 200, text: '' });
  return answer.json<Page>();
};
const itemsOf = async (id: string, on = app): Promise<Item[]> => (await list(id, '?limit=200', on)).items;
const wrong = ({ username }: Partner): { username: string; password: string } => ({ username, password: 'wrong' });
const change = async (method: string, id: string, path: string, json?: unknown): Promise<Answer> => {
  const { token } = await app.asStaff('operator');
  const answer = await app.request(method, `/admin/channel-users/${id}${path}`, { token, json });
  expect(answer.status).toBeLessThan(300);
  return answer;
};
const addCredential = async (id: string, json: unknown): Promise<string> => {
  const answer = await change('POST', id, '/credentials', json);
  return secret(answer.json<{ credential: { password: string } }>().credential.password);
};
/** Registers the token of a 200 as a secret. The log is searched for secrets at the end. */
const noted = (answer: Answer): Answer => {
  if (answer.status === 200) secret(answer.text);
  return answer;
};
const signIn = async (
  credentials: { username: string; password: string },
  { address = newAddress(), on = app, headers = {} } = {},
): Promise<Answer> => noted(await signInFrom(on, address, credentials, headers));
const requestIdOf = (answer: Answer): string => answer.headers.get('x-request-id') ?? '';
const dayOf = (time: number): string => new Date(time).toISOString().slice(0, 10);
const partitionOf = (time: number): string => `activity_${dayOf(time).replaceAll('-', '')}`;
/** The clock offset that leads to the start of the next minute, so that a test does not span two minutes. */
const atStartOfMinute = (): number => 60_000 - (Date.now() % 60_000);

describe('an item of the sign-in log', () => {
  it('describes a token with exactly the fields of the contract', async () => {
    const partner = await app.newPartner();
    const address = newAddress();
    const before = Date.now();
    const answer = await signIn(partner, {
      address,
      headers: { 'user-agent': 'ChannelBot/2.1 (+https://example.org)' },
    });
    const page = await list(partner.id);
    expect(Object.keys(page)).toEqual(['items', 'nextCursor']);
    expect(page).toEqual({
      items: [
        {
          id: expect.stringMatching(UUID) as string,
          at: expect.stringMatching(ISO) as string,
          address,
          outcome: 'token',
          errorCode: null,
          reason: null,
          credentialId: partner.credentialId,
          requestId: requestIdOf(answer),
          userAgent: 'ChannelBot/2.1 (+https://example.org)',
          count: 1,
        },
      ],
      nextCursor: null,
    });
    const at = Date.parse(page.items[0]?.at ?? '');
    expect(at).toBeGreaterThanOrEqual(before);
    expect(at).toBeLessThanOrEqual(Date.now());
  });

  it('records the true reason of a refusal and the credential', async () => {
    const partner = await app.newPartner({ allowedIps: ['198.18.0.0/15'], tokensPerMinute: 1 });
    const { id, username, credentialId } = partner;
    const seen: Pick<Item, 'outcome' | 'errorCode' | 'reason' | 'credentialId' | 'requestId' | 'address'>[] = [];
    const attempt = async (
      password: string,
      errorCode: string | null,
      reason: string | null,
      credential: string | null,
      address = newAddress(),
    ) => {
      const answer = await signIn({ username, password }, { address });
      expect(answer.headers.get('error-code')).toBe(errorCode);
      const outcome = errorCode === null ? 'token' : 'refused';
      seen.unshift({ outcome, errorCode, reason, credentialId: credential, requestId: requestIdOf(answer), address });
    };
    await attempt('wrong', 'invalid_credentials', 'wrong_password', null);
    await attempt(partner.password, 'invalid_credentials', 'address_not_allowed', credentialId, '203.0.113.5');
    await attempt(partner.password, null, null, credentialId);
    await attempt(partner.password, 'too_many_requests', 'issuance_limit', credentialId);
    await change('POST', id, '/suspend', { reason: 'unpaid' });
    await attempt(partner.password, 'account_suspended', 'account_suspended', credentialId);
    await change('POST', id, '/reactivate', {});
    await change('PATCH', id, '', { expiresAt: '2020-01-01T00:00:00Z' });
    await attempt(partner.password, 'account_expired', 'account_expired', credentialId);
    await change('PATCH', id, '', { expiresAt: null });
    await addCredential(id, { retireOthersInSeconds: 0 });
    await attempt(partner.password, 'credential_expired', 'credential_expired', credentialId);
    await change('DELETE', id, `/credentials/${credentialId}`);
    await attempt(partner.password, 'invalid_credentials', 'revoked_credential', credentialId);
    expect(await itemsOf(id)).toMatchObject(seen);
  });

  it('stands for one refusal up to thirty a minute and reason, then for all further ones', async () => {
    const partner = await app.newPartner();
    await change('POST', partner.id, '/suspend', { reason: 'unpaid' });
    // Keeps all attempts within one minute.
    const left = 60_000 - (Date.now() % 60_000);
    if (left < 20_000) app.clockOffset = left + 1_000;
    for (let i = 0; i < 45; i++) expect((await signIn(partner)).status).toBe(403);
    const items = await itemsOf(partner.id);
    expect(items.map(({ reason }) => reason)).toEqual(items.map(() => 'account_suspended'));
    expect(items.map(({ count }) => count).sort((a, b) => b - a)).toEqual([15, ...Array<number>(30).fill(1)]);
    app.clockOffset = 0;
  });

  it('records that credentials came in the URL', async () => {
    const partner = await app.newPartner();
    const query = new URLSearchParams({ username: partner.username, password: partner.password }).toString();
    const answer = noted(await app.request('POST', `/generateToken?${query}`));
    expect(answer.status).toBe(200);
    const refused = await app.request('POST', `/generateToken?username=${partner.username}&password=wrong`);
    expect(refused.status).toBe(401);
    expect(await itemsOf(partner.id)).toMatchObject([
      { outcome: 'refused', reason: 'wrong_password', requestId: requestIdOf(refused), address: '127.0.0.1' },
      { outcome: 'token', errorCode: null, reason: 'legacy_query', requestId: requestIdOf(answer) },
    ]);
  });

  it('records sign-ins with a password from an older system', async () => {
    const partner = await app.newPartner();
    const password = secret('Fruehling 1999');
    const stored = await argon2id(password, { memoryCost: 4096, timeCost: 1 });
    const credentialId = await importPassword(app, partner.id, stored);
    await signIn(wrong(partner));
    await until(
      async () => (await signIn({ ...partner, password })).status === 200,
      'a sign-in with the imported password',
    );
    const items = await itemsOf(partner.id);
    expect(items[0]).toMatchObject({ outcome: 'token', reason: null, credentialId });
    expect(items.at(-1)).toMatchObject({ outcome: 'refused', reason: 'wrong_password', credentialId: null });
  });

  it('records at most 256 characters of the user agent, and null without one', async () => {
    const partner = await app.newPartner();
    await signIn(partner, { headers: { 'user-agent': 'x'.repeat(5_000) } });
    await signIn(partner, { headers: { 'user-agent': 'Müller/1 "\\\u00ff' } });
    await signIn(partner, { headers: { 'user-agent': '' } });
    const agents = (await itemsOf(partner.id)).map(({ userAgent }) => userAgent);
    expect(agents[2]).toBe('x'.repeat(256));
    expect(agents[1]).toBe('Müller/1 "\\\u00ff');
    expect(agents[0] ?? '').toBe('');
  });

  it('records no address when the address is unknown', async () => {
    const partner = await app.newPartner();
    await signIn(partner, { address: 'unknown' });
    await signIn(partner, { address: '2001:DB8::7' });
    await signIn(partner, { address: '::ffff:203.0.113.7' });
    expect((await itemsOf(partner.id)).map(({ address }) => address)).toEqual(['203.0.113.7', '2001:db8::7', null]);
  });
});

describe('attempts for an unknown username', () => {
  it('are not recorded', async () => {
    const count = async (): Promise<string> => {
      // Reading writes everything that was recorded before.
      await list((await app.newPartner()).id);
      const [row] = await app.dataSource.query<{ count: string }[]>('SELECT count(*) FROM activity');
      return row?.count ?? '';
    };
    const before = await count();
    const mistyped = `Passwort-${String(Date.now())}`;
    const address = newAddress();
    const answers = await inParallel(15, 15, () => signIn({ username: mistyped, password: 'x' }, { address }));
    expect(tally(answers)).toEqual({ 401: 10, 429: 5 });
    expect(await count()).toBe(before);
    const [found] = await app.dataSource.query<{ n: string }[]>(
      'SELECT count(*) AS n FROM activity WHERE activity::text ILIKE $1',
      [`%${mistyped}%`],
    );
    expect(found?.n).toBe('0');
  });
});

describe('refusals for too many requests', () => {
  it('share one item a minute for each reason', async () => {
    app.clockOffset = atStartOfMinute();
    const partner = await app.newPartner({ tokensPerMinute: 2 });
    const address = newAddress();
    const answers = await inParallel(30, 30, () => signIn(wrong(partner), { address }));
    expect(tally(answers)).toEqual({ 401: 10, 429: 20 });
    const right = await inParallel(7, 7, () => signIn(partner, { address }));
    expect(tally(right)).toEqual({ 200: 2, 429: 5 });
    // Refusals for both reasons at once, so that they share a batch.
    const both = await inParallel(20, 20, (i) => signIn(i % 2 === 0 ? partner : wrong(partner), { address }));
    expect(tally(both)).toEqual({ 429: 20 });
    const items = await itemsOf(partner.id);
    const counted = items.filter(({ errorCode }) => errorCode === 'too_many_requests');
    expect(counted).toHaveLength(2);
    expect(counted).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ reason: 'wrong_password', outcome: 'refused', count: 30, address }),
        expect.objectContaining({ reason: 'issuance_limit', count: 15, credentialId: partner.credentialId }),
      ]),
    );
    // The item names the request of one of the attempts that it counts.
    const refused = answers.filter(({ status }) => status === 429).map(requestIdOf);
    expect(refused).toContain(counted.find(({ reason }) => reason === 'wrong_password')?.requestId);
    expect(items.filter(({ count }) => count === 1)).toHaveLength(12);
    // The next minute has an item of its own.
    app.clockOffset += 60_000;
    expect((await signIn(wrong(partner), { address })).status).toBe(429);
    const later = (await itemsOf(partner.id)).filter(({ errorCode }) => errorCode === 'too_many_requests');
    expect(later.map(({ count, reason }) => [reason, count])).toContainEqual(['wrong_password', 1]);
    expect(later).toHaveLength(3);
  });

  it('and for wrong passwords take at most 30 items a minute, however many networks they come from', async () => {
    app.clockOffset = atStartOfMinute();
    const partner = await app.newPartner();
    // Each attempt comes from a /64 of its own, so that no counter of an address refuses it.
    const network = (i: number): string => `2001:db8:${i.toString(16)}:1::1`;
    const answers = await inParallel(100, 50, (i) => signIn(wrong(partner), { address: network(i) }));
    expect(tally(answers)).toEqual({ 401: 100 });
    const items = await itemsOf(partner.id);
    expect(items.map(({ count }) => count).sort((a, b) => a - b)).toEqual([...new Array<number>(30).fill(1), 70]);
    expect(new Set(items.map(({ errorCode }) => errorCode))).toEqual(new Set(['invalid_credentials']));
  });

  it('share one item across two instances and several batches', async () => {
    const other = await TestApp.start({ ...app.config });
    try {
      const partner = await app.newPartner();
      app.clockOffset = other.clockOffset = atStartOfMinute();
      const [addressA, addressB] = [newAddress(), newAddress()];
      for (let batch = 0; batch < 3; batch++) {
        await Promise.all([
          inParallel(20, 20, () => signIn(wrong(partner), { address: addressA })),
          inParallel(20, 20, () => signIn(wrong(partner), { address: addressB, on: other })),
        ]);
        // The list that an instance returns includes what that instance has recorded.
        await Promise.all([itemsOf(partner.id), itemsOf(partner.id, other)]);
      }
      // A list waits only briefly for records to be written, so the first ones may lack some.
      const items = await eventually(async () => {
        await itemsOf(partner.id, other);
        const found = await itemsOf(partner.id);
        return found.reduce((sum, { count }) => sum + count, 0) === 120 ? found : undefined;
      }, 'all refusals are written');
      expect(items.filter(({ errorCode }) => errorCode === 'invalid_credentials')).toHaveLength(20);
      const counted = items.filter(({ errorCode }) => errorCode === 'too_many_requests');
      expect(counted.map(({ count }) => count)).toEqual([100]);
    } finally {
      await other.close();
    }
  });

  it.each([
    ['count', 'SELECT FROM activity WHERE channel_user_id = $1 FOR UPDATE'],
    ['last use', 'SELECT FROM credential WHERE channel_user_id = $1 FOR UPDATE'],
  ])('survive a stop while another transaction briefly locks the row of the %s', async (_, lock) => {
    const other = await TestApp.start({ ...app.config });
    const partner = await app.newPartner();
    const address = newAddress();
    try {
      app.clockOffset = other.clockOffset = atStartOfMinute();
      expect(tally(await inParallel(30, 30, () => signIn(wrong(partner), { address, on: other })))).toEqual({
        401: 10,
        429: 20,
      });
      await eventually(async () => {
        const found = await itemsOf(partner.id, other);
        return found.reduce((sum, { count }) => sum + count, 0) === 30 ? true : undefined;
      }, 'the refusals are written');
      await onDatabase(app.databaseUrl, async (client) => {
        await client.query('BEGIN');
        await client.query(lock, [partner.id]);
        expect(tally(await inParallel(5, 5, () => signIn(wrong(partner), { address, on: other })))).toEqual({ 429: 5 });
        expect((await signIn(partner, { on: other })).status).toBe(200);
        const stopped = other.close();
        await realTime('an attempt finds the rows locked');
        await client.query('COMMIT');
        await stopped;
      });
      const counted = (await itemsOf(partner.id)).filter(({ errorCode }) => errorCode === 'too_many_requests');
      expect(counted.map(({ count }) => count)).toEqual([25]);
      const [row] = await app.dataSource.query<{ last_used_at: Date | null }[]>(
        'SELECT last_used_at FROM credential WHERE id = $1',
        [partner.credentialId],
      );
      expect(row?.last_used_at).not.toBeNull();
    } finally {
      await other.close();
    }
  });

  it('take few rows, however many there are', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1 });
    const address = newAddress();
    await inParallel(1_000, 100, () => signIn(wrong(partner), { address }));
    await inParallel(200, 100, () => signIn(partner, { address }));
    const items = await itemsOf(partner.id);
    // Ten 401s, one token, and one item for each of two reasons in each of at most two minutes.
    expect(items.length).toBeLessThanOrEqual(15);
    expect(items.reduce((sum, { count }) => sum + count, 0)).toBe(1_200);
    const [row] = await app.dataSource.query<{ n: number }[]>(
      'SELECT count(*)::int AS n FROM activity WHERE channel_user_id = $1',
      [partner.id],
    );
    expect(row?.n).toBe(items.length);
  });
});

it('does not keep long headers in memory until a record is written', async () => {
  const partner = await app.newPartner();
  const attempts = 1_000;
  const headerOf = (n: number): string => Buffer.alloc(30_000, `agent ${String(n)} `).toString('latin1');
  await app.request('GET', '/me');
  const before = usedBytes();
  // In one turn, so that none is written meanwhile. Each has its own account, since one gets few rows a minute.
  for (let n = 0; n < attempts; n++) {
    recordAttempt(
      app,
      { id: randomUUID(), clientAddress: '192.0.2.1', headers: { 'user-agent': headerOf(n) } },
      {
        channelUserId: n === attempts - 1 ? partner.id : randomUUID(),
        credentialId: null,
        outcome: 'refused',
        errorCode: 'invalid_credentials',
        reason: 'wrong_password',
      },
    );
  }
  expect((usedBytes() - before) / attempts).toBeLessThan(3_000);
  const item = await eventually(async () => (await itemsOf(partner.id))[0], 'the attempt is written');
  expect(item.userAgent).toBe(headerOf(attempts - 1).slice(0, 256));
});

describe('the list of sign-ins', () => {
  it('pages newest first and shows each attempt once', async () => {
    const partner = await app.newPartner();
    const requestIds: string[] = [];
    for (let i = 0; i < 11; i++) requestIds.unshift(requestIdOf(await signIn(partner)));
    const seen: Item[] = [];
    let query = '?limit=3';
    const sizes: number[] = [];
    for (;;) {
      const { items, nextCursor } = await list(partner.id, query);
      sizes.push(items.length);
      seen.push(...items);
      if (nextCursor === null) break;
      query = `?limit=3&cursor=${encodeURIComponent(nextCursor)}`;
      // A new attempt does not shift the pages.
      if (sizes.length === 2) await signIn(partner);
    }
    expect(sizes).toEqual([3, 3, 3, 2]);
    expect(seen.map(({ requestId }) => requestId)).toEqual(requestIds);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(11);
    const full = await list(partner.id, '?limit=12');
    expect({ items: full.items.length, next: full.nextCursor }).toEqual({ items: 12, next: null });
  });

  it('keeps the order of attempts within one millisecond, even across pages', async () => {
    const partner = await app.newPartner();
    const frozen = Date.now();
    app.now = () => frozen;
    const requestIds: string[] = [];
    try {
      for (let i = 0; i < 8; i++) requestIds.unshift(requestIdOf(await signIn(partner)));
    } finally {
      app.now = Date.now;
    }
    const first = await list(partner.id, '?limit=5');
    const second = await list(partner.id, `?limit=5&cursor=${String(first.nextCursor)}`);
    const items = [...first.items, ...second.items];
    expect(new Set(items.map(({ at }) => at))).toEqual(new Set([new Date(frozen).toISOString()]));
    expect(items.map(({ requestId }) => requestId)).toEqual(requestIds);
  });

  it('returns 50 items by default and 200 at most', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1_000 });
    await inParallel(60, 30, () => signIn(partner));
    const page = await list(partner.id);
    expect(page.items).toHaveLength(50);
    expect(page.nextCursor).not.toBeNull();
    expect((await list(partner.id, '?limit=200')).items).toHaveLength(60);
    expect((await list(partner.id, '?limit=1')).items).toHaveLength(1);
  });

  it('includes everything that happened before, even with many parallel sign-ins and reads', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1_000 });
    const missing = await inParallel(150, 12, async () => {
      const requestId = requestIdOf(await signIn(partner));
      return (await itemsOf(partner.id)).some((item) => item.requestId === requestId) ? [] : [requestId];
    });
    expect(missing.flat()).toEqual([]);
  });

  it('shows only the attempts of its own channel user', async () => {
    const [one, other] = [await app.newPartner(), await app.newPartner()];
    await signIn(one);
    await signIn(wrong(other));
    expect((await itemsOf(one.id)).map(({ outcome }) => outcome)).toEqual(['token']);
    expect((await itemsOf(other.id)).map(({ outcome }) => outcome)).toEqual(['refused']);
    const fresh = await app.newPartner();
    expect(await list(fresh.id)).toEqual({ items: [], nextCursor: null });
  });

  it.each([
    '?limit=0',
    '?limit=201',
    '?limit=-1',
    '?limit=x',
    '?limit=1.5',
    '?limit=',
    '?cursor=',
    '?cursor=x',
    '?unknown=1',
  ])('refuses %s', async (query) => {
    const { id } = await app.newPartner();
    const answer = await ask(id, query);
    const problem = answer.json<{ code: string; errors: { field: string }[] }>();
    expect({ status: answer.status, code: problem.code }).toEqual({ status: 400, code: 'request.invalid' });
    expect(problem.errors.map(({ field }) => field)).toEqual([/\?(\w+)/.exec(query)?.[1]]);
  });

  it.each([
    ['another order', ['username', 'a', UNKNOWN]],
    ['no time', ['at', 'yesterday', UNKNOWN]],
    ['no id', ['at', '2026-01-01T00:00:00.000Z', 'x']],
    ['too little', ['at', '2026-01-01T00:00:00.000Z']],
    ['too much', ['at', '2026-01-01T00:00:00.000Z', UNKNOWN, 'x']],
    ['SQL', ['at', "2026-01-01T00:00:00.000Z'; DROP TABLE activity; --", UNKNOWN]],
    ['null', ['at', null, null]],
    ['an object', { at: 1 }],
  ])('refuses a cursor of %s', async (_, key) => {
    const { id } = await app.newPartner();
    const cursor = Buffer.from(JSON.stringify(key)).toString('base64url');
    const answer = await ask(id, `?cursor=${cursor}`);
    expect({ status: answer.status, code: answer.json()['code'] }).toEqual({ status: 400, code: 'request.invalid' });
  });

  it('answers 404 for an unknown or deleted channel user', async () => {
    const missing = await ask(UNKNOWN);
    expect({ status: missing.status, code: missing.json()['code'] }).toEqual({
      status: 404,
      code: 'channel-user.not-found',
    });
    expect((await ask('x')).status).toBe(404);
    const partner = await app.newPartner();
    await signIn(partner);
    const { token } = await app.asStaff('admin');
    expect((await app.request('DELETE', `/admin/channel-users/${partner.id}`, { token })).status).toBe(204);
    expect((await ask(partner.id)).status).toBe(404);
  });

  it('is read-only and open to all staff only', async () => {
    const { id, token } = await app.asPartner();
    for (const role of ['viewer', 'operator', 'admin'] as const) {
      const member = await app.asStaff(role);
      expect((await app.request('GET', pathOf(id), { token: member.token })).status).toBe(200);
    }
    expect((await app.request('GET', pathOf(id))).status).toBe(401);
    expect((await app.request('GET', pathOf(id), { token })).status).toBe(403);
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const answer = await app.request(method, pathOf(id), { token: (await app.asStaff('admin')).token, json: {} });
      expect(answer.status).toBe(405);
    }
  });
});

describe('the use of a credential', () => {
  interface User {
    lastTokenAt: string | null;
    version: number;
    updatedAt: string;
  }
  const readUser = async (id: string): Promise<User> => {
    const { token } = await app.asStaff('viewer');
    return (await app.request('GET', `/admin/channel-users/${id}`, { token })).json<User>();
  };
  const usesOf = async (id: string): Promise<Record<string, string | null>> => {
    const { token } = await app.asStaff('viewer');
    const answer = await app.request('GET', `/admin/channel-users/${id}/credentials`, { token });
    const { items } = answer.json<{ items: { id: string; lastUsedAt: string | null }[] }>();
    return Object.fromEntries(items.map(({ id: credential, lastUsedAt }) => [credential, lastUsedAt]));
  };

  it('is recorded on the user and the credential without counting as a change', async () => {
    const partner = await app.newPartner();
    const password = await addCredential(partner.id, { retireOthersInSeconds: null });
    const before = await readUser(partner.id);
    expect(before.lastTokenAt).toBeNull();
    await signIn(wrong(partner));
    expect((await readUser(partner.id)).lastTokenAt).toBeNull();
    await signIn({ ...partner, password });
    const [item] = await itemsOf(partner.id);
    const uses = await usesOf(partner.id);
    expect(await readUser(partner.id)).toEqual({ ...before, lastTokenAt: item?.at });
    expect(uses[partner.credentialId]).toBeNull();
    expect(uses[item?.credentialId ?? '']).toBe(item?.at);
    // Signs in more than a minute later, with the other password.
    app.clockOffset = 61_000;
    await signIn(partner);
    const [later] = await itemsOf(partner.id);
    expect(await readUser(partner.id)).toEqual({ ...before, lastTokenAt: later?.at });
    expect(await usesOf(partner.id)).toEqual({ ...uses, [partner.credentialId]: later?.at });
  });

  it('sends no notification, but a suspension does', async () => {
    const partner = await app.newPartner();
    await onDatabase(app.databaseUrl, async (client) => {
      const payloads: string[] = [];
      client.on('notification', ({ payload = '' }) => payloads.push(payload));
      await client.query('LISTEN latchkey_change');
      await signIn(partner);
      await signIn(wrong(partner));
      await itemsOf(partner.id);
      expect(Object.values(await usesOf(partner.id))).toEqual([expect.stringMatching(ISO)]);
      expect((await readUser(partner.id)).lastTokenAt).toMatch(ISO);
      await change('POST', partner.id, '/suspend', { reason: 'unpaid' });
      // Notifications arrive in the order of the commits, so this one is the last.
      await app.dataSource.query(`SELECT pg_notify('latchkey_change', 'test:end')`);
      await until(() => payloads.includes('test:end'), 'the last notification');
      expect(payloads).toEqual([`channel_user:${partner.id}`, 'test:end']);
    });
  });
});

describe('the partitioned table', () => {
  const partitionsOf = async (): Promise<string[]> => {
    const rows = await app.dataSource.query<{ name: string }[]>(
      `SELECT inhrelid::regclass::text AS name FROM pg_inherits WHERE inhparent = 'activity'::regclass ORDER BY 1`,
    );
    return rows.map(({ name }) => name);
  };
  const homesOf = async (id: string): Promise<Record<string, string>> => {
    const rows = await app.dataSource.query<{ name: string; day: string }[]>(
      `SELECT tableoid::regclass::text AS name, day::text FROM activity WHERE channel_user_id = $1`,
      [id],
    );
    return Object.fromEntries(rows.map(({ day, name }) => [day, name]));
  };
  const keep = (days: number): Promise<unknown> => app.dataSource.query('SELECT activity_partitions($1)', [days]);
  const insertOld = (id: string, daysAgo: number): Promise<unknown> => {
    const time = Date.now() - daysAgo * DAY_MS;
    return app.dataSource.query(
      `INSERT INTO activity (day, id, channel_user_id, at, outcome, request_id, count)
        VALUES ($1, gen_random_uuid(), $2, $3, 'token', gen_random_uuid(), 1)`,
      [dayOf(time), id, new Date(time)],
    );
  };
  const addPartition = (daysAgo: number): Promise<unknown> => {
    const time = Date.now() - daysAgo * DAY_MS;
    return app.dataSource.query(
      `CREATE TABLE ${partitionOf(time)} PARTITION OF activity FOR VALUES FROM ('${dayOf(time)}') TO ('${dayOf(time + DAY_MS)}')`,
    );
  };

  it('has partitions for today, tomorrow and the day after from the start', async () => {
    const names = await eventually(async () => {
      const found = await partitionsOf();
      return found.length >= 4 ? found : undefined;
    }, 'the partitions of the first days');
    const now = Date.now();
    for (const day of [0, 1, 2]) expect(names).toContain(partitionOf(now + day * DAY_MS));
    const partner = await app.newPartner();
    await signIn(partner);
    app.clockOffset = DAY_MS;
    await signIn(partner);
    app.clockOffset = 0;
    await itemsOf(partner.id);
    expect(await homesOf(partner.id)).toEqual({
      [dayOf(now)]: partitionOf(now),
      [dayOf(now + DAY_MS)]: partitionOf(now + DAY_MS),
    });
  });

  it('stores rows of days without a partition and moves them when the partition exists', async () => {
    const partner = await app.newPartner();
    const tomorrow = Date.now() + DAY_MS;
    await app.dataSource.query(`DROP TABLE ${partitionOf(tomorrow)}`);
    app.clockOffset = DAY_MS;
    const answer = await signIn(partner);
    app.clockOffset = 0;
    expect((await itemsOf(partner.id)).map(({ requestId }) => requestId)).toEqual([requestIdOf(answer)]);
    expect(await homesOf(partner.id)).toEqual({ [dayOf(tomorrow)]: 'activity_default' });
    await keep(90);
    expect(await homesOf(partner.id)).toEqual({ [dayOf(tomorrow)]: partitionOf(tomorrow) });
    expect((await itemsOf(partner.id)).map(({ requestId }) => requestId)).toEqual([requestIdOf(answer)]);
    // A second run changes nothing.
    const before = await partitionsOf();
    await keep(90);
    expect(await partitionsOf()).toEqual(before);
  });

  it('loses the partitions that are older than the retention, and nothing else', async () => {
    const partner = await app.newPartner();
    for (const daysAgo of [4, 5, 6, 40]) await addPartition(daysAgo);
    // The rows of 1 and 50 days ago have no partition of their own.
    for (const daysAgo of [1, 4, 5, 6, 40, 50]) await insertOld(partner.id, daysAgo);
    await signIn(partner);
    expect(await itemsOf(partner.id)).toHaveLength(7);
    await keep(5);
    const now = Date.now();
    const kept = (await itemsOf(partner.id)).map(({ at }) => dayOf(Date.parse(at)));
    expect(kept).toEqual([0, 1, 4, 5].map((daysAgo) => dayOf(now - daysAgo * DAY_MS)));
    const names = await partitionsOf();
    expect(names).toEqual(expect.arrayContaining([4, 5].map((daysAgo) => partitionOf(now - daysAgo * DAY_MS))));
    for (const daysAgo of [6, 40]) expect(names).not.toContain(partitionOf(now - daysAgo * DAY_MS));
    expect(names).toContain('activity_default');
  });

  it('is pruned at the start of an instance by its settings', async () => {
    const partner = await app.newPartner();
    await addPartition(20);
    await insertOld(partner.id, 20);
    await insertOld(partner.id, 3);
    const other = await TestApp.start({ ...app.config, activityRetentionDays: 10 });
    try {
      await eventually(
        async () => ((await partitionsOf()).includes(partitionOf(Date.now() - 20 * DAY_MS)) ? undefined : true),
        'the old partition is gone',
      );
      expect(await itemsOf(partner.id)).toHaveLength(1);
    } finally {
      await other.close();
    }
  });
});

describe('records that wait in memory', () => {
  /** Starts another instance on the same database, which the test stops. */
  const start = (): Promise<TestApp> => TestApp.start({ ...app.config });
  const rowsOf = (id: string): Promise<{ outcome: string; count: number }[]> =>
    app.dataSource.query('SELECT outcome, count FROM activity WHERE channel_user_id = $1 ORDER BY at, id', [id]);

  it('are written, with the times of use, when the instance stops', async () => {
    app.clockOffset = 0;
    const partner = await app.newPartner({ tokensPerMinute: 20 });
    const other = await start();
    other.clockOffset = atStartOfMinute();
    const answers = await inParallel(30, 30, () => signIn(partner, { on: other }));
    expect(tally(answers)).toEqual({ 200: 20, 429: 10 });
    await other.close();
    const rows = await rowsOf(partner.id);
    expect(rows.filter(({ outcome }) => outcome === 'token')).toHaveLength(20);
    expect(rows.filter(({ outcome }) => outcome === 'refused')).toEqual([{ outcome: 'refused', count: 10 }]);
    const [user] = await app.dataSource.query<{ last_token_at: Date | null; last_used_at: Date | null }[]>(
      `SELECT last_token_at, last_used_at FROM channel_user_use JOIN credential USING (channel_user_id)
        WHERE channel_user_id = $1`,
      [partner.id],
    );
    expect(user?.last_token_at).toEqual(expect.any(Date));
    expect(user?.last_used_at).toEqual(user?.last_token_at);
  });

  it('survive a database lock and a stop, while sign-ins go on', async () => {
    const stayer = await app.newPartner({ tokensPerMinute: 10_000 });
    const leaver = await app.newPartner({ tokensPerMinute: 10_000 });
    const staying = await start();
    // Its connections have a name, which tells them from those of the other instances.
    const leaving = await TestApp.start({ ...app.config, databaseUrl: `${app.databaseUrl}?application_name=leaving` });
    try {
      let sent = 0;
      await onDatabase(app.databaseUrl, async (client) => {
        await client.query('BEGIN');
        await client.query('LOCK TABLE activity IN ACCESS EXCLUSIVE MODE');
        const lines = logLines().length;
        // More than one batch.
        const answers = await inParallel(700, 50, () => unlessBusy(() => signIn(leaver, { on: leaving })));
        expect(tally(answers)).toEqual({ 200: 700 });
        // Waits until both instances have logged that a write failed.
        const haveNoticed = (): boolean => {
          const found = logLines()
            .slice(lines)
            .filter(({ msg }) => String(msg).startsWith('Writing the sign-in log failed, retrying'));
          return found.length >= 2;
        };
        for (const end = Date.now() + 60_000; !haveNoticed() && Date.now() < end;) {
          // A sign-in that waited for the lock would be 503 each time.
          const more = await inParallel(5, 5, () => unlessBusy(() => signIn(stayer, { on: staying })));
          expect(tally(more)).toEqual({ 200: 5 });
          sent += 5;
          await realTime('sign-ins arrive one after another');
        }
        expect(haveNoticed()).toBe(true);
        // Waits for a moment when the leaving instance is between two attempts.
        await eventually(async () => {
          const { rowCount } = await client.query(
            `SELECT FROM pg_stat_activity WHERE application_name = 'leaving' AND wait_event_type = 'Lock'`,
          );
          return rowCount === 0 ? true : undefined;
        }, 'a moment without an attempt');
        await client.query('COMMIT');
      });
      await leaving.close();
      expect(await rowsOf(leaver.id)).toHaveLength(700);
      const rows = await eventually(
        async () => {
          const found = await rowsOf(stayer.id);
          return found.length === sent ? found : undefined;
        },
        `${String(sent)} records`,
      );
      expect(rows).toEqual(new Array(sent).fill({ outcome: 'token', count: 1 }));
    } finally {
      await staying.close();
      await leaving.close();
    }
  });

  it('are given up when the table is missing, while sign-ins and later records go on', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 10_000 });
    const other = await start();
    try {
      await app.dataSource.query('ALTER TABLE activity RENAME TO activity_elsewhere');
      try {
        const answers = await inParallel(20, 5, () => signIn(partner, { on: other }));
        expect(tally(answers)).toEqual({ 200: 20 });
        expect((await signIn(wrong(partner), { on: other })).status).toBe(401);
      } finally {
        await app.dataSource.query('ALTER TABLE activity_elsewhere RENAME TO activity');
      }
      const last = await signIn(partner, { on: other });
      expect(last.status).toBe(200);
      const [item] = await itemsOf(partner.id, other);
      expect(item?.requestId).toBe(requestIdOf(last));
    } finally {
      await other.close();
    }
  });
});
