import { createHmac, generateKeyPairSync, type KeyObject, randomUUID, sign as cryptoSign } from 'node:crypto';
import { BlockList } from 'node:net';
import type { ActiveKey } from './signing-key/signing-key.service.ts';
import { type Answer, type Partner, TestApp } from '../../test/support/app.ts';
import { signingKeyOf } from '../../test/support/inside.ts';
import { secret } from '../../test/support/secrets.ts';

type Json = Record<string, unknown>;

let app: TestApp;
let partner: Partner & { token: string };
let keys: Record<'partner' | 'staff', ActiveKey>;

beforeAll(async () => {
  app = await TestApp.start();
  partner = await app.asPartner({ scopes: ['calendar:write', 'property:read'] });
  keys = { partner: await signingKeyOf(app, 'partner'), staff: await signingKeyOf(app, 'staff') };
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

const encode = (value: unknown): string =>
  Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');
const me = (token: string, target = app): Promise<Answer> => target.request('GET', '/me', { token });

/** Signs any header and payload, as somebody who has the key could. */
function forge(header: unknown, payload: unknown, key: KeyObject = keys.partner.privateKey): string {
  const input = `${encode(header)}.${encode(payload)}`;
  return `${input}.${cryptoSign('sha256', Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')}`;
}

const seconds = (): number => Math.floor(Date.now() / 1000);
const header = (changes: Json = {}): Json => ({ alg: 'ES256', typ: 'at+jwt', kid: keys.partner.kid, ...changes });
const claims = (changes: Json = {}): Json => ({
  iss: app.config.publicUrl,
  aud: app.config.tokenAudience,
  sub: partner.id,
  client_id: partner.username,
  cid: partner.credentialId,
  epoch: 0,
  scope: 'calendar:write',
  iat: seconds(),
  exp: seconds() + 600,
  jti: randomUUID(),
  ...changes,
});

function expectChallenge(answer: Answer, error: string | null): void {
  expect(answer.status).toBe(401);
  const expected =
    error === null ? 'Bearer realm="latchkey"' : `Bearer realm="latchkey", error="${error}", error_description="`;
  const challenge = answer.headers.get('www-authenticate') ?? '';
  expect(error === null ? challenge : challenge.slice(0, expected.length)).toBe(expected);
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  expect(answer.json<Json>()['requestId']).toBe(answer.headers.get('x-request-id'));
}

it('accepts a token that the test signs like Latchkey, so that each refusal below has its own cause', async () => {
  expect((await me(forge(header(), claims()))).status).toBe(200);
});

describe('every route of the server', () => {
  /** Every route that is meant to be open. The guard does not see the pages under /docs, which are static files. */
  const PUBLIC = [
    'POST /generateToken',
    // For whoever can show a leaked password, which is all that the call takes.
    'POST /credentials/report-leaked',
    'POST /admin/session',
    // How staff sign in, and the way to the identity provider and back.
    'GET /admin/session/methods',
    'HEAD /admin/session/methods',
    'GET /admin/session/oidc',
    'HEAD /admin/session/oidc',
    'GET /admin/session/oidc/callback',
    'HEAD /admin/session/oidc/callback',
    'POST /admin/session/oidc/backchannel-logout',
    'GET /console/signed-in',
    'HEAD /console/signed-in',
    'GET /console/signed-in/page.js',
    'HEAD /console/signed-in/page.js',
    // For a colleague with a link to choose a staff password: the call, and the page that the link opens.
    'POST /admin/password-link/use',
    'GET /console/password-link',
    'HEAD /console/password-link',
    'GET /console/password-link:mangled(^[#%].*$)',
    'HEAD /console/password-link:mangled(^[#%].*$)',
    'GET /console/password-link/:mangled(^[#%].*$)',
    'HEAD /console/password-link/:mangled(^[#%].*$)',
    'GET /console/password-link/page.css',
    'HEAD /console/password-link/page.css',
    'GET /console/password-link/form.css',
    'HEAD /console/password-link/form.css',
    'GET /console/password-link/page.js',
    'HEAD /console/password-link/page.js',
    'GET /console/password-link/icon.svg',
    'HEAD /console/password-link/icon.svg',
    // For a partner with a hand-over link: the call, and the page that the link opens.
    'POST /handover/reveal',
    'GET /handover',
    'HEAD /handover',
    'GET /handover:mangled(^[#%].*$)',
    'HEAD /handover:mangled(^[#%].*$)',
    'GET /handover/:mangled(^[#%].*$)',
    'HEAD /handover/:mangled(^[#%].*$)',
    'GET /handover/page.css',
    'HEAD /handover/page.css',
    'GET /handover/page.js',
    'HEAD /handover/page.js',
    'GET /handover/icon.svg',
    'HEAD /handover/icon.svg',
    // The files of the partner's page. It signs in at /generateToken, and loads its data from /me.
    'GET /partner',
    'HEAD /partner',
    'GET /partner/page/:name',
    'HEAD /partner/page/:name',
    'GET /partner/words/:name',
    'HEAD /partner/words/:name',
    // At these endpoints, clients authenticate with their own credentials.
    'POST /oauth2/token',
    'POST /oauth2/introspect',
    'POST /oauth2/revoke',
    'GET /.well-known/oauth-authorization-server',
    'HEAD /.well-known/oauth-authorization-server',
    'GET /.well-known/jwks.json',
    'HEAD /.well-known/jwks.json',
    // Only the operators' listener serves these.
    'GET /health/live',
    'HEAD /health/live',
    'GET /health/startup',
    'HEAD /health/startup',
    'GET /health/ready',
    'HEAD /health/ready',
    'GET /metrics',
    'HEAD /metrics',
    // The console's files. They load their data from /admin.
    'GET /console',
    'HEAD /console',
    'GET /console/*',
    'HEAD /console/*',
    'GET /console/assets/:name',
    'HEAD /console/assets/:name',
  ];

  const routes = () =>
    app.app.table.routes
      .filter(({ method, url }) => !url.startsWith('/docs') && !PUBLIC.includes(`${method} ${url}`))
      .map(({ method, url }) => ({
        method,
        api: url.startsWith('/admin/') ? 'staff' : 'partner',
        path: url.replace(/:\w+/g, randomUUID()),
      }));

  it('is in the list of this test', () => {
    expect(routes().length).toBeGreaterThan(25);
    expect(app.app.table.routes.map(({ method, url }) => `${method} ${url}`)).toEqual(
      expect.arrayContaining(PUBLIC) as string[],
    );
  });

  it('refuses calls without a token and with a forged, expired or foreign one', async () => {
    const staff = await app.asStaff('admin');
    const stranger = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey;
    const bad = [
      forge(header(), claims(), stranger),
      forge(header(), claims({ iat: seconds() - 700, exp: seconds() - 1 })),
    ];
    for (const { method, path, api } of routes()) {
      const call = (token?: string): Promise<Answer> => app.request(method, path, token === undefined ? {} : { token });
      const bare = await call();
      expect([method, path, bare.status, bare.headers.get('www-authenticate')]).toEqual([
        method,
        path,
        401,
        'Bearer realm="latchkey"',
      ]);
      for (const token of bad) {
        const answer = await call(token);
        expect([method, path, answer.status]).toEqual([method, path, 401]);
        expect(answer.headers.get('www-authenticate')).toMatch(/error="invalid_token"/);
      }
      const other = await call(api === 'staff' ? partner.token : staff.token);
      expect([method, path, other.status]).toEqual([method, path, 403]);
    }
  });

  it('refuses every staff role below the one that the route names', async () => {
    const viewer = await app.asStaff('viewer');
    // A viewer may read these, and may change what belongs to its own session.
    const mayCall =
      /^(GET|HEAD) \/admin\/(audit-events|channel-users|grants|notices|overview|requests|resource-types|scopes|settings|webhooks)|^\w+ \/admin\/session(\/|$)/;
    let refused = 0;
    for (const { method, path } of routes().filter(({ api }) => api === 'staff')) {
      if (mayCall.test(`${method} ${path}`)) continue;
      const answer = await app.request(method, path, { token: viewer.token });
      expect([method, path, answer.status]).toEqual([method, path, 403]);
      refused++;
    }
    expect(refused).toBeGreaterThan(10);
  });
});

it('says why it refuses a token only when the token has expired', async () => {
  const detailOf = async (token: string): Promise<unknown> => (await me(token)).json<Json>()['detail'];
  expect(await detailOf(forge(header(), claims({ iss: 'https://evil.example' })))).toBe('The token is not valid.');
  expect(await detailOf(forge(header(), claims({ exp: seconds() - 1 })))).toBe('The token has expired.');
  expect((await me(partner.token)).status).toBe(200);
  app.clockOffset = 2 * 86_400_000;
  expect(await detailOf(partner.token)).toBe('The token has expired.');
});

describe('a hostile token', () => {
  const cases: [name: string, token: () => string][] = [
    ['nothing', () => ''],
    ['spaces', () => '   '],
    ['a word', () => 'token'],
    ['dots', () => '.....'],
    ['16 KB of garbage', () => 'x'.repeat(16_000)],
    ['16 KB of dots', () => '.'.repeat(16_000)],
    ['alg none', () => `${encode(header({ alg: 'none' }))}.${encode(claims())}.`],
    ['alg none, signed', () => forge(header({ alg: 'none' }), claims())],
    ['alg ES384', () => forge(header({ alg: 'ES384' }), claims())],
    ['alg RS256', () => forge(header({ alg: 'RS256' }), claims())],
    ['no alg', () => forge(header({ alg: undefined }), claims())],
    ...(['pem', 'der', 'jwk'] as const).map((form): [string, () => string] => [
      `HS256 with the public key as ${form}`,
      () => {
        const { publicKey } = keys.partner;
        const material = {
          pem: publicKey.export({ format: 'pem', type: 'spki' }),
          der: publicKey.export({ format: 'der', type: 'spki' }),
          jwk: JSON.stringify(publicKey.export({ format: 'jwk' })),
        }[form];
        const input = `${encode(header({ alg: 'HS256' }))}.${encode(claims())}`;
        return `${input}.${createHmac('sha256', material).update(input).digest('base64url')}`;
      },
    ]),
    ['typ JWT', () => forge(header({ typ: 'JWT' }), claims())],
    ['no typ', () => forge(header({ typ: undefined }), claims())],
    ['typ of staff with a partner key', () => forge(header({ typ: 'staff+jwt' }), claims())],
    ['the staff key', () => forge(header({ kid: keys.staff.kid }), claims(), keys.staff.privateKey)],
    ['an unknown kid', () => forge(header({ kid: 'A'.repeat(43) }), claims())],
    ['no kid', () => forge(header({ kid: undefined }), claims())],
    ['a number as kid', () => forge(header({ kid: 1 }), claims())],
    ['SQL as kid', () => forge(header({ kid: "' OR 1=1 --" }), claims())],
    ['crit', () => forge(header({ crit: ['exp'] }), claims())],
    ['an empty crit', () => forge(header({ crit: [] }), claims())],
    ['b64 false', () => forge(header({ crit: ['b64'], b64: false }), claims())],
    ['a header that is a list', () => forge([], claims())],
    ['a header that is not JSON', () => forge('nonsense', claims())],
    ['a payload that is a list', () => forge(header(), [])],
    ['a payload that is text', () => forge(header(), '"text"')],
    ['a payload that is null', () => forge(header(), 'null')],
    ['a payload that is not JSON', () => forge(header(), 'nonsense')],
    ['another iss', () => forge(header(), claims({ iss: 'https://evil.example' }))],
    ['no iss', () => forge(header(), claims({ iss: undefined }))],
    ['another aud', () => forge(header(), claims({ aud: 'https://evil.example' }))],
    ['a list as aud', () => forge(header(), claims({ aud: [app.config.tokenAudience, 'x'] }))],
    ['no aud', () => forge(header(), claims({ aud: undefined }))],
    ['no exp', () => forge(header(), claims({ exp: undefined }))],
    ['text as exp', () => forge(header(), claims({ exp: String(seconds() + 600) }))],
    ['exp in the past', () => forge(header(), claims({ exp: seconds() - 1 }))],
    ['a fraction as exp', () => forge(header(), claims({ exp: seconds() + 600.5 }))],
    ['an endless exp', () => forge(header(), claims({ exp: 1e300 }))],
    ['nbf in the future', () => forge(header(), claims({ nbf: seconds() + 600 }))],
    ['text as nbf', () => forge(header(), claims({ nbf: 'x' }))],
    ['no iat', () => forge(header(), claims({ iat: undefined }))],
    ['no jti', () => forge(header(), claims({ jti: undefined }))],
    ['no sub', () => forge(header(), claims({ sub: undefined }))],
    ['text as sub', () => forge(header(), claims({ sub: "' OR 1=1 --" }))],
    ['a sub that nobody has', () => forge(header(), claims({ sub: randomUUID() }))],
    ['a cid of nobody', () => forge(header(), claims({ cid: randomUUID() }))],
    ['no cid', () => forge(header(), claims({ cid: undefined }))],
    ['text as epoch', () => forge(header(), claims({ epoch: '0' }))],
    ['another epoch', () => forge(header(), claims({ epoch: 1 }))],
    ['no epoch', () => forge(header(), claims({ epoch: undefined }))],
    ['a fourth part', () => `${partner.token}.x`],
    ['padding', () => `${partner.token}=`],
    ['no signature', () => partner.token.replace(/[^.]*$/, '')],
    [
      'a signature in DER',
      () => {
        const input = `${encode(header())}.${encode(claims())}`;
        return `${input}.${cryptoSign('sha256', Buffer.from(input), keys.partner.privateKey).toString('base64url')}`;
      },
    ],
    [
      'changed claims',
      () => {
        const [head, , signature] = partner.token.split('.');
        return `${head ?? ''}.${encode(claims({ scope: 'admin' }))}.${signature ?? ''}`;
      },
    ],
  ];

  it.each(cases)('is refused: %s', async (_, token) => {
    expectChallenge(await me(token()), 'invalid_token');
  });

  it('is refused with any other last character', async () => {
    const last = partner.token.at(-1);
    for (const character of 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/') {
      if (character !== last) expectChallenge(await me(partner.token.slice(0, -1) + character), 'invalid_token');
    }
  });

  it('of 30 KB costs little CPU, and one over 32 KiB is answered 431', async () => {
    for (const authorization of [
      `Bearer ${' '.repeat(30_000)}x`,
      `Bearer ${'a.'.repeat(15_000)}`,
      'Bearer '.repeat(4_200),
      '\t'.repeat(30_000),
    ]) {
      const before = process.cpuUsage();
      const answer = await app.request('GET', '/me', { headers: { authorization } });
      const { user } = process.cpuUsage(before);
      expect(answer.status).toBe(401);
      expect(user).toBeLessThan(60_000);
    }
    const answer = await app.request('GET', '/me', { headers: { authorization: `Bearer ${'x'.repeat(33_000)}` } });
    expect(answer.status).toBe(431);
    expect(answer.json<Json>()['code']).toBe('request.headers-too-large');
  });
});

describe('a token is read only from the Authorization header', () => {
  it.each([
    ['a query parameter', (token: string) => app.request('GET', `/me?access_token=${token}`)],
    [
      'a cookie',
      (token: string) => app.request('GET', '/me', { headers: { cookie: `latchkey_session_3000=${token}` } }),
    ],
    ['another scheme', (token: string) => app.request('GET', '/me', { headers: { authorization: `Token ${token}` } })],
    ['no scheme', (token: string) => app.request('GET', '/me', { headers: { authorization: token } })],
  ])('and not from %s', async (_, call) => {
    expectChallenge(await call(partner.token), null);
  });

  it('and with the scheme in any case', async () => {
    expect((await app.request('GET', '/me', { headers: { authorization: `bEARER ${partner.token}` } })).status).toBe(
      200,
    );
  });
});

describe('the state of the account counts from the next request on', () => {
  const operator = async (): Promise<string> => (await app.asStaff('operator')).token;
  const change = async (path: string, json: unknown = {}, method = 'POST'): Promise<Answer> =>
    app.request(method, `/admin/channel-users/${path}`, { token: await operator(), json });

  it('when it is suspended and reactivated', async () => {
    const { id, token } = await app.asPartner();
    await change(`${id}/suspend`, { reason: 'x' });
    expectChallenge(await me(token), 'invalid_token');
    await change(`${id}/reactivate`);
    expect((await me(token)).status).toBe(200);
  });

  it('when tokens are revoked, even for a token of the same second', async () => {
    const user = await app.asPartner();
    await change(`${user.id}/revoke-tokens`, { reason: 'x' });
    expectChallenge(await me(user.token), 'invalid_token');
    expect((await me(await app.generateToken(user))).status).toBe(200);
  });

  it('when a credential is revoked, but not when it expires', async () => {
    const user = await app.asPartner();
    const rotated = await change(`${user.id}/credentials`, { retireOthersInSeconds: 0 });
    secret(rotated.json<{ credential: { password: string } }>().credential.password);
    expect((await me(user.token)).status).toBe(200);
    await change(`${user.id}/credentials/${user.credentialId}`, undefined, 'DELETE');
    expectChallenge(await me(user.token), 'invalid_token');
  });

  it('when it expires or is deleted', async () => {
    const user = await app.asPartner();
    await change(user.id, { expiresAt: '2020-01-01T00:00:00Z' }, 'PATCH');
    expectChallenge(await me(user.token), 'invalid_token');
    await change(user.id, { expiresAt: null }, 'PATCH');
    expect((await me(user.token)).status).toBe(200);
    await app.request('DELETE', `/admin/channel-users/${user.id}`, { token: (await app.asStaff('admin')).token });
    expectChallenge(await me(user.token), 'invalid_token');
  });

  it('limits a token to the scopes that its account still has', async () => {
    const user = await app.asPartner({ scopes: ['a', 'b'] });
    await change(user.id, { scopes: ['b', 'c'] }, 'PATCH');
    expect((await me(user.token)).json<Json>()['scopes']).toEqual(['b']);
  });

  it('tells how long the token lives and when to refresh it', async () => {
    const { token } = await app.asPartner({ tokenTtlSeconds: 1000 });
    const at = async (offset: number): Promise<[string | null, string | null]> => {
      app.clockOffset = offset;
      const { headers } = await me(token);
      return [headers.get('token-expires-in'), headers.get('token-refresh-due')];
    };
    expect(await at(0)).toEqual([expect.stringMatching(/^(1000|999)$/) as string, null]);
    expect(await at(898_000)).toEqual([expect.stringMatching(/^10[12]$/) as string, null]);
    expect(await at(901_000)).toEqual([expect.stringMatching(/^9[89]$/) as string, 'true']);
  });
});

describe('the address of a request', () => {
  let proxied: TestApp;
  beforeAll(async () => {
    const trustedProxies = new BlockList();
    trustedProxies.addSubnet('127.0.0.0', 8, 'ipv4');
    trustedProxies.addSubnet('10.0.0.0', 8, 'ipv4');
    proxied = await TestApp.start({ trustedProxies });
  });
  afterAll(() => proxied.close());

  it('is that of the connection unless a trusted proxy names another', async () => {
    const elsewhere = await app.newPartner({ allowedIps: ['192.0.2.7'] });
    const form = { Username: elsewhere.username, Password: elsewhere.password };
    const spoofed: Record<string, string>[] = [{ 'x-forwarded-for': '192.0.2.7' }, { forwarded: 'for=192.0.2.7' }];
    for (const headers of spoofed) {
      expect((await app.request('POST', '/generateToken', { form, headers })).status).toBe(401);
    }
  });

  it('is the last one that no trusted proxy wrote', async () => {
    const user = await proxied.newPartner({ allowedIps: ['192.0.2.7', '2001:db8::/32'] });
    const form = { Username: user.username, Password: user.password };
    const from = (headers: Record<string, string>): Promise<Answer> =>
      proxied.request('POST', '/generateToken', { form, headers });
    const allowed: Record<string, string>[] = [
      { 'x-forwarded-for': '192.0.2.7' },
      { 'x-forwarded-for': '198.51.100.1, 192.0.2.7, 10.1.2.3' },
      { 'x-forwarded-for': '::ffff:192.0.2.7' },
      { forwarded: 'for="[2001:db8::1]:4711";proto=https' },
    ];
    const refused: Record<string, string>[] = [
      {},
      { 'x-forwarded-for': '192.0.2.7, 198.51.100.1' },
      { 'x-forwarded-for': 'unknown' },
      { forwarded: 'for=_hidden' },
      { forwarded: 'for=198.51.100.1', 'x-forwarded-for': '192.0.2.7' },
    ];
    for (const headers of allowed) {
      const answer = await from(headers);
      expect([headers, answer.status]).toEqual([headers, 200]);
      const token = secret(answer.text);
      expect((await proxied.request('GET', '/me', { token, headers })).status).toBe(200);
      expectChallenge(await me(token, proxied), 'invalid_token');
    }
    for (const headers of refused) expect([headers, (await from(headers)).status]).toEqual([headers, 401]);
  });
});
