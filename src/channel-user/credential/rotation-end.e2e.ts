import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { secret } from '../../../test/support/secrets.ts';

interface Credential {
  id: string;
  status: string;
  expiresAt: string | null;
  fingerprint: string;
  pendingSince: string | null;
  password: string;
}
interface Link {
  credential: Credential;
  secret: string;
  handoverId: string;
}
interface AuditEvent {
  action: string;
  actor: { type: string };
  reason: string | null;
  changes: Record<string, [unknown, unknown]>;
}
interface Notice {
  type: string;
  data: Record<string, unknown>;
}

const END = 'Withdrawing new passwords that nobody used';
const SCAN = 'Scanning for notices';
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/** Two instances on one database, both of which withdraw what nobody uses. */
let app: TestApp;
let other: TestApp;

beforeAll(async () => {
  app = await TestApp.start();
  other = await TestApp.start({ ...app.config });
});
afterAll(async () => {
  await other.close();
  await app.close();
});
beforeEach(async () => {
  pass(-app.clockOffset);
  await app.dataSource.query('DELETE FROM channel_user');
  await app.dataSource.query('DELETE FROM notice');
});

function pass(ms: number): void {
  app.clockOffset += ms;
  other.clockOffset = app.clockOffset;
}

/** A token of staff at a clock offset, since their sessions end. */
const sessions = new Map<number, string>();
async function staffToken(): Promise<string> {
  const token = sessions.get(app.clockOffset) ?? (await app.newStaff('admin')).token;
  sessions.set(app.clockOffset, token);
  return token;
}
const call = async (method: string, path: string, json?: unknown): Promise<Answer> =>
  app.request(method, `/admin/${path}`, { token: await staffToken(), ...(json !== undefined && { json }) });

const credentialsPath = (id: string): string => `channel-users/${id}/credentials`;
const rotate = async (id: string, json: object = {}): Promise<Credential> => {
  const answer = await call('POST', credentialsPath(id), json);
  const { credential } = answer.expect(201).json<{ credential: Credential }>();
  secret(credential.password);
  return credential;
};
const rotateByLink = async (id: string, json: object = {}): Promise<Link> => {
  const answer = await call('POST', credentialsPath(id), { deliver: 'link', ...json });
  const { credential, handoverUrl, handover } = answer
    .expect(201)
    .json<{ credential: Credential; handoverUrl: string; handover: { id: string } }>();
  return { credential, secret: secret(handoverUrl.split('#')[1] ?? ''), handoverId: handover.id };
};
const open = async (link: Link): Promise<string> => {
  const answer = await app.request('POST', '/handover/reveal', { json: { secret: link.secret } });
  return secret(answer.expect(200).json<{ password: string }>().password);
};
const states = async (id: string): Promise<string[]> =>
  (await call('GET', credentialsPath(id))).json<{ items: Credential[] }>().items.map(({ status }) => status);
const linkStates = async (id: string): Promise<string[]> =>
  (await call('GET', `channel-users/${id}/handovers`))
    .json<{ items: { status: string }[] }>()
    .items.map(({ status }) => status);
const outcome = async ({ username }: Partner, password: string, on = app): Promise<string> => {
  const answer = await on.request('POST', '/generateToken', { form: { Username: username, Password: password } });
  if (answer.status === 200) secret(answer.text);
  return `${String(answer.status)} ${answer.headers.get('error-code') ?? 'token'}`;
};
/** The events of a channel user after its creation, oldest first. */
const laterEvents = async (id: string): Promise<AuditEvent[]> =>
  (await call('GET', `audit-events?target=${id}&limit=200`)).json<{ items: AuditEvent[] }>().items.reverse().slice(2);
const end = (): Promise<void> => app.runTask(END);
/** The notices, oldest first. */
const notices = async (...types: string[]): Promise<Notice[]> => {
  const { items } = (await call('GET', 'notices?limit=200')).json<{ items: Notice[] }>();
  const found = items.reverse().map(({ type, data }) => ({ type, data }));
  return types.length === 0 ? found : found.filter(({ type }) => types.includes(type));
};
const partnerNamed = (displayName: string): Promise<Partner> => app.newPartner({ displayName });

describe('the link of a pending password', () => {
  it('may be opened days later, while the old password goes on', async () => {
    const partner = await app.newPartner();
    const link = await rotateByLink(partner.id, { linkTtlSeconds: 7 * 86_400 });
    pass(6 * DAY_MS);
    await end();
    const password = await open(link);
    expect(await states(partner.id)).toEqual(['pending', 'active']);
    expect(await outcome(partner, partner.password)).toBe('200 token');
    pass(5 * DAY_MS);
    await end();
    expect([await outcome(partner, partner.password), await outcome(partner, password)]).toEqual([
      '200 token',
      '200 token',
    ]);
    expect(await states(partner.id)).toEqual(['active', 'active']);
  });

  it('withdraws the password when it is revoked', async () => {
    const partner = await app.newPartner();
    const link = await rotateByLink(partner.id);
    const revoke = (): Promise<Answer> => call('DELETE', `channel-users/${partner.id}/handovers/${link.handoverId}`);
    expect((await revoke()).status).toBe(204);
    expect((await revoke()).status).toBe(204);
    expect([await states(partner.id), await linkStates(partner.id)]).toEqual([['withdrawn', 'active'], ['revoked']]);
    expect((await laterEvents(partner.id)).map(({ action }) => action)).toEqual([
      'credential.created',
      'handover.created',
      'handover.revoked',
      'credential.withdrawn',
    ]);
    expect(await outcome(partner, partner.password)).toBe('200 token');
    await rotate(partner.id);
  });

  it('leaves an active password alone when it is revoked', async () => {
    const partner = await app.newPartner();
    const link = await rotateByLink(partner.id, { retireOthers: { after: 'now' } });
    await call('DELETE', `channel-users/${partner.id}/handovers/${link.handoverId}`);
    expect(await states(partner.id)).toEqual(['active', 'active']);
  });

  it('is revoked with the withdrawal, so that it shows nothing', async () => {
    const partner = await app.newPartner();
    const link = await rotateByLink(partner.id);
    await call('POST', `${credentialsPath(partner.id)}/${link.credential.id}/withdraw`);
    expect(await linkStates(partner.id)).toEqual(['revoked']);
    expect((await app.request('POST', '/handover/reveal', { json: { secret: link.secret } })).status).toBe(410);
  });

  it('withdraws the password when it expires unopened, once, on any number of instances', async () => {
    const partner = await app.newPartner();
    await rotateByLink(partner.id, { linkTtlSeconds: 3600 });
    pass(3_599_000);
    await end();
    expect(await states(partner.id)).toEqual(['pending', 'active']);
    pass(2_000);
    await Promise.all([end(), other.runTask(END), end()]);
    expect([await states(partner.id), await linkStates(partner.id)]).toEqual([['withdrawn', 'active'], ['expired']]);
    const events = await laterEvents(partner.id);
    expect(events.map(({ action }) => action)).toEqual([
      'credential.created',
      'handover.created',
      'credential.withdrawn',
    ]);
    expect(events[2]).toMatchObject({
      actor: { type: 'system' },
      reason: 'The link ended before anybody opened it.',
      changes: { status: ['pending', 'withdrawn'] },
    });
    expect(await outcome(partner, partner.password)).toBe('200 token');
    expect((await rotate(partner.id)).status).toBe('pending');
  });
});

describe('a password that nobody uses', () => {
  it('is withdrawn when an older version has revoked its link alone', async () => {
    const partner = await app.newPartner();
    const { handoverId } = await rotateByLink(partner.id);
    const revoke = 'UPDATE handover SET revoked_at = now(), sealed_password = NULL WHERE id = $1';
    await app.dataSource.query(revoke, [handoverId]);
    await end();
    expect(await states(partner.id)).toEqual(['withdrawn', 'active']);
  });

  it('is withdrawn after 30 days, and nothing else changes', async () => {
    const partner = await app.newPartner();
    const link = await rotateByLink(partner.id);
    const password = await open(link);
    pass(30 * DAY_MS - 2_000);
    await end();
    expect(await states(partner.id)).toEqual(['pending', 'active']);
    pass(3_000);
    await end();
    expect(await states(partner.id)).toEqual(['withdrawn', 'active']);
    expect((await laterEvents(partner.id)).at(-1)).toMatchObject({
      action: 'credential.withdrawn',
      actor: { type: 'system' },
      reason: 'The new password was not used within 30 days.',
    });
    for (const on of [app, other]) {
      expect(await outcome(partner, password, on)).toBe('401 invalid_credentials');
      expect(await outcome(partner, partner.password, on)).toBe('200 token');
    }
  });

  it('is either used or withdrawn when both happen at the same moment', async () => {
    for (let round = 0; round < 8; round++) {
      const partner = await app.newPartner();
      const next = await rotate(partner.id);
      pass(30 * DAY_MS + 1_000);
      const [used] = await Promise.all([outcome(partner, next.password, other), end()]);
      const [status] = await states(partner.id);
      const actions = (await laterEvents(partner.id)).map(({ action }) => action).slice(1);
      expect([
        '200 token active credential.activated,credential.retired',
        '401 invalid_credentials withdrawn credential.withdrawn',
      ]).toContain(`${used} ${String(status)} ${actions.join()}`);
      expect(await outcome(partner, partner.password, other)).toBe('200 token');
      pass(-app.clockOffset);
    }
  });

  it('stays while it is the only one that works', async () => {
    const partner = await app.newPartner();
    const next = await rotate(partner.id);
    await call('DELETE', `${credentialsPath(partner.id)}/${partner.credentialId}`);
    pass(40 * DAY_MS);
    await end();
    expect(await states(partner.id)).toEqual(['pending', 'revoked']);
    expect(await outcome(partner, next.password)).toBe('200 token');
    expect(await states(partner.id)).toEqual(['active', 'revoked']);
  });

  it('is withdrawn when it expires by itself', async () => {
    const partner = await app.newPartner();
    await rotate(partner.id, { expiresAt: new Date(Date.now() + HOUR_MS).toISOString() });
    pass(HOUR_MS + 1_000);
    await end();
    expect(await states(partner.id)).toEqual(['withdrawn', 'active']);
    expect((await laterEvents(partner.id)).at(-1)?.reason).toBe('The new password expired before its first use.');
  });

  it('is not withdrawn once it was used', async () => {
    const partner = await app.newPartner();
    const next = await rotate(partner.id);
    await outcome(partner, next.password);
    pass(31 * DAY_MS);
    await end();
    expect(await states(partner.id)).toEqual(['active', 'expired']);
  });

  it('does not keep those of other partners from being withdrawn when its withdrawal fails', async () => {
    const [broken, fine] = await Promise.all([app.newPartner(), app.newPartner()]);
    for (const { id } of [broken, fine]) await rotateByLink(id, { linkTtlSeconds: 300 });
    await app.dataSource.query(`
      CREATE FUNCTION refuse_withdrawal() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$;
      CREATE TRIGGER tr_refuse_withdrawal BEFORE UPDATE ON credential FOR EACH ROW
        WHEN (NEW.channel_user_id = '${broken.id}') EXECUTE FUNCTION refuse_withdrawal()`);
    pass(301_000);
    await end();
    expect([await states(broken.id), await states(fine.id)]).toEqual([
      ['pending', 'active'],
      ['withdrawn', 'active'],
    ]);
    await app.dataSource.query('DROP FUNCTION refuse_withdrawal CASCADE');
    await end();
    expect(await states(broken.id)).toEqual(['withdrawn', 'active']);
  });
});

describe('notices of a rotation', () => {
  const about = ({ id, username }: Partner): object => ({ id, username, displayName: 'Blue' });
  const of = ({ id, fingerprint, expiresAt }: Credential): object => ({ id, fingerprint, expiresAt });

  it('tell of its start, its first use, and the end of the old password', async () => {
    const partner = await partnerNamed('Blue');
    const next = await rotate(partner.id, { retireOthers: { seconds: 3600 } });
    await app.runTask(SCAN);
    const channelUser = about(partner);
    const started = {
      type: 'credential.rotation_started',
      data: {
        channelUser,
        credential: of(next),
        startedBy: 'staff',
        retireOthers: { after: 'first-use', seconds: 3600 },
      },
    };
    expect(await notices()).toEqual([started]);
    await outcome(partner, next.password);
    await outcome(partner, next.password);
    const rotated = {
      type: 'credential.rotated',
      data: { channelUser, credential: of(next), after: 'first-use', startedBy: 'staff' },
    };
    expect(await notices()).toEqual([started, rotated]);
    pass(HOUR_MS + 1_000);
    await Promise.all([app.runTask(SCAN), other.runTask(SCAN)]);
    await app.runTask(SCAN);
    const [ended, ...more] = await notices('credential.ended');
    expect(ended?.data).toMatchObject({ channelUser, credential: { id: partner.credentialId } });
    expect(more).toEqual([]);
  });

  it('tell of its withdrawal, and by whom', async () => {
    const [first, second, third] = await Promise.all(['Blue', 'Green', 'Red'].map((name) => partnerNamed(name)));
    if (!first || !second || !third) throw new Error('There are three');
    const byStaff = await rotate(first.id);
    const bySystem = (await rotateByLink(second.id, { linkTtlSeconds: 300 })).credential;
    const revoked = await rotate(third.id);
    await call('POST', `${credentialsPath(first.id)}/${byStaff.id}/withdraw`);
    await call('DELETE', `${credentialsPath(third.id)}/${revoked.id}`);
    pass(301_000);
    await end();
    expect((await notices('credential.rotation_withdrawn')).map(({ data }) => data)).toEqual([
      { channelUser: about(first), credential: of(byStaff), withdrawnBy: 'staff' },
      expect.objectContaining({ credential: of(revoked), withdrawnBy: 'staff' }),
      expect.objectContaining({ credential: of(bySystem), withdrawnBy: 'system' }),
    ]);
    // Revoking a password that was used tells nothing of a rotation.
    await call('DELETE', `${credentialsPath(first.id)}/${first.credentialId}`);
    expect(await notices('credential.rotation_withdrawn')).toHaveLength(3);
  });

  it('remind of a pending one on days 3, 7 and 14, once each', async () => {
    const partner = await partnerNamed('Blue');
    const next = await rotate(partner.id);
    // A link that expires unopened ends its rotation, so nobody is reminded of it.
    await rotateByLink((await app.newPartner()).id, { linkTtlSeconds: 3 * 86_400 });
    const reminders = async (): Promise<unknown[]> => {
      for (let i = 0; i < 2; i++) await Promise.all([app.runTask(SCAN), other.runTask(SCAN)]);
      return (await notices('credential.rotation_pending')).map(({ data }) => data['pendingDays']);
    };
    pass(3 * DAY_MS - HOUR_MS);
    expect(await reminders()).toEqual([]);
    for (const [days, expected] of [
      [3, [3]],
      [4, [3]],
      [7, [3, 7]],
      [14, [3, 7, 14]],
      [29, [3, 7, 14]],
      [60, [3, 7, 14]],
    ] as const) {
      pass(days * DAY_MS + HOUR_MS - app.clockOffset);
      expect([days, await reminders()]).toEqual([days, expected]);
    }
    expect((await notices('credential.rotation_pending'))[0]?.data).toEqual({
      channelUser: about(partner),
      credential: of(next),
      pendingSince: next.pendingSince,
      pendingDays: 3,
    });
  });

  it('are made by one of two instances that scan at the same time', async () => {
    const missing: number[] = [];
    for (let round = 0; round < 40; round++) {
      const partner = await app.newPartner();
      await rotate(partner.id);
      pass(3 * DAY_MS + HOUR_MS);
      await Promise.all([app.runTask(SCAN), other.runTask(SCAN)]);
      const made = await app.dataSource.query<object[]>(
        `SELECT FROM notice WHERE type = 'credential.rotation_pending' AND channel_user_id = $1`,
        [partner.id],
      );
      if (made.length !== 1) missing.push(round);
      pass(-app.clockOffset);
    }
    expect(missing).toEqual([]);
  });

  it('remind of no rotation that is over', async () => {
    const [used, withdrawn] = await Promise.all([app.newPartner(), app.newPartner()]);
    const first = await rotate(used.id);
    await outcome(used, first.password);
    const second = await rotate(withdrawn.id);
    await call('POST', `${credentialsPath(withdrawn.id)}/${second.id}/withdraw`);
    pass(8 * DAY_MS);
    await app.runTask(SCAN);
    expect(await notices('credential.rotation_pending')).toEqual([]);
  });

  it('tell when the old password expires by itself while the new one waits', async () => {
    const partner = await app.newPartner();
    const short = await rotate(partner.id, {
      expiresAt: new Date(Date.now() + HOUR_MS).toISOString(),
      retireOthersInSeconds: null,
    });
    await call('DELETE', `${credentialsPath(partner.id)}/${partner.credentialId}`);
    await rotate(partner.id);
    pass(HOUR_MS + 1_000);
    await app.runTask(SCAN);
    expect((await notices('credential.ended')).map(({ data }) => data['credential'])).toEqual([of(short)]);
  });

  it('can be asked for by webhooks', async () => {
    const events = [
      'credential.rotation_started',
      'credential.rotation_pending',
      'credential.rotation_withdrawn',
      'credential.rotated',
      'credential.ended',
    ];
    const answer = await call('POST', 'webhooks', { url: 'https://93.184.215.14/', events });
    const { id, secret: key } = answer.expect(201).json<{ id: string; secret: string }>();
    secret(key);
    expect(answer.json()['events']).toEqual(events);
    await call('DELETE', `webhooks/${id}`);
  });
});
