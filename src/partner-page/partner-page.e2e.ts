import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { TestApp } from '../../test/support/app.ts';

const BUILT = 'dist/src/partner-page';
const JS = 'text/javascript; charset=utf-8';

let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ adminPort: 0 });
});
afterAll(() => app.close());

/** The paths of the page and of everything that it loads, with the media type and the file of each. */
const files = (): [path: string, type: string, file: string][] => [
  ['/partner', 'text/html; charset=utf-8', 'src/partner-page/page/page.html'],
  ['/partner/page/page.css', 'text/css; charset=utf-8', 'src/partner-page/page/page.css'],
  ['/partner/page/base.css', 'text/css; charset=utf-8', 'src/channel-user/handover/page/page.css'],
  ['/partner/page/icon.svg', 'image/svg+xml', 'src/channel-user/handover/page/icon.svg'],
  ...['page', 'words'].flatMap((folder) =>
    readdirSync(`src/partner-page/${folder}`)
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.spec.ts'))
      .map((name): [string, string, string] => {
        const script = name.replace(/ts$/, 'js');
        return [`/partner/${folder}/${script}`, JS, `${BUILT}/${folder}/${script}`];
      }),
  ),
];

it('is served with strict headers at the listener for partners, with every file that it loads', async () => {
  for (const [path, type, file] of files()) {
    for (const method of ['GET', 'HEAD']) {
      const answer = await app.request(method, path);
      expect({ method, path, status: answer.status }).toEqual({ method, path, status: 200 });
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'content-type': type,
        'cache-control': 'no-store',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
        'x-robots-tag': 'noindex',
        'content-security-policy':
          "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
          "require-trusted-types-for 'script'; trusted-types 'none'",
      });
      expect(answer.headers.get('set-cookie')).toBeNull();
      expect(answer.text).toBe(method === 'GET' ? await readFile(file, 'utf8') : '');
    }
    expect([path, (await fetch(app.staffUrl + path)).status]).toEqual([path, 404]);
  }
});

it('fits its own policy, without inline or foreign parts, and is closed to search engines', async () => {
  const { text } = await app.request('GET', '/partner');
  expect(text).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|\saction=/i);
  expect(text).toContain('<meta name="robots" content="noindex" />');
  expect(text).toMatch(/<noscript>[^]*JavaScript[^]*<\/noscript>/);
  const targets = [...text.matchAll(/\b(?:src|href)="([^"]*)"/g)].map(([, target]) => target ?? '');
  expect(targets.length).toBeGreaterThan(4);
  // Relative targets also work when PUBLIC_URL has a path.
  for (const target of targets) {
    expect(target).toMatch(/^partner\//);
    expect((await app.request('GET', `/${target}`)).status).toBe(200);
  }
});

it('loads scripts only from its own folders, and sets no HTML', async () => {
  for (const [path, type] of files().filter(([, each]) => each === JS)) {
    const { text } = await app.request('GET', path);
    for (const [, target] of text.matchAll(/\bfrom '([^']*)'/g))
      expect([path, type, target]).toEqual([path, type, expect.stringMatching(/^\.\.?\/[\w/-]+\.js$/)]);
    expect([
      path,
      /innerHTML|outerHTML|insertAdjacentHTML|document\.write|localStorage|sessionStorage|cookie/.exec(text),
    ]).toEqual([path, null]);
  }
});

it('has no other files and accepts no changes', async () => {
  for (const path of [
    '/partner/',
    '/partner/page',
    '/partner/page/page.html',
    '/partner/page/page.ts',
    '/partner/page/..%2fpartner-page.module.js',
    '/partner/words/fingerprint.js',
  ]) {
    const answer = await app.request('GET', path);
    expect([path, answer.status, answer.headers.get('content-type')]).toEqual([
      path,
      404,
      'application/problem+json; charset=utf-8',
    ]);
  }
  expect((await app.request('POST', '/partner', { json: {} })).status).toBe(405);
});

it('can be switched off', async () => {
  const without = await TestApp.start({ partnerPage: false });
  for (const [path] of files()) {
    const answer = await without.request('GET', path);
    expect([path, answer.status, answer.json<{ code: string }>().code]).toEqual([path, 404, 'route.not-found']);
  }
  await without.close();
});
