import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { inspect } from 'node:util';
import ts from 'typescript';
import {
  ApiError,
  type ClientOptions,
  ConnectionError,
  LatchkeyClient,
  TokenRefusedError,
} from '../../clients/typescript/src/client.ts';
import { type Partner, TestApp } from '../support/app.ts';
import { scrape } from '../support/metrics.ts';
import { PostgresProxy } from '../support/postgres-proxy.ts';
import { realTime } from '../support/real-time.ts';
import { secret } from '../support/secrets.ts';
import { ServerProcess } from '../support/server.ts';
import { until as waitUntil } from '../support/sign-ins.ts';

let app: TestApp;
let proxy: PostgresProxy;

beforeAll(async () => {
  const first = await TestApp.start();
  proxy = await PostgresProxy.start(first.databaseUrl);
  app = await TestApp.start({ ...first.config, databaseUrl: proxy.url });
  closeFirst = () => first.close();
});
afterAll(async () => {
  await app.close();
  await proxy.shut();
  await closeFirst();
});
afterEach(() => {
  app.clockOffset = 0;
  proxy.reset();
});

let closeFirst = (): Promise<void> => Promise.resolve();

/** A client whose clock is the application's, with what it sent. */
function clientOf(credentials: ClientOptions['credentials'], options: Partial<ClientOptions> = {}) {
  const sent: string[] = [];
  const client = new LatchkeyClient({
    baseUrl: app.url,
    credentials,
    now: () => Date.now() + app.clockOffset,
    fetch: async (input, init) => {
      const { pathname } = new URL(input instanceof Request ? input.url : input);
      const response = await fetch(input, init);
      sent.push(`${init?.method ?? 'GET'} ${pathname} ${String(response.status)}`);
      if (pathname === '/generateToken' && response.ok) secret(await response.clone().text());
      return response;
    },
    ...options,
  });
  const tokens = (): number => sent.filter((line) => line === 'POST /generateToken 200').length;
  return { client, sent, tokens };
}

const forPartner = ({ username, password }: Partner, options: Partial<ClientOptions> = {}) =>
  clientOf({ username, password }, options);

async function staff(method: string, path: string, json?: unknown): Promise<Record<string, unknown>> {
  const { token } = await app.asStaff('admin');
  const answer = await app.request(method, path, { token, ...(json !== undefined && { json }) });
  if (answer.status >= 300) throw new Error(`${method} ${path} answered ${String(answer.status)}: ${answer.text}`);
  return answer.text === '' ? {} : answer.json();
}

const until = (isSo: () => boolean | Promise<boolean>): Promise<void> => waitUntil(isSo, 'what should happen', 60_000);

/** The database is away, and what the application remembers is not believed any more. */
async function loseDatabase(how: 'cut' | 'stall'): Promise<void> {
  if (how === 'stall') proxy.stall();
  else for (const kind of ['feed', 'pool'] as const) proxy.cut(kind);
  await until(async () => (await scrape(app.opsUrl)).value('latchkey_change_feed_up') === 0);
}

const rejection = async <E extends Error>(promise: Promise<unknown>, type: new (...args: never[]) => E): Promise<E> => {
  const error: unknown = await promise.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  expect(error).toBeInstanceOf(type);
  return error as E;
};

/** What a server does that is not Latchkey, or not well. */
async function withServer(answer: RequestListener, use: (baseUrl: string) => Promise<void>): Promise<void> {
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await use(`http://127.0.0.1:${String((server.address() as AddressInfo).port)}`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** Gives a token, and leaves the rest to another. */
const withToken =
  (answer: RequestListener): RequestListener =>
  (request, response) => {
    if (request.url?.endsWith('/generateToken') === true) response.setHeader('token-expires-in', '3600').end('a.b.c');
    else answer(request, response);
  };

const ANYBODY = { username: 'a', password: 'b' };

/** Runs a program beside the client, in a process of its own. @returns all that it wrote, and how long it took */
async function run(program: string): Promise<{ output: string; ms: number }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-client-'));
  try {
    const sources = new URL('../../clients/typescript/src/', import.meta.url);
    const compilerOptions = {
      target: ts.ScriptTarget.ES2022,
      module: ts.ModuleKind.ES2022,
      rewriteRelativeImportExtensions: true,
    };
    for (const file of await readdir(sources)) {
      const { outputText } = ts.transpileModule(await readFile(new URL(file, sources), 'utf8'), { compilerOptions });
      await writeFile(path.join(folder, file.replace(/ts$/, 'js')), outputText);
    }
    await writeFile(path.join(folder, 'package.json'), '{ "type": "module" }');
    await writeFile(path.join(folder, 'program.js'), program);
    const started = performance.now();
    const command = [process.execPath, '--expose-gc', path.join(folder, 'program.js')];
    const running = new ServerProcess({ command, env: {} });
    await running.exited;
    return { output: running.stdout + running.stderr, ms: performance.now() - started };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** What was rejected and heard by nobody while something was done. Node ends a process for it. */
async function unheard(act: () => Promise<unknown>): Promise<unknown[]> {
  const found: unknown[] = [];
  const hear = (reason: unknown): void => void found.push(reason);
  process.on('unhandledRejection', hear);
  try {
    await act();
    await realTime('a rejection is reported');
  } finally {
    process.off('unhandledRejection', hear);
  }
  return found;
}

describe('one token for all calls', () => {
  test('is fetched once for many parallel calls', async () => {
    const partner = await app.newPartner();
    const { client, sent, tokens } = forPartner(partner);
    const answers = await Promise.all(Array.from({ length: 40 }, () => client.call('get', '/me')));
    expect(new Set(answers.map(({ username }) => username))).toEqual(new Set([partner.username]));
    expect(tokens()).toBe(1);
    expect(sent).toHaveLength(41);
  });

  test('is replaced before it expires, while calls go on with it', async () => {
    const { client, tokens } = forPartner(await app.newPartner({ tokenTtlSeconds: 100 }), { random: () => 0.5 });
    const first = (await client.call('get', '/me')).token.id;
    // Between 75 and 90 seconds of its life; in the middle with this random number.
    app.clockOffset = 82_000;
    expect((await client.call('get', '/me')).token.id).toBe(first);
    expect(tokens()).toBe(1);
    app.clockOffset = 83_000;
    // The call that notices goes on with the token that it has.
    expect((await client.call('get', '/me')).token.id).toBe(first);
    await until(() => tokens() === 2);
    expect((await client.call('get', '/me')).token.id).not.toBe(first);
    expect(tokens()).toBe(2);
  });

  test('is replaced at different moments by different clients', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 100 });
    const early = forPartner(partner, { random: () => 0 });
    const late = forPartner(partner, { random: () => 1 });
    await Promise.all([early.client.token(), late.client.token()]);
    app.clockOffset = 80_000;
    await Promise.all([early.client.token(), late.client.token()]);
    await until(() => early.tokens() === 2);
    expect(late.tokens()).toBe(1);
  });

  test('costs one refusal but no failed call when it expires unnoticed', async () => {
    // Its clock is behind the server's by what the test moves that one.
    const { client, sent } = forPartner(await app.newPartner({ tokenTtlSeconds: 60 }), { now: Date.now });
    await client.call('get', '/me');
    app.clockOffset = 120_000;
    await client.call('get', '/me');
    expect(sent).toEqual([
      'POST /generateToken 200',
      'GET /me 200',
      'GET /me 401',
      'POST /generateToken 200',
      'GET /me 200',
    ]);
  });

  test('is replaced once for all running calls after it was revoked', async () => {
    const partner = await app.newPartner();
    const { client, tokens } = forPartner(partner);
    await client.call('get', '/me');
    await staff('POST', `/admin/channel-users/${partner.id}/revoke-tokens`, { reason: 'test' });
    const answers = await Promise.all(Array.from({ length: 20 }, () => client.call('get', '/me')));
    expect(answers).toHaveLength(20);
    expect(tokens()).toBe(2);
  });

  test('is not requested by each call while the next one is refused', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 60, tokensPerMinute: 1 });
    const { client, sent } = forPartner(partner, { attempts: 1, random: () => 0 });
    const first = (await client.call('get', '/me')).token.id;
    // Every answer says that a newer one is due, and there is none within this minute.
    app.clockOffset = 55_000;
    for (let i = 0; i < 50; i++) expect((await client.call('get', '/me')).token.id).toBe(first);
    await until(() => sent.includes('POST /generateToken 429'));
    expect(sent.filter((line) => line.startsWith('POST'))).toEqual([
      'POST /generateToken 200',
      'POST /generateToken 429',
    ]);
  });

  test('is not requested before Retry-After, even without a token', async () => {
    let asked = 0;
    let life = '100';
    let offset = 0;
    let hasRead = false;
    const server: RequestListener = (request, response) => {
      if (request.url !== '/generateToken') response.setHeader('token-refresh-due', 'true').end();
      else if (++asked === 1) response.setHeader('token-expires-in', life).end('a.b.c');
      else {
        hasRead = false;
        response.setHeader('retry-after', '70').writeHead(429).end('too many requests');
      }
    };
    await withServer(server, async (baseUrl) => {
      const now = (): number => {
        hasRead = true;
        return Date.now() + offset;
      };
      const options = { baseUrl, credentials: ANYBODY, now, random: () => 0 };
      const client = new LatchkeyClient(options);
      for (const seconds of [0, 20, 40, 69]) {
        offset = seconds * 1000;
        await client.fetch('/x');
        // The client looks at the clock when it has read the 429.
        await until(() => asked === 2 && hasRead);
      }
      offset = 72_000;
      await client.fetch('/x');
      await until(() => asked === 3);

      [asked, life, offset] = [0, '1', 0];
      const other = new LatchkeyClient(options);
      await other.token();
      for (let i = 0; i < 10; i++) await rejection(other.token(), TokenRefusedError);
      expect(asked).toBe(2);
      // As refused credentials rest, however long it says.
      offset = 31_000;
      await rejection(other.token(), TokenRefusedError);
      expect(asked).toBe(3);
    });
  });

  test('is replaced after a refusal even if the body can be sent only once', async () => {
    let asked = 0;
    const server: RequestListener = (request, response) => {
      if (request.url === '/generateToken') {
        response.setHeader('token-expires-in', '3600').end(`a.b.${String(++asked)}`);
      } else response.writeHead(request.headers.authorization === 'Bearer a.b.1' ? 401 : 200).end();
    };
    await withServer(server, async (baseUrl) => {
      const client = new LatchkeyClient({ baseUrl, credentials: ANYBODY });
      const send = (): Promise<Response> =>
        client.fetch('/x', { method: 'POST', body: new Blob(['x']).stream(), duplex: 'half' } as RequestInit);
      expect((await send()).status).toBe(401);
      expect((await send()).status).toBe(200);
      expect(asked).toBe(2);
    });
  });

  test('is replaced in time although the clock of the machine is set back', async () => {
    const tell = Date.now;
    let offset = 0;
    let asked = 0;
    Date.now = () => tell() + offset;
    const server: RequestListener = (_, response) => {
      response.setHeader('token-expires-in', '3').end(`a.b.${String(++asked)}`);
    };
    try {
      await withServer(server, async (baseUrl) => {
        const client = new LatchkeyClient({ baseUrl, credentials: ANYBODY });
        expect(await client.token()).toBe('a.b.1');
        offset = -3_600_000;
        // With less than two seconds left it is not sent any more.
        await realTime('a token is nearly over');
        expect(await client.token()).toBe('a.b.2');
      });
    } finally {
      Date.now = tell;
    }
  });
});

describe('a refusal', () => {
  test('by a rotation costs no failed call: the token goes on and new credentials take over', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 100 });
    const { client, sent } = forPartner(partner, { random: () => 0 });
    await client.call('get', '/me');
    const { credential } = await staff('POST', `/admin/channel-users/${partner.id}/credentials`, {
      retireOthersInSeconds: 0,
    });
    await client.call('get', '/me');
    app.clockOffset = 76_000;
    // The old password gives no token any more, and the old token is still good.
    await client.call('get', '/me');
    await until(() => sent.includes('POST /generateToken 403'));
    await client.call('get', '/me');
    const { password } = credential as { password: string };
    client.replaceCredentials({ username: partner.username, password: secret(password) });
    app.clockOffset = 99_000;
    await client.call('get', '/me');
    expect(sent.filter((line) => line.endsWith('403'))).toHaveLength(1);
    expect(sent.filter((line) => line.endsWith('401'))).toEqual([]);
  });

  test('allows the credentials to change when they are looked up each time', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 60 });
    let password = partner.password;
    const { client } = clientOf(() => Promise.resolve({ username: partner.username, password }));
    await client.call('get', '/me');
    const { credential } = await staff('POST', `/admin/channel-users/${partner.id}/credentials`, {
      retireOthersInSeconds: 0,
    });
    app.clockOffset = 120_000;
    const refused = await rejection(client.call('get', '/me'), TokenRefusedError);
    expect(refused).toMatchObject({ status: 403, code: 'credential_expired', detail: 'token expired' });
    password = secret((credential as { password: string }).password);
    // At once: what rests is the password that was refused.
    await client.call('get', '/me');
  });

  test('of a suspended partner is reported and not retried for half a minute', async () => {
    const partner = await app.newPartner();
    const { client, sent } = forPartner(partner);
    await client.call('get', '/me');
    await staff('POST', `/admin/channel-users/${partner.id}/suspend`, { reason: 'test' });
    const error = await rejection(client.call('get', '/me'), TokenRefusedError);
    expect(error).toMatchObject({ status: 403, code: 'account_suspended', detail: 'token expired' });
    expect(error.requestId).toMatch(/^[0-9a-f-]{36}$/);
    const before = sent.length;
    for (let i = 0; i < 20; i++) await rejection(client.call('get', '/me'), TokenRefusedError);
    expect(sent).toHaveLength(before);
    await staff('POST', `/admin/channel-users/${partner.id}/reactivate`, {});
    app.clockOffset = 31_000;
    expect((await client.call('get', '/me')).username).toBe(partner.username);
  });

  test('of a wrong password is not retried', async () => {
    const { username } = await app.newPartner();
    const { client, sent } = clientOf({ username, password: 'wrong' });
    const results = await Promise.allSettled(Array.from({ length: 30 }, () => client.call('get', '/me')));
    expect(results.every(({ status }) => status === 'rejected')).toBe(true);
    await rejection(client.call('get', '/me'), TokenRefusedError);
    expect(sent).toEqual(['POST /generateToken 401']);
  });

  test('of a new token does not cause replacements again and again', async () => {
    const partner = await app.newPartner();
    let isRefusing = false;
    const { client, sent, tokens } = forPartner(partner, {
      fetch: async (input, init) => {
        const { pathname } = new URL(input as URL);
        if (pathname === '/me' && isRefusing) {
          // As from an address that the account does not allow, which a test cannot have.
          const response = await fetch(input, { ...init, headers: { authorization: 'Bearer a.b.c' } });
          sent.push(`GET ${pathname} ${String(response.status)}`);
          return response;
        }
        const response = await fetch(input, init);
        sent.push(`${init?.method ?? 'GET'} ${pathname} ${String(response.status)}`);
        if (pathname === '/generateToken' && response.ok) secret(await response.clone().text());
        return response;
      },
    });
    await client.call('get', '/me');
    isRefusing = true;
    const errors = [];
    for (let i = 0; i < 5; i++) errors.push(await rejection(client.call('get', '/me'), ApiError));
    expect(errors.map(({ status }) => status)).toEqual([401, 401, 401, 401, 401]);
    expect(tokens()).toBe(2);
    expect(sent.filter((line) => line === 'GET /me 401')).toHaveLength(6);
  });
});

describe('a rotation', () => {
  interface Row {
    readonly status: string;
    readonly expiresAt: string | null;
    readonly label: string;
  }
  /** A client with the store of its password, which notes what it sent before each password was stored. */
  const rotating = async (options: Partial<ClientOptions> = {}) => {
    const partner = await app.newPartner({ tokenTtlSeconds: 100 });
    const store = [partner.password];
    const { client, sent } = forPartner(partner, { random: () => 0, ...options });
    const storePassword = (password: string): Promise<void> => {
      store.push(secret(password));
      sent.push('stored');
      return Promise.resolve();
    };
    return { partner, client, sent, store, storePassword };
  };
  const rowsOf = async ({ id }: Partner): Promise<Row[]> =>
    (await staff('GET', `/admin/channel-users/${id}/credentials`))['items'] as Row[];
  const statusesOf = async (partner: Partner): Promise<string[]> => (await rowsOf(partner)).map(({ status }) => status);

  test('stores the new password before it uses it, and then uses it for every token', async () => {
    const { partner, client, sent, store, storePassword } = await rotating();
    const made = await client.rotate({ storePassword, label: 'by the client', overlapSeconds: 86_400 });
    expect(sent).toEqual(['POST /generateToken 200', 'POST /me/credentials 201', 'stored', 'POST /generateToken 200']);
    const [next, old] = await rowsOf(partner);
    expect([next, old]).toMatchObject([
      { ...made, label: 'by the client', status: 'active', expiresAt: null },
      { status: 'active' },
    ]);
    expect((await client.call('get', '/me')).credential.id).toBe(made.id);
    // The old password has ended by the time of the next token.
    app.clockOffset = 86_400_000 + 1000;
    expect((await client.call('get', '/me')).credential.id).toBe(made.id);
    expect(sent.filter((line) => line.startsWith('POST /generateToken') && !line.endsWith('200'))).toEqual([]);
    expect(inspect(made)).not.toContain(store[1]);
  });

  test('asks a function for the credentials again, which returns what was stored', async () => {
    const partner = await app.newPartner({ tokenTtlSeconds: 100 });
    const store = [partner.password];
    const { client } = clientOf(() => ({ username: partner.username, password: store.at(-1) ?? '' }));
    const made = await client.rotate({ storePassword: (password) => store.push(secret(password)) });
    app.clockOffset = 200_000;
    expect((await client.call('get', '/me')).credential.id).toBe(made.id);
    // Somebody else rotates, and the function returns that password.
    const { credential } = await staff('POST', `/admin/channel-users/${partner.id}/credentials`, {
      retireOthersInSeconds: 0,
    });
    const { id, password } = credential as { id: string; password: string };
    store.push(secret(password));
    app.clockOffset = 400_000;
    expect((await client.call('get', '/me')).credential.id).toBe(id);
    expect((await client.rotate({ storePassword: (next) => store.push(secret(next)) })).id).not.toBe(id);
    expect(store).toHaveLength(4);
  });

  test('is withdrawn when the password cannot be stored, and the old one goes on', async () => {
    const { partner, client, sent } = await rotating();
    const full = new Error('The store is full');
    for (const storePassword of [
      (password: string) => {
        secret(password);
        throw full;
      },
      (password: string) => {
        secret(password);
        return Promise.reject(full);
      },
    ]) {
      expect(await rejection(client.rotate({ storePassword }), Error)).toBe(full);
    }
    expect(sent.filter((line) => line.includes('/withdraw 200'))).toHaveLength(2);
    // The new password was not used.
    expect(sent.filter((line) => line.startsWith('POST /generateToken'))).toEqual(['POST /generateToken 200']);
    expect(await statusesOf(partner)).toEqual(['withdrawn', 'withdrawn', 'active']);
    app.clockOffset = 200_000;
    expect((await client.call('get', '/me')).credential.id).toBe(partner.credentialId);
  });

  test('tells of both errors when the password can be neither stored nor withdrawn', async () => {
    const { partner, client } = await rotating();
    const full = new Error('The store is full');
    const storePassword = async (password: string): Promise<void> => {
      secret(password);
      await staff('POST', `/admin/channel-users/${partner.id}/suspend`, { reason: 'test' });
      throw full;
    };
    const error = await rejection(client.rotate({ storePassword }), AggregateError);
    expect(error.errors).toEqual([full, expect.any(TokenRefusedError)]);
    expect(await statusesOf(partner)).toEqual(['pending', 'active']);
  });

  test('goes on with the stored password when its first use gets no answer', async () => {
    const { partner, client, store } = await rotating({ attempts: 1 });
    const storePassword = async (password: string): Promise<void> => {
      store.push(secret(password));
      await loseDatabase('cut');
    };
    await rejection(client.rotate({ storePassword }), TokenRefusedError);
    expect(store).toHaveLength(2);
    proxy.mend();
    app.clockOffset = 200_000;
    await until(async () => (await client.fetch('/me').catch(() => undefined))?.status === 200);
    expect(await statusesOf(partner)).toEqual(['active', 'active']);
  });

  test('stores the old password again when the new one was withdrawn before its first use', async () => {
    const { partner, client, store, storePassword } = await rotating();
    const withdrawn = async (password: string): Promise<void> => {
      await storePassword(password);
      if (store.length > 2) return;
      const { items } = await staff('GET', `/admin/channel-users/${partner.id}/credentials`);
      const { id } = (items as [{ id: string }])[0];
      await staff('POST', `/admin/channel-users/${partner.id}/credentials/${id}/withdraw`);
    };
    const error = await rejection(client.rotate({ storePassword: withdrawn }), TokenRefusedError);
    expect(error.code).toBe('invalid_credentials');
    expect(store.at(-1)).toBe(partner.password);
    app.clockOffset = 200_000;
    expect((await client.call('get', '/me')).credential.id).toBe(partner.credentialId);
  });

  test('is refused while another one is pending, and calls go on', async () => {
    const { partner, client, store, storePassword } = await rotating();
    const made = await staff('POST', `/admin/channel-users/${partner.id}/credentials`, {});
    secret((made['credential'] as { password: string }).password);
    const error = await rejection(client.rotate({ storePassword }), ApiError);
    expect([error.status, error.code]).toEqual([409, 'credential.rotation-pending']);
    expect(store).toEqual([partner.password]);
    expect((await client.call('get', '/me')).credential.id).toBe(partner.credentialId);
  });

  test('begun twice at once happens once', async () => {
    const { partner, client, store, storePassword } = await rotating();
    await client.token();
    const ended = await Promise.allSettled([client.rotate({ storePassword }), client.rotate({ storePassword })]);
    expect(ended.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
    expect(store).toHaveLength(2);
    expect(await statusesOf(partner)).toEqual(['active', 'active']);
  });

  test('whose caller gives up while the password is stored is used all the same', async () => {
    const { partner, client, store } = await rotating();
    const controller = new AbortController();
    const storePassword = (password: string): void => {
      store.push(secret(password));
      controller.abort(new Error('enough'));
    };
    const error = await rejection(client.rotate({ storePassword, signal: controller.signal }), Error);
    expect(error.message).toBe('enough');
    app.clockOffset = 200_000;
    await client.call('get', '/me');
    expect(await statusesOf(partner)).toEqual(['active', 'active']);
  });

  test('works in a client with types of a module’s own paths', async () => {
    const partner = await app.newPartner();
    const client = new LatchkeyClient<{ '/boats': { get: { responses: unknown } } }>({
      baseUrl: app.url,
      credentials: partner,
    });
    const { fingerprint } = await client.rotate({ storePassword: (password) => void secret(password) });
    expect(fingerprint).toMatch(/^[0-9a-f]{8}$/);
    secret(await client.token());
  });
});

describe('when the server cannot answer now', () => {
  test('tells how long to wait when the tokens of this minute are used up', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1 });
    await forPartner(partner).client.token();
    const { client } = forPartner(partner, { attempts: 1 });
    const error = await rejection(client.token(), TokenRefusedError);
    expect(error).toMatchObject({ status: 429, code: 'too_many_requests', detail: 'too many requests' });
    expect(error.retryAfterSeconds).toBeGreaterThan(0);
    expect(error.retryAfterSeconds).toBeLessThanOrEqual(60);
  });

  test('waits for Retry-After in seconds or as a date, up to a minute', async () => {
    const arrivals: number[] = [];
    let retryAfter = '1';
    const server = createServer((_, response) => {
      arrivals.push(performance.now());
      response.setHeader('retry-after', retryAfter);
      if (arrivals.length % 2 === 1) response.writeHead(429).end('too many requests');
      else response.setHeader('token-expires-in', '3600').end('a.b.c');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const { port } = server.address() as AddressInfo;
      const newClient = (): LatchkeyClient =>
        new LatchkeyClient({
          baseUrl: `http://127.0.0.1:${String(port)}`,
          credentials: { username: 'a', password: 'b' },
        });
      expect(await newClient().token()).toBe('a.b.c');
      retryAfter = new Date(Date.now() + 3_000).toUTCString();
      expect(await newClient().token()).toBe('a.b.c');
      const [first = 0, second = 0, third = 0, fourth = 0] = arrivals;
      expect(second - first).toBeGreaterThanOrEqual(1_000);
      expect(fourth - third).toBeGreaterThanOrEqual(1_000);
      retryAfter = '3600';
      await rejection(newClient().token(), TokenRefusedError);
      expect(arrivals).toHaveLength(5);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('repeats idempotent calls after a 503 and returns the answer', async () => {
    const partner = await app.newPartner();
    const { client, sent } = forPartner(partner);
    await client.call('get', '/me');
    await loseDatabase('cut');
    const call = client.call('get', '/me');
    await until(() => sent.includes('GET /me 503'));
    proxy.mend();
    expect((await call).username).toBe(partner.username);
    expect(sent.filter((line) => line.endsWith('401'))).toEqual([]);
  });

  test('does not repeat a POST after a 503, since it may have been done', async () => {
    const { client, sent } = forPartner(await app.newPartner());
    await client.token();
    await loseDatabase('cut');
    const response = await client.fetch('/handover/reveal', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ secret: 'A'.repeat(43) }),
    });
    expect(response.status).toBe(503);
    expect(sent.filter((line) => line.startsWith('POST /handover'))).toEqual(['POST /handover/reveal 503']);
  });

  test('reports an unreachable server after the configured number of attempts', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    let attempts = 0;
    const client = new LatchkeyClient({
      baseUrl: `http://127.0.0.1:${String(port)}`,
      credentials: { username: 'a', password: 'b' },
      attempts: 2,
      fetch: (input, init) => {
        attempts++;
        return fetch(input, init);
      },
    });
    const error = await rejection(client.call('get', '/me'), ConnectionError);
    expect((error.cause as Error).cause).toMatchObject({ code: 'ECONNREFUSED' });
    expect(attempts).toBe(2);
  });

  test('stops waiting for an answer or a retry when it takes too long or the caller gives up', async () => {
    const partner = await app.newPartner();
    const { client } = forPartner(partner, { timeoutMs: 300, attempts: 1 });
    await client.call('get', '/me');
    await loseDatabase('stall');
    const error = await rejection(client.call('get', '/me'), ConnectionError);
    expect(error.cause).toMatchObject({ name: 'TimeoutError' });
    proxy.mend();

    const patient = forPartner(partner, { attempts: 4 });
    await patient.client.token();
    await loseDatabase('cut');
    const caller = new AbortController();
    const call = patient.client.call('get', '/me', { signal: caller.signal });
    await until(() => patient.sent.includes('GET /me 503'));
    caller.abort(new Error('gave up'));
    await expect(call).rejects.toThrow('gave up');
  });
});

describe('an invalid answer', () => {
  const calls = (body: string, status = 200, type = 'application/json') =>
    withToken((_, response) => response.writeHead(status, { 'content-type': type }).end(body));

  test('is reported like every failure, without its text', async () => {
    for (const body of ['{"card": "4111', '<html>4111</html>', '']) {
      await withServer(calls(body), async (baseUrl) => {
        const client = new LatchkeyClient({ baseUrl, credentials: ANYBODY });
        const error = await rejection(client.call('get', '/me'), ConnectionError);
        expect(error.message).toBe('The response is not JSON.');
        expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('4111');
      });
    }
  });

  test('is still a refusal without a valid problem document', async () => {
    for (const body of ['null', '7', '{"code": 7, "errors": "none"}', '{']) {
      await withServer(calls(body, 418, 'application/problem+json'), async (baseUrl) => {
        const client = new LatchkeyClient({ baseUrl, credentials: ANYBODY });
        const error = await rejection(client.call('get', '/me'), ApiError);
        expect(error).toMatchObject({ status: 418, code: 'unexpected_answer', detail: body });
        expect(error.errors).toBeUndefined();
      });
    }
  });
});

describe('a long-lived process', () => {
  test('survives callers who give up before a token is refused, without requesting one in vain', async () => {
    const partner = await app.newPartner();
    const { client, sent } = clientOf({ username: partner.username, password: 'wrong' }, { attempts: 1 });
    const signal = AbortSignal.abort(new Error('gave up'));
    const reasons = await unheard(async () => {
      await expect(client.token(signal)).rejects.toThrow('gave up');
      await expect(client.call('get', '/me', { signal })).rejects.toThrow('gave up');
    });
    expect(reasons).toEqual([]);
    expect(sent).toEqual([]);
  });

  test('survives a caller who gives up while a 401 is handled', async () => {
    const partner = await app.newPartner();
    const caller = new AbortController();
    const { client, sent } = forPartner(partner, {
      fetch: async (input, init) => {
        const response = await fetch(input, init);
        const { pathname } = new URL(input as URL);
        sent.push(`${init?.method ?? 'GET'} ${pathname} ${String(response.status)}`);
        if (pathname === '/generateToken' && response.ok) secret(await response.clone().text());
        if (response.status !== 401) return response;
        // Once the refusal is dealt with, before another token is asked for.
        const body = {
          cancel: () => {
            caller.abort(new Error('gave up'));
            return Promise.resolve();
          },
        };
        return Object.defineProperty(response, 'body', { value: body });
      },
    });
    await client.token();
    await staff('POST', `/admin/channel-users/${partner.id}/suspend`, { reason: 'test' });
    const reasons = await unheard(() =>
      expect(client.call('get', '/me', { signal: caller.signal })).rejects.toThrow('gave up'),
    );
    expect(reasons).toEqual([]);
    expect(sent).toEqual(['POST /generateToken 200', 'GET /me 401']);
  });

  test('can reuse one signal for ever, and each call ends in time and leaves nothing behind', async () => {
    const silent = withToken((request, response) => {
      if (request.url === '/body') response.writeHead(200, { 'content-length': 9 }).write('x');
    });
    await withServer(silent, async (baseUrl) => {
      const { output } = await run(
        `import { LatchkeyClient } from './client.js';
        const client = new LatchkeyClient({ baseUrl: '${baseUrl}', credentials: { username: 'a', password: 'b' },
          timeoutMs: 500, attempts: 1 });
        const { signal } = new AbortController();
        setInterval(gc, 20).unref();
        setTimeout(() => process.exit(1), 10_000).unref();
        const calls = Array.from({ length: 30 }, (_, i) => client.call('get', i % 2 ? '/silent' : '/body', { signal }));
        const errors = (await Promise.allSettled(calls)).map(({ reason }) => reason);
        console.log(...new Set(errors.map(({ name, cause }) => name + ' ' + cause?.name)));
        const shutdown = new AbortController();
        const stopped = client.call('get', '/silent', { signal: shutdown.signal });
        setTimeout(() => shutdown.abort('shutting down'), 100);
        console.log(await stopped.catch((reason) => reason));`,
      );
      expect(output).toBe('ConnectionError TimeoutError\nshutting down\n');
    });
  });

  test('ends when its work is done, even with a token request that nobody waits for', async () => {
    let asked = 0;
    const server: RequestListener = (request, response) => {
      if (request.url !== '/generateToken') response.setHeader('token-refresh-due', 'true').end();
      else if (++asked === 1) response.setHeader('token-expires-in', '3600').end('a.b.c');
      else response.setHeader('retry-after', '12').writeHead(429).end();
    };
    await withServer(server, async (baseUrl) => {
      const { output, ms } = await run(
        `import { LatchkeyClient } from './client.js';
        const client = new LatchkeyClient({ baseUrl: '${baseUrl}', credentials: { username: 'a', password: 'b' },
          attempts: 2 });
        await client.fetch('/x');
        await new Promise((resolve) => setTimeout(resolve, 300));`,
      );
      expect(output).toBe('');
      expect(ms).toBeLessThan(10_000);
      expect(asked).toBe(2);
    });
  });

  test('waits for a token that is needed', async () => {
    let asked = 0;
    const server: RequestListener = (_, response) => {
      if (++asked > 1) response.setHeader('token-expires-in', '3600').end('a.b.c');
      else response.setHeader('retry-after', '1').writeHead(429).end();
    };
    await withServer(server, async (baseUrl) => {
      const { output } = await run(
        `import { LatchkeyClient } from './client.js';
        const client = new LatchkeyClient({ baseUrl: '${baseUrl}', credentials: { username: 'a', password: 'b' } });
        console.log(await client.token());`,
      );
      expect(output).toBe('a.b.c\n');
    });
  });
});

describe('secrets of the client', () => {
  test('stay below baseUrl', async () => {
    const urls: string[] = [];
    const server = withToken((request, response) => {
      urls.push(request.url ?? '');
      response.end();
    });
    await withServer(server, async (origin) => {
      const client = new LatchkeyClient({ baseUrl: `${origin}/latchkey`, credentials: ANYBODY });
      for (const path of [
        '../other-app/x',
        '/x/../../other-app',
        '%2e%2E/x',
        `${origin}/latchkey-2/x`,
        '..',
        '\\..\\x',
      ]) {
        await rejection(client.fetch(path), TypeError);
      }
      await client.fetch('/x/../y?z=..');
      await client.fetch(new URL(`${origin}/latchkey/z`));
    });
    expect(urls).toEqual(['/latchkey/y?z=..', '/latchkey/z']);
  });

  test('cannot be redirected by a parameter of a path', async () => {
    const urls: string[] = [];
    const server = withToken((request, response) => {
      urls.push(request.url ?? '');
      response.end();
    });
    await withServer(server, async (baseUrl) => {
      interface Messages {
        get: { parameters: { path: Record<string, string> }; responses: unknown };
      }
      const client = new LatchkeyClient<Record<'/properties/{property-id}/messages', Messages>>({
        baseUrl,
        credentials: ANYBODY,
      });
      const call = (path: Record<string, unknown>) =>
        client.call('get', '/properties/{property-id}/messages', { path: path as Record<string, string> });
      for (const id of ['', '.', '..', undefined, null]) await rejection(call({ 'property-id': id }), TypeError);
      await rejection(call({}), TypeError);
      expect(urls).toEqual([]);
      for (const id of ['7', 'a/../b', '...', 0]) await call({ 'property-id': id });
      expect(urls.map((url) => url.split('/')[2])).toEqual(['7', 'a%2F..%2Fb', '...', '0']);
    });
  });

  test('are not sent to another origin', async () => {
    const { client, sent } = forPartner(await app.newPartner());
    for (const url of ['https://example.com/me', '//example.com/me', new URL('http://127.0.0.1:1/me')]) {
      const answer = client.fetch(url);
      // Slashes in front stand for the root of baseUrl.
      if (url === '//example.com/me') expect((await answer).status).toBe(404);
      else await rejection(answer, TypeError);
    }
    expect(sent).toEqual(['POST /generateToken 200', 'GET /example.com/me 404']);
  });

  test('are not sent in clear text over a network or to a redirect', async () => {
    const credentials = { username: 'a', password: secret('a password that must not travel') };
    expect(() => new LatchkeyClient({ baseUrl: 'http://latchkey.example', credentials })).toThrow(TypeError);
    let followed = 0;
    const server = createServer((request, response) => {
      if (request.url === '/generateToken') response.writeHead(307, { location: '/elsewhere' }).end();
      else {
        followed++;
        response.end();
      }
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    const client = new LatchkeyClient({ baseUrl: `http://127.0.0.1:${String(port)}`, credentials, attempts: 1 });
    await rejection(client.token(), ConnectionError);
    expect(followed).toBe(0);
    server.closeAllConnections();
    server.close();
  });

  test('do not appear in the client or its errors when they are logged', async () => {
    const partner = await app.newPartner();
    const { client } = forPartner(partner);
    const token = await client.token();
    await staff('POST', `/admin/channel-users/${partner.id}/suspend`, { reason: 'test' });
    const error = await rejection(client.call('get', '/me'), TokenRefusedError);
    const logged = inspect([client, error], { depth: 10, showHidden: true }) + JSON.stringify([client, error]);
    expect(logged).not.toContain(partner.password);
    expect(logged).not.toContain(token);
  });
});
