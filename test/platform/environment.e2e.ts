import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { administer, createDatabase, databaseUrl } from '../support/database.ts';
import { PostgresCluster } from '../support/postgres-cluster.ts';
import { keepOutput, secret } from '../support/secrets.ts';
import { isRunning, ServerProcess } from '../support/server.ts';
import { staffTokenOf } from '../support/staff-sign-in.ts';

/** What the environment of the process and the settings of the database server may hold for other programs. */

const running: ServerProcess[] = [];

afterEach(async () => {
  for (const server of running.splice(0)) {
    if (isRunning(server.pid)) await server.kill('SIGTERM');
    keepOutput(server.stdout.replace(/^(Admin password: |Password: |curl ).*$/gm, '') + server.stderr);
  }
});

function start(env: Record<string, string>, command?: string[]): ServerProcess {
  const server = new ServerProcess({ env: { PORT: '0', ...env }, ...(command && { command }) });
  running.push(server);
  return server;
}
const cli = (env: Record<string, string>, ...args: string[]): ServerProcess =>
  start(env, [process.execPath, 'dist/src/cli.js', ...args]);

/** One sentence or two in one line, on standard error, and nothing else. */
async function refusal(server: ServerProcess): Promise<string> {
  expect(await server.exited).toBe(1);
  expect(server.stdout).toBe('');
  expect(server.stderr).toMatch(/^Latchkey did not start\. .+\n$/);
  return server.stderr;
}

async function post(url: string, json: unknown, token?: string): Promise<Record<string, unknown>> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(json),
  });
  expect(response.status).toBeLessThan(300);
  return (await response.json()) as Record<string, unknown>;
}

/** Signs staff in, provisions a partner, signs it in, and reads what both may see. */
async function use(url: string, email: string, password: string): Promise<void> {
  const staffToken = await staffTokenOf(url, { email, password });
  const displayName = 'Ünïted Ключ 日本 \\ \'"';
  const created = await post(`${url}/admin/channel-users`, { username: 'some-one', displayName }, staffToken);
  const { channelUser, credential } = created as {
    channelUser: { id: string; createdAt: string };
    credential: { password: string };
  };
  expect(Math.abs(Date.parse(channelUser.createdAt) - Date.now())).toBeLessThan(60_000);
  const form = { Username: 'some-one', Password: secret(credential.password) };
  const token = secret(
    await (await fetch(`${url}/generateToken`, { method: 'POST', body: new URLSearchParams(form) })).text(),
  );
  const reads: [string, string][] = [
    ['/me', token],
    [`/admin/channel-users?q=${encodeURIComponent('Ünïted')}`, staffToken],
    [`/admin/channel-users/${channelUser.id}`, staffToken],
    [`/admin/channel-users/${channelUser.id}/activity`, staffToken],
    ['/admin/audit-events', staffToken],
    ['/admin/overview', staffToken],
  ];
  for (const [at, bearer] of reads) {
    const answer = await fetch(url + at, { headers: { authorization: `Bearer ${bearer}` } });
    expect([at, answer.status]).toEqual([at, 200]);
    if (at.includes('?q=')) expect(await answer.json()).toMatchObject({ items: [{ displayName }], total: 1 });
  }
}

describe('variables of other PostgreSQL programs', () => {
  const FOREIGN = {
    PGHOST: 'nowhere.invalid',
    PGHOSTADDR: '192.0.2.1',
    PGPORT: '1',
    PGUSER: 'nobody',
    PGDATABASE: 'nothing',
    PGPASSWORD: 'hunter2',
    PGPASSFILE: '/dev/null/nothing',
    PGSERVICE: 'nothing',
    PGSSLMODE: 'verify-full',
    PGSSLNEGOTIATION: 'direct',
    PGOPTIONS: '-c search_path=nowhere -c nothing=1',
    PGCLIENTENCODING: 'LATIN1',
    PGDATESTYLE: 'German',
    PGTZ: 'Asia/Kathmandu',
    PGREPLICATION: 'database',
    PGBINARY: '1',
    PGAPPNAME: 'other',
    PGCONNECT_TIMEOUT: '1',
    PGDATA: '/nowhere',
    NODE_PG_FORCE_NATIVE: '1',
  };

  it('do not affect the quickstart or its command line', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-environment-'));
    try {
      const env = { ...FOREIGN, LATCHKEY_DATA_DIR: path.join(folder, 'data') };
      const server = start(env);
      const url = await server.listening();
      expect(server.stderr).toBe(`The staff console is at ${url}/console\n`);
      await use(url, server.line('Admin e-mail: '), secret(server.line('Admin password: ')));
      const verify = cli(env, 'audit', 'verify');
      expect(await verify.exited).toBe(0);
      expect(await server.interrupt()).toBe(0);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});

describe('a configured database server', () => {
  const settings = { NODE_ENV: 'development', PUBLIC_URL: 'http://localhost' };
  const key = secret(randomBytes(32).toString('base64'));
  let cluster: PostgresCluster;
  beforeAll(async () => {
    cluster = await PostgresCluster.start();
  });
  afterAll(() => cluster.remove());

  it('works with a password of any characters', async () => {
    const url = new URL(cluster.url);
    const password = secret(`p/a+s=s%w?o#r d@:é${randomBytes(8).toString('hex')}`);
    const [role, database] = [url.username, url.pathname.slice(1)];
    await cluster.administer(
      `ALTER ROLE ${role} PASSWORD '${password}'`,
      ...[
        `DateStyle = 'German, DMY'`,
        `IntervalStyle = 'iso_8601'`,
        `TimeZone = 'Asia/Kathmandu'`,
        `standard_conforming_strings = off`,
        `default_transaction_isolation = 'serializable'`,
        `client_encoding = 'LATIN1'`,
        `bytea_output = 'escape'`,
        `extra_float_digits = -10`,
      ].map((setting) => `ALTER DATABASE ${database} SET ${setting}`),
    );
    url.password = '';
    const env = { ...settings, KEY_ENCRYPTION_KEY: key, DATABASE_URL: url.href, DATABASE_PASSWORD: password };
    expect(await cli(env, 'migrate', 'run').exited).toBe(0);
    const create = cli(env, 'staff', 'create', '--email', 'a@staff.example', '--name', 'A');
    expect(await create.exited).toBe(0);
    // The same password, in the address.
    const { DATABASE_PASSWORD: _, ...inUrl } = env;
    const [before, after] = url.href.split('@') as [string, string];
    const server = start({ ...inUrl, DATABASE_URL: `${before}:${encodeURIComponent(password)}@${after}` });
    await use(await server.listening(), 'a@staff.example', secret(create.line('Password: ')));
    expect(await cli(env, 'audit', 'verify').exited).toBe(0);
    const complaints = server.stdout.split('\n').filter((line) => /"level":"(warn|error)"/.test(line));
    expect(complaints).toEqual([]);
  });

  it.each([
    ['main', []],
    ['migrate', ['migrate', 'run']],
    ['verify', ['audit', 'verify']],
  ])('is refused in one sentence when it is unusable: %s', async (_, command) => {
    const env = { ...settings, KEY_ENCRYPTION_KEY: key };
    const run = (url: string): ServerProcess =>
      command.length === 0 ? start({ ...env, DATABASE_URL: url }) : cli({ ...env, DATABASE_URL: url }, ...command);

    expect(await refusal(run(`postgres://u:${secret('hunter2-hunter2')}@127.0.0.1:1/x`))).toContain(
      'The database at 127.0.0.1:1/x cannot be used: connect ECONNREFUSED 127.0.0.1:1. Check DATABASE_URL.',
    );
    const wrong = new URL(cluster.url);
    wrong.password = secret('not-the-right-password');
    expect(await refusal(run(wrong.href))).toContain('password authentication failed');

    const name = `latchkey_environment_${randomBytes(4).toString('hex')}`;
    await administer(`CREATE DATABASE ${name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0`);
    try {
      expect(await refusal(run(databaseUrl(name)))).toContain('its encoding is LATIN1, and Latchkey needs UTF8');
    } finally {
      await administer(`DROP DATABASE ${name} WITH (FORCE)`);
    }
    const { url, drop } = await createDatabase({ migrated: false });
    try {
      expect(await refusal(run(`${url}?options=-c%20search_path%3Dnowhere`))).toContain('search_path names no schema');
    } finally {
      await drop();
    }
  });
});

describe('secrets in files', () => {
  const DEVELOPMENT = { NODE_ENV: 'development', PUBLIC_URL: 'http://localhost' };
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(path.join(tmpdir(), 'latchkey-secrets-'));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  async function fileOf(name: string, text: string): Promise<string> {
    const file = path.join(folder, name);
    await writeFile(file, text);
    return file;
  }

  it('work for the server and the command line', async () => {
    const { url, drop } = await createDatabase();
    let server: ServerProcess | undefined;
    try {
      const env = {
        ...DEVELOPMENT,
        DATABASE_URL_FILE: await fileOf('url', `${url}\n`),
        KEY_ENCRYPTION_KEY_FILE: await fileOf('key', `${secret(randomBytes(32).toString('base64'))}\r\n`),
      };
      const create = cli(env, 'staff', 'create', '--email', 'f@staff.example', '--name', 'F');
      expect(await create.exited).toBe(0);
      server = start(env);
      await use(await server.listening(), 'f@staff.example', secret(create.line('Password: ')));
    } finally {
      await server?.kill('SIGTERM');
      await drop();
    }
  });

  it('are refused in one sentence without the path when a file is missing', async () => {
    const server = start({ ...DEVELOPMENT, KEY_ENCRYPTION_KEY_FILE: path.join(folder, 'none') });
    expect(await refusal(server)).toBe(
      'Latchkey did not start. The configuration is not valid: KEY_ENCRYPTION_KEY_FILE must name a readable file (ENOENT).\n',
    );
  });
});

describe('old names of settings', () => {
  it('work with a warning that names the new ones', async () => {
    const { url, drop } = await createDatabase();
    const server = start({
      NODE_ENV: 'development',
      PUBLIC_URL: 'http://localhost',
      DATABASE_URL: url,
      KEY_ENCRYPTION_KEYS: [0, 1].map(() => secret(randomBytes(32).toString('base64'))).join(),
      DIRECTORY_CACHE_SIZE: '500',
      TOKEN_CACHE_SIZE: '700',
    });
    try {
      await server.listening();
      const warnings = server.stdout.split('\n').filter((line) => line.includes('"level":"warn"'));
      expect(warnings.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual([
        'DIRECTORY_CACHE_SIZE will stop working in the next minor version: set CACHE_SIZE instead.',
        'TOKEN_CACHE_SIZE will stop working in the next minor version: set CACHE_SIZE instead.',
        'KEY_ENCRYPTION_KEYS will stop working in the next minor version: set KEY_ENCRYPTION_KEY instead.',
      ]);
    } finally {
      await server.kill('SIGTERM');
      await drop();
    }
  });
});

describe('the start of a program', () => {
  const OLD = `data:text/javascript,Object.defineProperty(process,'version',{value:'v20.20.2'});Object.defineProperty(process,'versions',{value:{node:'20.20.2'}})`;

  it.each(['dist/src/main.js', 'dist/src/cli.js'])('is refused on a Node that is too old: %s', async (file) => {
    const server = start({}, [process.execPath, '--import', OLD, file]);
    expect(await refusal(server)).toBe(
      'Latchkey did not start. It needs Node 24 or newer, but this is v20.20.2. Use npm start, which runs the bundled Node (node_modules/.bin/node).\n',
    );
  });

  it('is refused with unknown arguments', async () => {
    const server = start({}, [process.execPath, 'dist/src/main.js', '--port', '3000']);
    expect(await refusal(server)).toContain("Unknown option '--port'");
  });
});
