import net from 'node:net';
import { type Answer, type Partner, type RequestOptions, TestApp } from '../../../test/support/app.ts';
import { secret } from '../../../test/support/secrets.ts';

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

const post = (options: RequestOptions, path = '/generateToken'): Promise<Answer> => app.request('POST', path, options);
const signIn = ({ username, password }: { username: string; password: string }): Promise<Answer> =>
  post({ form: { Username: username, Password: password } });
const operator = async (): Promise<string> => (await app.asStaff('operator')).token;

/** Expects a text, an `Error-Code`, and the headers that every answer of the route has. */
function expectText(answer: Answer, status: number, text: string, errorCode: string | null): void {
  const seen = { status: answer.status, text: answer.text, errorCode: answer.headers.get('error-code') };
  expect(seen).toEqual({ status, text, errorCode });
  expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expectCommonHeaders(answer);
}

function expectCommonHeaders(answer: Answer): void {
  expect(answer.headers.get('cache-control')).toBe('no-store');
  expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
  expect(answer.headers.get('x-request-id')).toMatch(/^[0-9a-f]{8}-[0-9a-f-]{27}$/);
}

const INVALID = 'invalid username or password';

describe('a sign-in with the right credentials', () => {
  it('returns the bare token, which opens /me', async () => {
    const answer = await signIn(partner);
    expectText(answer, 200, secret(answer.text), null);
    expect(answer.text).toMatch(/^[\w-]+\.[\w-]+\.[\w-]{86}$/);
    expect(answer.headers.get('token-expires-in')).toBe('3600');
    const me = await app.request('GET', '/me', { token: answer.text });
    expect(me.status).toBe(200);
    expect(me.json()).toEqual({
      id: partner.id,
      username: partner.username,
      displayName: expect.any(String) as string,
      status: 'active',
      expiresAt: null,
      scopes: ['calendar:write', 'property:read'],
      selfService: true,
      token: {
        id: expect.any(String) as string,
        issuedAt: expect.any(String) as string,
        expiresAt: expect.any(String) as string,
      },
      credential: { id: partner.credentialId, label: 'initial', expiresAt: null },
    });
  });

  it('returns a token with the header and claims of RFC 9068', async () => {
    const token = await app.generateToken(partner);
    const [header, payload] = token.split('.').map((part) => Buffer.from(part, 'base64url').toString());
    expect(JSON.parse(header ?? '')).toEqual({
      alg: 'ES256',
      typ: 'at+jwt',
      kid: expect.stringMatching(/^[\w-]{43}$/) as string,
    });
    const claims = JSON.parse(payload ?? '') as Record<string, unknown>;
    expect(claims).toEqual({
      iss: 'http://latchkey.test',
      aud: 'http://api.latchkey.test',
      sub: partner.id,
      client_id: partner.username,
      cid: partner.credentialId,
      epoch: 0,
      scope: 'calendar:write property:read',
      iat: expect.any(Number) as number,
      exp: (claims['iat'] as number) + 3600,
      jti: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
    });
  });

  it('ignores the case of the username, accepts lower-case fields and ignores other fields', async () => {
    const username = partner.username.toUpperCase();
    expect((await signIn({ ...partner, username })).status).toBe(200);
    expect((await post({ form: { username, password: partner.password, grant: 'x', USERNAME: 'y' } })).status).toBe(
      200,
    );
    expect((await post({ form: { username, Password: partner.password } })).status).toBe(200);
  });

  it('compares the password exactly', async () => {
    for (const password of [
      partner.password.toUpperCase(),
      ` ${partner.password}`,
      `${partner.password} `,
      `\uFEFF${partner.password}`,
    ]) {
      expectText(await signIn({ ...partner, password }), 401, INVALID, 'invalid_credentials');
    }
  });

  it('accepts parameters and any case in the content type', async () => {
    const body = new URLSearchParams({ Username: partner.username, Password: partner.password }).toString();
    for (const type of ['application/x-www-form-urlencoded; charset=UTF-8', 'Application/X-WWW-Form-URLEncoded']) {
      expect((await post({ headers: { 'content-type': type }, body })).status).toBe(200);
    }
  });

  it('returns a token with the lifetime of the channel user and ends no older one', async () => {
    const other = await app.asPartner({ tokenTtlSeconds: 60 });
    const answer = await signIn(other);
    secret(answer.text);
    expect(answer.headers.get('token-expires-in')).toBe('60');
    for (const token of [other.token, answer.text])
      expect((await app.request('GET', '/me', { token })).status).toBe(200);
    app.clockOffset = 61_000;
    for (const token of [other.token, answer.text])
      expect((await app.request('GET', '/me', { token })).status).toBe(401);
  });

  it('records its time to the minute without counting as a change', async () => {
    const { id } = await app.asPartner();
    const token = await operator();
    const read = async () =>
      (await app.request('GET', `/admin/channel-users/${id}`, { token })).json<{
        lastTokenAt: string;
        version: number;
      }>();
    const first = await read();
    expect(Math.abs(Date.parse(first.lastTokenAt) - Date.now())).toBeLessThan(10_000);
    expect(first.version).toBe(1);
    const credentials = await app.request('GET', `/admin/channel-users/${id}/credentials`, { token });
    expect(credentials.json<{ items: { lastUsedAt: string }[] }>().items[0]?.lastUsedAt).toEqual(expect.any(String));
  });
});

describe('content negotiation', () => {
  const form = (): Record<string, string> => ({ Username: partner.username, Password: partner.password });
  const JSON_ONLY = [
    'application/json',
    'application/json, text/html',
    'application/json, text/plain;q=0',
    'application/*',
  ];

  it.each(JSON_ONLY)('answers JSON to Accept: %s', async (accept) => {
    const answer = await post({ form: form(), headers: { accept } });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(answer.json()).toEqual({
      access_token: secret(answer.json<{ access_token: string }>().access_token),
      token_type: 'Bearer',
      expires_in: 3600,
      scope: 'calendar:write property:read',
    });
    const refused = await post({ form: { ...form(), Password: 'wrong' }, headers: { accept } });
    expect({ status: refused.status, body: refused.json() }).toEqual({
      status: 401,
      body: { error: 'invalid_credentials', error_description: INVALID },
    });
    expect(refused.headers.get('error-code')).toBe('invalid_credentials');
    expectCommonHeaders(refused);
  });

  it.each([
    '*/*',
    'application/json, text/plain, */*',
    'text/*',
    'application/json;q=0.9, text/plain;q=0.1',
    'image/png',
    '',
  ])('answers text to Accept: %s', async (accept) => {
    const answer = await post({ form: form(), headers: { accept } });
    expectText(answer, 200, secret(answer.text), null);
  });
});

describe('a sign-in that does not match', () => {
  it('gets the same 401 for an unknown user, a wrong or revoked password and a wrong address', async () => {
    const token = await operator();
    const revoked = await app.newPartner();
    await app
      .request('POST', `/admin/channel-users/${revoked.id}/credentials`, {
        token,
        json: { retireOthersInSeconds: null },
      })
      .then((answer) => secret(answer.json<{ credential: { password: string } }>().credential.password));
    await app.request('DELETE', `/admin/channel-users/${revoked.id}/credentials/${revoked.credentialId}`, { token });
    const elsewhere = await app.newPartner({ allowedIps: ['192.0.2.0/24', '2001:db8::/32'] });
    const cases = [
      { username: 'nobody-here', password: partner.password },
      { ...partner, password: 'wrong' },
      revoked,
      elsewhere,
      { username: 'Ünïcödé \u{1F511}', password: 'x' },
    ];
    const headers = new Set<string>();
    for (const each of cases) {
      const answer = await signIn(each);
      expectText(answer, 401, INVALID, 'invalid_credentials');
      headers.add(JSON.stringify([...answer.headers].filter(([name]) => name !== 'date' && name !== 'x-request-id')));
    }
    expect(headers.size).toBe(1);
  });

  it('is refused before the state of the account is checked', async () => {
    const { id, username } = await app.newPartner();
    await app.request('POST', `/admin/channel-users/${id}/suspend`, {
      token: await operator(),
      json: { reason: 'test' },
    });
    expectText(await signIn({ username, password: 'wrong' }), 401, INVALID, 'invalid_credentials');
  });
});

describe('a sign-in with the right password', () => {
  it('is refused while the account is suspended and accepted after its reactivation', async () => {
    const user = await app.newPartner();
    const token = await operator();
    await app.request('POST', `/admin/channel-users/${user.id}/suspend`, { token, json: { reason: 'unpaid' } });
    expectText(await signIn(user), 403, 'token expired', 'account_suspended');
    await app.request('POST', `/admin/channel-users/${user.id}/reactivate`, { token, json: {} });
    expect((await signIn(user)).status).toBe(200);
  });

  it('is refused after the account has expired, and as suspended if it is both', async () => {
    const user = await app.newPartner({ expiresAt: '2020-01-01T00:00:00Z' });
    expectText(await signIn(user), 403, 'token expired', 'account_expired');
    const token = await operator();
    await app.request('POST', `/admin/channel-users/${user.id}/suspend`, { token, json: { reason: 'unpaid' } });
    expectText(await signIn(user), 403, 'token expired', 'account_suspended');
  });

  it('is refused after the credential has expired', async () => {
    const user = await app.newPartner();
    const rotated = await app.request('POST', `/admin/channel-users/${user.id}/credentials`, {
      token: await operator(),
      json: { retireOthersInSeconds: 3600 },
    });
    const { password } = rotated.json<{ credential: { password: string } }>().credential;
    secret(password);
    expect((await signIn(user)).status).toBe(200);
    app.clockOffset = 3_601_000;
    expectText(await signIn(user), 403, 'token expired', 'credential_expired');
    expect((await signIn({ ...user, password })).status).toBe(200);
  });
});

describe('a malformed request', () => {
  const long = 'x'.repeat(257);
  it.each([
    ['nothing', ''],
    ['no password', 'Username=a'],
    ['no username', 'Password=a'],
    ['an empty username', 'Username=&Password=a'],
    ['an empty password', 'Username=a&Password='],
    ['a field without a value', 'Username=a&Password'],
    ['a repeated field', 'Username=a&Username=a&Password=b'],
    ['both spellings of a field', 'Username=a&username=a&Password=b'],
    ['a field that is a list', 'Username[]=a&Password=b'],
    ['a field that is an object', 'Username[x]=a&Password=b'],
    ['a username over 256 code points', `Username=${long}&Password=b`],
    ['a password over 256 code points', `Username=a&Password=${long}`],
    ['an over-long password of astral characters', `Username=a&Password=${'%F0%9F%94%91'.repeat(257)}`],
    ['invalid UTF-8', 'Username=a&Password=%FF'],
    ['a lone surrogate in UTF-8', 'Username=a&Password=%ED%A0%80'],
    ['a NUL', 'Username=a%00&Password=b'],
    ['a line break', 'Username=a&Password=b%0A'],
    ['a C1 control character', 'Username=a&Password=b%C2%85'],
    ['JSON', '{"Username":"a","Password":"b"}'],
  ])('with %s gets 400', async (_, form) => {
    expectText(await post({ form }), 400, INVALID, 'malformed_request');
  });

  it('excludes fields of up to 256 code points, however many bytes they have', async () => {
    const form = `Username=a&Password=${'%F0%9F%94%91'.repeat(256)}`;
    expectText(await post({ form }), 401, INVALID, 'invalid_credentials');
  });

  it.each([
    'application/json',
    'text/plain',
    'multipart/form-data; boundary=x',
    'application/x-www-form-urlencodedx',
    'garbage',
  ])('of the type %s gets 415, whatever its size', async (type) => {
    for (const body of ['{', 'x'.repeat(9000)]) {
      expectText(
        await post({ headers: { 'content-type': type }, body }),
        415,
        'unsupported content type',
        'unsupported_content_type',
      );
    }
  });

  it('without a content type gets 415', async () => {
    expectText(
      await post({ body: Buffer.from('Username=a&Password=b') }),
      415,
      'unsupported content type',
      'unsupported_content_type',
    );
    expectText(await post({}), 415, 'unsupported content type', 'unsupported_content_type');
  });

  it('over 8 KiB gets 413', async () => {
    const form = (size: number): string => `Username=a&Password=b&x=`.padEnd(size, 'x');
    expectText(await post({ form: form(8193) }), 413, 'request too large', 'request_too_large');
    expectText(await post({ form: form(8192) }), 401, INVALID, 'invalid_credentials');
  });

  it.each(['GET', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'])('with %s gets 405, whatever it carries', async (method) => {
    const answer = await app.request(method, '/generateToken?Username=a', method === 'GET' ? {} : { json: { a: 1 } });
    expectText(answer, 405, 'method not allowed', 'method_not_allowed');
    expect(answer.headers.get('allow')).toBe('POST');
  });
});

describe('credentials in the URL', () => {
  it.each(['?Username=a', '?password=b', '?x=1&username=a&password=b', '?User%6Eame=a', '?Password', '?Username=%FF'])(
    'are refused before any other check: %s',
    async (query) => {
      const path = `/generateToken${query}`;
      for (const options of [{ form: 'Username=a&Password=b' }, { json: {} }, {}, { form: 'x'.repeat(9000) }]) {
        expectText(await post(options, path), 400, INVALID, 'credentials_in_url');
      }
    },
  );

  it('are recognized only by their exact names', async () => {
    const { username, password } = partner;
    const answer = await post({ form: { Username: username, Password: password } }, '/generateToken?user=a&USERNAME=b');
    expect(answer.status).toBe(200);
  });
});

describe('an error that Node would answer by itself', () => {
  /** Sends a raw request. @returns everything that the server sends until the connection ends */
  async function sent(text: string): Promise<string> {
    const { hostname, port } = new URL(app.url);
    const socket = net.connect(Number(port), hostname);
    socket.write(text);
    let answer = '';
    for await (const chunk of socket) answer += String(chunk);
    return answer;
  }
  const FORM = 'Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 21\r\n\r\nUsername=a&Password=b';

  it('has the words and headers of every other error: no Host', async () => {
    const ofToken = await sent(`POST /generateToken HTTP/1.1\r\nConnection: close\r\n${FORM}`);
    expect(ofToken).toMatch(/^HTTP\/1.1 400 /);
    expect(ofToken.toLowerCase()).toMatch(/\nerror-code: malformed_request\r/);
    expect(ofToken).toMatch(/\r\n\r\ninvalid username or password$/);
    const ofMe = await sent('GET /me HTTP/1.1\r\nConnection: close\r\n\r\n');
    expect(ofMe).toMatch(/^HTTP\/1.1 400 [^]*"code":"request.malformed"/);
    for (const answer of [ofToken, ofMe]) {
      for (const header of ['x-request-id: ', 'cache-control: no-store', 'x-content-type-options: nosniff']) {
        expect(answer.toLowerCase()).toContain(`\n${header}`);
      }
    }
    // HTTP/1.0 requires no Host.
    expect(await sent('GET /me HTTP/1.0\r\n\r\n')).toMatch(/^HTTP\/1.1 401 /);
  });

  it('is answered as if it had not been expected: Expect', async () => {
    const head = 'HTTP/1.1\r\nHost: latchkey.test\r\nConnection: close\r\nExpect: miracles\r\n';
    expect(await sent(`POST /generateToken ${head}${FORM}`)).toMatch(/^HTTP\/1.1 401 /);
    expect(await sent(`GET /me ${head}\r\n`)).toMatch(/^HTTP\/1.1 401 /);
  });
});

describe('with LEGACY_QUERY_CREDENTIALS a sign-in', () => {
  let legacy: TestApp;
  let user: Partner;
  beforeAll(async () => {
    legacy = await TestApp.start({ legacyQueryCredentials: true });
    user = await legacy.newPartner();
  });
  afterAll(() => legacy.close());
  const query = (): string => `?username=${user.username}&password=${user.password}`;

  it('accepts credentials in the URL and answers that they are deprecated', async () => {
    const answer = await legacy.request('POST', `/generateToken${query()}`);
    expectText(answer, 200, secret(answer.text), null);
    expect(answer.headers.get('deprecation')).toMatch(/^@\d+$/);
    const refused = await legacy.request('POST', `/generateToken?username=${user.username}&password=wrong`);
    expectText(refused, 401, INVALID, 'invalid_credentials');
    expect(refused.headers.get('deprecation')).toMatch(/^@\d+$/);
  });

  it('accepts an empty form beside them and refuses fields in both', async () => {
    expect((await legacy.request('POST', `/generateToken${query()}`, { form: '' })).status).toBe(200);
    expect((await legacy.request('POST', `/generateToken${query()}`, { form: 'x=1' })).status).toBe(200);
    for (const form of ['Username=a', 'password=b', 'Username=a&Password=b']) {
      expectText(await legacy.request('POST', `/generateToken${query()}`, { form }), 400, INVALID, 'malformed_request');
    }
    expectText(await legacy.request('POST', '/generateToken?username=a'), 400, INVALID, 'malformed_request');
  });

  it('without a body needs no content type, and a body keeps its type and limit', async () => {
    for (const type of ['text/plain', 'application/json', 'text/csv', 'nonsense']) {
      const headers = { 'content-type': type };
      const empty = await legacy.request('POST', `/generateToken${query()}`, { headers, body: '' });
      expect([type, empty.status]).toEqual([type, 200]);
      secret(empty.text);
      const answer = await legacy.request('POST', `/generateToken${query()}`, { headers, body: '{}' });
      expectText(answer, 415, 'unsupported content type', 'unsupported_content_type');
    }
    const large = await legacy.request('POST', `/generateToken${query()}`, { form: `x=${'y'.repeat(9_000)}` });
    expectText(large, 413, 'request too large', 'request_too_large');
  });

  it('still accepts a form and still refuses GET', async () => {
    const answer = await legacy.request('POST', '/generateToken', {
      form: { Username: user.username, Password: user.password },
    });
    expect(answer.status).toBe(200);
    expect(answer.headers.get('deprecation')).toBeNull();
    expectText(
      await legacy.request('GET', `/generateToken${query()}`),
      405,
      'method not allowed',
      'method_not_allowed',
    );
    expectText(
      await legacy.request('POST', '/generateToken'),
      415,
      'unsupported content type',
      'unsupported_content_type',
    );
  });
});
