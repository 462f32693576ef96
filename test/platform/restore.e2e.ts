import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { TestApp } from '../support/app.ts';
import { runCommand } from '../support/command.ts';
import { verifyTrail } from '../support/inside.ts';
import { administer, createDatabase, databaseUrl } from '../support/database.ts';
import { secret } from '../support/secrets.ts';

const run = promisify(execFile);
/** The end of the trail's chain, as HTTP and `audit head` show it. */
interface Head {
  readonly sequence: number;
  readonly mac: string;
}

const USERS = '/admin/channel-users';

/** PostgreSQL's own tools, the newest there are: they dump every older server. */
function tool(name: string): string | undefined {
  const versions = '/usr/lib/postgresql';
  return (existsSync(versions) ? readdirSync(versions) : [])
    .sort((one, other) => Number(other) - Number(one))
    .map((version) => path.join(versions, version, 'bin', name))
    .find((file) => existsSync(file));
}

const [pgDump = 'pg_dump', pgRestore = 'pg_restore'] = [tool('pg_dump'), tool('pg_restore')];

/** Not where there is none, and not of a newer server, as the embedded one may be: then the machine's own is for this. */
async function canDump(): Promise<boolean> {
  const version = await run(pgDump, ['--version']).then(
    ({ stdout }) => Number(/(\d+)\.\d+/.exec(stdout)?.[1]),
    () => 0,
  );
  const client = new pg.Client({ connectionString: databaseUrl('postgres') });
  await client.connect();
  const { rows } = await client.query<{ version: number }>(
    `SELECT current_setting('server_version_num')::int / 10000 AS version`,
  );
  await client.end();
  return version >= (rows[0]?.version ?? Infinity);
}

const hasTools = await canDump();
if (!hasTools) process.stdout.write('Restoring a dump is skipped: there is no pg_dump of this server or a newer one\n');

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-restore-'));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function dump(url: string): Promise<string> {
  const file = path.join(folder, `${String(Date.now())}.dump`);
  await run(pgDump, ['--format=custom', '--file', file, url]);
  return file;
}

async function restored(file: string): Promise<{ url: string; drop: () => Promise<void> }> {
  const database = await createDatabase({ migrated: false });
  await run(pgRestore, ['--no-owner', '--exit-on-error', '--dbname', database.url, file]);
  return database;
}

const cli = async (of: TestApp, ...args: string[]): Promise<string> => {
  const { code, stdout, stderr } = await runCommand(of, args);
  if (code !== 0) throw new Error(stderr);
  return stdout;
};

const me = async (app: TestApp, token: string): Promise<number> => (await app.request('GET', '/me', { token })).status;

(!hasTools ? it.skip : it)(
  'keeps the trail intact and no revoked token alive after a restore to an earlier time',
  async () => {
    const app = await TestApp.start();
    const partner = await app.asPartner();
    const admin = await app.asStaff('admin');
    const json = { email: 'mia@staff.example', name: 'Mia', role: 'operator', deliver: 'link' };
    const invited = await app.request('POST', '/admin/staff', { token: admin.token, json });
    const linkSecret = secret(invited.json<{ link: string }>().link.split('#')[1] ?? '');
    const choose = async (on: TestApp, newPassword: string): Promise<number> => {
      const body = { secret: linkSecret, newPassword: secret(newPassword) };
      return (await on.request('POST', '/admin/password-link/use', { json: body })).status;
    };
    const head = async (): Promise<Head> =>
      (await app.request('GET', '/admin/audit-events/chain', { token: admin.token })).json<{ head: Head }>().head;
    const kept = await head();
    const file = await dump(app.databaseUrl);
    await app.request('POST', `${USERS}/${partner.id}/revoke-tokens`, {
      token: admin.token,
      json: { reason: 'leaked' },
    });
    expect(await me(app, partner.token)).toBe(401);
    expect(await choose(app, 'the-one-that-mia-chose')).toBe(200);
    const later = await head();

    const database = await restored(file);
    const after = await TestApp.start({ ...app.config, databaseUrl: database.url });
    const other = await TestApp.start({ ...app.config, databaseUrl: database.url });
    expect((await verifyTrail(after, kept)).findings).toEqual([]);
    expect((await verifyTrail(after, later)).kinds).toEqual(['truncated']);
    // The danger is real: the revoked token and the staff session are good again.
    expect(await me(after, partner.token)).toBe(200);
    expect(await me(other, partner.token)).toBe(200);
    const session = { token: admin.token };
    expect((await other.request('GET', '/admin/session', session)).status).toBe(200);

    expect(await cli(after, 'after-restore', '--reason', 'restored')).toContain('4 signing keys revoked');
    expect(await choose(after, 'somebody-else-chose-this')).toBe(410);
    // Instances that run hear of it by themselves.
    for (const each of [after, other]) {
      const end = Date.now() + 1_000;
      while ((await me(each, partner.token)) !== 401 && Date.now() < end);
      expect(await me(each, partner.token)).toBe(401);
      expect((await each.request('GET', '/admin/session', session)).status).toBe(401);
      expect(await me(each, await each.generateToken(partner))).toBe(200);
      expect(await each.signIn(admin.email, admin.password)).not.toBe('');
    }
    const token = await after.signIn(admin.email, admin.password);
    const trail = await after.request('GET', '/admin/audit-events?action=signing-key.revoked', { token });
    expect(trail.json<{ items: { reason: string; actor: { type: string } }[] }>().items).toHaveLength(4);
    expect(trail.json<{ items: unknown[] }>().items[0]).toMatchObject({ reason: 'restored', actor: { type: 'cli' } });
    expect(await cli(after, 'audit', 'verify')).toMatch(/^Intact: /);
    await other.close();
    await after.close();
    await database.drop();
    await app.close();
  },
);

describe('the application with a role of its own', () => {
  const role = `latchkey_app_${Math.random().toString(36).slice(2, 10)}`;

  it('does all its work but cannot change the trail', async () => {
    const owner = await TestApp.start();
    const database = new URL(owner.databaseUrl);
    const docs = await readFile('docs/audit-trail.md', 'utf8');
    const sql = /## Owner and application roles[^]*?```sql\n([^`]+)```/.exec(docs)?.[1] ?? '';
    const password = secret(randomBytes(12).toString('hex'));
    await administer(`CREATE ROLE ${role} LOGIN PASSWORD '${password}'`);
    try {
      const statements = sql.replaceAll('latchkey_app', role).split(';\n').filter(Boolean);
      expect(statements).toHaveLength(6);
      for (const statement of statements) await owner.dataSource.query(statement);
      database.username = role;
      database.password = password;
      const app = await TestApp.start({ ...owner.config, databaseUrl: database.href });
      const [me] = await app.dataSource.query<{ name: string; super: boolean }[]>(
        'SELECT rolname AS name, rolsuper AS super FROM pg_roles WHERE rolname = current_user',
      );
      expect(me).toEqual({ name: role, super: false });

      const { token } = await app.asStaff('admin');
      const partner = await app.asPartner();
      const call = async (method: string, target: string, json?: unknown): Promise<void> => {
        const { status, text } = await app.request(method, target, { token, json });
        expect([method, target, status < 300, status < 300 ? '' : text]).toEqual([method, target, true, '']);
        for (const found of text.matchAll(/"password":"([^"]+)"/g)) secret(found[1] ?? '');
      };
      const account = `${USERS}/${partner.id}`;
      await call('PATCH', account, { notes: 'n' });
      await call('POST', `${account}/suspend`, { reason: 'r' });
      await call('POST', `${account}/reactivate`, {});
      await call('POST', `${account}/credentials`, {});
      await call('POST', `${account}/revoke-tokens`, { reason: 'r' });
      await call('GET', `${account}/activity`);
      await call('GET', '/admin/overview');
      await call('GET', '/admin/audit-events/export');
      await call('GET', '/admin/audit-events/chain');
      await call('POST', '/admin/signing-keys/rotate', { purpose: 'partner' });
      await app.generateToken(partner);
      await app.dataSource.query('SELECT activity_partitions(90)');
      await call('DELETE', account);
      await cli(app, 'audit', 'erase', '--subject', partner.id);
      expect(await cli(app, 'audit', 'verify')).toMatch(/^Intact: /);

      for (const statement of [
        `UPDATE audit_event SET action = 'x'`,
        'DELETE FROM audit_event',
        'TRUNCATE audit_event',
        'ALTER TABLE audit_event DISABLE TRIGGER ALL',
        'DROP TRIGGER tr_audit_event_no_row_change ON audit_event',
        'DROP TRIGGER tr_audit_event_chained ON audit_event',
        'DROP TABLE audit_event',
        'SET session_replication_role = replica',
        'DELETE FROM audit_chain',
        'INSERT INTO audit_chain DEFAULT VALUES',
        'DELETE FROM migration',
      ]) {
        await expect(app.dataSource.query(statement)).rejects.toThrow(/permission denied|must be owner/);
      }
      await app.close();
    } finally {
      await owner.close();
      await administer(`DROP OWNED BY ${role}`, `DROP ROLE ${role}`);
    }
  });
});
