import { randomUUID } from 'node:crypto';
import pg from 'pg';
import type { DataSource } from 'typeorm';
import { type Answer, type Partner, TestApp } from '../support/app.ts';
import { recordCalls, recordUses } from '../support/inside.ts';
import { eventually, until } from '../support/sign-ins.ts';

const USERS = '/admin/channel-users';

let app: TestApp;
/** Of somebody who has a transaction open on the database. */
let other: pg.Client;

beforeAll(async () => {
  app = await TestApp.start();
  // As in production: what is locked is waited for this long.
  app.readPatienceMs = 200;
  await app.asStaff('viewer');
  await app.asStaff('operator');
  other = new pg.Client({ connectionString: app.databaseUrl });
  await other.connect();
});
afterEach(async () => {
  // The clock is not set back: what is kept for some seconds would then be kept for longer.
  await other.query('ROLLBACK');
});
afterAll(async () => {
  await other.end();
  await app.close();
});

const asViewer = async (path: string): Promise<Answer> =>
  app.request('GET', path, { token: (await app.asStaff('viewer')).token });
const lastTokenAt = async ({ id }: Partner): Promise<string | null> =>
  (await asViewer(`${USERS}/${id}`)).json<{ lastTokenAt: string | null }>().lastTokenAt;
const fail = (partner: Partner): Promise<Answer> =>
  app.request('POST', '/generateToken', { form: { Username: partner.username, Password: 'wrong' } });
const failingIds = async (): Promise<string[]> => {
  // The overview is kept for five seconds.
  app.clockOffset += 6_000;
  const overview = (await asViewer('/admin/overview')).json<{ failing: { items: { id: string }[] } }>();
  return overview.failing.items.map(({ id }) => id);
};
/** Staff's reads wait for what is not written only so long, which may be too short on a busy machine. */
const untilFailing = (partners: readonly Partner[]): Promise<void> =>
  until(async () => {
    const ids = await failingIds();
    return partners.every(({ id }) => ids.includes(id));
  }, 'the partners are failing');
const outcomesOf = async ({ id }: Partner): Promise<string[]> =>
  (await asViewer(`${USERS}/${id}/activity`))
    .json<{ items: { outcome: string }[] }>()
    .items.map(({ outcome }) => outcome);
const waiting = async (): Promise<string[]> => {
  const rows = await app.dataSource.query<{ query: string }[]>(
    `SELECT query FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`,
  );
  return rows.map(({ query }) => query);
};
/** What `work` sends through the application's pool. */
const statementsOf = async (work: () => Promise<unknown>): Promise<[text: string, parameters: unknown[]][]> => {
  const sent: [string, unknown[]][] = [];
  const { dataSource } = app;
  const query = dataSource.query.bind(dataSource);
  dataSource.query = ((text: string, parameters: unknown[] = []) => {
    sent.push([text, parameters]);
    return query(text, parameters);
  }) as DataSource['query'];
  try {
    await work();
  } finally {
    dataSource.query = query;
  }
  return sent;
};

/** Every read of staff that waits for something to be written first. */
async function readAll(partners: readonly Partner[]): Promise<void> {
  app.clockOffset += 6_000;
  const paths = [
    USERS,
    `${USERS}?sort=-lastTokenAt&silentForDays=30`,
    `${USERS}/export`,
    '/admin/overview',
    ...partners.flatMap(({ id, credentialId }) => [
      `${USERS}/${id}`,
      `${USERS}/${id}/credentials`,
      `${USERS}/${id}/activity`,
      `${USERS}/${id}/calls`,
      `${USERS}/${id}/errors`,
      `${USERS}/${id}/credentials/${credentialId}/impact`,
    ]),
  ];
  for (const path of paths) {
    const { status } = await asViewer(path);
    expect([path, status]).toEqual([path, 200]);
  }
}

describe.each([
  ['account', 'SELECT FROM channel_user WHERE id = $1 FOR UPDATE'],
  ['last use', 'SELECT FROM channel_user_use WHERE channel_user_id = $1 FOR UPDATE'],
  ['credentials', 'SELECT FROM credential WHERE channel_user_id = $1 FOR UPDATE'],
  ['failures', 'SELECT FROM sign_in_failure WHERE channel_user_id = $1 FOR UPDATE'],
])("while somebody has locked a partner's %s", (_, lock) => {
  it('staff read everything, other records are written, and the rest is written afterwards', async () => {
    const [locked, free] = [await app.newPartner(), await app.newPartner()];
    // So that there is a row of failures.
    for (const partner of [locked, free]) await fail(partner);
    await untilFailing([locked, free]);

    await other.query('BEGIN');
    await other.query(lock, [locked.id]);
    for (const partner of [locked, free]) await app.generateToken(partner);
    await readAll([locked, free]);
    await until(async () => (await lastTokenAt(free)) !== null, 'the last use of the other partner is written');
    await until(async () => !(await failingIds()).includes(free.id), 'the other partner is not failing any more');
    await until(async () => (await outcomesOf(locked)).join() === 'token,refused', 'the sign-ins are written');

    await other.query('ROLLBACK');
    await until(async () => !(await failingIds()).includes(locked.id), 'the partner is not failing any more');
    await eventually(async () => {
      const answer = await asViewer(`${USERS}/${locked.id}/credentials`);
      const { items } = answer.json<{ items: { lastUsedAt: string | null }[] }>();
      return items[0]?.lastUsedAt != null && items[0].lastUsedAt === (await lastTokenAt(locked)) ? true : undefined;
    }, 'the last use is written, of the account and of the credential');
  });
});

const WRITTEN_LATER = ['credential', 'channel_user_use', 'activity', 'sign_in_failure', 'sign_in_hour'];
it.each([...WRITTEN_LATER, 'credential_usage', 'call_count', 'call_error'])(
  'lets staff read everything while nobody may write %s, and writes it afterwards',
  async (table) => {
    const partner = await app.newPartner();
    await fail(partner);
    await untilFailing([partner]);
    await other.query('BEGIN');
    await other.query(`LOCK TABLE ${table} IN SHARE MODE`);
    const token = await app.generateToken(partner);
    expect((await app.request('GET', '/me', { token })).status).toBe(200);
    expect((await app.request('GET', '/me/usage?hours=0', { token })).status).toBe(400);
    await readAll([partner]);
    await other.query('ROLLBACK');
    await until(async () => (await lastTokenAt(partner)) !== null, 'the last use is written');
    await until(async () => !(await failingIds()).includes(partner.id), 'the partner is not failing any more');
    const impact = await asViewer(`${USERS}/${partner.id}/credentials/${partner.credentialId}/impact`);
    expect(impact.json()).toMatchObject({ liveTokens: 1, callsLast24h: 2 });
    await eventually(async () => {
      const { rows } = await other.query<{ calls: number; errors: number }>(
        `SELECT (SELECT sum(calls)::int FROM call_count WHERE channel_user_id = $1) AS calls,
           (SELECT count(*)::int FROM call_error WHERE channel_user_id = $1) AS errors`,
        [partner.id],
      );
      return rows[0]?.calls === 2 && rows[0].errors === 1 ? true : undefined;
    }, 'the calls are written');
  },
);

it('a read continues while its flush still waits', async () => {
  const partner = await app.newPartner();
  await other.query('BEGIN');
  await other.query('LOCK TABLE credential IN SHARE MODE');
  await app.generateToken(partner);
  // The statement waits for three seconds, and is sent again. A read answers while one and the same is waiting.
  await eventually(async () => {
    const [before] = await waiting();
    const answer = await asViewer(`${USERS}/${partner.id}`);
    expect(answer.status).toBe(200);
    return before !== undefined && (await waiting()).includes(before) ? true : undefined;
  }, 'a read was answered while the flush waited');
});

it('unwritten times of use do not delay sign-ins', async () => {
  const partners = await Promise.all(Array.from({ length: 5 }, () => app.newPartner()));
  await other.query('BEGIN');
  await other.query('LOCK TABLE credential, channel_user_use IN SHARE MODE');
  for (const partner of partners) await app.generateToken(partner);
  await eventually(async () => {
    const { rows } = await other.query<{ n: number }>(
      'SELECT count(*)::int AS n FROM activity WHERE channel_user_id = ANY ($1::uuid[])',
      [partners.map(({ id }) => id)],
    );
    return rows[0]?.n === partners.length ? true : undefined;
  }, 'the sign-ins are written');
});

describe('a backlog of records', () => {
  const COUNT = 1_700;
  /** Accounts with a credential each. */
  const make = (prefix: string): Promise<{ channelUserId: string; credentialId: string }[]> =>
    app.seed(
      `WITH account AS (
         INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
           allowed_ips, search_text, updated_at)
         SELECT n, n, 'Bulk', '{}', 3600, 60, '{}', n, now()
         FROM (SELECT $1 || i AS n FROM generate_series(1, $2::int) i) numbers RETURNING id
       )
       INSERT INTO credential (channel_user_id, label, secret_hash) SELECT id, 'x', '$sha256$x' FROM account
       RETURNING channel_user_id AS "channelUserId", id AS "credentialId"`,
      [prefix, COUNT],
    );

  it('of use is written in statements of at most 500 rows, which skip a locked one', async () => {
    const all = await make('used-');
    const written = async (): Promise<number> => {
      const { rows } = await other.query<{ n: number }>(
        `SELECT count(*)::int AS n FROM credential JOIN channel_user_use USING (channel_user_id)
         WHERE credential.id = ANY ($1::uuid[]) AND last_used_at = last_token_at`,
        [all.map(({ credentialId }) => credentialId)],
      );
      return rows[0]?.n ?? 0;
    };
    await other.query('BEGIN');
    await other.query('SELECT FROM credential WHERE id = $1 FOR UPDATE', [all[700]?.credentialId]);
    const sent = await statementsOf(async () => {
      const at = new Date();
      recordUses(
        app,
        all.map((use) => ({ ...use, at, address: '192.0.2.1', userAgent: 'x'.repeat(256) })),
      );
      await until(async () => (await written()) === COUNT - 1, 'all but one are written');
    });
    const sizes = sent
      .filter(([text]) => text.includes('SKIP LOCKED') && text.includes('channel_user_use'))
      .map(([, [rows]]) => (JSON.parse(rows as string) as unknown[]).length);
    expect(sizes.length).toBeGreaterThanOrEqual(COUNT / 500);
    expect(Math.max(...sizes)).toBeLessThanOrEqual(500);
    await other.query('ROLLBACK');
    await until(async () => (await written()) === COUNT, 'the last one is written');
  });

  it('of call counts is written past a batch that cannot be written', async () => {
    const ids = Array.from({ length: COUNT }, () => randomUUID());
    const partner = await app.newPartner();
    const flush = (): Promise<Answer> => asViewer(`${USERS}/${partner.id}/credentials/${partner.credentialId}/impact`);
    const count = (): void => {
      recordCalls(app, ids);
    };
    const twice = async (): Promise<number> => {
      const { rows } = await other.query<{ n: number }>(
        'SELECT count(*)::int AS n FROM credential_usage WHERE credential_id = ANY ($1::uuid[]) AND calls = 2',
        [ids],
      );
      return rows[0]?.n ?? 0;
    };
    count();
    await flush();
    await eventually(async () => {
      const { rows } = await other.query('SELECT FROM credential_usage WHERE credential_id = ANY ($1::uuid[])', [ids]);
      return rows.length === COUNT ? true : undefined;
    }, 'they are written once');
    await other.query('BEGIN');
    await other.query('SELECT FROM credential_usage WHERE credential_id = $1 FOR UPDATE', [ids[0]]);
    count();
    await eventually(async () => {
      await flush();
      return (await twice()) === COUNT - 500 ? true : undefined;
    }, 'the other batches are written');
    await other.query('ROLLBACK');
    await eventually(async () => {
      await flush();
      return (await twice()) === COUNT ? true : undefined;
    }, 'all are written');
  });

  it('of old call counts is deleted in bounded statements, which skip a locked row', async () => {
    await other.query(
      `INSERT INTO credential_usage (credential_id, hour, writer, calls, last_at)
       SELECT gen_random_uuid(), now() - interval '9 days', gen_random_uuid(), 1, now() FROM generate_series(1, 12000)`,
    );
    const OLD = `FROM credential_usage WHERE hour < now() - interval '8 days'`;
    const left = async (): Promise<number> =>
      (await other.query<{ n: number }>(`SELECT count(*)::int AS n ${OLD}`)).rows[0]?.n ?? 0;
    await other.query('BEGIN');
    await other.query(`SELECT ${OLD} LIMIT 1 FOR UPDATE`);
    const sent = await statementsOf(() => app.runTask('Deleting old call counts'));
    // The last one finds nothing.
    expect(sent.filter(([text]) => text.includes('DELETE FROM credential_usage'))).toHaveLength(4);
    expect(await left()).toBe(1);
    await other.query('ROLLBACK');
    await app.runTask('Deleting old call counts');
    expect(await left()).toBe(0);
  });
});
