import pg from 'pg';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { holdRefusals } from '../../../test/support/inside.ts';
import { secret } from '../../../test/support/secrets.ts';
import { until } from '../../../test/support/sign-ins.ts';

let app: TestApp;
let partner: Partner;

beforeAll(async () => {
  app = await TestApp.start();
  partner = await app.newPartner({ scopes: ['calendar:write', 'property:read'] });
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

type Form = Record<string, string> | string;

/** RFC 6749 §2.3.1: username and password are form-encoded before they become a Basic header. */
const basic = (username: string, password: string): string => {
  const encode = (text: string): string => new URLSearchParams({ '': text }).toString().slice(1);
  return `Basic ${Buffer.from(`${encode(username)}:${encode(password)}`).toString('base64')}`;
};
const call = (endpoint: string, form: Form, authorization?: string): Promise<Answer> =>
  app.request('POST', `/oauth2/${endpoint}`, { form, headers: authorization === undefined ? {} : { authorization } });
const asClient = ({ username, password }: Partner): string => basic(username, password);
const GRANT = { grant_type: 'client_credentials' };

async function tokenOf(of: Partner, form: Record<string, string> = {}): Promise<string> {
  const answer = await call('token', { ...GRANT, ...form }, asClient(of));
  expect(answer.status).toBe(200);
  return secret(answer.json<{ access_token: string }>().access_token);
}

function expectError(answer: Answer, status: number, error: string): void {
  expect({ status: answer.status, error: answer.json()['error'] }).toEqual({ status, error });
  expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
  expect(answer.headers.get('cache-control')).toBe('no-store');
  // RFC 6749 §5.2 allows neither quotes nor backslashes.
  expect(answer.json()['error_description']).toMatch(/^[\x20\x21\x23-\x5b\x5d-\x7e]+$/);
  expect(answer.headers.get('www-authenticate')).toBe(
    status === 401 ? 'Basic realm="latchkey", charset="UTF-8"' : null,
  );
}

const me = (token: string): Promise<Answer> => app.request('GET', '/me', { token });
const operator = async (): Promise<string> => (await app.asStaff('operator')).token;

describe('POST /oauth2/token', () => {
  it.each([
    ['client_secret_basic', () => call('token', GRANT, asClient(partner))],
    [
      'client_secret_post',
      () => call('token', { ...GRANT, client_id: partner.username, client_secret: partner.password }),
    ],
    [
      'Basic beside its own client_id',
      () => call('token', { ...GRANT, client_id: partner.username }, asClient(partner)),
    ],
    [
      'another case of scheme and username',
      () => call('token', GRANT, basic(partner.username.toUpperCase(), partner.password).replace('Basic', 'bASIC')),
    ],
    [
      'empty parameters, which count as absent',
      () => call('token', { ...GRANT, scope: '', client_secret: '', foo: '' }, asClient(partner)),
    ],
  ])('issues a token by %s', async (_, request) => {
    const answer = await request();
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toMatch(/^application\/json/);
    expect([answer.headers.get('cache-control'), answer.headers.get('pragma')]).toEqual(['no-store', 'no-cache']);
    const body = answer.json<{ access_token: string }>();
    expect(body).toEqual({
      access_token: secret(body.access_token),
      token_type: 'Bearer',
      expires_in: 3600,
      scope: 'calendar:write property:read',
    });
    expect((await me(body.access_token)).status).toBe(200);
  });

  it('narrows the scopes to the requested ones', async () => {
    const token = await tokenOf(partner, { scope: 'property:read property:read' });
    expect((await me(token)).json()).toMatchObject({ scopes: ['property:read'] });
  });

  it.each([' property:read', 'property:read ', '  property:read   property:read  '])(
    'ignores superfluous spaces in the scope "%s"',
    async (scope) => {
      const token = await tokenOf(partner, { scope });
      expect((await me(token)).json()).toMatchObject({ scopes: ['property:read'] });
    },
  );

  it.each(['Bearer abc', 'bearer', 'Digest x', ''])(
    'ignores "%s" in the Authorization header beside a client_secret',
    async (authorization) => {
      const form = { ...GRANT, client_id: partner.username, client_secret: partner.password };
      const answer = await call('token', form, authorization);
      expect(answer.status).toBe(200);
      const { access_token: token } = answer.json<{ access_token: string }>();
      const { client_id, client_secret } = form;
      const about = { client_id, client_secret, token: secret(token) };
      expect((await call('introspect', about, authorization)).json()).toMatchObject({ active: true });
      expect((await call('revoke', about, authorization)).status).toBe(200);
    },
  );

  it.each(['calendar:read', 'calendar:write calendar:read', 'calendar:write\tproperty:read', 'ünknown', '"'])(
    'refuses the scope %s',
    async (scope) => {
      expectError(await call('token', { ...GRANT, scope }, asClient(partner)), 400, 'invalid_scope');
    },
  );

  it.each<[string, Form, string, (() => string)?]>([
    ['no grant_type', {}, 'invalid_request', () => asClient(partner)],
    ['an empty grant_type', { grant_type: '' }, 'invalid_request', () => asClient(partner)],
    ['another grant', { grant_type: 'password' }, 'unsupported_grant_type', () => asClient(partner)],
    [
      'a repeated parameter',
      'grant_type=client_credentials&grant_type=client_credentials',
      'invalid_request',
      () => asClient(partner),
    ],
    [
      'a repeated parameter that nobody knows',
      'grant_type=client_credentials&a=1&a=1',
      'invalid_request',
      () => asClient(partner),
    ],
    ['invalid UTF-8', 'grant_type=client_credentials&scope=%FF', 'invalid_request', () => asClient(partner)],
    [
      'two ways to authenticate',
      { ...GRANT, client_id: 'a', client_secret: 'b' },
      'invalid_request',
      () => asClient(partner),
    ],
    [
      'a client_id that is not the one that authenticates',
      { ...GRANT, client_id: 'a' },
      'invalid_request',
      () => asClient(partner),
    ],
  ])('refuses %s', async (_, form, error, authorization) => {
    expectError(await call('token', form, authorization?.()), 400, error);
  });

  it.each<[string, Form, string | undefined]>([
    ['nothing', GRANT, undefined],
    ['a client_id alone', { ...GRANT, client_id: 'a' }, undefined],
    ['another scheme', GRANT, 'Bearer abc'],
    ['Basic without anything', GRANT, 'Basic'],
    ['Basic that is no base64', GRANT, 'Basic ???'],
    ['Basic without a colon', GRANT, `Basic ${Buffer.from('abc').toString('base64')}`],
    ['Basic that is not UTF-8', GRANT, `Basic ${Buffer.from('a:%FF').toString('base64')}`],
    ['an empty password', GRANT, basic('a', '')],
    ['a control character', GRANT, basic('a', 'b\n')],
    ['16 KB of Basic', GRANT, `Basic ${'A'.repeat(16_000)}`],
  ])('answers at once without credentials: %s', async (_, form, authorization) => {
    // It is answered although every refusal of a password waits.
    const release = holdRefusals(app);
    expectError(await call('token', form, authorization), 401, 'invalid_client');
    release();
  });

  it('grants all scopes when the scope parameter names none', async () => {
    const answer = await call('token', { ...GRANT, scope: ' ' }, asClient(partner));
    const whole = await call('token', GRANT, asClient(partner));
    expect([answer.status, answer.json()['scope']]).toEqual([200, whole.json()['scope']]);
  });

  it('refuses right credentials in a header that is not quite base64', async () => {
    const header = asClient(partner);
    const spoilt = `${header.slice(0, -8)}!${header.slice(-8)}`;
    expectError(await call('token', GRANT, spoilt), 401, 'invalid_client');
  });

  it('accepts parameters only in a form body', async () => {
    const authorization = asClient(partner);
    const inUrl = await app.request('POST', '/oauth2/token?grant_type=client_credentials', {
      form: GRANT,
      headers: { authorization },
    });
    expectError(inUrl, 400, 'invalid_request');
    expectError(
      await app.request('POST', '/oauth2/token', { json: GRANT, headers: { authorization } }),
      400,
      'invalid_request',
    );
    expectError(
      await call('token', `grant_type=client_credentials&x=${'x'.repeat(9000)}`, authorization),
      413,
      'invalid_request',
    );
    const get = await app.request('GET', '/oauth2/token');
    expectError(get, 405, 'invalid_request');
    expect(get.headers.get('allow')).toBe('POST');
  });

  it('shares refusals, response delay, throttling and activity with /generateToken', async () => {
    const user = await app.newPartner({ tokensPerMinute: 2 });
    app.waits = 'real';
    const before = performance.now();
    expectError(await call('token', GRANT, basic(user.username, 'wrong')), 401, 'invalid_client');
    expect(performance.now() - before).toBeGreaterThanOrEqual(250);
    app.waits = 'none';
    expectError(await call('token', GRANT, basic('nobody-knows', 'wrong')), 401, 'invalid_client');
    for (let i = 0; i < 9; i++) {
      await app.request('POST', '/generateToken', { form: { Username: user.username, Password: 'wrong' } });
    }
    const throttled = await call('token', GRANT, basic(user.username, 'wrong'));
    expectError(throttled, 429, 'too_many_requests');
    expect(throttled.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    // The right password passes. A refused scope does not count towards the issuance limit, and each token does.
    expectError(await call('token', { ...GRANT, scope: 'x' }, asClient(user)), 400, 'invalid_scope');
    await tokenOf(user);
    await app.generateToken(user);
    const exceeded = await call('token', GRANT, asClient(user));
    expectError(exceeded, 429, 'too_many_requests');
    expect(exceeded.headers.get('ratelimit-policy')).toBe('"tokens";q=2;w=60');
    await app.request('POST', `/admin/channel-users/${user.id}/suspend`, {
      token: await operator(),
      json: { reason: 'r' },
    });
    expectError(await call('token', GRANT, asClient(user)), 400, 'unauthorized_client');
    const activity = await app.request('GET', `/admin/channel-users/${user.id}/activity`, { token: await operator() });
    const reasons = activity.json<{ items: { reason: string | null; outcome: string }[] }>().items;
    expect(reasons.filter(({ outcome }) => outcome === 'token')).toHaveLength(2);
    expect(new Set(reasons.map(({ reason }) => reason))).toEqual(
      new Set(['account_suspended', 'issuance_limit', null, 'invalid_scope', 'wrong_password']),
    );
  });
});

describe('POST /oauth2/introspect', () => {
  const introspect = (token: string, by: Partner): Promise<Answer> => call('introspect', { token }, asClient(by));
  const INACTIVE = '{"active":false}';

  it('describes a token to its holder and to whoever may introspect all', async () => {
    const server = await app.newPartner({ scopes: ['token:introspect'] });
    const token = await tokenOf(partner, { scope: 'property:read' });
    for (const by of [partner, server]) {
      const answer = await introspect(token, by);
      expect(answer.status).toBe(200);
      expect(answer.json()).toEqual({
        active: true,
        scope: 'property:read',
        client_id: partner.username,
        username: partner.username,
        token_type: 'Bearer',
        exp: expect.any(Number) as number,
        iat: expect.any(Number) as number,
        sub: partner.id,
        aud: app.config.tokenAudience,
        iss: app.config.publicUrl,
        jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      });
    }
  });

  it('answers only that a token is inactive when it is invalid, foreign, expired or unusable', async () => {
    const server = await app.newPartner({ scopes: ['token:introspect'] });
    const other = await app.newPartner();
    const holder = await app.newPartner();
    const token = await tokenOf(holder);
    expect((await introspect(token, other)).text).toBe(INACTIVE);
    expect((await introspect((await app.asStaff('admin')).token, server)).text).toBe(INACTIVE);
    for (const bad of [
      'x',
      'a.b.c',
      `${token}x`,
      `${token.slice(0, -1)}${token.endsWith('A') ? 'B' : 'A'}`,
      '\u{1F511}',
    ]) {
      expect((await introspect(bad, server)).text).toBe(INACTIVE);
    }
    const change = async (path: string): Promise<Answer> =>
      app.request('POST', `/admin/channel-users/${holder.id}/${path}`, {
        token: await operator(),
        json: { reason: 'r' },
      });
    await change('suspend');
    expect((await introspect(token, server)).text).toBe(INACTIVE);
    await change('reactivate');
    expect((await introspect(token, server)).json()).toMatchObject({ active: true });
    app.clockOffset = 3_601_000;
    expect((await introspect(token, server)).text).toBe(INACTIVE);
    app.clockOffset = 0;
    await change('revoke-tokens');
    expect((await introspect(token, server)).text).toBe(INACTIVE);
  });

  it('ignores the address of the caller', async () => {
    const server = await app.newPartner({ scopes: ['token:introspect'] });
    const elsewhere = await app.asPartner();
    await app.request('PATCH', `/admin/channel-users/${elsewhere.id}`, {
      token: await operator(),
      json: { allowedIps: ['192.0.2.1'] },
    });
    expect((await me(elsewhere.token)).status).toBe(401);
    expect((await introspect(elsewhere.token, server)).json()).toMatchObject({ active: true });
  });

  it('requires credentials and a token', async () => {
    expectError(await call('introspect', { token: 'x' }), 401, 'invalid_client');
    expectError(await call('introspect', {}, asClient(partner)), 400, 'invalid_request');
    expectError(await call('introspect', { token: 'x' }, basic(partner.username, 'wrong')), 401, 'invalid_client');
  });

  it('does not count towards the issuance limit', async () => {
    const server = await app.newPartner({ scopes: ['token:introspect'], tokensPerMinute: 1 });
    for (let i = 0; i < 5; i++) expect((await introspect('x', server)).status).toBe(200);
    await tokenOf(server);
  });
});

describe('revoking one token', () => {
  it('by its holder refuses the next call and keeps the other tokens (RFC 7009)', async () => {
    const [first, second] = [await tokenOf(partner), await tokenOf(partner)];
    for (const token of [first, second]) expect((await me(token)).status).toBe(200);
    const answer = await call('revoke', { token: first, token_type_hint: 'access_token' }, asClient(partner));
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 200, text: '' });
    const refused = await me(first);
    expect(refused.status).toBe(401);
    expect(refused.headers.get('www-authenticate')).toMatch(/error="invalid_token"/);
    expect((await call('introspect', { token: first }, asClient(partner))).text).toBe('{"active":false}');
    expect((await me(second)).status).toBe(200);
    expect((await call('revoke', { token: first }, asClient(partner))).status).toBe(200);
  });

  it('repeatedly notifies other instances once', async () => {
    const token = await tokenOf(partner);
    const listener = new pg.Client({ connectionString: app.databaseUrl });
    await listener.connect();
    try {
      const payloads: string[] = [];
      listener.on('notification', ({ payload = '' }) => payloads.push(payload));
      await listener.query('LISTEN latchkey_change');
      for (let i = 0; i < 5; i++) expect((await call('revoke', { token }, asClient(partner))).status).toBe(200);
      await app.dataSource.query(`SELECT pg_notify('latchkey_change', 'test:end')`);
      await until(() => payloads.includes('test:end'), 'the last notification');
      expect(payloads.filter((payload) => payload.startsWith('revoked_token'))).toHaveLength(1);
    } finally {
      await listener.end();
    }
  });

  it('answers 200 for an unknown, malformed or expired token, and refuses a foreign one', async () => {
    const token = await tokenOf(partner);
    for (const unknown of ['x', `${token}x`]) {
      expect((await call('revoke', { token: unknown }, asClient(partner))).status).toBe(200);
    }
    const other = await app.newPartner();
    expectError(await call('revoke', { token }, asClient(other)), 400, 'invalid_request');
    expect((await me(token)).status).toBe(200);
    expectError(await call('revoke', {}, asClient(partner)), 400, 'invalid_request');
    expectError(await call('revoke', { token }), 401, 'invalid_client');
    app.clockOffset = 3_601_000;
    expect((await call('revoke', { token }, asClient(partner))).status).toBe(200);
  });

  it('by staff takes its jti and is audited', async () => {
    const token = await tokenOf(partner);
    const { jti } = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { jti: string };
    const remove = async (role: 'viewer' | 'operator', id: string): Promise<number> =>
      (await app.request('DELETE', `/admin/tokens/${id}`, { token: (await app.asStaff(role)).token })).status;
    expect(await remove('viewer', jti)).toBe(403);
    expect(await remove('operator', 'not-an-id')).toBe(404);
    expect((await me(token)).status).toBe(200);
    expect(await remove('operator', jti.toUpperCase())).toBe(204);
    expect((await me(token)).status).toBe(401);
    expect(await remove('operator', jti)).toBe(204);
    const events = await app.request('GET', `/admin/audit-events?target=${jti}`, { token: await operator() });
    expect(events.json<{ items: unknown[] }>().items[0]).toMatchObject({
      action: 'token.revoked',
      target: { type: 'token', id: jti, name: jti },
    });
  });

  it('applies to every instance within a second and after a restart', async () => {
    const beside = await TestApp.start(app.config);
    try {
      const token = await tokenOf(partner);
      const there = async (): Promise<number> => (await beside.request('GET', '/me', { token })).status;
      expect(await there()).toBe(200);
      await call('revoke', { token }, asClient(partner));
      const end = performance.now() + 1000;
      let status = await there();
      while (status === 200 && performance.now() < end) status = await there();
      expect(status).toBe(401);
      const later = await TestApp.start(app.config);
      expect((await later.request('GET', '/me', { token })).status).toBe(401);
      await later.close();
    } finally {
      await beside.close();
    }
  });

  it('is forgotten once the token has expired', async () => {
    const count = async (): Promise<number> =>
      Number((await app.dataSource.query<{ n: string }[]>('SELECT count(*) AS n FROM revoked_token'))[0]?.n);
    const token = await tokenOf(partner);
    await call('revoke', { token }, asClient(partner));
    const before = await count();
    await app.runTask('Deleting expired revocations');
    expect(await count()).toBe(before);
    app.clockOffset = 2 * 86_400_000;
    await app.runTask('Deleting expired revocations');
    expect(await count()).toBe(0);
  });
});

describe('the public documents', () => {
  it('describe the authorization server (RFC 8414)', async () => {
    const answer = await app.request('GET', '/.well-known/oauth-authorization-server');
    expect(answer.json()).toEqual({
      issuer: 'http://latchkey.test',
      token_endpoint: 'http://latchkey.test/oauth2/token',
      jwks_uri: 'http://latchkey.test/.well-known/jwks.json',
      introspection_endpoint: 'http://latchkey.test/oauth2/introspect',
      revocation_endpoint: 'http://latchkey.test/oauth2/revoke',
      grant_types_supported: ['client_credentials'],
      response_types_supported: [],
      token_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      introspection_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      revocation_endpoint_auth_methods_supported: ['client_secret_basic', 'client_secret_post'],
      service_documentation: 'http://latchkey.test/docs',
    });
  });

  it.each(['/.well-known/oauth-authorization-server', '/.well-known/jwks.json'])(
    'may be cached, revalidated and read from any origin: %s',
    async (path) => {
      const answer = await app.request('GET', path, { headers: { origin: 'https://elsewhere.example' } });
      expect(answer.status).toBe(200);
      expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
      expect(answer.headers.get('cache-control')).toMatch(/^public, max-age=\d+$/);
      expect(answer.headers.get('access-control-allow-origin')).toBe('*');
      const etag = answer.headers.get('etag') ?? '';
      for (const tag of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        const again = await app.request('GET', path, { headers: { 'if-none-match': tag } });
        expect([tag, again.status, again.text]).toEqual([tag, 304, '']);
      }
      expect((await app.request('GET', path, { headers: { 'if-none-match': '"other"' } })).status).toBe(200);
    },
  );

  it('contain only public keys', async () => {
    const { keys } = (await app.request('GET', '/.well-known/jwks.json')).json<{ keys: Record<string, string>[] }>();
    // The signing key and its standby.
    expect(keys).toHaveLength(2);
    for (const key of keys) {
      expect(Object.keys(key).sort()).toEqual(['alg', 'crv', 'kid', 'kty', 'use', 'x', 'y']);
      expect(key).toMatchObject({ kty: 'EC', crv: 'P-256', use: 'sig', alg: 'ES256' });
    }
    const token = await tokenOf(partner);
    const { kid } = JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as { kid: string };
    expect(keys.map((key) => key['kid'])).toContain(kid);
  });
});
