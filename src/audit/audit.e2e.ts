import { parse } from 'csv-parse/sync';
import pg from 'pg';
import { type Answer, type Partner, type StaffMember, TestApp } from '../../test/support/app.ts';
import { recordEvents } from '../../test/support/inside.ts';
import { secret } from '../../test/support/secrets.ts';

interface Event {
  id: string;
  at: string;
  actor: { type: string; id: string | null; name: string };
  action: string;
  target: { type: string; id: string; name: string };
  address: string | null;
  requestId: string | null;
  reason: string | null;
  changes: Record<string, [unknown, unknown]>;
}
interface Page {
  items: Event[];
  nextCursor: string | null;
}

const EVENTS = '/admin/audit-events';
const USERS = '/admin/channel-users';
const STAFF = '/admin/staff';
const SESSION = '/admin/session';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';

let app: TestApp;
let admin: StaffMember;
let operator: StaffMember;

beforeAll(async () => {
  app = await TestApp.start();
  admin = await app.asStaff('admin');
  operator = await app.asStaff('operator');
  await app.asStaff('viewer');
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

let counter = 0;
const unique = (prefix: string): string => `${prefix}-${String(++counter)}`;
const as = (member: StaffMember, method: string, path: string, json?: unknown): Promise<Answer> =>
  app.request(method, path, { token: member.token, json });
const page = async (parameters: Record<string, string> = {}): Promise<Page> => {
  const { token } = await app.asStaff('viewer');
  const answer = await app.request('GET', `${EVENTS}?${new URLSearchParams(parameters).toString()}`, { token });
  expect({ status: answer.status, text: answer.status === 200 ? '' : answer.text }).toEqual({ status: 200, text: '' });
  return answer.json<Page>();
};
/** The whole trail of a target, oldest first. */
const trailOf = async (target: string): Promise<Event[]> => (await page({ target, limit: '200' })).items.reverse();
const countEvents = async (): Promise<number> => {
  const [row] = await app.dataSource.query<{ count: number }[]>('SELECT count(*)::int AS count FROM audit_event');
  return row?.count ?? -1;
};
/** The events that one call writes, and its answer. */
const eventsOf = async (call: () => Promise<Answer>, status: number): Promise<{ answer: Answer; events: Event[] }> => {
  const before = await countEvents();
  const answer = await call();
  expect({ status: answer.status, text: answer.status === status ? '' : answer.text }).toEqual({ status, text: '' });
  for (const found of answer.text.matchAll(/"password":"([^"]+)"/g)) secret(found[1] ?? '');
  const number = (await countEvents()) - before;
  const events = number === 0 ? [] : (await page({ limit: String(number) })).items.reverse();
  for (const event of events) expect(event.requestId).toBe(answer.headers.get('x-request-id'));
  return { answer, events };
};
/** The one event that one call writes. */
const eventOf = async (call: () => Promise<Answer>, status: number): Promise<Event> => {
  const { events } = await eventsOf(call, status);
  const [event, ...more] = events;
  if (!event || more.length > 0) throw new Error(`One event expected: ${JSON.stringify(events)}`);
  return event;
};
const about = (partner: Partner): Event['target'] => ({ type: 'channel-user', id: partner.id, name: partner.username });
const by = (member: StaffMember, role: string): Event['actor'] => ({
  type: 'staff',
  id: member.id,
  name: `Staff ${role}`,
});

describe('a change is recorded once', () => {
  it('when an account is provisioned with its first credential', async () => {
    const json = {
      username: unique('provisioned'),
      displayName: 'Blue Channel',
      contactEmail: 'ops@blue.example',
      scopes: ['a', 'b:c'],
      allowedIps: ['192.0.2.0/24'],
      expiresAt: '2090-01-01T00:00:00Z',
      notes: 'n',
    };
    const { answer, events } = await eventsOf(() => as(operator, 'POST', USERS, json), 201);
    const { channelUser, credential } = answer.json<{
      channelUser: { id: string };
      credential: { id: string; label: string; fingerprint: string };
    }>();
    expect(events.map(({ action }) => action)).toEqual(['channel-user.created', 'credential.created']);
    expect(events[0]).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      at: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/) as string,
      actor: by(operator, 'operator'),
      action: 'channel-user.created',
      target: { type: 'channel-user', id: channelUser.id, name: json.username },
      address: '127.0.0.1',
      requestId: answer.headers.get('x-request-id'),
      reason: null,
      changes: {
        username: [null, json.username],
        displayName: [null, 'Blue Channel'],
        contactEmail: [null, 'ops@blue.example'],
        scopes: [null, ['a', 'b:c']],
        selfService: [null, true],
        tokenTtlSeconds: [null, 3600],
        tokensPerMinute: [null, 60],
        allowedIps: [null, ['192.0.2.0/24']],
        expiresAt: [null, '2090-01-01T00:00:00.000Z'],
        notes: [null, 'n'],
      },
    });
    expect(events[1]).toMatchObject({
      actor: by(operator, 'operator'),
      target: { type: 'channel-user', id: channelUser.id, name: json.username },
      changes: {
        credentialId: [null, credential.id],
        label: [null, credential.label],
        fingerprint: [null, credential.fingerprint],
      },
    });
  });

  it('when an account is updated, with only the fields that differ', async () => {
    const partner = await app.newPartner({ notes: 'old', scopes: ['a'], contactEmail: 'a@b.example' });
    const json = {
      notes: 'new',
      scopes: ['a', 'b'],
      contactEmail: null,
      tokensPerMinute: 60,
      expiresAt: '2090-01-01T00:00:00Z',
    };
    const event = await eventOf(() => as(operator, 'PATCH', `${USERS}/${partner.id}`, json), 200);
    expect(event).toMatchObject({
      action: 'channel-user.updated',
      actor: by(operator, 'operator'),
      target: about(partner),
      reason: null,
    });
    expect(event.changes).toEqual({
      notes: ['old', 'new'],
      scopes: [['a'], ['a', 'b']],
      contactEmail: ['a@b.example', null],
      expiresAt: [null, '2090-01-01T00:00:00.000Z'],
    });
  });

  it('when an account is suspended and reactivated, with the reasons', async () => {
    const partner = await app.newPartner();
    const suspend = (): Promise<Answer> =>
      as(operator, 'POST', `${USERS}/${partner.id}/suspend`, { reason: 'Contract \u201cended\u201d' });
    const reactivate = (json: unknown) => (): Promise<Answer> =>
      as(admin, 'POST', `${USERS}/${partner.id}/reactivate`, json);
    expect(await eventOf(suspend, 200)).toMatchObject({
      action: 'channel-user.suspended',
      actor: by(operator, 'operator'),
      target: about(partner),
      reason: 'Contract \u201cended\u201d',
      changes: { status: ['active', 'suspended'] },
    });
    expect(await eventOf(reactivate({ reason: 'paid' }), 200)).toMatchObject({
      action: 'channel-user.reactivated',
      actor: by(admin, 'admin'),
      target: about(partner),
      reason: 'paid',
      changes: { status: ['suspended', 'active'] },
    });
    await suspend();
    expect((await eventOf(reactivate({}), 200)).reason).toBeNull();
  });

  it('when tokens are revoked, with the reason', async () => {
    const partner = await app.newPartner();
    const call = (): Promise<Answer> =>
      as(operator, 'POST', `${USERS}/${partner.id}/revoke-tokens`, { reason: 'leaked' });
    expect(await eventOf(call, 204)).toMatchObject({
      action: 'channel-user.tokens-revoked',
      actor: by(operator, 'operator'),
      target: about(partner),
      reason: 'leaked',
    });
  });

  it('when a credential is rotated, with each credential that retires', async () => {
    const partner = await app.newPartner();
    const path = `${USERS}/${partner.id}/credentials`;
    const rotation = { label: 'second', retireOthers: { after: 'now' } };
    const { answer, events } = await eventsOf(() => as(operator, 'POST', path, rotation), 201);
    const { credential } = answer.json<{ credential: { id: string } }>();
    expect(events.map(({ action }) => action).sort()).toEqual(['credential.created', 'credential.retired']);
    expect(events.every(({ target }) => target.id === partner.id)).toBe(true);
    const retired = events.find(({ action }) => action === 'credential.retired');
    expect(retired?.changes['expiresAt']?.[0]).toBeNull();
    expect(JSON.stringify(retired?.changes)).toContain(partner.credentialId);
    const revoked = await eventOf(() => as(operator, 'DELETE', `${path}/${credential.id}`), 204);
    expect(revoked).toMatchObject({
      action: 'credential.revoked',
      actor: by(operator, 'operator'),
      target: about(partner),
      changes: {
        credentialId: [credential.id, credential.id],
        label: ['second', 'second'],
        status: ['active', 'revoked'],
      },
    });
  });

  it('when an account is deleted, with all its fields', async () => {
    const partner = await app.newPartner({ notes: 'kept', contactEmail: 'x@y.example' });
    const event = await eventOf(() => as(admin, 'DELETE', `${USERS}/${partner.id}`), 204);
    expect(event).toMatchObject({
      action: 'channel-user.deleted',
      actor: by(admin, 'admin'),
      target: about(partner),
      changes: {
        username: [partner.username, null],
        notes: ['kept', null],
        contactEmail: ['x@y.example', null],
        tokenTtlSeconds: [3600, null],
      },
    });
  });

  it('when staff are created, changed, reset and removed, without a password', async () => {
    const email = `${unique('audited')}@staff.example`;
    const create = (): Promise<Answer> => as(admin, 'POST', STAFF, { email, name: 'Mia', role: 'viewer' });
    const { answer, events } = await eventsOf(create, 201);
    const { id } = answer.json<{ id: string }>();
    const actor = by(admin, 'admin');
    const target = { type: 'staff', id, name: 'Mia' };
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({ action: 'staff.created', actor, target });
    expect(events[0]?.changes).toMatchObject({ email: [null, email], name: [null, 'Mia'], role: [null, 'viewer'] });
    const changed = await eventOf(() => as(admin, 'PATCH', `${STAFF}/${id}`, { role: 'operator' }), 200);
    expect(changed).toMatchObject({ action: 'staff.updated', actor, target });
    expect(changed.changes).toEqual({ role: ['viewer', 'operator'] });
    const reset = await eventOf(() => as(admin, 'POST', `${STAFF}/${id}/reset-password`), 200);
    expect(reset).toMatchObject({ action: 'staff.password-reset', actor, target });
    expect(reset.changes).toEqual({ password: ['[masked]', '[masked]'] });
    const removed = await eventOf(() => as(admin, 'DELETE', `${STAFF}/${id}`), 204);
    expect(removed).toMatchObject({ action: 'staff.deleted', actor, target });
    expect(removed.changes).toEqual({ email: [email, null], name: ['Mia', null], role: ['operator', null] });
    expect((await trailOf(id)).map(({ action }) => action)).toEqual([
      'staff.created',
      'staff.updated',
      'staff.password-reset',
      'staff.deleted',
    ]);
  });

  it('when somebody signs in or changes the own password', async () => {
    const member = await app.newStaff('operator');
    const actor = by(member, 'operator');
    const json = { email: member.email, password: member.password };
    const { answer, events } = await eventsOf(() => app.request('POST', SESSION, { json }), 200);
    secret(answer.json<{ accessToken: string }>().accessToken);
    expect(events).toHaveLength(1);
    expect(events[0]).toMatchObject({ action: 'staff.signed-in', actor, target: { type: 'staff', id: member.id } });
    const newPassword = secret(unique('a new password of theirs'));
    const change = { currentPassword: member.password, newPassword };
    const event = await eventOf(() => as(member, 'PATCH', `${SESSION}/password`, change), 204);
    expect(event).toMatchObject({ action: 'staff.password-changed', actor, target: { type: 'staff', id: member.id } });
    expect(JSON.stringify(event)).not.toContain(newPassword);
    expect(event.changes).toEqual({ password: ['[masked]', '[masked]'] });
  });
});

describe('no event is recorded', () => {
  const nothing = async (call: () => Promise<Answer>, status: number): Promise<void> => {
    expect((await eventsOf(call, status)).events).toEqual([]);
  };

  it('for a change without effect', async () => {
    const partner = await app.newPartner({ notes: 'n' });
    await nothing(() => as(operator, 'PATCH', `${USERS}/${partner.id}`, { notes: 'n' }), 200);
    await nothing(() => as(operator, 'PATCH', `${USERS}/${partner.id}`, {}), 200);
    await nothing(() => as(operator, 'POST', `${USERS}/${partner.id}/reactivate`, {}), 200);
    await as(operator, 'POST', `${USERS}/${partner.id}/suspend`, { reason: 'r' });
    await nothing(() => as(operator, 'POST', `${USERS}/${partner.id}/suspend`, { reason: 'r' }), 200);
    const path = `${USERS}/${partner.id}/credentials/${partner.credentialId}`;
    await as(operator, 'DELETE', path);
    await nothing(() => as(operator, 'DELETE', path), 204);
    await nothing(() => as(admin, 'PATCH', `${STAFF}/${operator.id}`, { role: 'operator' }), 200);
  });

  it('for a refused request', async () => {
    const partner = await app.newPartner();
    const path = `${USERS}/${partner.id}`;
    await nothing(() => as(operator, 'POST', USERS, { username: partner.username, displayName: 'x' }), 409);
    await nothing(() => as(operator, 'PATCH', path, { scopes: null }), 400);
    await nothing(
      () => app.request('PATCH', path, { token: operator.token, json: { notes: 'n' }, headers: { 'if-match': '"9"' } }),
      412,
    );
    await nothing(() => as(operator, 'DELETE', path), 403);
    await nothing(() => as(admin, 'DELETE', `${USERS}/${UNKNOWN}`), 404);
    await nothing(() => as(admin, 'DELETE', `${STAFF}/${admin.id}`), 409);
    await nothing(() => as(admin, 'POST', STAFF, { email: admin.email, name: 'x', role: 'viewer' }), 409);
    await nothing(() => app.request('POST', SESSION, { json: { email: admin.email, password: 'wrong' } }), 401);
    await nothing(
      () => as(operator, 'PATCH', `${SESSION}/password`, { currentPassword: 'x', newPassword: 'long enough, this' }),
      400,
    );
  });

  it('for reads and for calls of partners', async () => {
    const partner = await app.newPartner();
    await nothing(() => as(operator, 'GET', USERS), 200);
    await nothing(() => as(operator, 'GET', EVENTS), 200);
    const form = { Username: partner.username, Password: partner.password };
    const { answer } = await eventsOf(() => app.request('POST', '/generateToken', { form }), 200);
    secret(answer.text);
    await nothing(() => app.request('POST', '/generateToken', { form: { ...form, Password: 'wrong' } }), 401);
    expect((await trailOf(partner.id)).map(({ action }) => action)).toEqual([
      'channel-user.created',
      'credential.created',
    ]);
  });
});

describe('the list of events', () => {
  it('is open to viewers and closed to partners', async () => {
    for (const role of ['viewer', 'operator', 'admin'] as const) {
      expect((await app.request('GET', EVENTS, { token: (await app.asStaff(role)).token })).status).toBe(200);
    }
    expect((await app.request('GET', EVENTS, { token: (await app.asPartner()).token })).status).toBe(403);
    expect((await app.request('GET', EVENTS)).status).toBe(401);
  });

  it('offers no way to change or delete events', async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const answer = await as(admin, method, EVENTS, {});
      expect({ method, status: answer.status }).toEqual({ method, status: 405 });
    }
    const [event] = (await page({ limit: '1' })).items;
    for (const method of ['PUT', 'PATCH', 'DELETE']) {
      expect((await as(admin, method, `${EVENTS}/${event?.id ?? ''}`, {})).status).toBe(404);
    }
  });

  it('pages newest first and shows each event once while new ones arrive', async () => {
    const partner = await app.newPartner();
    for (let i = 0; i < 12; i++) await as(operator, 'PATCH', `${USERS}/${partner.id}`, { notes: `note ${String(i)}` });
    const seen: Event[] = [];
    let cursor: string | null = null;
    do {
      const next: Page = await page({ target: partner.id, limit: '4', ...(cursor !== null && { cursor }) });
      seen.push(...next.items);
      cursor = next.nextCursor;
      if (seen.length === 4) await as(operator, 'PATCH', `${USERS}/${partner.id}`, { notes: 'meanwhile' });
    } while (cursor !== null);
    expect(seen.slice(0, 12).map(({ changes }) => changes['notes']?.[1])).toEqual(
      Array.from({ length: 12 }, (_, i) => `note ${String(11 - i)}`),
    );
    expect(seen.slice(12).map(({ action }) => action)).toEqual(['credential.created', 'channel-user.created']);
    expect(new Set(seen.map(({ id }) => id)).size).toBe(14);
    const ats = seen.map(({ at }) => at);
    expect(ats).toEqual([...ats].sort().reverse());
  });

  it('has no empty last page and returns fifty events by default', async () => {
    const partner = await app.newPartner();
    const exact = await page({ target: partner.id, limit: '2' });
    expect({ length: exact.items.length, nextCursor: exact.nextCursor }).toEqual({ length: 2, nextCursor: null });
    while ((await countEvents()) < 60) await app.newPartner();
    expect((await page()).items).toHaveLength(50);
  });

  it('filters by actor, action, target and time, alone and combined', async () => {
    const member = await app.newStaff('operator');
    const partner = await app.newPartner();
    await as(member, 'PATCH', `${USERS}/${partner.id}`, { notes: 'mine' });
    app.clockOffset = 3_600_000;
    await as(member, 'PATCH', `${USERS}/${partner.id}`, { notes: 'later' });
    await as(operator, 'PATCH', `${USERS}/${partner.id}`, { notes: 'theirs' });
    const notes = async (parameters: Record<string, string>): Promise<unknown[]> =>
      (await page({ action: 'channel-user.updated', ...parameters })).items.map(({ changes }) => changes['notes']?.[1]);
    expect(await notes({ actor: member.id })).toEqual(['later', 'mine']);
    expect(await notes({ actor: member.id.toUpperCase() })).toEqual(['later', 'mine']);
    expect(await notes({ target: partner.id })).toEqual(['theirs', 'later', 'mine']);
    expect(await notes({ target: partner.id, actor: operator.id })).toEqual(['theirs']);
    const boundary = new Date(Date.now() + 1_800_000).toISOString();
    expect(await notes({ target: partner.id, from: boundary })).toEqual(['theirs', 'later']);
    expect(await notes({ target: partner.id, to: boundary })).toEqual(['mine']);
    expect(await notes({ target: partner.id, from: boundary, to: boundary })).toEqual([]);
    const [first] = (await page({ target: partner.id, actor: member.id, limit: '1' })).items;
    const at = first?.at ?? '';
    expect(await notes({ target: partner.id, actor: member.id, from: at })).toEqual(['later']);
    expect(await notes({ target: UNKNOWN })).toEqual([]);
    expect(await notes({ actor: UNKNOWN })).toEqual([]);
    expect((await page({ action: 'no.such-action' })).items).toEqual([]);
    const bySystem = (await page({ actor: 'system', target: member.id })).items;
    expect(bySystem.map(({ action, actor }) => [action, actor.type, actor.id])).toEqual([
      ['staff.created', 'system', null],
    ]);
    expect((await page({ actor: 'staff', target: member.id })).items.map(({ action }) => action)).toEqual([
      'staff.signed-in',
    ]);
  });

  it.each([
    ['limit', '0'],
    ['limit', '201'],
    ['limit', 'x'],
    ['actor', 'nobody'],
    ['actor', ''],
    ['target', 'x'],
    ['from', 'yesterday'],
    ['from', '2026-02-30T00:00:00Z'],
    ['from', '2026-01-31'],
    ['to', '2026-01-31T00:00:00'],
    ['action', 'a\u0000b'],
    ['cursor', 'garbage'],
    ['cursor', Buffer.from('["seq","-1"]').toString('base64url')],
    ['cursor', Buffer.from('["seq",1]').toString('base64url')],
    ['cursor', Buffer.from('["seq","99999999999999999999"]').toString('base64url')],
    ['cursor', Buffer.from('["username","abc","3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11"]').toString('base64url')],
    ['unknown', 'x'],
  ])('refuses %s=%s', async (field, value) => {
    const answer = await as(admin, 'GET', `${EVENTS}?${new URLSearchParams({ [field]: value }).toString()}`);
    const problem = answer.json<{ code: string; errors: { field: string }[] }>();
    expect({ status: answer.status, code: problem.code }).toEqual({ status: 400, code: 'request.invalid' });
    expect(problem.errors.map((error) => error.field)).toEqual([field]);
  });

  it('accepts a decimal comma in a time, and names the field of an invalid one', async () => {
    const answer = await as(admin, 'GET', `${EVENTS}?from=2020-01-31T00:00:00,5Z`);
    if (answer.status === 200) return;
    expect(answer.status).toBe(400);
    expect(answer.json<{ errors: { field: string }[] }>().errors.map(({ field }) => field)).toEqual(['from']);
  });
});

describe('personal data in the trail', () => {
  it('is unreadable in the table: no name, address, e-mail, username, note or reason is in clear text', async () => {
    const words = {
      username: unique('Clear.Username'),
      displayName: unique('Clear Display Name'),
      contactEmail: `${unique('clear-contact')}@partner.example`,
      notes: unique('Clear notes about Anna'),
    };
    const created = await as(operator, 'POST', USERS, words);
    const { id } = created.json<{ channelUser: { id: string } }>().channelUser;
    secret(created.json<{ credential: { password: string } }>().credential.password);
    const reason = unique('Clear reason naming Anna');
    const label = unique('Clear label naming Anna');
    await as(operator, 'POST', `${USERS}/${id}/suspend`, { reason });
    const added = await as(operator, 'POST', `${USERS}/${id}/credentials`, { label });
    secret(added.json<{ credential: { password: string } }>().credential.password);
    await as(operator, 'PATCH', `${USERS}/${id}`, { displayName: unique('Clear Display Name again') });
    const email = `${unique('Clear-Mia')}@staff.example`;
    const staff = await as(admin, 'POST', STAFF, { email, name: 'Clear Mia Berg', role: 'viewer' });
    secret(staff.json<{ password: string }>().password);
    await as(admin, 'DELETE', `${STAFF}/${staff.json<{ id: string }>().id}`);
    await as(admin, 'DELETE', `${USERS}/${id}`);

    // The API shows all of these words.
    const read = JSON.stringify(await trailOf(id));
    for (const word of [...Object.values(words), reason, label, 'Staff operator', '127.0.0.1'])
      expect(read).toContain(word);

    const rows = await app.dataSource.query<Record<string, unknown>[]>('SELECT * FROM audit_event');
    const keys = await app.dataSource.query<Record<string, unknown>[]>('SELECT * FROM personal_key');
    expect(rows.length).toBeGreaterThan(10);
    const text = [...rows, ...keys]
      .flatMap((row) => Object.values(row))
      .map((value) => (Buffer.isBuffer(value) ? value.toString('latin1') : JSON.stringify(value)))
      .join('\n')
      .toLowerCase();
    for (const word of [
      ...Object.values(words),
      reason,
      label,
      email,
      'clear',
      'anna',
      'mia berg',
      'staff operator',
      'staff.example',
      'partner.example',
      '127.0.0.1',
    ]) {
      expect({ word, found: text.includes(word.toLowerCase()) }).toEqual({ word, found: false });
      expect(text).not.toContain(Buffer.from(word).toString('hex'));
      expect(text).not.toContain(Buffer.from(word).toString('base64').replace(/=+$/, '').slice(0, -1).toLowerCase());
    }
  });

  it('becomes unreadable for a partner whose key is destroyed, and only for that partner', async () => {
    const erased = await app.newPartner({ displayName: unique('Erased Name'), notes: 'erased notes', scopes: ['a'] });
    const kept = await app.newPartner({ displayName: unique('Kept Name') });
    for (const { id } of [erased, kept]) {
      await as(operator, 'PATCH', `${USERS}/${id}`, { notes: 'changed notes', scopes: ['b'] });
      await as(operator, 'POST', `${USERS}/${id}/suspend`, { reason: 'spoken reason' });
    }
    await as(admin, 'DELETE', `${USERS}/${erased.id}`);
    const before = await trailOf(kept.id);
    const number = (await trailOf(erased.id)).length;
    await app.dataSource.query('DELETE FROM personal_key WHERE subject_id = $1', [erased.id]);

    const after = await trailOf(erased.id);
    expect(after.map(({ action }) => action)).toEqual([
      'channel-user.created',
      'credential.created',
      'channel-user.updated',
      'channel-user.suspended',
      'channel-user.deleted',
    ]);
    expect(after).toHaveLength(number);
    const text = JSON.stringify(after);
    for (const word of [erased.username, 'Erased Name', 'erased notes', 'changed notes', 'spoken reason']) {
      expect(text).not.toContain(word);
    }
    for (const event of after) {
      expect(event.target).toEqual({ type: 'channel-user', id: erased.id, name: '[erased]' });
      expect(event.actor.name).toMatch(/^Staff (operator|admin)$/);
    }
    expect(after[2]?.changes['scopes']).toEqual([['a'], ['b']]);
    expect(await trailOf(kept.id)).toEqual(before);
    expect((await page({ limit: '200' })).items.length).toBeGreaterThan(5);
  });

  it('becomes unreadable for a staff member whose key is destroyed, as actor and as target', async () => {
    const member = await app.newStaff('operator');
    const partner = await app.newPartner();
    await as(member, 'PATCH', `${USERS}/${partner.id}`, { notes: 'by the erased' });
    await as(admin, 'PATCH', `${STAFF}/${member.id}`, { name: 'Erased Person' });
    await app.dataSource.query('DELETE FROM personal_key WHERE subject_id = $1', [member.id]);
    const about = JSON.stringify(await trailOf(member.id));
    for (const word of [member.email, 'Erased Person', 'Staff operator']) expect(about).not.toContain(word);
    const event = (await trailOf(partner.id)).at(-1);
    expect(event).toMatchObject({
      actor: { type: 'staff', id: member.id, name: '[erased]' },
      address: null,
      target: { name: partner.username },
      changes: { notes: [null, 'by the erased'] },
    });

    // Later events are readable; earlier ones stay unreadable.
    await as(member, 'PATCH', `${USERS}/${partner.id}`, { notes: 'after the erasure' });
    const events = (await trailOf(partner.id)).slice(-2);
    expect(events.map(({ actor }) => actor.name)).toEqual(['[erased]', 'Erased Person']);
    expect(JSON.stringify(await trailOf(member.id))).not.toContain(member.email);
  });
});

describe('the table of events', () => {
  const STATEMENTS = [
    `UPDATE audit_event SET action = 'forged'`,
    `UPDATE audit_event SET action = action WHERE seq = (SELECT max(seq) FROM audit_event)`,
    `UPDATE audit_event SET action = 'forged' WHERE false`,
    `DELETE FROM audit_event`,
    `DELETE FROM audit_event WHERE seq = (SELECT min(seq) FROM audit_event)`,
    `DELETE FROM audit_event WHERE false`,
    `TRUNCATE audit_event`,
    `TRUNCATE audit_event RESTART IDENTITY CASCADE`,
    `TRUNCATE personal_key, audit_event`,
    `WITH gone AS (DELETE FROM audit_event RETURNING *) SELECT count(*) FROM gone`,
    `INSERT INTO audit_event OVERRIDING SYSTEM VALUE SELECT * FROM audit_event
       ON CONFLICT (seq) DO UPDATE SET action = 'forged'`,
    `MERGE INTO audit_event e USING (SELECT max(seq) AS seq FROM audit_event) m ON e.seq = m.seq
       WHEN MATCHED THEN DELETE`,
    `MERGE INTO audit_event e USING (SELECT max(seq) AS seq FROM audit_event) m ON e.seq = m.seq
       WHEN MATCHED THEN UPDATE SET action = 'forged'`,
  ];

  it.each(STATEMENTS)('refuses %s even from its owner and a superuser', async (statement) => {
    await app.newPartner();
    const client = new pg.Client({ connectionString: app.databaseUrl });
    await client.connect();
    try {
      const { rows } = await client.query<{ super: boolean; owner: boolean }>(
        `SELECT rolsuper AS super, (SELECT tableowner = current_user FROM pg_tables WHERE tablename = 'audit_event') AS owner
         FROM pg_roles WHERE rolname = current_user`,
      );
      expect(rows).toEqual([{ super: true, owner: true }]);
      const content = async (): Promise<unknown> =>
        (await client.query('SELECT count(*), md5(string_agg(e::text, $1 ORDER BY seq)) FROM audit_event e', ['\n']))
          .rows;
      const before = await content();
      await expect(client.query(statement)).rejects.toMatchObject({
        message: expect.stringContaining('append-only') as string,
      });
      expect(await content()).toEqual(before);
    } finally {
      await client.end();
    }
  });
});

describe('while the event of a change cannot be written', () => {
  /** The rows of every table that the calls below would change, as text. */
  const state = async (): Promise<Record<string, unknown>> => {
    const tables = ['channel_user', 'credential', 'staff', 'staff_session', 'audit_event', 'personal_key'];
    const entries = await Promise.all(
      tables.map(async (table) => {
        const rows = await app.dataSource.query<{ row: string }[]>(
          `SELECT t::text AS row FROM "${table}" t ORDER BY 1`,
        );
        return [table, rows.map(({ row }) => row)] as const;
      }),
    );
    return Object.fromEntries(entries);
  };
  let partner: Partner & { token: string };
  let member: StaffMember;

  beforeAll(async () => {
    partner = await app.asPartner({ notes: 'before' });
    member = await app.newStaff('operator');
    await app.dataSource.query(`CREATE FUNCTION test_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
      BEGIN RAISE EXCEPTION 'the test refuses this event'; END $$`);
    await app.dataSource.query(
      `CREATE TRIGGER test_refuse BEFORE INSERT ON audit_event FOR EACH ROW EXECUTE FUNCTION test_refuse()`,
    );
  });
  afterAll(async () => {
    await app.dataSource.query('DROP TRIGGER IF EXISTS test_refuse ON audit_event');
    await app.dataSource.query('DROP FUNCTION IF EXISTS test_refuse()');
  });

  const CALLS: [string, () => Promise<Answer>][] = [
    ['provisioning', () => as(operator, 'POST', USERS, { username: unique('never-made'), displayName: 'x' })],
    ['an update', () => as(operator, 'PATCH', `${USERS}/${partner.id}`, { notes: 'after', scopes: ['x'] })],
    ['a suspension', () => as(operator, 'POST', `${USERS}/${partner.id}/suspend`, { reason: 'r' })],
    ['the revocation of tokens', () => as(operator, 'POST', `${USERS}/${partner.id}/revoke-tokens`, { reason: 'r' })],
    ['a rotation', () => as(operator, 'POST', `${USERS}/${partner.id}/credentials`, { retireOthersInSeconds: 0 })],
    [
      'the revocation of a credential',
      () => as(operator, 'DELETE', `${USERS}/${partner.id}/credentials/${partner.credentialId}`),
    ],
    ['the deletion of a partner', () => as(admin, 'DELETE', `${USERS}/${partner.id}`)],
    [
      'a new staff member',
      () => as(admin, 'POST', STAFF, { email: `${unique('never')}@staff.example`, name: 'x', role: 'viewer' }),
    ],
    ['another role', () => as(admin, 'PATCH', `${STAFF}/${member.id}`, { role: 'viewer' })],
    ['another name', () => as(admin, 'PATCH', `${STAFF}/${member.id}`, { name: 'Renamed' })],
    ['a reset password', () => as(admin, 'POST', `${STAFF}/${member.id}/reset-password`)],
    [
      'a password of one\u2019s own',
      () =>
        as(member, 'PATCH', `${SESSION}/password`, {
          currentPassword: member.password,
          newPassword: secret('never to be the password'),
        }),
    ],
    ['the removal of staff', () => as(admin, 'DELETE', `${STAFF}/${member.id}`)],
    [
      'a sign-in of staff',
      () => app.request('POST', SESSION, { json: { email: member.email, password: member.password } }),
    ],
  ];

  it.each(CALLS)('%s is undone', async (_, call) => {
    const before = await state();
    const answer = await call();
    expect(answer.status).toBeGreaterThanOrEqual(500);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.text).not.toMatch(/the test refuses|audit_event|INSERT|password"/);
    expect(await state()).toEqual(before);
  });

  it('a reactivation is undone', async () => {
    await app.dataSource.query('UPDATE channel_user SET suspended_at = now() WHERE id = $1', [partner.id]);
    const before = await state();
    const answer = await as(operator, 'POST', `${USERS}/${partner.id}/reactivate`, {});
    expect(answer.status).toBeGreaterThanOrEqual(500);
    expect(await state()).toEqual(before);
    await app.dataSource.query('UPDATE channel_user SET suspended_at = NULL WHERE id = $1', [partner.id]);
  });

  it('partners still obtain and use tokens', async () => {
    expect((await app.request('GET', '/me', { token: partner.token })).status).toBe(200);
    await app.generateToken(partner);
  });

  it('changes work again as soon as it can be written', async () => {
    await app.dataSource.query('ALTER TABLE audit_event DISABLE TRIGGER test_refuse');
    expect(
      await eventOf(() => as(operator, 'PATCH', `${USERS}/${partner.id}`, { notes: 'at last' }), 200),
    ).toMatchObject({
      changes: { notes: ['before', 'at last'] },
    });
    await app.dataSource.query('ALTER TABLE audit_event ENABLE TRIGGER test_refuse');
  });
});

describe('the export of events', () => {
  const fetchLines = async (parameters: Record<string, string> = {}): Promise<Event[]> => {
    const { token } = await app.asStaff('viewer');
    const path = `${EVENTS}/export?${new URLSearchParams(parameters).toString()}`;
    const answer = await app.request('GET', path, { token });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/x-ndjson');
    expect(answer.headers.get('content-disposition')).toBe(
      `attachment; filename="audit-events-${new Date().toISOString().slice(0, 10)}.ndjson"`,
    );
    if (answer.text === '') return [];
    expect(answer.text.endsWith('\n')).toBe(true);
    return answer.text
      .slice(0, -1)
      .split('\n')
      .map((line) => {
        const { sequence, mac, ...event } = JSON.parse(line) as Event & { sequence: number; mac: string };
        expect(sequence).toBeGreaterThan(0);
        expect(mac).toMatch(/^[0-9a-f]{64}$/);
        return event;
      });
  };

  it('holds the events of the list, oldest first', async () => {
    const partner = await app.newPartner();
    await as(operator, 'POST', `${USERS}/${partner.id}/suspend`, { reason: 'unpaid \u2028 "since" May' });
    await as(operator, 'POST', `${USERS}/${partner.id}/reactivate`, {});
    const trail = await trailOf(partner.id);
    expect(trail).toHaveLength(4);
    expect(await fetchLines({ target: partner.id })).toEqual(trail);
    const filters: Record<string, string>[] = [
      { action: 'channel-user.suspended' },
      { actor: operator.id },
      { actor: 'system' },
      { target: partner.id, from: trail[2]?.at ?? '' },
      { target: partner.id, to: trail[3]?.at ?? '' },
    ];
    for (const filter of filters) {
      const { items, nextCursor } = await page({ ...filter, limit: '200' });
      const exported = await fetchLines(filter);
      expect(exported.slice(exported.length - items.length)).toEqual(items.reverse());
      expect(exported.length > items.length).toBe(nextCursor !== null);
    }
    expect(await fetchLines({ target: UNKNOWN })).toEqual([]);
  });

  it('spans several pages and holds each event once', async () => {
    const partner = await app.newPartner();
    const target = { type: 'channel-user', id: partner.id, name: partner.username };
    await recordEvents(app, 1_200, { action: 'test.bulk', target });
    const exported = await fetchLines({ action: 'test.bulk' });
    expect(exported).toHaveLength(1_200);
    expect(new Set(exported.map(({ id }) => id)).size).toBe(1_200);
  });

  it('is also available as CSV, in which no cell is a formula', async () => {
    const { token } = await app.asStaff('viewer');
    const partner = await app.newPartner();
    const reasons = ['=1+1', '\uff1d1+1', '\ufe661+1', ' @SUM(A1)', 'a "quoted", reason', 'plain'];
    for (const reason of reasons) {
      await as(operator, 'POST', `${USERS}/${partner.id}/suspend`, { reason });
      await as(operator, 'POST', `${USERS}/${partner.id}/reactivate`, {});
    }
    const query = `target=${partner.id}&action=channel-user.suspended`;
    const answer = await app.request('GET', `${EVENTS}/export?format=csv&${query}`, { token });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(answer.headers.get('content-disposition')).toMatch(/^attachment; filename="audit-events-[\d-]{10}\.csv"$/);
    const [names, ...lines] = parse(answer.text);
    expect(names).toEqual(
      ['at', 'action', 'actorType', 'actorId', 'actorName', 'targetType', 'targetId', 'targetName'].concat([
        'reason',
        'address',
        'requestId',
        'changes',
      ]),
    );
    const { items } = await page({ target: partner.id, action: 'channel-user.suspended' });
    const sent = (reason: string): string => (/^[a-z]/.test(reason) ? reason : `'${reason}`);
    const rows = items
      .reverse()
      .map(({ at, action, actor, target, reason, address, requestId, changes }) => [
        ...[at, action, actor.type, actor.id, actor.name, target.type, target.id, target.name],
        ...[sent(reason ?? ''), address, requestId, JSON.stringify(changes)],
      ]);
    expect(lines).toEqual(rows);
    const nothing = await app.request('GET', `${EVENTS}/export?format=csv&target=${UNKNOWN}`, { token });
    expect(parse(nothing.text)).toEqual([names]);
    expect((await app.request('GET', `${EVENTS}/export?format=xlsx`, { token })).status).toBe(400);
  });

  it('refuses invalid filters and requests from anybody but staff', async () => {
    const { token } = await app.asStaff('viewer');
    for (const query of ['limit=1', 'cursor=x', 'actor=me', 'target=x', 'from=yesterday', 'to=', 'action=a&action=b']) {
      const answer = await app.request('GET', `${EVENTS}/export?${query}`, { token });
      expect([query, answer.status, answer.json()['code']]).toEqual([query, 400, 'request.invalid']);
    }
    for (const path of [`${EVENTS}/export`, `${EVENTS}/actions`]) {
      expect((await app.request('GET', path)).status).toBe(401);
      expect((await app.request('GET', path, { token: (await app.asPartner()).token })).status).toBe(403);
    }
  });
});

it('lists the actions that occur', async () => {
  const { token } = await app.asStaff('viewer');
  const { items } = (await app.request('GET', `${EVENTS}/actions`, { token })).json<{ items: string[] }>();
  const rows = await app.dataSource.query<{ action: string }[]>('SELECT DISTINCT action FROM audit_event');
  expect(items).toEqual(rows.map(({ action }) => action).sort());
  expect(items).toEqual(expect.arrayContaining(['channel-user.created', 'credential.created', 'staff.created']));
});
