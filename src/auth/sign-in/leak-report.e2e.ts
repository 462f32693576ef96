import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { randomBytes, randomUUID } from 'node:crypto';
import { BlockList } from 'node:net';
import { performance } from 'node:perf_hooks';
import type pg from 'pg';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { onDatabase } from '../../../test/support/database.ts';
import { createWith } from '../../../test/support/descendants.ts';
import { holdRefusals, holdSlowHashes, holdWaits, passLimits, slowHashesOf } from '../../../test/support/inside.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { Receiver } from '../../../test/support/receiver.ts';
import { secret } from '../../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  eventually,
  importPassword,
  inParallel,
  newAddress,
  signInFrom,
  tally,
  unlessBusy,
  until,
} from '../../../test/support/sign-ins.ts';

interface Credentials {
  readonly username: string;
  readonly password: string;
}
interface Credential {
  id: string;
  fingerprint: string | null;
  status: string;
  revokedAt: string | null;
  reportedLeakedAt: string | null;
}
interface AuditEvent {
  action: string;
  actor: { type: string; id: string | null };
  address: string | null;
  requestId: string | null;
  changes: Record<string, [unknown, unknown]>;
}
interface Notice {
  type: string;
  data: Record<string, unknown>;
}

const USERS = '/admin/channel-users';
const DAY_MS = 86_400_000;
const LOOPBACK = new BlockList();
LOOPBACK.addSubnet('127.0.0.0', 8, 'ipv4');

/** Two instances on one database. The second one reaches PostgreSQL through a proxy. */
let a: TestApp;
let b: TestApp;
let proxy: PostgresProxy;

beforeAll(async () => {
  a = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES, webhookAllowedNetworks: LOOPBACK });
  proxy = await PostgresProxy.start(a.databaseUrl);
  b = await TestApp.start({ ...a.config, databaseUrl: proxy.url });
  await a.asStaff('operator');
});
afterAll(async () => {
  await b.close();
  await proxy.shut();
  await a.close();
});
afterEach(() => {
  proxy.reset();
  pass(-a.clockOffset);
  for (const app of [a, b]) app.waits = 'none';
});

/** Lets time pass on both instances. */
function pass(ms: number): void {
  a.clockOffset += ms;
  b.clockOffset = a.clockOffset;
}

const reportFrom = (address: string, { username, password }: Credentials, on = a): Promise<Answer> =>
  on.request('POST', '/credentials/report-leaked', {
    json: { username, password },
    headers: { 'x-forwarded-for': address },
  });
/** Reports a password from an address of its own. */
const report = (credentials: Credentials, on = a): Promise<Answer> => reportFrom(newAddress(), credentials, on);
const reported = async (credentials: Credentials, on = a): Promise<void> => {
  const { status, text } = await report(credentials, on);
  expect({ status, text }).toEqual({ status: 202, text: '' });
};

/** Calls of staff, whose sessions end as time passes. */
const sessions = new Map<number, string>();
async function call(method: string, path: string, json?: unknown): Promise<Answer> {
  const token = sessions.get(a.clockOffset) ?? (await a.newStaff('admin')).token;
  sessions.set(a.clockOffset, token);
  return a.request(method, path, { token, ...(json !== undefined && { json }) });
}
const rotate = async (id: string, json: object = {}): Promise<{ id: string; password: string }> => {
  const answer = await call('POST', `${USERS}/${id}/credentials`, json);
  const { credential } = answer.expect(201).json<{ credential: { id: string; password: string } }>();
  secret(credential.password);
  return credential;
};
const list = async (id: string): Promise<Credential[]> =>
  (await call('GET', `${USERS}/${id}/credentials`)).expect(200).json<{ items: Credential[] }>().items;
const statuses = async (user: string, ...ids: string[]): Promise<string[]> => {
  const all = new Map((await list(user)).map(({ id, status }) => [id, status]));
  return ids.map((id) => all.get(id) ?? 'missing');
};
/** The events of a channel user after its creation, oldest first. */
const events = async (id: string): Promise<AuditEvent[]> =>
  (await call('GET', `/admin/audit-events?target=${id}&limit=200`))
    .json<{ items: AuditEvent[] }>()
    .items.reverse()
    .slice(2);
const actions = async (id: string): Promise<string[]> => (await events(id)).map(({ action }) => action);
const reports = async (id: string): Promise<AuditEvent[]> =>
  (await events(id)).filter(({ action }) => action === 'credential.reported-leaked');
const notices = async ({ id }: { id: string }): Promise<Notice['data'][]> => {
  const { items } = (await call('GET', '/admin/notices?type=credential.reported_leaked&limit=200')).json<{
    items: Notice[];
  }>();
  return items.map(({ data }) => data).filter((data) => (data['channelUser'] as { id: string }).id === id);
};
const signIn = async (credentials: Credentials, on = b): Promise<string> => {
  const answer = await signInFrom(on, newAddress(), credentials);
  if (answer.status === 200) secret(answer.text);
  return `${String(answer.status)} ${answer.headers.get('error-code') ?? 'token'}`;
};
const meStatus = async (token: string, on = b): Promise<number> => (await on.request('GET', '/me', { token })).status;
const wrong = (username: string): Credentials => ({ username, password: `wrong ${randomUUID()}` });
const unknown = (): Credentials => wrong(`nobody-${randomBytes(6).toString('hex')}`);
const withPassword = ({ username }: Partner, password: string): Credentials => ({ username, password });

/** Status, text and headers of an answer, without request id and date. */
const formOf = (answer: Answer): string => {
  const id = answer.headers.get('x-request-id') ?? '';
  const headers = [...answer.headers].filter(([name]) => !['date', 'x-request-id'].includes(name));
  return JSON.stringify([answer.status, answer.text.replace(id, ''), headers]);
};

/** Waits until a statement waits for a lock. */
const blocked = (): Promise<void> =>
  until(async () => {
    const rows = await a.dataSource.query<object[]>(`SELECT pid FROM pg_stat_activity
      WHERE datname = current_database() AND wait_event_type = 'Lock'`);
    return rows.length > 0;
  }, 'a statement waits for the lock of the account');

/** Does something while the row of an account is locked. @param work gets the connection that has locked it */
const whileLocked = <T>({ id }: Partner, work: (client: pg.Client) => Promise<T>): Promise<T> =>
  onDatabase(a.databaseUrl, async (client) => {
    await client.query('BEGIN');
    await client.query('SELECT FROM channel_user WHERE id = $1 FOR UPDATE', [id]);
    const result = await work(client);
    await client.query('COMMIT');
    return result;
  });

describe('a reported password', () => {
  it('ends with its tokens and with everything that was created with it, and nothing else', async () => {
    const partner = await a.asPartner();
    const other = await rotate(partner.id, { label: 'other', retireOthersInSeconds: null });
    const child = await createWith(a, partner, { label: 'child' });
    const pending = await createWith(a, withPassword(partner, child.password), { label: 'grandchild', isUsed: false });
    const tokens = [
      partner.token,
      await a.generateToken(withPassword(partner, child.password)),
      await b.generateToken(withPassword(partner, other.password)),
    ];
    expect(await Promise.all(tokens.map((token) => meStatus(token)))).toEqual([200, 200, 200]);

    const address = newAddress();
    const answer = await reportFrom(address, partner);
    expect([answer.status, answer.text, answer.headers.get('cache-control')]).toEqual([202, '', 'no-store']);

    const ids = [partner.credentialId, child.id, pending.id, other.id];
    expect(await statuses(partner.id, ...ids)).toEqual(['revoked', 'revoked', 'withdrawn', 'active']);
    expect(await Promise.all(tokens.map((token) => meStatus(token, a)))).toEqual([401, 401, 200]);
    await until(async () => (await meStatus(tokens[0] ?? '')) === 401, 'the other instance knows it');
    expect(await meStatus(tokens[1] ?? '')).toBe(401);
    const passwords = [partner.password, child.password, pending.password, other.password];
    expect(await Promise.all(passwords.map((password) => signIn(withPassword(partner, password))))).toEqual([
      '401 invalid_credentials',
      '401 invalid_credentials',
      '401 invalid_credentials',
      '200 token',
    ]);

    const [first, ...rest] = (await events(partner.id)).slice(-3);
    const requestId = answer.headers.get('x-request-id');
    expect(first).toMatchObject({
      action: 'credential.reported-leaked',
      actor: { type: 'system', id: null },
      address,
      requestId,
      changes: {
        credentialId: [partner.credentialId, partner.credentialId],
        label: ['initial', 'initial'],
        status: ['active', 'revoked'],
        descendants: [null, [child.id, pending.id]],
      },
    });
    const createdWith = [partner.credentialId, partner.credentialId];
    expect(rest).toMatchObject([
      {
        action: 'credential.revoked',
        address,
        requestId,
        changes: { credentialId: [child.id, child.id], createdWith },
      },
      { action: 'credential.withdrawn', address, changes: { credentialId: [pending.id, pending.id], createdWith } },
    ]);
  });

  it('is told to staff at once, by a notice and a webhook of its own type, without the address', async () => {
    const receiver = await Receiver.start();
    try {
      const url = `http://127.0.0.1:${String(receiver.port)}/`;
      const events = ['credential.reported_leaked'];
      (await call('POST', '/admin/webhooks', { url, events })).expect(201);
      const partner = await a.newPartner({ displayName: 'Blue Channel' });
      const child = await createWith(a, partner);
      await reported(partner);
      const fingerprints = new Map((await list(partner.id)).map(({ id, fingerprint }) => [id, fingerprint]));
      const data = {
        channelUser: { id: partner.id, username: partner.username, displayName: 'Blue Channel' },
        credential: {
          id: partner.credentialId,
          fingerprint: fingerprints.get(partner.credentialId),
          expiresAt: expect.any(String) as string,
        },
        statusBefore: 'active',
        descendants: [{ id: child.id, fingerprint: fingerprints.get(child.id) }],
        liveCredentials: 0,
      };
      expect(await notices(partner)).toEqual([data]);
      const message = await eventually(() => receiver.messages[0], 'the webhook gets it');
      expect({ type: message.type, data: message.data }).toEqual({ type: 'credential.reported_leaked', data });
      expect((await list(partner.id)).map(({ reportedLeakedAt }) => reportedLeakedAt !== null)).toEqual([false, true]);
    } finally {
      await receiver.close();
    }
  });

  it('ends from any address, in any state of the account, and as the last one', async () => {
    const elsewhere = await a.newPartner({ allowedIps: ['192.0.2.1'] });
    const suspended = await a.newPartner();
    const expired = await a.newPartner({ expiresAt: '2020-01-01T00:00:00Z' });
    const withoutSelfService = await a.newPartner({ selfService: false });
    await call('POST', `${USERS}/${suspended.id}/suspend`, { reason: 'r' });
    for (const partner of [elsewhere, suspended, expired, withoutSelfService]) {
      await reported(partner);
      expect(await statuses(partner.id, partner.credentialId)).toEqual(['revoked']);
    }
    await call('POST', `${USERS}/${suspended.id}/reactivate`, {});
    expect(await signIn(suspended)).toBe('401 invalid_credentials');
    expect(await signIn(withPassword(suspended, (await rotate(suspended.id)).password))).toBe('200 token');
  });

  it('takes with it what a thief has created, also after the thief has ended the password itself', async () => {
    const partner = await a.newPartner();
    const byThief = await createWith(a, partner);
    const token = await b.generateToken(withPassword(partner, byThief.password));
    const path = `/me/credentials/${partner.credentialId}`;
    expect((await b.request('DELETE', path, { token, json: { password: partner.password } })).status).toBe(204);
    expect(await signIn(partner)).toBe('401 invalid_credentials');
    const next = await createWith(b, withPassword(partner, byThief.password), { isUsed: false });
    pass(29 * DAY_MS);
    await reported(partner);
    expect(await statuses(partner.id, partner.credentialId, byThief.id, next.id)).toEqual([
      'revoked',
      'revoked',
      'withdrawn',
    ]);
    for (const { password } of [byThief, next]) {
      expect(await signIn(withPassword(partner, password), a)).toBe('401 invalid_credentials');
    }
    expect(await notices(partner)).toMatchObject([{ statusBefore: 'revoked', liveCredentials: 0 }]);
  });

  it('is withdrawn with its link while it is pending, and the others go on', async () => {
    const partner = await a.newPartner();
    const answer = await call('POST', `${USERS}/${partner.id}/credentials`, { deliver: 'link' });
    const { handoverUrl, credential } = answer.json<{ handoverUrl: string; credential: { id: string } }>();
    const link = secret(handoverUrl.split('#')[1] ?? '');
    const revealed = await a.request('POST', '/handover/reveal', { json: { secret: link } });
    const password = secret(revealed.expect(200).json<{ password: string }>().password);
    await reported(withPassword(partner, password));
    expect(await statuses(partner.id, credential.id, partner.credentialId)).toEqual(['withdrawn', 'active']);
    expect((await reports(partner.id)).map(({ changes }) => changes['status'])).toEqual([['pending', 'withdrawn']]);
    expect(await notices(partner)).toMatchObject([{ statusBefore: 'pending', liveCredentials: 1 }]);
    expect([await signIn(withPassword(partner, password)), await signIn(partner)]).toEqual([
      '401 invalid_credentials',
      '200 token',
    ]);
    await rotate(partner.id);
  });

  it('makes the password before it the current one again', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id, { retireOthersInSeconds: 86_400 });
    await reported(withPassword(partner, next.password));
    const rows = await a.dataSource.query<object[]>('SELECT superseded FROM credential WHERE id = $1', [
      partner.credentialId,
    ]);
    expect(rows).toEqual([{ superseded: false }]);
  });

  it.each([
    ['argon2id', (password: string) => argon2.hash(password, { memoryCost: 4096, timeCost: 1, parallelism: 1 })],
    ['bcrypt', (password: string) => bcrypt.hash(password, 4)],
  ])('may have been imported as %s', async (_, hash) => {
    const partner = await a.newPartner();
    const password = secret(`Sommer-${randomBytes(4).toString('hex')}`);
    const id = await importPassword(a, partner.id, await hash(password));
    await report(wrong(partner.username));
    expect(await statuses(partner.id, id)).toEqual(['active']);
    const token = await b.generateToken(withPassword(partner, password));
    await reported(withPassword(partner, password));
    expect(await statuses(partner.id, id, partner.credentialId)).toEqual(['revoked', 'active']);
    expect([await meStatus(token, a), await signIn(withPassword(partner, password), a)]).toEqual([
      401,
      '401 invalid_credentials',
    ]);
    // It is proof still, but all has been done.
    await reported(withPassword(partner, password));
    expect(await reports(partner.id)).toHaveLength(1);
  });
});

describe('a password that has ended', () => {
  /** Ends the first password of a partner, after it has created another one. */
  const ways: Record<string, (partner: Partner) => Promise<unknown>> = {
    expired: ({ credentialId }) =>
      a.dataSource.query('UPDATE credential SET expires_at = now() WHERE id = $1', [credentialId]),
    retired: ({ id }) => rotate(id, { retireOthersInSeconds: 0 }),
    revoked: ({ id, credentialId }) =>
      call('DELETE', `${USERS}/${id}/credentials/${credentialId}?includeDescendants=false`),
  };

  it.each(Object.keys(ways))('is proof for 30 days when it was %s', async (way) => {
    for (const [days, isProof] of [
      [29.9, true],
      [30.1, false],
    ] as const) {
      const partner = await a.newPartner();
      const child = await createWith(a, partner);
      // A rotation retires this one too, but its tokens would go on.
      await ways[way]?.(partner);
      pass(days * DAY_MS);
      await reported(partner);
      const [own, descendant] = await statuses(partner.id, partner.credentialId, child.id);
      const before = way === 'revoked' ? 'revoked' : 'expired';
      const isLive = way !== 'retired';
      expect({ days, own, descendant }).toEqual({
        days,
        own: isProof ? 'revoked' : before,
        descendant: isProof ? 'revoked' : isLive ? 'active' : 'expired',
      });
      expect((await reports(partner.id)).map(({ changes }) => changes['status'])).toEqual(
        isProof ? [[before, 'revoked']] : [],
      );
      pass(-days * DAY_MS);
    }
  });

  it('is proof when it was withdrawn, and staff are told although nothing is left to end', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    await call('POST', `${USERS}/${partner.id}/credentials/${next.id}/withdraw`);
    await reported(withPassword(partner, next.password));
    expect(await statuses(partner.id, next.id, partner.credentialId)).toEqual(['withdrawn', 'active']);
    expect((await reports(partner.id)).map(({ changes }) => changes['status'])).toEqual([['withdrawn', 'withdrawn']]);
    expect(await notices(partner)).toMatchObject([{ statusBefore: 'withdrawn', descendants: [], liveCredentials: 1 }]);
  });

  it('ends the tokens that outlive its expiry', async () => {
    const partner = await a.asPartner();
    await rotate(partner.id, { retireOthersInSeconds: 0 });
    expect(await meStatus(partner.token, a)).toBe(200);
    await reported(partner);
    expect(await meStatus(partner.token, a)).toBe(401);
  });

  it('is proof no longer because it was revoked after it had expired', async () => {
    const partner = await a.newPartner();
    const child = await createWith(a, partner);
    await ways['expired']?.(partner);
    pass(20 * DAY_MS);
    await ways['revoked']?.(partner);
    pass(11 * DAY_MS);
    await reported(partner);
    expect(await statuses(partner.id, partner.credentialId, child.id)).toEqual(['revoked', 'active']);
    expect(await reports(partner.id)).toEqual([]);
  });
});

describe('the answer to a report', () => {
  it('is the same whatever the name and the password, and leaves at the same moment', async () => {
    const [right, mistaken, imported] = [await a.newPartner(), await a.newPartner(), await a.newPartner()];
    const [revoked, ended, suspended] = [await a.newPartner(), await a.newPartner(), await a.newPartner()];
    const elsewhere = await a.newPartner({ allowedIps: ['192.0.2.1'] });
    await call('DELETE', `${USERS}/${revoked.id}/credentials/${revoked.credentialId}`);
    await rotate(ended.id, { retireOthersInSeconds: 0 });
    await call('POST', `${USERS}/${suspended.id}/suspend`, { reason: 'r' });
    const password = secret(`Sommer-${randomBytes(4).toString('hex')}`);
    await importPassword(a, imported.id, await bcrypt.hash(password, 4));
    const cases = [
      unknown(),
      wrong(mistaken.username),
      wrong(imported.username),
      withPassword(imported, password),
      { username: right.username.toUpperCase(), password: right.password },
      revoked,
      ended,
      suspended,
      elsewhere,
    ];
    const release = holdRefusals(a);
    const answers: Answer[] = [];
    const waiting = cases.map(async (credentials) => {
      answers.push(await report(credentials));
    });
    await until(() => slowHashesOf(a).waiting === cases.length, 'all wait for their answers');
    // What they do is done by then, and none has been answered.
    expect(await statuses(right.id, right.credentialId)).toEqual(['revoked']);
    expect(answers).toEqual([]);
    release();
    await Promise.all(waiting);
    expect(new Set(answers.map(formOf)).size).toBe(1);
    expect(tally(answers)).toEqual({ 202: cases.length });
    expect(await statuses(mistaken.id, mistaken.credentialId)).toEqual(['active']);
    expect(await events(mistaken.id)).toEqual([]);
  });

  it('never leaves earlier than 250 ms after the request', async () => {
    const partner = await a.newPartner();
    a.waits = 'real';
    await Promise.all(
      [unknown(), wrong(partner.username), partner].map(async (credentials) => {
        const from = performance.now();
        await reported(credentials);
        expect(performance.now() - from).toBeGreaterThanOrEqual(249);
      }),
    );
  });

  it.each<[string, unknown, string[]]>([
    ['nothing', {}, ['username', 'password']],
    ['no password', { username: 'x' }, ['password']],
    ['an empty password', { username: 'x', password: '' }, ['password']],
    ['a number', { username: 'x', password: 1 }, ['password']],
    ['a list', { username: ['x'], password: 'y' }, ['username']],
    ['null', { username: null, password: 'y' }, ['username']],
    ['257 characters', { username: 'x', password: 'y'.repeat(257) }, ['password']],
    ['a line break', { username: 'x', password: 'y\n' }, ['password']],
    ['half a character', { username: 'x\ud800', password: 'y' }, ['username']],
    ['another field', { username: 'x', password: 'y', reason: 'z' }, ['reason']],
    ['a list as the body', [], ['']],
  ])('is 400 for %s', async (_, json, fields) => {
    const answer = await a.request('POST', '/credentials/report-leaked', { json });
    const { code, errors } = answer.json<{ code: string; errors: { field: string }[] }>();
    expect([answer.status, code, errors.map(({ field }) => field)]).toEqual([400, 'request.invalid', fields]);
  });

  it('is 413, 415, 400 or 405 for a request of another form, and reads no URL', async () => {
    const { username, password } = await a.newPartner();
    const path = '/credentials/report-leaked';
    const json = { username, password };
    const body = JSON.stringify({ ...json, password: 'y'.repeat(8_192) });
    const headers = { 'content-type': 'application/json' };
    const answers = [
      await a.request('POST', path, { body, headers }),
      await a.request('POST', path, { form: json }),
      await a.request('POST', path, { body: '{', headers }),
      await a.request('POST', `${path}?${new URLSearchParams(json).toString()}`),
      await a.request('PUT', path, { json }),
      await a.request('GET', path),
    ];
    expect(answers.map(({ status }) => status)).toEqual([413, 415, 400, 400, 405, 405]);
    expect(await signIn({ username, password })).toBe('200 token');
  });

  it('is 503 for every name while the database does not answer, and nothing has ended', async () => {
    const partner = await a.newPartner();
    proxy.cut('pool');
    try {
      const answers = await Promise.all([partner, wrong(partner.username), unknown()].map((each) => report(each, b)));
      expect(tally(answers)).toEqual({ 503: 3 });
      for (const answer of answers) expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      expect(new Set(answers.map(formOf)).size).toBe(1);
    } finally {
      proxy.mend();
    }
    expect(await statuses(partner.id, partner.credentialId)).toEqual(['active']);
    await until(async () => (await report(partner, b)).status === 202, 'the database answers again');
    expect(await statuses(partner.id, partner.credentialId)).toEqual(['revoked']);
  });

  it('is 503 for whoever reports meanwhile when an ending takes too long, which goes on', async () => {
    const partner = await a.newPartner();
    const endWaits = holdWaits(b);
    const other = report(unknown(), b);
    await until(() => slowHashesOf(b).waiting === 1, 'the other one waits for its answer');
    const answers = await whileLocked(partner, async () => {
      const own = report(partner, b);
      await blocked();
      endWaits();
      return Promise.all([own, other]);
    });
    expect(tally(answers)).toEqual({ 503: 2 });
    expect(new Set(answers.map(formOf)).size).toBe(1);
    await until(async () => (await statuses(partner.id, partner.credentialId))[0] === 'revoked', 'it has ended');
    expect((await unlessBusy(() => report(partner, b))).status).toBe(202);
    expect(await reports(partner.id)).toHaveLength(1);
  });

  it('is 503 when the ending is refused, which then has not happened at all', async () => {
    const partner = await a.newPartner();
    const child = await createWith(a, partner);
    await a.dataSource.query(`
      CREATE FUNCTION refuse_report() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;
      CREATE TRIGGER tr_refuse_report BEFORE INSERT ON audit_event FOR EACH ROW
        WHEN (NEW.action = 'credential.reported-leaked') EXECUTE FUNCTION refuse_report()`);
    try {
      expect((await report(partner)).status).toBe(503);
    } finally {
      await a.dataSource.query('DROP FUNCTION refuse_report CASCADE');
    }
    expect(await statuses(partner.id, partner.credentialId, child.id)).toEqual(['active', 'active']);
    expect(await notices(partner)).toEqual([]);
    await unlessBusy(() => report(partner));
    expect(await statuses(partner.id, partner.credentialId, child.id)).toEqual(['revoked', 'revoked']);
  });

  it('is 503 for every name when an imported password cannot be checked in time', async () => {
    const partner = await a.newPartner();
    const password = secret(`Sommer-${randomBytes(4).toString('hex')}`);
    const id = await importPassword(a, partner.id, await bcrypt.hash(password, 4));
    const release = holdSlowHashes(b, 'partnerHashes');
    const endWaits = holdWaits(b);
    const other = report(unknown(), b);
    await until(() => slowHashesOf(b).waiting === 1, 'the other one waits for its answer');
    const { queue } = slowHashesOf(b).partnerHashes;
    const held = queue.jobs;
    const own = report(withPassword(partner, password), b);
    await until(() => queue.jobs > held, 'the check is queued');
    endWaits();
    const answers = await Promise.all([own, other]);
    expect(tally(answers)).toEqual({ 503: 2 });
    expect(new Set(answers.map(formOf)).size).toBe(1);
    release();
    await until(() => queue.jobs === 0, 'an empty queue');
    expect(await statuses(partner.id, id)).toEqual(['active']);
    // The check that came too late makes the next report fast.
    await until(async () => (await report(withPassword(partner, password), b)).status === 202, 'an answer');
    expect(await statuses(partner.id, id)).toEqual(['revoked']);
  });
});

describe('the limits of reports', () => {
  it('count each report of an address and username, right ones included, together with sign-ins', async () => {
    const [partner, other] = [await a.newPartner(), await a.newPartner()];
    const address = newAddress();
    const first = await inParallel(3, 3, () => reportFrom(address, wrong(partner.username)));
    const inCapitals = await inParallel(2, 2, () => reportFrom(address, wrong(partner.username.toUpperCase())));
    expect(tally([...first, ...inCapitals, await reportFrom(address, partner)])).toEqual({ 202: 6 });
    const refused = await inParallel(5, 5, () => signInFrom(a, address, wrong(partner.username)));
    expect(tally(refused)).toEqual({ 401: 4, 429: 1 });
    const late = await reportFrom(address, wrong(partner.username));
    expect([late.status, late.json()['code']]).toEqual([429, 'credential.too-many-reports']);
    expect(late.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    expect((await reportFrom(address, wrong(other.username))).status).toBe(202);
    expect((await report(wrong(partner.username))).status).toBe(202);
  });

  it('look the same for known and unknown names and for right passwords, before and after the limit', async () => {
    const [right, known] = [await a.newPartner(), await a.newPartner()];
    const nobody = unknown();
    const ofEach = await Promise.all(
      [right, wrong(known.username), nobody].map((credentials) => {
        const address = newAddress();
        return inParallel(13, 13, () => reportFrom(address, credentials));
      }),
    );
    expect(ofEach.map(tally)).toEqual(Array(3).fill({ 202: 10, 429: 3 }));
    const forms = ofEach.flat().map((answer) => formOf(answer).replace(/\["retry-after","\d+"\]/, ''));
    expect(new Set(forms).size).toBe(2);
    expect(await reports(right.id)).toHaveLength(1);
  });

  it('are those of the address too', async () => {
    const address = newAddress();
    const answers = await inParallel(101, 50, () => reportFrom(address, unknown()));
    expect(tally(answers)).toEqual({ 202: 100, 429: 1 });
  });

  it('keep nobody from ending a generated password, although the answer is 429', async () => {
    const partner = await a.newPartner();
    const imported = await a.newPartner();
    const password = secret(`Sommer-${randomBytes(4).toString('hex')}`);
    const id = await importPassword(a, imported.id, await bcrypt.hash(password, 4));
    const address = newAddress();
    for (const { username } of [partner, imported]) {
      await inParallel(10, 10, () => reportFrom(address, wrong(username)));
    }
    const answers = [
      await reportFrom(address, partner),
      await reportFrom(address, wrong(partner.username)),
      await reportFrom(address, withPassword(imported, password)),
    ];
    expect(tally(answers)).toEqual({ 429: 3 });
    await until(async () => (await statuses(partner.id, partner.credentialId))[0] === 'revoked', 'it has ended');
    // An imported one could be guessed, so it is not checked while a wait is on.
    expect(await statuses(imported.id, id)).toEqual(['active']);
    passLimits(a, 901_000);
    expect((await reportFrom(address, withPassword(imported, password))).status).toBe(202);
    expect(await statuses(imported.id, id)).toEqual(['revoked']);
  });
});

describe('reports at the same moment', () => {
  it('on two instances end the password once', async () => {
    const partner = await a.newPartner();
    const child = await createWith(a, partner);
    const answers = await inParallel(20, 20, (i) => report(partner, i % 2 === 0 ? a : b));
    expect(tally(answers)).toEqual({ 202: 20 });
    expect(await statuses(partner.id, partner.credentialId, child.id)).toEqual(['revoked', 'revoked']);
    expect((await actions(partner.id)).slice(3)).toEqual(['credential.reported-leaked', 'credential.revoked']);
    expect(await notices(partner)).toHaveLength(1);
  });

  it('as a first use leave no working password', async () => {
    for (let round = 0; round < 10; round++) {
      const partner = await a.newPartner();
      const next = await rotate(partner.id);
      const own = withPassword(partner, next.password);
      const [used] = await Promise.all([signIn(own, round % 2 === 0 ? a : b), reported(own)]);
      const [status, ...others] = await statuses(partner.id, next.id, partner.credentialId);
      expect([
        '200 token revoked credential.activated,credential.retired,credential.reported-leaked',
        '401 invalid_credentials withdrawn credential.reported-leaked',
      ]).toContain(`${used} ${String(status)} ${(await actions(partner.id)).slice(1).join()}`);
      expect(others).toEqual(['active']);
      expect([await signIn(own, a), await signIn(partner)]).toEqual(['401 invalid_credentials', '200 token']);
    }
  });

  it('as a withdrawal end in one of both', async () => {
    for (let round = 0; round < 10; round++) {
      const partner = await a.newPartner();
      const next = await rotate(partner.id);
      const path = `${USERS}/${partner.id}/credentials/${next.id}/withdraw`;
      const [withdrawn] = await Promise.all([call('POST', path), reported(withPassword(partner, next.password), b)]);
      expect(await statuses(partner.id, next.id, partner.credentialId)).toEqual(['withdrawn', 'active']);
      expect(['200 credential.withdrawn,credential.reported-leaked', '409 credential.reported-leaked']).toContain(
        `${String(withdrawn.status)} ${(await actions(partner.id)).slice(1).join()}`,
      );
    }
  });

  it('as a rotation by staff leave what staff created alone', async () => {
    for (let round = 0; round < 10; round++) {
      const partner = await a.newPartner();
      const [next] = await Promise.all([rotate(partner.id), reported(partner, b)]);
      expect(await statuses(partner.id, partner.credentialId)).toEqual(['revoked']);
      expect(await signIn(partner, a)).toBe('401 invalid_credentials');
      expect(await signIn(withPassword(partner, next.password))).toBe('200 token');
      expect(await reports(partner.id)).toHaveLength(1);
    }
  });

  it('as the deletion of the account are answered as ever', async () => {
    const partner = await a.newPartner();
    const { answer } = await whileLocked(partner, async (client) => {
      const answer = report(partner, b);
      await blocked();
      await client.query('DELETE FROM channel_user WHERE id = $1', [partner.id]);
      // In an object, since the answer comes only after the lock is released.
      return { answer };
    });
    expect((await answer).status).toBe(202);
  });
});
