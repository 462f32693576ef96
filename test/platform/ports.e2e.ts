import { once } from 'node:events';
import { request } from 'node:http';
import net, { type AddressInfo } from 'node:net';
import { randomBytes } from 'node:crypto';
import { type Answer, TestApp } from '../support/app.ts';
import { createDatabase } from '../support/database.ts';
import { keepOutput, secret } from '../support/secrets.ts';
import { isRunning, ServerProcess } from '../support/server.ts';

interface RawAnswer {
  readonly status: number;
  readonly headers: Record<string, string | string[] | undefined>;
  readonly text: string;
}

/** Sends a path as it is, with any method: fetch() resolves dot segments and refuses some methods. */
function raw(url: string, method: string, path: string, headers: Record<string, string> = {}): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers, agent: false }, (answer) => {
      let text = '';
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()));
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text });
      });
    });
    sent.on('error', reject).end();
  });
}

/** An answer without what differs from one to the next. */
function comparable({ status, headers, text }: RawAnswer): unknown {
  const { date: _, 'x-request-id': id, ...rest } = headers;
  return { status, headers: rest, text: text.replaceAll(String(id), 'ID') };
}

type Listener = 'public' | 'staff' | 'ops';

const listenerOf = (path: string): Listener =>
  /^\/(health|metrics)(\/|$)/.test(path)
    ? 'ops'
    : /^\/(admin|console|docs\/admin)(\/|$)/.test(path)
      ? 'staff'
      : 'public';

describe('with ADMIN_PORT and OPS_PORT', () => {
  let app: TestApp;
  let urls: Record<Listener, string>;

  beforeAll(async () => {
    app = await TestApp.start({ adminPort: 0 });
    urls = { public: app.url, staff: app.staffUrl, ops: app.opsUrl };
    expect(new Set(Object.values(urls)).size).toBe(3);
  });
  afterAll(() => app.close());

  it('every route answers at its own listener and is unknown at every other', async () => {
    const unknown = async (url: string, method: string): Promise<unknown> =>
      comparable(await raw(url, method, '/no-such-path'));
    const seen: Record<Listener, number> = { public: 0, staff: 0, ops: 0 };
    for (const { method, url: template } of app.app.table.routes) {
      // A parameter with a rule of its own is for links whose # arrived encoded.
      const path = template.replace(/:\w+\([^)]*\)/g, '%23x').replace(/:\w+|\*/g, 'x');
      const own = listenerOf(template);
      for (const [name, url] of Object.entries(urls) as [Listener, string][]) {
        const answer = await raw(url, method, path);
        if (name !== own) {
          expect([name, method, path, comparable(answer)]).toEqual([name, method, path, await unknown(url, method)]);
          continue;
        }
        seen[name]++;
        // Of the folder with the files of the reference, not every one is there.
        if (/^\/docs\/.*(\*|LICENSE)$/.test(template)) continue;
        expect([name, method, path, answer.text.includes('route.not-found')]).toEqual([name, method, path, false]);
      }
    }
    expect(seen).toEqual({
      public: expect.any(Number) as number,
      staff: expect.any(Number) as number,
      ops: 8,
    });
    expect(seen.public).toBeGreaterThan(20);
    expect(seen.staff).toBeGreaterThan(40);
  });

  it.each([
    ['POST', '/generateToken', 'public'],
    ['GET', '/me', 'public'],
    ['POST', '/oauth2/token', 'public'],
    ['GET', '/.well-known/jwks.json', 'public'],
    ['GET', '/handover', 'public'],
    ['GET', '/docs', 'public'],
    ['GET', '/docs/openapi.json', 'public'],
    ['POST', '/admin/session', 'staff'],
    ['GET', '/admin/channel-users', 'staff'],
    ['GET', '/console', 'staff'],
    ['GET', '/console/login', 'staff'],
    ['GET', '/docs/admin', 'staff'],
    ['GET', '/docs/admin/openapi.json', 'staff'],
    ['GET', '/health/live', 'ops'],
    ['GET', '/health/ready', 'ops'],
    ['GET', '/health/startup', 'ops'],
    ['GET', '/metrics', 'ops'],
  ] as const)('%s %s is served at the %s listener only', async (method, path, own) => {
    for (const [name, url] of Object.entries(urls)) {
      const { text } = await raw(url, method, path);
      expect([name, text.includes('route.not-found')]).toEqual([name, name !== own]);
    }
  });

  it('the front page of each listener leads to its purpose, except for operators', async () => {
    const leadsTo = async (url: string): Promise<unknown> => (await raw(url, 'GET', '/')).headers['location'];
    expect(await leadsTo(urls.public)).toBe('/docs');
    expect(await leadsTo(urls.staff)).toBe('/console');
    expect((await raw(urls.ops, 'GET', '/')).status).toBe(404);
    expect((await raw(urls.public, 'POST', '/')).status).toBe(404);
  });

  it('other methods and spellings open nothing: 404 elsewhere, 405 at home', async () => {
    const { token } = await app.asPartner();
    const staff = await app.asStaff('admin');
    for (const [method, path, own] of [
      ['GET', '/generateToken', 'public'],
      ['POST', '/generateToken?username=a&password=b', 'public'],
      ['DELETE', '/generateToken', 'public'],
      ['PUT', '/oauth2/token', 'public'],
      ['DELETE', '/admin/overview', 'staff'],
      ['PROPFIND', '/admin/staff', 'staff'],
      ['PUT', '/health/live', 'ops'],
      ['POST', '/metrics', 'ops'],
    ] as const) {
      for (const bearer of [undefined, token, staff.token]) {
        for (const [name, url] of Object.entries(urls)) {
          if (name === own) continue;
          const answer = await raw(
            url,
            method,
            path,
            bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
          );
          expect([name, method, path, answer.status]).toEqual([name, method, path, 404]);
          expect(answer.headers).toMatchObject({ 'content-type': 'application/problem+json; charset=utf-8' });
          for (const header of ['allow', 'www-authenticate', 'error-code', 'token-expires-in']) {
            expect(answer.headers).not.toHaveProperty([header]);
          }
        }
      }
    }
    for (const path of [
      '/%61dmin/channel-users',
      '/admin/%63hannel-users',
      '/docs/%61dmin/openapi.json',
      '/c%6Fnsole',
    ]) {
      expect([path, (await raw(urls.public, 'GET', path)).status]).toEqual([path, 404]);
      expect([path, (await raw(urls.staff, 'GET', path)).status]).not.toEqual([path, 404]);
    }
    for (const path of ['/docs/../admin/session', '/docs//admin/openapi.json', '/docs/admin%2fopenapi.json']) {
      const { status, text } = await raw(urls.public, 'GET', path);
      expect([path, [403, 404].includes(status), text.includes('/admin/session')]).toEqual([path, true, false]);
    }
    expect((await raw(urls.ops, 'PUT', '/health/live')).status).toBe(405);
    expect((await raw(urls.public, 'GET', '/generateToken')).text).toBe('method not allowed');
  });

  it('staff have the console, its cookie and its origin check at theirs only', async () => {
    const page = await raw(urls.staff, 'GET', '/console', { accept: 'text/html' });
    expect(page.status).toBe(200);
    const assets = [...page.text.matchAll(/(?:src|href)="(\/[^"]+)"/g)].map(([, path = '']) => path);
    expect(assets.length).toBeGreaterThan(1);
    for (const path of assets) expect([path, (await raw(urls.staff, 'GET', path)).status]).toEqual([path, 200]);

    const { email, password } = await app.newStaff('admin');
    const call = (method: string, path: string, origin: string, json?: unknown, cookie?: string): Promise<Answer> =>
      app.request(method, path, {
        headers: { origin, ...(cookie !== undefined && { cookie }) },
        ...(json !== undefined && { json }),
      });
    const signIn = (origin: string): Promise<Answer> =>
      call('POST', '/admin/session', origin, { email, password, cookie: true });
    expect((await signIn(urls.public)).status).toBe(403);
    const signedIn = await signIn(urls.staff);
    expect(signedIn.status).toBe(200);
    const cookie = secret(signedIn.headers.get('set-cookie')?.split(';', 1)[0] ?? '');
    // Named by the port of the staff, not by the public one (3000).
    expect(cookie).toMatch(/^latchkey_session_0=/);
    expect(signedIn.headers.get('set-cookie')).toMatch(/; Path=\/admin;.* HttpOnly; SameSite=Strict/);

    const provision = (origin: string, username: string): Promise<Answer> =>
      call('POST', '/admin/channel-users', origin, { username, displayName: username, deliver: 'link' }, cookie);
    expect((await provision(urls.public, 'from-elsewhere')).json()).toMatchObject({ code: 'session.cross-site' });
    const provisioned = await provision(urls.staff, 'from-the-console');
    expect(provisioned.status).toBe(201);
    // What is for partners is at PUBLIC_URL.
    expect(provisioned.json()['handoverUrl']).toMatch(/^http:\/\/latchkey\.test\/handover#/);
    secret(String(provisioned.json()['handoverUrl']).split('#')[1] ?? '');
    const settings = await call('GET', '/admin/settings', urls.staff, undefined, cookie);
    expect(settings.json()).toMatchObject({ publicUrl: 'http://latchkey.test' });
  });

  it('each listener keeps the limits of the public one', async () => {
    const { token } = await app.asPartner();
    expect((await app.request('GET', '/me', { token })).status).toBe(200);
    for (const [name, url] of Object.entries(urls)) {
      const overflow = await raw(url, 'GET', '/', { 'x-large': 'x'.repeat(33 * 1024) });
      expect([name, overflow.status, JSON.parse(overflow.text)]).toEqual([
        name,
        431,
        expect.objectContaining({ code: 'request.headers-too-large' }),
      ]);
      expect([name, (await raw(url, 'GET', '/nowhere', { 'x-large': 'x'.repeat(30 * 1024) })).status]).toEqual([
        name,
        404,
      ]);
      const { port, hostname } = new URL(url);
      const socket = net.connect(Number(port), hostname);
      socket.end('this is no HTTP\r\n\r\n');
      const chunks: Buffer[] = [];
      for await (const chunk of socket) chunks.push(chunk as Buffer);
      expect(Buffer.concat(chunks).toString()).toMatch(/^HTTP\/1\.1 400 [^]*"code":"request.malformed"/);
      expect(await raw(url, 'GET', '/%zz')).toMatchObject({ status: 400, headers: { 'cache-control': 'no-store' } });
    }
    // Node's own five seconds would be another limit.
    const keepAlive = async (url: string): Promise<unknown> => (await fetch(url)).headers.get('keep-alive');
    const ofPublic = await keepAlive(urls.public);
    expect(ofPublic).toMatch(/^timeout=\d\d+$/);
    for (const [name, url] of Object.entries(urls)) expect([name, await keepAlive(url)]).toEqual([name, ofPublic]);
  });
});

describe('without ADMIN_PORT and OPS_PORT', () => {
  it('staff use the public port, and health and metrics are not served', async () => {
    const app = await TestApp.start({ opsPort: undefined });
    try {
      const status = async (path: string): Promise<number> => (await raw(app.url, 'GET', path)).status;
      expect(await status('/console')).toBe(200);
      expect(await raw(app.url, 'GET', '/')).toMatchObject({ status: 302, headers: { location: '/console' } });
      expect(await raw(app.url, 'GET', '/?from=mail')).toMatchObject({
        status: 302,
        headers: { location: '/console' },
      });
      expect(await status('/admin/session')).toBe(401);
      expect(await status('/me')).toBe(401);
      for (const path of ['/health/live', '/health/ready', '/health/startup', '/metrics', '/health']) {
        expect([path, await status(path)]).toEqual([path, 404]);
      }
    } finally {
      await app.close();
    }
  });
});

describe('the built server', () => {
  const running: ServerProcess[] = [];
  let database: { url: string; drop: () => Promise<void> };
  const keyEncryptionKey = secret(randomBytes(32).toString('base64'));

  beforeAll(async () => {
    database = await createDatabase();
  });
  afterAll(() => database.drop());
  afterEach(async () => {
    for (const server of running.splice(0)) {
      if (isRunning(server.pid)) await server.kill('SIGTERM');
      keepOutput(server.stdout + server.stderr);
    }
  });

  function start(env: Record<string, string>): ServerProcess {
    const server = new ServerProcess({
      env: {
        NODE_ENV: 'development',
        DATABASE_URL: database.url,
        PUBLIC_URL: 'http://latchkey.test',
        KEY_ENCRYPTION_KEY: keyEncryptionKey,
        PORT: '0',
        ...env,
      },
    });
    running.push(server);
    return server;
  }

  it('prints the URL of each listener and has opened them all when it says that it listens', async () => {
    const server = start({ ADMIN_PORT: '0', OPS_PORT: '0' });
    const url = await server.listening();
    const staff = server.line('Staff API on ');
    const ops = server.line('Operations on ');
    expect(server.lines).toEqual([`Staff API on ${staff}`, `Operations on ${ops}`, `Listening on ${url}`]);
    for (const [origin, path, status] of [
      [url, '/me', 401],
      [staff, '/admin/session', 401],
      [ops, '/health/ready', 200],
      [url, '/admin/session', 404],
    ] as const) {
      expect([path, (await fetch(origin + path)).status]).toEqual([path, status]);
    }
    expect(await server.kill('SIGTERM')).toBe(0);
  });

  it('does not start when a port is taken, and names the variable', async () => {
    const taken = net.createServer().listen(0, '127.0.0.1');
    await once(taken, 'listening');
    const port = String((taken.address() as AddressInfo).port);
    try {
      for (const variable of ['PORT', 'ADMIN_PORT', 'OPS_PORT']) {
        const server = start({ ADMIN_PORT: '0', OPS_PORT: '0', [variable]: port });
        expect(await server.exited).toBe(1);
        expect(server.stderr).toBe(
          `Latchkey did not start. Listening on 127.0.0.1:${port} failed: the port is in use. Change ${variable}.\n`,
        );
        expect(server.stdout).not.toContain('Listening on');
      }
    } finally {
      taken.close();
    }
  });

  it('does not start with two listeners at one port', async () => {
    const server = start({ PORT: '3999', ADMIN_PORT: '3999', OPS_PORT: '3999' });
    expect(await server.exited).toBe(1);
    expect(server.stderr).toContain('ADMIN_PORT must differ from PORT');
    expect(server.stderr).toContain('OPS_PORT must differ from PORT');
  });
});
