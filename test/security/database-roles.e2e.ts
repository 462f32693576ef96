import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import pg from 'pg';
import { runMigrations } from '../../src/platform/database/migrate.ts';
import { TestApp } from '../support/app.ts';
import { administer, databaseUrl } from '../support/database.ts';
import { type Manifest, readManifests } from '../support/kustomize.ts';
import { secret } from '../support/secrets.ts';

interface Cluster extends Manifest {
  spec: {
    bootstrap: { initdb: { owner: string; postInitApplicationSQL: string[] } };
    managed: { roles: { name: string }[] };
  };
}
const FILE = path.resolve(import.meta.dirname, '../../deploy/kubernetes/data/postgres.yaml');
const { bootstrap, managed } = (readManifests(FILE) as Cluster[])[0]?.spec ?? {};

/** Roles are those of the whole server, which others use too: these have names of their own. */
const suffix = randomBytes(6).toString('hex');
const own = (sql: string): string => sql.replaceAll(/\blatchkey(_owner)?\b/g, (name) => `${name}_${suffix}`);
const OWNER = own(bootstrap?.initdb.owner ?? '');
const APPLICATION = own(managed?.roles[0]?.name ?? '');
const DATABASE = own('latchkey');

function urlOf(role: string, password: string): string {
  const url = new URL(databaseUrl(DATABASE));
  url.username = role;
  url.password = password;
  return url.href;
}

async function run(url: string, ...statements: string[]): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    let rows: Record<string, unknown>[] = [];
    for (const statement of statements) ({ rows } = await client.query<Record<string, unknown>>(statement));
    return rows;
  } finally {
    await client.end();
  }
}

/** What CloudNativePG does with the cluster of deploy/kubernetes: the roles, the database, its SQL. */
describe('the roles of deploy/kubernetes', () => {
  const passwords = {
    owner: secret(randomBytes(16).toString('hex')),
    application: secret(randomBytes(16).toString('hex')),
  };
  const ownerUrl = urlOf(OWNER, passwords.owner);
  const applicationUrl = urlOf(APPLICATION, passwords.application);
  let app: TestApp;

  beforeAll(async () => {
    await administer(
      `CREATE ROLE ${OWNER} LOGIN PASSWORD '${passwords.owner}'`,
      `CREATE DATABASE ${DATABASE} TEMPLATE template0 OWNER ${OWNER}`,
    );
    await run(databaseUrl(DATABASE), ...(bootstrap?.initdb.postInitApplicationSQL ?? []).map(own));
    await administer(`ALTER ROLE ${APPLICATION} LOGIN PASSWORD '${passwords.application}'`);
    await runMigrations(ownerUrl);
    app = await TestApp.start({ databaseUrl: applicationUrl });
  });

  afterAll(async () => {
    await app.close();
    await administer(
      `DROP DATABASE IF EXISTS ${DATABASE} WITH (FORCE)`,
      `DROP ROLE IF EXISTS ${OWNER}`,
      `DROP ROLE IF EXISTS ${APPLICATION}`,
    );
  });

  it('let the application do all its work', async () => {
    const partner = await app.asPartner();
    const { token } = partner;
    expect((await app.request('GET', '/me', { token })).status).toBe(200);
    const { token: admin } = await app.asStaff('admin');
    const channelUser = `/admin/channel-users/${partner.id}`;
    const calls = [
      ['POST', `${channelUser}/suspend`, { reason: 'a test' }, 200],
      ['POST', `${channelUser}/reactivate`, {}, 200],
      ['POST', `${channelUser}/credentials`, { deliver: 'link' }, 201],
      ['POST', `${channelUser}/revoke-tokens`, { reason: 'a test' }, 204],
      ['DELETE', channelUser, undefined, 204],
    ] as const;
    for (const [method, url, json, status] of calls) {
      expect([url, (await app.request(method, url, { token: admin, json })).status]).toEqual([url, status]);
    }
    expect((await app.request('GET', '/me', { token })).status).toBe(401);
    // Parts of a table are made and dropped with the owner's rights.
    await run(applicationUrl, 'SELECT activity_partitions(90)');
  });

  it.each([
    ['disable the triggers of the audit trail', 'ALTER TABLE audit_event DISABLE TRIGGER ALL', '42501'],
    [
      'replace their function',
      'CREATE OR REPLACE FUNCTION audit_event_is_append_only() RETURNS trigger LANGUAGE sql AS $$$$',
      '42501',
    ],
    ['empty the audit trail', 'TRUNCATE audit_event', '42501'],
    ['change the audit trail', 'UPDATE audit_event SET action = action', '42501'],
    ['delete from the audit trail', 'DELETE FROM audit_event', '42501'],
    ['begin another chain', 'INSERT INTO audit_chain DEFAULT VALUES', '42501'],
    ['remove the chain', 'DELETE FROM audit_chain', '42501'],
    ['say that a migration ran', "INSERT INTO migration (timestamp, name) VALUES (1, 'x')", '42501'],
    ['say that no migration ran', 'DELETE FROM migration', '42501'],
    ['silence triggers', "SET session_replication_role = 'replica'", '42501'],
    ['drop a table', 'DROP TABLE audit_event', '42501'],
    ['make a table', 'CREATE TABLE more (id integer)', '42501'],
    ['become the owner', `SET ROLE ${OWNER}`, '42501'],
    ['make a role', 'CREATE ROLE somebody', '42501'],
    ['drop all activity', 'SELECT activity_partitions(-10)', '22023'],
    ['drop the activity of today', 'SELECT activity_partitions(0)', '22023'],
    ['drop activity by a retention of nothing', 'SELECT activity_partitions(NULL)', '22023'],
    ['run a program', "COPY audit_event TO PROGRAM 'true'", '42501'],
  ])('do not let the application %s', async (_, statement, code) => {
    await expect(run(applicationUrl, statement)).rejects.toMatchObject({ code });
  });

  it('have the grants of the runbook and no more', async () => {
    const runbook = readFileSync('docs/audit-trail.md', 'utf8');
    const revoked = [...runbook.matchAll(/^REVOKE ([A-Z, ]+) ON (\w+) FROM latchkey_app;$/gm)];
    expect(revoked.length).toBeGreaterThan(0);
    const granted = await run(
      databaseUrl(DATABASE),
      `SELECT table_name AS name, string_agg(privilege_type::text, ', ' ORDER BY privilege_type::text) AS rights
         FROM information_schema.role_table_grants WHERE grantee = '${APPLICATION}' GROUP BY 1`,
    );
    const all = ['DELETE', 'INSERT', 'SELECT', 'UPDATE'];
    for (const { name, rights } of granted) {
      const [, taken = ''] = revoked.find(([, , table]) => table === name) ?? [];
      expect([name, rights]).toEqual([name, all.filter((right) => !taken.includes(right)).join(', ')]);
    }
  });

  it('let no other role call functions with the rights of their owner', async () => {
    const stranger = own('latchkey').concat('_stranger');
    await administer(`CREATE ROLE ${stranger}`);
    try {
      await run(databaseUrl(DATABASE), `GRANT USAGE ON SCHEMA public TO ${stranger}`);
      await expect(
        run(databaseUrl(DATABASE), `SET ROLE ${stranger}`, 'SELECT activity_partitions(90)'),
      ).rejects.toMatchObject({ code: '42501' });
    } finally {
      await run(databaseUrl(DATABASE), `DROP OWNED BY ${stranger}`);
      await administer(`DROP ROLE ${stranger}`);
    }
  });

  it('close each function with the rights of its owner to PUBLIC and pin its search path', async () => {
    const functions = await run(
      ownerUrl,
      `SELECT proname AS name, has_function_privilege('public', oid, 'EXECUTE') AS public,
          proconfig::text LIKE '%search_path=%pg_temp%' AS pinned
        FROM pg_proc WHERE prosecdef AND pronamespace = 'public'::regnamespace ORDER BY 1`,
    );
    expect(functions).toEqual([{ name: 'activity_partitions', public: false, pinned: true }]);
  });

  it('end what takes too long, even if the application does not ask for it', async () => {
    expect(await run(applicationUrl, 'SHOW statement_timeout')).toEqual([{ statement_timeout: '3s' }]);
    expect(await run(applicationUrl, 'SHOW idle_in_transaction_session_timeout')).toEqual([
      { idle_in_transaction_session_timeout: '10s' },
    ]);
    expect(await run(ownerUrl, 'SHOW lock_timeout')).toEqual([{ lock_timeout: '5s' }]);
    expect(await run(ownerUrl, 'SHOW statement_timeout')).toEqual([{ statement_timeout: '0' }]);
  });
});
