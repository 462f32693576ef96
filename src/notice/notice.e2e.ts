import { createHash, randomBytes, randomUUID } from 'node:crypto';
import type { ServerResponse } from 'node:http';
import net, { BlockList } from 'node:net';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { type Answer, type Partner, TestApp } from '../../test/support/app.ts';
import { onDatabase } from '../../test/support/database.ts';
import { ADVISORY_LOCKS } from '../platform/database/advisory-locks.ts';
import { reencrypt } from '../../test/support/command.ts';
import { setNameServers } from '../../test/support/inside.ts';
import { scrape } from '../../test/support/metrics.ts';
import { NameServer } from '../../test/support/name-server.ts';
import { type Message, Receiver, verified } from '../../test/support/receiver.ts';
import { keepOutput, secret } from '../../test/support/secrets.ts';
import { ServerProcess } from '../../test/support/server.ts';
import { eventually, inParallel, logLines, until } from '../../test/support/sign-ins.ts';
import { staffTokenOf } from '../../test/support/staff-sign-in.ts';

interface Webhook {
  id: string;
  url: string;
  events: string[];
  enabled: boolean;
  disabledReason: string | null;
  previousSecretUntil: string | null;
  secret: string;
}
interface Delivery {
  id: string;
  webhookId: string;
  state: string;
  attempts: number;
  nextAttemptAt: string | null;
  lastStatus: number | null;
  lastError: string | null;
  lastDurationMs: number | null;
  deliveredAt: string | null;
}
interface Notice {
  id: string;
  type: string;
  at: string;
  data: { channelUser?: Record<string, unknown>; credential?: Record<string, unknown>; withinDays?: number };
  deliveries: Delivery[];
}

const HOOKS = '/admin/webhooks';
const NOTICES = '/admin/notices';
const USERS = '/admin/channel-users';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');

let app: TestApp;
let receiver: Receiver;
const others: { close: () => unknown }[] = [];

beforeAll(async () => {
  app = await TestApp.start({ webhookAllowedNetworks: LOOPBACK });
});
afterAll(() => app.close());
beforeEach(async () => {
  receiver = await Receiver.start();
  await app.dataSource.query('DELETE FROM webhook');
  await app.dataSource.query('DELETE FROM notice');
  await app.dataSource.query('DELETE FROM channel_user');
});
afterEach(async () => {
  for (const other of others.splice(0).reverse()) await other.close();
  await receiver.close();
});

/** Closes `other` after the test, whether or not the test passes. */
const kept = <T extends { close: () => unknown }>(other: T): T => {
  others.push(other);
  return other;
};
/** Starts another instance on the same database, with the same clock. */
const another = async (): Promise<TestApp> => {
  const instance = kept(await TestApp.start({ ...app.config }));
  instance.clockOffset = app.clockOffset;
  return instance;
};

/** The clock offset of the last sign-ins. When the clock has moved, staff sign in again, since sessions end. */
let signedInAt = 0;
const tokens = new Map<string, string>();
const as = async (role: 'viewer' | 'operator' | 'admin'): Promise<string> => {
  if (signedInAt !== app.clockOffset) tokens.clear();
  signedInAt = app.clockOffset;
  const token = tokens.get(role) ?? (await app.newStaff(role)).token;
  tokens.set(role, token);
  return token;
};
const call = async (method: string, path: string, json?: unknown): Promise<Answer> =>
  app.request(method, path, { token: await as('admin'), ...(json !== undefined && { json }) });

const webhook = async (fields: Record<string, unknown> = {}): Promise<Webhook> => {
  const answer = await call('POST', HOOKS, { url: receiver.url, ...fields });
  if (answer.status !== 201) throw new Error(answer.text);
  const made = answer.json<Webhook>();
  secret(made.secret);
  return made;
};
const partner = async (fields: Record<string, unknown> = {}): Promise<Partner> => {
  const username = `partner-${randomBytes(4).toString('hex')}`;
  const answer = await call('POST', USERS, { username, displayName: 'Blue Channel', ...fields });
  if (answer.status !== 201) throw new Error(answer.text);
  const { channelUser, credential } = answer.json<{
    channelUser: { id: string };
    credential: { id: string; password: string };
  }>();
  return { id: channelUser.id, username, password: secret(credential.password), credentialId: credential.id };
};
const suspend = async ({ id }: { id: string }): Promise<Answer> =>
  call('POST', `${USERS}/${id}/suspend`, { reason: 'a secret reason' });
const rotate = async ({ id }: Partner, json: object = {}): Promise<string> => {
  const answer = await call('POST', `${USERS}/${id}/credentials`, json);
  const { credential } = answer.json<{ credential: { id: string; password: string } }>();
  secret(credential.password);
  return credential.id;
};
const list = async (query = ''): Promise<Notice[]> =>
  (await call('GET', `${NOTICES}${query}`)).json<{ items: Notice[] }>().items;
const deliveryOf = async (id: string): Promise<Delivery> => {
  const [delivery] = (await list()).find((notice) => notice.id === id)?.deliveries ?? [];
  if (!delivery) throw new Error('There is no delivery');
  return delivery;
};
/** Waits until the delivery of a notice has a state, and a number of attempts if one is given. */
const inState = (id: string, state: string, attempts?: number): Promise<Delivery> =>
  eventually(
    async () => {
      const delivery = await deliveryOf(id);
      const isSo = delivery.state === state && (attempts === undefined || delivery.attempts === attempts);
      return isSo ? delivery : undefined;
    },
    `${state} ${String(attempts)}`,
    20_000,
  );
const test = async ({ id }: Webhook): Promise<string> => {
  const answer = await call('POST', `${HOOKS}/${id}/test`);
  expect(answer.status).toBe(202);
  return answer.json<Notice>().id;
};
const SCAN = 'Scanning for notices';
/** Lets an hour pass and scans, which then includes what a scan does once an hour. */
const scanAfterAnHour = async (on = app): Promise<void> => {
  on.clockOffset += HOUR_MS;
  await on.runTask(SCAN);
};
/** The attempts to deliver a notice, by outcome. */
const outcomesOf = async (on = app): Promise<{ delivered: number; retried: number; failed: number }> => {
  const metrics = await scrape(on.opsUrl);
  const count = (outcome: string): number => metrics.value('latchkey_notice_deliveries_total', { outcome });
  return { delivered: count('delivered'), retried: count('retried'), failed: count('failed') };
};
const auditOf = async (target: string): Promise<{ action: string; actor: { type: string }; changes: object }[]> =>
  (await call('GET', `/admin/audit-events?target=${target}`)).json<{ items: never[] }>().items;
const subjectOf = ({ id, username }: Partner): object => ({ id, username, displayName: 'Blue Channel' });

describe('a webhook', () => {
  it('is created by admins, read by viewers and shows its secret once', async () => {
    const answer = await call('POST', HOOKS, { url: receiver.url, description: 'Ours', events: ['sign_in.failing'] });
    expect(answer.status).toBe(201);
    const made = answer.json<Webhook>();
    expect(made.secret).toMatch(/^whsec_[A-Za-z0-9+/]{43}=$/);
    secret(made.secret);
    const { secret: _, ...rest } = made;
    expect(answer.headers.get('location')).toBe(`${HOOKS}/${made.id}`);
    expect((await call('GET', `${HOOKS}/${made.id}`)).json()).toEqual(rest);
    expect((await call('GET', HOOKS)).json()).toEqual({ items: [rest] });
    // Staff who cannot change the URL see only its origin, since the rest may be a secret.
    const inPart = { ...rest, url: new URL(receiver.url).origin };
    for (const role of ['viewer', 'operator'] as const) {
      const token = await as(role);
      expect((await app.request('GET', `${HOOKS}/${made.id}`, { token })).json()).toEqual(inPart);
      expect((await app.request('GET', HOOKS, { token })).json()).toEqual({ items: [inPart] });
    }
    expect(Object.keys(rest).sort()).toEqual(
      ['createdAt', 'description', 'disabledReason', 'enabled', 'events', 'id', 'previousSecretUntil'].concat([
        'updatedAt',
        'url',
      ]),
    );
    // The row holds the secret neither as text nor as bytes.
    const [row] = await app.dataSource.query<{ webhook: string; sealed: Buffer }[]>(
      'SELECT webhook::text, sealed_secret AS sealed FROM webhook',
    );
    expect(row?.webhook).not.toContain(made.secret.slice(6));
    expect(row?.sealed.includes(Buffer.from(made.secret.slice(6), 'base64'))).toBe(false);
  });

  it('is changed in part, and removed with its waiting deliveries', async () => {
    const made = await webhook({ description: 'before', events: ['sign_in.failing'] });
    const changed = await call('PATCH', `${HOOKS}/${made.id}`, { description: null, enabled: false });
    expect(changed.json()).toMatchObject({ description: null, enabled: false, events: ['sign_in.failing'] });
    const other = await webhook();
    receiver.answer = (response) => response.writeHead(500).end();
    const id = await test(other);
    await inState(id, 'failed');
    expect((await call('DELETE', `${HOOKS}/${other.id}`)).status).toBe(204);
    expect((await list()).find((notice) => notice.id === id)?.deliveries).toEqual([]);
    expect((await call('GET', `${HOOKS}/${other.id}`)).json()).toMatchObject({ code: 'webhook.not-found' });
  });

  it.each([
    ['POST', ''],
    ['PATCH', '/:id'],
    ['DELETE', '/:id'],
    ['POST', '/:id/rotate-secret'],
    ['POST', '/:id/test'],
  ])('is closed to operators: %s %s', async (method, path) => {
    const { id } = await webhook();
    const options = { token: await as('operator'), ...(method !== 'DELETE' && { json: { url: receiver.url } }) };
    expect((await app.request(method, HOOKS + path.replace(':id', id), options)).status).toBe(403);
    expect(receiver.messages).toEqual([]);
  });

  it.each([
    ['no url', {}, 'url'],
    ['a type that is none', { events: ['nothing'] }, 'events'],
    ['a test among the types', { events: ['webhook.test'] }, 'events'],
    ['a type twice', { events: ['sign_in.failing', 'sign_in.failing'] }, 'events'],
    ['types that are no list', { events: 'sign_in.failing' }, 'events'],
    ['an unknown field', { secret: 'whsec_mine' }, 'secret'],
    ['enabled as text', { enabled: 'yes' }, 'enabled'],
    ['a description of nothing', { description: ' ' }, 'description'],
  ])('is refused with %s', async (what, fields, field) => {
    const answer = await call('POST', HOOKS, { ...(what !== 'no url' && { url: receiver.url }), ...fields });
    expect(answer.status).toBe(400);
    expect(answer.json<{ errors: { field: string }[] }>().errors.map((error) => error.field)).toEqual([field]);
  });

  it('is one of twenty at most, even when many are added at once', async () => {
    await as('admin');
    const answers = await inParallel(23, 8, () => call('POST', HOOKS, { url: receiver.url }));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(20);
    const refused = answers.filter(({ status }) => status !== 201);
    expect(refused.map((answer) => answer.json<{ code: string }>().code)).toEqual(Array(3).fill('webhook.too-many'));
  });

  it('has its changes in the trail without the secret and the secret parts of its URL', async () => {
    const url = `${new URL(receiver.url).origin}/hooks/in-the-path?key=in-the-url`;
    const made = await webhook({ url });
    await call('PATCH', `${HOOKS}/${made.id}`, { url: `${url}-another`, enabled: true });
    await call('PATCH', `${HOOKS}/${made.id}`, { enabled: true });
    const rotated = await call('POST', `${HOOKS}/${made.id}/rotate-secret`, {});
    secret(rotated.json<Webhook>().secret);
    const id = await test(made);
    await call('DELETE', `${HOOKS}/${made.id}`);
    const events = await auditOf(made.id);
    expect(events.map(({ action }) => action)).toEqual([
      'webhook.deleted',
      'webhook.tested',
      'webhook.secret-rotated',
      'webhook.updated',
      'webhook.created',
    ]);
    expect(events[1]?.changes).toEqual({ noticeId: [id, id] });
    expect(events[2]?.changes).toMatchObject({ secret: ['[masked]', '[masked]'] });
    const inTrail = (rest: string): string =>
      `${new URL(url).origin}/[sha256:${createHash('sha256').update(rest).digest('hex').slice(0, 8)}]`;
    const rest = '/hooks/in-the-path?key=in-the-url';
    expect(events[3]?.changes).toEqual({ url: [inTrail(rest), inTrail(`${rest}-another`)] });
    expect(JSON.stringify(events)).not.toMatch(/whsec_|in-the-path|in-the-url|another/);

    const plain = await webhook({ url: `${new URL(url).origin}/` });
    expect((await auditOf(plain.id))[0]?.changes).toMatchObject({ url: [null, `${new URL(url).origin}/`] });
  });
});

describe('a notice', () => {
  it('of a suspension and its end is signed and names only the account', async () => {
    const hook = await webhook();
    const blue = await partner();
    await suspend(blue);
    const [suspended] = (await receiver.received('channel_user.suspended')) as [Message];
    await suspend(blue);
    await call('POST', `${USERS}/${blue.id}/reactivate`, {});
    const [reactivated] = (await receiver.received('channel_user.reactivated')) as [Message];
    for (const message of [suspended, reactivated]) {
      const payload = verified(hook.secret, message);
      expect(payload).toEqual({
        type: message.type,
        timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
        data: { channelUser: subjectOf(blue) },
      });
      expect(message.headers['content-type']).toBe('application/json');
      expect(Math.abs(message.at - Date.now() - app.clockOffset)).toBeLessThan(20_000);
      // Another secret or another body does not verify, so the check above can fail.
      expect(() => verified(`whsec_${randomBytes(32).toString('base64')}`, message)).toThrow('No matching signature');
      expect(() => verified(hook.secret, { ...message, body: `${message.body} ` })).toThrow('No matching signature');
    }
    // A second suspension changes nothing and makes no notice.
    expect(receiver.messages).toHaveLength(2);
    const items = await list();
    expect(items.map(({ id, type }) => [id, type])).toEqual([
      [reactivated.id, 'channel_user.reactivated'],
      [suspended.id, 'channel_user.suspended'],
    ]);
    expect(await inState(suspended.id, 'delivered')).toMatchObject({
      webhookId: hook.id,
      attempts: 1,
      nextAttemptAt: null,
      lastStatus: 204,
      lastError: null,
    });
  });

  it('of a rotation names the new credential, and none is made for the first credential', async () => {
    await webhook();
    const blue = await partner();
    const id = await rotate(blue, { retireOthers: { after: 'now' } });
    const [rotated] = await receiver.received('credential.rotated');
    const credentials = (await call('GET', `${USERS}/${blue.id}/credentials`)).json<{
      items: { id: string; fingerprint: string }[];
    }>();
    const { fingerprint } = credentials.items.find((credential) => credential.id === id) ?? {};
    expect(rotated?.data).toEqual({
      channelUser: subjectOf(blue),
      credential: { id, fingerprint, expiresAt: null },
      after: 'now',
      startedBy: 'staff',
    });
    expect(receiver.messages).toHaveLength(1);
  });

  it('is made in the same transaction as its change', async () => {
    const blue = await partner();
    await app.dataSource.query('ALTER TABLE notice RENAME TO away');
    try {
      expect((await suspend(blue)).status).toBe(500);
    } finally {
      await app.dataSource.query('ALTER TABLE away RENAME TO notice');
    }
    expect((await call('GET', `${USERS}/${blue.id}`)).json()).toMatchObject({ status: 'active' });
    expect(await list()).toEqual([]);
  });

  it('goes to the enabled webhooks that ask for its type', async () => {
    const [of, all, off] = await Promise.all(
      [Receiver.start(), Receiver.start(), Receiver.start()].map(async (each) => kept(await each)),
    );
    const wanted = await webhook({ events: ['channel_user.suspended'] });
    const everything = await webhook({ url: all?.url });
    await webhook({ url: of?.url, events: ['sign_in.failing', 'credential.rotated'] });
    await webhook({ url: off?.url, enabled: false });
    await suspend(await partner());
    await receiver.received('channel_user.suspended');
    await all?.received('channel_user.suspended');
    const [notice] = await list();
    expect(notice?.deliveries.map(({ webhookId }) => webhookId).sort()).toEqual([wanted.id, everything.id].sort());
    expect([of?.messages, off?.messages]).toEqual([[], []]);
  });

  it('of an expiry is made once each 30, 7 and 1 days before', async () => {
    const hook = await webhook();
    const now = Date.now() + app.clockOffset;
    const expiresAt = new Date(now + 40 * DAY_MS).toISOString();
    const blue = await partner({ expiresAt });
    const credentialExpiry = new Date(now + 35 * DAY_MS).toISOString();
    const id = await rotate(blue, { expiresAt: credentialExpiry, retireOthersInSeconds: null });
    const start = app.clockOffset;
    const seen: unknown[][] = [];
    for (const days of [0, 4, 6, 9, 11, 27, 29, 32, 34, 38, 39.5, 41]) {
      app.clockOffset = start + days * DAY_MS;
      await scanAfterAnHour();
      await scanAfterAnHour();
      // The notices of one scan have the same time, so they are sorted by type.
      // An attempt that is under way when the clock moves is repeated after its lease.
      const notices = await eventually(async () => {
        const all = await list();
        return all.every(({ deliveries }) => deliveries.every(({ state }) => state === 'delivered')) ? all : undefined;
      }, 'delivered');
      for (const { type, data } of notices.sort((a, b) => a.type.localeCompare(b.type))) {
        const { credential, withinDays } = data;
        const line = [type, withinDays, credential?.['id'] ?? null];
        if (type.endsWith('expiring') && !seen.some((each) => JSON.stringify(each.slice(1)) === JSON.stringify(line))) {
          seen.push([days, ...line]);
        }
      }
    }
    expect(seen).toEqual([
      [6, 'credential.expiring', 30, id],
      [11, 'channel_user.expiring', 30, null],
      [29, 'credential.expiring', 7, id],
      [34, 'channel_user.expiring', 7, null],
      [34, 'credential.expiring', 1, id],
      [39.5, 'channel_user.expiring', 1, null],
    ]);
    await receiver.received('channel_user.expiring', 3);
    await receiver.received('credential.expiring', 3);
    // An attempt that is under way when the clock moves is repeated, with the same id.
    const expiring = receiver.messages.filter(({ type }) => type.endsWith('expiring'));
    expect(new Set(expiring.map(({ id: messageId }) => messageId)).size).toBe(6);
    for (const message of receiver.messages) verified(hook.secret, message);
    const [ofCredential] = receiver.of('credential.expiring');
    expect(ofCredential?.data).toEqual({
      channelUser: subjectOf(blue),
      credential: { id, fingerprint: expect.stringMatching(/^[0-9a-f]{8}$/) as string, expiresAt: credentialExpiry },
      withinDays: 30,
    });
    expect(receiver.of('channel_user.expiring')[0]?.data).toEqual({
      channelUser: subjectOf(blue),
      expiresAt,
      withinDays: 30,
    });
  });

  it('of an expiry is made again when the expiry moves, but not for revoked or past ones', async () => {
    const expiresAt = new Date(Date.now() + app.clockOffset + 5 * DAY_MS).toISOString();
    const blue = await partner({ expiresAt });
    const revoked = await rotate(blue, { expiresAt, retireOthersInSeconds: null });
    await call('DELETE', `${USERS}/${blue.id}/credentials/${revoked}`);
    await partner({ expiresAt: '2020-01-01T00:00:00Z' });
    await scanAfterAnHour();
    expect((await list('?type=credential.expiring')).length).toBe(0);
    expect((await list('?type=channel_user.expiring')).map(({ data }) => data.withinDays)).toEqual([7]);
    await call('PATCH', `${USERS}/${blue.id}`, {
      expiresAt: new Date(Date.now() + app.clockOffset + 6 * DAY_MS).toISOString(),
    });
    await scanAfterAnHour();
    await scanAfterAnHour();
    expect((await list('?type=channel_user.expiring')).map(({ data }) => data.withinDays)).toEqual([7, 7]);
  });

  it('of failing sign-ins is made once until a token is obtained', async () => {
    await webhook();
    const blue = await partner();
    const green = await partner();
    const attempt = (password: string, who = blue): Promise<Answer> =>
      app.request('POST', '/generateToken', { form: { Username: who.username, Password: password } });
    const failFor = async (times: number, who = blue): Promise<void> => {
      await inParallel(times, 10, () => attempt(randomUUID(), who));
      // Reading writes what was recorded.
      await call('GET', `${USERS}/${who.id}/activity`);
    };
    await failFor(9);
    await failFor(1, green);
    await app.runTask(SCAN);
    expect(await list('?type=sign_in.failing')).toEqual([]);
    await failFor(1);
    await app.runTask(SCAN);
    const [message] = await receiver.received('sign_in.failing');
    expect(message?.data).toMatchObject({ channelUser: subjectOf(blue), reason: 'wrong_password', refusals: 10 });
    await failFor(5);
    await app.runTask(SCAN);
    // `since` moves back when another instance writes late.
    await app.dataSource.query(`UPDATE sign_in_failure SET since = since - interval '1 second'`);
    await app.runTask(SCAN);
    expect(await list('?type=sign_in.failing')).toHaveLength(1);
    await app.generateToken(blue);
    await call('GET', `${USERS}/${blue.id}/activity`);
    app.clockOffset += HOUR_MS;
    await failFor(10);
    await app.runTask(SCAN);
    expect(await list('?type=sign_in.failing')).toHaveLength(2);
    // A suspended account is meant to be refused, so it makes no notice.
    await call('POST', `${USERS}/${green.id}/suspend`, { reason: 'test' });
    await failFor(12, green);
    await app.runTask(SCAN);
    expect(await list('?type=sign_in.failing')).toHaveLength(2);
  });

  it('is listed by type, state and webhook in pages', async () => {
    const hook = await webhook();
    const blue = await partner();
    await suspend(blue);
    await call('POST', `${USERS}/${blue.id}/reactivate`, {});
    await suspend(blue);
    await receiver.received('channel_user.suspended', 2);
    for (const { id } of await list()) await inState(id, 'delivered');
    const all = await list();
    expect(all).toHaveLength(3);
    const paged: Notice[] = [];
    let cursor: string | null = '';
    while (cursor !== null) {
      const page = await call('GET', `${NOTICES}?limit=2${cursor && `&cursor=${cursor}`}`);
      const { items, nextCursor } = page.json<{ items: Notice[]; nextCursor: string | null }>();
      paged.push(...items);
      cursor = nextCursor;
    }
    expect(paged).toEqual(all);
    expect(await list('?type=channel_user.suspended')).toHaveLength(2);
    expect(await list('?state=delivered&type=channel_user.reactivated')).toHaveLength(1);
    expect(await list('?state=failed')).toEqual([]);
    expect(await list(`?webhook=${hook.id}`)).toHaveLength(3);
    expect(await list(`?webhook=${randomUUID()}`)).toEqual([]);
    for (const query of ['?type=nothing', '?state=lost', '?webhook=x', '?cursor=x', '?other=1']) {
      expect([query, (await call('GET', NOTICES + query)).status]).toEqual([query, 400]);
    }
    expect((await app.request('GET', NOTICES, { token: await as('viewer') })).status).toBe(200);
  });

  it('is deleted after the retention, but not before it could be made again', async () => {
    const start = app.clockOffset;
    await suspend(await partner());
    app.clockOffset = start + 89 * DAY_MS;
    await app.runTask(SCAN);
    expect(await list()).toHaveLength(1);
    app.clockOffset = start + 91 * DAY_MS;
    await app.runTask(SCAN);
    expect(await list()).toEqual([]);
    const brief = kept(await TestApp.start({ ...app.config, activityRetentionDays: 1 }));
    brief.clockOffset = app.clockOffset;
    await suspend(await partner());
    brief.clockOffset += 34 * DAY_MS;
    await brief.runTask(SCAN);
    expect(await list()).toHaveLength(1);
    brief.clockOffset += 2 * DAY_MS;
    await brief.runTask(SCAN);
    expect(await list()).toEqual([]);
  });

  it('loses the names of an erased account', async () => {
    const blue = await partner();
    await suspend(blue);
    await app.dataSource.query('DELETE FROM personal_key WHERE subject_id = $1', [blue.id]);
    const [notice] = await list();
    expect(notice?.data).toEqual({ channelUser: { id: blue.id, username: '[erased]', displayName: '[erased]' } });
  });
});

describe('several instances with webhooks', () => {
  it('make the notice of an expiry at the next scan when one of them was scanning', async () => {
    await partner({ expiresAt: new Date(Date.now() + app.clockOffset + 3 * DAY_MS).toISOString() });
    await onDatabase(app.databaseUrl, async (client) => {
      await client.query('SELECT pg_advisory_lock($1)', [ADVISORY_LOCKS.noticeScan]);
      await scanAfterAnHour();
      expect(await list()).toEqual([]);
    });
    await app.runTask(SCAN);
    expect(await list()).toMatchObject([{ type: 'channel_user.expiring' }]);
  });

  it('make and deliver each notice once', async () => {
    await webhook();
    app.clockOffset += HOUR_MS;
    const second = await another();
    const expiresAt = new Date(Date.now() + app.clockOffset + 3 * DAY_MS).toISOString();
    const partners = await inParallel(12, 4, () => partner({ expiresAt }));
    await app.dataSource.query(
      `INSERT INTO sign_in_failure (channel_user_id, since, last_at, reason, refusals)
         SELECT id, $1, $1, 'wrong_password', 50 FROM channel_user`,
      [new Date(Date.now() + app.clockOffset - 1_000)],
    );
    await Promise.all([app, second, app, second].map((each) => each.runTask(SCAN)));
    await app.runTask(SCAN);
    await inParallel(partners.length, 4, (i) => suspend({ id: partners[i]?.id ?? '' }));
    for (const type of ['channel_user.expiring', 'sign_in.failing', 'channel_user.suspended']) {
      await receiver.received(type, partners.length);
    }
    for (const { id } of await list('?limit=200')) await inState(id, 'delivered');
    expect(receiver.messages).toHaveLength(3 * partners.length);
    expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(3 * partners.length);
    // Both instances have delivered some, and their numbers say so.
    for (const each of [app, second]) expect((await outcomesOf(each)).delivered).toBeGreaterThan(0);
  });

  it('take over the delivery of a killed instance with the same id, and ignore proxy variables', async () => {
    const origin = await TestApp.start({ webhookAllowedNetworks: LOOPBACK });
    const { email, password, token } = await origin.asStaff('admin');
    const hook = (await origin.request('POST', HOOKS, { token, json: { url: receiver.url } })).json<Webhook>();
    const blue = await origin.newPartner();
    await origin.stop();
    try {
      receiver.answer = () => undefined;
      const server = new ServerProcess({
        env: {
          NODE_ENV: 'development',
          DATABASE_URL: origin.databaseUrl,
          PUBLIC_URL: origin.config.publicUrl,
          KEY_ENCRYPTION_KEY: secret(origin.config.keyEncryptionKeys[0].toString('base64')),
          WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8',
          PORT: '0',
          // Nothing listens at the address of this proxy.
          NODE_USE_ENV_PROXY: '1',
          HTTP_PROXY: 'http://127.0.0.1:9',
          NO_PROXY: '',
        },
      });
      try {
        const url = await server.listening();
        const bearer = await staffTokenOf(url, { email, password });
        await fetch(`${url}${USERS}/${blue.id}/suspend`, {
          method: 'POST',
          headers: { 'content-type': 'application/json', authorization: `Bearer ${bearer}` },
          body: JSON.stringify({ reason: 'test' }),
        });
        await receiver.received('channel_user.suspended');
      } finally {
        await server.kill('SIGKILL');
        keepOutput(server.stdout + server.stderr);
      }
      receiver.answer = (response) => response.writeHead(200).end();
      const successor = kept(await TestApp.start({ ...origin.config }));
      const state = async (): Promise<unknown> =>
        (
          await successor.dataSource.query<unknown[]>(
            `SELECT state, attempts FROM notice_delivery JOIN notice ON notice.id = notice_id
              WHERE type = 'channel_user.suspended'`,
          )
        )[0];
      // The successor cannot know that the instance is dead, so it waits for the lease to end.
      successor.clockOffset += 60_000;
      const tested = await successor.request('POST', `${HOOKS}/${hook.id}/test`, { token });
      expect(tested.status).toBe(202);
      // The search that found this delivery has left the other one alone.
      await receiver.received('webhook.test');
      expect(receiver.of('channel_user.suspended')).toHaveLength(1);
      expect(await state()).toEqual({ state: 'pending', attempts: 1 });
      successor.clockOffset += 60_000;
      const [first, second] = await receiver.received('channel_user.suspended', 2);
      expect(second?.id).toBe(first?.id);
      expect(second?.body).toBe(first?.body);
      if (!second) throw new Error('It has come');
      verified(hook.secret, second);
      expect(
        await eventually(
          async () => ((await state()) as { state: string }).state === 'delivered' || undefined,
          'noted',
        ),
      ).toBe(true);
      expect(await state()).toEqual({ state: 'delivered', attempts: 2 });
    } finally {
      for (const other of others.splice(0).reverse()) await other.close();
      await origin.dropDatabase();
    }
  });

  it('give back running deliveries when one stops, and start no more', async () => {
    const origin = await TestApp.start({ webhookAllowedNetworks: LOOPBACK });
    try {
      const { token } = await origin.asStaff('admin');
      await origin.request('POST', HOOKS, { token, json: { url: receiver.url } });
      const partners = await inParallel(8, 4, () => origin.newPartner());
      receiver.answer = () => undefined;
      await inParallel(8, 8, (i) =>
        origin.request('POST', `${USERS}/${String(partners[i]?.id)}/suspend`, { token, json: { reason: 'test' } }),
      );
      await receiver.received('channel_user.suspended', 4);
      const started = performance.now();
      await origin.stop();
      // Less than an attempt may take, and less than a shutdown may take.
      expect(performance.now() - started).toBeLessThan(7_000);
      expect(receiver.messages).toHaveLength(4);
      receiver.answer = (response) => response.writeHead(200).end();
      const successor = kept(await TestApp.start({ ...origin.config }));
      const rows = (): Promise<unknown[]> =>
        successor.dataSource.query('SELECT DISTINCT state, attempts, claim FROM notice_delivery');
      await receiver.received('channel_user.suspended', 12);
      await until(async () => (await rows()).length === 1, 'noted');
      // A delivery that was given back counts one attempt.
      expect(await rows()).toEqual([{ state: 'delivered', attempts: 1, claim: null }]);
      expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(8);
    } finally {
      for (const other of others.splice(0).reverse()) await other.close();
      await origin.dropDatabase();
    }
  });

  it('complete the deliveries that can end when one stops', async () => {
    const origin = await TestApp.start({ webhookAllowedNetworks: LOOPBACK });
    try {
      const { token } = await origin.asStaff('admin');
      await origin.request('POST', HOOKS, { token, json: { url: receiver.url } });
      const blue = await origin.newPartner();
      let finish = (): void => undefined;
      receiver.answer = (response) => (finish = () => response.writeHead(200).end());
      await origin.request('POST', `${USERS}/${blue.id}/suspend`, { token, json: { reason: 'test' } });
      await receiver.received('channel_user.suspended');
      const closed = origin.stop();
      await eventually(
        async () => (await scrape(origin.opsUrl)).value('latchkey_shutting_down') === 1 || undefined,
        'it stops',
      );
      finish();
      await closed;
      const successor = kept(await TestApp.start({ ...origin.config }));
      expect(await successor.dataSource.query('SELECT state, attempts FROM notice_delivery')).toEqual([
        { state: 'delivered', attempts: 1 },
      ]);
      expect(receiver.messages).toHaveLength(1);
    } finally {
      for (const other of others.splice(0).reverse()) await other.close();
      await origin.dropDatabase();
    }
  });
});

describe('instances that allow webhooks into different networks', () => {
  const warnings = (): string[] =>
    logLines()
      .filter(({ level, msg }) => level === 'warn' && String(msg).includes('WEBHOOK_ALLOWED_NETWORKS differs'))
      .map(({ msg }) => String(msg));

  it('warn about the difference once on each side, whichever starts last', async () => {
    const origin = kept(await TestApp.start({ webhookAllowedNetworks: LOOPBACK }));
    const start = async (webhookAllowedNetworks: BlockList): Promise<void> => {
      kept(await TestApp.start({ ...origin.config, webhookAllowedNetworks }));
    };
    const said = (count: number): Promise<void> =>
      until(() => warnings().length === count, `${String(count)} warnings`);
    const same = new BlockList();
    same.addSubnet('127.0.0.0', 8, 'ipv4');
    await start(same);
    // This list lacks a network; `more`, below, has an additional one.
    await start(new BlockList());
    // The new instance warns once, and each of the two earlier instances warns once.
    await said(3);
    const more = new BlockList();
    more.addSubnet('127.0.0.0', 8, 'ipv4');
    more.addSubnet('10.1.0.0', 16, 'ipv4');
    await start(more);
    // The new instance warns once for each of two other lists, and each of the three earlier instances warns once.
    await said(8);
    expect(new Set(warnings()).size).toBe(1);
  });
});

describe('a delivery', () => {
  it('is retried with growing waits, then given up, and sent again on request', async () => {
    const hook = await webhook();
    receiver.answer = (response) => response.writeHead(503).end('not now');
    const id = await test(hook);
    const before = await outcomesOf();
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 9; attempt++) {
      // An attempt counts from its start, so only the missing claim shows that it has ended.
      await eventually(
        async () => {
          const query = 'SELECT FROM notice_delivery WHERE attempts = $1 AND claim IS NULL';
          return (await app.dataSource.query<unknown[]>(query, [attempt])).length === 1 ? true : undefined;
        },
        `attempt ${String(attempt)}`,
      );
      const delivery = await deliveryOf(id);
      expect(delivery).toMatchObject({ state: 'failed', lastStatus: 503, lastError: 'status', deliveredAt: null });
      const due = Date.parse(delivery.nextAttemptAt ?? '');
      const now = Date.now() + app.clockOffset;
      waits.push((due - now) / 1000);
      // Nothing is sent before its time, even if the instance searches for due deliveries.
      app.clockOffset += due - now - 4_000;
      await app.runTask('Looking for due deliveries');
      await app.dataSource.query('SELECT');
      expect(receiver.messages).toHaveLength(attempt);
      app.clockOffset += 4_100;
    }
    const schedule = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
    for (const [i, wait] of waits.entries()) {
      expect(wait).toBeGreaterThan((schedule[i] ?? 0) - 30);
      expect(wait).toBeLessThanOrEqual((schedule[i] ?? 0) * 1.2);
    }
    expect(await inState(id, 'given-up')).toMatchObject({ attempts: 10, nextAttemptAt: null });
    const after = await outcomesOf();
    expect(after.failed - before.failed).toBe(1);
    expect(new Set(receiver.messages.map((message) => message.id))).toEqual(new Set([id]));
    // Each attempt is signed with its own time.
    expect(new Set(receiver.messages.map(({ at }) => at)).size).toBe(10);
    for (const message of receiver.messages) verified(hook.secret, message);
    receiver.answer = (response) => response.writeHead(200).end();
    const { id: deliveryId } = await deliveryOf(id);
    const path = `${NOTICES}/${id}/deliveries/${deliveryId}/retry`;
    expect((await app.request('POST', path, { token: await as('viewer') })).status).toBe(403);
    expect((await app.request('POST', path, { token: await as('operator') })).status).toBe(202);
    expect(await inState(id, 'delivered')).toMatchObject({ attempts: 1, lastStatus: 200, lastError: null });
    expect((await auditOf(hook.id))[0]).toMatchObject({
      action: 'webhook.delivery-retried',
      changes: { noticeId: [id, id] },
    });
    // A delivered notice can be sent again, since the receiver may have lost it.
    expect((await call('POST', path)).status).toBe(202);
    await receiver.received('webhook.test', 12);
    const unknown = `${NOTICES}/${id}/deliveries/${randomUUID()}/retry`;
    expect((await call('POST', unknown)).json()).toMatchObject({ code: 'notice.delivery-not-found' });
  });

  const answers: [what: string, answer: (response: ServerResponse) => unknown, delivery: object][] = [
    ['201', (response) => response.writeHead(201).end('made'), { state: 'delivered', lastStatus: 201 }],
    ['400', (response) => response.writeHead(400).end(), { state: 'failed', lastStatus: 400, lastError: 'status' }],
    [
      'a redirect, which is not followed',
      (response) => response.writeHead(307, { location: '/elsewhere' }).end(),
      { state: 'failed', lastStatus: 307, lastError: 'redirect' },
    ],
    [
      'nothing',
      (response) => response.socket?.destroy(),
      { state: 'failed', lastStatus: null, lastError: 'connection_failed' },
    ],
    [
      'what is not HTTP',
      (response) => response.socket?.end('HTTP/9 hello\r\n\r\n'),
      { state: 'failed', lastStatus: null, lastError: 'invalid_response' },
    ],
    [
      'headers without end',
      (response) => response.socket?.end(`HTTP/1.1 200 OK\r\nx: ${'x'.repeat(100_000)}\r\n\r\n`),
      { state: 'failed', lastStatus: null, lastError: 'invalid_response' },
    ],
    [
      'another protocol',
      (response) =>
        response.socket?.end('HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n'),
      { state: 'failed', lastStatus: null, lastError: 'connection_failed' },
    ],
  ];
  it.each(answers)('has the right state after an answer with %s', async (_, answer, expected) => {
    const hook = await webhook();
    receiver.answer = answer;
    const id = await test(hook);
    await receiver.received('webhook.test');
    const { state } = expected as { state: string };
    expect(await inState(id, state)).toMatchObject(expected);
    expect(receiver.messages.map(({ path }) => path)).toEqual(['/hook']);
  });

  it('reads an endless answer only up to a limit', async () => {
    const hook = await webhook();
    let sent = 0;
    receiver.answer = (response) => {
      response.writeHead(200);
      const chunk = Buffer.alloc(64 * 1024);
      const pump = (): void => {
        while (!response.destroyed && response.write(chunk)) sent += chunk.length;
      };
      response.on('drain', pump);
      pump();
    };
    const id = await test(hook);
    const { lastDurationMs } = await inState(id, 'delivered');
    expect(lastDurationMs).toBeLessThan(5_000);
    // Only as much as the sockets' buffers hold, not the whole answer.
    expect(sent).toBeLessThan(16 * 1024 * 1024);
    // The same with an answer that arrives byte by byte.
    receiver.answer = (response) => {
      response.writeHead(200);
      const timer = setInterval(() => response.write('.'), 50);
      response.on('close', () => {
        clearInterval(timer);
      });
    };
    const { lastDurationMs: dripped } = await inState(await test(hook), 'delivered');
    expect(dripped).toBeLessThan(8_000);
  });

  it('disables the webhook after 410, and waiting deliveries go out once it is enabled again', async () => {
    const hook = await webhook();
    receiver.answer = (response) => response.writeHead(410).end();
    const id = await test(hook);
    expect(await inState(id, 'given-up')).toMatchObject({ attempts: 1, lastStatus: 410, lastError: 'gone' });
    const disabled = await eventually(async () => {
      const read = (await call('GET', `${HOOKS}/${hook.id}`)).json<Webhook>();
      return read.enabled ? undefined : read;
    }, 'disabled');
    expect(disabled.disabledReason).toBe('gone');
    expect((await auditOf(hook.id))[0]).toMatchObject({ action: 'webhook.disabled', actor: { type: 'system' } });
    for (const path of [`${HOOKS}/${hook.id}/test`, `${NOTICES}/${id}/deliveries/${(await deliveryOf(id)).id}/retry`]) {
      expect((await call('POST', path)).json()).toMatchObject({ status: 409, code: 'webhook.disabled' });
    }
    await suspend(await partner());
    receiver.answer = (response) => response.writeHead(500).end();
    await call('PATCH', `${HOOKS}/${hook.id}`, { enabled: true });
    const waiting = await test(hook);
    await inState(waiting, 'failed');
    await call('PATCH', `${HOOKS}/${hook.id}`, { enabled: false });
    receiver.answer = (response) => response.writeHead(200).end();
    app.clockOffset += HOUR_MS;
    // The search that finds the delivery to another webhook has left this one alone.
    await inState(await test(await webhook()), 'delivered');
    expect(await deliveryOf(waiting)).toMatchObject({ state: 'failed', attempts: 1 });
    const enabled = await call('PATCH', `${HOOKS}/${hook.id}`, { enabled: true });
    expect(enabled.json()).toMatchObject({ disabledReason: null });
    await inState(waiting, 'delivered');
    // What happened while the webhook was disabled is not sent to it.
    expect(receiver.of('channel_user.suspended')).toEqual([]);
  });

  it('fails when it takes too long, without delaying others', async () => {
    const slow = kept(await Receiver.start());
    slow.answer = () => undefined;
    const stuck = await webhook({ url: slow.url, description: 'slow' });
    await webhook({ description: 'quick' });
    const partners = await inParallel(12, 4, () => partner());
    const started = performance.now();
    await inParallel(partners.length, 6, (i) => suspend({ id: partners[i]?.id ?? '' }));
    await receiver.received('channel_user.suspended', partners.length);
    expect(performance.now() - started).toBeLessThan(10_000);
    // The slow webhook's places are taken, and its other deliveries wait.
    expect(slow.messages).toHaveLength(4);
    const [first] = slow.messages;
    const failed = await eventually(
      async () =>
        (await list())
          .find(({ id }) => id === first?.id)
          ?.deliveries.find(({ webhookId, state }) => webhookId === stuck.id && state === 'failed'),
      'failed',
    );
    expect(failed).toMatchObject({ lastStatus: null, lastError: 'timed_out' });
    expect(failed.lastDurationMs).toBeGreaterThanOrEqual(9_900);
    expect(failed.lastDurationMs).toBeLessThan(20_000);
  });

  it('reports a closed port and a failed TLS handshake', async () => {
    const closed = await Receiver.start();
    const nobody = await webhook({ url: closed.url });
    await closed.close();
    const plain = await webhook({ url: receiver.url.replace('http:', 'https:') });
    const [refused, spoken] = [await test(nobody), await test(plain)];
    expect(await inState(refused, 'failed')).toMatchObject({ lastError: 'connection_failed' });
    expect(await inState(spoken, 'failed')).toMatchObject({ lastError: 'tls_failed' });
  });

  it('is counted in the metrics', async () => {
    const hook = await webhook();
    const before = await outcomesOf();
    await inState(await test(hook), 'delivered');
    receiver.answer = (response) => response.writeHead(500).end();
    await inState(await test(hook), 'failed');
    const after = await outcomesOf();
    expect([after.delivered - before.delivered, after.retried - before.retried, after.failed - before.failed]).toEqual([
      1, 1, 0,
    ]);
    const waiting = async (): Promise<number> =>
      (await scrape(app.opsUrl)).value('latchkey_queue_depth', { queue: 'notices' });
    await until(async () => (await waiting()) === 1, 'counted');
  });
});

describe('the secret of a webhook', () => {
  it('is rotated with an overlap in which both secrets sign', async () => {
    const hook = await webhook();
    const answer = await call('POST', `${HOOKS}/${hook.id}/rotate-secret`, { overlapSeconds: 3_600 });
    const rotated = answer.json<Webhook>();
    secret(rotated.secret);
    expect(rotated.secret).not.toBe(hook.secret);
    expect(Date.parse(rotated.previousSecretUntil ?? '') - Date.now() - app.clockOffset).toBeGreaterThan(3_500_000);
    await test(hook);
    const [during] = (await receiver.received('webhook.test')) as [Message];
    expect(during.signatures).toHaveLength(2);
    for (const each of [hook.secret, rotated.secret]) verified(each, during);
    app.clockOffset += HOUR_MS;
    await test(hook);
    const [, after] = (await receiver.received('webhook.test', 2)) as [Message, Message];
    expect(after.signatures).toHaveLength(1);
    verified(rotated.secret, after);
    expect(() => verified(hook.secret, after)).toThrow('No matching signature');
    await app.runTask(SCAN);
    expect((await call('GET', `${HOOKS}/${hook.id}`)).json()).toMatchObject({ previousSecretUntil: null });
    const [row] = await app.dataSource.query<object[]>('SELECT sealed_previous_secret AS sealed FROM webhook');
    expect(row).toEqual({ sealed: null });
    const atOnce = await call('POST', `${HOOKS}/${hook.id}/rotate-secret`, { overlapSeconds: 0 });
    const newest = secret(atOnce.json<Webhook>().secret);
    await test(hook);
    const [, , last] = (await receiver.received('webhook.test', 3)) as [Message, Message, Message];
    expect(last.signatures).toHaveLength(1);
    verified(newest, last);
    for (const overlapSeconds of [-1, 604_801, 1.5, '60', null]) {
      const refused = await call('POST', `${HOOKS}/${hook.id}/rotate-secret`, { overlapSeconds });
      expect([overlapSeconds, refused.status]).toEqual([overlapSeconds, 400]);
    }
  });

  it('is re-encrypted with everything else, both during an overlap', async () => {
    const origin = await TestApp.start({ webhookAllowedNetworks: LOOPBACK });
    try {
      const { token } = await origin.asStaff('admin');
      const post = async (path: string, json: object): Promise<Webhook> => {
        const made = (await origin.request('POST', path, { token, json })).json<Webhook>();
        secret(made.secret);
        return made;
      };
      const hook = await post(HOOKS, { url: receiver.url });
      const rotated = await post(`${HOOKS}/${hook.id}/rotate-secret`, {});
      await origin.stop();
      const next = randomBytes(32);
      const keys = [next, ...origin.config.keyEncryptionKeys];
      expect((await reencrypt(origin, keys)).webhooks).toBe(1);
      expect((await reencrypt(origin, keys)).webhooks).toBe(0);
      const after = kept(await TestApp.start({ ...origin.config, keyEncryptionKeys: [next] }));
      expect((await after.request('POST', `${HOOKS}/${hook.id}/test`, { token })).status).toBe(202);
      const [message] = (await receiver.received('webhook.test')) as [Message];
      expect(message.signatures).toHaveLength(2);
      for (const each of [rotated.secret, hook.secret]) verified(each, message);
      // An instance without the key records `not_signed`, and tries again.
      const [row] = await after.dataSource.query<{ webhook: object }[]>(
        'SELECT to_json(webhook) AS webhook FROM webhook',
      );
      await app.dataSource.query('INSERT INTO webhook SELECT * FROM json_populate_record(NULL::webhook, $1)', [
        row?.webhook,
      ]);
      expect(await inState(await test(hook), 'failed')).toMatchObject({ lastStatus: null, lastError: 'not_signed' });
      expect(receiver.messages).toHaveLength(1);
    } finally {
      for (const other of others.splice(0).reverse()) await other.close();
      await origin.dropDatabase();
    }
  });
});

describe('the URL of a webhook', () => {
  const PATH = '/services/T024/in-the-path?key=in-the-query';
  const urlOf = (rest = PATH): string => new URL(receiver.url).origin + rest;
  const read = async ({ id }: { id: string }): Promise<string> =>
    (await call('GET', `${HOOKS}/${id}`)).json<Webhook>().url;
  /** Makes a webhook as the previous version stores it, without a sealed URL. */
  const ofVersionBefore = async (): Promise<Webhook> => {
    const made = await webhook({ url: urlOf() });
    await app.dataSource.query('UPDATE webhook SET url = $1 WHERE id = $2', [made.url, made.id]);
    return made;
  };
  /** Every table that may hold data about a webhook, as in a dump. */
  const dump = async (): Promise<string> => {
    const tables = ['webhook', 'notice', 'notice_delivery', 'audit_event', 'activity', 'personal_key'];
    const rows = await Promise.all(
      tables.map((table) => app.dataSource.query<{ row: string }[]>(`SELECT ${table}::text AS row FROM ${table}`)),
    );
    return rows
      .flat()
      .map(({ row }) => row)
      .join('\n');
  };
  const isSealed = async (): Promise<boolean> => !(await dump()).includes('in-the-');

  it('is sealed except for its origin, and complete when a notice is sent', async () => {
    const hook = await webhook({ url: urlOf() });
    expect(hook.url).toBe(urlOf());
    receiver.answer = (response) => response.writeHead(503).end();
    await inState(await test(hook), 'failed');
    expect(receiver.messages.map(({ path }) => path)).toEqual([PATH]);
    await call('PATCH', `${HOOKS}/${hook.id}`, { url: urlOf(`${PATH}-2`), description: 'changed' });
    await call('PATCH', `${HOOKS}/${hook.id}`, { description: 'changed again' });
    expect(await read(hook)).toBe(urlOf(`${PATH}-2`));
    expect(await app.dataSource.query('SELECT url FROM webhook')).toEqual([{ url: new URL(hook.url).origin }]);
    expect(await dump()).not.toContain('in-the-');
    // The sealed column does not hold it as bytes either.
    const [row] = await app.dataSource.query<{ sealed: Buffer }[]>('SELECT sealed_url AS sealed FROM webhook');
    expect(row?.sealed.includes('in-the-')).toBe(false);
  });

  it('cannot be moved to another webhook or replaced by a sealed secret', async () => {
    const [one, other] = [await webhook({ url: urlOf() }), await webhook({ url: urlOf('/other') })];
    for (const column of ['sealed_url', 'sealed_secret']) {
      await app.dataSource.query(
        `UPDATE webhook SET sealed_url = (SELECT ${column} FROM webhook WHERE id = $1) WHERE id = $2`,
        [column === 'sealed_url' ? one.id : other.id, other.id],
      );
      expect(await inState(await test(other), 'failed')).toMatchObject({ lastError: 'not_signed' });
      expect(await read(other)).toBe(new URL(receiver.url).origin);
    }
    expect(receiver.messages).toEqual([]);
    // An admin repairs it by setting the URL again.
    await call('PATCH', `${HOOKS}/${other.id}`, { url: urlOf('/mended') });
    await inState(await test(other), 'delivered');
    expect(receiver.messages.map(({ path }) => path)).toEqual(['/mended']);
  });

  it('works as the previous version wrote it, and servers seal it', async () => {
    const hooks = [await ofVersionBefore(), await ofVersionBefore()];
    for (const hook of hooks) {
      expect(await read(hook)).toBe(urlOf());
      const answer = await app.request('GET', `${HOOKS}/${hook.id}`, { token: await as('viewer') });
      expect(answer.json()['url']).toBe(new URL(receiver.url).origin);
      await inState(await test(hook), 'delivered');
    }
    // The URL is stored in clear text until a server seals it.
    expect(await isSealed()).toBe(false);
    await (await another()).runTask(SCAN);
    expect(await isSealed()).toBe(true);
    for (const hook of hooks) {
      expect(await read(hook)).toBe(urlOf());
      await inState(await test(hook), 'delivered');
    }
    expect(receiver.messages.map(({ path }) => path)).toEqual(Array(4).fill(PATH));
  });

  it('takes a change by the previous version in place of the sealed one', async () => {
    const hook = await webhook({ url: urlOf() });
    // The previous version writes every field that staff may change, including unchanged ones.
    const write = (url: string): Promise<unknown> =>
      app.dataSource.query('UPDATE webhook SET url = $1, enabled = true WHERE id = $2', [url, hook.id]);
    await write(new URL(hook.url).origin);
    expect(await read(hook)).toBe(urlOf());
    await write(urlOf('/of-the-version-before'));
    expect(await read(hook)).toBe(urlOf('/of-the-version-before'));
  });

  it('keeps the previous version from delivering once it is sealed', async () => {
    const [sealed, clear] = [await webhook({ url: urlOf() }), await ofVersionBefore()];
    await app.dataSource.query('UPDATE webhook SET enabled = false');
    for (const { id } of [sealed, clear]) {
      const noticeId = randomUUID();
      await app.dataSource.query(
        `WITH made AS (
            INSERT INTO notice (id, type, once, data, created_at) VALUES ($1::uuid, 'webhook.test', $1::text, '{}', $3))
          INSERT INTO notice_delivery (notice_id, webhook_id, next_attempt_at) VALUES ($1::uuid, $2, $3)`,
        [noticeId, id, new Date(Date.now() + app.clockOffset)],
      );
    }
    // Claims deliveries as the previous version does.
    const claimed = await app.dataSource.query<[{ webhook: string }[], number]>(
      `UPDATE notice_delivery SET claim = gen_random_uuid(), attempts = attempts + 1 RETURNING webhook_id AS webhook`,
    );
    expect(claimed[0]).toEqual([{ webhook: clear.id }]);
    // This version sends what the previous one has left.
    await call('PATCH', `${HOOKS}/${sealed.id}`, { enabled: true });
    const [message] = await receiver.received('webhook.test');
    expect(message?.path).toBe(PATH);
  });

  it('is re-encrypted with everything else, and sealed if it was in clear text', async () => {
    const origin = kept(await TestApp.start({ webhookAllowedNetworks: LOOPBACK }));
    const { token } = await origin.asStaff('admin');
    const hooks = await inParallel(2, 1, async () => {
      const answer = await origin.request('POST', HOOKS, { token, json: { url: urlOf() } });
      const made = answer.json<Webhook>();
      secret(made.secret);
      return made;
    });
    await origin.dataSource.query('UPDATE webhook SET url = $1 WHERE id = $2', [urlOf(), hooks[0]?.id]);
    const next = randomBytes(32);
    const env = {
      NODE_ENV: 'development',
      DATABASE_URL: origin.databaseUrl,
      PUBLIC_URL: origin.config.publicUrl,
      KEY_ENCRYPTION_KEY: [next, ...origin.config.keyEncryptionKeys]
        .map((key) => secret(key.toString('base64')))
        .join(),
    };
    const command = new ServerProcess({ env, command: [process.execPath, 'dist/src/cli.js', 'keys', 're-encrypt'] });
    expect([await command.exited, command.stderr]).toEqual([0, '']);
    expect(command.stdout).toContain('the secrets and URLs of 2 webhooks');
    const stored = await origin.dataSource.query<object[]>('SELECT webhook::text FROM webhook');
    expect(JSON.stringify(stored)).not.toContain('in-the-');
    const after = kept(await TestApp.start({ ...origin.config, keyEncryptionKeys: [next] }));
    const { token: later } = await after.newStaff('admin');
    const read = await after.request('GET', HOOKS, { token: later });
    expect(read.json<{ items: Webhook[] }>().items.map(({ url }) => url)).toEqual([urlOf(), urlOf()]);
  });
});

describe('the address of a webhook', () => {
  let closed: TestApp;
  let names: NameServer;
  beforeAll(async () => {
    closed = await TestApp.start();
    names = await NameServer.start();
    for (const each of [app, closed]) setNameServers(each, names.address);
  });
  afterAll(async () => {
    names.close();
    await closed.close();
  });
  const create = async (url: string, on = closed): Promise<Answer> =>
    on.request('POST', HOOKS, {
      token: on === app ? await as('admin') : (await on.asStaff('admin')).token,
      json: { url },
    });
  const messageOf = (answer: Answer): string =>
    answer
      .json<{ errors: { field: string; messages: string[] }[] }>()
      .errors.map((each) => `${each.field} ${each.messages.join()}`)
      .join();

  const SPECIAL =
    'url must not lead to a loopback, private or other special address, unless WEBHOOK_ALLOWED_NETWORKS contains it';
  it.each([
    ['https://127.0.0.1/', SPECIAL],
    ['https://127.1/', SPECIAL],
    ['https://2130706433/', SPECIAL],
    ['https://0x7f.0.0.1/', SPECIAL],
    ['https://0177.0.0.1/', SPECIAL],
    ['https://0/', SPECIAL],
    ['https://10.0.0.1/', SPECIAL],
    ['https://169.254.169.254/latest/meta-data/', SPECIAL],
    ['https://168.63.129.16/', SPECIAL],
    ['https://100.64.0.1/', SPECIAL],
    ['https://[::1]/', SPECIAL],
    ['https://[::]/', SPECIAL],
    ['https://[::ffff:127.0.0.1]/', SPECIAL],
    ['https://[::ffff:8.8.8.8]/', SPECIAL],
    ['https://[64:ff9b::127.0.0.1]/', SPECIAL],
    ['https://[2002:7f00:1::]/', SPECIAL],
    ['https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/', SPECIAL],
    ['https://[fe80::1]/', SPECIAL],
    ['https://[fd00:ec2::254]/', SPECIAL],
    ['https://224.0.0.1/', SPECIAL],
    ['https://255.255.255.255/', SPECIAL],
    ['https://１２７.0.0.1/', SPECIAL],
    ['https://loopback.test/', SPECIAL],
    ['https://both.test/', SPECIAL],
    ['https://mapped.test/', SPECIAL],
    ['http://nobody.test/', 'url must have a host name that DNS can resolve'],
    ['https://nobody.test:8443/', 'url must have a host name that DNS can resolve'],
    ['https://app.localhost/', 'url must have a host name that DNS can resolve'],
    ['https://localhost/', expect.stringMatching(/^url must /) as string],
    ['https://user@public.test/', 'url must not contain a username or password'],
    ['https://:pass@public.test/', 'url must not contain a username or password'],
    ['http://public.test/', 'url must be an https URL'],
    ['http://public.test:443/', 'url must be an https URL'],
    ['https://public.test:8443/', 'url must use port 443'],
    ['https://public.test:22/', 'url must use port 443'],
    ['ftp://public.test/', 'url must be an https URL'],
    ['file:///etc/passwd', 'url must be an https URL'],
    ['javascript:alert(1)', 'url must be an https URL'],
    ['public.test', 'url must be an https URL'],
    ['/hook', 'url must be an https URL'],
  ])('is refused: %s', async (url, message) => {
    names.names.set('loopback.test', ['127.0.0.1']);
    names.names.set('both.test', ['93.184.215.14', '10.0.0.1']);
    names.names.set('mapped.test', ['::ffff:7f00:1']);
    names.names.set('public.test', ['93.184.215.14', '2606:2800:21f:cb07:6820:80da:af6b:8b2c']);
    const answer = await create(url);
    expect(answer.status).toBe(400);
    expect(messageOf(answer)).toEqual(message);
  });

  it('is accepted when DNS does not know its name yet', async () => {
    const answer = await create('https://not-yet.test/hook');
    expect([answer.status, answer.json()['url']]).toEqual([201, 'https://not-yet.test/hook']);
  });

  it('is accepted on the Internet at port 443', async () => {
    names.names.set('public.test', ['93.184.215.14', '2606:2800:21f:cb07:6820:80da:af6b:8b2c']);
    for (const url of ['https://public.test/hook', 'https://public.test:443/', 'https://PUBLIC.test./x?y']) {
      expect([url, (await create(url)).status]).toEqual([url, 201]);
    }
  });

  it('is checked again at each delivery and each change of the URL', async () => {
    names.names.set('rebound.test', ['93.184.215.14']);
    const url = `https://rebound.test/`;
    const { token } = await closed.newStaff('admin');
    const made = (await closed.request('POST', HOOKS, { token, json: { url } })).json<Webhook>();
    secret(made.secret);
    let connections = 0;
    const inside = net.createServer((socket) => {
      connections++;
      socket.destroy();
    });
    kept(inside).listen(0, '127.0.0.1');
    await once(inside, 'listening');
    names.names.set('rebound.test', ['127.0.0.1']);
    const send = async (): Promise<Delivery> => {
      const { id } = (await closed.request('POST', `${HOOKS}/${made.id}/test`, { token })).json<Notice>();
      return eventually(
        async () => {
          const all = (await closed.request('GET', NOTICES, { token })).json<{ items: Notice[] }>();
          return all.items.find((notice) => notice.id === id)?.deliveries.find(({ state }) => state === 'failed');
        },
        'failed',
        20_000,
      );
    };
    expect(await send()).toMatchObject({
      lastStatus: null,
      lastError: 'address_not_allowed',
      lastErrorDetail: expect.stringContaining('WEBHOOK_ALLOWED_NETWORKS') as string,
    });
    const refused = logLines().filter(({ msg }) => String(msg).includes(`was not sent to webhook ${made.id}`));
    expect(refused.map(({ msg }) => msg)).toEqual([expect.stringContaining('WEBHOOK_ALLOWED_NETWORKS')]);
    // A URL that was written to the database directly is checked too.
    const port = String((inside.address() as net.AddressInfo).port);
    await closed.dataSource.query('UPDATE webhook SET url = $1 WHERE id = $2', [`http://127.0.0.1:${port}/`, made.id]);
    expect(await send()).toMatchObject({ lastStatus: null, lastError: 'address_not_allowed' });
    names.names.delete('rebound.test');
    await closed.dataSource.query('UPDATE webhook SET url = $1 WHERE id = $2', [url, made.id]);
    expect(await send()).toMatchObject({ lastStatus: null, lastError: 'name_not_resolved', lastErrorDetail: null });
    expect(connections).toBe(0);
    const changed = await closed.request('PATCH', `${HOOKS}/${made.id}`, {
      token,
      json: { url: 'https://127.0.0.1/' },
    });
    expect([changed.status, messageOf(changed)]).toEqual([400, SPECIAL]);
  });

  it('is looked up once, and the connection goes to the checked address', async () => {
    names.names.set('inside.test', ['127.0.0.1']);
    const hook = await webhook({ url: `http://inside.test:${String(receiver.port)}/hook` });
    names.questions.length = 0;
    const id = await test(hook);
    await inState(id, 'delivered');
    // The system's own lookup does not know the name, so the connection used the checked address.
    expect(names.questions).toEqual(['inside.test']);
    expect(receiver.messages[0]?.headers.host).toBe(`inside.test:${String(receiver.port)}`);
  });

  it('is not allowed by another address of the same name', async () => {
    names.names.set('mixed.test', ['127.0.0.1', '10.0.0.1']);
    const answer = await create(`http://mixed.test:${String(receiver.port)}/`, app);
    expect([answer.status, messageOf(answer)]).toEqual([400, SPECIAL]);
    expect((await create('http://10.0.0.1/', app)).status).toBe(400);
    expect((await create('http://[::1]/', app)).status).toBe(400);
  });
});

it('writes no payload, webhook address or secret to the log', () => {
  // The secrets themselves are searched for after the whole run.
  const lines = logLines().map((line) => JSON.stringify(line));
  expect(lines.length).toBeGreaterThan(100);
  expect(lines.filter((line) => /whsec_|in-the-|Blue Channel|\/hook/.test(line))).toEqual([]);
  expect(lines.some((line) => line.includes('Gave up delivering notice'))).toBe(true);
});
