import pg from 'pg';
import { type Answer, TestApp } from '../../test/support/app.ts';
import { eventually, inParallel, until } from '../../test/support/sign-ins.ts';

const USERS = '/admin/channel-users';

let app: TestApp;
let client: pg.Client;

beforeAll(async () => {
  app = await TestApp.start();
  client = new pg.Client({ connectionString: app.databaseUrl });
  await client.connect();
  for (const role of ['viewer', 'operator', 'admin'] as const) await app.asStaff(role);
});
afterAll(async () => {
  await client.end();
  await app.close();
});
const read = async (path: string): Promise<Answer> => {
  const answer = await app.request('GET', path, { token: (await app.asStaff('viewer')).token });
  expect([path, answer.status]).toEqual([path, 200]);
  return answer;
};
const lastTokenAt = async (id: string): Promise<string | null> =>
  (await read(`${USERS}/${id}`)).json<{ lastTokenAt: string | null }>().lastTokenAt;

/** Creates an account as the previous release does. */
const insertAsBefore = async (username: string, scopes: string[] = []): Promise<string> => {
  const { rows } = await client.query<{ id: string }>(
    `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
       allowed_ips, search_text, updated_at, last_token_at)
     VALUES ($1, $1, 'Before', $2, 3600, 60, '{}', $1, now(), NULL) RETURNING id`,
    [username, scopes],
  );
  return rows[0]?.id ?? '';
};
/** Records a use as the previous release does. */
const noteAsBefore = (id: string, at: string): Promise<unknown> =>
  client.query('UPDATE channel_user SET last_token_at = $2 WHERE id = $1', [id, at]);

describe('the time of the last token', () => {
  it('is read, sorted and filtered by when the previous version wrote it', async () => {
    const [one, two, three] = [
      await insertAsBefore('before-1'),
      await insertAsBefore('before-2'),
      await insertAsBefore('before-3'),
    ];
    expect(await lastTokenAt(one)).toBeNull();
    const daysAgo = (days: number): string => new Date(Date.now() - days * 86_400_000).toISOString();
    const backdate = (id: string, days: number): Promise<unknown> =>
      client.query('UPDATE channel_user SET created_at = $2 WHERE id = $1', [id, daysAgo(days)]);
    for (const id of [one, two]) await backdate(id, 100);
    const at = daysAgo(40);
    await noteAsBefore(one, at);
    await noteAsBefore(two, daysAgo(39));
    expect(await lastTokenAt(one)).toBe(at);
    const ids = async (query: string): Promise<string[]> =>
      (await read(`${USERS}?q=before-&${query}`)).json<{ items: { id: string }[] }>().items.map(({ id }) => id);
    expect(await ids('sort=lastTokenAt')).toEqual([three, one, two]);
    expect(await ids('sort=-lastTokenAt')).toEqual([two, one, three]);
    expect(await ids('silentForDays=10')).toEqual([one, two]);
    await backdate(three, 11);
    expect(await ids('silentForDays=10')).toEqual([one, two, three]);
    await noteAsBefore(two, daysAgo(1));
    expect(await ids('silentForDays=10&sort=-createdAt')).toEqual([three, one]);
  });

  it('does not go back when the previous version writes an older time', async () => {
    const partner = await app.newPartner();
    await app.generateToken(partner);
    const at = await eventually(async () => (await lastTokenAt(partner.id)) ?? undefined, 'the last use is written');
    await noteAsBefore(partner.id, '2020-01-01T00:00:00Z');
    expect(await lastTokenAt(partner.id)).toBe(at);
  });

  it('is written without touching the row of the account', async () => {
    const partner = await app.newPartner();
    const place = async (): Promise<unknown> =>
      (await client.query('SELECT ctid, xmin, xmax FROM channel_user WHERE id = $1', [partner.id])).rows;
    const before = await place();
    await app.generateToken(partner);
    await eventually(async () => (await lastTokenAt(partner.id)) ?? undefined, 'the last use is written');
    expect(await place()).toEqual(before);
  });
});

describe('the counts of accounts', () => {
  const numbers = async (): Promise<{ total: number; scopes: Record<string, number> }> => {
    // The numbers are cached for a minute.
    app.clockOffset += 61_000;
    const overview = (await read('/admin/overview')).json<{ channelUsers: { total: number } }>();
    const scopes = (await read('/admin/scopes')).json<{ items: { name: string; grantedTo: number }[] }>();
    const granted = scopes.items.filter(({ grantedTo }) => grantedTo > 0);
    return {
      total: overview.channelUsers.total,
      scopes: Object.fromEntries(granted.map(({ name, grantedTo }) => [name, grantedTo])),
    };
  };
  const counted = async (): Promise<{ total: number; scopes: Record<string, number> }> => {
    const { rows } = await client.query<{ scope: string; n: number }>(
      'SELECT scope, count(*)::int AS n FROM channel_user, unnest(scopes) AS scope GROUP BY scope',
    );
    const all = await client.query<{ n: number }>('SELECT count(*)::int AS n FROM channel_user');
    return { total: all.rows[0]?.n ?? 0, scopes: Object.fromEntries(rows.map(({ scope, n }) => [scope, n])) };
  };

  it('stay right while accounts are created, changed, deleted and folded in parallel', async () => {
    const { token } = await app.asStaff('admin');
    const fold = (): Promise<void> => app.runTask('Merging the counts of channel users');
    await inParallel(40, 8, async (i) => {
      const { id } = await app.newPartner({ scopes: i % 2 ? ['tally:a', 'tally:b'] : ['tally:a'] });
      if (i % 5 === 0) await fold();
      if (i % 3 === 0) await app.request('PATCH', `${USERS}/${id}`, { token, json: { scopes: ['tally:c'] } });
      if (i % 4 === 0) await app.request('DELETE', `${USERS}/${id}`, { token });
    });
    const expected = await counted();
    expect(Object.keys(expected.scopes)).toEqual(expect.arrayContaining(['tally:a', 'tally:b', 'tally:c']));
    expect(await numbers()).toEqual(expected);
    await fold();
    expect(await numbers()).toEqual(expected);
    const { rows } = await client.query('SELECT FROM channel_user_tally');
    expect(rows).toHaveLength(1 + Object.keys(expected.scopes).length);
  });

  it('include what the previous version created and deleted, without rolled back changes', async () => {
    const before = await numbers();
    const id = await insertAsBefore('tallied', ['tally:d']);
    expect(await numbers()).toEqual({ total: before.total + 1, scopes: { ...before.scopes, 'tally:d': 1 } });
    await client.query('DELETE FROM channel_user WHERE id = $1', [id]);
    await client.query('BEGIN');
    await insertAsBefore('not-tallied', ['tally:e']);
    await client.query('ROLLBACK');
    expect(await numbers()).toEqual(before);
  });
});

it('notifies instances of another credential and a revocation, but not of new accounts', async () => {
  const { token } = await app.asStaff('operator');
  const partner = await app.newPartner();
  const payloads: string[] = [];
  client.on('notification', ({ payload = '' }) => payloads.push(payload));
  await client.query('LISTEN latchkey_change');
  await app.newPartner();
  // Creates many accounts in one statement, as an import does.
  await app.dataSource.query(
    `WITH account AS (
       INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
         allowed_ips, search_text, updated_at)
       SELECT n, n, 'Bulk', '{}', 3600, 60, '{}', n, now() FROM (SELECT 'new-' || i AS n FROM generate_series(1, 500) i) s
       RETURNING id
     )
     INSERT INTO credential (channel_user_id, label, secret_hash) SELECT id, 'x', '$sha256$x' FROM account`,
  );
  const created = await app.request('POST', `${USERS}/${partner.id}/credentials`, {
    token,
    json: { retireOthersInSeconds: null },
  });
  expect(created.status).toBe(201);
  await app.request('DELETE', `${USERS}/${partner.id}/credentials/${partner.credentialId}`, { token });
  // Notifications arrive in the order of the commits, so this one comes last.
  await app.dataSource.query(`SELECT pg_notify('latchkey_change', 'test:end')`);
  await until(() => payloads.includes('test:end'), 'the last notification');
  expect(payloads).toEqual([`channel_user:${partner.id}`, `channel_user:${partner.id}`, 'test:end']);
});
