import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { createWith, type OwnCredential } from '../../../test/support/descendants.ts';
import { secret } from '../../../test/support/secrets.ts';

interface Descendant {
  id: string;
  label: string;
  fingerprint: string | null;
  status: string;
  createdAt: string;
  lastUsedAt: string | null;
}
interface Credential extends Descendant {
  revokedAt: string | null;
}
interface AuditEvent {
  action: string;
  actor: { type: string; id: string | null };
  changes: Record<string, [unknown, unknown]>;
}

const USERS = '/admin/channel-users';

let app: TestApp;
let operator: { id: string; token: string };

beforeAll(async () => {
  app = await TestApp.start();
  operator = await app.newStaff('operator');
});
afterAll(() => app.close());

const call = (method: string, path: string, json?: unknown): Promise<Answer> =>
  app.request(method, `${USERS}/${path}`, { token: operator.token, ...(json !== undefined && { json }) });
const revoke = (user: string, id: string, query = ''): Promise<Answer> =>
  call('DELETE', `${user}/credentials/${id}${query}`);
const list = async (user: string): Promise<Credential[]> =>
  (await call('GET', `${user}/credentials`)).expect(200).json<{ items: Credential[] }>().items;
const descendants = async (user: string, id: string): Promise<Descendant[]> =>
  (await call('GET', `${user}/credentials/${id}/impact`)).expect(200).json<{ descendants: Descendant[] }>().descendants;
const statuses = async (user: string, ...ids: string[]): Promise<string[]> => {
  const all = new Map((await list(user)).map(({ id, status }) => [id, status]));
  return ids.map((id) => all.get(id) ?? 'missing');
};
const outcome = async ({ username }: Partner, password: string): Promise<number> =>
  (await app.request('POST', '/generateToken', { form: { Username: username, Password: password } })).status;
const meStatus = async (token: string): Promise<number> => (await app.request('GET', '/me', { token })).status;
/** The events of a channel user, oldest first, without those of creations and first uses. */
const endings = async (user: string): Promise<AuditEvent[]> => {
  const answer = await app.request('GET', `/admin/audit-events?target=${user}&limit=200`, { token: operator.token });
  const { items } = answer.json<{ items: AuditEvent[] }>();
  return items.reverse().filter(({ action }) => /revoked|withdrawn/.test(action));
};

/** A partner whose first password created a chain of two, the last one pending, and who got one from staff. */
async function family() {
  const partner = await app.asPartner();
  const { username } = partner;
  const json = { label: 'other', retireOthersInSeconds: null };
  const rotated = (await call('POST', `${partner.id}/credentials`, json)).expect(201);
  const other = rotated.json<{ credential: OwnCredential }>().credential;
  secret(other.password);
  const child = await createWith(app, partner, { label: 'child' });
  const grandchild = await createWith(
    app,
    { username, password: child.password },
    { label: 'grandchild', isUsed: false },
  );
  const tokenOf = (password: string): Promise<string> => app.generateToken({ username, password });
  return { partner, child, grandchild, other, tokenOf };
}

describe('the descendants of a credential', () => {
  it('are what was created with it, directly or indirectly, and has not ended', async () => {
    const { partner, child, grandchild, other } = await family();
    const found = await descendants(partner.id, partner.credentialId);
    const all = new Map((await list(partner.id)).map((credential) => [credential.id, credential]));
    const shown = (id: string): Partial<Credential> => {
      const { label, fingerprint, status, createdAt, lastUsedAt } = all.get(id) ?? ({} as Credential);
      return { id, label, fingerprint, status, createdAt, lastUsedAt };
    };
    expect(found).toEqual([shown(child.id), shown(grandchild.id)]);
    expect(found.map(({ label, status }) => [label, status])).toEqual([
      ['child', 'active'],
      ['grandchild', 'pending'],
    ]);
    expect(found[0]?.lastUsedAt).not.toBeNull();
    expect(found.every(({ fingerprint }) => /^[0-9a-f]{8}$/.test(fingerprint ?? ''))).toBe(true);
    expect((await descendants(partner.id, child.id)).map(({ id }) => id)).toEqual([grandchild.id]);
    expect(await descendants(partner.id, grandchild.id)).toEqual([]);
    expect(await descendants(partner.id, other.id)).toEqual([]);

    await revoke(partner.id, child.id, '?includeDescendants=false');
    expect((await descendants(partner.id, partner.credentialId)).map(({ id }) => id)).toEqual([grandchild.id]);
  });

  it('end even if each was created with the other', async () => {
    const partner = await app.newPartner();
    const child = await createWith(app, partner);
    await app.dataSource.query('UPDATE credential SET proved_by = $1 WHERE id = $2', [child.id, partner.credentialId]);
    expect((await revoke(partner.id, partner.credentialId)).status).toBe(204);
    expect(await statuses(partner.id, partner.credentialId, child.id)).toEqual(['revoked', 'revoked']);
  });
});

describe('revoking a credential with descendants', () => {
  it('ends them by default with their tokens, and withdraws a pending one', async () => {
    const { partner, child, grandchild, other, tokenOf } = await family();
    const tokens = [partner.token, await tokenOf(child.password), await tokenOf(other.password)];
    expect((await revoke(partner.id, partner.credentialId)).status).toBe(204);
    const ids = [partner.credentialId, child.id, grandchild.id, other.id];
    expect(await statuses(partner.id, ...ids)).toEqual(['revoked', 'revoked', 'withdrawn', 'active']);
    expect(await Promise.all(tokens.map(meStatus))).toEqual([401, 401, 200]);
    const passwords = [partner.password, child.password, grandchild.password, other.password];
    expect(await Promise.all(passwords.map((password) => outcome(partner, password)))).toEqual([401, 401, 401, 200]);
    const because = { createdWith: [partner.credentialId, partner.credentialId] };
    const event = (action: string, id: string, label: string, status: [string, string], more = {}): object => ({
      action,
      actor: { type: 'staff', id: operator.id },
      changes: { credentialId: [id, id], label: [label, label], status, ...more },
    });
    const events = await endings(partner.id);
    expect(events).toMatchObject([
      event('credential.revoked', partner.credentialId, 'initial', ['active', 'revoked']),
      event('credential.revoked', child.id, 'child', ['active', 'revoked'], because),
      event('credential.withdrawn', grandchild.id, 'grandchild', ['pending', 'withdrawn'], because),
    ]);
    expect(Object.keys(events[0]?.changes ?? {}).sort()).toEqual(['credentialId', 'label', 'status']);
  });

  it('leaves them alone with includeDescendants=false, and ends them when it is repeated', async () => {
    const { partner, child, grandchild } = await family();
    const ids = [partner.credentialId, child.id, grandchild.id];
    expect((await revoke(partner.id, partner.credentialId, '?includeDescendants=false')).status).toBe(204);
    expect(await statuses(partner.id, ...ids)).toEqual(['revoked', 'active', 'pending']);
    expect(await endings(partner.id)).toHaveLength(1);
    const before = (await list(partner.id)).find(({ id }) => id === partner.credentialId);
    for (let i = 0; i < 2; i++) {
      expect((await revoke(partner.id, partner.credentialId, '?includeDescendants=true')).status).toBe(204);
      expect(await statuses(partner.id, ...ids)).toEqual(['revoked', 'revoked', 'withdrawn']);
    }
    expect((await list(partner.id)).find(({ id }) => id === partner.credentialId)).toEqual(before);
    expect(await endings(partner.id)).toHaveLength(3);
  });

  it('ends expired ones too, whose tokens may still live', async () => {
    const partner = await app.newPartner();
    const child = await createWith(app, partner);
    const token = await app.generateToken({ username: partner.username, password: child.password });
    await app.dataSource.query(`UPDATE credential SET expires_at = now() WHERE id = $1`, [child.id]);
    await revoke(partner.id, partner.credentialId);
    expect([await statuses(partner.id, child.id), await meStatus(token)]).toEqual([['revoked'], 401]);
  });

  it('happens with all of its audit events or not at all', async () => {
    const { partner, child, grandchild } = await family();
    await app.dataSource.query(`
      CREATE FUNCTION refuse_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no room'; END $$;
      CREATE TRIGGER tr_refuse_event BEFORE INSERT ON audit_event FOR EACH ROW
        WHEN (NEW.action = 'credential.withdrawn') EXECUTE FUNCTION refuse_event()`);
    try {
      expect((await revoke(partner.id, partner.credentialId)).status).toBe(500);
    } finally {
      await app.dataSource.query('DROP FUNCTION refuse_event CASCADE');
    }
    const ids = [partner.credentialId, child.id, grandchild.id];
    expect(await statuses(partner.id, ...ids)).toEqual(['active', 'active', 'pending']);
    expect(await endings(partner.id)).toEqual([]);
  });

  it.each([
    '?includeDescendants=',
    '?includeDescendants=1',
    '?includeDescendants=true&includeDescendants=true',
    '?x=1',
  ])('is refused with %s', async (query) => {
    const { partner, child } = await family();
    const answer = await revoke(partner.id, partner.credentialId, query);
    expect([answer.status, answer.json()['code']]).toEqual([400, 'request.invalid']);
    expect(await statuses(partner.id, partner.credentialId, child.id)).toEqual(['active', 'active']);
  });

  it('by ten requests at once is recorded once', async () => {
    const { partner } = await family();
    const answers = await Promise.all(Array.from({ length: 10 }, () => revoke(partner.id, partner.credentialId)));
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(204));
    expect(await endings(partner.id)).toHaveLength(3);
  });
});
