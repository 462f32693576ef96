import * as argon2 from '@node-rs/argon2';
import { calculateJwkThumbprint, createRemoteJWKSet, type JWK, type JWTPayload, jwtVerify, SignJWT } from 'jose';
import { execFile, execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, type JsonWebKey, type KeyObject, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import pg from 'pg';
import { TestApp } from '../support/app.ts';
import { signingKeyOf } from '../support/inside.ts';
import { createDatabase } from '../support/database.ts';
import { keepOutput, secret } from '../support/secrets.ts';
import { HTTPD_COMMAND, httpdModule, startHttpd } from '../support/httpd.ts';
import { freePort } from '../support/ports.ts';
import { isRunning, ServerProcess } from '../support/server.ts';
import { eventually } from '../support/sign-ins.ts';
import { staffTokenOf } from '../support/staff-sign-in.ts';

/**
 * The code blocks of docs/resource-servers.md, as they stand there, against the built server: software that nobody
 * here wrote, in processes of its own.
 */
const page = readFileSync('docs/resource-servers.md', 'utf8');
const BLOCK = /^### (?<title>.+)$(?<text>[^]*?)^```(?<language>js|python|sh|haproxy|apache)$\n(?<code>[^]*?)^```$/gm;
const blocks = new Map([...page.matchAll(BLOCK)].map(({ groups = {} }) => [groups['title'] ?? '', groups]));
const EXTENSIONS: Record<string, string> = { js: 'mjs', python: 'py', sh: 'sh', haproxy: 'cfg' };
/** Debian's, for which its packages are. */
const PYTHON = '/usr/bin/python3';
const INTERPRETERS: Record<string, string> = { js: process.execPath, python: PYTHON, sh: 'sh' };

const CLIENTS = ['openid-client', 'oauth4webapi', 'Authlib', 'curl'];
const FASTIFY = 'Fastify with @fastify/jwt and get-jwks';
const AWS = 'aws-jwt-verify';
const HAPROXY = 'HAProxy';
const HAPROXY_COMMAND = '/usr/sbin/haproxy';
const MOD_OAUTH2 = 'Apache with mod_oauth2';
const MOD_AUTH_OPENIDC = 'Apache with mod_auth_openidc';
const APACHE_MODULES: Record<string, string> = { [MOD_OAUTH2]: 'oauth2', [MOD_AUTH_OPENIDC]: 'auth_openidc' };
const SERVERS = [
  'jose',
  'Express with express-oauth2-jwt-bearer',
  FASTIFY,
  'hono',
  'jsonwebtoken with jwks-rsa',
  AWS,
  HAPROXY,
  MOD_OAUTH2,
  MOD_AUTH_OPENIDC,
];
const NEEDS: Record<string, string[]> = {
  Authlib: [PYTHON, '-c', 'import authlib, requests'],
  PyJWT: [PYTHON, '-c', 'import jwt, cryptography'],
  curl: ['curl', '--version'],
  [HAPROXY]: [HAPROXY_COMMAND, '-v'],
  [MOD_OAUTH2]: ['ls', HTTPD_COMMAND, httpdModule('oauth2')],
  [MOD_AUTH_OPENIDC]: ['ls', HTTPD_COMMAND, httpdModule('auth_openidc')],
};

/** Whether a block can run here; in CI every one must. */
function canRun(title: string): boolean {
  const [command, ...args] = NEEDS[title] ?? [];
  if (command === undefined || process.env['CI'] === 'true') return true;
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch {
    process.stdout.write(`Skipped in interop.e2e.ts: ${title} is not installed (see .ci/run)\n`);
    return false;
  }
}
const clients = CLIENTS.filter(canRun);
const servers = SERVERS.filter(canRun);
const hasPyJwt = canRun('PyJWT');

/** Inside of the checkout, so that imports find node_modules. */
const folder = mkdtempSync(path.resolve('dist', 'interop-'));
const running: ServerProcess[] = [];
/** What ends each Apache. */
const sites: (() => Promise<unknown>)[] = [];
const databases: { drop: () => Promise<void> }[] = [];
/** How long one process may take on a busy machine. */
const PROCESS_MS = 30_000;
const AUDIENCE = 'https://api.latchkey.test';
const keyEncryptionKey = randomBytes(32);

let issuer: string;
let databaseUrl: string;
let admin: string;
/** On the same database, with a clock that is two hours late: its tokens have expired. */
let late: TestApp;
/** Another Latchkey, with keys of its own, that says it is this one. */
let foreign: TestApp;
let partner: Client;

interface Client {
  readonly id: string;
  readonly username: string;
  readonly password: string;
}

function start(env: Record<string, string>, command?: string[]): ServerProcess {
  const server = new ServerProcess({ env, ...(command && { command }) });
  running.push(server);
  return server;
}

/** The command that runs a block. */
function commandOf(title: string): [string, string] {
  const { language = '', code = '' } = blocks.get(title) ?? {};
  const file = path.join(folder, `${title.replace(/\W+/g, '-')}.${EXTENSIONS[language] ?? ''}`);
  writeFileSync(file, code);
  return [INTERPRETERS[language] ?? '', file];
}

/** The command that runs HAProxy with the keys of the JWKS as it is now. */
async function proxyCommand(): Promise<string[]> {
  const [, file] = commandOf(HAPROXY);
  const jwks = await fetch(`${issuer}/.well-known/jwks.json`);
  const { keys } = (await jwks.json()) as { keys: (JsonWebKey & { kid: string })[] };
  for (const key of keys) {
    const pem = createPublicKey({ key, format: 'jwk' }).export({ type: 'spki', format: 'pem' });
    writeFileSync(path.join(folder, `${key.kid}.pem`), pem);
  }
  const text = readFileSync(file, 'utf8');
  const lines = (line: string): string => keys.map(({ kid }) => line.replace('KID', kid)).join('');
  writeFileSync(file, text.replace(/^.*KID.*\n/m, lines));
  return [HAPROXY_COMMAND, '-db', '-C', folder, '-f', file];
}

/** Runs a block to its end. @returns its lines @throws when it fails */
async function run(title: string, env: Record<string, string>): Promise<string[]> {
  const [command, file] = commandOf(title);
  const { PATH = '' } = process.env;
  const settings = { PATH, LC_ALL: 'C.UTF-8', ISSUER: issuer, AUDIENCE, ...env };
  const { stdout } = await promisify(execFile)(command, [file], { env: settings, timeout: PROCESS_MS });
  return stdout.trim().split('\n');
}

interface ResourceServer {
  /** What it answers to a token: the status and, with 200, who called. */
  call: (token: string) => Promise<{ status: number; client: unknown }>;
  stop: () => Promise<unknown>;
}

/** Starts Apache with a block as its site, as printed unless the keys are to be read again sooner. @returns its end */
async function startSite(title: string, port: number, keyCacheMs: string): Promise<() => Promise<unknown>> {
  const { code = '' } = blocks.get(title) ?? {};
  const site = code.replace('jwks_uri.expiry=300', `jwks_uri.expiry=${String(Number(keyCacheMs) / 1000)}`);
  const stop = await startHttpd({ module: APACHE_MODULES[title] ?? '', site, port, issuer, audience: AUDIENCE });
  sites.push(stop);
  return stop;
}

/** Starts a block that is a program or HAProxy's. @returns its end */
async function startProgram(title: string, port: number, env: Record<string, string>): Promise<() => Promise<unknown>> {
  const command = title === HAPROXY ? await proxyCommand() : commandOf(title);
  const server = start({ ISSUER: issuer, AUDIENCE, PORT: String(port), ...env }, command);
  await eventually(
    () => {
      if (!isRunning(server.pid)) throw new Error(`${title} has ended:\n${server.stderr}`);
      return fetch(`http://127.0.0.1:${String(port)}/`).catch(() => undefined);
    },
    `${title} serves`,
    PROCESS_MS,
  );
  return () => server.kill('SIGKILL');
}

/** Starts a block that listens. */
async function serve(title: string, env: { KEY_CACHE_MS?: string } = {}): Promise<ResourceServer> {
  const port = await freePort();
  const stop = await (title in APACHE_MODULES
    ? startSite(title, port, env.KEY_CACHE_MS ?? '300000')
    : startProgram(title, port, env));
  const call: ResourceServer['call'] = async (token) => {
    // Apache's header for the service behind it: a client cannot name itself.
    const headers = { authorization: `Bearer ${token}`, 'x-client-id': 'somebody-else' };
    const response = await fetch(`http://127.0.0.1:${String(port)}/`, { headers });
    const text = await response.text();
    return {
      status: response.status,
      client: response.ok ? (JSON.parse(text) as { client_id: string }).client_id : undefined,
    };
  };
  return { call, stop };
}

async function post(to: string, json: unknown, token?: string): Promise<Record<string, unknown>> {
  const response = await fetch(issuer + to, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...(token !== undefined && { authorization: `Bearer ${token}` }) },
    body: JSON.stringify(json),
  });
  if (!response.ok) throw new Error(`${to} answered ${String(response.status)}: ${await response.text()}`);
  return (await response.json()) as Record<string, unknown>;
}

async function newClient(username: string, scopes: string[]): Promise<Client> {
  const answer = await post('/admin/channel-users', { username, displayName: username, scopes }, admin);
  const { channelUser, credential } = answer as { channelUser: { id: string }; credential: { password: string } };
  return { id: channelUser.id, username, password: secret(credential.password) };
}

async function tokenOf({ username, password }: Client, at = issuer): Promise<string> {
  const body = new URLSearchParams({ Username: username, Password: password });
  const response = await fetch(`${at}/generateToken`, { method: 'POST', body });
  if (!response.ok) throw new Error(`/generateToken answered ${String(response.status)}`);
  return secret(await response.text());
}

const decode = (token: string, part: 0 | 1): JWTPayload & { kid: string } =>
  JSON.parse(Buffer.from(token.split('.')[part] ?? '', 'base64url').toString()) as JWTPayload & { kid: string };
const environmentOf = ({ username, password }: Client, method: string): Record<string, string> => ({
  CLIENT_ID: username,
  CLIENT_SECRET: password,
  AUTH_METHOD: method,
});

beforeAll(async () => {
  const database = await createDatabase();
  databases.push(database);
  databaseUrl = database.url;
  const port = String(await freePort());
  issuer = `http://127.0.0.1:${port}`;
  const env = {
    NODE_ENV: 'development',
    DATABASE_URL: databaseUrl,
    PUBLIC_URL: issuer,
    PORT: port,
    TOKEN_AUDIENCE: AUDIENCE,
    KEY_ENCRYPTION_KEY: keyEncryptionKey.toString('base64'),
  };
  await start(env).listening();
  const email = 'admin@staff.example';
  const command = [process.execPath, 'dist/src/cli.js', 'staff', 'create', '--email', email, '--name', 'Admin'];
  const created = new ServerProcess({ env, command });
  expect(await created.exited).toBe(0);
  const password = secret(created.line('Password: '));
  admin = await staffTokenOf(issuer, { email, password });
  const config = { publicUrl: issuer, tokenAudience: AUDIENCE };
  late = await TestApp.start({ ...config, databaseUrl, keyEncryptionKeys: [keyEncryptionKey] });
  foreign = await TestApp.start(config);
  partner = await newClient('blue-channel', ['calendar:write']);
});

afterAll(async () => {
  for (const stop of sites) await stop();
  for (const server of running) {
    if (isRunning(server.pid)) await server.kill('SIGKILL');
    keepOutput(server.stdout + server.stderr);
  }
  await late.close();
  await foreign.close();
  for (const database of databases) await database.drop();
  rmSync(folder, { recursive: true });
});

describe('docs/resource-servers.md', () => {
  it('shows each example in at most 15 lines', () => {
    expect([...blocks.keys()].sort()).toEqual([...CLIENTS, ...SERVERS, 'PyJWT'].sort());
    for (const [title, { code = '' }] of blocks)
      expect([title, code.trimEnd().split('\n').length <= 15]).toEqual([title, true]);
  });
});

describe('the JWKS', () => {
  it('names each key by its thumbprint', async () => {
    const { keys } = (await (await fetch(`${issuer}/.well-known/jwks.json`)).json()) as {
      keys: (JWK & { kid: string })[];
    };
    expect(keys).toHaveLength(2);
    for (const key of keys) expect(await calculateJwkThumbprint(key)).toBe(key.kid);
  });
});

describe('third-party clients', () => {
  const METHODS = ['client_secret_basic', 'client_secret_post'];
  const cases = clients.flatMap((title) => METHODS.map((method) => [title, method] as const));
  let introspector: Client;
  beforeAll(async () => {
    introspector = await newClient('resource-server', ['token:introspect']);
  });

  it.each(cases)('obtain, introspect and revoke a token: %s, %s', async (title, method) => {
    const [before = '', after] = await run(title, environmentOf(partner, method));
    expect(JSON.parse(before)).toMatchObject({
      active: true,
      client_id: partner.username,
      sub: partner.id,
      scope: 'calendar:write',
      aud: AUDIENCE,
      iss: issuer,
    });
    expect(JSON.parse(after ?? '')).toEqual({ active: false });
  });

  it.each(cases)('introspect a token of another partner if they may: %s, %s', async (title, method) => {
    const TOKEN = await tokenOf(partner);
    const [allowed = ''] = await run(title, { ...environmentOf(introspector, method), TOKEN });
    expect(JSON.parse(allowed)).toMatchObject({ active: true, jti: decode(TOKEN, 1).jti, sub: partner.id });
    const stranger = await newClient(`stranger-${randomBytes(4).toString('hex')}`, []);
    const [refused = ''] = await run(title, { ...environmentOf(stranger, method), TOKEN });
    expect(JSON.parse(refused)).toEqual({ active: false });
  });

  // Not by curl -u, which encodes nothing: the page says so.
  const encoding = cases.filter(([title, method]) => title !== 'curl' || method === 'client_secret_post');
  it.each(encoding)('send a password of any characters: %s, %s', async (title, method) => {
    const password = secret(`1+1=2 100%25:é&ü"日本🔑-${randomBytes(4).toString('hex')}`);
    const client = await newClient(`imported-${randomBytes(4).toString('hex')}`, []);
    const database = new pg.Client({ connectionString: databaseUrl });
    await database.connect();
    await database.query(
      `INSERT INTO credential (channel_user_id, label, fingerprint, secret_hash) VALUES ($1, 'imported', NULL, $2)`,
      [client.id, await argon2.hash(password, { memoryCost: 4096, timeCost: 1, parallelism: 1 })],
    );
    await database.end();
    const [before = ''] = await run(title, environmentOf({ ...client, password }, method));
    expect(JSON.parse(before)).toMatchObject({ active: true, sub: client.id });
  });

  it.each(cases)('report a wrong password: %s, %s', async (title, method) => {
    const wrong = { ...partner, password: `wrong-${randomBytes(4).toString('hex')}` };
    await expect(run(title, environmentOf(wrong, method))).rejects.toThrow(/invalid_client|401/);
  });
});

describe('third-party verifiers', () => {
  const resourceServers = new Map<string, ResourceServer>();
  let signingKey: { kid: string; privateKey: KeyObject };

  beforeAll(async () => {
    for (const title of servers) resourceServers.set(title, await serve(title));
    signingKey = await signingKeyOf(late, 'partner');
  });

  /** What every verifier says to a token: 200 with the client, 401 or 403. */
  async function ask(token: string): Promise<Record<string, unknown>> {
    const answers: Record<string, unknown> = {};
    for (const [title, { call }] of resourceServers) {
      const { status, client } = await call(token);
      answers[title] = client ?? status;
    }
    if (hasPyJwt) answers['PyJWT'] = await askPyJwt(token);
    return answers;
  }
  const askPyJwt = async (token: string): Promise<unknown> =>
    run('PyJWT', { TOKEN: token }).then(
      ([client]) => client,
      (error: unknown) => {
        const { stderr } = error as { stderr: string };
        return stderr.includes('PermissionError: ') ? 403 : /^jwt\.exceptions\.\w+: /m.test(stderr) ? 401 : stderr;
      },
    );
  const all = (answer: unknown): Record<string, unknown> =>
    Object.fromEntries([...servers, ...(hasPyJwt ? ['PyJWT'] : [])].map((title) => [title, answer]));

  /** Signs as Latchkey does: whatever is refused is so for what it changes. */
  async function sign(changes: JWTPayload = {}, header: object = {}, key = signingKey.privateKey): Promise<string> {
    const claims = { ...decode(await tokenOf(partner), 1), ...changes };
    return new SignJWT(claims)
      .setProtectedHeader({ alg: 'ES256', typ: 'at+jwt', kid: signingKey.kid, ...header })
      .sign(key);
  }

  it('accept tokens of Latchkey and know their scopes', async () => {
    expect(await ask(await tokenOf(partner))).toEqual(all(partner.username));
    expect(await ask(await sign())).toEqual(all(partner.username));
    // Of a verifier whose clock is a little behind.
    expect(await ask(await sign({ iat: Math.floor(Date.now() / 1000) + 15 }))).toEqual(all(partner.username));
    expect(await ask(await tokenOf(await newClient('reads-only', ['calendar:read'])))).toEqual(all(403));
  });

  it.each<[string, () => Promise<string>]>([
    [
      'expired',
      async () => {
        late.clockOffset = -7_200_000;
        const token = await tokenOf(partner, late.url);
        // It is all right but for the time.
        const jwks = createRemoteJWKSet(new URL(`${issuer}/.well-known/jwks.json`));
        await jwtVerify(token, jwks, { issuer, audience: AUDIENCE, currentDate: new Date(Date.now() - 7_200_000) });
        return token;
      },
    ],
    [
      'of another Latchkey with our name',
      async () => {
        const { username, password } = await foreign.newPartner({ scopes: ['calendar:write'] });
        const token = await tokenOf({ id: '', username, password }, foreign.url);
        expect(decode(token, 1)).toMatchObject({ iss: issuer, aud: AUDIENCE });
        return token;
      },
    ],
    [
      'signed with another key in the name of ours',
      () => sign({}, {}, generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey),
    ],
    ['of another issuer', () => sign({ iss: 'https://elsewhere.example' })],
    ['for another audience', () => sign({ aud: 'https://elsewhere.example' })],
    ['of another type', () => sign({}, { typ: 'JWT' })],
    ['without an end', () => sign({ exp: undefined })],
    [
      'signed with a public key as a shared secret',
      async () => {
        const pem = createPublicKey(signingKey.privateKey).export({ type: 'spki', format: 'pem' });
        return new SignJWT(decode(await tokenOf(partner), 1))
          .setProtectedHeader({ alg: 'HS256', typ: 'at+jwt', kid: signingKey.kid })
          .sign(Buffer.from(pem));
      },
    ],
    [
      'not signed',
      async () =>
        `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${(await sign()).split('.')[1] ?? ''}.`,
    ],
  ])('refuse a token that is %s', async (_, token) => {
    expect(await ask(await token())).toEqual(all(401));
  });

  it('refuse nothing because of a rotation', async () => {
    const before = await tokenOf(partner);
    const tokens = [before];
    const refused: unknown[] = [];
    let count = 0;
    let isOver = false;
    const load = [...resourceServers].map(async ([title, { call }]) => {
      while (!isOver) {
        for (const token of tokens) {
          const { status } = await call(token);
          count++;
          if (status !== 200) refused.push([title, status]);
        }
      }
    });
    try {
      await post('/admin/signing-keys/rotate', {}, admin);
      const after = await tokenOf(partner);
      expect(decode(after, 0).kid).not.toBe(decode(before, 0).kid);
      tokens.push(after);
      for (const token of tokens) expect(await ask(token)).toEqual(all(partner.username));
    } finally {
      isOver = true;
      await Promise.all(load);
    }
    expect(refused).toEqual([]);
    expect(count).toBeGreaterThan(20);
  });

  it('refuse a token of a revoked key after reading the keys again', async () => {
    const restart = async (): Promise<void> => {
      for (const [title, { stop }] of resourceServers) {
        await stop();
        resourceServers.set(title, await serve(title));
      }
    };
    // The standby is new since the rotation.
    await restart();
    const forgetful = [];
    for (const title of [FASTIFY, AWS, MOD_OAUTH2].filter((one) => servers.includes(one)))
      forgetful.push(await serve(title, { KEY_CACHE_MS: '1000' }));
    const token = await tokenOf(partner);
    for (const { call } of forgetful) expect((await call(token)).status).toBe(200);
    expect(await ask(token)).toEqual(all(partner.username));
    await post(`/admin/signing-keys/${decode(token, 0).kid}/revoke`, { reason: 'drill' }, admin);
    // Those that run know the standby: no partner notices.
    const after = await tokenOf(partner);
    expect(await ask(after)).toEqual(all(partner.username));
    // Apache trusts the key for the interval, or until a key that it does not know makes it read the keys again.
    const unknown = await sign({}, { kid: 'unknown' });
    for (const [title, { call }] of resourceServers) {
      if (!(title in APACHE_MODULES)) continue;
      expect([title, (await call(token)).status]).toEqual([title, 200]);
      expect([title, (await call(unknown)).status]).toEqual([title, 401]);
      expect([title, (await call(token)).status]).toEqual([title, 401]);
    }
    // Those whose memory is short, and which are in use all the time.
    const end = Date.now() + 20_000;
    for (const { call } of forgetful) {
      while ((await call(token)).status === 200) expect(Date.now()).toBeLessThan(end);
    }
    await restart();
    expect(await ask(token)).toEqual(all(401));
    expect(await ask(after)).toEqual(all(partner.username));
  });
});
