import * as argon2 from '@node-rs/argon2';
import { randomUUID } from 'node:crypto';
import type pg from 'pg';
import { type Answer, type Partner, type PartnerWithToken, TestApp } from '../../../test/support/app.ts';
import { onDatabase } from '../../../test/support/database.ts';
import { changeFeedOf, holdSlowHashes } from '../../../test/support/inside.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { secret } from '../../../test/support/secrets.ts';
import {
  eventually,
  importPassword,
  LOOPBACK_PROXIES,
  newAddress,
  signInFrom,
  tally,
  unlessBusy,
  until,
} from '../../../test/support/sign-ins.ts';

interface Own {
  id: string;
  label: string;
  fingerprint: string | null;
  status: string;
  current: boolean;
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
  startedBy: string | null;
  pendingSince: string | null;
  pendingUntil: string | null;
  link: { status: string; expiresAt: string; revealedAt: string | null } | null;
  retireOthers: { after: string; seconds: number } | null;
  activatedAt: string | null;
  lastUsedAt: string | null;
  lastUsedAddress: string | null;
}
type New = Own & { password: string };
interface AuditEvent {
  action: string;
  actor: { type: string; id: string | null; name: string };
  address: string | null;
  requestId: string | null;
  changes: Record<string, [unknown, unknown]>;
}
interface Body {
  readonly json?: unknown;
  /** The token, if it is not the partner's. */
  readonly token?: string;
  readonly on?: TestApp;
  readonly headers?: Record<string, string>;
}

const OWN = '/me/credentials';
const USERS = '/admin/channel-users';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const DAY = 86_400;
const WEEK = 7 * DAY;
const WRONG = 'credential.wrong-password';
/** Failures of an address and username that are free. */
const FREE = 10;

/** Two instances on one database. The second one reaches PostgreSQL through a proxy. */
let a: TestApp;
let b: TestApp;
let proxy: PostgresProxy;

beforeAll(async () => {
  a = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  proxy = await PostgresProxy.start(a.databaseUrl);
  b = await TestApp.start({ ...a.config, databaseUrl: proxy.url });
});
afterAll(async () => {
  await b.close();
  await proxy.shut();
  await a.close();
});
afterEach(() => {
  proxy.reset();
  pass(-a.clockOffset);
});

/** Lets time pass on both instances. */
function pass(ms: number): void {
  a.clockOffset += ms;
  b.clockOffset = a.clockOffset;
}

/** Calls a route with the partner's token, each time from another address unless the headers name one. */
const call = (partner: PartnerWithToken, method: string, path: string, more: Body = {}): Promise<Answer> =>
  (more.on ?? a).request(method, path, {
    token: more.token ?? partner.token,
    headers: { 'x-forwarded-for': newAddress(), ...more.headers },
    ...(more.json !== undefined && { json: more.json }),
  });
const list = async (partner: PartnerWithToken, more?: Body): Promise<Own[]> =>
  (await call(partner, 'GET', OWN, more)).expect(200).json<{ items: Own[] }>().items;
const one = async (partner: PartnerWithToken, id: string): Promise<Own> => {
  const found = (await list(partner)).find((credential) => credential.id === id);
  if (!found) throw new Error('The credential is not in the list');
  return found;
};
const statusOf = async (partner: PartnerWithToken, id: string): Promise<string> => (await one(partner, id)).status;
const post = (partner: PartnerWithToken, fields: object = {}, more: Body = {}): Promise<Answer> =>
  call(partner, 'POST', OWN, { json: { password: partner.password, ...fields }, ...more });
const newOf = (answer: Answer): New => {
  const { credential } = answer.expect(201).json<{ credential: New }>();
  secret(credential.password);
  return credential;
};
const rotate = async (partner: PartnerWithToken, fields?: object, more?: Body): Promise<New> =>
  newOf(await post(partner, fields, more));
const withdraw = (partner: PartnerWithToken, id: string, password = partner.password, more: Body = {}) =>
  call(partner, 'POST', `${OWN}/${id}/withdraw`, { json: { password }, ...more });
const end = (partner: PartnerWithToken, id: string, password: string, more: Body = {}): Promise<Answer> =>
  call(partner, 'DELETE', `${OWN}/${id}`, { json: { password }, ...more });

const tokens = new Map<string, string>();
/** Calls the staff API, as somebody whose session has not ended yet. */
const staff = async (method: string, path: string, json?: unknown): Promise<Answer> => {
  const key = String(a.clockOffset);
  const token = tokens.get(key) ?? (await a.newStaff('admin')).token;
  tokens.set(key, token);
  return a.request(method, path, { token, ...(json !== undefined && { json }) });
};
const rotateAsStaff = async ({ id }: Partner, json: object = {}): Promise<New> =>
  newOf(await staff('POST', `${USERS}/${id}/credentials`, json));
const trail = async ({ id }: Partner): Promise<AuditEvent[]> =>
  (await staff('GET', `/admin/audit-events?target=${id}&limit=200`)).json<{ items: AuditEvent[] }>().items;
/** The events after the creation of the account, oldest first. */
const laterActions = async (partner: Partner): Promise<string[]> =>
  (await trail(partner))
    .map(({ action }) => action)
    .reverse()
    .slice(2);
const noticesOf = async ({ id }: Partner): Promise<[type: string, data: Record<string, unknown>][]> => {
  const { items } = (await staff('GET', '/admin/notices?limit=200')).json<{
    items: { type: string; data: { channelUser?: { id: string } } & Record<string, unknown> }[];
  }>();
  return items
    .filter(({ data }) => data.channelUser?.id === id)
    .reverse()
    .map(({ type, data }) => [type, data]);
};
const activityOf = async ({ id }: Partner): Promise<Record<string, unknown>[]> =>
  (await staff('GET', `${USERS}/${id}/activity?limit=200`)).json<{ items: Record<string, unknown>[] }>().items;

const outcome = async ({ username }: Partner, password: string, on = b): Promise<string> => {
  const answer = await on.request('POST', '/generateToken', { form: { Username: username, Password: password } });
  if (answer.status === 200) secret(answer.text);
  return `${String(answer.status)} ${answer.headers.get('error-code') ?? 'token'}`;
};

function expectProblem(answer: Answer, status: number, code: string, fields?: string[]): void {
  const problem = answer.json<{ code: string; errors?: { field: string }[] }>();
  expect([answer.status, problem.code]).toEqual([status, code]);
  if (fields) expect(problem.errors?.map(({ field }) => field)).toEqual(fields);
}

const seconds = (from: string, to: string | null): number => (Date.parse(to ?? '') - Date.parse(from)) / 1000;

describe('the list of own passwords', () => {
  it('has the rows of the staff’s list in the same order, without names of staff', async () => {
    const partner = await a.asPartner({ scopes: [] });
    await rotateAsStaff(partner, { label: 'second', retireOthers: { after: 'now' } });
    await rotateAsStaff(partner, { label: 'third' });
    const ofStaff = (await staff('GET', `${USERS}/${partner.id}/credentials`)).json<{
      items: (Record<string, unknown> & { startedBy: { type: string } })[];
    }>().items;
    const answer = (await call(partner, 'GET', OWN)).expect(200);
    const { items } = answer.json<{ items: Own[] }>();
    expect(items).toEqual(
      ofStaff.map(({ startedBy, lastUsedUserAgent: _, ...row }) => ({
        ...row,
        startedBy: startedBy.type,
        current: row['id'] === partner.credentialId,
        link: null,
      })),
    );
    expect(items.map(({ label, status, current }) => [label, status, current])).toEqual([
      ['third', 'pending', false],
      ['second', 'active', false],
      ['initial', 'active', true],
    ]);
    expect(answer.text).not.toContain('Staff ');
    expect(items.find(({ current }) => current)?.lastUsedAt).not.toBeNull();
  });

  it('tells whether the link of a pending password was opened', async () => {
    const partner = await a.asPartner();
    const made = await staff('POST', `${USERS}/${partner.id}/credentials`, { deliver: 'link', linkTtlSeconds: 600 });
    const { credential, handoverUrl } = made.expect(201).json<{ credential: Own; handoverUrl: string }>();
    const link = secret(handoverUrl.split('#')[1] ?? '');
    const waiting = await one(partner, credential.id);
    expect(waiting.link).toEqual({ status: 'waiting', expiresAt: expect.any(String) as string, revealedAt: null });
    expect(Math.round(seconds(waiting.createdAt, waiting.link?.expiresAt ?? null))).toBe(600);
    const revealed = await a.request('POST', '/handover/reveal', { json: { secret: link } });
    const password = secret(revealed.expect(200).json<{ password: string }>().password);
    const opened = await one(partner, credential.id);
    expect(opened.link).toMatchObject({ status: 'revealed', revealedAt: expect.any(String) as string });
    expect(opened.status).toBe('pending');
    expect(await outcome(partner, password, a)).toBe('200 token');
    expect(await one(partner, credential.id)).toMatchObject({ status: 'active', link: null, pendingSince: null });
  });

  it('is open to a person on the partner’s page', async () => {
    const partner = await a.newPartner();
    const answer = await a.request('POST', '/generateToken', {
      form: { Username: partner.username, Password: partner.password },
      headers: { 'latchkey-client': 'partner-page' },
    });
    const token = secret(answer.expect(200).text);
    expect(await list({ ...partner, token })).toMatchObject([{ id: partner.credentialId, current: true }]);
  });
});

describe('a rotation by the partner', () => {
  it('is pending until its first use, which another instance may see', async () => {
    const partner = await a.asPartner();
    const answer = await post(partner, { label: ' next  one' });
    const next = newOf(answer);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    expect(next).toMatchObject({
      label: 'next one',
      status: 'pending',
      current: false,
      startedBy: 'account',
      link: null,
      expiresAt: null,
      retireOthers: { after: 'first-use', seconds: WEEK },
    });
    const { password, ...row } = next;
    expect(await list(partner)).toMatchObject([row, { id: partner.credentialId, status: 'active', expiresAt: null }]);
    const [ofStaff] = (await staff('GET', `${USERS}/${partner.id}/credentials`)).json<{ items: unknown[] }>().items;
    expect(ofStaff).toMatchObject({ status: 'pending', startedBy: { type: 'account', id: null, name: null } });
    expect(await outcome(partner, password)).toBe('200 token');
    const [active, old] = await list(partner);
    expect(active?.status).toBe('active');
    expect(seconds(active?.activatedAt ?? '', old?.expiresAt ?? null)).toBe(WEEK);
    expect(await outcome(partner, partner.password)).toBe('200 token');
    pass(WEEK * 1000 + 1);
    expect(await outcome(partner, partner.password)).toBe('403 credential_expired');
  });

  it('records the password that proved it, and names the partner in the audit trail', async () => {
    const partner = await a.asPartner();
    const { id: second, password } = await rotateAsStaff(partner, { retireOthers: { after: 'now' } });
    const address = newAddress();
    const answer = await post(partner, { password }, { headers: { 'x-forwarded-for': address } });
    const next = newOf(answer);
    const rows: unknown = await a.dataSource.query(
      'SELECT begun_by, begun_by_id, proved_by FROM credential WHERE id = $1',
      [next.id],
    );
    expect(rows).toEqual([{ begun_by: 'account', begun_by_id: null, proved_by: second }]);
    const [created] = await trail(partner);
    expect(created).toMatchObject({
      action: 'credential.created',
      actor: { type: 'channel-user', id: partner.id, name: partner.username },
      address,
      requestId: answer.headers.get('x-request-id'),
      changes: { provedBy: [null, second], status: [null, 'pending'] },
    });
    for (const actor of ['channel-user', partner.id]) {
      const found = await staff('GET', `/admin/audit-events?actor=${actor}&target=${partner.id}`);
      expect(found.json<{ items: AuditEvent[] }>().items.map(({ action }) => action)).toEqual(['credential.created']);
    }
  });

  it('is told to staff at its start and at its first use', async () => {
    const partner = await a.asPartner();
    const next = await rotate(partner, { overlapSeconds: DAY });
    const told = { credential: { id: next.id, fingerprint: next.fingerprint, expiresAt: null } };
    const started = [
      'credential.rotation_started',
      { ...told, startedBy: 'account', retireOthers: { after: 'first-use', seconds: DAY } },
    ];
    expect(await noticesOf(partner)).toMatchObject([started]);
    await outcome(partner, next.password);
    expect(await noticesOf(partner)).toMatchObject([
      started,
      ['credential.rotated', { ...told, startedBy: 'account', after: 'first-use' }],
    ]);
  });

  it('is begun by one of ten requests at once on two instances', async () => {
    const partner = await a.asPartner();
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) => unlessBusy(() => post(partner, {}, { on: i % 2 === 0 ? a : b }))),
    );
    for (const answer of answers) {
      if (answer.status === 201) newOf(answer);
      else expectProblem(answer, 409, 'credential.rotation-pending');
    }
    expect(tally(answers)).toEqual({ 201: 1, 409: 9 });
    expect(await laterActions(partner)).toEqual(['credential.created']);
  });

  it('is refused while one is pending, and tells how to withdraw one’s own', async () => {
    const [own, other] = [await a.asPartner(), await a.asPartner()];
    const [ofOwn, ofStaff] = [await rotate(own), await rotateAsStaff(other)];
    const refused = await post(own);
    expectProblem(refused, 409, 'credential.rotation-pending');
    expect(refused.json()).toMatchObject({
      credentialId: ofOwn.id,
      pendingSince: ofOwn.createdAt,
      startedBy: 'account',
      withdraw: `POST ${OWN}/${ofOwn.id}/withdraw`,
    });
    const byStaff = await post(other);
    expectProblem(byStaff, 409, 'credential.rotation-pending');
    expect(byStaff.json()).toMatchObject({ credentialId: ofStaff.id, startedBy: 'staff', withdraw: null });
    expect(byStaff.text).not.toMatch(/Staff |\/admin/);
  });

  it('may follow when the pending one has expired unused', async () => {
    const partner = await a.asPartner();
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    const short = await rotateAsStaff(partner, { expiresAt });
    pass(61_000);
    await rotate(partner);
    expect(await statusOf(partner, short.id)).toBe('withdrawn');
    const withdrawn = (await trail(partner)).find(({ action }) => action === 'credential.withdrawn');
    expect(withdrawn?.actor.type).toBe('system');
  });

  it('is refused beyond five live passwords', async () => {
    const partner = await a.asPartner();
    for (let i = 0; i < 4; i++) await rotateAsStaff(partner, { retireOthersInSeconds: null });
    const refused = await post(partner);
    expectProblem(refused, 409, 'credential.too-many');
    expect(refused.json()['detail']).toContain('End one');
  });

  it.each([
    [{ password: undefined }, ['password']],
    [{ password: '' }, ['password']],
    [{ password: 5 }, ['password']],
    [{ password: ['x'] }, ['password']],
    [{ password: 'line\n' }, ['password']],
    [{ password: '\ud800' }, ['password']],
    [{ password: 'x'.repeat(257) }, ['password']],
    [{ label: '' }, ['label']],
    [{ label: 'x'.repeat(101) }, ['label']],
    [{ label: null }, ['label']],
    [{ overlapSeconds: DAY - 1 }, ['overlapSeconds']],
    [{ overlapSeconds: WEEK + 1 }, ['overlapSeconds']],
    [{ overlapSeconds: DAY + 0.5 }, ['overlapSeconds']],
    [{ overlapSeconds: null }, ['overlapSeconds']],
    [{ expiresAt: null }, ['expiresAt']],
    [{ deliver: 'link' }, ['deliver']],
    [{ replaces: UNKNOWN }, ['replaces']],
  ])('is refused with %j', async (fields, wrong) => {
    const partner = await a.asPartner();
    expectProblem(await post(partner, fields), 400, 'request.invalid', wrong);
    expect(await list(partner)).toHaveLength(1);
  });

  it('needs a token and takes JSON only', async () => {
    const partner = await a.asPartner();
    const { token } = await a.asStaff('admin');
    const json = { password: partner.password };
    for (const [method, path] of [
      ['GET', OWN],
      ['POST', OWN],
      ['POST', `${OWN}/${UNKNOWN}/withdraw`],
      ['DELETE', `${OWN}/${UNKNOWN}`],
    ] as const) {
      const sent = method === 'GET' ? {} : { json };
      expect((await a.request(method, path, sent)).status).toBe(401);
      expectProblem(await a.request(method, path, { token, ...sent }), 403, 'auth.wrong-plane');
      if (method === 'GET') continue;
      const form = { password: partner.password };
      expect((await a.request(method, path, { token: partner.token, form })).status).toBe(415);
    }
  });
});

describe('the password that proves who the partner is', () => {
  it('must be an active one of the account of the token', async () => {
    const [partner, other] = [await a.asPartner(), await a.asPartner()];
    const revoked = await rotateAsStaff(partner, { retireOthersInSeconds: null });
    await staff('DELETE', `${USERS}/${partner.id}/credentials/${revoked.id}`);
    const expired = await rotateAsStaff(partner, {
      retireOthersInSeconds: null,
      expiresAt: new Date(Date.now() + 1000).toISOString(),
    });
    pass(2000);
    const pending = await rotateAsStaff(partner);
    const cases: [password: string, reason: string][] = [
      [other.password, 'wrong_password'],
      [randomUUID(), 'wrong_password'],
      [partner.password.toUpperCase(), 'wrong_password'],
      [revoked.password, 'revoked_credential'],
      [expired.password, 'no_proof'],
      [pending.password, 'no_proof'],
    ];
    for (const [password, reason] of cases) {
      for (const on of [a, b]) {
        const refused = await post(partner, { password }, { on });
        expectProblem(refused, 400, WRONG, ['password']);
        expect(refused.headers.get('www-authenticate')).toBeNull();
        expect(refused.text).not.toContain(password);
      }
      await until(async () => {
        const found = (await activityOf(partner)).filter((item) => item['reason'] === reason);
        return found.length >= 2 && found.every((item) => item['errorCode'] === WRONG);
      }, `the activity tells ${reason}`);
    }
    expect(await statusOf(partner, pending.id)).toBe('pending');
    expect(await laterActions(partner)).not.toContain('credential.activated');
  });

  it('is told apart from a sign-in when staff look its request up', async () => {
    const partner = await a.asPartner();
    const id = (await post(partner, { password: 'wrong' })).headers.get('x-request-id') ?? '';
    const found = await eventually(async () => {
      const answer = await call(partner, 'GET', `/me/requests/${id}`);
      return answer.status === 200 && answer.json()['kind'] === 'call' ? answer : undefined;
    }, 'the call is recorded');
    expect(found.json()).toMatchObject({ asked: `POST ${OWN}`, answered: `400 Bad Request, ${WRONG}` });
  });

  it('is not a use of it', async () => {
    const partner = await a.asPartner();
    const [before] = await list(partner);
    pass(3_600_000 / 2);
    await rotate(partner);
    await withdraw(partner, (await list(partner))[0]?.id ?? '');
    expect((await one(partner, partner.credentialId)).lastUsedAt).toBe(before?.lastUsedAt);
    expect((await activityOf(partner)).map((item) => item['outcome'])).toEqual(['token']);
  });

  it('counts with the failures of sign-ins of its address and username, and a right one is not refused', async () => {
    const partner = await a.asPartner();
    const address = newAddress();
    const headers = { 'x-forwarded-for': address };
    const wrong = (): Promise<Answer> => post(partner, { password: 'wrong' }, { headers });
    const answers = [];
    for (let i = 0; i < FREE / 2; i++) {
      answers.push(await wrong());
      answers.push(await signInFrom(a, address, { username: partner.username, password: 'wrong' }));
    }
    expect(tally(answers)).toEqual({ 400: FREE / 2, 401: FREE / 2 });
    const refused = await wrong();
    expectProblem(refused, 429, 'credential.too-many-attempts');
    expect(refused.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    const id = (await rotateAsStaff(partner, { retireOthersInSeconds: null })).id;
    for (const answer of [
      await signInFrom(a, address, { username: partner.username, password: 'wrong' }),
      await end(partner, id, 'wrong', { headers }),
    ]) {
      expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, expect.stringMatching(/^[1-9]\d*$/)]);
    }
    const next = await rotate(partner, {}, { headers });
    expect((await withdraw(partner, next.id, 'wrong', { headers })).status).toBe(429);
    expect((await withdraw(partner, next.id, partner.password, { headers })).status).toBe(200);
    expect((await post(partner, { password: 'wrong' })).status).toBe(400);
    // The activity names what each was told, so that nobody takes a proof for a sign-in.
    const told = (await activityOf(partner)).map((item) => item['errorCode']);
    expect(new Set(told)).toEqual(new Set([null, 'invalid_credentials', WRONG, 'credential.too-many-attempts']));
    const own = (await call(partner, 'GET', '/me/activity')).json<{ items: Record<string, unknown>[] }>().items;
    expect(own.find((item) => item['errorCode'] === 'credential.too-many-attempts')).toMatchObject({
      reason: 'The password was wrong. It was one of too many failed attempts.',
    });
  });

  it('may be an imported one, which waits in the queue of sign-ins', async () => {
    const partner = await a.asPartner();
    const password = secret('Sommer in Bad Ischl');
    const hash = await argon2.hash(password, { memoryCost: 4096, timeCost: 1, parallelism: 1 });
    const imported = await importPassword(a, partner.id, hash);
    expectProblem(await post(partner, { password: `${password}!` }), 400, WRONG);
    const next = await rotate(partner, { password });
    const [row] = await a.dataSource.query<{ proved_by: string }[]>('SELECT proved_by FROM credential WHERE id = $1', [
      next.id,
    ]);
    expect(row?.proved_by).toBe(imported);
    await withdraw(partner, next.id, password);
    a.waits = 'real';
    const release = holdSlowHashes(a, 'partnerHashes');
    try {
      const busy = await post(partner, { password: `${password}?` });
      expectProblem(busy, 503, 'service.unavailable');
      expect(busy.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    } finally {
      release();
      a.waits = 'none';
    }
  });

  /** Lets a change wait for the lock of its account, changes something there, and returns the answer. */
  const whileWaiting = (partner: Partner, change: () => Promise<Answer>, statement: string): Promise<Answer> =>
    onDatabase(a.databaseUrl, async (client: pg.Client) => {
      await client.query('BEGIN');
      await client.query('SELECT FROM channel_user WHERE id = $1 FOR UPDATE', [partner.id]);
      const answer = change();
      await until(async () => {
        const { rows } = await client.query(`SELECT FROM pg_locks WHERE NOT granted AND database = (
          SELECT oid FROM pg_database WHERE datname = current_database()) OR NOT granted AND database IS NULL`);
        return rows.length > 0;
      }, 'the change waits for the lock');
      await client.query(statement, [partner.id]);
      await client.query('COMMIT');
      return answer;
    });

  it('must still be active when the change is made', async () => {
    const revoke = 'UPDATE credential SET revoked_at = now() WHERE channel_user_id = $1 AND NOT pending';
    const expire = `UPDATE credential SET expires_at = now() - interval '1 s' WHERE channel_user_id = $1 AND NOT pending`;
    for (const statement of [revoke, expire]) {
      const rotating = await a.asPartner();
      expectProblem(await whileWaiting(rotating, () => post(rotating), statement), 400, WRONG);
      const withdrawing = await a.asPartner();
      const { id } = await rotate(withdrawing);
      expectProblem(await whileWaiting(withdrawing, () => withdraw(withdrawing, id), statement), 400, WRONG);
      const rows: unknown = await a.dataSource.query(
        'SELECT count(*)::int FROM credential WHERE channel_user_id = ANY($1) AND withdrawn_at IS NULL AND pending',
        [[rotating.id, withdrawing.id]],
      );
      expect(rows).toEqual([{ count: 1 }]);
    }
  });

  it('changes nothing once the account is suspended or may not rotate by itself', async () => {
    const suspended = await a.asPartner();
    const suspend = 'UPDATE channel_user SET suspended_at = now() WHERE id = $1';
    const refused = await whileWaiting(suspended, () => post(suspended), suspend);
    expectProblem(refused, 401, 'auth.invalid-token');
    const off = await a.asPartner();
    const turnOff = 'UPDATE channel_user SET self_service = false WHERE id = $1';
    expectProblem(await whileWaiting(off, () => post(off), turnOff), 403, 'credential.self-service-off');
    for (const partner of [suspended, off]) expect(await laterActions(partner)).toEqual([]);
  });
});

describe('withdrawing', () => {
  it('ends a rotation that the partner began, with any password that works', async () => {
    const partner = await a.asPartner();
    for (const proof of ['old', 'pending'] as const) {
      const next = await rotate(partner);
      const password = proof === 'old' ? partner.password : next.password;
      const answer = (await withdraw(partner, next.id, password)).expect(200);
      expect(answer.json()).toMatchObject({ id: next.id, status: 'withdrawn', startedBy: 'account', link: null });
      expect(await outcome(partner, next.password)).toBe('401 invalid_credentials');
    }
    expect(await outcome(partner, partner.password)).toBe('200 token');
    const [event] = await trail(partner);
    expect(event).toMatchObject({ action: 'credential.withdrawn', actor: { type: 'channel-user', id: partner.id } });
    const told = (await noticesOf(partner)).filter(([type]) => type === 'credential.rotation_withdrawn');
    expect(told).toMatchObject([
      ['credential.rotation_withdrawn', { withdrawnBy: 'account' }],
      ['credential.rotation_withdrawn', { withdrawnBy: 'account' }],
    ]);
  });

  it('is refused for a rotation that staff or Latchkey began', async () => {
    const partner = await a.asPartner();
    const next = await rotateAsStaff(partner);
    expectProblem(await withdraw(partner, next.id), 403, 'credential.rotation-by-staff');
    expectProblem(await withdraw(partner, next.id, next.password), 403, 'credential.rotation-by-staff');
    for (const begunBy of ['system', null]) {
      await a.dataSource.query('UPDATE credential SET begun_by = $2 WHERE id = $1', [next.id, begunBy]);
      expectProblem(await withdraw(partner, next.id), 403, 'credential.rotation-by-staff');
    }
    expect(await statusOf(partner, next.id)).toBe('pending');
  });

  it('is refused with a wrong password', async () => {
    const [partner, other] = [await a.asPartner(), await a.asPartner()];
    const next = await rotate(partner);
    for (const password of ['wrong', other.password]) {
      expectProblem(await withdraw(partner, next.id, password), 400, WRONG, ['password']);
    }
    expectProblem(await call(partner, 'POST', `${OWN}/${next.id}/withdraw`), 400, 'request.invalid', ['password']);
    expect(await statusOf(partner, next.id)).toBe('pending');
  });

  it('is refused for what is not pending', async () => {
    const partner = await a.asPartner();
    const next = await rotate(partner);
    await withdraw(partner, next.id);
    for (const id of [partner.credentialId, next.id]) {
      expectProblem(await withdraw(partner, id), 409, 'credential.not-pending');
    }
  });

  it('and the first use at the same time end in one of both', async () => {
    for (let round = 0; round < 8; round++) {
      const partner = await a.asPartner();
      const next = await rotate(partner);
      const [used, withdrawn] = await Promise.all([outcome(partner, next.password), withdraw(partner, next.id)]);
      const status = await statusOf(partner, next.id);
      expect(['200 token 409 active', '401 invalid_credentials 200 withdrawn']).toContain(
        `${used} ${String(withdrawn.status)} ${status}`,
      );
      expect(await outcome(partner, partner.password)).toBe('200 token');
    }
  });
});

describe('ending a password', () => {
  it('ends it and its tokens on every instance, with itself as the proof', async () => {
    const partner = await a.asPartner();
    const next = await rotate(partner);
    const token = secret(await b.generateToken({ ...partner, password: next.password }));
    expectProblem(await end(partner, partner.credentialId, next.password, { token }), 400, WRONG, ['password']);
    await call(partner, 'GET', '/me', { on: b });
    expect((await end(partner, partner.credentialId, partner.password, { token })).status).toBe(204);
    expect((await call(partner, 'GET', '/me')).status).toBe(401);
    await until(async () => (await call(partner, 'GET', '/me', { on: b })).status === 401, 'the other instance hears');
    expect(await outcome(partner, partner.password)).toBe('401 invalid_credentials');
    expect(await list(partner, { token })).toMatchObject([
      { id: next.id, status: 'active', current: true },
      { id: partner.credentialId, status: 'revoked', current: false },
    ]);
    const [event] = await trail(partner);
    expect(event).toMatchObject({
      action: 'credential.revoked',
      actor: { type: 'channel-user', id: partner.id },
      changes: { status: ['active', 'revoked'] },
    });
    expect((await noticesOf(partner)).at(-1)).toMatchObject([
      'credential.ended',
      { credential: { id: partner.credentialId }, endedBy: 'account' },
    ]);
    // A client repeats a request whose answer it did not get.
    expect((await end(partner, partner.credentialId, partner.password, { token })).status).toBe(204);
    expect((await laterActions(partner)).filter((action) => action === 'credential.revoked')).toHaveLength(1);
  });

  it('is refused for the last active one, also while another one waits for its first use', async () => {
    const partner = await a.asPartner();
    const last = (): Promise<Answer> => end(partner, partner.credentialId, partner.password);
    expectProblem(await last(), 409, 'credential.last-active');
    const next = await rotate(partner);
    expectProblem(await last(), 409, 'credential.last-active');
    expect(await outcome(partner, next.password)).toBe('200 token');
    expect((await last()).status).toBe(204);
  });

  it('of two at once on two instances leaves one', async () => {
    const partner = await a.asPartner();
    const other = await rotateAsStaff(partner, { retireOthersInSeconds: null });
    const answers = await Promise.all([
      unlessBusy(() => end(partner, partner.credentialId, partner.password)),
      unlessBusy(() => end(partner, other.id, other.password, { on: b })),
    ]);
    const works = [await outcome(partner, partner.password), await outcome(partner, other.password)];
    expect(works.filter((is) => is === '200 token')).toHaveLength(1);
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1);
  });

  it('takes an expired one, whose tokens would outlive it', async () => {
    const partner = await a.asPartner();
    const other = await rotateAsStaff(partner, { retireOthers: { after: 'now', seconds: 1 } });
    pass(2000);
    const token = secret(await a.generateToken({ ...partner, password: other.password }));
    expect((await call(partner, 'GET', '/me')).status).toBe(200);
    expect((await end(partner, partner.credentialId, partner.password, { token })).status).toBe(204);
    expect((await call(partner, 'GET', '/me')).status).toBe(401);
    // Also while no other one is active, since an expired one is not the last that works.
    const alone = await a.asPartner();
    await rotateAsStaff(alone);
    await a.dataSource.query('UPDATE credential SET expires_at = now() WHERE id = $1', [alone.credentialId]);
    expect((await end(alone, alone.credentialId, alone.password)).status).toBe(204);
  });

  it('takes a pending one only if the partner began its rotation', async () => {
    const [partner, other] = [await a.asPartner(), await a.asPartner()];
    const [own, ofStaff] = [await rotate(partner), await rotateAsStaff(other)];
    expect((await end(partner, own.id, own.password)).status).toBe(204);
    expect(await statusOf(partner, own.id)).toBe('revoked');
    expectProblem(await end(other, ofStaff.id, ofStaff.password), 403, 'credential.rotation-by-staff');
    expect(await statusOf(other, ofStaff.id)).toBe('pending');
  });
});

describe('self-service', () => {
  const turn = async (partner: Partner, selfService: boolean): Promise<void> => {
    (await staff('PATCH', `${USERS}/${partner.id}`, { selfService })).expect(200);
  };

  it('is on for new accounts, and staff see and change it', async () => {
    const partner = await a.asPartner();
    const path = `${USERS}/${partner.id}`;
    expect((await staff('GET', path)).json()).toMatchObject({ selfService: true });
    await turn(partner, false);
    expect((await staff('GET', path)).json()).toMatchObject({ selfService: false });
    const [event] = await trail(partner);
    expect(event).toMatchObject({ action: 'channel-user.updated', changes: { selfService: [true, false] } });
    const put = await staff('PUT', `${USERS}/by-username/${partner.username}`, {
      displayName: 'Put',
      selfService: true,
    });
    expect(put.expect(200).json()).toMatchObject({ channelUser: { selfService: true } });
    const off = await a.newPartner({ selfService: false });
    expect((await staff('GET', `${USERS}/${off.id}`)).json()).toMatchObject({ selfService: false });
    for (const selfService of [null, 'true', 1]) {
      expectProblem(await staff('PATCH', path, { selfService }), 400, 'request.invalid', ['selfService']);
    }
  });

  it('when off closes nothing but new rotations', async () => {
    const partner = await a.asPartner();
    const next = await rotate(partner);
    await turn(partner, false);
    expect((await call(partner, 'GET', '/me')).json()).toMatchObject({ selfService: false });
    expectProblem(await post(partner), 403, 'credential.self-service-off');
    // The refusal says nothing about the password.
    expectProblem(await post(partner, { password: 'wrong' }), 403, 'credential.self-service-off');
    expect(await list(partner)).toHaveLength(2);
    expect((await withdraw(partner, next.id)).status).toBe(200);
    const other = await rotateAsStaff(partner, { retireOthersInSeconds: null });
    expect((await end(partner, other.id, other.password)).status).toBe(204);
  });

  it('turned on on one instance opens rotations on every other at once', async () => {
    const partner = await a.asPartner({ selfService: false });
    await until(() => changeFeedOf(b).trusted, 'changes are heard of');
    expect((await call(partner, 'GET', '/me', { on: b })).json()).toMatchObject({ selfService: false });
    // Without the notification, since the trigger is not fired.
    await onDatabase(a.databaseUrl, async (client: pg.Client) => {
      await client.query('SET session_replication_role = replica');
      await client.query('UPDATE channel_user SET self_service = true WHERE id = $1', [partner.id]);
    });
    await rotate(partner, {}, { on: b });
  });

  it('changed on one instance shows in GET /me on every other', async () => {
    const partner = await a.asPartner();
    const me = async (): Promise<unknown> => (await call(partner, 'GET', '/me', { on: b })).json()['selfService'];
    expect(await me()).toBe(true);
    // By hand, so that nothing but this column changes.
    await a.dataSource.query('UPDATE channel_user SET self_service = false WHERE id = $1', [partner.id]);
    await until(async () => (await me()) === false, 'the other instance hears of it');
  });

  it('is on for an account that an import of an older version adds', async () => {
    const id = randomUUID();
    // Such an import writes every column that it knows of a whole row, and null in the others.
    await a.dataSource.query(
      `INSERT INTO channel_user SELECT (jsonb_populate_record(NULL::channel_user, jsonb_build_object('id', $1::text,
        'username', 'older', 'username_key', 'older', 'display_name', 'Older', 'scopes', '{}', 'token_ttl_seconds', 60,
        'tokens_per_minute', 1, 'allowed_ips', '{}', 'search_text', 'older', 'epoch', 0, 'version', 1,
        'created_at', now(), 'updated_at', now()))).*`,
      [id],
    );
    expect((await staff('GET', `${USERS}/${id}`)).json()).toMatchObject({ selfService: true });
  });
});

describe('two partners', () => {
  it('never reach each other’s passwords', async () => {
    const [partner, other] = [await a.asPartner(), await a.asPartner()];
    const [pending, active] = [await rotate(other), other.credentialId];
    const rows = await list(other);
    for (const id of [pending.id, active, UNKNOWN, 'x']) {
      for (const password of [partner.password, other.password]) {
        for (const on of [a, b]) {
          expectProblem(await withdraw(partner, id, password, { on }), 404, 'credential.not-found');
          expectProblem(await end(partner, id, password, { on }), 404, 'credential.not-found');
        }
      }
    }
    expectProblem(await post(partner, { password: other.password }), 400, WRONG);
    expect((await list(partner)).map(({ id }) => id)).toEqual([partner.credentialId]);
    expect(await list(other)).toEqual(rows);
    expect(await laterActions(other)).toEqual(['credential.created']);
  });
});

describe('while the database is down', () => {
  it('every route is answered 503, and no token or password is called wrong', async () => {
    const partner = await a.asPartner();
    const next = await rotate(partner);
    await until(() => changeFeedOf(b).trusted, 'changes are heard of');
    await list(partner, { on: b });
    proxy.cut('pool');
    try {
      for (const answer of [
        await call(partner, 'GET', OWN, { on: b }),
        await post(partner, {}, { on: b }),
        await post(partner, { password: 'wrong' }, { on: b }),
        await withdraw(partner, next.id, partner.password, { on: b }),
        await end(partner, next.id, next.password, { on: b }),
      ]) {
        expectProblem(answer, 503, 'service.unavailable');
        expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      }
    } finally {
      proxy.mend();
    }
    expect((await list(partner)).map(({ status }) => status)).toEqual(['pending', 'active']);
  });
});
