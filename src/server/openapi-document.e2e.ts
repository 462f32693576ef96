import { readFile } from 'node:fs/promises';
import { buildOpenApi } from './openapi-document.ts';
import { TestApp } from '../../test/support/app.ts';

interface Operation {
  operationId: string;
  security?: unknown[];
  responses: Record<string, { headers?: Record<string, unknown> }>;
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
}

let app: TestApp;
beforeAll(async () => {
  app = await TestApp.start();
});
afterAll(() => app.close());

const METHODS = ['get', 'post', 'put', 'patch', 'delete'];

function operationsOf({ paths }: Document): { route: string; operation: Operation }[] {
  return Object.entries(paths).flatMap(([path, item]) =>
    METHODS.flatMap((method) => {
      const operation = item[method];
      return operation ? [{ route: `${method.toUpperCase()} ${path}`, operation }] : [];
    }),
  );
}

it('matches openapi.json (npm run openapi)', async () => {
  const committed = JSON.parse(await readFile('openapi.json', 'utf8')) as unknown;
  expect(JSON.parse(JSON.stringify(buildOpenApi(app.app.nest)))).toEqual(committed);
});

it('documents exactly the routes of the server', () => {
  const served = app.app.table.routes
    // Pages and probes are not part of the documented API.
    .filter(
      ({ method, url }) =>
        method !== 'HEAD' &&
        !/^\/(docs|console|health|metrics|partner$|partner\/|handover$|handover\/(page|icon)\.|handover\/?:mangled)/.test(
          url,
        ),
    )
    .map(({ method, url }) => `${method} ${url.replace(/:(\w+)/g, '{$1}')}`);
  const documented = operationsOf(buildOpenApi(app.app.nest) as unknown as Document).map(({ route }) => route);
  expect(documented.sort()).toEqual(served.sort());
});

it('documents the refusals of each operation: 503 with Retry-After, and 401 with the challenge', () => {
  for (const { route, operation } of operationsOf(buildOpenApi(app.app.nest) as unknown as Document)) {
    expect([route, Object.keys(operation.responses['503']?.headers ?? {})]).toEqual([
      route,
      expect.arrayContaining(['Retry-After']) as string[],
    ]);
    // /generateToken has its own form of errors. The others need no token.
    const open = [
      'POST /generateToken',
      'POST /credentials/report-leaked',
      'POST /handover/reveal',
      'POST /admin/password-link/use',
      'GET /admin/session/methods',
      'GET /admin/session/oidc',
      'GET /admin/session/oidc/callback',
      'POST /admin/session/oidc/backchannel-logout',
    ];
    if (open.includes(route) || route.startsWith('GET /.well-known/')) continue;
    expect([route, Object.keys(operation.responses['401']?.headers ?? {})]).toEqual([
      route,
      expect.arrayContaining(['WWW-Authenticate', 'X-Request-Id']) as string[],
    ]);
  }
});

it('documents the statuses of /generateToken as in the contract', () => {
  const { paths } = buildOpenApi(app.app.nest) as unknown as Document;
  expect(Object.keys(paths['/generateToken']?.['post']?.responses ?? {})).toEqual([
    '200',
    '400',
    '401',
    '403',
    '405',
    '413',
    '415',
    '429',
    '503',
  ]);
});

describe('the API reference', () => {
  it.each([
    ['/docs', 'Latchkey for partners'],
    ['/docs/admin', 'Latchkey for staff'],
  ])('is served at %s', async (path, title) => {
    const page = await app.request('GET', path);
    expect(page.status).toBe(200);
    expect(page.headers.get('content-type')).toMatch(/^text\/html/);
    expect(page.text).toContain(title);
    const scripts = [...page.text.matchAll(/<script src="([^"]+)"/g)].map(
      ([, src]) => new URL(src ?? '', `${app.url}${path}`),
    );
    expect(scripts.length).toBeGreaterThan(0);
    for (const { pathname } of scripts) expect((await app.request('GET', pathname)).status).toBe(200);
  });

  it('shows each reader only their own API', async () => {
    const partner = (await app.request('GET', '/docs/openapi.json')).json<Document>();
    // Modules may add paths.
    expect(Object.keys(partner.paths)).toEqual(
      expect.arrayContaining([
        '/.well-known/jwks.json',
        '/.well-known/oauth-authorization-server',
        '/credentials/report-leaked',
        '/generateToken',
        '/handover/reveal',
        '/me',
        '/oauth2/introspect',
        '/oauth2/revoke',
        '/oauth2/token',
      ]) as string[],
    );
    expect(Object.keys(partner.paths).filter((path) => path.startsWith('/admin'))).toEqual([]);
    expect(JSON.stringify(partner)).not.toMatch(/ChannelUserRequest|staffToken|Audit/);
    const staff = (await app.request('GET', '/docs/admin/openapi.json')).json<Document>();
    expect(Object.keys(staff.paths).every((path) => path.startsWith('/admin/'))).toBe(true);
    expect(Object.keys(staff.paths).length).toBeGreaterThan(10);
  });

  it('serves only its own files', async () => {
    for (const path of [
      '/docs/../package.json',
      '/docs/%2e%2e/package.json',
      '/docs/..%2fpackage.json',
      '/docs/admin/nothing.js',
    ]) {
      const answer = await app.request('GET', path);
      expect([path, answer.status]).toEqual([path, 404]);
    }
  });
});
