import { randomBytes, randomUUID } from 'node:crypto';
import { keyContext } from '../../audit/chain/personal-part.ts';
import { seal } from '../../platform/encryption/encryption.service.ts';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { reencrypt, runCommand } from '../../../test/support/command.ts';
import { secret } from '../../../test/support/secrets.ts';

const DAY_MS = 86_400_000;
const MAINTENANCE = 'Maintaining the signing keys';

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

it('publishes one signing key and one standby, and never the keys of staff', async () => {
  const [active, standby] = [await inState('active'), await inState('published')];
  expect([active.length, standby.length]).toEqual([1, 1]);
  expect((await published()).sort()).toEqual([...active, ...standby].sort());
  const ofStaff = await keys('staff');
  expect(ofStaff.map(({ state }) => state).sort()).toEqual(['active', 'published']);
  const answer = await app.request('GET', '/admin/signing-keys', { token: await admin() });
  expect(answer.text).not.toMatch(/private|"d":/i);
});

describe('a manual rotation', () => {
  it('signs with the standby, keeps every token and makes a new standby', async () => {
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

  it('lets the old key verify until the longest token has expired', async () => {
    const partner = await app.asPartner({ tokenTtlSeconds: 86_400 });
    await rotate();
    app.clockOffset = DAY_MS - 5_000;
    await app.runTask(MAINTENANCE);
    expect((await me(partner.token)).status).toBe(200);
    app.clockOffset = DAY_MS + 120_000;
    await app.runTask(MAINTENANCE);
    app.clockOffset = 0;
    expect(await inState('retired')).toHaveLength(1);
    expect(await published()).not.toContain(kidOf(partner.token));
    // With the clock back, the token's exp is in the future again. The token fails because its key is retired.
    expect((await me(partner.token)).status).toBe(401);
  });

  it('of the staff key ends no session', async () => {
    const before = await admin();
    expect((await rotate({ purpose: 'staff' })).status).toBe(200);
    expect((await app.request('GET', '/admin/session', { token: before })).status).toBe(200);
    expect((await app.newStaff('viewer')).token).not.toBe('');
  });

  it('requires an admin and a known purpose', async () => {
    for (const role of ['viewer', 'operator'] as const) {
      const { token } = await app.asStaff(role);
      expect((await app.request('GET', '/admin/signing-keys', { token })).status).toBe(403);
      expect((await app.request('POST', '/admin/signing-keys/rotate', { token, json: {} })).status).toBe(403);
    }
    expect((await rotate({ purpose: 'other' })).status).toBe(400);
  });
});

describe('a second rotation', () => {
  it('is refused until verifiers can know the new standby, except in an emergency', async () => {
    app.clockOffset = 3_600_000;
    expect((await rotate()).status).toBe(200);
    const [signing, standby] = [await inState('active'), await inState('published')];
    app.clockOffset += 290_000;
    const refused = await rotate();
    expect(refused.status).toBe(409);
    expect(refused.json()).toMatchObject({
      code: 'signing-key.standby-too-new',
      detail: expect.stringMatching(
        /less than five minutes ago.* Rotate after \d{4}-\S+Z, or now with the option "emergency".*revoke/,
      ) as string,
    });
    expect([await inState('active'), await inState('published')]).toEqual([signing, standby]);
    // Staff keys are not published, so their standby may sign at once.
    for (let i = 0; i < 2; i++) expect((await rotate({ purpose: 'staff' })).status).toBe(200);
    app.clockOffset += 20_000;
    expect((await rotate()).status).toBe(200);
    expect(await inState('active')).toEqual(standby);
    expect((await rotate({ emergency: 'yes' })).status).toBe(400);
    expect((await rotate({ emergency: true })).status).toBe(200);
    const [active = ''] = await inState('active');
    const path = '/admin/audit-events?action=signing-key.retiring&limit=2';
    const { items } = (await app.request('GET', path, { token: await admin() })).json<{
      items: { changes: unknown }[];
    }>();
    // Only the event of the emergency rotation has the flag.
    expect(items.map(({ changes }) => changes)).toEqual([
      { state: ['active', 'retiring'], emergency: [null, true] },
      { state: ['active', 'retiring'] },
    ]);
    expect((await revoke(active)).status).toBe(200);
    // Revoking the signing key has made a new standby, which verifiers cannot know yet.
    expect((await rotate()).status).toBe(409);
    app.clockOffset = 0;
  });

  it('is refused on the command line too, except with --emergency', async () => {
    expect((await rotate()).status).toBe(200);
    const [signing = ''] = await inState('active');
    expect(await runCommand(app, ['keys', 'rotate'])).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/less than five minutes ago.*"emergency"/) as string,
    });
    expect(await inState('active')).toEqual([signing]);
    expect((await runCommand(app, ['keys', 'rotate', '--emergency'])).code).toBe(0);
    expect(await inState('retiring')).toContain(signing);
  });
});

describe('revoking a key', () => {
  it('refuses every token of the key at once and signs with the published standby', async () => {
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

  it('replaces a revoked standby, and ends all sessions with a revoked staff key', async () => {
    const [standby = ''] = await inState('published');
    await revoke(standby);
    expect(await inState('published')).toHaveLength(1);
    expect(await published()).not.toContain(standby);
    const token = await admin();
    const [ofStaff = ''] = (await keys('staff')).filter(({ state }) => state === 'active').map(({ kid }) => kid);
    expect((await revoke(ofStaff)).status).toBe(200);
    expect((await app.request('GET', '/admin/session', { token })).status).toBe(401);
  });

  it('applies to every instance within a second', async () => {
    const beside = await TestApp.start(app.config);
    try {
      const partner = await app.asPartner();
      expect((await me(partner.token, beside)).status).toBe(200);
      await revoke(kidOf(partner.token));
      const end = performance.now() + 1_000;
      let status = 200;
      while (status === 200 && performance.now() < end) ({ status } = await me(partner.token, beside));
      expect(status).toBe(401);
      // Each instance accepts at once what the other one signs.
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

it('refuses no token because of a rotation under load on two instances', async () => {
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
    for (let i = 0; i < 5; i++) expect((await rotate({ emergency: true })).status).toBe(200);
    isOver = true;
    await Promise.all(loads);
    expect(wrong).toEqual([]);
    expect(tokens).toBeGreaterThan(10);
  } finally {
    await beside.close();
  }
});

describe('the scheduled rotation', () => {
  let scheduled: TestApp;
  beforeEach(async () => {
    scheduled = await TestApp.start({ signingKeyRotationDays: 30 });
  });
  afterEach(() => scheduled.close());
  const active = async (): Promise<string | undefined> =>
    (await keys('partner', scheduled)).find(({ state }) => state === 'active')?.kid;
  const maintainAt = async (offset: number, of = scheduled): Promise<void> => {
    of.clockOffset = offset;
    await of.runTask(MAINTENANCE);
    of.clockOffset = 0;
  };

  it('happens once among several instances when the key is old enough', async () => {
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
      // One event each for the partner key and the staff key.
      expect(answer.json<{ items: unknown[] }>().items).toHaveLength(2);
    } finally {
      await beside.close();
    }
  });

  it('waits until the standby has been published for a day', async () => {
    const before = await active();
    const standby = (await keys('partner', scheduled)).find(({ state }) => state === 'published')?.kid ?? '';
    // Revoking the standby now makes its successor at the moment when the rotation is due.
    scheduled.clockOffset = 30 * DAY_MS;
    const { token } = await scheduled.newStaff('admin');
    const path = `/admin/signing-keys/${standby}/revoke`;
    expect((await scheduled.request('POST', path, { token, json: { reason: 'r' } })).status).toBe(200);
    await maintainAt(30 * DAY_MS + 60_000);
    expect(await active()).toBe(before);
    await maintainAt(31 * DAY_MS + 60_000);
    expect(await active()).not.toBe(before);
  });

  it('is announced, and is off with 0 days', async () => {
    const next = async (of: TestApp): Promise<string | null> =>
      (await of.request('GET', '/admin/signing-keys', { token: await admin(of) })).json<{
        nextRotationAt: string | null;
      }>().nextRotationAt;
    expect(Date.parse((await next(scheduled)) ?? '') - Date.now()).toBeGreaterThan(29 * DAY_MS);
    expect(await next(app)).toBeNull();
  });
});

describe('the key encryption key of signing keys', () => {
  it('can be replaced without losing a token or an event', async () => {
    const partner = await app.asPartner();
    const [old] = app.config.keyEncryptionKeys;
    const next = randomBytes(32);
    const during = await TestApp.start({ ...app.config, keyEncryptionKeys: [next, old] });
    expect((await me(partner.token, during)).status).toBe(200);
    const first = await reencrypt(during);
    expect(first.signingKeys).toBe(4);
    expect(first.personalKeys).toBeGreaterThan(0);
    expect(await reencrypt(during)).toMatchObject({ signingKeys: 0, personalKeys: 0 });
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

  it('is replaced in batches with one commit each', async () => {
    const [old] = app.config.keyEncryptionKeys;
    const ids = Array.from({ length: 1_200 }, () => randomUUID());
    const wrapped = ids.map((id) => seal(old, randomBytes(32), keyContext(id)));
    await app.dataSource.query(
      `INSERT INTO personal_key (subject_id, wrapped_key, created_at)
        SELECT id, wrapped, now() FROM unnest($1::uuid[], $2::bytea[]) AS made (id, wrapped)`,
      [ids, wrapped],
    );
    const next = randomBytes(32);
    expect((await reencrypt(app, [next, old])).personalKeys).toBeGreaterThanOrEqual(ids.length);
    const [{ commits } = { commits: 0 }] = await app.dataSource.query<{ commits: number }[]>(
      'SELECT count(DISTINCT xmin::text)::int AS commits FROM personal_key WHERE subject_id = ANY ($1)',
      [ids],
    );
    expect(commits).toBeLessThanOrEqual(4);
    expect((await reencrypt(app, [next, old])).personalKeys).toBe(0);
  });

  it('stops the start if it is wrong, and makes no key', async () => {
    await expect(TestApp.start({ ...app.config, keyEncryptionKeys: [randomBytes(32)] })).rejects.toThrow(
      /Set KEY_ENCRYPTION_KEY to the key that encrypted them, or to a list that contains it/,
    );
    expect(await keys()).toHaveLength(2);
  });
});
