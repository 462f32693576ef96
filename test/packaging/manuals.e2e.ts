import { execFile } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import path from 'node:path';
import { createServer, type Server } from 'node:tls';
import { createDatabase } from '../support/database.ts';
import { copyOfRepository, manualCommands } from '../support/manuals.ts';
import { freePort } from '../support/ports.ts';
import { keepOutput, secret } from '../support/secrets.ts';
import { ServerProcess } from '../support/server.ts';
import { eventually } from '../support/sign-ins.ts';
import { staffTokenOf } from '../support/staff-sign-in.ts';

/** Every command of every manual, run as it is printed in a copy of the repository, beside a built server. */
const PATIENCE_MS = 1_200_000;
/** Of one command. */
const COMMAND_MS = 240_000;

/** Commands that another test runs: by file. */
const ELSEWHERE: Record<string, readonly string[]> = {
  'test/smoke.ts': ['npm ci && npm start', 'npm start', 'npm run start:example'],
  'test/packaging/extending.e2e.ts': [
    'npm run openapi',
    'npm test -- message\nnpm run check',
    'node dist/src/main.js --application dist/examples/connectivity/application.js',
    'node dist/src/cli.js --application … migrate run',
  ],
  'src/staff/break-glass.e2e.ts': ['npm run -s cli -- staff allow-passwords'],
  'test/packaging/interop.e2e.ts': ['ask() {'],
  'test/platform/restore.e2e.ts': [
    'pg_dump -Fc "$DATABASE_URL" > latchkey.dump',
    'pg_restore --no-owner --dbname "$NEW_DATABASE_URL" latchkey.dump',
  ],
  'test/packaging/provisioning.e2e.ts': ['LATCHKEY_URL=https://latchkey.example LATCHKEY_KEY='],
  'src/quickstart/quickstart.e2e.ts': ['node dist/src/main.js'],
  'test/packaging/deployment.spec.ts': ['{ printf ', 'DATABASE_URL=postgres://latchkey:change-me@'],
};

/** Commands that no test runs, and why. A text stands for every command that begins so. */
const NOT_RUN: Record<string, readonly string[]> = {
  'needs a Kubernetes cluster; test/packaging/deployment.spec.ts checks what is applied': ['kubectl '],
  'would run all tests within a test, or change the packages that this test needs': [
    'npm ci',
    'npm test',
    'npm run check',
    'npm run test:faults',
    'npm install',
  ],
  'runs until it is stopped, for whoever works on the code': ['npm run dev'],
  'measures for minutes': ['npm run bench', 'npm run soak', 'node bench/', 'npm run build && node bench/'],
  'is part of npm run check': [
    'npm run build',
    'npm run commits',
    'npm run boundaries',
    'npm run types',
    'npm run lint',
  ],
  'writes a migration; test/platform/migrations.e2e.ts compares schema and entities': ['npm run migration:generate'],
  'needs a registry that answers it': ['npm audit'],
  'writes files that src/platform/config/settings.spec.ts compares': ['npm run settings'],
  'names where commands are typed, and is none': ['npm run -s cli -- …', 'npm run cli -- …', 'node dist/src/cli.js …'],
  'shows settings, not a command': ['DATABASE_URL=postgres://latchkey:…@'],
  'needs a host of the reader’s own': ['curl -si https://YOUR_PUBLIC_URL/'],
  'needs a container runtime': ['docker '],
};

interface Step {
  /** How it begins. */
  readonly text: string;
  readonly expected?: RegExp;
  readonly code?: number;
  readonly before?: () => Promise<unknown>;
}

let copy: string;
let database: { url: string; drop: () => Promise<void> };
let server: ServerProcess;
let tls: Server | undefined;
let env: Record<string, string>;
let url: string;

const partners = (): Promise<void> =>
  writeFile(path.join(copy, 'partners.csv'), `username,displayName\none-${randomUUID().slice(0, 8)},One\n`);
const keepLog = (): Promise<void> => writeFile(path.join(copy, 'latchkey.out'), server.stdout);

/** An import that runs under the id that the manual ends. */
async function running(): Promise<void> {
  const upload = httpRequest(`${url}/admin/channel-users/import?id=5e1b6c1e-8d0f-4c3e-9a57-0d6d5c1c2f00`, {
    method: 'POST',
    headers: { authorization: `Bearer ${env['TOKEN'] ?? ''}`, 'content-type': 'text/csv' },
  });
  upload.write('username,displayName\n');
  // Goes on, since an upload that pauses for long is ended, however long the commands take meanwhile.
  const sending = setInterval(() => upload.write('\n'), 1_000);
  upload
    .on('error', () => undefined)
    .on('close', () => {
      clearInterval(sending);
    })
    .on('response', () => upload.destroy());
  await eventually(async () => {
    const { stdout } = await shell(
      `psql -At "$DATABASE_URL" -c "SELECT 1 FROM channel_user_import WHERE state = 'running'"`,
    );
    return stdout === '1\n' ? true : undefined;
  }, 'the import runs');
}

async function post(at: string, json: object): Promise<Record<string, unknown>> {
  const answer = await fetch(url + at, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${env['TOKEN'] ?? ''}` },
    body: JSON.stringify(json),
  });
  return (await answer.json()) as Record<string, unknown>;
}

let staffToken: string;
/** For commands of a partner: its token and password. */
async function asPartner(): Promise<void> {
  staffToken = env['TOKEN'] ?? '';
  const made = await post('/admin/channel-users', { username: 'rotates-itself', displayName: 'Rotates itself' });
  const password = secret((made['credential'] as { password: string }).password);
  const body = new URLSearchParams({ Username: 'rotates-itself', Password: password });
  const answer = await fetch(`${url}/generateToken`, { method: 'POST', body });
  Object.assign(env, { TOKEN: secret(await answer.text()), PASSWORD: password });
}
function asStaff(): Promise<void> {
  env['TOKEN'] = staffToken;
  return Promise.resolve();
}

/** In the order in which they make sense. Those that begin alike run one after the other. */
const STEPS: readonly Step[] = [
  { text: 'npm run migration:run', expected: /Nothing to do\.\n[^]*^Password: \S+/m },
  { text: 'npm run cli -- service-account create', expected: /^Key: lk_sa_/m },
  { text: 'openssl rand -base64 32', expected: /^[A-Za-z0-9+/]{43}=$/m },
  { text: 'printf %s "$PASSWORD" | sha256sum', expected: /^[0-9a-f]{8}$/m },
  { text: 'TOKEN=$(curl -s http://127.0.0.1:3000/admin/session', expected: /"handoverUrl":"https:/ },
  {
    text: 'TOKEN=$(curl -s https://latchkey.example/generateToken',
    expected: /^\{"id":"[^]*"username":"blue-channel"/,
  },
  { text: 'curl -s https://latchkey.example/me/credentials', expected: /"status":"pending"/, before: asPartner },
  {
    text: 'curl -i https://latchkey.example/credentials/report-leaked',
    expected: /^HTTP\/1\.1 202 /m,
    before: asStaff,
  },
  // Its receiver is nobody's: what runs the test may not know the name.
  {
    text: 'curl -s https://latchkey.example/admin/webhooks',
    expected: /"secret":"whsec_|must have a host name that DNS can resolve/,
  },
  { text: 'curl -s "$OPS/health/ready" | jq .details', expected: /"database": \{/ },
  { text: 'curl -m 2 "$OPS/health/live"', expected: /"ok"/ },
  { text: `psql "$DATABASE_URL" -c 'SELECT now()`, expected: /\bf\b/ },
  { text: "grep '^{' latchkey.out > latchkey.log", before: keepLog },
  { text: 'jq ' },
  { text: 'npm run cli -- channel-user import partners.csv --dry-run', expected: /^$/, before: partners },
  {
    text: 'curl -H "Authorization: Bearer $TOKEN"',
    expected: /"outcome":"checked","rows":1,"created":1/,
    before: partners,
  },
  {
    text: 'npm run cli -- channel-user import partners.csv --links-to',
    expected: /^$/,
    before: partners,
  },
  { text: 'npm run cli -- channel-user template', expected: /^$/ },
  { text: 'npm run cli -- channel-user export --file', expected: /^$/ },
  { text: 'npm run cli -- channel-user imports', expected: /running [^]*^The import is cancelled\./m, before: running },
  { text: 'npm run cli -- staff reset-second-factor --email', expected: /This account has no second factor/ },
  { text: 'npm run cli -- keys list', expected: /partner {2}/ },
  { text: 'node dist/src/cli.js keys list', expected: /partner {2}/ },
  { text: 'npm run cli -- keys re-encrypt', expected: /^Re-encrypted: / },
  { text: 'npm run cli -- audit head > head.json', expected: /^$/ },
  { text: 'npm run cli -- audit verify --head head.json', expected: /^Intact: / },
  { text: 'npm run cli -- audit export > trail.ndjson', expected: /^$/ },
  { text: 'npm run cli -- audit verify --export trail.ndjson --head head.json', expected: /^Intact: / },
  { text: 'npm run cli -- audit erase --subject "$ID"', expected: /^Erased\./ },
  { text: 'npm run cli -- audit verify', expected: /Intact: / },
  { text: 'node dist/src/cli.js keys rotate --purpose partner', expected: /^/ },
  { text: 'node dist/src/cli.js migrate run', expected: /^Nothing to do\.$/m },
  { text: 'npm run cli -- after-restore', expected: /signing keys revoked/ },
];

function shell(script: string): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const options = { cwd: copy, env, timeout: COMMAND_MS, maxBuffer: 2 ** 24 };
    execFile('sh', ['-ec', script], options, (error, stdout, stderr) => {
      resolve({ code: error ? Number(error.code ?? NaN) : 0, stdout, stderr });
    });
  });
}

/** How a manual's command is known: with or without the option that silences npm, and without the line breaks of a page. */
const nameOf = (text: string): string => text.replace(/^npm run -s /, 'npm run ');

/** https://latchkey.example as curl finds it, before the server. */
async function beforeServer(port: number): Promise<Server> {
  const made = await shell(
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 -subj /CN=latchkey.example ' +
      '-addext subjectAltName=DNS:latchkey.example -keyout key.pem -out cert.pem 2>/dev/null',
  );
  expect(made.code).toBe(0);
  const [key, cert] = await Promise.all(['key.pem', 'cert.pem'].map((file) => readFile(path.join(copy, file))));
  const front = createServer({ key: key ?? '', cert: cert ?? '' }, (socket) => {
    const behind = connect(port, '127.0.0.1');
    socket.on('error', () => behind.destroy()).pipe(behind);
    behind.on('error', () => socket.destroy()).pipe(socket);
  });
  front.listen(0, '127.0.0.1');
  await once(front, 'listening');
  return front;
}

beforeAll(async () => {
  copy = await copyOfRepository();
  database = await createDatabase();
  const [port, ops] = [await freePort(), await freePort()];
  const { PATH = '' } = process.env;
  env = {
    PATH: `${path.dirname(process.execPath)}:${PATH}`,
    HOME: copy,
    DATABASE_URL: database.url,
    PUBLIC_URL: 'https://latchkey.example',
    KEY_ENCRYPTION_KEY: secret(randomBytes(32).toString('base64')),
    OPS: `http://127.0.0.1:${String(ops)}`,
    URL: `http://127.0.0.1:${String(port)}`,
    PASSWORD: 'any',
  };
  server = new ServerProcess({ env: { ...env, PORT: String(port), OPS_PORT: String(ops), NODE_ENV: 'development' } });
  url = await server.listening();
  tls = await beforeServer(port);
  const { port: front } = tls.address() as { port: number };
  await writeFile(
    path.join(copy, '.curlrc'),
    `connect-to = "127.0.0.1:3000:127.0.0.1:${String(port)}"\nconnect-to = "latchkey.example:443:127.0.0.1:${String(front)}"\ncacert = "${copy}/cert.pem"\n`,
  );
}, PATIENCE_MS);
afterAll(async () => {
  tls?.close();
  await server.kill('SIGKILL');
  keepOutput(server.stdout + server.stderr);
  await database.drop();
  await rm(copy, { recursive: true, force: true });
});

/** A member of the staff with a token, and a partner, for the commands that name them. */
async function provision(): Promise<string> {
  const created = await shell(`node dist/src/cli.js staff create --email admin@latchkey.local --name Admin`);
  const password = secret(/^Password: (.+)$/m.exec(created.stdout)?.[1] ?? '');
  env['TOKEN'] = await staffTokenOf(url, { email: 'admin@latchkey.local', password });
  const made = await post('/admin/channel-users', { username: 'to-be-deleted', displayName: 'Deleted' });
  env['ID'] = (made['channelUser'] as { id: string }).id;
  secret((made['credential'] as { password: string }).password);
  const headers = { authorization: `Bearer ${env['TOKEN']}` };
  const gone = await fetch(`${url}/admin/channel-users/${env['ID']}`, { method: 'DELETE', headers });
  expect(gone.status).toBe(204);
  return password;
}

it(
  'runs every command of every manual as printed, or lists why not',
  async () => {
    const all = await manualCommands();
    expect(all.length).toBeGreaterThan(40);
    const listed = [...Object.values(ELSEWHERE), ...Object.values(NOT_RUN)].flat();
    const isListed = (text: string): boolean => listed.some((start) => text === start || text.startsWith(start));
    // The step that says most of the command.
    const stepOf = (text: string): number => {
      const fitting = STEPS.filter((step) => nameOf(text).startsWith(nameOf(step.text)));
      const [best] = fitting.sort((a, b) => b.text.length - a.text.length);
      return best ? STEPS.indexOf(best) : -1;
    };
    const unknown = all.filter(({ text }) => stepOf(text) === -1 && !isListed(text));
    expect(unknown).toEqual([]);
    const unused = STEPS.filter((_, i) => !all.some(({ text }) => stepOf(text) === i)).map(({ text }) => text);
    expect(unused).toEqual([]);

    // What a manual leaves to its reader.
    let given = await provision();
    const texts = all.filter(({ text }) => stepOf(text) !== -1 && !isListed(text));
    const ordered = [...new Set(texts.map(({ text }) => text))].sort((a, b) => stepOf(a) - stepOf(b));
    for (const text of ordered) {
      const step = STEPS[stepOf(text)];
      await step?.before?.();
      const isEmail = text.includes('--email …');
      // The last line of a block, which runs until it is stopped: test/smoke.ts does.
      const script = text.replace(/\nnpm start$/, '').replaceAll('…', isEmail ? 'admin@latchkey.local' : given);
      const { code, stdout, stderr } = await shell(script);
      for (const [, found = ''] of stdout.matchAll(
        /(?:^Password: |^Key: |"password":"|"secret":"|handover#)([^"\s]+)/gm,
      ))
        secret(found);
      expect([text, code, code === (step?.code ?? 0) ? '' : stderr]).toEqual([text, step?.code ?? 0, '']);
      // What npm prints around it, where a manual does not silence that.
      const printed = stdout.replaceAll(/^\n> .*\n> .*\n\n/gm, '');
      if (step?.expected) expect([text, printed]).toEqual([text, expect.stringMatching(step.expected)]);
      if (text.startsWith('TOKEN=$(curl -s http://127.0.0.1:3000')) given = await passwordOf('blue-channel');
    }
  },
  PATIENCE_MS,
);

/** Of a partner that the manual provisioned by a link. */
async function passwordOf(username: string): Promise<string> {
  const headers = { authorization: `Bearer ${env['TOKEN'] ?? ''}`, 'content-type': 'application/json' };
  const found = (await (await fetch(`${url}/admin/channel-users?q=${username}`, { headers })).json()) as {
    items: { id: string }[];
  };
  const made = (await (
    await fetch(`${url}/admin/channel-users/${found.items[0]?.id ?? ''}/credentials`, {
      method: 'POST',
      headers,
      body: '{}',
    })
  ).json()) as { credential: { password: string } };
  return secret(made.credential.password);
}

describe('what npm prints around a command', () => {
  it(
    'does not make a kept head unreadable, and is reported as foreign text in an export',
    async () => {
      const head = await shell(
        'npm run cli -- audit head > noisy.json && npm run -s cli -- audit verify --head noisy.json',
      );
      expect([head.code, head.stdout]).toEqual([0, expect.stringMatching(/^Intact: /)]);
      const noisy = await shell(
        'npm run cli -- audit export > noisy.ndjson && npm run -s cli -- audit verify --export noisy.ndjson',
      );
      expect(noisy.code).toBe(1);
      expect(noisy.stdout).toMatch(/^Intact: \d+ events, head /);
      expect(noisy.stdout).toMatch(/^Foreign: line 2 of the file is not an event\.$/m);
      expect(noisy.stdout).not.toMatch(/Broken|edited/);
    },
    PATIENCE_MS,
  );

  it(
    'does not hide an edited event',
    async () => {
      const lines = (await readFile(path.join(copy, 'noisy.ndjson'), 'utf8')).split('\n');
      const at = lines.findIndex((line) => line.startsWith('{'));
      lines[at] = lines[at]?.replace(/"action":"[^"]+"/, '"action":"x.edited"') ?? '';
      await writeFile(path.join(copy, 'edited.ndjson'), lines.join('\r\n'));
      const { code, stdout } = await shell('node dist/src/cli.js audit verify --export edited.ndjson');
      expect([code, stdout]).toEqual([1, expect.stringMatching(/^Broken: event 1 [^]*Found: edited, foreign\./m)]);
    },
    PATIENCE_MS,
  );

  it.each([
    ['audit verify --head absent.json', /^absent\.json cannot be read: ENOENT/],
    ['audit verify --export absent.ndjson', /^absent\.ndjson cannot be read: ENOENT/],
    ['audit verify --head package.json', /^package\.json must contain exactly one line as printed by `audit head`/],
    ['audit head --file /absent/head.json', /^\/absent\/head\.json cannot be written: ENOENT/],
    ['audit export --file /absent/trail.ndjson', /^\/absent\/trail\.ndjson cannot be written: ENOENT/],
  ])('does not hide what is wrong: %s', async (args, expected) => {
    const { code, stderr } = await shell(`node dist/src/cli.js ${args}`);
    expect([code, stderr]).toEqual([1, expect.stringMatching(expected)]);
    expect(stderr).not.toContain('    at ');
  });
});
