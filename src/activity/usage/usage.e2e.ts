import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { secret } from '../../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  inParallel,
  newAddress,
  signInFrom,
  unlessBusy,
  until,
} from '../../../test/support/sign-ins.ts';

interface Impact {
  liveTokens: number;
  lastTokenAt: string | null;
  lastCallAt: string | null;
  callsLast24h: number;
}
interface Credential {
  id: string;
  lastUsedAt: string | null;
  lastUsedAddress: string | null;
  lastUsedUserAgent: string | null;
}

const HOUR_MS = 3_600_000;
const USERS = '/admin/channel-users';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';

let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  for (const role of ['viewer', 'operator'] as const) await app.asStaff(role);
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

const pathOf = ({ id, credentialId }: Partner): string => `${USERS}/${id}/credentials/${credentialId}/impact`;
const impactOf = async (partner: Partner, on = app): Promise<Impact> => {
  const { token } = await app.asStaff('viewer');
  const answer = await unlessBusy(() => on.request('GET', pathOf(partner), { token }));
  expect({ status: answer.status, text: answer.status === 200 ? '' : answer.text }).toEqual({ status: 200, text: '' });
  return answer.json<Impact>();
};
const me = async (token: string, on = app): Promise<void> => {
  expect((await on.request('GET', '/me', { token })).status).toBe(200);
};
const change = async (method: string, path: string, json?: unknown): Promise<Answer> => {
  const answer = await app.request(method, `${USERS}/${path}`, { token: (await app.asStaff('operator')).token, json });
  expect(answer.status).toBeLessThan(300);
  return answer;
};
const credentialsOf = async ({ id }: Partner): Promise<Credential[]> => {
  const { token } = await app.asStaff('viewer');
  return (await app.request('GET', `${USERS}/${id}/credentials`, { token })).json<{ items: Credential[] }>().items;
};

describe('the impact of revoking a credential', () => {
  it('is zero for an unused credential', async () => {
    expect(await impactOf(await app.newPartner())).toEqual({
      liveTokens: 0,
      lastTokenAt: null,
      lastCallAt: null,
      callsLast24h: 0,
      descendants: [],
    });
  });

  it('counts the live tokens and guarded calls of this credential only', async () => {
    const partner = await app.newPartner();
    const tokens = [await app.generateToken(partner), await app.generateToken(partner)];
    const second = await change('POST', `${partner.id}/credentials`, { retireOthersInSeconds: null });
    const { credential } = second.json<{ credential: { id: string; password: string } }>();
    const other = { ...partner, credentialId: credential.id, password: secret(credential.password) };
    const otherToken = await app.generateToken(other);
    const before = Date.now();
    for (const token of [...tokens, ...tokens, tokens[0] ?? '']) await me(token);
    await me(otherToken);
    const impact = await impactOf(partner);
    expect(impact).toMatchObject({ liveTokens: 2, callsLast24h: 5 });
    expect(Date.parse(impact.lastCallAt ?? '')).toBeGreaterThanOrEqual(before);
    expect(Date.parse(impact.lastTokenAt ?? '')).toBeLessThanOrEqual(Date.now());
    expect(await impactOf(other)).toMatchObject({ liveTokens: 1, callsLast24h: 1 });
  });

  it('does not count calls that the guard refuses', async () => {
    const partner = await app.asPartner();
    expect((await app.request('GET', '/admin/channel-users', { token: partner.token })).status).toBe(403);
    expect((await app.request('GET', '/me', { token: `${partner.token.slice(0, -2)}xx` })).status).toBe(401);
    expect((await app.request('GET', '/me')).status).toBe(401);
    await change('POST', `${partner.id}/suspend`, { reason: 'r' });
    expect((await app.request('GET', '/me', { token: partner.token })).status).toBe(401);
    expect(await impactOf(partner)).toMatchObject({ liveTokens: 1, lastCallAt: null, callsLast24h: 0 });
  });

  it('does not count expired and revoked tokens as live', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 120 });
    await app.generateToken(partner);
    app.clockOffset = 60_000;
    await app.generateToken(partner);
    expect(await impactOf(partner)).toMatchObject({ liveTokens: 2 });
    app.clockOffset = 121_000;
    expect(await impactOf(partner)).toMatchObject({ liveTokens: 1 });
    await change('POST', `${partner.id}/revoke-tokens`, { reason: 'r' });
    expect(await impactOf(partner)).toMatchObject({ liveTokens: 0 });
    app.clockOffset = 122_000;
    await app.generateToken(partner);
    expect(await impactOf(partner)).toMatchObject({ liveTokens: 1 });
    await change('DELETE', `${partner.id}/credentials/${partner.credentialId}`);
    expect(await impactOf(partner)).toMatchObject({ liveTokens: 0 });
  });

  it('counts calls of the last 24 hours and remembers the last call for longer', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 86_400 });
    const token = await app.generateToken(partner);
    await me(token);
    await me(token);
    app.clockOffset = HOUR_MS;
    await me(token);
    expect(await impactOf(partner)).toMatchObject({ callsLast24h: 3 });
    await app.dataSource.query(
      `UPDATE credential_usage SET hour = hour - interval '24 hours', last_at = last_at - interval '24 hours'
       WHERE credential_id = $1`,
      [partner.credentialId],
    );
    expect(await impactOf(partner)).toMatchObject({ callsLast24h: 0, lastCallAt: expect.any(String) as string });
  });

  it('loses no call when two instances count many at once', async () => {
    const partner = await app.asPartner();
    const other = await TestApp.start(app.config);
    try {
      const reading = async (): Promise<void> => {
        for (let i = 0; i < 10; i++) await impactOf(partner);
      };
      await Promise.all([
        inParallel(120, 8, () => me(partner.token)),
        inParallel(80, 8, () => me(partner.token, other)),
        reading(),
      ]);
      await impactOf(partner, other);
      expect(await impactOf(partner)).toMatchObject({ callsLast24h: 200 });
    } finally {
      await other.close();
    }
  });

  it('is written when an instance stops', async () => {
    const partner = await app.asPartner();
    const other = await TestApp.start(app.config);
    await me(partner.token, other);
    await other.close();
    expect(await impactOf(partner)).toMatchObject({ callsLast24h: 1 });
  });

  it('answers 404 for an unknown credential and refuses whoever is not staff', async () => {
    const partner = await app.asPartner();
    const stranger = await app.newPartner();
    const { token } = await app.asStaff('viewer');
    for (const [id, credentialId, code] of [
      [UNKNOWN, partner.credentialId, 'channel-user.not-found'],
      ['x', partner.credentialId, 'channel-user.not-found'],
      [partner.id, UNKNOWN, 'credential.not-found'],
      [partner.id, 'x', 'credential.not-found'],
      [partner.id, stranger.credentialId, 'credential.not-found'],
    ] as const) {
      const answer = await app.request('GET', pathOf({ ...partner, id, credentialId }), { token });
      expect([answer.status, answer.json()['code']]).toEqual([404, code]);
    }
    expect((await app.request('GET', pathOf(partner))).status).toBe(401);
    expect((await app.request('GET', pathOf(partner), { token: partner.token })).status).toBe(403);
  });
});

describe('the last use of a credential', () => {
  it('shows the address and the user agent', async () => {
    const partner = await app.newPartner();
    expect(await credentialsOf(partner)).toMatchObject([
      { lastUsedAt: null, lastUsedAddress: null, lastUsedUserAgent: null },
    ]);
    const address = newAddress();
    const refused = await signInFrom(app, address, { ...partner, password: 'wrong' });
    expect(refused.status).toBe(401);
    expect(await credentialsOf(partner)).toMatchObject([{ lastUsedAddress: null }]);
    secret((await signInFrom(app, address, partner, { 'user-agent': 'ChannelBot/2.1' })).text);
    expect(await credentialsOf(partner)).toMatchObject([
      {
        id: partner.credentialId,
        lastUsedAt: expect.any(String) as string,
        lastUsedAddress: address,
        lastUsedUserAgent: 'ChannelBot/2.1',
      },
    ]);
    const next = newAddress();
    app.clockOffset = 61_000;
    secret((await signInFrom(app, next, partner, { 'user-agent': 'ChannelBot/2.2' })).text);
    expect(await credentialsOf(partner)).toMatchObject([
      { lastUsedAddress: next, lastUsedUserAgent: 'ChannelBot/2.2' },
    ]);
  });

  it('notifies no other instance', async () => {
    const partner = await app.newPartner();
    const heard: string[] = [];
    const runner = app.dataSource.createQueryRunner();
    const client = (await runner.connect()) as {
      on: (event: string, listener: (message: { payload?: string }) => void) => void;
    };
    client.on('notification', ({ payload = '' }) => heard.push(payload));
    await runner.query('LISTEN latchkey_change');
    try {
      await me(await app.generateToken(partner));
      await impactOf(partner);
      await credentialsOf(partner);
      // A suspension does notify, so a notification of what came before would arrive first.
      await change('POST', `${partner.id}/suspend`, { reason: 'r' });
      await until(() => heard.length > 0, 'the suspension');
      expect(heard).toEqual([`channel_user:${partner.id}`]);
    } finally {
      await runner.query('UNLISTEN *');
      await runner.release();
    }
  });
});
