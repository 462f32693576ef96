import { readdir } from 'node:fs/promises';
import { request } from 'node:http';
import { TestApp } from '../support/app.ts';

let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start();
});
afterAll(() => app.close());

interface RawAnswer {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  length: number;
  text: string;
}

/** Sends the path as it is: fetch() would resolve dot segments, and unpack the body. */
function raw(path: string, headers: Record<string, string> = {}, method = 'GET'): Promise<RawAnswer> {
  const { hostname, port } = new URL(app.url);
  return new Promise((resolve, reject) => {
    const sent = request({ hostname, port, path, method, headers }, (answer) => {
      const chunks: Buffer[] = [];
      answer.on('data', (chunk: Buffer) => chunks.push(chunk));
      answer.on('end', () => {
        const body = Buffer.concat(chunks);
        resolve({
          status: answer.statusCode ?? 0,
          headers: answer.headers,
          length: body.length,
          text: body.toString('utf8'),
        });
      });
    });
    sent.on('error', reject).end();
  });
}

const script = async (): Promise<string> => {
  const found = (await readdir('dist/console/assets')).find((name) => /^index-.*\.js$/.test(name));
  if (found === undefined) throw new Error('The console has not been built');
  return `/console/assets/${found}`;
};

describe('the page of the console', () => {
  it('is served for each of its paths and revalidated before use', async () => {
    for (const path of ['/console', '/console/', '/console/channel-users/some-id', '/console/login?x=1']) {
      const answer = await raw(path, { accept: 'text/html,application/xhtml+xml,*/*;q=0.8' });
      expect([path, answer.status]).toEqual([path, 200]);
      expect(answer.headers).toMatchObject({
        'content-type': 'text/html; charset=utf-8',
        'cache-control': 'no-cache',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      });
      expect(answer.text).toContain('<div id="root">');
    }
  });

  it('answers HEAD like GET, without a body', async () => {
    const answer = await raw('/console/', {}, 'HEAD');
    expect([answer.status, answer.length]).toEqual([200, 0]);
    expect(answer.headers['content-security-policy']).toContain(`frame-ancestors 'none'`);
  });

  it('has a policy without unsafe-inline and with a new nonce each time', async () => {
    const nonces = new Set<string>();
    for (let i = 0; i < 3; i++) {
      const { headers, text } = await raw('/console/');
      const policy = String(headers['content-security-policy']);
      expect(policy).not.toContain('unsafe');
      const [, nonce = ''] = /style-src 'self' 'nonce-([\w+/=]{24})'/.exec(policy) ?? [];
      expect(policy).toBe(
        `default-src 'none'; script-src 'self'; style-src 'self' 'nonce-${nonce}'; connect-src 'self'; ` +
          `img-src 'self' data:; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'`,
      );
      expect(text).toContain(`nonce="${nonce}"`);
      expect(text).not.toContain('__CSP_NONCE__');
      nonces.add(nonce);
    }
    expect(nonces.size).toBe(3);
  });

  it('contains no inline script or style and nothing foreign', async () => {
    const { text } = await raw('/console/');
    for (const [tag] of text.matchAll(/<script[^>]*>/g)) expect(tag).toMatch(/ src="\/console\/assets\//);
    expect(text).not.toMatch(/<style|style=|https?:\/\/|\son\w+=/);
  });

  it('is not served to a program that asks for another type', async () => {
    const answer = await raw('/console/nothing.json', { accept: 'application/json' });
    expect(answer.status).toBe(404);
    expect(JSON.parse(answer.text)).toMatchObject({ code: 'console.not-found' });
  });

  it('answers no other method', async () => {
    const answer = await raw('/console/', {}, 'POST');
    expect([answer.status, answer.headers['allow']]).toEqual([405, 'GET, HEAD']);
  });
});

describe('the assets of the console', () => {
  it('are cached for ever and sent compressed as built', async () => {
    const path = await script();
    const plain = await raw(path, { 'accept-encoding': 'identity' });
    const brotli = await raw(path, { 'accept-encoding': 'gzip, deflate, br' });
    const gzip = await raw(path, { 'accept-encoding': 'gzip, deflate' });
    for (const answer of [plain, brotli, gzip]) {
      expect(answer.status).toBe(200);
      expect(answer.headers).toMatchObject({
        'content-type': expect.stringMatching(/^(text|application)\/javascript/) as string,
        'cache-control': 'public, max-age=31536000, immutable',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
      });
    }
    expect([plain, brotli, gzip].map(({ headers }) => headers['content-encoding'])).toEqual([undefined, 'br', 'gzip']);
    expect(brotli.headers['vary']).toMatch(/accept-encoding/i);
    expect(brotli.length).toBeLessThan(gzip.length);
    expect(gzip.length).toBeLessThan(plain.length / 2);
    expect((await raw(path, {}, 'HEAD')).status).toBe(200);
  });

  it('get an uncached 404 when they are missing', async () => {
    for (const name of ['index-00000000.js', 'index.html', '.inputs', 'x.js.br', '%2e%2e%2findex.html', '%00.js']) {
      const answer = await raw(`/console/assets/${name}`, { accept: 'text/html,*/*' });
      expect([name, answer.status, answer.headers['cache-control']]).toEqual([name, 404, 'no-store']);
      expect(answer.headers['content-type']).toContain('application/problem+json');
    }
  });
});

it('serves nothing of /admin and no other files under /console', async () => {
  for (const path of [
    '/console/../admin/staff',
    '/console/%2e%2e/admin/staff',
    '/console/..%2fadmin%2fstaff',
    '/console//admin/staff',
    '/console/assets/../../package.json',
    '/console/assets/..%2f..%2f..%2fpackage.json',
    '/console/assets/%2e%2e/%2e%2e/src/main.js',
    '/console\\..\\admin\\staff',
  ]) {
    const { text, status } = await raw(path, { accept: 'text/html,*/*' });
    expect([path, [200, 400, 401, 404].includes(status)]).toEqual([path, true]);
    // Either the page, which knows no such path, or a refusal.
    if (status === 200) expect(text).toContain('<div id="root">');
    else expect(JSON.parse(text)).toMatchObject({ status });
    expect(text).not.toMatch(/"items"|"dependencies"|createApp/);
  }
  expect((await app.request('GET', '/admin/staff')).status).toBe(401);
});

it('sends HSTS with every answer if the public URL is https', async () => {
  const secure = await TestApp.start({ publicUrl: 'https://latchkey.test' });
  try {
    const paths = ['/console/', '/admin/session', '/nothing', '/%zz', '/generateToken'];
    for (const path of paths) {
      const kept = (await fetch(secure.url + path)).headers.get('strict-transport-security');
      expect([path, kept]).toEqual([path, 'max-age=31536000']);
      expect((await fetch(app.url + path)).headers.has('strict-transport-security')).toBe(false);
    }
  } finally {
    await secure.close();
  }
});
