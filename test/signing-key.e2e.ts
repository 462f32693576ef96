import { randomBytes } from 'node:crypto';
import { AuditService } from '../src/audit/audit.service.ts';
import { SigningKeyService } from '../src/signing-key/signing-key.service.ts';
import { type Answer, TestApp } from './support/app.ts';
import { secret } from './support/secrets.ts';

const DAY_MS = 86_400_000;

interface Key {
  kid: string;
  purpose: string;
  state: string;
  verifiesUntil: string | null;
}

let app: TestApp;
beforeEach(async () => {
  app = await TestApp.start();
});
afterEach(() => app.close());

const admin = async (of = app): Promise<string> => (await of.asStaff('admin')).token;
const me = (token: string, of = app): Promise<Answer> => of.request('GET', '/me', { token });
const kidOf = (token: string): string =>
  (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string }).kid;

async function keys(purpose = 'partner', of = app): Promise<Key[]> {
  const answer = await of.request('GET', '/admin/signing-keys', { token: await admin(of) });
  return answer.json<{ items: Key[] }>().items.filter((key) => key.purpose === purpose);
}
const inState = async (state: string, purpose = 'partner'): Promise<string[]> =>
  (await keys(purpose)).filter((key) => key.state === state).map(({ kid }) => kid);
const published = async (of = app): Promise<string[]> =>
  (await of.request('GET', '/.well-known/jwks.json')).json<{ keys: { kid: string }[] }>().keys.map(({ kid }) => kid);
const rotate = async (json: object = {}): Promise<Answer> =>
  app.request('POST', '/admin/signing-keys/rotate', { token: await admin(), json });
const revoke = async (kid: string, json: object = { reason: 'drill' }): Promise<Answer> =>
  app.request('POST', `/admin/signing-keys/${kid}/revoke`, { token: await admin(), json });

it('one key signs and one stands by, both published; those of staff never are', async () => {
  const [active, standby] = [await inState('active'), await inState('published')];
  expect([active.length, standby.length]).toEqual([1, 1]);
  expect((await published()).sort()).toEqual([...active, ...standby].sort());
  const ofStaff = await keys('staff');
  expect(ofStaff.map(({ state }) => state).sort()).toEqual(['active', 'published']);
  const answer = await app.request('GET', '/admin/signing-keys', { token: await admin() });
  expect(answer.text).not.toMatch(/private|"d":/i);
});

describe('a rotation by hand', () => {
  it('signs with the standby, keeps every token, and makes a new standby', async () => {
    const partner = await app.asPartner();
    const [before, standby] = [(await inState('active'))[0], (await inState('published'))[0]];
    expect(kidOf(partner.token)).toBe(before);
    const answer = await rotate({ reason: 'every now and then' });
    expect(answer.status).toBe(200);
    const token = await app.generateToken(partner);
    expect(kidOf(token)).toBe(standby);
    for (const each of [partner.token, token]) expect((await me(each)).status).toBe(200);
    expect(await inState('retiring')).toEqual([before]);
    expect(await published()).toHaveLength(3);
    const events = await app.request('GET', '/admin/audit-events?action=signing-key.retiring', {
      token: await admin(),
    });
    expect(events.json<{ items: unknown[] }>().items[0]).toMatchObject({
      target: { type: 'signing-key', name: before },
      reason: 'every now and then',
      changes: { state: ['active', 'retiring'] },
    });
  });

  it('lets the old key verify until the longest token has expired, and no longer', async () => {
    const partner = await app.asPartner({ tokenTtlSeconds: 86_400 });
    await rotate();
    app.clockOffset = DAY_MS - 5_000;
    await app.app.nest.get(SigningKeyService).maintain();
    expect((await me(partner.token)).status).toBe(200);
    app.clockOffset = DAY_MS + 120_000;
    await app.app.nest.get(SigningKeyService).maintain();
    app.clockOffset = 0;
    expect(await inState('retired')).toHaveLength(1);
    expect(await published()).not.toContain(kidOf(partner.token));
    // The token's own exp lies in the future again: it is the key that does not verify.
    expect((await me(partner.token)).status).toBe(401);
  });

  it('of the staff key ends no session', async () => {
    const before = await admin();
    expect((await rotate({ purpose: 'staff' })).status).toBe(200);
    expect((await app.request('GET', '/admin/session', { token: before })).status).toBe(200);
    expect((await app.newStaff('viewer')).token).not.toBe('');
  });

  it('wants an admin and a purpose that there is', async () => {
    for (const role of ['viewer', 'operator'] as const) {
      const { token } = await app.asStaff(role);
      expect((await app.request('GET', '/admin/signing-keys', { token })).status).toBe(403);
      expect((await app.request('POST', '/admin/signing-keys/rotate', { token, json: {} })).status).toBe(403);
    }
    expect((await rotate({ purpose: 'other' })).status).toBe(400);
  });
});

describe('the compromise drill', () => {
  it('refuses every token of the key at once and signs with the standby, which verifiers know', async () => {
    const partner = await app.asPartner();
    const other = await app.newPartner();
    expect((await me(partner.token)).status).toBe(200);
    const known = await published();
    const answer = await revoke(kidOf(partner.token));
    expect(answer.json()).toMatchObject({ state: 'revoked', kid: kidOf(partner.token) });
    expect((await me(partner.token)).status).toBe(401);
    const token = await app.generateToken(other);
    expect(known).toContain(kidOf(token));
    expect((await me(token)).status).toBe(200);
    expect(await published()).not.toContain(kidOf(partner.token));
    expect([await inState('active'), await inState('published')].map(({ length }) => length)).toEqual([1, 1]);
    expect((await revoke(kidOf(partner.token))).status).toBe(200);
    expect((await revoke('no-such-key')).status).toBe(404);
  });

  it('of the standby replaces it, and of the staff key ends the sessions, its own too', async () => {
    const [standby = ''] = await inState('published');
    await revoke(standby);
    expect(await inState('published')).toHaveLength(1);
    expect(await published()).not.toContain(standby);
    const token = await admin();
    const [ofStaff = ''] = (await keys('staff')).filter(({ state }) => state === 'active').map(({ kid }) => kid);
    expect((await revoke(ofStaff)).status).toBe(200);
    expect((await app.request('GET', '/admin/session', { token })).status).toBe(401);
  });

  it('counts on every instance within a second', async () => {
    const beside = await TestApp.start(app.config);
    try {
      const partner = await app.asPartner();
      expect((await me(partner.token, beside)).status).toBe(200);
      await revoke(kidOf(partner.token));
      const end = performance.now() + 1_000;
      let status = 200;
      while (status === 200 && performance.now() < end) ({ status } = await me(partner.token, beside));
      expect(status).toBe(401);
      // What either signs now works on the other at once.
      for (const [here, there] of [
        [app, beside],
        [beside, app],
      ] as const) {
        expect((await me(await here.generateToken(partner), there)).status).toBe(200);
      }
    } finally {
      await beside.close();
    }
  });
});

it('no token is refused because of a rotation, under load on two instances', async () => {
  const beside = await TestApp.start(app.config);
  try {
    const partner = await app.newPartner({ tokensPerMinute: 1_000_000 });
    const wrong: number[] = [];
    let isOver = false;
    let tokens = 0;
    const load = async (here: TestApp, there: TestApp): Promise<void> => {
      while (!isOver) {
        const token = await here.generateToken(partner);
        tokens++;
        for (const each of [here, there]) {
          const { status } = await me(token, each);
          if (status !== 200) wrong.push(status);
        }
      }
    };
    const loads = [load(app, beside), load(beside, app), load(app, beside), load(beside, app)];
    for (let i = 0; i < 5; i++) expect((await rotate()).status).toBe(200);
    isOver = true;
    await Promise.all(loads);
    expect(wrong).toEqual([]);
    expect(tokens).toBeGreaterThan(10);
  } finally {
    await beside.close();
  }
});

describe('the schedule', () => {
  let scheduled: TestApp;
  beforeEach(async () => {
    scheduled = await TestApp.start({ signingKeyRotationDays: 30 });
  });
  afterEach(() => scheduled.close());
  const active = async (): Promise<string | undefined> =>
    (await keys('partner', scheduled)).find(({ state }) => state === 'active')?.kid;
  const maintainAt = async (offset: number, of = scheduled): Promise<void> => {
    of.clockOffset = offset;
    await of.app.nest.get(SigningKeyService).maintain();
    of.clockOffset = 0;
  };

  it('rotates when the key is old enough, once among several instances', async () => {
    const beside = await TestApp.start({ ...scheduled.config });
    try {
      const before = await active();
      await maintainAt(29 * DAY_MS);
      expect(await active()).toBe(before);
      await Promise.all([scheduled, beside].map((each) => maintainAt(30 * DAY_MS + 1000, each)));
      expect(await active()).not.toBe(before);
      expect((await keys('partner', scheduled)).filter(({ state }) => state === 'retiring')).toHaveLength(1);
      const answer = await scheduled.request('GET', '/admin/audit-events?actor=system&action=signing-key.activated', {
        token: await admin(scheduled),
      });
      // The partner key and the staff key.
      expect(answer.json<{ items: unknown[] }>().items).toHaveLength(2);
    } finally {
      await beside.close();
    }
  });

  it('does not sign with a standby that was published less than a day ago', async () => {
    const before = await active();
    const standby = (await keys('partner', scheduled)).find(({ state }) => state === 'published')?.kid ?? '';
    // The next standby is made when the rotation is due.
    scheduled.clockOffset = 30 * DAY_MS;
    await scheduled.app.nest
      .get(SigningKeyService)
      .revoke(standby, undefined, { type: 'system', id: null, name: 'test', address: null, requestId: null });
    await maintainAt(30 * DAY_MS + 60_000);
    expect(await active()).toBe(before);
    await maintainAt(31 * DAY_MS + 60_000);
    expect(await active()).not.toBe(before);
  });

  it('tells when the next rotation is, and that there is none with 0 days', async () => {
    const next = async (of: TestApp): Promise<string | null> =>
      (await of.request('GET', '/admin/signing-keys', { token: await admin(of) })).json<{
        nextRotationAt: string | null;
      }>().nextRotationAt;
    expect(Date.parse((await next(scheduled)) ?? '') - Date.now()).toBeGreaterThan(29 * DAY_MS);
    expect(await next(app)).toBeNull();
  });
});

describe('the key encryption key', () => {
  it('can be replaced: both decrypt, re-encryption moves everything, then the old one can go', async () => {
    const partner = await app.asPartner();
    const [old] = app.config.keyEncryptionKeys;
    const next = randomBytes(32);
    const during = await TestApp.start({ ...app.config, keyEncryptionKeys: [next, old] });
    expect((await me(partner.token, during)).status).toBe(200);
    const count = await during.app.nest.get(SigningKeyService).reencrypt();
    expect(count).toBe(4);
    expect(await during.app.nest.get(AuditService).reencrypt()).toBeGreaterThan(0);
    expect(await during.app.nest.get(SigningKeyService).reencrypt()).toBe(0);
    expect(await during.app.nest.get(AuditService).reencrypt()).toBe(0);
    await during.close();
    const after = await TestApp.start({ ...app.config, keyEncryptionKeys: [next] });
    expect((await me(partner.token, after)).status).toBe(200);
    secret(await after.generateToken(partner));
    const events = await after.request('GET', `/admin/audit-events?target=${partner.id}`, {
      token: await admin(after),
    });
    expect(events.json<{ items: { target: { name: string } }[] }>().items[0]?.target.name).toBe(partner.username);
    await after.close();
  });

  it('that is not the right one stops the start, and makes no key', async () => {
    await expect(TestApp.start({ ...app.config, keyEncryptionKeys: [randomBytes(32)] })).rejects.toThrow(
      /KEY_ENCRYPTION_KEY is not the one they were encrypted with, nor is one of KEY_ENCRYPTION_KEYS/,
    );
    expect(await keys()).toHaveLength(2);
  });
});
