import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import { createDatabase } from '../../test/support/database.ts';
import { keepOutput, secret } from '../../test/support/secrets.ts';
import { isRunning, ServerProcess } from '../../test/support/server.ts';
import { signInStaff, staffTokenOf } from '../../test/support/staff-sign-in.ts';

const shell = promisify(execFile);
const FIRST_START_SECRETS = /^(Admin password: |curl ).*$/gm;

let folder: string;
let dataDir: string;
const running: ServerProcess[] = [];

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-quickstart-'));
  dataDir = path.join(folder, 'data');
});
afterEach(async () => {
  for (const server of running.splice(0)) {
    if (isRunning(server.pid)) await server.kill('SIGTERM');
    keepOutput(server.stdout.replace(FIRST_START_SECRETS, '') + server.stderr);
  }
  await rm(folder, { recursive: true, force: true });
});

function start(env: Record<string, string> = {}, command?: string[]): ServerProcess {
  const server = new ServerProcess({
    env: { LATCHKEY_DATA_DIR: dataDir, PORT: '0', ...env },
    ...(command && { command }),
  });
  running.push(server);
  return server;
}

const cli = (args: string[], env: Record<string, string> = {}): ServerProcess =>
  start(env, [process.execPath, 'dist/src/cli.js', ...args]);

const post = (url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> =>
  fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
  });

const me = async (url: string, token: string): Promise<number> =>
  (await fetch(`${url}/me`, { headers: { authorization: `Bearer ${token}` } })).status;

const postmasterPid = async (): Promise<number> =>
  Number((await readFile(path.join(dataDir, 'postgres', 'postmaster.pid'), 'utf8')).split('\n')[0]);

describe('the quickstart', () => {
  it('prints an admin and a demo partner once with lines that work, and keeps everything', async () => {
    let server = start();
    const url = await server.listening();
    const email = server.line('Admin e-mail: ');
    const password = secret(server.line('Admin password: '));
    const [obtain = '', use = '', ...more] = server.lines.filter((line) => line.startsWith('curl '));
    expect(more).toEqual([]);
    expect(server.lines.at(-1)).toBe(`Listening on ${url}`);
    secret(/Password=([0-9a-f-]{36})/.exec(obtain)?.[1] ?? '');

    const token = secret((await shell('sh', ['-c', obtain])).stdout);
    expect(await me(url, token)).toBe(200);
    expect(JSON.parse((await shell('sh', ['-c', use])).stdout)).toMatchObject({
      username: 'demo-partner',
      status: 'active',
    });
    expect((await signInStaff(url, { email, password })).status).toBe(200);
    const postgres = await postmasterPid();
    expect(await server.interrupt()).toBe(0);
    expect(isRunning(postgres)).toBe(false);

    // On another port, tokens keep the issuer of the first start and still work.
    server = start();
    const again = await server.listening();
    expect(again).not.toBe(url);
    expect(server.lines).toEqual([`Listening on ${again}`]);
    expect(await me(again, token)).toBe(200);
    expect((await signInStaff(again, { email, password })).status).toBe(200);
    expect(await server.kill('SIGTERM')).toBe(0);
  });

  it('prints three calls to an example that work, at the first start and later', async () => {
    const command = [
      process.execPath,
      'dist/src/main.js',
      '--application',
      'dist/examples/connectivity/application.js',
    ];
    let firstToken = '';
    for (const nth of [1, 2, 3]) {
      const server = start({}, command);
      const url = await server.listening();
      const [obtain = '', read = '', write = '', ...more] = server.lines.filter((line) => line.startsWith('curl '));
      expect([nth, more]).toEqual([nth, []]);
      expect(server.lines.filter((line) => line.startsWith('Admin password: '))).toHaveLength(nth === 1 ? 1 : 0);
      if (nth === 1) secret(server.line('Admin password: '));
      secret(/Password=([0-9a-f-]{36})/.exec(obtain)?.[1] ?? '');

      const token = secret((await shell('sh', ['-c', obtain])).stdout);
      expect(await me(url, token)).toBe(200);
      expect(JSON.parse((await shell('sh', ['-c', read])).stdout)).toEqual([
        { id: expect.any(String) as string, name: 'Double room' },
      ]);
      expect((await shell('sh', ['-c', write])).stdout).toBe('calendar inventory updated');
      firstToken ||= token;
      expect(await me(url, firstToken)).toBe(200);
      expect(await server.interrupt()).toBe(0);
    }
  });

  it.each<[string, (users: string, id: string, headers: Record<string, string>) => Promise<Response>]>([
    ['was deleted', (users, id, headers) => fetch(`${users}/${id}`, { method: 'DELETE', headers })],
    [
      'has as many passwords as allowed',
      async (users, id, headers) => {
        const create = (): Promise<Response> =>
          post(`${users}/${id}/credentials`, { retireOthersInSeconds: null }, headers);
        for (let live = 2; live < 5; live++) await create();
        return create();
      },
    ],
  ])('omits the calls of a demo partner that %s', async (_, change) => {
    const example = ['--application', 'dist/examples/connectivity/application.js'];
    let server = start({}, [process.execPath, 'dist/src/main.js', ...example]);
    let url = await server.listening();
    secret(/Password=([0-9a-f-]{36})/.exec(server.stdout)?.[1] ?? '');
    const admin = { email: server.line('Admin e-mail: '), password: secret(server.line('Admin password: ')) };
    const headers = { authorization: `Bearer ${await staffTokenOf(url, admin)}` };
    const users = `${url}/admin/channel-users`;
    const { items } = (await (await fetch(`${users}?q=demo-partner`, { headers })).json()) as {
      items: { id: string }[];
    };
    expect((await change(users, items[0]?.id ?? '', headers)).ok).toBe(true);
    expect(await server.interrupt()).toBe(0);
    server = start({}, [process.execPath, 'dist/src/main.js', ...example]);
    url = await server.listening();
    expect(server.lines).toEqual([`Listening on ${url}`]);
    expect(await server.interrupt()).toBe(0);
  });

  it('restarts after kill -9 with the database that was left running', async () => {
    let server = start();
    const obtain = await server.listening().then(() => server.lines.find((line) => line.startsWith('curl ')) ?? '');
    const token = secret((await shell('sh', ['-c', obtain])).stdout);
    const orphan = await postmasterPid();
    await server.kill('SIGKILL');
    expect(isRunning(orphan)).toBe(true);
    server = start();
    expect(await me(await server.listening(), token)).toBe(200);
    expect(await server.interrupt()).toBe(0);
    expect(isRunning(orphan)).toBe(false);
  });

  it('allows one server per data directory and says so', async () => {
    const first = start();
    await first.listening();
    const second = start();
    expect(await second.exited).toBe(1);
    expect(second.stderr).toMatch(new RegExp(String(first.pid)));
    expect(second.stderr).not.toMatch(/\n\s+at /);
  });

  it('lets the command line work beside the running server', async () => {
    const server = start();
    const url = await server.listening();
    const created = cli(['staff', 'create', '--email', 'ops@staff.example', '--name', 'Ops', '--role', 'operator']);
    expect(await created.exited).toBe(0);
    const password = secret(created.line('Password: '));
    created.stdout = '';
    expect((await signInStaff(url, { email: 'OPS@staff.example', password })).status).toBe(200);

    const reset = cli(['staff', 'reset-password', '--email', 'ops@staff.example']);
    expect(await reset.exited).toBe(0);
    const renewed = secret(reset.line('Password: '));
    reset.stdout = '';
    expect((await signInStaff(url, { email: 'ops@staff.example', password })).status).toBe(401);
    expect((await signInStaff(url, { email: 'ops@staff.example', password: renewed })).status).toBe(200);

    const admin = { email: server.line('Admin e-mail: '), password: secret(server.line('Admin password: ')) };
    const events = await fetch(`${url}/admin/audit-events?actor=cli`, {
      headers: { authorization: `Bearer ${await staffTokenOf(url, admin)}` },
    });
    expect(await events.json()).toMatchObject({
      items: [
        { action: 'staff.password-reset', actor: { type: 'cli', id: null, name: 'cli' }, target: { name: 'Ops' } },
        { action: 'staff.created', actor: { type: 'cli' }, changes: { role: [null, 'operator'] } },
      ],
    });
  });
});

describe('a start that cannot succeed', () => {
  const key = (): string => secret(randomBytes(32).toString('base64'));

  async function refused(server: ServerProcess): Promise<string> {
    expect(await server.exited).toBe(1);
    expect(server.stderr).not.toMatch(/\n\s+at /);
    expect(server.lines).toEqual([]);
    return server.stderr;
  }

  it('names the variable, the rule and the value, unless it may be a secret', async () => {
    const text = await refused(start({ PORT: '99999', TRUSTED_PROXIES: 'nonsense', KEY_ENCRYPTION_KEY: 'too-short' }));
    expect(text).toContain('PORT must be at most 65535; found "99999"');
    expect(text).toMatch(/TRUSTED_PROXIES must be .*; found "nonsense"/);
    expect(text).toContain('KEY_ENCRYPTION_KEY must be 32 random bytes');
    expect(text).not.toContain('too-short');
  });

  it('asks for every secret in production', async () => {
    const { NODE_ENV: _, ...settings } = { NODE_ENV: 'production', DATABASE_URL: 'postgres://u@127.0.0.1:1/x' };
    for (const env of [settings, { ...settings, NODE_ENV: 'production' }]) {
      const text = await refused(start(env));
      for (const name of ['PUBLIC_URL', 'KEY_ENCRYPTION_KEY']) expect(text).toContain(`${name} is required`);
    }
    expect(await refused(start({ NODE_ENV: 'production' }))).toMatch(
      /^Latchkey did not start\. The configuration is not valid: DATABASE_URL is required .*: set DATABASE_URL, PUBLIC_URL and KEY_ENCRYPTION_KEY, or unset NODE_ENV .*\.\n$/,
    );
  });

  it('says in production how to run pending migrations, and serves once they ran', async () => {
    const { url: databaseUrl, drop } = await createDatabase({ migrated: false });
    const env = {
      NODE_ENV: 'production',
      DATABASE_URL: databaseUrl,
      PUBLIC_URL: 'https://latchkey.example',
      KEY_ENCRYPTION_KEY: key(),
    };
    expect(await refused(start(env))).toContain('npm run migration:run');
    const migrate = cli(['migrate', 'run'], env);
    expect(await migrate.exited).toBe(0);
    const create = cli(['staff', 'create', '--email', 'a@staff.example', '--name', 'A'], env);
    expect(await create.exited).toBe(0);
    const password = secret(create.line('Password: '));
    create.stdout = '';
    const server = start(env);
    const url = await server.listening();
    expect(server.lines).toEqual([`Listening on ${url}`]);
    expect((await signInStaff(url, { email: 'a@staff.example', password })).status).toBe(200);
    expect(await server.kill('SIGTERM')).toBe(0);

    expect(await refused(start({ ...env, KEY_ENCRYPTION_KEY: key() }))).toContain(
      'Set KEY_ENCRYPTION_KEY to the key that encrypted them',
    );
    await drop();
  });

  it('reports an unreachable database without its password', async () => {
    const text = await refused(
      start({
        NODE_ENV: 'development',
        DATABASE_URL: `postgres://u:${secret('hunter2-hunter2')}@127.0.0.1:1/x`,
        PUBLIC_URL: 'http://localhost',
        KEY_ENCRYPTION_KEY: key(),
      }),
    );
    expect(text).toContain('The database at 127.0.0.1:1/x cannot be used');
  });

  it('reports a taken port and leaves no database running', async () => {
    const blocker = net.createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => blocker.once('listening', resolve));
    const { port } = blocker.address() as net.AddressInfo;
    expect(await refused(start({ PORT: String(port) }))).toContain('Change PORT');
    await expect(postmasterPid()).rejects.toThrow('ENOENT');
    blocker.close();
    // Nobody has seen the passwords of the failed start, so this one counts as the first.
    const server = start();
    const url = await server.listening();
    const [email, password] = [server.line('Admin e-mail: '), secret(server.line('Admin password: '))];
    secret(/Password=([0-9a-f-]{36})/.exec(server.stdout)?.[1] ?? '');
    expect((await signInStaff(url, { email, password })).status).toBe(200);
    expect(await server.interrupt()).toBe(0);
  });

  it('reports a missing key instead of making another one', async () => {
    const server = start();
    await server.listening();
    await server.interrupt();
    await rm(path.join(dataDir, 'key-encryption-key'));
    expect(await refused(start())).toContain('key-encryption-key is missing');
    await writeFile(path.join(dataDir, 'key-encryption-key'), 'nonsense');
    expect(await refused(start())).toContain('does not contain a key encryption key');
  });

  it('leaves a database alone that another process may be starting', async () => {
    const server = start();
    await server.listening();
    await server.interrupt();
    await writeFile(path.join(dataDir, 'postgres', 'postmaster.pid'), '');
    expect(await refused(start())).toContain('lock file "postmaster.pid" is empty');
  });

  it('reports invalid input on the command line', async () => {
    const bad = cli(['staff', 'create', '--email', 'nonsense', '--name', 'X']);
    expect(await bad.exited).toBe(1);
    expect(bad.stderr).toContain('email must be an e-mail address');
    const unknown = cli(['staff', 'reset-password', '--email', 'nobody@staff.example']);
    expect(await unknown.exited).toBe(1);
    expect(unknown.stderr).toBe('There is no such staff member.\n');
  });
});
