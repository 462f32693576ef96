import { once } from 'node:events';
import net from 'node:net';
import { gzipSync } from 'node:zlib';
import { CONNECTION_LIMITS } from '../../src/platform/http/connections.ts';
import { type Answer, type Partner, TestApp } from '../support/app.ts';
import { holdSigning } from '../support/inside.ts';
import { secret } from '../support/secrets.ts';
import { eventually, logLines, LOOPBACK_PROXIES } from '../support/sign-ins.ts';

let app: TestApp;
let partner: Partner;
let operator: string;

beforeAll(async () => {
  app = await TestApp.start({ adminPort: 0, trustedProxies: LOOPBACK_PROXIES }, {}, CONNECTION_LIMITS);
  partner = await app.newPartner();
  operator = (await app.asStaff('operator')).token;
});
afterAll(() => app.close());

/** Sends a text as it is. @returns everything that comes until the server ends the connection */
async function exchange(url: string, text: string): Promise<string> {
  const client = net.connect({ port: Number(new URL(url).port), host: '127.0.0.1' });
  let answer = '';
  client.on('data', (chunk: Buffer) => (answer += chunk.toString('latin1')));
  client.write(text, 'latin1');
  await once(client, 'end');
  return answer;
}

const HOST = 'Host: latchkey.test\r\n';
const CLOSE = 'Connection: close\r\n';
const FORM = 'application/x-www-form-urlencoded';

describe('Host', () => {
  const get = (path: string, ...hosts: string[]): Promise<string> =>
    exchange(app.url, `GET ${path} HTTP/1.1\r\n${hosts.map((host) => `Host: ${host}\r\n`).join('')}${CLOSE}\r\n`);

  it.each([
    ['two of them', ['a', 'b']],
    ['the same twice', ['a', 'a']],
    ['none', []],
    ['an empty one', ['']],
    ['a space', ['a b']],
    ['a user', ['user@a']],
    ['a path', ['a/b']],
    ['a query', ['a?b']],
    ['a fragment', ['a#b']],
    ['a backslash', ['a\\b']],
    ['quotes', ['"a"']],
    ['what is not ASCII', ['\xe4']],
    ['a port that is none', ['a:x']],
    ['a port beyond the last', ['a:65536']],
    ['two ports', ['a:1:2']],
    ['IPv6 without its end', ['[::1']],
    ['IPv6 without brackets', ['::1']],
    ['what is longer than names are', ['a'.repeat(300)]],
  ])('is refused with %s, at known and unknown paths', async (_, hosts) => {
    for (const path of ['/me', '/nothing', '/generateToken']) {
      expect(await get(path, ...hosts)).toMatch(
        path === '/generateToken'
          ? /^HTTP\/1.1 400 [^]*\nerror-code: /
          : /^HTTP\/1.1 400 [^]*"code":"request.malformed"/,
      );
    }
  });

  it.each(['a', 'a.example:443', 'a.example.', 'a_b-c.example', '127.0.0.1:3000', '[::1]', '[::1]:3000', 'a:', '%61'])(
    'may be %s',
    async (host) => {
      expect(await get('/me', host)).toMatch(/^HTTP\/1.1 401 /);
    },
  );

  it('may be absent in HTTP/1.0', async () => {
    expect(await exchange(app.url, 'GET /me HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1.1 401 /);
  });
});

describe('CONNECT', () => {
  it.each(['url', 'staffUrl', 'opsUrl'] as const)('is answered at %s, and the connection ends', async (listener) => {
    const answer = await exchange(app[listener], `CONNECT a.example:443 HTTP/1.1\r\n${HOST}\r\n`);
    expect(answer).toMatch(/^HTTP\/1.1 400 [^]*\nconnection: close\r\n[^]*"code":"request.malformed"/);
    expect(answer).toContain('not a proxy');
  });

  it('waits for the answer to the request before it', async () => {
    const body = `Username=nobody&Password=${'x'.repeat(20)}`;
    const answer = await exchange(
      app.url,
      `POST /generateToken HTTP/1.1\r\n${HOST}Content-Type: ${FORM}\r\nContent-Length: ${String(body.length)}\r\n\r\n${body}` +
        `CONNECT a.example:443 HTTP/1.1\r\n${HOST}\r\n`,
    );
    expect([...answer.matchAll(/HTTP\/1.1 (\d+)/g)].map(([, status]) => status)).toEqual(['401', '400']);
  });
});

describe('Transfer-Encoding', () => {
  it.each(['/generateToken', '/oauth2/token', '/handover/reveal', '/credentials/report-leaked', '/nothing'])(
    'gets 501 when it is unknown at %s',
    async (path) => {
      for (const codings of [
        'gzip, chunked',
        'gzip\r\nTransfer-Encoding: chunked',
        'x, chunked',
        'identity, chunked',
      ]) {
        const answer = await exchange(
          app.url,
          `POST ${path} HTTP/1.1\r\n${HOST}Content-Type: ${FORM}\r\nTransfer-Encoding: ${codings}\r\n\r\n0\r\n\r\n`,
        );
        expect(answer).toMatch(/^HTTP\/1.1 501 [^]*\r\nconnection: close\r\n/i);
      }
    },
  );
});

describe('an optional body', () => {
  const path = (): string => `/admin/channel-users/${partner.id}/credentials`;
  const send = (method: string, of: string, headers: string, body = ''): Promise<string> =>
    exchange(
      app.staffUrl,
      `${method} ${of} HTTP/1.1\r\n${HOST}${CLOSE}Authorization: Bearer ${operator}\r\n${headers}\r\n${body}`,
    );
  const statusOf = (answer: string): number => Number(answer.slice(9, 12));
  const idOf = (answer: string): string => /"id":"([^"]+)"/.exec(answer)?.[1] ?? '';

  it.each(['text/plain', FORM, 'text/csv', 'multipart/form-data; boundary=x', 'application/json', ';', undefined])(
    'may be empty with any type: %s',
    async (type) => {
      const header = type === undefined ? '' : `Content-Type: ${type}\r\n`;
      for (const [headers, body] of [
        ['Content-Length: 0\r\n', ''],
        ['Transfer-Encoding: chunked\r\n', '0\r\n\r\n'],
      ] as const) {
        const created = await send('POST', path(), header + headers, body);
        expect(created).toMatch(/^HTTP\/1.1 201 /);
        const revoked = await send('DELETE', `${path()}/${idOf(created)}`, header + headers, body);
        expect(statusOf(revoked)).toBe(204);
        expect(statusOf(await send('PATCH', `/admin/channel-users/${partner.id}`, header + headers, body))).not.toBe(
          415,
        );
      }
    },
  );

  it.each(['text/plain', FORM, 'text/csv', undefined])('is refused when it is not empty, of type %s', async (type) => {
    const header = type === undefined ? '' : `Content-Type: ${type}\r\n`;
    for (const [headers, body] of [
      ['Content-Length: 2\r\n', '{}'],
      ['Transfer-Encoding: chunked\r\n', '2\r\n{}\r\n0\r\n\r\n'],
    ] as const) {
      expect(await send('POST', path(), header + headers, body)).toMatch(/^HTTP\/1.1 415 [^]*application\/json/);
    }
  });

  it('is still required by /generateToken, as a form', async () => {
    for (const [type, status, code] of [
      ['text/plain', 415, 'unsupported_content_type'],
      [FORM, 400, 'malformed_request'],
    ] as const) {
      const answer = await app.request('POST', '/generateToken', { headers: { 'content-type': type } });
      expect([answer.status, answer.headers.get('error-code')]).toEqual([status, code]);
    }
  });
});

describe('a compressed body', () => {
  const gzipped = { 'content-encoding': 'gzip' };

  it('is refused by name: in JSON', async () => {
    const answer = await app.request('POST', '/admin/channel-users', {
      token: operator,
      headers: { ...gzipped, 'content-type': 'application/json' },
      body: gzipSync('{"username":"a-b-c","displayName":"A"}'),
    });
    expect(answer.status).toBe(415);
    expect(answer.json()['detail']).toMatch(/without Content-Encoding/);
    expect(answer.headers.get('accept-encoding')).toBe('identity');
  });

  it('is refused by name: as a form', async () => {
    const headers = { ...gzipped, 'content-type': FORM };
    const body = gzipSync('Username=a&Password=b');
    const text = await app.request('POST', '/generateToken', { headers, body });
    expect([text.status, text.text, text.headers.get('error-code')]).toEqual([
      415,
      'unsupported content type',
      'unsupported_content_type',
    ]);
    const json = await app.request('POST', '/generateToken', {
      headers: { ...headers, accept: 'application/json' },
      body,
    });
    expect(json.json()['error_description']).toMatch(/without Content-Encoding/);
    const oauth = await app.request('POST', '/oauth2/token', { headers, body });
    expect(oauth.json()).toMatchObject({
      error: 'invalid_request',
      error_description: expect.stringContaining('Content-Encoding') as string,
    });
  });
});

describe('the size of a JSON body', () => {
  const ofLength = (length: number): string => '{"a":1'.padEnd(length - 1) + '}';
  const post = (path: string, body: string, token?: string): Promise<Answer> =>
    app.request('POST', path, { body, headers: { 'content-type': 'application/json' }, token });

  it.each(['/admin/session', '/handover/reveal', '/credentials/report-leaked'])(
    'is 8 KiB at most before authentication: %s',
    async (path) => {
      expect((await post(path, ofLength(8_192))).status).toBe(400);
      expect((await post(path, ofLength(8_193))).status).toBe(413);
    },
  );

  it('is 256 KiB at most elsewhere, with 20,000 values of any kind', async () => {
    const listOf = (count: number, value: string): string => `[${Array<string>(count).fill(value).join(',')}]`;
    // One list in another: 1 value, and 10 lists with 18,000 values and those that are counted.
    const body = (count: number): string =>
      `{"a":[${listOf(2_000, '1')}${`,${listOf(2_000, '{}')}`.repeat(8)},${listOf(count, '"b"')}]}`;
    expect((await post('/admin/channel-users', body(1_989), operator)).text).not.toContain('20000');
    expect((await post('/admin/channel-users', body(1_990), operator)).text).toContain(
      'must have at most 20000 values',
    );
    expect((await post('/admin/channel-users', ofLength(262_145), operator)).status).toBe(413);
  });
});

describe('the API reference', () => {
  it('serves only the files that its page needs', async () => {
    const page = await app.request('GET', '/docs');
    const files = [...page.text.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, path = '']) => `/${path}`);
    expect(files.length).toBeGreaterThan(4);
    for (const path of files) expect([path, (await app.request('GET', path)).status]).toEqual([path, 200]);
    for (const name of [
      'package.json',
      'README.md',
      'LICENSE',
      'index.js',
      'swagger-ui-bundle.js.map',
      'oauth2-redirect.html',
      'p%61ckage.json',
    ]) {
      for (const folder of ['docs', 'docs/docs', 'docs/admin', 'docs/admin/admin', 'console', 'console/assets']) {
        for (const url of [app.url, app.staffUrl]) {
          const answer = await fetch(`${url}/${folder}/${name}`, { headers: { accept: 'application/json' } });
          expect([folder, name, answer.status]).toEqual([folder, name, 404]);
        }
      }
    }
  });
});

describe('public documents', () => {
  const origin = { origin: 'https://dashboard.example' };
  const preflight = (path: string): Promise<Answer> =>
    app.request('OPTIONS', path, {
      headers: { ...origin, 'access-control-request-method': 'GET', 'access-control-request-headers': 'if-none-match' },
    });

  it.each([
    '/.well-known/jwks.json',
    '/.well-known/oauth-authorization-server',
    '/docs/openapi.json',
    '/docs',
    '/docs/swagger-ui.css',
  ])('may be read by a page of any origin: %s', async (path) => {
    const asked = await preflight(path);
    expect(asked.status).toBe(204);
    expect(asked.headers.get('access-control-allow-origin')).toBe('*');
    expect(asked.headers.get('access-control-allow-methods')).toMatch(/\bGET\b/);
    expect(asked.headers.get('access-control-allow-headers')).toBe('*');
    const read = await app.request('GET', path, { headers: origin });
    expect([read.status, read.headers.get('access-control-allow-origin')]).toEqual([200, '*']);
  });

  it.each(['/me', '/generateToken', '/oauth2/token', '/admin/session', '/docs/admin/openapi.json'])(
    'do not include %s',
    async (path) => {
      const url = path.includes('admin') ? app.staffUrl : app.url;
      const answer = await fetch(url + path, {
        method: 'OPTIONS',
        headers: { ...origin, 'access-control-request-method': 'GET' },
      });
      expect(answer.status).toBe(405);
      expect(answer.headers.get('access-control-allow-origin')).toBeNull();
    },
  );
});

describe('a mistyped request of a partner', () => {
  it.each(['/generateToken/', '/generatetoken', '/GenerateToken', '//generateToken', '/generateToken//'])(
    'with the path %s gets a hint',
    async (path) => {
      const answer = await app.request('POST', path, { form: { Username: 'a', Password: 'b' } });
      expect([answer.status, answer.headers.get('error-code')]).toEqual([404, 'unknown_path']);
      expect(answer.json()).toMatchObject({
        code: 'route.not-found',
        detail: expect.stringContaining('/generateToken') as string,
      });
    },
  );

  it('at another path gets no hint', async () => {
    for (const path of ['/generateTokens', '/generate-token', '/']) {
      const answer = await app.request('POST', path, { form: {} });
      expect([answer.status, answer.headers.get('error-code')]).toEqual([404, null]);
    }
  });

  it.each([
    ['a line break at the end', 'Username=a&Password=b\n', 'The field Password has a control character'],
    ['no password', 'Username=a', 'The field Password is missing'],
    ['an empty username', 'Username=&Password=b', 'The field Username is empty'],
    ['both spellings', 'Username=a&username=a&Password=b', 'The field Username is repeated'],
    ['Latin-1', 'Username=a&Password=%E9', 'The field Password is not valid UTF-8'],
    ['257 characters', `Username=${'a'.repeat(257)}&Password=b`, 'The field Username has more than 256 characters'],
  ])('with %s in the form gets a hint in JSON', async (_, form, hint) => {
    const text = await app.request('POST', '/generateToken', { form });
    expect([text.status, text.text]).toEqual([400, 'invalid username or password']);
    const json = await app.request('POST', '/generateToken', { form, headers: { accept: 'application/json' } });
    expect(json.json()).toEqual({
      error: 'malformed_request',
      error_description: expect.stringContaining(hint) as string,
    });
    expect(json.headers.get('error-code')).toBe('malformed_request');
  });
});

it('treats an address behind more than 32 hops as unknown', async () => {
  const { username, password } = await app.newPartner({ allowedIps: ['203.0.113.9'] });
  const issued = await app.request('POST', '/generateToken', {
    form: { Username: username, Password: password },
    headers: { 'x-forwarded-for': '203.0.113.9' },
  });
  const token = secret(issued.text);
  const me = async (forwarded: string): Promise<number> =>
    (await app.request('GET', '/me', { token, headers: { 'x-forwarded-for': forwarded } })).status;
  expect(await me('203.0.113.9')).toBe(200);
  expect(await me(`203.0.113.9${', 127.0.0.1'.repeat(31)}`)).toBe(200);
  expect(await me(`203.0.113.9${', 127.0.0.1'.repeat(32)}`)).toBe(401);
  expect(await me(`203.0.113.9,${' '.repeat(2_048)}127.0.0.1`)).toBe(401);
});

it.each(['/generateToken', '/oauth2/token'])(
  'does not count a token that is signed after the deadline, and raises no alarm: %s',
  async (path) => {
    const { id, username, password } = await app.newPartner();
    const release = holdSigning(app);
    const form: Record<string, string> =
      path === '/generateToken'
        ? { Username: username, Password: password }
        : { grant_type: 'client_credentials', client_id: username, client_secret: password };
    const lines = logLines().length;
    const answer = await app.request('POST', path, { form });
    expect(answer.status).toBe(503);
    release();
    // The next one is counted, and so the one before would have been.
    expect((await app.request('POST', path, { form })).status).toBe(200);
    const items = await eventually(async () => {
      const activity = await app.request('GET', `/admin/channel-users/${id}/activity`, { token: operator });
      const found = activity.json<{ items: { outcome: string }[] }>().items;
      return found.length > 0 ? found : undefined;
    }, 'the sign-in is recorded');
    expect(items.filter(({ outcome }) => outcome === 'token')).toHaveLength(1);
    const alarms = logLines()
      .slice(lines)
      .filter(
        ({ level, msg }) => level !== 'info' && level !== 'debug' && level !== 'trace' && msg !== 'request failed',
      );
    expect(alarms).toEqual([]);
  },
);
