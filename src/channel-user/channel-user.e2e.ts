import { createHash } from 'node:crypto';
import { type Answer, type RequestOptions, TestApp } from '../../test/support/app.ts';
import { secret } from '../../test/support/secrets.ts';

interface ChannelUser {
  id: string;
  username: string;
  displayName: string;
  contactEmail: string | null;
  status: string;
  scopes: string[];
  tokenTtlSeconds: number;
  tokensPerMinute: number;
  allowedIps: string[];
  expiresAt: string | null;
  notes: string | null;
  createdAt: string;
  updatedAt: string;
  lastTokenAt: string | null;
  version: number;
}
interface Created {
  channelUser: ChannelUser;
  credential: Record<string, unknown> & { id: string; password: string };
}
interface Problem {
  code: string;
  errors?: { field: string; messages: string[] }[];
}

const USERS = '/admin/channel-users';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let app: TestApp;
let operator: string;
let admin: string;
let viewer: string;

beforeAll(async () => {
  app = await TestApp.start();
  operator = (await app.asStaff('operator')).token;
  admin = (await app.asStaff('admin')).token;
  viewer = (await app.asStaff('viewer')).token;
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

let counter = 0;
const name = (): string => `user-${String(++counter)}`;
const request = (method: string, path: string, options: RequestOptions = {}): Promise<Answer> =>
  app.request(method, path, { token: operator, ...options });
const post = (json: unknown): Promise<Answer> => request('POST', USERS, { json });
const patch = (id: string, json: unknown, headers: Record<string, string> = {}): Promise<Answer> =>
  request('PATCH', `${USERS}/${id}`, { json, headers });
const read = async (id: string): Promise<ChannelUser> => {
  const answer = await request('GET', `${USERS}/${id}`);
  expect(answer.status).toBe(200);
  return answer.json<ChannelUser>();
};
const create = async (fields: Record<string, unknown> = {}): Promise<Created> => {
  const answer = await post({ username: name(), displayName: 'Some Partner', ...fields });
  expect({ status: answer.status, text: answer.status === 201 ? '' : answer.text }).toEqual({ status: 201, text: '' });
  const created = answer.json<Created>();
  secret(created.credential.password);
  return created;
};
const signIn = (username: string, password: string): Promise<Answer> =>
  app.request('POST', '/generateToken', { form: { Username: username, Password: password } });
const meStatus = async (token: string): Promise<number> => (await app.request('GET', '/me', { token })).status;

/** Expects a problem document (RFC 9457) with the contract's members. `fields` are the fields named in `errors`. */
function expectProblem(answer: Answer, status: number, code: string, fields?: string[]): void {
  expect({ status: answer.status, code: answer.json<Problem>().code }).toEqual({ status, code });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json(;|$)/);
  expect(answer.json()).toEqual({
    type: expect.any(String) as string,
    title: expect.any(String) as string,
    status,
    detail: expect.any(String) as string,
    code,
    requestId: answer.headers.get('x-request-id'),
    ...(fields && {
      errors: fields.map((field) => ({ field, messages: expect.arrayContaining([expect.any(String)]) as string[] })),
    }),
  });
}

describe('provisioning a channel user', () => {
  it('fills in defaults and answers with Location, ETag and exactly the fields of the contract', async () => {
    const username = name();
    const answer = await post({ username, displayName: 'Blue Channel' });
    expect(answer.status).toBe(201);
    const { channelUser, credential } = answer.json<Created>();
    const password = secret(credential.password);
    expect(channelUser).toEqual({
      id: expect.stringMatching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/) as string,
      username,
      displayName: 'Blue Channel',
      contactEmail: null,
      externalId: null,
      status: 'active',
      scopes: [],
      tokenTtlSeconds: 3600,
      tokensPerMinute: 60,
      allowedIps: [],
      expiresAt: null,
      selfService: true,
      notes: null,
      createdAt: expect.stringMatching(ISO) as string,
      updatedAt: channelUser.createdAt,
      lastTokenAt: null,
      version: 1,
    });
    expect(Object.keys(answer.json()).sort()).toEqual(['channelUser', 'credential']);
    expect(credential).toMatchObject({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      label: expect.any(String) as string,
      createdAt: expect.stringMatching(ISO) as string,
      expiresAt: null,
    });
    expect(password).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(credential['fingerprint']).toBe(createHash('sha256').update(password).digest('hex').slice(0, 8));
    expect(answer.headers.get('location')).toBe(`${USERS}/${channelUser.id}`);
    expect(answer.headers.get('etag')).toBe('"1"');
    expect(answer.headers.get('cache-control')).toBe('no-store');

    const again = await request('GET', answer.headers.get('location') ?? '');
    expect({ status: again.status, etag: again.headers.get('etag') }).toEqual({ status: 200, etag: '"1"' });
    expect(again.json()).toEqual(channelUser);
  });

  it('keeps the given values, with times in UTC', async () => {
    const fields = {
      displayName: 'Ünïcödé \u{1F511} partner',
      contactEmail: 'Ops@Blue.example',
      scopes: ['property:read', 'calendar', 'a-b_c:d-e_f'],
      tokenTtlSeconds: 60,
      tokensPerMinute: 1,
      allowedIps: ['192.0.2.1', '198.51.100.0/24', '2001:db8::/32', '::1'],
      notes: 'First line\nsecond\tline',
    };
    const { channelUser } = await create({ ...fields, expiresAt: '2031-01-01T01:30:00.5+02:00' });
    expect(channelUser).toMatchObject({ ...fields, expiresAt: '2030-12-31T23:30:00.500Z' });
    expect(await read(channelUser.id)).toEqual(channelUser);
  });

  it.each([
    ['one that has passed', '2000-02-29T00:00:00Z', '2000-02-29T00:00:00.000Z'],
    ['the last one', '9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
    ['a very old one', '0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
    ['one of the first century', '0050-06-01T12:00:00Z', '0050-06-01T12:00:00.000Z'],
    ['one before time zones', '1850-06-01T12:00:00Z', '1850-06-01T12:00:00.000Z'],
    ['one with a negative offset', '2030-01-31T20:00:00-08:00', '2030-02-01T04:00:00.000Z'],
    ['one with microseconds', '2030-01-31T00:00:00.123456Z', '2030-01-31T00:00:00.123Z'],
    ['one before 1970 with microseconds', '1960-01-31T00:00:00.123456Z', '1960-01-31T00:00:00.123Z'],
  ])('accepts an expiresAt: %s', async (_, expiresAt, expected) => {
    const { channelUser } = await create({ expiresAt });
    expect(channelUser.expiresAt).toBe(expected);
    expect((await read(channelUser.id)).expiresAt).toBe(expected);
    expect(channelUser.status).toBe(expected < new Date().toISOString() ? 'expired' : 'active');
  });

  it('accepts null where allowed, and the limits of every field', async () => {
    await create({ contactEmail: null, expiresAt: null, notes: null });
    const { channelUser } = await create({
      username: 'x'.repeat(64),
      displayName: '\u{1F511}'.repeat(200),
      tokenTtlSeconds: 86_400,
      notes: '\u{1F511}'.repeat(4000),
    });
    expect([...channelUser.displayName]).toHaveLength(200);
    await create({ username: 'Az9', notes: '' });
    await create({ username: '._-@' });
  });

  it('shows the password once and nowhere else', async () => {
    const { channelUser, credential } = await create({ notes: 'searched' });
    const { password } = credential;
    await app.generateToken({ username: channelUser.username, password });
    const places = [
      `${USERS}/${channelUser.id}`,
      `${USERS}/${channelUser.id}/credentials`,
      `${USERS}?q=${channelUser.username}`,
      `/admin/audit-events?target=${channelUser.id}`,
    ];
    const digest = createHash('sha256').update(password).digest();
    for (const path of places) {
      const answer = await app.request('GET', path, { token: admin });
      expect(answer.status).toBe(200);
      for (const form of [password, digest.toString('hex'), digest.toString('base64url'), digest.toString('base64')]) {
        expect(answer.text).not.toContain(form);
      }
    }
    const tables = await app.dataSource.query<{ table_name: string }[]>(
      `SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'`,
    );
    expect(tables.length).toBeGreaterThan(5);
    for (const { table_name: table } of tables) {
      const rows = await app.dataSource.query<{ row: string }[]>(`SELECT t::text AS row FROM "${table}" t`);
      const text = rows.map(({ row }) => row).join('\n');
      expect(text).not.toContain(password);
      expect(text).not.toContain(Buffer.from(password).toString('hex'));
    }
  });

  it('compares usernames without regard to ASCII case', async () => {
    const username = 'Mixed.Case-' + name();
    await create({ username });
    for (const taken of [username, username.toLowerCase(), username.toUpperCase()]) {
      expectProblem(await post({ username: taken, displayName: 'x' }), 409, 'channel-user.username-taken', [
        'username',
      ]);
    }
  });

  it('creates one account when twenty requests ask for a name at once', async () => {
    const username = name();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        post({ username: i % 2 === 0 ? username : username.toUpperCase(), displayName: 'x' }),
      ),
    );
    const created = answers.filter(({ status }) => status === 201);
    expect(created).toHaveLength(1);
    for (const answer of created) secret(answer.json<Created>().credential.password);
    for (const answer of answers) {
      if (answer.status !== 201) expectProblem(answer, 409, 'channel-user.username-taken', ['username']);
    }
    const list = await request('GET', `${USERS}?q=${username}`);
    expect(list.json<{ total: number }>().total).toBe(1);
  });
});

const BAD: [field: string, what: string, value: unknown][] = [
  ['displayName', 'null', null],
  ['displayName', 'a number', 5],
  ['displayName', 'an object', { a: 1 }],
  ['displayName', 'a list', ['x']],
  ['displayName', 'empty', ''],
  ['displayName', 'blank', '  \u00a0 '],
  ['displayName', 'too long', 'x'.repeat(201)],
  ['displayName', 'with a NUL', 'a\u0000b'],
  ['displayName', 'with a line break', 'a\nb'],
  ['displayName', 'with a DEL', 'a\u007fb'],
  ['displayName', 'with a C1 control character', 'a\u0085b'],
  ['displayName', 'with a lone high surrogate', 'a\ud800b'],
  ['displayName', 'with a lone low surrogate', 'a\udc00'],
  ['contactEmail', 'empty', ''],
  ['contactEmail', 'a number', 5],
  ['contactEmail', 'a list', ['a@b.example']],
  ['contactEmail', 'no address', 'nobody'],
  ['contactEmail', 'two addresses', 'a@b.example,c@d.example'],
  ['contactEmail', 'with a display name', 'Mia <a@b.example>'],
  [
    'contactEmail',
    'too long',
    `${'x'.repeat(60)}@${'y'.repeat(60)}.${'y'.repeat(60)}.${'y'.repeat(60)}.${'z'.repeat(20)}`,
  ],
  ['contactEmail', 'with a NUL', 'a\u0000@b.example'],
  ['contactEmail', 'with a lone surrogate', 'a\ud800@b.example'],
  ['contactEmail', 'with a line break in quotes', '"a\nb"@b.example'],
  ['contactEmail', 'with a control character in quotes', '"a\u0001b"@b.example'],
  ['contactEmail', 'with a line break at its end', 'a@b.example\n'],
  ['scopes', 'null', null],
  ['scopes', 'text', 'calendar'],
  ['scopes', 'an object', { 0: 'calendar', length: 1 }],
  ['scopes', 'with null', [null]],
  ['scopes', 'with a list', [['calendar']]],
  ['scopes', 'with an empty entry', ['']],
  ['scopes', 'in upper case', ['Calendar']],
  ['scopes', 'with a space', ['a b']],
  ['scopes', 'with three parts', ['a:b:c']],
  ['scopes', 'with an empty part', ['a:']],
  ['scopes', 'with a line break', ['a:b\n']],
  ['scopes', 'with a letter that is not ASCII', ['caf\u00e9']],
  ['scopes', 'repeated', ['a:b', 'c', 'a:b']],
  ['scopes', 'too many', Array.from({ length: 1001 }, (_, i) => `s${String(i)}`)],
  ['tokenTtlSeconds', 'null', null],
  ['tokenTtlSeconds', 'text', '3600'],
  ['tokenTtlSeconds', 'too short', 59],
  ['tokenTtlSeconds', 'too long', 86_401],
  ['tokenTtlSeconds', 'no whole number', 60.5],
  ['tokenTtlSeconds', 'a boolean', true],
  ['tokensPerMinute', 'null', null],
  ['tokensPerMinute', 'text', '60'],
  ['tokensPerMinute', 'zero', 0],
  ['tokensPerMinute', 'negative', -1],
  ['tokensPerMinute', 'more than an integer holds', 2_147_483_648],
  ['tokensPerMinute', 'no whole number', 1.5],
  ['allowedIps', 'null', null],
  ['allowedIps', 'text', '192.0.2.1'],
  ['allowedIps', 'with null', [null]],
  ['allowedIps', 'with a number', [1]],
  ['allowedIps', 'with an empty entry', ['']],
  ['allowedIps', 'with a name', ['localhost']],
  ['allowedIps', 'with three numbers', ['192.0.2']],
  ['allowedIps', 'with a number over 255', ['192.0.2.256']],
  ['allowedIps', 'with a prefix over 32', ['192.0.2.0/33']],
  ['allowedIps', 'with a negative prefix', ['192.0.2.0/-1']],
  ['allowedIps', 'with an empty prefix', ['192.0.2.0/']],
  ['allowedIps', 'with two prefixes', ['192.0.2.0/24/8']],
  ['allowedIps', 'with a mask', ['192.0.2.0/255.255.255.0']],
  ['allowedIps', 'with a prefix over 128', ['2001:db8::/129']],
  ['allowedIps', 'with a zone', ['fe80::1%eth0']],
  ['allowedIps', 'with spaces', [' 192.0.2.1 ']],
  ['allowedIps', 'with two in one entry', ['192.0.2.1,192.0.2.2']],
  ['allowedIps', 'repeated', ['192.0.2.1', '192.0.2.1']],
  ['expiresAt', 'empty', ''],
  ['expiresAt', 'a number', 1_900_000_000],
  ['expiresAt', 'a day without a time', '2030-01-31'],
  ['expiresAt', 'without a zone', '2030-01-31T00:00:00'],
  ['expiresAt', 'a day that does not exist', '2030-02-30T00:00:00Z'],
  ['expiresAt', 'a leap day that does not exist', '2100-02-29T00:00:00Z'],
  ['expiresAt', 'a month that does not exist', '2030-13-01T00:00:00Z'],
  ['expiresAt', 'an hour that does not exist', '2030-01-01T25:00:00Z'],
  ['expiresAt', 'a minute that does not exist', '2030-01-01T00:60:00Z'],
  ['expiresAt', 'an offset that does not exist', '2030-01-01T00:00:00+25:00'],
  ['expiresAt', 'the year 0', '0000-12-31T23:59:59Z'],
  ['expiresAt', 'the year 10000 in UTC', '9999-12-31T23:59:59-01:00'],
  ['expiresAt', 'a year with a sign', '+012030-01-01T00:00:00Z'],
  ['expiresAt', 'words', 'tomorrow'],
  ['expiresAt', 'infinity', 'infinity'],
  ['expiresAt', 'with a line break', '2030-01-01T00:00:00Z\n'],
  ['notes', 'a number', 5],
  ['notes', 'too long', 'x'.repeat(4001)],
  ['notes', 'with a NUL', 'a\u0000'],
  ['notes', 'with an escape character', 'a\u001b[31m'],
  ['notes', 'with a lone surrogate', '\udfff'],
  ['status', 'not settable', 'suspended'],
  ['version', 'not settable', 3],
  ['id', 'not settable', UNKNOWN],
  ['password', 'not settable', 'chosen'],
  ['Username', 'unknown in this case', 'x'],
  ['constructor', 'unknown', 'x'],
  ['toString', 'unknown', 'x'],
  ['hasOwnProperty', 'unknown', 'x'],
  ['then', 'unknown', 'x'],
  ['', 'unknown', 'x'],
];

describe('an invalid field', () => {
  let id: string;
  beforeAll(async () => {
    ({ id } = (await create()).channelUser);
  });

  it.each(BAD)('is refused and named: %s, %s', async (field, _, value) => {
    const username = name();
    expectProblem(await post({ username, displayName: 'x', [field]: value }), 400, 'request.invalid', [field]);
    expect((await request('GET', `${USERS}?q=${username}`)).json<{ total: number }>().total).toBe(0);
    expectProblem(await patch(id, { [field]: value }), 400, 'request.invalid', [field]);
    expect((await read(id)).version).toBe(1);
  });

  it.each([
    ['absent', undefined],
    ['null', null],
    ['a number', 12345],
    ['a list', ['abc']],
    ['too short', 'ab'],
    ['too long', 'x'.repeat(65)],
    ['with a space', 'a bc'],
    ['with a space at the end', 'abc '],
    ['with a line break', 'abc\n'],
    ['with a slash', 'a/bc'],
    ['with a letter that is not ASCII', 'n\u00e4me'],
    ['with the Kelvin sign', '\u212aelvin'],
    ['with a full-width letter', '\uff41bc'],
    ['with a NUL', 'abc\u0000'],
    ['with a lone surrogate', 'abc\ud800'],
  ])('is refused and named when it is the username: %s', async (_, username) => {
    expectProblem(await post({ username, displayName: 'x' }), 400, 'request.invalid', ['username']);
  });

  it('is refused and named when the displayName is absent', async () => {
    expectProblem(await post({ username: name() }), 400, 'request.invalid', ['displayName']);
  });

  it('is refused together with every other one', async () => {
    const answer = await post({ username: 'a', scopes: 'x', tokenTtlSeconds: 1, unknown: 1 });
    expect(answer.status).toBe(400);
    expect((answer.json<Problem>().errors ?? []).map(({ field }) => field).sort()).toEqual([
      'displayName',
      'scopes',
      'tokenTtlSeconds',
      'unknown',
      'username',
    ]);
  });

  it('is refused when it is a number beyond all limits', async () => {
    for (const number of ['1e400', '-1e400', '1e30']) {
      const body = `{"username":"${name()}","displayName":"x","tokensPerMinute":${number}}`;
      const answer = await request('POST', USERS, { body, headers: { 'content-type': 'application/json' } });
      expectProblem(answer, 400, 'request.invalid', ['tokensPerMinute']);
    }
  });

  it('is refused, or read as ISO 8601 defines it, with a decimal comma', async () => {
    const answer = await post({ username: name(), displayName: 'x', expiresAt: '2030-01-31T00:00:00,5Z' });
    const changed = await patch(id, { expiresAt: '2030-01-31T00:00:00,5Z' });
    if (answer.status === 201) {
      secret(answer.json<Created>().credential.password);
      expect(answer.json<Created>().channelUser.expiresAt).toBe('2030-01-31T00:00:00.500Z');
      expect(changed.json<ChannelUser>().expiresAt).toBe('2030-01-31T00:00:00.500Z');
    } else {
      expectProblem(answer, 400, 'request.invalid', ['expiresAt']);
      expectProblem(changed, 400, 'request.invalid', ['expiresAt']);
    }
  });
});

describe('a body that is not an object', () => {
  const JSON_TYPE = { 'content-type': 'application/json' };
  const paths = async (): Promise<[string, string][]> => {
    const { id } = (await create()).channelUser;
    return [
      ['POST', USERS],
      ['PATCH', `${USERS}/${id}`],
      ['POST', `${USERS}/${id}/suspend`],
      ['POST', `${USERS}/${id}/reactivate`],
      ['POST', `${USERS}/${id}/revoke-tokens`],
      ['POST', `${USERS}/${id}/credentials`],
    ];
  };

  it.each([
    '[]',
    '[{"username":"abc","displayName":"x","reason":"x"}]',
    '"text"',
    '""',
    '5',
    '0',
    'true',
    'false',
    'null',
  ])('is refused: %s', async (body) => {
    for (const [method, path] of await paths()) {
      const answer = await request(method, path, { body, headers: JSON_TYPE });
      expect({ method, path, status: answer.status }).toEqual({ method, path, status: 400 });
      expect(answer.json<Problem>().errors).toEqual(expect.any(Array));
    }
  });

  it('is refused when it is absent and a field is required', async () => {
    expectProblem(await request('POST', USERS), 400, 'request.invalid', ['username', 'displayName']);
    const { id } = (await create()).channelUser;
    expectProblem(await request('POST', `${USERS}/${id}/suspend`), 400, 'request.invalid', ['reason']);
    expectProblem(await request('POST', `${USERS}/${id}/revoke-tokens`), 400, 'request.invalid', ['reason']);
    const empty = await request('POST', USERS, { body: '', headers: JSON_TYPE });
    expectProblem(empty, 400, 'request.invalid', ['username', 'displayName']);
  });

  it.each([
    ['broken', '{"username":'],
    ['two documents', '{}{}'],
    ['a prototype', '{"username":"proto-one","displayName":"x","__proto__":{"version":9}}'],
    ['a constructor with a prototype', '{"username":"proto-two","displayName":"x","constructor":{"prototype":{}}}'],
    ['a deep prototype', '{"username":"proto-three","displayName":{"__proto__":null}}'],
  ])('is refused: %s', async (_, body) => {
    const answer = await request('POST', USERS, { body, headers: JSON_TYPE });
    expect(answer.status).toBe(400);
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect(answer.text).not.toMatch(/secure-json|node_modules|Unexpected token|at /);
    expect((await request('GET', `${USERS}?q=proto-`)).json<{ total: number }>().total).toBe(0);
  });

  it('is refused at any depth', async () => {
    const depth = 60_000;
    for (const deep of ['['.repeat(depth) + ']'.repeat(depth), '{"a":'.repeat(20_000) + '1' + '}'.repeat(20_000)]) {
      const body = `{"username":"${name()}","displayName":"x","notes":${deep}}`;
      expect((await request('POST', USERS, { body, headers: JSON_TYPE })).status).toBe(400);
    }
  });

  it.each([
    ['fields', () => Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`f${String(i)}`, 0]))],
    ['fields further in', () => ({ notes: Object.fromEntries(Array.from({ length: 101 }, (_, i) => [i, 0])) })],
    ['entries of a list', () => ({ username: name(), displayName: 'x', scopes: Array(2_001).fill('a') })],
  ])('is refused early with more %s than any request has', async (_, body) => {
    const answer = await request('POST', USERS, { json: body() });
    // One error for the whole body, not one for each excess entry.
    expect(answer.json()['errors']).toEqual([
      { field: '', messages: [expect.stringMatching(/^must have at most (100 fields|2000 entries in a list)/)] },
    ]);
  });

  it('is refused when it is a query with more fields than any has', async () => {
    const query = Array.from({ length: 2_000 }, (_, i) => `f${String(i)}=`).join('&');
    const answer = await request('GET', `${USERS}?${query}`);
    expect(answer.json()['errors']).toEqual([{ field: '', messages: ['must have at most 100 fields'] }]);
  });

  it('is refused with another content type and over the limit', async () => {
    const json = JSON.stringify({ username: name(), displayName: 'x' });
    for (const type of ['text/plain', 'application/x-www-form-urlencoded', 'application/jsonx', 'text/json']) {
      const answer = await request('POST', USERS, { body: json, headers: { 'content-type': type } });
      expectProblem(answer, 415, 'request.unsupported-content-type');
    }
    const large = JSON.stringify({ username: name(), displayName: 'x', notes: 'x'.repeat(1024 * 1024) });
    expectProblem(await request('POST', USERS, { body: large, headers: JSON_TYPE }), 413, 'request.too-large');
  });
});

describe('changing a channel user', () => {
  it('keeps absent fields, applies the others and raises the version', async () => {
    const { channelUser } = await create({ contactEmail: 'a@b.example', scopes: ['a'], notes: 'n' });
    app.clockOffset = 5_000;
    const answer = await patch(channelUser.id, { displayName: 'Other', scopes: ['b:c'] });
    expect(answer.status).toBe(200);
    const changed = answer.json<ChannelUser>();
    expect(changed).toEqual({
      ...channelUser,
      displayName: 'Other',
      scopes: ['b:c'],
      version: 2,
      updatedAt: expect.stringMatching(ISO) as string,
    });
    expect(Date.parse(changed.updatedAt) - Date.parse(channelUser.updatedAt)).toBeGreaterThanOrEqual(5_000);
    expect(answer.headers.get('etag')).toBe('"2"');
    expect(await read(channelUser.id)).toEqual(changed);
  });

  it('clears fields with null and an empty list', async () => {
    const { channelUser } = await create({
      contactEmail: 'a@b.example',
      notes: 'n',
      expiresAt: '2030-01-01T00:00:00Z',
      scopes: ['a'],
      allowedIps: ['192.0.2.1'],
    });
    const cleared = { contactEmail: null, notes: null, expiresAt: null, scopes: [], allowedIps: [] };
    expect((await patch(channelUser.id, cleared)).json()).toMatchObject({ ...cleared, version: 2 });
    expect(await read(channelUser.id)).toMatchObject(cleared);
  });

  it('makes the new name and address findable and the old ones not', async () => {
    const tag = name();
    const { channelUser } = await create({ displayName: `Old ${tag}`, contactEmail: `old-${tag}@b.example` });
    await patch(channelUser.id, { displayName: `New ${tag}`, contactEmail: null });
    const total = async (q: string): Promise<number> =>
      (await request('GET', `${USERS}?q=${encodeURIComponent(q)}`)).json<{ total: number }>().total;
    expect([await total(`New ${tag}`), await total(`Old ${tag}`), await total(`old-${tag}@`)]).toEqual([1, 0, 0]);
  });

  it('refuses the username, even an unchanged one', async () => {
    const { channelUser } = await create();
    for (const username of ['another-name', channelUser.username]) {
      expectProblem(await patch(channelUser.id, { username }), 400, 'request.invalid', ['username']);
    }
  });

  it('without a difference changes nothing', async () => {
    const { channelUser } = await create({ expiresAt: '2031-01-01T00:00:00Z', scopes: ['a', 'b'] });
    app.clockOffset = 5_000;
    for (const json of [
      {},
      { displayName: channelUser.displayName },
      { expiresAt: '2031-01-01T02:00:00.000+02:00', scopes: ['a', 'b'], notes: null },
    ]) {
      const answer = await patch(channelUser.id, json);
      expect({ status: answer.status, etag: answer.headers.get('etag') }).toEqual({ status: 200, etag: '"1"' });
      expect(answer.json()).toEqual(channelUser);
    }
  });

  it('applies scopes, addresses, expiry and token lifetime from the next request on', async () => {
    const partner = await app.asPartner({ scopes: ['a', 'b'] });
    const scopes = async (): Promise<unknown> =>
      (await app.request('GET', '/me', { token: partner.token })).json()['scopes'];
    await patch(partner.id, { scopes: ['b', 'c'] });
    expect(await scopes()).toEqual(['b']);
    await patch(partner.id, { allowedIps: ['192.0.2.0/24'] });
    expect(await meStatus(partner.token)).toBe(401);
    await patch(partner.id, { allowedIps: ['127.0.0.0/8', '::1'], tokenTtlSeconds: 90 });
    expect(await meStatus(partner.token)).toBe(200);
    const answer = await signIn(partner.username, partner.password);
    secret(answer.text);
    expect(answer.headers.get('token-expires-in')).toBe('90');
    expect((await patch(partner.id, { expiresAt: '2020-01-01T00:00:00Z' })).json()).toMatchObject({
      status: 'expired',
    });
    expect(await meStatus(partner.token)).toBe(401);
    await patch(partner.id, { expiresAt: null });
    expect(await meStatus(partner.token)).toBe(200);
  });

  describe('with If-Match', () => {
    const statusOf = async (header: string): Promise<number> => {
      const { id } = (await create()).channelUser;
      await patch(id, { notes: 'second version' });
      const answer = await patch(id, { notes: 'third version' }, { 'if-match': header });
      expect((await read(id)).version).toBe(answer.status === 200 ? 3 : 2);
      if (answer.status !== 200) expectProblem(answer, 412, 'channel-user.outdated-version');
      return answer.status;
    };

    it.each(['"2"', '*', '"1", "2"', '"2","9"', ' "2" '])('accepts If-Match %s for version 2', async (header) => {
      expect(await statusOf(header)).toBe(200);
    });

    it.each(['"1"', '"3"', 'W/"2"', '2', '"2', '"02"', '" 2"', '""', '"*"', 'garbage', '"1", "3"', '"\u00e9"'])(
      'refuses If-Match %s for version 2',
      async (header) => {
        expect(await statusOf(header)).toBe(412);
      },
    );

    it('refuses an outdated version even without a change, after checking the fields', async () => {
      const { channelUser } = await create();
      expectProblem(await patch(channelUser.id, {}, { 'if-match': '"9"' }), 412, 'channel-user.outdated-version');
      const invalid = await patch(channelUser.id, { scopes: null }, { 'if-match': '"9"' });
      expectProblem(invalid, 400, 'request.invalid', ['scopes']);
      expectProblem(await patch(UNKNOWN, {}, { 'if-match': '*' }), 404, 'channel-user.not-found');
    });

    it('accepts one of twenty changes of the same version', async () => {
      const { id } = (await create()).channelUser;
      const answers = await Promise.all(
        Array.from({ length: 20 }, (_, i) => patch(id, { notes: `by ${String(i)}` }, { 'if-match': '"1"' })),
      );
      const won = answers.filter(({ status }) => status === 200);
      expect(won).toHaveLength(1);
      expect(answers.filter(({ status }) => status === 412)).toHaveLength(19);
      expect(await read(id)).toEqual(won[0]?.json());
    });
  });

  it('without If-Match loses none of twenty changes', async () => {
    const { id } = (await create()).channelUser;
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, i) =>
        patch(id, i % 2 ? { tokensPerMinute: i + 100 } : { tokenTtlSeconds: i + 100 }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(20).fill(200));
    const versions = answers.map((answer) => answer.json<ChannelUser>().version);
    expect(versions.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => i + 2));
    const { tokensPerMinute, tokenTtlSeconds } = await read(id);
    expect(tokensPerMinute % 2).toBe(1);
    expect(tokenTtlSeconds % 2).toBe(0);
  });
});

describe('version and updatedAt', () => {
  it('rise with changes by staff and not with use', async () => {
    const { channelUser, credential } = await create();
    const { id, username } = channelUser;
    await app.generateToken({ username, password: credential.password });
    const used = await read(id);
    expect(used).toEqual({ ...channelUser, lastTokenAt: expect.stringMatching(ISO) as string });
    const suspended = await request('POST', `${USERS}/${id}/suspend`, { json: { reason: 'r' } });
    expect(suspended.json<ChannelUser>().version).toBe(2);
    app.clockOffset = 120_000;
    await signIn(username, credential.password);
    expect((await read(id)).version).toBe(2);
    const active = await request('POST', `${USERS}/${id}/reactivate`, { json: {} });
    expect(active.json<ChannelUser>().version).toBe(3);
    await app.generateToken({ username, password: credential.password });
    const last = await read(id);
    expect(last).toMatchObject({ version: 3, updatedAt: active.json<ChannelUser>().updatedAt });
    expect(Date.parse(last.lastTokenAt ?? '')).toBeGreaterThan(Date.parse(used.lastTokenAt ?? '') + 100_000);
  });
});

describe('suspending and reactivating', () => {
  it('refuses tokens and password, and accepts them again after the reactivation', async () => {
    const partner = await app.asPartner();
    const suspended = await request('POST', `${USERS}/${partner.id}/suspend`, { json: { reason: 'unpaid' } });
    expect({ status: suspended.status, etag: suspended.headers.get('etag') }).toEqual({ status: 200, etag: '"2"' });
    expect(suspended.json()).toMatchObject({ id: partner.id, status: 'suspended', version: 2 });
    expect(await meStatus(partner.token)).toBe(401);
    expect((await signIn(partner.username, partner.password)).headers.get('error-code')).toBe('account_suspended');
    const active = await request('POST', `${USERS}/${partner.id}/reactivate`, { json: { reason: 'paid' } });
    expect({ status: active.status, etag: active.headers.get('etag') }).toEqual({ status: 200, etag: '"3"' });
    expect(active.json()).toMatchObject({ id: partner.id, status: 'active', version: 3 });
    expect(await meStatus(partner.token)).toBe(200);
  });

  it('twice answers 200 and changes nothing', async () => {
    const { id } = (await create()).channelUser;
    const again = (action: string): Promise<Answer> =>
      request('POST', `${USERS}/${id}/${action}`, { json: { reason: 'r' } });
    expect((await again('reactivate')).json()).toMatchObject({ status: 'active', version: 1 });
    expect((await again('suspend')).json()).toMatchObject({ status: 'suspended', version: 2 });
    const twice = await again('suspend');
    expect(twice.status).toBe(200);
    expect(twice.json()).toMatchObject({ status: 'suspended', version: 2 });
    expect((await again('reactivate')).json()).toMatchObject({ status: 'active', version: 3 });
  });

  it('works without a body for a reactivation, which may lead to expired', async () => {
    const { id } = (await create({ expiresAt: '2020-01-01T00:00:00Z' })).channelUser;
    expect((await read(id)).status).toBe('expired');
    await request('POST', `${USERS}/${id}/suspend`, { json: { reason: 'r' } });
    expect((await read(id)).status).toBe('suspended');
    const answer = await request('POST', `${USERS}/${id}/reactivate`);
    expect({ status: answer.status, state: answer.json<ChannelUser>().status }).toEqual({
      status: 200,
      state: 'expired',
    });
  });

  it('is overtaken by the expiry, which ends tokens too', async () => {
    const partner = await app.asPartner({ expiresAt: new Date(Date.now() + 60_000).toISOString() });
    expect((await read(partner.id)).status).toBe('active');
    app.clockOffset = 60_001;
    expect((await read(partner.id)).status).toBe('expired');
    expect(await meStatus(partner.token)).toBe(401);
  });

  it.each([
    ['absent', undefined],
    ['null', null],
    ['empty', ''],
    ['blank', '   '],
    ['a number', 5],
    ['too long', 'x'.repeat(501)],
    ['with a NUL', 'a\u0000'],
    ['with a lone surrogate', '\ud800'],
  ])('requires a reason that is text: %s', async (what, reason) => {
    const { id } = (await create()).channelUser;
    for (const action of ['suspend', 'revoke-tokens', ...(what === 'absent' ? [] : ['reactivate'])]) {
      const answer = await request('POST', `${USERS}/${id}/${action}`, { json: { reason } });
      expectProblem(answer, 400, 'request.invalid', ['reason']);
      const unknown = await request('POST', `${USERS}/${id}/${action}`, { json: { reason: 'r', force: true } });
      expectProblem(unknown, 400, 'request.invalid', ['force']);
    }
    expect(await read(id)).toMatchObject({ status: 'active', version: 1 });
  });
});

describe('revoking tokens', () => {
  it('ends every earlier token and no later one, even within one second', async () => {
    const partner = await app.asPartner();
    const before = [partner.token, await app.generateToken(partner)];
    const answer = await request('POST', `${USERS}/${partner.id}/revoke-tokens`, { json: { reason: 'leaked' } });
    const after = [await app.generateToken(partner), await app.generateToken(partner)];
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    const iat = (token: string): number =>
      (JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString()) as { iat: number }).iat;
    expect(iat(after[0] ?? '') - iat(before[1] ?? '') <= 1).toBe(true);
    expect(await Promise.all(before.map(meStatus))).toEqual([401, 401]);
    expect(await Promise.all(after.map(meStatus))).toEqual([200, 200]);
  });

  it('is final, even after a suspension and repeated revocations', async () => {
    const partner = await app.asPartner();
    await request('POST', `${USERS}/${partner.id}/suspend`, { json: { reason: 'r' } });
    for (let i = 0; i < 3; i++) {
      const answer = await request('POST', `${USERS}/${partner.id}/revoke-tokens`, { json: { reason: 'r' } });
      expect(answer.status).toBe(204);
    }
    await request('POST', `${USERS}/${partner.id}/reactivate`, { json: {} });
    expect(await meStatus(partner.token)).toBe(401);
    expect(await meStatus(await app.generateToken(partner))).toBe(200);
  });

  it('counts each of ten revocations at once and leaves other accounts alone', async () => {
    const partner = await app.asPartner();
    const other = await app.asPartner();
    const answers = await Promise.all(
      Array.from({ length: 10 }, () =>
        request('POST', `${USERS}/${partner.id}/revoke-tokens`, { json: { reason: 'r' } }),
      ),
    );
    expect(answers.map(({ status }) => status)).toEqual(Array(10).fill(204));
    expect([await meStatus(partner.token), await meStatus(other.token)]).toEqual([401, 200]);
    const [row] = await app.dataSource.query<{ epoch: number }[]>('SELECT epoch FROM channel_user WHERE id = $1', [
      partner.id,
    ]);
    expect(row?.epoch).toBe(10);
  });
});

describe('deleting a channel user', () => {
  it('ends tokens and password, keeps the audit trail and frees the username', async () => {
    const partner = await app.asPartner();
    const answer = await request('DELETE', `${USERS}/${partner.id}`, { token: admin });
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect(await meStatus(partner.token)).toBe(401);
    const signedIn = await signIn(partner.username, partner.password);
    expect({ status: signedIn.status, code: signedIn.headers.get('error-code') }).toEqual({
      status: 401,
      code: 'invalid_credentials',
    });
    for (const [method, path] of [
      ['GET', ''],
      ['PATCH', ''],
      ['DELETE', ''],
      ['GET', '/credentials'],
      ['DELETE', `/credentials/${partner.credentialId}`],
    ] as const) {
      const gone = await request(method, `${USERS}/${partner.id}${path}`, {
        token: admin,
        ...(method === 'PATCH' && { json: {} }),
      });
      expectProblem(gone, 404, 'channel-user.not-found');
    }
    const trail = await request('GET', `/admin/audit-events?target=${partner.id}`);
    const events = trail.json<{ items: { action: string; target: { name: string } }[] }>().items;
    expect(events.map(({ action }) => action)).toEqual([
      'channel-user.deleted',
      'credential.created',
      'channel-user.created',
    ]);
    expect(new Set(events.map(({ target }) => target.name))).toEqual(new Set([partner.username]));

    const again = await create({ username: partner.username.toUpperCase() });
    expect(again.channelUser.id).not.toBe(partner.id);
    expect(await meStatus(partner.token)).toBe(401);
    expect((await signIn(partner.username, partner.password)).status).toBe(401);
  });

  it('answers 204 once and 404 nine times when ten requests arrive at once', async () => {
    const { id } = (await create()).channelUser;
    const answers = await Promise.all(
      Array.from({ length: 10 }, () => request('DELETE', `${USERS}/${id}`, { token: admin })),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([204, ...(Array(9).fill(404) as number[])]);
  });
});

describe('an unknown id', () => {
  it.each([
    UNKNOWN,
    '00000000-0000-0000-0000-000000000000',
    'not-a-uuid',
    '1',
    `${UNKNOWN}0`,
    `%7B${UNKNOWN}%7D`,
    UNKNOWN.replaceAll('-', ''),
    '%00',
    "'%20OR%201=1",
    '%F0%9F%94%91',
  ])('gets 404 everywhere: %s', async (id) => {
    const json = { reason: 'r' };
    const calls: [string, string, unknown?][] = [
      ['GET', ''],
      ['PATCH', '', { notes: 'n' }],
      ['DELETE', ''],
      ['POST', '/suspend', json],
      ['POST', '/reactivate', json],
      ['POST', '/revoke-tokens', json],
      ['GET', '/credentials'],
      ['POST', '/credentials', {}],
      ['DELETE', `/credentials/${UNKNOWN}`],
    ];
    for (const [method, path, body] of calls) {
      const answer = await app.request(method, `${USERS}/${id}${path}`, { token: admin, json: body });
      expectProblem(answer, 404, 'channel-user.not-found');
    }
  });

  it('does not include a known one in upper case', async () => {
    const { channelUser } = await create();
    expect((await request('GET', `${USERS}/${channelUser.id.toUpperCase()}`)).json()).toEqual(channelUser);
  });
});

describe('roles', () => {
  const REASON = { reason: 'r' };
  const CALLS: [method: string, path: string, body: unknown, least: 'viewer' | 'operator' | 'admin', status: number][] =
    [
      ['GET', '', undefined, 'viewer', 200],
      ['POST', '', 'new', 'operator', 201],
      ['GET', '/:id', undefined, 'viewer', 200],
      ['PATCH', '/:id', { notes: 'n' }, 'operator', 200],
      ['POST', '/:id/suspend', REASON, 'operator', 200],
      ['POST', '/:id/reactivate', REASON, 'operator', 200],
      ['POST', '/:id/revoke-tokens', REASON, 'operator', 204],
      ['GET', '/:id/credentials', undefined, 'viewer', 200],
      ['POST', '/:id/credentials', {}, 'operator', 201],
      ['DELETE', '/:id/credentials/:cid', undefined, 'operator', 204],
      ['DELETE', '/:id', undefined, 'admin', 204],
    ];
  const ORDER = ['viewer', 'operator', 'admin'] as const;

  it.each(CALLS)('are checked for %s /admin/channel-users%s', async (method, path, body, least, status) => {
    const tokens = { viewer, operator, admin };
    for (const role of ORDER) {
      const { channelUser, credential } = await create();
      const target = USERS + path.replace(':id', channelUser.id).replace(':cid', credential.id);
      const json = body === 'new' ? { username: name(), displayName: 'x' } : body;
      const answer = await app.request(method, target, { token: tokens[role], json });
      if (ORDER.indexOf(role) < ORDER.indexOf(least)) {
        expectProblem(answer, 403, 'auth.insufficient-role');
        expect(await read(channelUser.id)).toEqual(channelUser);
        const list = await request('GET', `${USERS}/${channelUser.id}/credentials`);
        expect(list.json<{ items: { status: string }[] }>().items.map((item) => item.status)).toEqual(['active']);
      } else {
        expect({ role, status: answer.status }).toEqual({ role, status });
        if (status === 201) secret(answer.json<Created>().credential.password);
      }
      expectProblem(await app.request(method, target, { json }), 401, 'auth.no-token');
      const partner = await app.asPartner();
      expectProblem(await app.request(method, target, { token: partner.token, json }), 403, 'auth.wrong-plane');
    }
  });
});
