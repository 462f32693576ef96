import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { type ClientRequest, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import { createDatabase } from '../../../test/support/database.ts';
import { realTime } from '../../../test/support/real-time.ts';
import { keepOutput, secret } from '../../../test/support/secrets.ts';
import { ServerProcess } from '../../../test/support/server.ts';
import { eventually, until } from '../../../test/support/sign-ins.ts';
import { staffTokenOf } from '../../../test/support/staff-sign-in.ts';

/** On the built server and the built command line. */
let folder: string;
let database: { url: string; drop: () => Promise<void> };
let client: pg.Client;
let env: Record<string, string>;
let url: string;
let token: string;
let server: ServerProcess;

interface Run {
  code: number;
  stdout: string;
  stderr: string;
}

const cli = (...args: string[]): Promise<Run> =>
  new Promise((resolve) => {
    const options = { env: { PATH: process.env['PATH'] ?? '', ...env } };
    execFile(process.execPath, ['dist/src/cli.js', ...args], options, (error, stdout, stderr) => {
      keepOutput(stderr);
      resolve({ code: error ? Number(error.code) : 0, stdout, stderr });
    });
  });

const countOf = async (sql: string): Promise<number> => {
  const { rows } = await client.query<{ count: number }>(`SELECT count(*)::int AS count FROM ${sql}`);
  return rows[0]?.count ?? -1;
};

async function start(flags: string[] = []): Promise<void> {
  server = new ServerProcess({ command: [process.execPath, ...flags, 'dist/src/main.js'], env: { ...env, PORT: '0' } });
  url = await server.listening();
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-import-'));
  database = await createDatabase();
  client = new pg.Client({ connectionString: database.url });
  await client.connect();
  env = {
    NODE_ENV: 'development',
    DATABASE_URL: database.url,
    PUBLIC_URL: 'http://latchkey.test',
    KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  };
  const { stdout } = await cli('staff', 'create', '--email', 'a@staff.example', '--name', 'A');
  const password = secret(/^Password: (.+)$/m.exec(stdout)?.[1] ?? '');
  // The heap is too small to hold the file and its answer many times.
  await start(['--max-old-space-size=96', '--max-semi-space-size=8']);
  token = await staffTokenOf(url, { email: 'a@staff.example', password });
});

afterAll(async () => {
  await server.kill('SIGKILL').catch(() => undefined);
  keepOutput(server.stdout + server.stderr);
  await client.end();
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

const HEADER = 'username,displayName,contactEmail,scopes,notes\n';
const rowsOf = (prefix: string, from: number, count: number): string =>
  Array.from(
    { length: count },
    (_, i) =>
      `${prefix}-${String(from + i)},"Partner, Ltd",ops@p.example,calendar:write property:read,${'n'.repeat(200)}\n`,
  ).join('');

/** Resident memory of the server, in MB. */
async function residentMb(): Promise<number> {
  const status = await readFile(`/proc/${String(server.pid)}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1_000;
}

it('uses as much memory for 20,000 rows as for few', async () => {
  const send = (file: string): Promise<Response> =>
    fetch(`${url}/admin/channel-users/import`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'text/csv' },
      body: file,
    });
  const first = (await (await send(HEADER + rowsOf('warm', 0, 2_000))).json()) as { credentials: unknown[] };
  expect(first.credentials.length).toBe(2_000);
  const before = await residentMb();
  let most = 0;
  const sampling = setInterval(() => {
    residentMb().then(
      (mb) => (most = Math.max(most, mb)),
      () => undefined,
    );
  }, 50);
  try {
    const answer = await send(HEADER + rowsOf('many', 0, 20_000));
    const { created, credentials } = (await answer.json()) as { created: number; credentials: { password: string }[] };
    expect([created, credentials.length]).toEqual([20_000, 20_000]);
    expect(server.stdout).not.toContain(credentials[0]?.password);
  } finally {
    clearInterval(sampling);
  }
  expect(most).toBeGreaterThan(50);
  // The file has 6 MB and the answer 3; 20,000 rows as objects would be far more.
  expect(most - before).toBeLessThan(60);
});

/** An upload that goes on until the test ends it. */
function uploading(id: string): {
  upload: ClientRequest;
  answered: Promise<{ status: number; text: string } | undefined>;
} {
  const upload = httpRequest(`${url}/admin/channel-users/import?id=${id}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'text/csv' },
  });
  const answered = new Promise<{ status: number; text: string } | undefined>((resolve) => {
    upload.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('close', () => {
        resolve({ status: response.statusCode ?? 0, text });
      });
    });
    upload.on('error', () => {
      resolve(undefined);
    });
  });
  return { upload, answered };
}

const stateOf = async (id: string): Promise<string | undefined> => {
  const { rows } = await client.query<{ state: string }>('SELECT state FROM channel_user_import WHERE id = $1', [id]);
  return rows[0]?.state;
};
const isStaged = (id: string, count: number): Promise<void> =>
  until(async () => (await countOf(`channel_user_import_row WHERE import_id = '${id}'`)) >= count, 'rows wait');
const nothingIsStaged = (): Promise<void> =>
  until(async () => (await countOf('channel_user_import_row')) === 0, 'it is swept');

/** Blocks the audit trail, which an import writes last. @returns a function that releases it */
async function holdTrail(): Promise<() => Promise<void>> {
  const holder = new pg.Client({ connectionString: database.url });
  await holder.connect();
  await holder.query('BEGIN');
  await holder.query('SELECT FROM audit_chain FOR UPDATE');
  return async () => {
    await holder.query('COMMIT');
    await holder.end();
  };
}
/** An import whose file has arrived as a whole, and that waits for the audit trail. */
async function heldAtTheEnd(prefix: string) {
  const id = randomUUID();
  const { upload, answered } = uploading(id);
  const letGo = await holdTrail();
  upload.end(HEADER + rowsOf(prefix, 0, 1_000));
  await waitsForTrail();
  return { id, upload, answered, letGo };
}
const waitsForTrail = (): Promise<void> =>
  until(
    async () => (await countOf(`pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)) > 0,
    'it waits',
    60_000,
  );

it('leaves nothing half done when the instance is killed, and the next import may begin', async () => {
  const id = randomUUID();
  const { upload } = uploading(id);
  upload.write(HEADER + rowsOf('killed', 0, 3_000));
  await isStaged(id, 2_500);
  await server.kill('SIGKILL');
  keepOutput(server.stdout + server.stderr);
  upload.destroy();
  expect(await countOf(`channel_user WHERE starts_with(username_key, 'killed')`)).toBe(0);

  // The killed import counts as alive for half a minute.
  const file = path.join(folder, 'after.csv');
  await writeFile(file, HEADER + rowsOf('after', 0, 2));
  const early = await cli('channel-user', 'import', file);
  expect([early.code, early.stderr]).toEqual([
    1,
    expect.stringMatching(/^Another import has been running since .* can start at .*Z, in \d+ seconds\.\n$/),
  ]);
  await client.query(`UPDATE channel_user_import SET heartbeat_at = now() - interval '31 seconds' WHERE id = $1`, [id]);
  await start();
  await nothingIsStaged();
  expect(await stateOf(id)).toBe('interrupted');
  const late = await cli('channel-user', 'import', file);
  for (const line of late.stdout.trim().split('\r\n').slice(1)) secret(line.split(',')[4] ?? '');
  expect(late.code).toBe(0);
});

it('imports nothing when the instance stops during an upload, and the next import may begin', async () => {
  const id = randomUUID();
  const { upload, answered } = uploading(id);
  upload.write(HEADER + rowsOf('stopped', 0, 3_000));
  await isStaged(id, 2_500);
  const stopping = performance.now();
  expect(await server.kill('SIGTERM')).toBe(0);
  expect(performance.now() - stopping).toBeLessThan(10_000);
  keepOutput(server.stdout + server.stderr);
  const answer = await answered;
  if (answer) expect([answer.status, JSON.parse(answer.text)]).toMatchObject([503, { code: 'service.unavailable' }]);
  expect(await countOf(`channel_user WHERE starts_with(username_key, 'stopped')`)).toBe(0);
  expect(await stateOf(id)).toBe('interrupted');
  await start();
  await nothingIsStaged();
  const next = uploading(randomUUID());
  next.upload.end(HEADER + rowsOf('stopped', 0, 2));
  const { status, text = '' } = (await next.answered) ?? {};
  for (const { password } of (JSON.parse(text) as { credentials: { password: string }[] }).credentials)
    secret(password);
  expect(status).toBe(200);
});

it('finishes and answers an import that was received before the stop', async () => {
  const { id, answered, letGo } = await heldAtTheEnd('finished');
  const exited = server.kill('SIGTERM');
  await realTime('Latchkey is stopping');
  await letGo();
  const { status, text = '' } = (await answered) ?? {};
  expect(await exited).toBe(0);
  keepOutput(server.stdout + server.stderr);
  const { created, credentials } = JSON.parse(text) as { created: number; credentials: { password: string }[] };
  for (const { password } of credentials) secret(password);
  expect([status, created, credentials.length]).toEqual([200, 1_000, 1_000]);
  expect(await stateOf(id)).toBe('imported');
  await start();
  await nothingIsStaged();
});

it('lets a sender that hung up ask for the result, and keeps nothing staged', async () => {
  const { id, upload, answered, letGo } = await heldAtTheEnd('hung-up');
  upload.destroy();
  expect(await answered).toBeUndefined();
  await letGo();
  const state = await eventually(async () => {
    const found = await stateOf(id);
    return found === 'running' ? undefined : found;
  }, 'it ends');
  const accounts = await countOf(`channel_user WHERE starts_with(username_key, 'hung-up')`);
  expect([state, accounts]).toEqual(state === 'imported' ? ['imported', 1_000] : ['interrupted', 0]);
  await nothingIsStaged();
});

it('checks, reports rows and writes passwords to a private file on the command line', async () => {
  const file = path.join(folder, 'partners.csv');
  const passwords = path.join(folder, 'passwords.csv');
  await writeFile(file, 'username,displayName\n@first,First\nsecond-one,\n');
  const refused = await cli('channel-user', 'import', file, '--passwords-to', passwords);
  expect([refused.code, refused.stdout]).toEqual([1, '']);
  expect(refused.stderr).toMatch(/^ {2}line 3 displayName must be text/m);
  await expect(stat(passwords)).rejects.toThrow('ENOENT');

  const checked = await cli('channel-user', 'import', file, '--dry-run', '--partial');
  expect(checked.stderr).toMatch(/^1 of 2 rows would be imported\. Rows with errors: 1\. Errors: 1\.$/m);

  const imported = await cli('channel-user', 'import', file, '--partial', '--passwords-to', passwords);
  expect([imported.code, imported.stdout]).toEqual([1, '']);
  expect((await stat(passwords)).mode & 0o777).toBe(0o600);
  const [header, line = ''] = (await readFile(passwords, 'utf8')).split('\r\n');
  expect(header).toBe('row,username,id,fingerprint,password');
  const [row, username, , , password = ''] = line.split(',');
  secret(password);
  expect([row, username]).toEqual(['2', '@first']);
  const answer = await fetch(`${url}/generateToken`, {
    method: 'POST',
    body: new URLSearchParams({ Username: username ?? '', Password: password }),
  });
  expect(answer.status).toBe(200);
  secret(await answer.text());

  await writeFile(file, 'username,displayName\nthird-one,Third\n');
  const again = await cli('channel-user', 'import', file, '--passwords-to', passwords);
  expect([again.code, again.stderr]).toEqual([1, expect.stringMatching(/passwords\.csv cannot be created: EEXIST/)]);
  expect(await countOf(`channel_user WHERE username_key = 'third-one'`)).toBe(0);
});
