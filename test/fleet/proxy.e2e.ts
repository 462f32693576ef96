import { randomBytes, randomUUID } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import path from 'node:path';
import tls from 'node:tls';
import { createDatabase } from '../support/database.ts';
import { Fleet, type Received, send } from '../support/fleet.ts';
import { ForeignProcess, removeFolder, serverFolder } from '../support/foreign-process.ts';
import { Nginx } from '../support/nginx.ts';
import { freePort } from '../support/ports.ts';
import { describeWith } from '../support/programs.ts';
import { realTime } from '../support/real-time.ts';
import { keepOutput, secret } from '../support/secrets.ts';

describeWith('/usr/sbin/nginx')('the proxy example', () => {
  const started = new AsyncDisposableStack();
  let fleet: Fleet;
  let nginx: Nginx;

  beforeAll(async () => {
    const database = await createDatabase();
    started.defer(database.drop);
    fleet = await Fleet.start(database.url, {}, 1);
    started.defer(() => fleet.remove());
    started.defer(() => {
      for (const { output } of fleet.instances) keepOutput(output);
    });
    secret(fleet.staffToken);
    nginx = await Nginx.start(fleet.ports);
    started.defer(() => nginx.remove());
  });
  afterAll(() => started.disposeAsync());

  /** Sends a path as it is, which a URL would clean up. */
  function raw(target: string, method = 'POST', headers: Record<string, string> = {}): Promise<Received> {
    return new Promise((resolve, reject) => {
      const outgoing = request({ port: nginx.port, path: target, method, headers }, (answer) => {
        let text = '';
        answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        answer.on('end', () => {
          resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text });
        });
      });
      outgoing.on('error', reject);
      outgoing.end();
    });
  }

  const ways: [string, (password: string) => Promise<Received>][] = [
    ['the query', (p) => raw(`/generateToken?Username=u&Password=${p}`)],
    ['a query with other spelling', (p) => raw(`/generateToken?user%6eame=u&%50ass%77ord=${p}`)],
    ['the query of a GET', (p) => raw(`/generateToken?username=u&password=${p}`, 'GET')],
    ['the query of OAuth', (p) => raw(`/oauth2/token?grant_type=client_credentials&client_secret=${p}`)],
    ['the query of a path that is nearly right', (p) => raw(`/generatetoken/?username=u&password=${p}`)],
    ['a query whose ? arrived as %3F', (p) => raw(`/generateToken%3Fusername=u&password=${p}`)],
    ['the path', (p) => raw(`/generateToken/u/${p}`)],
    ['a path with double slashes', (p) => raw(`//generateToken//u/${p}`)],
    ['another path', (p) => raw(`/token/username=u;password=${p}`)],
    ['a one-time link whose # arrived as %23', (p) => raw(`/handover%23${p}`, 'GET')],
    ['a link for a password whose # arrived as %23', (p) => raw(`/console/password-link%23${p}`, 'GET')],
    ['a link for a password without its #', (p) => raw(`/console/password-link/${p}`, 'GET')],
    ['a one-time link without its #', (p) => raw(`/handover/${p}`, 'GET')],
    ['the Referer', (p) => raw('/me', 'GET', { referer: `https://x/generateToken?password=${p}` })],
    ['Authorization', (p) => raw('/me', 'GET', { authorization: `Basic ${p}` })],
    [
      'the body',
      (p) => send(nginx.url, { method: 'POST', path: '/generateToken', form: { Username: 'u', Password: p } }),
    ],
    [
      'a large body',
      (p) => send(nginx.url, { method: 'POST', path: '/admin/session', json: { password: p.padEnd(200_000, p) } }),
    ],
    [
      'a body that is too large',
      (p) => send(nginx.url, { method: 'POST', path: '/me', form: { p: p.repeat(80_000) } }),
    ],
  ];

  it('logs no password or link, even while no instance answers', async () => {
    const sent: string[] = [];
    const tryAll = async (): Promise<number[]> => {
      const statuses: number[] = [];
      for (const [, way] of ways) {
        for (const password of [randomUUID(), randomBytes(32).toString('base64url')]) {
          sent.push(secret(password));
          statuses.push((await way(password)).status);
        }
      }
      return statuses;
    };
    await tryAll();
    await fleet.instance(0).stop();
    expect(await tryAll()).toContain(503);
    const text = await nginx.written();
    // It wrote something, of every request.
    expect((await nginx.log()).length).toBeGreaterThanOrEqual(sent.length);
    expect(sent.filter((password) => text.includes(password))).toEqual([]);
    expect(text).not.toMatch(/username=|password=/i);
    await fleet.instance(0).start();
  });

  it('logs paths without secrets', async () => {
    const id = randomUUID();
    await send(nginx.url, { path: `/admin/channel-users/${id}?q=some` });
    await send(nginx.url, { path: '/.well-known/jwks.json' });
    const lines = (await nginx.log()).slice(-2);
    expect(lines[0]).toContain(` GET /admin/channel-users/${id} 401 `);
    expect(lines[1]).toContain(' GET /.well-known/jwks.json 200 ');
  });

  it('refuses credentials in the URL with the words of Latchkey', async () => {
    const direct = await send(fleet.instance(0).url, { method: 'POST', path: '/generateToken?username=u&password=p' });
    const proxied = await raw('/generateToken?username=u&password=p');
    for (const { status, text, headers } of [direct, proxied]) {
      expect([status, text]).toEqual([400, 'invalid username or password']);
      expect(headers).toMatchObject({
        'content-type': 'text/plain; charset=utf-8',
        'error-code': 'credentials_in_url',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      });
    }
    const oauth = await raw('/oauth2/token?client_secret=p');
    expect([oauth.status, oauth.headers['content-type']]).toEqual([400, 'application/json']);
    expect(JSON.parse(oauth.text)).toMatchObject({ error: 'invalid_request' });
  });

  it('passes credentials in the URL on if the operator allows it', async () => {
    const lenient = await Nginx.start(fleet.ports, { legacyQueryCredentials: true });
    try {
      const { status, headers } = await send(lenient.url, {
        method: 'POST',
        path: '/generateToken?username=u&password=p',
      });
      expect([status, headers['x-request-id']]).toEqual([400, expect.any(String)]);
    } finally {
      await lenient.remove();
    }
  });

  it('passes imports over 1 MB on without a disk, even slow ones', async () => {
    const rows = Array.from({ length: 20_000 }, (_, i) => `imported-${String(i)},Imported ${'x'.repeat(40)}`);
    const csv = `username,displayName\n${rows.join('\n')}\n`;
    expect(csv.length).toBeGreaterThan(1024 * 1024);
    let meanwhile: Promise<string> | undefined;
    const answer = await new Promise<Received>((resolve, reject) => {
      const headers = { authorization: `Bearer ${fleet.staffToken}`, 'content-type': 'text/csv' };
      const target = `/admin/channel-users/import?id=${randomUUID()}&dryRun=true`;
      const outgoing = request({ port: nginx.port, path: target, method: 'POST', headers }, (incoming) => {
        let text = '';
        incoming.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        incoming.on('end', () => {
          resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, text });
        });
      });
      outgoing.on('error', reject);
      outgoing.write(csv.slice(0, csv.length / 2));
      void realTime('nginx is busy with an upload').then(() => {
        // What it puts aside of a request is there until the request's end.
        meanwhile = nginx.written();
        outgoing.end(csv.slice(csv.length / 2));
      });
    });
    expect([answer.status, answer.text]).toEqual([200, expect.stringContaining('"rows":20000')]);
    expect(await meanwhile).not.toContain('imported-1');
    expect(await nginx.written()).not.toContain('imported-1');
  });

  it('answers a body that is too large with the words of Latchkey', async () => {
    const json = { username: 'x'.repeat(1_100_000) };
    const { status, text, headers } = await send(nginx.url, { method: 'POST', path: '/admin/session', json });
    expect([status, text, headers['error-code']]).toEqual([413, 'request too large', 'request_too_large']);
  });

  it('asks Latchkey about each call as in docs/resource-servers.md and stops inactive tokens', async () => {
    const page = await readFile('docs/resource-servers.md', 'utf8');
    const block = /```nginx\n([^]*?)```/.exec(page)?.[1] ?? '';
    const port = await freePort();
    const folder = await serverFolder('auth-request');
    const temporary = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
      (kind) => `${kind}_temp_path ${folder}/${kind};`,
    );
    await writeFile(
      path.join(folder, 'nginx.conf'),
      `daemon off; pid ${folder}/pid; error_log stderr; events {}
       http { access_log off; ${temporary.join(' ')}
         upstream latchkey { server 127.0.0.1:${String(fleet.ports[0])}; }
         upstream calendar { server 127.0.0.1:${String(nginx.port)}; }
         server { listen 127.0.0.1:${String(port)}; ${block} } }`,
    );
    const gateway = await ForeignProcess.start(
      '/usr/sbin/nginx',
      ['-p', folder, '-c', path.join(folder, 'nginx.conf'), '-e', 'stderr'],
      port,
    );
    try {
      const account = await fleet.newAccount();
      secret(account.password);
      const token = secret(await fleet.newToken(account));
      const ask = async (bearer?: string): Promise<number> =>
        (await send(`http://127.0.0.1:${String(port)}`, { path: '/calendar/', token: bearer })).status;
      // Behind the gate Latchkey itself answers: it knows no such path.
      expect([await ask(token), await ask(), await ask('nonsense')]).toEqual([404, 401, 401]);
      await fleet.admin({
        method: 'POST',
        path: `/admin/channel-users/${account.id}/revoke-tokens`,
        json: { reason: 'test' },
      });
      expect(await ask(token)).toBe(401);
    } finally {
      await gateway.stop();
      await removeFolder(folder);
    }
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('speaks %s', async (version) => {
    const socket = tls.connect({
      port: nginx.tlsPort,
      minVersion: version,
      maxVersion: version,
      rejectUnauthorized: false,
    });
    await new Promise((resolve, reject) => socket.once('secureConnect', resolve).once('error', reject));
    expect(socket.getProtocol()).toBe(version);
    socket.destroy();
  });
});
