import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { createDatabase } from '../../test/support/database.ts';
import { Receiver } from '../../test/support/receiver.ts';
import { keepOutput, secret } from '../../test/support/secrets.ts';
import { ServerProcess } from '../../test/support/server.ts';
import { eventually } from '../../test/support/sign-ins.ts';
import { staffTokenOf } from '../../test/support/staff-sign-in.ts';

// These tests run the built command line on the database of a built server that has stopped.

const DAY_MS = 86_400_000;

let folder: string;
let database: { url: string; drop: () => Promise<void> };
let client: pg.Client;
let receiver: Receiver;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-commands-'));
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  receiver = await Receiver.start();
  env = {
    NODE_ENV: 'development',
    DATABASE_URL: database.url,
    PUBLIC_URL: 'http://latchkey.test',
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  };
});
afterAll(async () => {
  await client.end();
  await receiver.close();
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

async function cli(...args: string[]): Promise<ServerProcess> {
  const command = new ServerProcess({ env, command: [process.execPath, 'dist/src/cli.js', ...args] });
  expect([await command.exited, command.stderr]).toEqual([0, expect.not.stringMatching(/^\{/m)]);
  keepOutput(command.stderr);
  return command;
}

it('runs a command without the background work of a server', async () => {
  const password = secret(
    (await cli('staff', 'create', '--email', 'a@staff.example', '--name', 'A')).line('Password: '),
  );
  // The server keeps activity for longer than the default, and may deliver to this machine. The environment of the
  // command has neither setting.
  const settings = { ACTIVITY_RETENTION_DAYS: '365', WEBHOOK_ALLOWED_NETWORKS: '127.0.0.0/8', PORT: '0' };
  const server = new ServerProcess({ env: { ...env, ...settings } });
  const url = await server.listening();
  const asStaff = async (method: string, at: string, json: object, token = ''): Promise<Record<string, unknown>> => {
    const answer = await fetch(url + at, {
      method,
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(json),
    });
    return (await answer.json()) as Record<string, unknown>;
  };
  const token = await staffTokenOf(url, { email: 'a@staff.example', password });
  secret(String((await asStaff('POST', '/admin/webhooks', { url: receiver.url }, token))['secret']));
  const provisioned = await asStaff('POST', '/admin/channel-users', { username: 'one', displayName: 'One' }, token);
  const { id } = provisioned['channelUser'] as { id: string };
  secret((provisioned['credential'] as { password: string }).password);
  // The delivery fails, and is due again later.
  receiver.answer = (response) => response.writeHead(500).end();
  await asStaff('POST', `/admin/channel-users/${id}/suspend`, { reason: 'unpaid' }, token);
  await receiver.received('channel_user.suspended');
  await eventually(async () => {
    const { rowCount } = await client.query(`SELECT FROM notice_delivery WHERE state = 'failed'`);
    return rowCount === 1 || undefined;
  }, 'the delivery has failed');
  expect(await server.kill('SIGTERM')).toBe(0);
  keepOutput(server.stdout + server.stderr);

  const day = new Date(Date.now() - 200 * DAY_MS).toISOString().slice(0, 10);
  const next = new Date(Date.now() - 199 * DAY_MS).toISOString().slice(0, 10);
  const partition = `activity_${day.replaceAll('-', '')}`;
  await client.query(`CREATE TABLE ${partition} PARTITION OF activity FOR VALUES FROM ('${day}') TO ('${next}')`);
  await client.query(`UPDATE notice_delivery SET next_attempt_at = now()`);

  // Importing this many rows takes longer than the interval of a server's most frequent tasks.
  const file = path.join(folder, 'partners.csv');
  const rows = Array.from({ length: 20_000 }, (_, i) => `many-${String(i)},Many\n`);
  await writeFile(file, `username,displayName\n${rows.join('')}`);
  const started = performance.now();
  await cli('channel-user', 'import', file, '--passwords-to', path.join(folder, 'passwords.csv'));
  expect(performance.now() - started).toBeGreaterThan(2_000);

  const kept = await client.query('SELECT to_regclass($1) AS name', [partition]);
  expect(kept.rows).toEqual([{ name: partition }]);
  const deliveries = await client.query<{ state: string; attempts: number }>(
    'SELECT state, attempts FROM notice_delivery',
  );
  expect(deliveries.rows).toEqual([{ state: 'failed', attempts: 1 }]);
  expect(receiver.messages).toHaveLength(1);
});

it('creates, lists and revokes service accounts', async () => {
  const fields = ['--name', 'Deploy', '--role', 'operator', '--expires-at', '2040-01-01T00:00:00Z'];
  const create = ['service-account', 'create', ...fields, '--allowed-ip', '192.0.2.0/24', '2001:db8::/32'];
  const created = await cli(...create);
  expect(secret(created.line('Key: '))).toMatch(/^lk_sa_[0-9a-f]{32}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$/);
  const id = created.line('Id: ');
  const { rows } = await client.query(
    `SELECT id, role, allowed_ips AS "allowedIps", expires_at AS "expiresAt" FROM service_account`,
  );
  const allowedIps = ['192.0.2.0/24', '2001:db8::/32'];
  expect(rows).toEqual([{ id, role: 'operator', allowedIps, expiresAt: new Date('2040-01-01T00:00:00Z') }]);

  const refused = new ServerProcess({ env, command: [process.execPath, 'dist/src/cli.js', ...create] });
  expect([await refused.exited, refused.stderr]).toEqual([
    1,
    'A service account with this name exists already.\n  name is taken\n',
  ]);
  expect((await cli('service-account', 'list')).stdout).toBe(`${id}  operator  active     never used  Deploy\n`);
  await cli('service-account', 'revoke', '--name', 'deploy', '--reason', 'a test');
  expect((await cli('service-account', 'list')).stdout).toBe(`${id}  operator  revoked    never used  Deploy\n`);
});

it('shows its help without loading the services, and that of each command', async () => {
  const file = path.join(folder, 'loaded');
  const hooks = ['--import', './test/support/loaded-modules.mjs'];
  const command = [process.execPath, ...hooks, 'dist/src/cli.js', '--help'];
  const help = new ServerProcess({ env: { LOADED_MODULES: file }, command });
  expect(await help.exited).toBe(0);
  const loaded = (await readFile(file, 'utf8')).trim().split('\n');
  expect(loaded.filter((url) => /@nestjs|typeorm|\.command\.js/.test(url))).toEqual([]);
  expect(loaded.length).toBeGreaterThan(5);
  const names = [...help.stdout.matchAll(/^ {2}([a-z-]+) {2,}/gm)].map(([, name = '']) => name);
  expect(names).toEqual([
    'staff',
    'service-account',
    'keys',
    'after-restore',
    'audit',
    'channel-user',
    'migrate',
    'openapi',
  ]);
  for (const name of names) {
    const [own, asked] = [await cli(name, '--help'), await cli('help', name)];
    expect([name, asked.stdout]).toEqual([name, own.stdout]);
    expect([name, own.stdout]).toEqual([name, expect.stringContaining(`Usage: latchkey ${name}`)]);
  }
});
