import { createHash } from 'node:crypto';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { secret } from '../../../test/support/secrets.ts';
import { unlessBusy } from '../../../test/support/sign-ins.ts';

interface Credential {
  id: string;
  label: string;
  fingerprint: string | null;
  status: string;
  createdAt: string;
  expiresAt: string | null;
  revokedAt: string | null;
  lastUsedAt: string | null;
}
type NewCredential = Credential & { password: string };
interface Problem {
  code: string;
  errors?: { field: string }[];
}

const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

let app: TestApp;
let token: string;

beforeAll(async () => {
  app = await TestApp.start();
  token = (await app.asStaff('operator')).token;
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

const pathOf = (id: string): string => `/admin/channel-users/${id}/credentials`;
const post = (id: string, json: unknown = {}): Promise<Answer> => app.request('POST', pathOf(id), { token, json });
const credentialOf = (answer: Answer): NewCredential => {
  expect({ status: answer.status, text: answer.status === 201 ? '' : answer.text }).toEqual({ status: 201, text: '' });
  const { credential } = answer.json<{ credential: NewCredential }>();
  secret(credential.password);
  return credential;
};
const add = async (id: string, json: unknown = {}): Promise<NewCredential> => credentialOf(await post(id, json));
const list = async (id: string): Promise<Credential[]> => {
  const answer = await app.request('GET', pathOf(id), { token: (await app.asStaff('viewer')).token });
  expect(answer.status).toBe(200);
  const body = answer.json<{ items: Credential[] }>();
  expect(Object.keys(body)).toEqual(['items']);
  return body.items;
};
const one = async (user: string, id: string): Promise<Credential> => {
  const found = (await list(user)).find((credential) => credential.id === id);
  if (!found) throw new Error('The credential is not in the list');
  return found;
};
const revoke = (user: string, id: string): Promise<Answer> => app.request('DELETE', `${pathOf(user)}/${id}`, { token });
const signIn = ({ username }: Partner, password: string): Promise<Answer> =>
  app.request('POST', '/generateToken', { form: { Username: username, Password: password } });
const outcome = async (partner: Partner, password: string): Promise<string> => {
  const answer = await signIn(partner, password);
  if (answer.status === 200) secret(answer.text);
  return `${String(answer.status)} ${answer.headers.get('error-code') ?? 'token'}`;
};
const meStatus = async (bearer: string): Promise<number> => (await app.request('GET', '/me', { token: bearer })).status;
const secondsUntil = (at: string | null): number => (Date.parse(at ?? '') - Date.now()) / 1000;

function expectProblem(answer: Answer, status: number, code: string, field?: string): void {
  const problem = answer.json<Problem>();
  expect({ status: answer.status, code: problem.code }).toEqual({ status, code });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  if (field !== undefined) expect((problem.errors ?? []).map((error) => error.field)).toEqual([field]);
}

describe('the list of credentials', () => {
  it('has exactly the fields of the contract, newest first, without password or hash', async () => {
    const partner = await app.newPartner();
    const [first] = await list(partner.id);
    expect(first).toEqual({
      id: partner.credentialId,
      label: expect.any(String) as string,
      fingerprint: createHash('sha256').update(partner.password).digest('hex').slice(0, 8),
      status: 'active',
      createdAt: expect.stringMatching(ISO) as string,
      expiresAt: null,
      revokedAt: null,
      reportedLeakedAt: null,
      pendingSince: null,
      pendingUntil: null,
      retireOthers: null,
      activatedAt: null,
      startedBy: { type: 'staff', id: (await app.asStaff('operator')).id, name: 'Staff operator' },
      lastUsedAt: null,
      lastUsedAddress: null,
      lastUsedUserAgent: null,
    });
    app.clockOffset = 1000;
    const second = await add(partner.id, {
      label: 'second',
      expiresAt: '2090-01-01T01:00:00+01:00',
      retireOthersInSeconds: 86_400,
    });
    const { password, ...shown } = second;
    const items = await list(partner.id);
    expect(items.map(({ id }) => id)).toEqual([second.id, partner.credentialId]);
    expect(items[0]).toEqual(shown);
    expect(shown).toMatchObject({ label: 'second', expiresAt: '2090-01-01T00:00:00.000Z', status: 'active' });
    expect(password).toMatch(UUID_V4);
    expect(shown.fingerprint).toBe(createHash('sha256').update(password).digest('hex').slice(0, 8));
  });

  it('keeps expired and revoked credentials and tells them apart', async () => {
    const partner = await app.newPartner();
    const second = await add(partner.id, { retireOthersInSeconds: 60 });
    await revoke(partner.id, second.id);
    const third = await add(partner.id, {
      expiresAt: new Date(Date.now() + 30_000).toISOString(),
      retireOthersInSeconds: 86_400,
    });
    const states = async (): Promise<Record<string, string>> =>
      Object.fromEntries((await list(partner.id)).map(({ id, status }) => [id, status]));
    expect(await states()).toEqual({ [partner.credentialId]: 'active', [second.id]: 'revoked', [third.id]: 'active' });
    app.clockOffset = 61_000;
    expect(await states()).toEqual({
      [partner.credentialId]: 'expired',
      [second.id]: 'revoked',
      [third.id]: 'expired',
    });
    await revoke(partner.id, third.id);
    expect((await states())[third.id]).toBe('revoked');
  });

  it('shows the last use of each credential', async () => {
    const partner = await app.newPartner();
    const second = await add(partner.id, { retireOthersInSeconds: null });
    await outcome(partner, second.password);
    expect((await one(partner.id, partner.credentialId)).lastUsedAt).toBeNull();
    expect(Math.abs(secondsUntil((await one(partner.id, second.id)).lastUsedAt))).toBeLessThan(10);
  });

  it('does not count a refused sign-in as a use', async () => {
    const partner = await app.newPartner();
    await app.request('POST', `/admin/channel-users/${partner.id}/suspend`, { token, json: { reason: 'r' } });
    expect(await outcome(partner, partner.password)).toBe('403 account_suspended');
    expect((await one(partner.id, partner.credentialId)).lastUsedAt).toBeNull();
  });
});

describe('a new credential', () => {
  it('lets the others work for a day with retireOthersInSeconds 86400', async () => {
    const partner = await app.asPartner();
    const second = await add(partner.id, { retireOthersInSeconds: 86_400 });
    expect(Object.keys(second).sort()).toEqual(
      [
        'activatedAt',
        'createdAt',
        'expiresAt',
        'fingerprint',
        'id',
        'label',
        'lastUsedAt',
        'lastUsedAddress',
        'lastUsedUserAgent',
        'password',
        'pendingSince',
        'pendingUntil',
        'reportedLeakedAt',
        'retireOthers',
        'revokedAt',
        'startedBy',
        'status',
      ].sort(),
    );
    expect(second.expiresAt).toBeNull();
    const left = secondsUntil((await one(partner.id, partner.credentialId)).expiresAt);
    expect(left).toBeGreaterThan(86_400 - 10);
    expect(left).toBeLessThanOrEqual(86_400);
    expect([await outcome(partner, partner.password), await outcome(partner, second.password)]).toEqual([
      '200 token',
      '200 token',
    ]);
    app.clockOffset = 86_400_000;
    expect([await outcome(partner, partner.password), await outcome(partner, second.password)]).toEqual([
      '403 credential_expired',
      '200 token',
    ]);
  });

  it('expires the others at once with retireOthersInSeconds 0 and keeps their tokens', async () => {
    const partner = await app.asPartner();
    const second = await add(partner.id, { retireOthersInSeconds: 0 });
    expect(await outcome(partner, partner.password)).toBe('403 credential_expired');
    expect(await outcome(partner, second.password)).toBe('200 token');
    expect(await meStatus(partner.token)).toBe(200);
    expect((await one(partner.id, partner.credentialId)).status).toBe('expired');
    app.clockOffset = 3_590_000;
    expect(await meStatus(partner.token)).toBe(200);
  });

  it('leaves the others alone with retireOthersInSeconds null', async () => {
    const partner = await app.newPartner();
    await add(partner.id, { retireOthersInSeconds: null });
    expect(await one(partner.id, partner.credentialId)).toMatchObject({ status: 'active', expiresAt: null });
  });

  it('never extends the life of another credential', async () => {
    const partner = await app.newPartner();
    const expiresAt = new Date(Date.now() + 600_000).toISOString();
    const short = await add(partner.id, { expiresAt, retireOthersInSeconds: null });
    await add(partner.id, { retireOthersInSeconds: 3600 });
    expect((await one(partner.id, short.id)).expiresAt).toBe(expiresAt);
    const first = (await one(partner.id, partner.credentialId)).expiresAt;
    expect(secondsUntil(first)).toBeLessThanOrEqual(3600);
    await add(partner.id, { retireOthersInSeconds: 86_400 });
    expect((await one(partner.id, partner.credentialId)).expiresAt).toBe(first);
    await add(partner.id, { retireOthersInSeconds: 60 });
    for (const id of [partner.credentialId, short.id]) {
      expect(secondsUntil((await one(partner.id, id)).expiresAt)).toBeLessThanOrEqual(60);
    }
  });

  it('leaves expired and revoked credentials and other users alone', async () => {
    const other = await app.newPartner();
    const partner = await app.newPartner();
    await add(partner.id, { retireOthersInSeconds: 0 });
    const expired = await one(partner.id, partner.credentialId);
    const revoked = await add(partner.id, { retireOthersInSeconds: null });
    await revoke(partner.id, revoked.id);
    const before = await one(partner.id, revoked.id);
    app.clockOffset = 5000;
    await add(partner.id, { retireOthersInSeconds: 0 });
    expect(await one(partner.id, partner.credentialId)).toEqual(expired);
    expect(await one(partner.id, revoked.id)).toEqual(before);
    expect(await one(other.id, other.credentialId)).toMatchObject({ status: 'active', expiresAt: null });
  });

  it('accepts the limits of its fields', async () => {
    const partner = await app.newPartner();
    expect((await add(partner.id, { label: '\u{1F511}'.repeat(100) })).label).toHaveLength(200);
    await add(partner.id, { expiresAt: null, retireOthersInSeconds: 1 });
  });

  it.each([
    ['label', null],
    ['label', ''],
    ['label', '  '],
    ['label', 5],
    ['label', 'x'.repeat(101)],
    ['label', 'a\u0000'],
    ['label', 'a\nb'],
    ['label', '\ud800'],
    ['expiresAt', ''],
    ['expiresAt', 5],
    ['expiresAt', '2030-02-30T00:00:00Z'],
    ['expiresAt', '2030-01-01'],
    ['retireOthersInSeconds', -1],
    ['retireOthersInSeconds', 1.5],
    ['retireOthersInSeconds', '60'],
    ['retireOthersInSeconds', true],
    ['retireOthersInSeconds', 1e15],
    ['password', 'chosen'],
    ['fingerprint', '00000000'],
    ['constructor', 'x'],
  ])('is refused with %s %p', async (field, value) => {
    const partner = await app.newPartner();
    expectProblem(await post(partner.id, { [field]: value }), 400, 'request.invalid', field);
    expect(await list(partner.id)).toHaveLength(1);
  });

  it('may be created without a body', async () => {
    const partner = await app.newPartner();
    const answer = await app.request('POST', pathOf(partner.id), { token });
    expect(answer.status).toBe(201);
    secret(answer.json<{ credential: NewCredential }>().credential.password);
  });

  it('may be created while the account is suspended or expired', async () => {
    const partner = await app.newPartner({ expiresAt: '2020-01-01T00:00:00Z' });
    const { password } = await add(partner.id);
    expect(await outcome(partner, password)).toBe('403 account_expired');
  });
});

describe('more than five live credentials', () => {
  const fill = async (): Promise<Partner> => {
    const partner = await app.newPartner();
    for (let i = 0; i < 4; i++) await add(partner.id, { retireOthersInSeconds: null });
    return partner;
  };

  it('are refused, and the refusal retires nothing', async () => {
    const partner = await fill();
    for (const retireOthersInSeconds of [undefined, null, 1, 86_400]) {
      expectProblem(await post(partner.id, { retireOthersInSeconds }), 409, 'credential.too-many');
    }
    const items = await list(partner.id);
    expect(items.map(({ status, expiresAt }) => [status, expiresAt])).toEqual(Array(5).fill(['active', null]));
  });

  it('are avoided when the others retire at once', async () => {
    const partner = await fill();
    const newest = await add(partner.id, { retireOthersInSeconds: 0 });
    const items = await list(partner.id);
    expect(items.filter(({ status }) => status === 'active').map(({ id }) => id)).toEqual([newest.id]);
    expect(items).toHaveLength(6);
    for (let i = 0; i < 4; i++) await add(partner.id, { retireOthersInSeconds: null });
    expectProblem(await post(partner.id), 409, 'credential.too-many');
  });

  it('are avoided once one was revoked or has expired', async () => {
    const partner = await fill();
    await revoke(partner.id, partner.credentialId);
    await add(partner.id, { retireOthersInSeconds: 60 });
    expectProblem(await post(partner.id), 409, 'credential.too-many');
    app.clockOffset = 61_000;
    await add(partner.id, { retireOthersInSeconds: null });
  });

  it('are never created by twenty requests at once', async () => {
    const partner = await app.newPartner();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        unlessBusy(() => post(partner.id, { label: String(i), retireOthersInSeconds: i % 2 ? null : 86_400 })),
      ),
    );
    for (const answer of answers) {
      if (answer.status === 201) secret(answer.json<{ credential: NewCredential }>().credential.password);
      else expectProblem(answer, 409, 'credential.too-many');
    }
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(4);
    expect((await list(partner.id)).filter(({ status }) => status === 'active')).toHaveLength(5);
  });

  it('are never created by twenty rotations at once', async () => {
    const partner = await app.newPartner();
    const rotation = { retireOthersInSeconds: 0 };
    const answers = await Promise.all(Array.from({ length: 20 }, () => unlessBusy(() => post(partner.id, rotation))));
    const created = answers.map(credentialOf);
    expect(new Set(created.map(({ password }) => password)).size).toBe(20);
    const items = await list(partner.id);
    expect(items).toHaveLength(21);
    expect(items.filter(({ status }) => status === 'active')).toHaveLength(1);
  });
});

describe('an expired credential', () => {
  it('gets no token, while its earlier tokens live', async () => {
    const partner = await app.newPartner();
    const short = await add(partner.id, {
      expiresAt: new Date(Date.now() + 60_000).toISOString(),
      retireOthersInSeconds: null,
    });
    const bearer = await app.generateToken({ username: partner.username, password: short.password });
    app.clockOffset = 60_001;
    expect(await outcome(partner, short.password)).toBe('403 credential_expired');
    expect(await outcome(partner, partner.password)).toBe('200 token');
    const me = await app.request('GET', '/me', { token: bearer });
    expect({ status: me.status, credential: me.json()['credential'] }).toEqual({
      status: 200,
      credential: { id: short.id, label: short.label, expiresAt: short.expiresAt },
    });
  });

  it('loses its tokens when it is revoked later', async () => {
    const partner = await app.asPartner();
    const second = await add(partner.id, { retireOthersInSeconds: 0 });
    expect(await meStatus(partner.token)).toBe(200);
    expect((await revoke(partner.id, partner.credentialId)).status).toBe(204);
    expect(await meStatus(partner.token)).toBe(401);
    expect(await outcome(partner, partner.password)).toBe('401 invalid_credentials');
    expect(await outcome(partner, second.password)).toBe('200 token');
  });
});

describe('revoking a credential', () => {
  it('ends its password and its tokens, and no others', async () => {
    const partner = await app.asPartner();
    const second = await add(partner.id, { retireOthersInSeconds: null });
    const bearer = await app.generateToken({ username: partner.username, password: second.password });
    const answer = await revoke(partner.id, second.id);
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect([await meStatus(bearer), await meStatus(partner.token)]).toEqual([401, 200]);
    expect(await outcome(partner, second.password)).toBe('401 invalid_credentials');
    expect(await outcome(partner, partner.password)).toBe('200 token');
    const { status, revokedAt } = await one(partner.id, second.id);
    expect({ status, revokedAt }).toEqual({ status: 'revoked', revokedAt: expect.stringMatching(ISO) as string });
  });

  it('twice changes nothing', async () => {
    const partner = await app.newPartner();
    expect((await revoke(partner.id, partner.credentialId)).status).toBe(204);
    const before = await one(partner.id, partner.credentialId);
    app.clockOffset = 5000;
    expect((await revoke(partner.id, partner.credentialId)).status).toBe(204);
    expect(await one(partner.id, partner.credentialId)).toEqual(before);
    const trail = await app.request('GET', `/admin/audit-events?target=${partner.id}&action=credential.revoked`, {
      token,
    });
    expect(trail.json<{ items: unknown[] }>().items).toHaveLength(1);
  });

  it('may leave none, and a new one may follow', async () => {
    const partner = await app.newPartner();
    await revoke(partner.id, partner.credentialId);
    const { password } = await add(partner.id);
    expect(await outcome(partner, password)).toBe('200 token');
  });

  it("is refused for another user's credential", async () => {
    const partner = await app.asPartner();
    const other = await app.newPartner();
    expectProblem(await revoke(other.id, partner.credentialId), 404, 'credential.not-found');
    expect(await meStatus(partner.token)).toBe(200);
    expect((await one(partner.id, partner.credentialId)).status).toBe('active');
  });

  it.each([UNKNOWN, 'not-a-uuid', '%00', '1', `${UNKNOWN}0`])('gets 404 under an unknown id: %s', async (id) => {
    const partner = await app.newPartner();
    expectProblem(await revoke(partner.id, id), 404, 'credential.not-found');
    expectProblem(await revoke(UNKNOWN, id), 404, 'channel-user.not-found');
  });

  it('by ten requests at once is recorded once', async () => {
    const partner = await app.newPartner();
    const answers = await Promise.all(Array.from({ length: 10 }, () => revoke(partner.id, partner.credentialId)));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(204));
    const trail = await app.request('GET', `/admin/audit-events?target=${partner.id}&action=credential.revoked`, {
      token,
    });
    expect(trail.json<{ items: unknown[] }>().items).toHaveLength(1);
  });
});
