import { type Answer, type RequestOptions, type StaffMember, TestApp } from '../../test/support/app.ts';
import { scrape } from '../../test/support/metrics.ts';
import { secret } from '../../test/support/secrets.ts';
import { eventually, inParallel, tally, until } from '../../test/support/sign-ins.ts';

interface Staff {
  id: string;
  email: string;
  name: string;
  role: string;
  createdAt: string;
  lastSignInAt: string | null;
}
interface Problem {
  code: string;
  errors?: { field: string; messages: string[] }[];
}

const STAFF = '/admin/staff';
const SESSION = '/admin/session';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

let app: TestApp;
let admin: StaffMember;

beforeAll(async () => {
  app = await TestApp.start();
  admin = await app.asStaff('admin');
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

let counter = 0;
const email = (): string => `mia-${String(++counter)}@connectivity.example`;
const request = (method: string, path: string, json?: unknown): Promise<Answer> =>
  app.request(method, path, { token: admin.token, json });
const create = async (fields: Record<string, unknown> = {}): Promise<Staff & { password: string }> => {
  const answer = await request('POST', STAFF, { email: email(), name: 'Mia Berg', role: 'viewer', ...fields });
  expect({ status: answer.status, text: answer.status === 201 ? '' : answer.text }).toEqual({ status: 201, text: '' });
  const member = answer.json<Staff & { password: string }>();
  secret(member.password);
  return member;
};
const signInAs = (json: unknown, options: RequestOptions = {}, on = app): Promise<Answer> =>
  on.request('POST', SESSION, { json, ...options });
const whoami = async (token: string): Promise<number> => (await app.request('GET', SESSION, { token })).status;

function expectProblem(answer: Answer, status: number, code: string, fields?: string[]): void {
  const problem = answer.json<Problem>();
  expect({ status: answer.status, code: problem.code }).toEqual({ status, code });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  if (fields) expect((problem.errors ?? []).map((error) => error.field)).toEqual(fields);
}

describe('staff members', () => {
  it('are created with a working password that is shown once', async () => {
    const address = email();
    const answer = await request('POST', STAFF, { email: address, name: 'Mia Berg', role: 'operator' });
    expect(answer.status).toBe(201);
    const { password, ...member } = answer.json<Staff & { password: string }>();
    secret(password);
    expect(member).toEqual({
      id: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      email: address,
      name: 'Mia Berg',
      role: 'operator',
      createdAt: expect.stringMatching(ISO) as string,
      lastSignInAt: null,
      secondFactor: false,
      identity: null,
      breakGlass: false,
    });
    expect(password.length).toBeGreaterThanOrEqual(16);
    expect(answer.headers.get('location')).toBe(`${STAFF}/${member.id}`);
    const read = await request('GET', `${STAFF}/${member.id}`);
    expect({ status: read.status, body: read.json() }).toEqual({ status: 200, body: member });
    await app.signIn(address, password);
    const after = (await request('GET', `${STAFF}/${member.id}`)).json<Staff>();
    expect(Math.abs(Date.parse(after.lastSignInAt ?? '') - Date.now())).toBeLessThan(10_000);
    expect({ ...after, lastSignInAt: null }).toEqual(member);
    for (const path of [STAFF, `${STAFF}/${member.id}`, `/admin/audit-events?target=${member.id}`]) {
      expect((await request('GET', path)).text).not.toContain(password);
    }
    const rows = await app.dataSource.query<{ row: string; hash: string }[]>(
      'SELECT t::text AS row, password_hash AS hash FROM staff t WHERE id = $1',
      [member.id],
    );
    expect(rows[0]?.hash).toMatch(/^\$argon2id\$/);
    expect(rows[0]?.row).not.toContain(password);
  });

  it('are listed by e-mail without secrets', async () => {
    await create({ email: 'ZZ-last@connectivity.example' });
    await create({ email: 'aa-first@connectivity.example' });
    const answer = await request('GET', STAFF);
    const { items } = answer.json<{ items: Staff[] }>();
    expect(answer.status).toBe(200);
    const keys = items.map((member) => member.email.toLowerCase());
    expect(keys).toEqual([...keys].sort());
    for (const item of items) {
      expect(Object.keys(item).sort()).toEqual([
        'breakGlass',
        'createdAt',
        'email',
        'id',
        'identity',
        'lastSignInAt',
        'name',
        'role',
        'secondFactor',
      ]);
    }
    expect(answer.text).not.toContain('argon2');
  });

  it('have unique e-mails in any case', async () => {
    const address = email();
    await create({ email: address });
    for (const taken of [address, address.toUpperCase()]) {
      const answer = await request('POST', STAFF, { email: taken, name: 'x', role: 'viewer' });
      expectProblem(answer, 409, 'staff.email-taken', ['email']);
    }
    const address2 = email();
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, i) =>
        request('POST', STAFF, { email: i % 2 ? address2 : address2.toUpperCase(), name: 'x', role: 'viewer' }),
      ),
    );
    for (const answer of answers) {
      if (answer.status === 201) secret(answer.json<{ password: string }>().password);
    }
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...(Array(9).fill(409) as number[])]);
  });

  const BAD: [string, unknown][] = [
    ['email', null],
    ['email', ''],
    ['email', 5],
    ['email', ['a@b.example']],
    ['email', 'nobody'],
    ['email', 'a@b@c.example'],
    ['email', 'Mia <a@b.example>'],
    ['email', `${'x'.repeat(250)}@b.example`],
    ['email', 'a\u0000@b.example'],
    ['email', 'a\ud800@b.example'],
    ['email', '"a\nb"@b.example'],
    ['name', null],
    ['name', ''],
    ['name', '  '],
    ['name', 5],
    ['name', 'x'.repeat(201)],
    ['name', 'a\u0000'],
    ['name', '\udc00'],
    ['role', null],
    ['role', ''],
    ['role', 'Admin'],
    ['role', 'owner'],
    ['role', ['admin']],
    ['role', 0],
    ['password', 'chosen-by-hand'],
    ['id', UNKNOWN],
    ['toString', 'x'],
  ];

  it.each(BAD)('are refused with %s %p', async (field, value) => {
    const body = { email: email(), name: 'x', role: 'viewer', [field]: value };
    expectProblem(await request('POST', STAFF, body), 400, 'request.invalid', [field]);
    if (field !== 'email') {
      const { id } = await create();
      expectProblem(await request('PATCH', `${STAFF}/${id}`, { [field]: value }), 400, 'request.invalid', [field]);
    }
  });

  it('require every field', async () => {
    const answer = await request('POST', STAFF, {});
    expect(answer.status).toBe(400);
    expect((answer.json<Problem>().errors ?? []).map(({ field }) => field).sort()).toEqual(['email', 'name', 'role']);
  });

  it('may change name and role but not the e-mail', async () => {
    const member = await create();
    const { password: _, ...shown } = member;
    expectProblem(await request('PATCH', `${STAFF}/${member.id}`, { email: email() }), 400, 'request.invalid', [
      'email',
    ]);
    const answer = await request('PATCH', `${STAFF}/${member.id}`, { name: 'Mia Stone', role: 'operator' });
    expect({ status: answer.status, body: answer.json() }).toEqual({
      status: 200,
      body: { ...shown, name: 'Mia Stone', role: 'operator' },
    });
    const empty = await request('PATCH', `${STAFF}/${member.id}`, {});
    expect({ status: empty.status, body: empty.json() }).toEqual({ status: 200, body: answer.json() });
  });

  it('are removed, and their e-mail becomes free', async () => {
    const member = await create();
    const answer = await request('DELETE', `${STAFF}/${member.id}`);
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expectProblem(await request('DELETE', `${STAFF}/${member.id}`), 404, 'staff.not-found');
    expectProblem(
      await signInAs({ email: member.email, password: member.password }),
      401,
      'session.invalid-credentials',
    );
    expect((await create({ email: member.email })).id).not.toBe(member.id);
  });

  it.each([UNKNOWN, 'not-a-uuid', '%00'])('get 404 under an unknown id: %s', async (id) => {
    expectProblem(await request('GET', `${STAFF}/${id}`), 404, 'staff.not-found');
    expectProblem(await request('PATCH', `${STAFF}/${id}`, { name: 'x' }), 404, 'staff.not-found');
    expectProblem(await request('DELETE', `${STAFF}/${id}`), 404, 'staff.not-found');
    expectProblem(await request('POST', `${STAFF}/${id}/reset-password`), 404, 'staff.not-found');
    expectProblem(await request('DELETE', `${STAFF}/${id}/second-factor`), 404, 'staff.not-found');
  });

  it('are managed by admins only', async () => {
    const { id } = await create();
    const partner = await app.asPartner();
    for (const [method, path, json] of [
      ['GET', STAFF, undefined],
      ['POST', STAFF, { email: email(), name: 'x', role: 'viewer' }],
      ['GET', `${STAFF}/${id}`, undefined],
      ['PATCH', `${STAFF}/${id}`, { role: 'admin' }],
      ['POST', `${STAFF}/${id}/reset-password`, undefined],
      ['DELETE', `${STAFF}/${id}/second-factor`, undefined],
      ['DELETE', `${STAFF}/${id}`, undefined],
    ] as const) {
      for (const role of ['viewer', 'operator'] as const) {
        const { token } = await app.asStaff(role);
        expectProblem(await app.request(method, path, { token, json }), 403, 'auth.insufficient-role');
      }
      expectProblem(await app.request(method, path, { token: partner.token, json }), 403, 'auth.wrong-plane');
      expectProblem(await app.request(method, path, { json }), 401, 'auth.no-token');
    }
    expect((await request('GET', `${STAFF}/${id}`)).json<Staff>().role).toBe('viewer');
  });
});

describe('staff whose rights change', () => {
  it.each([
    ['demoted', 'operator', 'viewer'],
    ['promoted', 'operator', 'admin'],
  ] as const)('lose their sessions when %s, at the next request', async (_, from, to) => {
    const member = await app.newStaff(from);
    const second = await app.signIn(member.email, member.password);
    expect([await whoami(member.token), await whoami(second)]).toEqual([200, 200]);
    expect((await request('PATCH', `${STAFF}/${member.id}`, { role: to })).status).toBe(200);
    expect([await whoami(member.token), await whoami(second)]).toEqual([401, 401]);
    const again = await app.signIn(member.email, member.password);
    expect((await app.request('GET', SESSION, { token: again })).json()['role']).toBe(to);
    await request('DELETE', `${STAFF}/${member.id}`);
  });

  it('lose their sessions when removed', async () => {
    const member = await app.newStaff('operator');
    await request('DELETE', `${STAFF}/${member.id}`);
    const answer = await app.request('GET', SESSION, { token: member.token });
    expectProblem(answer, 401, 'auth.invalid-token');
    expect(answer.headers.get('www-authenticate')).toMatch(/^Bearer realm="latchkey", error="invalid_token"/);
  });

  it('lose their sessions and their password when it is reset', async () => {
    const member = await app.newStaff('operator');
    const answer = await request('POST', `${STAFF}/${member.id}/reset-password`);
    expect(answer.status).toBe(200);
    const { password } = answer.json<{ password: string }>();
    secret(password);
    expect(await whoami(member.token)).toBe(401);
    expectProblem(
      await signInAs({ email: member.email, password: member.password }),
      401,
      'session.invalid-credentials',
    );
    await app.signIn(member.email, password);
  });

  it('keep their sessions when only the name or nothing changes', async () => {
    const member = await app.newStaff('operator');
    await request('PATCH', `${STAFF}/${member.id}`, { name: 'Other Name', role: 'operator' });
    const answer = await app.request('GET', SESSION, { token: member.token });
    expect({ status: answer.status, name: answer.json()['name'] }).toEqual({ status: 200, name: 'Other Name' });
  });

  it('cannot complete a running request with rights that they lost', async () => {
    const member = await app.newStaff('operator');
    await request('PATCH', `${STAFF}/${member.id}`, { role: 'viewer' });
    const json = { username: `by-${String(++counter)}-demoted`, displayName: 'x' };
    expect((await app.request('POST', '/admin/channel-users', { token: member.token, json })).status).toBe(401);
    const token = await app.signIn(member.email, member.password);
    expect((await app.request('POST', '/admin/channel-users', { token, json })).status).toBe(403);
  });
});

describe('a sign-in of staff', () => {
  it('returns a token and exactly the fields of the contract', async () => {
    const member = await app.newStaff('operator');
    const answer = await signInAs({ email: member.email.toUpperCase(), password: member.password });
    expect(answer.status).toBe(200);
    const body = answer.json<{ accessToken: string }>();
    expect(body).toEqual({
      accessToken: secret(body.accessToken),
      tokenType: 'Bearer',
      expiresIn: expect.any(Number) as number,
      staff: { id: member.id, email: member.email, name: 'Staff operator', role: 'operator' },
    });
    expect(answer.headers.get('set-cookie')).toBeNull();
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const session = await app.request('GET', SESSION, { token: body.accessToken });
    expect({ status: session.status, body: session.json() }).toEqual({
      status: 200,
      body: {
        id: member.id,
        email: member.email,
        name: 'Staff operator',
        role: 'operator',
        createdAt: expect.stringMatching(ISO) as string,
        lastSignInAt: expect.stringMatching(ISO) as string,
        secondFactor: false,
        identity: null,
        breakGlass: false,
        enrolmentRequired: false,
        session: { expiresAt: expect.stringMatching(ISO) as string, idleSeconds: null },
      },
    });
  });

  it('is refused alike for an unknown e-mail, a wrong password and another case of the password', async () => {
    const member = await app.newStaff('viewer');
    const answers = [
      await signInAs({ email: member.email, password: 'wrong' }),
      await signInAs({ email: member.email, password: `${member.password} ` }),
      await signInAs({ email: 'nobody@staff.example', password: member.password }),
      await signInAs({ email: 'no address', password: 'x' }),
    ];
    const forms = answers.map((answer) => {
      expectProblem(answer, 401, 'session.invalid-credentials');
      const headers = [...answer.headers].filter(([key]) => key !== 'date' && key !== 'x-request-id');
      return JSON.stringify([headers, { ...answer.json(), requestId: '' }]);
    });
    expect(new Set(forms).size).toBe(1);
  });

  it.each([
    ['email', null],
    ['email', 5],
    ['email', ''],
    ['email', 'a\u0000'],
    ['email', { $ne: '' }],
    ['password', null],
    ['password', ''],
    ['password', ['x']],
    ['password', 'a\u0000'],
    ['code', null],
    ['code', ''],
    ['code', 123_456],
    ['code', ' '],
    ['code', 'x'.repeat(33)],
    ['code', '12345\u0000'],
    ['cookie', 'true'],
    ['cookie', null],
    ['cookie', 1],
    ['role', 'admin'],
    ['constructor', 'x'],
  ])('is refused with %s %p', async (field, value) => {
    const json = { email: admin.email, password: admin.password, [field]: value };
    expectProblem(await signInAs(json), 400, 'request.invalid', [field]);
  });

  it('lasts for the announced time', async () => {
    const member = await app.newStaff('viewer');
    const answer = await signInAs({ email: member.email, password: member.password });
    const { accessToken, expiresIn } = answer.json<{ accessToken: string; expiresIn: number }>();
    secret(accessToken);
    app.clockOffset = (expiresIn - 5) * 1000;
    expect(await whoami(accessToken)).toBe(200);
    app.clockOffset = (expiresIn + 1) * 1000;
    expect(await whoami(accessToken)).toBe(401);
  });

  it('ends by signing out, and other sessions go on', async () => {
    const member = await app.newStaff('viewer');
    const other = await app.signIn(member.email, member.password);
    const answer = await app.request('DELETE', SESSION, { token: member.token });
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect([await whoami(member.token), await whoami(other)]).toEqual([401, 200]);
    expectProblem(await app.request('DELETE', SESSION, { token: member.token }), 401, 'auth.invalid-token');
  });

  it('is required for everything else', async () => {
    for (const [method, path] of [
      ['GET', SESSION],
      ['DELETE', SESSION],
      ['PATCH', `${SESSION}/password`],
    ] as const) {
      const answer = await app.request(method, path);
      expectProblem(answer, 401, 'auth.no-token');
      expect(answer.headers.get('www-authenticate')).toBe('Bearer realm="latchkey"');
    }
  });

  it('opens nothing in the partner API', async () => {
    expectProblem(await app.request('GET', '/me', { token: admin.token }), 403, 'auth.wrong-plane');
  });
});

/** Parses the only cookie that an answer sets. */
const attributesOf = (answer: Answer): { name: string; value: string; attributes: string[] } => {
  const [header, ...more] = answer.headers.getSetCookie();
  if (header === undefined || more.length > 0) throw new Error('Expected exactly one cookie');
  const [pair = '', ...attributes] = header.split(';').map((part) => part.trim());
  const [cookie = '', value = ''] = pair.split('=');
  if (value !== '') secret(value);
  return { name: cookie, value, attributes: attributes.map((attribute) => attribute.toLowerCase()).sort() };
};

describe('failed sign-ins of staff', () => {
  interface Failure {
    staff: { id: string; name: string; email: string };
    reason: string;
    count: number;
    lastAt: string;
    lastAddress: string | null;
  }
  const failuresOf = async ({ id }: { id: string }): Promise<Failure[]> =>
    (await request('GET', `${STAFF}/sign-in-failures`))
      .json<{ items: Failure[] }>()
      .items.filter(({ staff }) => staff.id === id);
  const count = async (): Promise<number> =>
    (await app.dataSource.query<{ n: number }[]>('SELECT count(*)::int AS n FROM staff_sign_in_failure'))[0]?.n ?? -1;

  it('are shown to admins with person, count, reason and address, one item an hour', async () => {
    const member = await app.newStaff('viewer');
    for (let i = 0; i < 3; i++) expect((await signInAs({ email: member.email, password: 'wrong' })).status).toBe(401);
    const [failure, ...others] = await eventually(async () => {
      const found = await failuresOf(member);
      return found[0]?.count === 3 ? found : undefined;
    }, 'three failures');
    expect(others).toEqual([]);
    expect(failure).toMatchObject({
      staff: { id: member.id, name: 'Staff viewer', email: member.email },
      reason: 'wrong_password',
      lastAddress: '127.0.0.1',
    });
    for (const role of ['viewer', 'operator'] as const) {
      const { token } = await app.asStaff(role);
      const answer = await app.request('GET', `${STAFF}/sign-in-failures`, { token });
      expectProblem(answer, 403, 'auth.insufficient-role');
    }
    await request('DELETE', `${STAFF}/${member.id}`);
    expect(await failuresOf(member)).toEqual([]);
  });

  it('leave nothing for an unknown e-mail, and successful ones leave nothing either', async () => {
    const member = await app.newStaff('viewer');
    const before = await count();
    expect((await signInAs({ email: 'a-mistyped-password', password: 'x' })).status).toBe(401);
    await app.signIn(member.email, member.password);
    // Failures are recorded in order, so an earlier one would be there when this one is.
    const late = await app.newStaff('viewer');
    await signInAs({ email: late.email, password: 'wrong' });
    await until(async () => (await failuresOf(late)).length === 1, 'the last failure');
    expect(await count()).toBe(before + 1);
  });
});

describe('a session in a cookie', () => {
  const openSession = async (member: StaffMember, on = app, origin = on.config.publicUrl): Promise<string> => {
    const json = { email: member.email, password: member.password, cookie: true };
    const answer = await signInAs(json, { headers: { origin } }, on);
    expect(answer.status).toBe(200);
    const { name, value } = attributesOf(answer);
    return `${name}=${value}`;
  };
  const PARTNERS = '/admin/channel-users';
  const newUser = (): Record<string, unknown> => ({ username: `cookie-${String(++counter)}`, displayName: 'x' });
  const provision = async (headers: Record<string, string>, on = app): Promise<Answer> => {
    const answer = await on.request('POST', PARTNERS, { headers, json: newUser() });
    if (answer.status === 201) secret(answer.json<{ credential: { password: string } }>().credential.password);
    return answer;
  };

  it('is HttpOnly, SameSite=Strict and for /admin only, and is not in the body', async () => {
    const member = await app.newStaff('operator');
    const json = { email: member.email, password: member.password, cookie: true };
    const answer = await signInAs(json, { headers: { origin: app.config.publicUrl } });
    const { name, value, attributes } = attributesOf(answer);
    const { expiresIn, ...body } = answer.json<{ expiresIn: number }>();
    expect(body).toEqual({
      tokenType: 'Bearer',
      idleSeconds: 1800,
      staff: { id: member.id, email: member.email, name: 'Staff operator', role: 'operator' },
    });
    expect(answer.text).not.toContain(value);
    expect(name).toContain(String(app.config.port));
    expect(attributes).toEqual(['httponly', `max-age=${String(expiresIn)}`, 'path=/admin', 'samesite=strict']);
    const session = await app.request('GET', SESSION, { headers: { cookie: `${name}=${value}` } });
    expect({ status: session.status, id: session.json()['id'] }).toEqual({ status: 200, id: member.id });
  });

  const FOREIGN: [string, string | undefined][] = [
    ['none', undefined],
    ['null', 'null'],
    ['empty', ''],
    ['another site', 'http://evil.test'],
    ['another scheme', 'https://latchkey.test'],
    ['another port', 'http://latchkey.test:8080'],
    ['a longer name', 'http://latchkey.test.evil.test'],
    ['a shorter name', 'http://latchkey.tes'],
    ['a subdomain', 'http://a.latchkey.test'],
    ['a path behind it', 'http://latchkey.test/'],
    ['a list', 'http://latchkey.test, http://evil.test'],
    ['only the host', 'latchkey.test'],
  ];

  it.each(FOREIGN)('changes nothing with a foreign Origin: %s', async (_, origin) => {
    const member = await app.newStaff('operator');
    const cookie = await openSession(member);
    const headers: Record<string, string> = { cookie, ...(origin !== undefined && { origin }) };
    const json = newUser();
    expectProblem(await app.request('POST', PARTNERS, { headers, json }), 403, 'session.cross-site');
    const found = await app.request('GET', `${PARTNERS}?q=${String(json['username'])}`, { headers });
    expect({ status: found.status, total: found.json()['total'] }).toEqual({ status: 200, total: 0 });
    expectProblem(
      await app.request('PATCH', `${SESSION}/password`, {
        headers,
        json: { currentPassword: member.password, newPassword: secret(`new-${String(++counter)}-password`) },
      }),
      403,
      'session.cross-site',
    );
    expectProblem(await app.request('DELETE', SESSION, { headers }), 403, 'session.cross-site');
    expect((await app.request('GET', SESSION, { headers })).status).toBe(200);
  });

  it.each(FOREIGN)('is not opened with a foreign Origin: %s', async (_, origin) => {
    const headers: Record<string, string> = origin === undefined ? {} : { origin };
    for (const password of [admin.password, 'wrong']) {
      const answer = await signInAs({ email: admin.email, password, cookie: true }, { headers });
      expectProblem(answer, 403, 'session.cross-site');
      expect(answer.headers.getSetCookie()).toEqual([]);
    }
    // A sign-in that asks for a token instead of a cookie needs no Origin.
    const bearer = await signInAs({ email: admin.email, password: admin.password, cookie: false }, { headers });
    expect(bearer.status).toBe(200);
    secret(bearer.json<{ accessToken: string }>().accessToken);
  });

  it('may make changes with the Origin of the public URL or of the request itself', async () => {
    const cookie = await openSession(await app.asStaff('operator'));
    for (const origin of [app.config.publicUrl, app.url]) {
      expect((await provision({ cookie, origin })).status).toBe(201);
    }
    await openSession(await app.asStaff('operator'), app, app.url);
    expectProblem(await provision({ cookie, origin: 'https://' + new URL(app.url).host }), 403, 'session.cross-site');
    expectProblem(
      await provision({ cookie, origin: 'http://evil.test', 'x-forwarded-host': 'evil.test' }),
      403,
      'session.cross-site',
    );
    expectProblem(
      await provision({ cookie, origin: `https://${new URL(app.url).host}`, 'x-forwarded-proto': 'https' }),
      403,
      'session.cross-site',
    );
  });

  it('names both origins when it refuses', async () => {
    const cookie = await openSession(await app.asStaff('operator'));
    const refused = await provision({ cookie, origin: 'http://evil.test' });
    expect(refused.json()['detail']).toContain(
      `must come from ${app.config.publicUrl} or ${app.url}; this request came from “http://evil.test”`,
    );
    expect((await provision({ cookie })).json()['detail']).toContain('had no Origin header');
  });

  it('counts beside an Authorization header of another scheme, such as the Basic of a proxy', async () => {
    const operator = await app.asStaff('operator');
    const cookie = await openSession(operator);
    for (const authorization of ['Basic eDp5', 'basic eDp5', 'Digest x', 'Negotiate abc', 'Bearerx y', '']) {
      const answer = await app.request('GET', SESSION, { headers: { cookie, authorization } });
      expect({ authorization, status: answer.status }).toEqual({ authorization, status: 200 });
      const made = await provision({ cookie, origin: app.config.publicUrl, authorization });
      expect({ authorization, status: made.status }).toEqual({ authorization, status: 201 });
      expectProblem(await provision({ cookie, origin: 'http://evil.test', authorization }), 403, 'session.cross-site');
      const without = await app.request('GET', SESSION, { headers: { authorization } });
      expect({ authorization, status: without.status }).toEqual({ authorization, status: 401 });
    }
  });

  it('is ignored beside a Bearer token', async () => {
    const viewer = await app.asStaff('viewer');
    const cookie = await openSession(await app.asStaff('operator'));
    const origin = app.config.publicUrl;
    for (const authorization of ['Bearer', 'Bearer ', 'Bearer garbage', 'bearer garbage']) {
      const answer = await app.request('GET', SESSION, { headers: { cookie, origin, authorization } });
      expect({ authorization, status: answer.status }).toEqual({ authorization, status: 401 });
    }
    const own = await app.request('GET', SESSION, { token: viewer.token, headers: { cookie } });
    expect(own.json()['id']).toBe(viewer.id);
    const denied = await app.request('POST', PARTNERS, {
      token: viewer.token,
      headers: { cookie, origin },
      json: newUser(),
    });
    expectProblem(denied, 403, 'auth.insufficient-role');
    const { token } = await app.asStaff('operator');
    const answer = await app.request('POST', PARTNERS, {
      token,
      headers: { cookie, origin: 'http://evil.test' },
      json: newUser(),
    });
    expect(answer.status).toBe(201);
    secret(answer.json<{ credential: { password: string } }>().credential.password);
  });

  it('is ignored outside of /admin, under another name and with a token of a partner', async () => {
    const cookie = await openSession(await app.asStaff('operator'));
    expectProblem(await app.request('GET', '/me', { headers: { cookie } }), 401, 'auth.no-token');
    const [name = '', value = ''] = cookie.split('=');
    const renamed = await app.request('GET', SESSION, { headers: { cookie: `x${name}=${value}` } });
    expectProblem(renamed, 401, 'auth.no-token');
    const partner = await app.asPartner();
    const answer = await app.request('GET', SESSION, { headers: { cookie: `${name}=${partner.token}` } });
    expectProblem(answer, 403, 'auth.wrong-plane');
    const garbage = await app.request('GET', SESSION, { headers: { cookie: `${name}=%E0%A4%A` } });
    expect(garbage.status).toBe(401);
    const among = await app.request('GET', SESSION, { headers: { cookie: `a=b; ${cookie}; c="d` } });
    expect(among.status).toBe(200);
  });

  const MINUTE = 60_000;
  const statusOf = async (cookie: string, on = app): Promise<number> =>
    (await on.request('GET', SESSION, { headers: { cookie } })).status;
  const isSeenAfter = (id: string, time: number): Promise<number> =>
    eventually(async () => {
      const at = await lastSeenAt(id);
      return at > time ? at : undefined;
    }, 'the use of the session is written down');
  const lastSeenAt = async (id: string): Promise<number> => {
    const [row] = await app.dataSource.query<{ at: Date }[]>(
      'SELECT last_seen_at AS at FROM staff_session WHERE staff_id = $1 AND by_cookie',
      [id],
    );
    return row?.at.getTime() ?? NaN;
  };

  it('ends after half an hour without use, while tokens live on', async () => {
    const member = await app.newStaff('viewer');
    const cookie = await openSession(member);
    const session = (await app.request('GET', SESSION, { headers: { cookie } })).json<{ session: object }>().session;
    expect(session).toEqual({ expiresAt: expect.stringMatching(ISO) as string, idleSeconds: 1800 });
    app.clockOffset = 29 * MINUTE;
    expect(await statusOf(cookie)).toBe(200);
    const seen = await isSeenAfter(member.id, Date.now() + 28 * MINUTE);
    // The idle time counts from the last use.
    app.clockOffset = seen + 30 * MINUTE - Date.now() - 5_000;
    expect(await statusOf(cookie)).toBe(200);
    const last = await isSeenAfter(member.id, seen);
    app.clockOffset = last + 30 * MINUTE - Date.now() + 1_000;
    const answer = await app.request('GET', SESSION, { headers: { cookie } });
    expectProblem(answer, 401, 'auth.invalid-token');
    // The cookie's token does not work as a Bearer token either, and a request does not revive the session.
    expect(await whoami(cookie.split('=')[1] ?? '')).toBe(401);
    expect(await statusOf(cookie)).toBe(401);
    expect(await whoami(member.token)).toBe(200);
  });

  it('ends after eight hours of any use', async () => {
    const member = await app.newStaff('viewer');
    const cookie = await openSession(member);
    for (let minutes = 25; minutes < 8 * 60; minutes += 25) {
      app.clockOffset = minutes * MINUTE;
      expect({ minutes, status: await statusOf(cookie) }).toEqual({ minutes, status: 200 });
      await isSeenAfter(member.id, Date.now() + (minutes - 1) * MINUTE);
    }
    app.clockOffset = 8 * 60 * MINUTE + 1_000;
    expect(await statusOf(cookie)).toBe(401);
  });

  it('is recorded as used once a minute at most and works while that fails', async () => {
    const member = await app.newStaff('viewer');
    const cookie = await openSession(member);
    const opened = await lastSeenAt(member.id);
    app.clockOffset = 50_000;
    expect(await statusOf(cookie)).toBe(200);
    app.clockOffset = 2 * MINUTE;
    await app.dataSource.query(`ALTER TABLE staff_session ADD CONSTRAINT ck_blocked CHECK (last_seen_at < '2000-01-01')
      NOT VALID`);
    try {
      expect(await statusOf(cookie)).toBe(200);
      expect(await lastSeenAt(member.id)).toBe(opened);
    } finally {
      await app.dataSource.query('ALTER TABLE staff_session DROP CONSTRAINT ck_blocked');
    }
    expect(await statusOf(cookie)).toBe(200);
    await isSeenAfter(member.id, opened + MINUTE);
  });

  it('ends and is removed by signing out', async () => {
    const cookie = await openSession(await app.newStaff('operator'));
    const answer = await app.request('DELETE', SESSION, { headers: { cookie, origin: app.config.publicUrl } });
    expect(answer.status).toBe(204);
    const { name, value, attributes } = attributesOf(answer);
    expect({ name, value }).toEqual({ name: cookie.split('=')[0], value: '' });
    expect(attributes).toEqual(expect.arrayContaining(['max-age=0', 'path=/admin']));
    expect((await app.request('GET', SESSION, { headers: { cookie } })).status).toBe(401);
    // A cookie of an ended session authenticates nobody, so the answer is 401 before the Origin is checked.
    expectProblem(await app.request('DELETE', SESSION, { headers: { cookie } }), 401, 'auth.invalid-token');
  });
});

describe('changing one\u2019s own password', () => {
  const change = (token: string, currentPassword: unknown, newPassword: unknown): Promise<Answer> =>
    app.request('PATCH', `${SESSION}/password`, { token, json: { currentPassword, newPassword } });

  it.each(['viewer', 'operator', 'admin'] as const)('ends the other sessions but not this one, as %s', async (role) => {
    const member = await app.newStaff(role);
    const other = await app.signIn(member.email, member.password);
    const bystander = await app.newStaff('viewer');
    const password = secret(`correct horse battery ${String(++counter)} st\u00e4ple`);
    const answer = await change(member.token, member.password, password);
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect([await whoami(member.token), await whoami(other), await whoami(bystander.token)]).toEqual([200, 401, 200]);
    expectProblem(
      await signInAs({ email: member.email, password: member.password }),
      401,
      'session.invalid-credentials',
    );
    await app.signIn(member.email, password);
    if (role === 'admin') await request('DELETE', `${STAFF}/${member.id}`);
  });

  it('is refused with a wrong current one and ends nothing', async () => {
    const member = await app.newStaff('viewer');
    const other = await app.signIn(member.email, member.password);
    const answer = await change(member.token, 'not it at all', 'a new password of mine');
    expect(answer.status).toBe(400);
    expectProblem(answer, 400, answer.json<Problem>().code, ['currentPassword']);
    expect([await whoami(member.token), await whoami(other)]).toEqual([200, 200]);
    await app.signIn(member.email, member.password);
  });

  it.each([
    ['too short', 'elevenchars'],
    ['null', null],
    ['a number', 123_456_789_012],
    ['blank', ' '.repeat(12)],
    ['too long', 'x'.repeat(257)],
    ['with a NUL', 'a new password\u0000'],
    ['with a lone surrogate', 'a new password\ud800'],
  ])('is refused with a new one that is %s', async (_, password) => {
    const member = await app.newStaff('viewer');
    const answer = await change(member.token, member.password, password);
    expectProblem(answer, 400, 'request.invalid', ['newPassword']);
    expect(answer.text).not.toContain(member.password);
    await app.signIn(member.email, member.password);
  });

  it('is throttled, however many guesses arrive at once', async () => {
    const member = await app.newStaff('viewer');
    const verified = async (): Promise<number> => (await scrape(app.opsUrl)).value('latchkey_slow_hashes_total');
    const before = await verified();
    const answers = await inParallel(60, 60, (i) =>
      change(member.token, `guess ${String(i)}`, 'a new password of mine'),
    );
    const { 400: wrong = 0, ...others } = tally(answers);
    expect(Object.keys(others)).toEqual(['429']);
    // Ten failures are free, and a few more attempts may be in progress when they are used up.
    expect(wrong).toBeGreaterThan(0);
    expect(wrong).toBeLessThanOrEqual(16);
    // Each of these was verified in the queue of sign-ins. The other attempts were not verified at all.
    expect(await verified()).toBeGreaterThanOrEqual(before + wrong);
    expect(await verified()).toBeLessThanOrEqual(before + 16);
  });

  it('happens once when it is requested twice at once', async () => {
    const member = await app.newStaff('viewer');
    const passwords = ['first of two passwords', 'second of two passwords'].map((text) =>
      secret(`${text} ${member.id}`),
    );
    const answers = await Promise.all(passwords.map((password) => change(member.token, member.password, password)));
    expect(answers.map(({ status }) => status).sort()).toEqual([204, 400]);
    const winner = passwords[answers.findIndex(({ status }) => status === 204)] ?? '';
    await app.signIn(member.email, winner);
  });
});

// From here on, the tests start further applications in this process.

describe('the last admin', () => {
  let own: TestApp;
  beforeEach(async () => {
    own = await TestApp.start();
  });
  afterEach(() => own.close());
  const admins = async (): Promise<number> => {
    const [row] = await own.dataSource.query<{ count: number }[]>(
      `SELECT count(*)::int AS count FROM staff WHERE role = 'admin'`,
    );
    return row?.count ?? -1;
  };

  it('can be neither removed nor demoted, even by themselves', async () => {
    const { id, token } = await own.asStaff('admin');
    await own.asStaff('operator');
    expectProblem(await own.request('DELETE', `${STAFF}/${id}`, { token }), 409, 'staff.last-admin');
    for (const role of ['viewer', 'operator']) {
      const answer = await own.request('PATCH', `${STAFF}/${id}`, { token, json: { role, name: 'Changed' } });
      expectProblem(answer, 409, 'staff.last-admin');
    }
    const still = await own.request('GET', SESSION, { token });
    expect({ status: still.status, name: still.json()['name'] }).toEqual({ status: 200, name: 'Staff admin' });
    const renamed = await own.request('PATCH', `${STAFF}/${id}`, { token, json: { name: 'Ada', role: 'admin' } });
    expect({ status: renamed.status, name: renamed.json()['name'] }).toEqual({ status: 200, name: 'Ada' });
  });

  it('may be removed once there is another one', async () => {
    const first = await own.asStaff('admin');
    await own.newStaff('admin');
    expect((await own.request('DELETE', `${STAFF}/${first.id}`, { token: first.token })).status).toBe(204);
    expect(await admins()).toBe(1);
  });

  const CASES: [string, (target: string, token: string) => Promise<Answer>][] = [
    ['remove', (target, token) => own.request('DELETE', `${STAFF}/${target}`, { token })],
    ['demote', (target, token) => own.request('PATCH', `${STAFF}/${target}`, { token, json: { role: 'viewer' } })],
  ];

  it.each(CASES)('remains when two admins %s each other at the same moment', async (_, act) => {
    let one = await own.newStaff('admin');
    for (let round = 0; round < 6; round++) {
      const two = await own.newStaff('admin');
      const answers = await Promise.all([act(two.id, one.token), act(one.id, two.token)]);
      const statuses = answers.map(({ status }) => status).sort();
      expect(await admins()).toBe(1);
      // The slower admin is then the last one (409), or its session has ended (401). Nothing else may happen.
      expect([
        [200, 409],
        [204, 409],
        [200, 401],
        [204, 401],
      ]).toContainEqual(statuses);
      const [left] = (await own.dataSource.query<{ id: string }[]>(`SELECT id FROM staff WHERE role = 'admin'`)).map(
        ({ id }) => id,
      );
      one = left === one.id ? one : two;
    }
  });

  it.each(CASES)('remains when two admins %s themselves at the same moment', async (_, act) => {
    for (let round = 0; round < 4; round++) {
      const pair = [await own.newStaff('admin'), await own.newStaff('admin')];
      if (round > 0)
        await own.dataSource.query(`DELETE FROM staff WHERE role = 'admin' AND id <> ALL($1)`, [
          pair.map(({ id }) => id),
        ]);
      const answers = await Promise.all(pair.map(({ id, token }) => act(id, token)));
      expect(answers.map(({ status }) => status).sort()).toEqual([expect.any(Number) as number, 409]);
      expect(await admins()).toBe(1);
    }
  });
});

describe('the cookie of another deployment', () => {
  it('is Secure where the public URL is https, and has another name at another port', async () => {
    const secure = await TestApp.start({ publicUrl: 'https://latchkey.test', port: 4711 });
    try {
      const member = await secure.asStaff('admin');
      const json = { email: member.email, password: member.password, cookie: true };
      const answer = await signInAs(json, { headers: { origin: 'https://latchkey.test' } }, secure);
      const { name, attributes } = attributesOf(answer);
      expect(attributes).toContain('secure');
      expect(name).toContain('4711');
      expect(name).not.toContain('3000');
      expectProblem(
        await signInAs(json, { headers: { origin: 'http://latchkey.test' } }, secure),
        403,
        'session.cross-site',
      );
    } finally {
      await secure.close();
    }
  });
});
