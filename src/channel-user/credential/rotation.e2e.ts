import type pg from 'pg';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { onDatabase } from '../../../test/support/database.ts';
import { changeFeedOf, trustFeed } from '../../../test/support/inside.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { secret } from '../../../test/support/secrets.ts';
import { eventually, tally, unlessBusy, until } from '../../../test/support/sign-ins.ts';

type Role = 'viewer' | 'operator' | 'admin';
interface Credential {
  id: string;
  label: string;
  status: string;
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
  pendingSince: string | null;
  pendingUntil: string | null;
  retireOthers: { after: string; seconds: number } | null;
  activatedAt: string | null;
  startedBy: { type: string; id: string | null; name: string | null } | null;
  lastUsedAt: string | null;
}
type NewCredential = Credential & { password: string };
interface AuditEvent {
  action: string;
  actor: { type: string; id: string | null };
  address: string | null;
  requestId: string | null;
  changes: Record<string, [unknown, unknown]>;
}

const USERS = '/admin/channel-users';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const DAY_MS = 86_400_000;

/** Two instances on one database. The second one reaches PostgreSQL through a proxy. */
let a: TestApp;
let b: TestApp;
let proxy: PostgresProxy;

beforeAll(async () => {
  a = await TestApp.start();
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

/** Tokens of staff at a clock offset, since their sessions end. */
const sessions = new Map<string, string>();
async function as(role: Role): Promise<string> {
  const key = `${role} ${String(a.clockOffset)}`;
  const token = sessions.get(key) ?? (await a.newStaff(role)).token;
  sessions.set(key, token);
  return token;
}
const call = async (method: string, path: string, json?: unknown, role: Role = 'admin'): Promise<Answer> =>
  a.request(method, `${USERS}/${path}`, { token: await as(role), ...(json !== undefined && { json }) });

const post = (id: string, json: unknown = {}): Promise<Answer> => call('POST', `${id}/credentials`, json);
const rotate = async (id: string, json: unknown = {}): Promise<NewCredential> => {
  const { credential } = (await post(id, json)).expect(201).json<{ credential: NewCredential }>();
  secret(credential.password);
  return credential;
};
const list = async (id: string): Promise<Credential[]> =>
  (await call('GET', `${id}/credentials`)).expect(200).json<{ items: Credential[] }>().items;
const one = async (user: string, id: string): Promise<Credential> => {
  const found = (await list(user)).find((credential) => credential.id === id);
  if (!found) throw new Error('The credential is not in the list');
  return found;
};
const statusOf = async (user: string, id: string): Promise<string> => (await one(user, id)).status;
const withdraw = (user: string, id: string): Promise<Answer> => call('POST', `${user}/credentials/${id}/withdraw`);
const trail = async (id: string): Promise<AuditEvent[]> => {
  const path = `/admin/audit-events?target=${id}&limit=200`;
  return (await a.request('GET', path, { token: await as('viewer') })).json<{ items: AuditEvent[] }>().items;
};
const actionsOf = async (id: string): Promise<string[]> => (await trail(id)).map(({ action }) => action).reverse();
/** The events of a channel user after its creation. */
const laterActions = async (id: string): Promise<string[]> => (await actionsOf(id)).slice(2);

/** The newest entries of the activity, once this many are written. The other instance writes its own in batches. */
const activityOf = (id: string, count: number): Promise<Record<string, unknown>[]> =>
  eventually(async () => {
    const { items } = (await call('GET', `${id}/activity`)).json<{ items: Record<string, unknown>[] }>();
    return items.length >= count ? items : undefined;
  }, 'the activity is written');

const signIn = (partner: Partner, password = partner.password, app = b): Promise<Answer> =>
  app.request('POST', '/generateToken', { form: { Username: partner.username, Password: password } });
const outcome = async (partner: Partner, password = partner.password, app = b): Promise<string> => {
  const answer = await signIn(partner, password, app);
  if (answer.status === 200) secret(answer.text);
  return `${String(answer.status)} ${answer.headers.get('error-code') ?? 'token'}`;
};
const basic = ({ username }: Partner, password: string): Record<string, string> => ({
  authorization: `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`,
});
const oauth = (path: string, partner: Partner, password: string, form: Record<string, string>): Promise<Answer> =>
  b.request('POST', `/oauth2/${path}`, { headers: basic(partner, password), form });
const seconds = (from: string | null, to: string | null): number =>
  Math.round((Date.parse(to ?? '') - Date.parse(from ?? '')) / 1000);

function expectProblem(answer: Answer, status: number, code: string, fields?: string[]): void {
  const problem = answer.json<{ code: string; errors?: { field: string }[] }>();
  expect({ status: answer.status, code: problem.code }).toEqual({ status, code });
  if (fields) expect((problem.errors ?? []).map(({ field }) => field)).toEqual(fields);
}

describe('a rotation', () => {
  it('waits for the first token of the new password by default', async () => {
    const partner = await a.newPartner();
    const operator = await a.newStaff('operator');
    const answer = await a.request('POST', `${USERS}/${partner.id}/credentials`, { token: operator.token, json: {} });
    const { password, ...next } = answer.expect(201).json<{ credential: NewCredential }>().credential;
    secret(password);
    expect(next).toMatchObject({
      status: 'pending',
      pendingSince: next.createdAt,
      retireOthers: { after: 'first-use', seconds: 86_400 },
      activatedAt: null,
      startedBy: { type: 'staff', id: operator.id, name: 'Staff operator' },
      expiresAt: null,
    });
    expect(seconds(next.createdAt, next.pendingUntil)).toBe(30 * 86_400);
    expect(await one(partner.id, next.id)).toEqual(next);
    expect(await one(partner.id, partner.credentialId)).toMatchObject({ status: 'active', expiresAt: null });

    pass(29 * DAY_MS);
    expect(await outcome(partner)).toBe('200 token');
    expect(await statusOf(partner.id, next.id)).toBe('pending');

    expect(await outcome(partner, password)).toBe('200 token');
    const used = await one(partner.id, next.id);
    expect(used).toMatchObject({ status: 'active', pendingSince: null, pendingUntil: null, retireOthers: null });
    expect(seconds(used.activatedAt, (await one(partner.id, partner.credentialId)).expiresAt)).toBe(86_400);
    expect(await outcome(partner)).toBe('200 token');

    pass(DAY_MS);
    expect([await outcome(partner), await outcome(partner, password)]).toEqual(['403 credential_expired', '200 token']);
  });

  it('records who used the new password first, once', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id, { label: 'next' });
    const first = await signIn(partner, next.password);
    secret(first.text);
    await outcome(partner, next.password);
    await outcome(partner, next.password, a);
    const [created, activated, retired, ...others] = (await trail(partner.id)).reverse().slice(2);
    expect(others).toEqual([]);
    expect(created).toMatchObject({
      action: 'credential.created',
      changes: { status: [null, 'pending'], retireOthers: [null, { after: 'first-use', seconds: 86_400 }] },
    });
    expect(activated).toMatchObject({
      action: 'credential.activated',
      actor: { type: 'system', id: null },
      address: '127.0.0.1',
      requestId: first.headers.get('x-request-id'),
      changes: { credentialId: [next.id, next.id], label: ['next', 'next'], status: ['pending', 'active'] },
    });
    expect(retired).toMatchObject({
      action: 'credential.retired',
      requestId: first.headers.get('x-request-id'),
      changes: { credentialId: [partner.credentialId, partner.credentialId] },
    });
  });

  it.each([0, 60, 315_360_000])('lets the others end %p seconds after the first use', async (wait) => {
    const partner = await a.asPartner();
    const next = await rotate(partner.id, { retireOthers: { after: 'first-use', seconds: wait } });
    expect(next.retireOthers).toEqual({ after: 'first-use', seconds: wait });
    pass(3_000_000);
    expect(await outcome(partner)).toBe('200 token');
    expect(await outcome(partner, next.password)).toBe('200 token');
    const { activatedAt } = await one(partner.id, next.id);
    expect(seconds(activatedAt, (await one(partner.id, partner.credentialId)).expiresAt)).toBe(wait);
    expect(await outcome(partner)).toBe(wait === 0 ? '403 credential_expired' : '200 token');
    expect((await b.request('GET', '/me', { token: partner.token })).status).toBe(200);
  });

  it('never extends the life of another password', async () => {
    const partner = await a.newPartner();
    const expiresAt = new Date(Date.now() + 600_000).toISOString();
    const short = await rotate(partner.id, { expiresAt, retireOthersInSeconds: null });
    const next = await rotate(partner.id);
    expect(await outcome(partner, next.password)).toBe('200 token');
    expect((await one(partner.id, short.id)).expiresAt).toBe(expiresAt);
    const { activatedAt } = await one(partner.id, next.id);
    expect(seconds(activatedAt, (await one(partner.id, partner.credentialId)).expiresAt)).toBe(86_400);
  });

  it('is completed by a token of /oauth2/token, too', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    const answer = await oauth('token', partner, next.password, { grant_type: 'client_credentials' });
    secret(answer.expect(200).json<{ access_token: string }>().access_token);
    expect(await statusOf(partner.id, next.id)).toBe('active');
    expect(await laterActions(partner.id)).toEqual([
      'credential.created',
      'credential.activated',
      'credential.retired',
    ]);
  });

  it('is active at once when no other password is live', async () => {
    const partner = await a.newPartner();
    await call('DELETE', `${partner.id}/credentials/${partner.credentialId}`);
    const next = await rotate(partner.id, { retireOthers: { after: 'first-use', seconds: 5 } });
    expect(next).toMatchObject({ status: 'active', pendingSince: null, retireOthers: null, activatedAt: null });
    expect(await outcome(partner, next.password)).toBe('200 token');
    expect(await laterActions(partner.id)).toEqual(['credential.revoked', 'credential.created']);
  });

  it('outlives an old password that expires by itself first', async () => {
    const expiresAt = new Date(Date.now() + 60_000).toISOString();
    const partner = await a.newPartner();
    const short = await rotate(partner.id, { expiresAt, retireOthersInSeconds: 0 });
    const next = await rotate(partner.id);
    pass(61_000);
    expect(await outcome(partner, short.password)).toBe('403 credential_expired');
    expect(await statusOf(partner.id, next.id)).toBe('pending');
    expect(await outcome(partner, next.password)).toBe('200 token');
    expect(await statusOf(partner.id, next.id)).toBe('active');
    expect((await one(partner.id, short.id)).expiresAt).toBe(expiresAt);
  });

  it('goes on waiting while the account is suspended', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    await call('POST', `${partner.id}/suspend`, { reason: 'x' });
    expect(await outcome(partner, next.password)).toBe('403 account_suspended');
    expect(await statusOf(partner.id, next.id)).toBe('pending');
    await call('POST', `${partner.id}/reactivate`, {});
    expect(await statusOf(partner.id, next.id)).toBe('pending');
    expect([await outcome(partner), await outcome(partner, next.password)]).toEqual(['200 token', '200 token']);
    expect(await statusOf(partner.id, next.id)).toBe('active');
  });

  it('counts among the five live passwords', async () => {
    const partner = await a.newPartner();
    for (let i = 0; i < 3; i++) await rotate(partner.id, { retireOthersInSeconds: null });
    const fifth = await rotate(partner.id);
    expect(fifth.status).toBe('pending');
    // The replaced one is not counted, and neither are those that end at once.
    const again = await rotate(partner.id, { replaces: fifth.id });
    expect(await outcome(partner, again.password)).toBe('200 token');
    expectProblem(await post(partner.id), 409, 'credential.too-many');
    expect((await rotate(partner.id, { retireOthers: { after: 'now', seconds: 0 } })).status).toBe('active');
  });

  it.each([
    [{ retireOthers: { after: 'now', seconds: 60 } }, 60],
    [{ retireOthers: { after: 'now' } }, 86_400],
    [{ retireOthersInSeconds: 60 }, 60],
    [{ retireOthersInSeconds: 0 }, 0],
    [{ retireOthersInSeconds: null }, undefined],
  ])('does not wait with %j', async (json, wait) => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id, json);
    expect(next).toMatchObject({ status: 'active', retireOthers: null });
    const { expiresAt } = await one(partner.id, partner.credentialId);
    if (wait === undefined) expect(expiresAt).toBeNull();
    else expect(Math.abs(seconds(next.createdAt, expiresAt) - wait)).toBeLessThanOrEqual(1);
  });

  it.each([{ retireOthers: null }, { retireOthers: {} }, { retireOthers: { seconds: 86_400 } }])(
    'waits a day after the first use with %j',
    async (json) => {
      const { id } = await a.newPartner();
      const next = await rotate(id, json);
      expect(next).toMatchObject({ status: 'pending', retireOthers: { after: 'first-use', seconds: 86_400 } });
    },
  );

  it.each([
    [{ retireOthers: { after: 'now', seconds: 0 }, retireOthersInSeconds: 0 }, ['retireOthers']],
    [{ retireOthers: {}, retireOthersInSeconds: null }, ['retireOthers']],
    [{ retireOthers: { after: 'later' } }, ['retireOthers.after']],
    [{ retireOthers: { after: null } }, ['retireOthers.after']],
    [{ retireOthers: { seconds: -1 } }, ['retireOthers.seconds']],
    [{ retireOthers: { seconds: 315_360_001 } }, ['retireOthers.seconds']],
    [{ retireOthers: { seconds: 1.5 } }, ['retireOthers.seconds']],
    [{ retireOthers: { seconds: null } }, ['retireOthers.seconds']],
    [{ retireOthers: { hours: 1 } }, ['retireOthers.hours']],
    [{ retireOthers: 60 }, ['retireOthers']],
    [{ retireOthers: [] }, ['retireOthers']],
    [{ replaces: 'x' }, ['replaces']],
    [{ replaces: null }, ['replaces']],
  ])('is refused with %j', async (json, fields) => {
    const { id } = await a.newPartner();
    expectProblem(await post(id, json), 400, 'request.invalid', fields);
    expect(await list(id)).toHaveLength(1);
  });
});

describe('a second rotation', () => {
  it('is refused while one is pending, and says which and how to withdraw it', async () => {
    const partner = await a.newPartner();
    const operator = await a.newStaff('operator');
    const path = `${USERS}/${partner.id}/credentials`;
    const first = await a.request('POST', path, { token: operator.token, json: {} });
    const next = first.expect(201).json<{ credential: NewCredential }>().credential;
    secret(next.password);
    const refused = await post(partner.id);
    expectProblem(refused, 409, 'credential.rotation-pending');
    expect(refused.json()).toMatchObject({
      credentialId: next.id,
      pendingSince: next.createdAt,
      startedBy: { type: 'staff', id: operator.id, name: 'Staff operator' },
      withdraw: `POST ${path}/${next.id}/withdraw`,
    });
    expect(await laterActions(partner.id)).toEqual(['credential.created']);
    const [method = '', withdrawPath = ''] = refused.json<{ withdraw: string }>().withdraw.split(' ');
    expect((await a.request(method, withdrawPath, { token: operator.token })).status).toBe(200);
    await rotate(partner.id);
  });

  it('does not name staff who are gone', async () => {
    const partner = await a.newPartner();
    const operator = await a.newStaff('operator');
    const path = `${USERS}/${partner.id}/credentials`;
    const made = await a.request('POST', path, { token: operator.token, json: {} });
    secret(made.expect(201).json<{ credential: NewCredential }>().credential.password);
    await a.request('DELETE', `/admin/staff/${operator.id}`, { token: await as('admin') });
    expect((await post(partner.id)).json()).toMatchObject({
      startedBy: { type: 'staff', id: operator.id, name: null },
    });
  });

  it('may replace the pending one, whose link then shows nothing', async () => {
    const partner = await a.newPartner();
    const made = await post(partner.id, { deliver: 'link' });
    const { credential: first, handoverUrl } = made.expect(201).json<{ credential: Credential; handoverUrl: string }>();
    const link = secret(handoverUrl.split('#')[1] ?? '');
    const next = await rotate(partner.id, { replaces: first.id });
    expect(await one(partner.id, first.id)).toMatchObject({ status: 'withdrawn', pendingSince: null });
    expect(next.status).toBe('pending');
    expect((await a.request('POST', '/handover/reveal', { json: { secret: link } })).status).toBe(410);
    expect(await laterActions(partner.id)).toEqual([
      'credential.created',
      'handover.created',
      'handover.revoked',
      'credential.withdrawn',
      'credential.created',
      'handover.refused',
    ]);
    const created = (await trail(partner.id)).find(({ action }) => action === 'credential.created');
    expect(created?.changes['replaces']).toEqual([null, first.id]);
    expect([await outcome(partner), await outcome(partner, next.password)]).toEqual(['200 token', '200 token']);
  });

  it('replaces only a pending credential of the same channel user', async () => {
    const [partner, other] = [await a.newPartner(), await a.newPartner()];
    const ofOther = await rotate(other.id);
    for (const replaces of [UNKNOWN, ofOther.id]) {
      expectProblem(await post(partner.id, { replaces }), 404, 'credential.not-found');
    }
    expectProblem(await post(partner.id, { replaces: partner.credentialId }), 409, 'credential.not-pending');
    const next = await rotate(partner.id);
    expectProblem(await post(partner.id, { replaces: partner.credentialId }), 409, 'credential.not-pending');
    await outcome(partner, next.password);
    expectProblem(await post(partner.id, { replaces: next.id }), 409, 'credential.not-pending');
    expect(await statusOf(other.id, ofOther.id)).toBe('pending');
  });

  it('that replaces the pending one loses to a first use, or the first use to it', async () => {
    for (let round = 0; round < 12; round++) {
      const partner = await a.newPartner();
      const first = await rotate(partner.id);
      const use = (): Promise<string> => outcome(partner, first.password);
      const replace = (): Promise<Answer> => post(partner.id, { replaces: first.id });
      const [used, replaced] =
        round % 2 === 0
          ? await Promise.all([use(), replace()])
          : (([answer, text]) => [text, answer] as const)(await Promise.all([replace(), use()]));
      if (replaced.status === 201) secret(replaced.json<{ credential: NewCredential }>().credential.password);
      else expectProblem(replaced, 409, 'credential.not-pending');
      const status = await statusOf(partner.id, first.id);
      expect(['200 token 409 active', '401 invalid_credentials 201 withdrawn']).toContain(
        `${used} ${String(replaced.status)} ${status}`,
      );
      expect(await outcome(partner)).toBe('200 token');
      const pending = (await list(partner.id)).filter((each) => each.status === 'pending');
      expect(pending).toHaveLength(replaced.status === 201 ? 1 : 0);
    }
  });

  it('that replaces the pending one happens once, and not after a withdrawal', async () => {
    for (let round = 0; round < 6; round++) {
      const partner = await a.newPartner();
      const first = await rotate(partner.id);
      const token = await as('admin');
      const path = `${USERS}/${partner.id}/credentials`;
      const json = { replaces: first.id };
      const answers = await Promise.all([
        ...[a, b, a, b].map((on) => unlessBusy(() => on.request('POST', path, { token, json }))),
        unlessBusy(() => b.request('POST', `${path}/${first.id}/withdraw`, { token })),
      ]);
      const won = answers.filter(({ status }) => status < 300);
      expect(won).toHaveLength(1);
      for (const answer of answers) {
        if (answer.status === 201) secret(answer.json<{ credential: NewCredential }>().credential.password);
        else if (answer.status !== 200) expectProblem(answer, 409, 'credential.not-pending');
      }
      expect(await statusOf(partner.id, first.id)).toBe('withdrawn');
      expect((await laterActions(partner.id)).filter((action) => action === 'credential.withdrawn')).toHaveLength(1);
      expect(await outcome(partner)).toBe('200 token');
    }
  });

  it.each([
    { retireOthers: { after: 'now', seconds: 60 } },
    { retireOthersInSeconds: 60 },
    { retireOthersInSeconds: null },
  ])('withdraws the pending one by itself with %j', async (json) => {
    const partner = await a.newPartner();
    const waiting = await rotate(partner.id);
    const next = await rotate(partner.id, json);
    expect([await statusOf(partner.id, waiting.id), next.status]).toEqual(['withdrawn', 'active']);
    expect(await outcome(partner, waiting.password)).toBe('401 invalid_credentials');
    expect([await outcome(partner), await outcome(partner, next.password)]).toEqual(['200 token', '200 token']);
  });

  it('may follow when the pending one has expired unused', async () => {
    const partner = await a.newPartner();
    const short = await rotate(partner.id, { expiresAt: new Date(Date.now() + 60_000).toISOString() });
    expect(short.pendingUntil).toBe(short.expiresAt);
    pass(61_000);
    expect(await outcome(partner, short.password)).toBe('403 credential_expired');
    expectProblem(await post(partner.id, { replaces: short.id }), 409, 'credential.not-pending');
    const next = await rotate(partner.id);
    expect([await statusOf(partner.id, short.id), next.status]).toEqual(['withdrawn', 'pending']);
    const withdrawn = (await trail(partner.id)).find(({ action }) => action === 'credential.withdrawn');
    expect(withdrawn?.actor.type).toBe('system');
  });

  it('is begun by one of twenty requests at once', async () => {
    const partner = await a.newPartner();
    const answers = await Promise.all(Array.from({ length: 20 }, () => unlessBusy(() => post(partner.id))));
    for (const answer of answers) {
      if (answer.status === 201) secret(answer.json<{ credential: NewCredential }>().credential.password);
      else expectProblem(answer, 409, 'credential.rotation-pending');
    }
    expect(tally(answers)).toEqual({ 201: 1, 409: 19 });
    expect((await list(partner.id)).map(({ status }) => status)).toEqual(['pending', 'active']);
  });

  it('by an older version is refused with 503 while one is pending, since it would end both passwords', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    const older = `INSERT INTO credential (channel_user_id, label, secret_hash) VALUES ($1, 'older', '$sha256$x')`;
    const insert = (): Promise<unknown> => a.dataSource.query(older, [partner.id]);
    await expect(insert()).rejects.toMatchObject({ driverError: { code: '55P03' } });
    await outcome(partner, next.password);
    await insert();
  });
});

describe('withdrawing a pending password', () => {
  it('ends it like a revoked one, and the others go on', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    const answer = await withdraw(partner.id, next.id);
    expect(answer.expect(200).json()).toEqual(await one(partner.id, next.id));
    expect(answer.json()).toMatchObject({ id: next.id, status: 'withdrawn', pendingSince: null, retireOthers: null });
    expect(answer.json<Credential>().revokedAt).not.toBeNull();
    expect([await outcome(partner, next.password), await outcome(partner)]).toEqual([
      '401 invalid_credentials',
      '200 token',
    ]);
    expect(await one(partner.id, partner.credentialId)).toMatchObject({ status: 'active', expiresAt: null });
    expect((await trail(partner.id))[0]).toMatchObject({
      action: 'credential.withdrawn',
      actor: { type: 'staff' },
      changes: { credentialId: [next.id, next.id], status: ['pending', 'withdrawn'] },
    });
  });

  it('needs a pending one of this channel user', async () => {
    const [partner, other] = [await a.newPartner(), await a.newPartner()];
    const ofOther = await rotate(other.id);
    for (const id of [UNKNOWN, 'x', ofOther.id]) {
      expectProblem(await withdraw(partner.id, id), 404, 'credential.not-found');
    }
    expectProblem(await withdraw(UNKNOWN, ofOther.id), 404, 'channel-user.not-found');
    expectProblem(await withdraw(partner.id, partner.credentialId), 409, 'credential.not-pending');
    await withdraw(other.id, ofOther.id);
    expectProblem(await withdraw(other.id, ofOther.id), 409, 'credential.not-pending');
    const used = await rotate(other.id);
    await outcome(other, used.password);
    expectProblem(await withdraw(other.id, used.id), 409, 'credential.not-pending');
    const revoked = await rotate(partner.id);
    await call('DELETE', `${partner.id}/credentials/${revoked.id}`);
    expect(await statusOf(partner.id, revoked.id)).toBe('revoked');
    expectProblem(await withdraw(partner.id, revoked.id), 409, 'credential.not-pending');
  });

  it('needs an operator', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    const path = `${partner.id}/credentials/${next.id}/withdraw`;
    expect((await call('POST', path, undefined, 'viewer')).status).toBe(403);
    expect((await a.request('POST', `${USERS}/${path}`)).status).toBe(401);
    expect(await statusOf(partner.id, next.id)).toBe('pending');
    expect((await call('POST', path, undefined, 'operator')).status).toBe(200);
  });

  it('by ten requests at once happens once', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    const answers = await Promise.all(Array.from({ length: 10 }, () => withdraw(partner.id, next.id)));
    expect(tally(answers)).toEqual({ 200: 1, 409: 9 });
    expect(await laterActions(partner.id)).toEqual(['credential.created', 'credential.withdrawn']);
  });
});

describe('what is no first use', () => {
  it('leaves a pending password pending', async () => {
    const partner = await a.asPartner({ scopes: ['a'], tokensPerMinute: 1 });
    const next = await rotate(partner.id);
    const form = { token: partner.token };
    expect((await oauth('introspect', partner, next.password, form)).expect(200).json()['active']).toBe(true);
    expect((await oauth('revoke', partner, next.password, form)).status).toBe(200);
    const scope = { grant_type: 'client_credentials', scope: 'b' };
    expect((await oauth('token', partner, next.password, scope)).json()['error']).toBe('invalid_scope');
    expect(await outcome(partner)).toBe('200 token');
    expect(await outcome(partner, next.password)).toBe('429 too_many_requests');
    await call('PATCH', partner.id, { expiresAt: '2020-01-01T00:00:00Z' });
    expect(await outcome(partner, next.password, a)).toBe('403 account_expired');
    await call('PATCH', partner.id, { expiresAt: null, allowedIps: ['192.0.2.1'] });
    expect(await outcome(partner, next.password, a)).toBe('401 invalid_credentials');
    expect(await statusOf(partner.id, next.id)).toBe('pending');
    expect(await one(partner.id, partner.credentialId)).toMatchObject({ status: 'active', expiresAt: null });
  });

  it('includes a sign-in on the partner’s page, whose token has no scopes', async () => {
    const partner = await a.newPartner({ scopes: ['a', 'b'] });
    const next = await rotate(partner.id);
    const headers = { 'latchkey-client': 'partner-page', accept: 'application/json' };
    const form = { Username: partner.username, Password: next.password };
    const byForm = await b.request('POST', '/generateToken', { headers, form });
    const byOauth = await b.request('POST', '/oauth2/token', {
      headers: { ...headers, ...basic(partner, next.password) },
      form: { grant_type: 'client_credentials', scope: 'a' },
    });
    for (const answer of [byForm, byOauth]) {
      const { access_token: token, scope } = answer.expect(200).json<{ access_token: string; scope: string }>();
      expect(scope).toBe('');
      const me = await b.request('GET', '/me', { token: secret(token) });
      expect(me.expect(200).json()).toMatchObject({ scopes: [], credential: { id: next.id } });
    }
    expect(await one(partner.id, next.id)).toMatchObject({ status: 'pending', lastUsedAt: null });
    expect((await activityOf(partner.id, 2)).map(({ reason }) => reason)).toEqual(['partner_page', 'partner_page']);

    // Any other client is software.
    const other = { ...headers, 'latchkey-client': 'ours' };
    const answer = await b.request('POST', '/generateToken', { headers: other, form });
    const { access_token: token, scope } = answer.expect(200).json<{ access_token: string; scope: string }>();
    secret(token);
    expect([scope, await statusOf(partner.id, next.id)]).toEqual(['a b', 'active']);
    // Staff may end tokens of the page with its password.
    await call('DELETE', `${partner.id}/credentials/${next.id}`);
    expect(
      (await b.request('GET', '/me', { token: byForm.json<{ access_token: string }>().access_token })).status,
    ).toBe(401);
  });
});

describe('a first use', () => {
  it('of forty at once on two instances is written once', async () => {
    const partner = await a.newPartner({ tokensPerMinute: 1000 });
    const next = await rotate(partner.id);
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, i) => signIn(partner, next.password, i % 2 === 0 ? a : b)),
    );
    for (const { text } of answers) secret(text);
    expect(tally(answers)).toEqual({ 200: 40 });
    expect(await laterActions(partner.id)).toEqual([
      'credential.created',
      'credential.activated',
      'credential.retired',
    ]);
  });

  it('and a withdrawal at the same time end in one of both', async () => {
    for (let round = 0; round < 15; round++) {
      const partner = await a.newPartner();
      const next = await rotate(partner.id);
      // So that the account is in memory.
      await outcome(partner);
      const [used, withdrawn] = await Promise.all([outcome(partner, next.password), withdraw(partner.id, next.id)]);
      const status = await statusOf(partner.id, next.id);
      const last = (await laterActions(partner.id))[1];
      expect([
        '200 token 409 active credential.activated',
        '401 invalid_credentials 200 withdrawn credential.withdrawn',
      ]).toContain(`${used} ${String(withdrawn.status)} ${status} ${String(last)}`);
      expect(await outcome(partner)).toBe('200 token');
    }
  });

  /** Lets a first use wait for the lock of its account, changes something there, and returns what the sign-in got. */
  async function whileWaiting(partner: Partner, password: string, statement: string, id: string): Promise<string> {
    const ended = onDatabase(a.databaseUrl, async (client: pg.Client) => {
      await client.query('BEGIN');
      await client.query('SELECT FROM channel_user WHERE id = $1 FOR UPDATE', [partner.id]);
      const answer = outcome(partner, password);
      await until(async () => {
        const { rows } = await client.query(`SELECT FROM pg_locks WHERE NOT granted AND database = (
          SELECT oid FROM pg_database WHERE datname = current_database()) OR NOT granted AND database IS NULL`);
        return rows.length > 0;
      }, 'the first use waits for the lock');
      await client.query(statement, [id]);
      await client.query('COMMIT');
      return answer;
    });
    return ended;
  }

  it('is refused like a revoked password when a withdrawal was first', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    const statement = 'UPDATE credential SET revoked_at = now(), withdrawn_at = now() WHERE id = $1';
    expect(await whileWaiting(partner, next.password, statement, next.id)).toBe('401 invalid_credentials');
    expect(await activityOf(partner.id, 1)).toMatchObject([
      { outcome: 'refused', reason: 'revoked_credential', credentialId: next.id },
    ]);
    expect(await laterActions(partner.id)).toEqual(['credential.created']);
    expect(await outcome(partner)).toBe('200 token');
  });

  it('is refused when the account was suspended or deleted first', async () => {
    const [suspended, deleted] = [await a.newPartner(), await a.newPartner()];
    const first = await rotate(suspended.id);
    const suspend = 'UPDATE channel_user SET suspended_at = now() WHERE id = $1';
    expect(await whileWaiting(suspended, first.password, suspend, suspended.id)).toBe('403 account_suspended');
    expect(await statusOf(suspended.id, first.id)).toBe('pending');
    const second = await rotate(deleted.id);
    const remove = 'DELETE FROM channel_user WHERE id = $1';
    expect(await whileWaiting(deleted, second.password, remove, deleted.id)).toBe('401 invalid_credentials');
  });

  it('is answered 503 while it cannot be written, and an active password needs no query', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    await until(() => changeFeedOf(b).trusted, 'changes are heard of');
    const distrust = trustFeed(b);
    try {
      expect(await outcome(partner)).toBe('200 token');
      proxy.cut('pool');
      expect(await outcome(partner)).toBe('200 token');
      const refused = await signIn(partner, next.password);
      expect([refused.status, refused.text]).toEqual([503, 'service unavailable']);
      expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
      const form = { grant_type: 'client_credentials' };
      expect((await oauth('token', partner, next.password, form)).status).toBe(503);
    } finally {
      distrust();
      proxy.mend();
    }
    expect(await statusOf(partner.id, next.id)).toBe('pending');
    expect(await laterActions(partner.id)).toEqual(['credential.created']);
    expect(await one(partner.id, partner.credentialId)).toMatchObject({ status: 'active', expiresAt: null });
    await until(async () => (await outcome(partner, next.password)) === '200 token', 'the database answers again');
    expect(await statusOf(partner.id, next.id)).toBe('active');
  });

  it('happens with its audit event or not at all', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    await a.dataSource.query(`
      CREATE FUNCTION refuse_activation() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;
      CREATE TRIGGER tr_refuse_activation BEFORE INSERT ON audit_event FOR EACH ROW
        WHEN (NEW.action = 'credential.activated') EXECUTE FUNCTION refuse_activation()`);
    try {
      expect(await outcome(partner, next.password)).toBe('503 service_unavailable');
    } finally {
      await a.dataSource.query('DROP FUNCTION refuse_activation CASCADE');
    }
    expect(await statusOf(partner.id, next.id)).toBe('pending');
    expect(await one(partner.id, partner.credentialId)).toMatchObject({ status: 'active', expiresAt: null });
    expect(await outcome(partner, next.password)).toBe('200 token');
  });

  it('costs an active password no change of the database', async () => {
    const partner = await a.newPartner();
    const next = await rotate(partner.id);
    await outcome(partner, next.password);
    const before = await trail(partner.id);
    const rows = await list(partner.id);
    for (let i = 0; i < 5; i++) await outcome(partner, next.password, i % 2 === 0 ? a : b);
    expect(await trail(partner.id)).toEqual(before);
    expect((await list(partner.id)).map(({ activatedAt, expiresAt }) => [activatedAt, expiresAt])).toEqual(
      rows.map(({ activatedAt, expiresAt }) => [activatedAt, expiresAt]),
    );
  });
});
