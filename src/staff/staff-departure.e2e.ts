import pg from 'pg';
import { type Answer, type Partner, type StaffMember, TestApp } from '../../test/support/app.ts';
import { recordEvents } from '../../test/support/inside.ts';
import { secret } from '../../test/support/secrets.ts';
import { eventually } from '../../test/support/sign-ins.ts';

/** Staff who lose their rights while one of their requests is being processed. */

const STAFF = '/admin/staff';
const USERS = '/admin/channel-users';

let app: TestApp;
let admin: StaffMember;

beforeAll(async () => {
  app = await TestApp.start();
  admin = await app.asStaff('admin');
});
afterAll(() => app.close());

const asAdmin = async (method: string, path: string, json?: unknown): Promise<void> => {
  const answer = await app.request(method, path, { token: admin.token, json });
  expect(answer.status).toBeLessThan(300);
  const { password } = answer.text === '' ? {} : answer.json<{ password?: string }>();
  if (password !== undefined) secret(password);
};

/** Holds a lock, sends a request that waits for it, does something else meanwhile, and releases the lock. */
async function whileItWaits(lock: string, ask: () => Promise<Answer>, meanwhile: () => Promise<void>): Promise<Answer> {
  const holder = new pg.Client({ connectionString: app.databaseUrl });
  await holder.connect();
  try {
    await holder.query('BEGIN');
    await holder.query(lock);
    const answer = ask();
    await eventually(async () => {
      const { rowCount } = await holder.query(
        `SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
      );
      return rowCount === 0 ? undefined : true;
    }, 'the request waits for the lock');
    await meanwhile();
    await holder.query('COMMIT');
    return await answer;
  } finally {
    await holder.end();
  }
}

const recorded = async (actor: StaffMember): Promise<string[]> => {
  const rows = await app.dataSource.query<{ action: string }[]>(
    `SELECT action FROM audit_event WHERE actor_id = $1 AND action NOT LIKE 'staff.%' ORDER BY seq`,
    [actor.id],
  );
  return rows.map(({ action }) => action);
};

function expectEnded(answer: Answer): void {
  expect({ status: answer.status, code: answer.json()['code'] }).toEqual({ status: 401, code: 'auth.invalid-token' });
  expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="latchkey", error="invalid_token"/);
}

const ENDINGS: [string, (member: StaffMember) => Promise<void>][] = [
  ['demoted', ({ id }) => asAdmin('PATCH', `${STAFF}/${id}`, { role: 'viewer' })],
  ['removed', ({ id }) => asAdmin('DELETE', `${STAFF}/${id}`)],
  ['given a new password', ({ id }) => asAdmin('POST', `${STAFF}/${id}/reset-password`)],
  [
    'signed out',
    async ({ token }) => {
      expect((await app.request('DELETE', '/admin/session', { token })).status).toBe(204);
    },
  ],
  [
    'signed out elsewhere by changing the password there',
    async ({ email, password }) => {
      const token = await app.signIn(email, password);
      const json = { currentPassword: password, newPassword: secret('a-quite-new-password-of-mine') };
      expect((await app.request('PATCH', '/admin/session/password', { token, json })).status).toBe(204);
    },
  ],
  [
    'demoted in the table alone',
    async ({ id }) => {
      await app.dataSource.query(`UPDATE staff SET role = 'viewer' WHERE id = $1`, [id]);
    },
  ],
];

describe('a change that waits for a lock', () => {
  it.each(ENDINGS)('is undone when its author is %s', async (_, end) => {
    const member = await app.newStaff('operator');
    const partner = await app.newPartner({ notes: 'before' });
    const answer = await whileItWaits(
      `SELECT FROM channel_user WHERE id = '${partner.id}' FOR UPDATE`,
      () => app.request('PATCH', `${USERS}/${partner.id}`, { token: member.token, json: { notes: 'after' } }),
      () => end(member),
    );
    expectEnded(answer);
    const { token } = admin;
    expect((await app.request('GET', `${USERS}/${partner.id}`, { token })).json()).toMatchObject({
      notes: 'before',
      version: 1,
    });
    expect(await recorded(member)).toEqual([]);
  });

  const ofPartner = ({ id }: Partner): string => `SELECT FROM channel_user WHERE id = '${id}' FOR UPDATE`;
  const CHANGES: [string, (partner: Partner) => string, (partner: Partner) => [string, string, unknown?]][] = [
    ['a new credential', ofPartner, ({ id }) => ['POST', `${USERS}/${id}/credentials`, {}]],
    ['a revocation', ofPartner, ({ id, credentialId }) => ['DELETE', `${USERS}/${id}/credentials/${credentialId}`]],
    ['a suspension', ofPartner, ({ id }) => ['POST', `${USERS}/${id}/suspend`, { reason: 'unpaid' }]],
    ['a removal', ofPartner, ({ id }) => ['DELETE', `${USERS}/${id}`]],
    [
      'a grant',
      ofPartner,
      ({ id }) => ['POST', `${USERS}/${id}/grants`, { resourceType: 'property', resourceIds: ['1'] }],
    ],
    [
      'a new partner',
      () => 'LOCK TABLE channel_user IN EXCLUSIVE MODE',
      ({ username }) => ['POST', USERS, { username: `${username}-2`, displayName: 'x' }],
    ],
    [
      'a setting',
      () => 'LOCK TABLE settings IN EXCLUSIVE MODE',
      () => ['PATCH', '/admin/settings', { secondFactorRequired: true }],
    ],
    [
      'a webhook',
      () => 'LOCK TABLE webhook IN EXCLUSIVE MODE',
      () => ['POST', '/admin/webhooks', { url: 'https://93.184.215.14/', events: ['credential.rotated'] }],
    ],
    [
      'a new key',
      () => 'LOCK TABLE signing_key IN EXCLUSIVE MODE',
      () => ['POST', '/admin/signing-keys/rotate', { purpose: 'partner' }],
    ],
  ];
  it.each(CHANGES)('is undone when its author is removed: %s', async (_, lock, request) => {
    const member = await app.newStaff('admin');
    const partner = await app.newPartner();
    const [method, path, json] = request(partner);
    const answer = await whileItWaits(
      lock(partner),
      () => app.request(method, path, { token: member.token, json }),
      () => asAdmin('DELETE', `${STAFF}/${member.id}`),
    );
    expectEnded(answer);
    expect(await recorded(member)).toEqual([]);
  });

  it('is made when the demotion of its author has to wait for it', async () => {
    const member = await app.newStaff('operator');
    const partner = await app.newPartner();
    let demoted: Promise<void> | undefined;
    // A change locks the trail last, after its author has been confirmed.
    const answer = await whileItWaits(
      'SELECT FROM audit_chain FOR UPDATE',
      () => app.request('PATCH', `${USERS}/${partner.id}`, { token: member.token, json: { notes: 'in time' } }),
      () => {
        demoted = asAdmin('PATCH', `${STAFF}/${member.id}`, { role: 'viewer' });
        return Promise.resolve();
      },
    );
    await demoted;
    expect(answer.status).toBe(200);
    expect(await recorded(member)).toEqual(['channel-user.updated']);
    expect((await app.request('GET', '/admin/session', { token: member.token })).status).toBe(401);
  });
});

it('lets two admins reset each other’s password at the same moment', async () => {
  for (let round = 0; round < 5; round++) {
    const [one, two] = [await app.newStaff('admin'), await app.newStaff('admin')];
    const reset = (by: StaffMember, of: StaffMember): Promise<Answer> =>
      app.request('POST', `${STAFF}/${of.id}/reset-password`, { token: by.token });
    const answers = await Promise.all([reset(one, two), reset(two, one)]);
    for (const answer of answers) if (answer.status === 200) secret(answer.json<{ password: string }>().password);
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 401]);
  }
});

it('ends the session once when signing out twice at the same moment', async () => {
  const member = await app.newStaff('viewer');
  const signOut = (): Promise<Answer> => app.request('DELETE', '/admin/session', { token: member.token });
  const answers = await Promise.all([signOut(), signOut(), signOut()]);
  expect(answers.map(({ status }) => status).sort()).toEqual([204, 401, 401]);
  const { token } = admin;
  const trail = await app.request('GET', `/admin/audit-events?target=${member.id}&action=staff.signed-out`, { token });
  expect(trail.json<{ items: unknown[] }>().items).toHaveLength(1);
});

describe('a running export', () => {
  const ROWS = 3_000;
  const filler = 'x'.repeat(20_000);

  beforeAll(async () => {
    // The export must exceed the buffers between server and client.
    const { id } = await app.newPartner({ notes: 'x' });
    await app.seed(
      `INSERT INTO channel_user SELECT (jsonb_populate_record(row, jsonb_build_object('id', gen_random_uuid(),
           'username', 'long-' || n, 'username_key', 'long-' || n, 'notes', $2::text))).*
         FROM channel_user AS row, generate_series(1, $3::int) AS n WHERE id = $1`,
      [id, filler, ROWS],
    );
    const target = { type: 'channel-user', id: admin.id, name: 'x' };
    // Long events, so few in a transaction.
    await recordEvents(app, ROWS, { action: 'test.long', target, changes: { filler: [null, filler] } }, 5);
  });

  /** Reads an export, and runs `afterFirst` when its first bytes have arrived. */
  async function read(path: string, token: string, afterFirst: () => Promise<void>): Promise<'whole' | 'cut'> {
    const response = await fetch(app.staffUrl + path, { headers: { authorization: `Bearer ${token}` } });
    expect(response.status).toBe(200);
    const reader = (response.body as ReadableStream<Uint8Array>).getReader();
    try {
      await reader.read();
      await afterFirst();
      while (!(await reader.read()).done);
      return 'whole';
    } catch {
      return 'cut';
    }
  }

  const EXPORTS = [`${USERS}/export`, '/admin/audit-events/export'];
  it.each(EXPORTS)('is complete while its reader keeps the session: %s', async (path) => {
    const member = await app.newStaff('viewer');
    expect(await read(path, member.token, () => Promise.resolve())).toBe('whole');
  });

  it.each(EXPORTS.flatMap((path) => ENDINGS.map(([name, end]) => [path, name, end] as const)))(
    'of %s is cut off when its reader is %s',
    async (path, name, end) => {
      // Viewers may read, so an export is cut only when the session ends.
      const member = await app.newStaff('operator');
      const expected = name === 'demoted in the table alone' ? 'whole' : 'cut';
      expect(await read(path, member.token, () => end(member))).toBe(expected);
    },
  );
});
