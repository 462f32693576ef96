import type { DataSource } from 'typeorm';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { eventually, until } from '../../../test/support/sign-ins.ts';

interface Overview {
  at: string;
  channelUsers: { total: number; active: number; suspended: number; expired: number };
  tokens: { last24h: number; hours: { at: string; tokens: number; refused: number }[] };
  failing: {
    total: number;
    items: {
      id: string;
      username: string;
      displayName: string;
      since: string;
      lastAt: string;
      reason: string;
      count: number;
      reasons: { reason: string; count: number; lastAt: string }[];
      status: string;
      isOver: boolean;
      changedAt: string | null;
    }[];
  };
  expiring: {
    total: number;
    items: {
      id: string;
      username: string;
      displayName: string;
      credentialId: string | null;
      label: string | null;
      expiresAt: string;
    }[];
  };
  silent: { total: number };
}

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const OVERVIEW = '/admin/overview';
const USERS = '/admin/channel-users';

let app: TestApp;
let started: number;
/** Only grows from test to test, because the instance caches the overview by its clock. */
let offset = 0;

beforeAll(async () => {
  app = await TestApp.start();
  // Starts at a quarter past the hour, so that no test spans two hours. Sessions live for eight hours.
  offset = Math.ceil(Date.now() / HOUR_MS) * HOUR_MS + HOUR_MS / 4 - Date.now();
  app.clockOffset = offset;
  for (const role of ['viewer', 'operator', 'admin'] as const) await app.asStaff(role);
});
afterAll(() => app.close());
beforeEach(async () => {
  // Reading writes what the previous test has recorded.
  app.clockOffset = offset;
  await readAnew();
  offset = app.clockOffset;
  await app.dataSource.query('DELETE FROM channel_user');
  await app.dataSource.query('DELETE FROM sign_in_failure');
  await app.dataSource.query('DELETE FROM sign_in_hour');
  app.clockOffset = offset + 10_000;
  started = Date.now() + app.clockOffset;
});
afterEach(() => {
  offset = app.clockOffset;
});

const read = async (on = app): Promise<Overview> => {
  const { token } = await app.asStaff('viewer');
  const answer = await on.request('GET', OVERVIEW, { token });
  expect(answer.status).toBe(200);
  return answer.json<Overview>();
};
/** Reads the overview after moving the clock beyond the cache. */
const readAnew = (on = app): Promise<Overview> => {
  app.clockOffset += 10_000;
  on.clockOffset = app.clockOffset;
  return read(on);
};
const fail = async ({ username }: Partner, on = app): Promise<Answer> =>
  on.request('POST', '/generateToken', { form: { username, password: 'wrong' } });
const listed = async (parameters: string, on = app): Promise<string[]> => {
  const { token } = await app.asStaff('viewer');
  const answer = await on.request('GET', `${USERS}?limit=200&${parameters}`, { token });
  expect(answer.status).toBe(200);
  const { items, total } = answer.json<{ items: { id: string }[]; total: number }>();
  expect(total).toBe(items.length);
  return items.map(({ id }) => id).sort();
};
const inDays = (days: number): string => new Date(Date.now() + app.clockOffset + days * DAY_MS).toISOString();
const change = async (method: string, path: string, json?: unknown): Promise<Answer> => {
  const { token } = await app.asStaff('admin');
  const answer = await app.request(method, `${USERS}/${path}`, { token, json });
  expect(answer.status).toBeLessThan(300);
  return answer;
};

it('is open to every staff member and to nobody else', async () => {
  for (const path of [OVERVIEW, '/admin/scopes']) {
    for (const role of ['viewer', 'operator', 'admin'] as const) {
      expect((await app.request('GET', path, { token: (await app.asStaff(role)).token })).status).toBe(200);
    }
    expect((await app.request('GET', path)).status).toBe(401);
    expect((await app.request('GET', path, { token: (await app.asPartner()).token })).status).toBe(403);
  }
});

it('shows zeros on an empty installation', async () => {
  const { at, ...numbers } = await readAnew();
  expect(Math.abs(Date.parse(at) - Date.now() - app.clockOffset)).toBeLessThan(5_000);
  const first = Math.floor(started / HOUR_MS) * HOUR_MS - 23 * HOUR_MS;
  expect(numbers).toEqual({
    channelUsers: { total: 0, active: 0, suspended: 0, expired: 0 },
    tokens: {
      last24h: 0,
      hours: Array.from({ length: 24 }, (_, i) => ({
        at: new Date(first + i * HOUR_MS).toISOString(),
        tokens: 0,
        refused: 0,
      })),
    },
    failing: { total: 0, items: [] },
    expiring: { total: 0, items: [] },
    silent: { total: 0 },
  });
});

it('counts channel users by state and counts a suspended, expired one as suspended', async () => {
  for (const fields of [{}, {}, { expiresAt: inDays(-1) }, { expiresAt: inDays(-1) }, { expiresAt: inDays(90) }]) {
    await app.newPartner(fields);
  }
  const suspended = await app.newPartner();
  const both = await app.newPartner({ expiresAt: inDays(-1) });
  for (const { id } of [suspended, both]) await change('POST', `${id}/suspend`, { reason: 'r' });
  expect((await readAnew()).channelUsers).toEqual({ total: 7, active: 3, suspended: 2, expired: 2 });
});

it('is cached for a few seconds and says when it was computed', async () => {
  const first = await readAnew();
  await app.newPartner();
  expect(await read()).toEqual(first);
  app.clockOffset += 6_000;
  const second = await read();
  expect(second.channelUsers.total).toBe(1);
  expect(Date.parse(second.at)).toBeGreaterThan(Date.parse(first.at));
});

describe('the token chart', () => {
  it('counts tokens and refusals by hour, including each attempt of a counted minute', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 3 });
    for (let i = 0; i < 3; i++) await app.generateToken(partner);
    for (let i = 0; i < 4; i++) {
      const answer = await app.request('POST', '/generateToken', {
        form: { username: partner.username, password: partner.password },
      });
      expect(answer.status).toBe(429);
    }
    await fail(partner);
    const later = await app.newPartner();
    app.clockOffset += HOUR_MS;
    await app.generateToken(later);
    // An attempt with an unknown username is neither recorded nor counted.
    await app.request('POST', '/generateToken', { form: { username: 'nobody-at-all', password: 'x' } });
    const { tokens } = await readAnew();
    expect(tokens.last24h).toBe(4);
    expect(tokens.hours).toHaveLength(24);
    const hour = new Date(Math.floor(started / HOUR_MS) * HOUR_MS);
    expect(tokens.hours.at(-2)).toEqual({ at: hour.toISOString(), tokens: 3, refused: 5 });
    expect(tokens.hours.at(-1)).toMatchObject({ tokens: 1, refused: 0 });
    for (const { tokens: none, refused } of tokens.hours.slice(0, 22)) expect([none, refused]).toEqual([0, 0]);
  });

  it('adds up the tokens of several instances', async () => {
    const other = await TestApp.start(app.config);
    try {
      other.clockOffset = app.clockOffset;
      const partner = await app.newPartner();
      for (const on of [app, other, other]) await on.generateToken(partner);
      await fail(partner, other);
      // Reading writes what this instance recorded. The other instance writes its own records soon.
      const hour = await eventually(async () => {
        const last = (await readAnew()).tokens.hours.at(-1);
        return last?.tokens === 3 && last.refused === 1 ? last : undefined;
      }, 'the attempts of both instances');
      expect(hour).toBeDefined();
    } finally {
      await other.close();
    }
  });

  it('does not count a batch twice when it is written again', async () => {
    const partner = await app.asPartner();
    await fail(partner);
    await readAnew();
    const before = await readAnew();
    // Keeps the statement and its rows, to run them again as after a lost answer.
    const written: Parameters<DataSource['query']>[] = [];
    const { dataSource } = app;
    const query = dataSource.query.bind(dataSource);
    dataSource.query = ((...parameters: Parameters<DataSource['query']>) => {
      written.push(parameters);
      return query(...parameters);
    }) as DataSource['query'];
    await fail(partner);
    const after = await readAnew();
    dataSource.query = query;
    const batch = written.find(([text]) => text.includes('INSERT INTO activity'));
    if (!batch) throw new Error('No batch was written');
    for (let i = 0; i < 3; i++) await query(...batch);
    const again = await readAnew();
    expect(after.tokens.hours.at(-1)?.refused).toBe((before.tokens.hours.at(-1)?.refused ?? 0) + 1);
    expect(again.tokens).toEqual(after.tokens);
    expect(again.failing).toEqual(after.failing);
  });
});

describe('the list of failing partners', () => {
  it('shows who was refused and has obtained no token since, with the true reason', async () => {
    const well = await app.asPartner();
    const failing = await app.newPartner();
    await app.generateToken(failing);
    app.clockOffset += 60_000;
    const since = Date.now() + app.clockOffset;
    await fail(failing);
    app.clockOffset += 60_000;
    await fail(failing);
    await change('POST', `${failing.id}/suspend`, { reason: 'r' });
    const last = Date.now() + app.clockOffset;
    const { username, password } = failing;
    await app.request('POST', '/generateToken', { form: { username, password } });
    const overview = await readAnew();
    expect(overview.failing).toEqual({
      total: 1,
      items: [
        {
          id: failing.id,
          username,
          displayName: expect.stringMatching(/^Partner/) as string,
          since: expect.any(String) as string,
          lastAt: expect.any(String) as string,
          reason: 'account_suspended',
          count: 3,
          reasons: [
            { reason: 'wrong_password', count: 2, lastAt: expect.any(String) as string },
            { reason: 'account_suspended', count: 1, lastAt: expect.any(String) as string },
          ],
          status: 'suspended',
          isOver: false,
          changedAt: null,
        },
      ],
    });
    const [item] = overview.failing.items;
    expect(Math.abs(Date.parse(item?.since ?? '') - since)).toBeLessThan(5_000);
    expect(Math.abs(Date.parse(item?.lastAt ?? '') - last)).toBeLessThan(5_000);
    expect(await listed('failing=true')).toEqual([failing.id]);
    expect(await listed(`failing=true&status=active`)).toEqual([]);
    expect(well.id).not.toBe(failing.id);
  });

  it('counts each reason and tells when the partner’s state has changed since the last refusal', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1 });
    const signIn = (): Promise<Answer> =>
      app.request('POST', '/generateToken', { form: { username: partner.username, password: partner.password } });
    await app.generateToken(partner);
    app.clockOffset += 1_000;
    for (let i = 0; i < 7; i++) expect((await signIn()).status).toBe(429);
    await change('POST', `${partner.id}/suspend`, { reason: 'unpaid' });
    app.clockOffset += 1_000;
    for (let i = 0; i < 2; i++) expect((await signIn()).status).toBe(403);
    const [suspended] = (await readAnew()).failing.items;
    expect(suspended).toMatchObject({ count: 9, reason: 'account_suspended', status: 'suspended', isOver: false });
    expect(suspended?.reasons.map(({ reason, count }) => [reason, count])).toEqual([
      ['issuance_limit', 7],
      ['account_suspended', 2],
    ]);
    app.clockOffset += 1_000;
    await change('POST', `${partner.id}/reactivate`, {});
    const [reactivated] = (await readAnew()).failing.items;
    expect(reactivated).toMatchObject({ count: 9, status: 'active', isOver: true });
    expect(Date.parse(reactivated?.changedAt ?? '')).toBeGreaterThan(Date.parse(reactivated?.lastAt ?? ''));
  });

  it('tells when an expiry has been lifted or a change has not been tried yet', async () => {
    const expired = await app.newPartner({ expiresAt: new Date(Date.now() - DAY_MS).toISOString() });
    const { username, password } = expired;
    await app.request('POST', '/generateToken', { form: { username, password } });
    const mistyped = await app.newPartner();
    await fail(mistyped);
    const of = async ({ id }: Partner): Promise<Overview['failing']['items'][number] | undefined> =>
      (await readAnew()).failing.items.find((item) => item.id === id);
    expect(await of(expired)).toMatchObject({ reason: 'account_expired', status: 'expired', isOver: false });
    expect(await of(mistyped)).toMatchObject({ reason: 'wrong_password', isOver: false, changedAt: null });
    app.clockOffset += 1_000;
    await change('PATCH', expired.id, { expiresAt: null });
    await change('POST', `${mistyped.id}/credentials`, {});
    expect(await of(expired)).toMatchObject({ status: 'active', isOver: true });
    expect(await of(mistyped)).toMatchObject({ isOver: false, changedAt: expect.any(String) as string });
  });

  it('drops a partner at the next token and starts again with the next refusal', async () => {
    const partner = await app.newPartner();
    await fail(partner);
    await fail(partner);
    expect((await readAnew()).failing.total).toBe(1);
    await app.generateToken(partner);
    expect((await readAnew()).failing).toEqual({ total: 0, items: [] });
    expect(await listed('failing=true')).toEqual([]);
    await fail(partner);
    expect((await readAnew()).failing.items).toMatchObject([{ id: partner.id, count: 1 }]);
  });

  it('orders a token and refusals of the same batch correctly', async () => {
    const [ended, begun] = [await app.newPartner(), await app.newPartner()];
    // Records that arrive while a batch is written wait for the next batch, so most of these share one.
    for (let round = 0; round < 3; round++) {
      for (const attempt of [() => fail(ended), () => app.generateToken(ended)]) await attempt();
      for (const attempt of [() => fail(begun), () => app.generateToken(begun), () => fail(begun)]) await attempt();
      app.clockOffset += 1;
    }
    const { failing } = await readAnew();
    expect(failing.items).toMatchObject([{ id: begun.id, count: 1, reason: 'wrong_password' }]);
  });

  it('drops a partner whose token another instance recorded', async () => {
    const other = await TestApp.start(app.config);
    try {
      other.clockOffset = app.clockOffset;
      const partner = await app.newPartner();
      await fail(partner, other);
      await until(async () => (await readAnew()).failing.total === 1, 'the refusal on the other instance');
      await app.generateToken(partner);
      expect((await readAnew()).failing.total).toBe(0);
      expect(await listed('failing=true', other)).toEqual([]);
    } finally {
      await other.close();
    }
  });

  it('ignores refusals that arrive after a later token', async () => {
    const partner = await app.newPartner();
    // The refusal is a minute older than the token, as in a batch that had to wait for the database.
    await app.generateToken(partner);
    await readAnew();
    app.clockOffset -= 60_000;
    await fail(partner);
    app.clockOffset += 60_000;
    expect((await readAnew()).failing.total).toBe(0);
  });

  it('drops a partner a day after the last refusal, and with the account', async () => {
    const [forgotten, deleted] = [await app.newPartner(), await app.newPartner()];
    await fail(forgotten);
    await fail(deleted);
    expect((await readAnew()).failing.total).toBe(2);
    await change('DELETE', deleted.id);
    expect((await readAnew()).failing.items).toMatchObject([{ id: forgotten.id }]);
    await app.dataSource.query(`UPDATE sign_in_failure SET last_at = last_at - interval '24 hours'`);
    expect((await readAnew()).failing).toEqual({ total: 0, items: [] });
    expect(await listed('failing=true')).toEqual([]);
  });

  it('shows the ten most recent partners', async () => {
    const ids: string[] = [];
    for (let i = 0; i < 12; i++) {
      const partner = await app.newPartner();
      ids.unshift(partner.id);
      await fail(partner);
      app.clockOffset += 1_000;
    }
    const { failing } = await readAnew();
    expect(failing.total).toBe(12);
    expect(failing.items.map(({ id }) => id)).toEqual(ids.slice(0, 10));
  });
});

describe('the list of expiring credentials and accounts', () => {
  it('shows what expires within 30 days, soonest first', async () => {
    const account = await app.newPartner({ expiresAt: inDays(20) });
    const rotating = await app.newPartner();
    await change('POST', `${rotating.id}/credentials`, { retireOthersInSeconds: 5 * 86_400, expiresAt: inDays(25) });
    // The new password expires before the old one, so the old one is not superseded.
    const outlived = await app.newPartner();
    await change('POST', `${outlived.id}/credentials`, { retireOthersInSeconds: 5 * 86_400, expiresAt: inDays(3) });
    const revoked = await app.newPartner();
    await change('POST', `${revoked.id}/credentials`, { retireOthersInSeconds: 5 * 86_400 });
    await change('DELETE', `${revoked.id}/credentials/${revoked.credentialId}`);
    await app.newPartner({ expiresAt: inDays(31) });
    await app.newPartner({ expiresAt: inDays(-1) });
    const { expiring } = await readAnew();
    expect(expiring.total).toBe(3);
    expect(expiring.items).toMatchObject([
      { id: outlived.id, credentialId: expect.not.stringContaining(outlived.credentialId) as string },
      { id: outlived.id, credentialId: outlived.credentialId, label: 'initial' },
      { id: account.id, credentialId: null, label: null, username: account.username },
      { id: rotating.id, credentialId: expect.not.stringContaining(rotating.credentialId) as string },
    ]);
    expect(await listed('expiringWithinDays=30')).toEqual([account.id, rotating.id, outlived.id].sort());
    expect(await listed('expiringWithinDays=24')).toEqual([account.id, outlived.id].sort());
    expect(await listed('expiringWithinDays=10')).toEqual([outlived.id]);
    expect(await listed('expiringWithinDays=2')).toEqual([]);
    expect(await listed('expiringWithinDays=32')).toHaveLength(4);
  });

  it('omits a replaced password unless it is the only one left', async () => {
    const partner = await app.newPartner();
    const rotate = async (): Promise<string> =>
      (await change('POST', `${partner.id}/credentials`, { retireOthersInSeconds: 86_400 })).json<{
        credential: { id: string };
      }>().credential.id;
    const expired = async (): Promise<unknown[]> => {
      const { expiring } = await readAnew();
      const items = expiring.items.filter(({ id }) => id === partner.id);
      const isListed = (await listed('expiringWithinDays=1')).includes(partner.id);
      expect(isListed).toBe(items.length > 0);
      // A second filter makes the list search in another way.
      expect(await listed(`expiringWithinDays=1&q=${partner.username}`)).toEqual(isListed ? [partner.id] : []);
      return items.map(({ credentialId }) => credentialId);
    };
    const second = await rotate();
    expect(await expired()).toEqual([]);
    const third = await rotate();
    expect(await expired()).toEqual([]);
    await change('DELETE', `${partner.id}/credentials/${third}`);
    expect(await expired()).toEqual([second]);
    await rotate();
    expect(await expired()).toEqual([]);
  });
});

describe('the list of silent partners', () => {
  it('shows who was active 30 days ago and has obtained no token since', async () => {
    const [never, once, lately] = [await app.newPartner(), await app.newPartner(), await app.newPartner()];
    await app.newPartner();
    const back = async ({ id }: Partner, created: number, token: number | null): Promise<void> => {
      await app.dataSource.query('UPDATE channel_user SET created_at = $2, last_token_at = $3 WHERE id = $1', [
        id,
        inDays(-created),
        token === null ? null : inDays(-token),
      ]);
    };
    await back(never, 40, null);
    await back(once, 100, 50);
    await back(lately, 100, 10);
    expect((await readAnew()).silent.total).toBe(2);
    expect(await listed('silentForDays=30')).toEqual([never.id, once.id].sort());
    expect(await listed('silentForDays=45')).toEqual([once.id]);
    expect(await listed('silentForDays=9')).toEqual([never.id, once.id, lately.id].sort());
    await app.generateToken(never);
    expect(await listed('silentForDays=30')).toEqual([once.id]);
  });
});

describe('the catalogue of scopes', () => {
  it('lists the scopes that the application requires, the built-in ones and the granted ones', async () => {
    await app.newPartner({ scopes: ['legacy:thing', 'token:introspect'] });
    await app.newPartner({ scopes: ['legacy:thing'] });
    app.clockOffset += 120_000;
    const { token } = await app.asStaff('viewer');
    const { items } = (await app.request('GET', '/admin/scopes', { token })).json<{ items: { name: string }[] }>();
    expect(items).toEqual([
      { name: 'legacy:thing', description: null, declared: false, grantedTo: 2 },
      { name: 'token:introspect', description: expect.any(String) as string, declared: true, grantedTo: 1 },
    ]);
  });
});
