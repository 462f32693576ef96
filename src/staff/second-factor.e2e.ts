import { randomBytes } from 'node:crypto';
import { Secret, TOTP, URI } from 'otpauth';
import { type Answer, type StaffMember, TestApp } from '../../test/support/app.ts';
import { reencrypt } from '../../test/support/command.ts';
import { keepOutput, secret } from '../../test/support/secrets.ts';
import { ServerProcess } from '../../test/support/server.ts';
import { eventually, inParallel, LOOPBACK_PROXIES, newAddress, tally } from '../../test/support/sign-ins.ts';

interface Problem {
  code: string;
  errors?: { field: string; messages: string[] }[];
}
interface Event {
  action: string;
  actor: { id: string | null; type: string };
  target: { type: string; id: string; name: string };
  changes: Record<string, [unknown, unknown]>;
}

const SESSION = '/admin/session';
const TOTP_PATH = `${SESSION}/totp`;
const SETTINGS = '/admin/settings';
const STAFF = '/admin/staff';
const STEP_MS = 30_000;

/** Trusts `X-Forwarded-For`, so that a test can choose its addresses. */
let app: TestApp;
let admin: StaffMember;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  admin = await app.asStaff('admin');
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

/** A staff member with a second factor. */
interface Enrolled extends StaffMember {
  readonly totpSecret: string;
  readonly recoveryCodes: readonly string[];
}

function expectProblem(answer: Answer, status: number, code: string, fields?: string[]): void {
  const problem = answer.json<Problem>();
  expect({ status: answer.status, code: problem.code }).toEqual({ status, code });
  expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
  if (fields) expect((problem.errors ?? []).map((error) => error.field)).toEqual(fields);
}

/** The code that the authenticator shows a number of time steps from now. */
const codeOf = (totpSecret: string, steps = 0): string =>
  new TOTP({ secret: Secret.fromBase32(totpSecret) }).generate({
    timestamp: Date.now() + app.clockOffset + steps * STEP_MS,
  });
/** Six digits that are wrong for all time steps near now. */
function wrongCode(totpSecret: string): string {
  const right = [-2, -1, 0, 1, 2].map((steps) => codeOf(totpSecret, steps));
  for (let code = 100_000; ; code++) if (!right.includes(String(code))) return String(code);
}
/** Moves the clock to the next time step, since each code is used once. */
const nextStep = (): void => {
  app.clockOffset += STEP_MS;
};

const post = ({ token }: { token: string }, path: string, json: unknown, on = app): Promise<Answer> =>
  on.request('POST', path, { token, json });

async function enrol(member: StaffMember, on = app): Promise<Enrolled> {
  const begun = await post(member, TOTP_PATH, { currentPassword: member.password }, on);
  expect(begun.status).toBe(200);
  const totpSecret = secret(begun.json<{ secret: string }>().secret);
  const confirmed = await post(member, `${TOTP_PATH}/confirm`, { code: codeOf(totpSecret) }, on);
  expect(confirmed.status).toBe(200);
  const { recoveryCodes } = confirmed.json<{ recoveryCodes: string[] }>();
  recoveryCodes.forEach(secret);
  nextStep();
  return { ...member, totpSecret, recoveryCodes };
}
const newEnrolled = async (role: 'viewer' | 'operator' | 'admin' = 'viewer'): Promise<Enrolled> =>
  enrol(await app.newStaff(role));

const attempt = (
  { email, password }: Pick<StaffMember, 'email' | 'password'>,
  code: string | undefined,
  address = newAddress(),
  on = app,
): Promise<Answer> =>
  on.request('POST', SESSION, {
    json: { email, password, ...(code !== undefined && { code }) },
    headers: { 'x-forwarded-for': address },
  });
/** Signs in. Tries again where a slow machine did not check the password in time. */
async function signIn(member: Pick<StaffMember, 'email' | 'password'>, code?: string, on = app): Promise<Answer> {
  return eventually(async () => {
    const answer = await attempt(member, code, newAddress(), on);
    if (answer.status === 200) secret(answer.json<{ accessToken: string }>().accessToken);
    return answer.status === 401 && answer.json<Problem>().code === 'session.invalid-credentials' ? undefined : answer;
  }, 'the password is looked at');
}
const tokenOf = (answer: Answer): string => {
  expect({ status: answer.status, text: answer.status === 200 ? '' : answer.text }).toEqual({ status: 200, text: '' });
  return answer.json<{ accessToken: string }>().accessToken;
};
const whoami = (token: string, on = app): Promise<Answer> => on.request('GET', SESSION, { token });
const eventsOf = async (target: string): Promise<Event[]> =>
  (await app.request('GET', `/admin/audit-events?target=${target}`, { token: admin.token })).json<{ items: Event[] }>()
    .items;

describe('setting up a second factor', () => {
  it('returns a secret that takes effect once a code confirms it', async () => {
    const member = await app.newStaff('operator');
    const other = await app.signIn(member.email, member.password);
    const begun = await post(member, TOTP_PATH, { currentPassword: member.password });
    expect(begun.status).toBe(200);
    const { secret: totpSecret, uri, ...more } = begun.json<{ secret: string; uri: string }>();
    secret(totpSecret);
    expect(more).toEqual({});
    const parsed = URI.parse(uri);
    expect(parsed).toMatchObject({ issuer: 'Latchkey', label: member.email, algorithm: 'SHA1', digits: 6, period: 30 });
    expect(parsed.secret.base32).toBe(totpSecret);

    tokenOf(await signIn(member));
    expect((await whoami(member.token)).json()).toMatchObject({ secondFactor: false, enrolmentRequired: false });

    const confirmed = await post(member, `${TOTP_PATH}/confirm`, { code: codeOf(totpSecret) });
    expect(confirmed.status).toBe(200);
    const { recoveryCodes } = confirmed.json<{ recoveryCodes: string[] }>();
    recoveryCodes.forEach(secret);
    expect(new Set(recoveryCodes).size).toBe(10);
    for (const code of recoveryCodes) expect(code.replaceAll('-', '')).toMatch(/^[A-Z2-7]{16}$/);

    // All sessions that were opened without the second factor have ended, except for this one.
    expect((await whoami(other)).status).toBe(401);
    expect((await whoami(member.token)).json()).toMatchObject({ secondFactor: true });
    const listed = await app.request('GET', `${STAFF}/${member.id}`, { token: admin.token });
    expect(listed.json()['secondFactor']).toBe(true);
    const [event] = await eventsOf(member.id);
    expect(event).toMatchObject({
      action: 'staff.second-factor-enabled',
      actor: { type: 'staff', id: member.id },
      target: { type: 'staff', id: member.id },
      changes: { secondFactor: [false, true] },
    });

    // The database holds neither the secret nor the codes in plain text.
    const [row] = await app.dataSource.query<{ text: string }[]>(
      `SELECT (SELECT string_agg(t::text, ' ') FROM staff t) || (SELECT string_agg(r::text, ' ') FROM recovery_code r)
        || (SELECT string_agg(e::text, ' ') FROM audit_event e) AS text`,
    );
    for (const value of [totpSecret, Buffer.from(totpSecret).toString('hex'), parsed.secret.hex, ...recoveryCodes]) {
      expect(row?.text.includes(value)).toBe(false);
    }
  });

  it('requires the password, which is throttled', async () => {
    const member = await app.newStaff('viewer');
    for (const [method, path] of [
      ['POST', TOTP_PATH],
      ['DELETE', TOTP_PATH],
      ['POST', `${SESSION}/recovery-codes`],
    ] as const) {
      const call = (json: unknown): Promise<Answer> => app.request(method, path, { token: member.token, json });
      expectProblem(await call({ currentPassword: 'not it' }), 400, 'request.invalid', ['currentPassword']);
      for (const json of [{}, { currentPassword: null }, { currentPassword: 5 }, { currentPassword: '' }]) {
        expectProblem(await call(json), 400, 'request.invalid', ['currentPassword']);
      }
      const unknown = await call({ currentPassword: member.password, code: '1' });
      expectProblem(unknown, 400, 'request.invalid', ['code']);
    }
    const guesses = await inParallel(8, 4, (i) => post(member, TOTP_PATH, { currentPassword: `guess ${String(i)}` }));
    expect(tally(guesses)).toEqual({ 400: 7, 429: 1 });
    const answer = await post(member, TOTP_PATH, { currentPassword: member.password });
    expectProblem(answer, 429, 'session.too-many-attempts');
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('requires the right code, which is throttled', async () => {
    const member = await app.newStaff('viewer');
    const confirm = (code: unknown): Promise<Answer> => post(member, `${TOTP_PATH}/confirm`, { code });
    expectProblem(await confirm('123456'), 409, 'session.no-pending-second-factor');
    const first = secret(
      (await post(member, TOTP_PATH, { currentPassword: member.password })).json<{ secret: string }>().secret,
    );
    const totpSecret = secret(
      (await post(member, TOTP_PATH, { currentPassword: member.password })).json<{ secret: string }>().secret,
    );
    expect(totpSecret).not.toBe(first);
    for (const code of [null, '', 5, 'x'.repeat(33), ['1']]) {
      expectProblem(await confirm(code), 400, 'request.invalid', ['code']);
    }
    expectProblem(await confirm(codeOf(totpSecret, 3)), 400, 'session.wrong-code', ['code']);
    expectProblem(await confirm('ABCD-EFGH-IJKL-MNOP'), 400, 'session.wrong-code', ['code']);
    expectProblem(await confirm(codeOf(first)), 400, 'session.wrong-code', ['code']);
    const wrong = wrongCode(totpSecret);
    expect(tally(await inParallel(8, 4, () => confirm(wrong)))).toEqual({ 400: 7, 429: 1 });
    expectProblem(await confirm(codeOf(totpSecret)), 429, 'session.too-many-attempts');
    expect((await whoami(member.token)).json()).toMatchObject({ secondFactor: false });
  });

  it('succeeds once when it is confirmed twice at once', async () => {
    const member = await app.newStaff('viewer');
    const begun = await post(member, TOTP_PATH, { currentPassword: member.password });
    const code = codeOf(secret(begun.json<{ secret: string }>().secret));
    const answers = await inParallel(4, 4, () => post(member, `${TOTP_PATH}/confirm`, { code }));
    expect(tally(answers)).toEqual({ 200: 1, 409: 3 });
    const shown = answers.find(({ status }) => status === 200)?.json<{ recoveryCodes: string[] }>().recoveryCodes ?? [];
    shown.forEach(secret);
    // The codes of the only successful answer are the ones that work.
    tokenOf(await signIn(member, shown[9]));
  });

  it('replaces the existing one, which works until then', async () => {
    const member = await newEnrolled();
    const begun = await post(member, TOTP_PATH, { currentPassword: member.password });
    const totpSecret = secret(begun.json<{ secret: string }>().secret);
    const token = tokenOf(await signIn(member, codeOf(member.totpSecret)));
    nextStep();
    const confirmed = await post({ token }, `${TOTP_PATH}/confirm`, { code: codeOf(totpSecret) });
    confirmed.json<{ recoveryCodes: string[] }>().recoveryCodes.forEach(secret);
    nextStep();
    expectProblem(await signIn(member, codeOf(member.totpSecret)), 401, 'session.invalid-code');
    expectProblem(await signIn(member, member.recoveryCodes[0]), 401, 'session.invalid-code');
    tokenOf(await signIn(member, codeOf(totpSecret)));
    expect((await eventsOf(member.id)).map(({ action }) => action)).toContain('staff.second-factor-replaced');
  });
});

describe('signing in with a second factor', () => {
  it('requires a code after a right password, and only then', async () => {
    const member = await newEnrolled();
    expectProblem(await signIn(member), 401, 'session.code-required');
    expectProblem(await signIn(member, wrongCode(member.totpSecret)), 401, 'session.invalid-code');
    for (const code of ['12345', '1234567', 'no code', member.recoveryCodes[0]?.slice(1)]) {
      expectProblem(await signIn(member, code), 401, 'session.invalid-code');
    }
    const right = codeOf(member.totpSecret);
    const wrong = { ...member, password: 'wrong' };
    for (const code of [undefined, right, member.recoveryCodes[0]]) {
      expectProblem(await attempt(wrong, code), 401, 'session.invalid-credentials');
      expectProblem(
        await attempt({ ...wrong, email: 'nobody@staff.example' }, code),
        401,
        'session.invalid-credentials',
      );
    }
    // None of these attempts used up the code.
    tokenOf(await signIn(member, ` ${right.slice(0, 3)} ${right.slice(3)} `));
  });

  it('is refused like every 401 of a sign-in', async () => {
    const member = await newEnrolled();
    const answers = [
      await signIn(member),
      await signIn(member, wrongCode(member.totpSecret)),
      await attempt({ ...member, password: 'wrong' }, undefined),
    ];
    const forms = answers.map((answer) => {
      expect(answer.status).toBe(401);
      return JSON.stringify(
        [...answer.headers].filter(([key]) => !['date', 'x-request-id', 'content-length'].includes(key)),
      );
    });
    expect(new Set(forms).size).toBe(1);
  });

  it('accepts the code of the step before and after, but no other', async () => {
    const member = await newEnrolled();
    nextStep();
    for (const steps of [-2, 2]) {
      expectProblem(await signIn(member, codeOf(member.totpSecret, steps)), 401, 'session.invalid-code');
    }
    for (const steps of [-1, 0, 1]) tokenOf(await signIn(member, codeOf(member.totpSecret, steps)));
    // No used code works again, and no code older than the newest used one.
    for (const steps of [-1, 0, 1]) {
      expectProblem(await signIn(member, codeOf(member.totpSecret, steps)), 401, 'session.invalid-code');
    }
  });

  it('refuses the code that confirmed it', async () => {
    const member = await newEnrolled();
    app.clockOffset -= STEP_MS;
    expectProblem(await signIn(member, codeOf(member.totpSecret)), 401, 'session.invalid-code');
  });

  it('accepts each code once, however many requests send it to any instance', async () => {
    const member = await newEnrolled();
    const second = await TestApp.start({ ...app.config });
    second.clockOffset = app.clockOffset;
    try {
      for (const code of [codeOf(member.totpSecret), member.recoveryCodes[3], member.recoveryCodes[4]]) {
        const answers = await inParallel(4, 4, (i) => attempt(member, code, newAddress(), i % 2 ? second : app));
        const opened = answers.filter(({ status }) => status === 200);
        opened.forEach((answer) => secret(tokenOf(answer)));
        // On a slow machine a right password may be refused. The code is still used only once.
        expect(opened.length).toBeLessThanOrEqual(1);
        if (opened.length === 0) tokenOf(await signIn(member, code));
        expectProblem(await signIn(member, code), 401, 'session.invalid-code');
      }
    } finally {
      await second.close();
    }
  });

  it('accepts each recovery code once and records how many are left', async () => {
    const member = await newEnrolled();
    const stranger = await newEnrolled();
    expectProblem(await signIn(member, stranger.recoveryCodes[0]), 401, 'session.invalid-code');
    expectProblem(await signIn(member, 'ABCD-EFGH-IJKL-MNOP'), 401, 'session.invalid-code');
    for (const [i, code] of member.recoveryCodes.entries()) {
      tokenOf(await signIn(member, i % 2 ? code : code.replaceAll('-', '').toLowerCase()));
      if (i % 3 === 0) expectProblem(await signIn(member, code), 401, 'session.invalid-code');
    }
    const signIns = (await eventsOf(member.id)).filter(({ action }) => action === 'staff.signed-in');
    expect(signIns[0]?.changes).toEqual({ recoveryCodesLeft: [1, 0] });
    expect(signIns[9]?.changes).toEqual({ recoveryCodesLeft: [10, 9] });
    tokenOf(await signIn(member, codeOf(member.totpSecret)));
    expect((await eventsOf(member.id))[0]?.changes).toEqual({});
    // The stranger's own code still works.
    tokenOf(await signIn(stranger, stranger.recoveryCodes[0]));
  });

  it('ignores a code without a second factor', async () => {
    const member = await app.newStaff('viewer');
    for (const code of ['123456', 'ABCD-EFGH-IJKL-MNOP', 'anything']) tokenOf(await signIn(member, code));
  });

  it('counts wrong codes as failures of address and e-mail, but not missing ones', async () => {
    const member = await newEnrolled();
    const address = newAddress();
    const wrong = wrongCode(member.totpSecret);
    const codes: string[] = [];
    const tryOnce = async (code: string | undefined): Promise<void> => {
      const answer = await attempt(member, code, address);
      expect(answer.status).toBe(401);
      codes.push(answer.json<Problem>().code);
    };
    // On a slow machine a right password may be refused, which counts as a failure here.
    const failures = (): number => codes.filter((code) => code !== 'session.code-required').length;
    for (let i = 0; i < 12; i++) await tryOnce(undefined);
    expect(codes).toContain('session.code-required');
    while (failures() < 10) await tryOnce(wrong);
    expect(codes).toContain('session.invalid-code');
    for (const code of [wrong, undefined, codeOf(member.totpSecret), member.recoveryCodes[0]]) {
      expectProblem(await attempt(member, code, address), 429, 'session.too-many-attempts');
    }
    tokenOf(await signIn(member, codeOf(member.totpSecret)));
  });

  it('stops checking codes after 50 wrong ones from many addresses, and accepts recovery codes', async () => {
    const member = await newEnrolled();
    await app.dataSource.query('UPDATE staff SET totp_attempts = 47 WHERE id = $1', [member.id]);
    const wrong = wrongCode(member.totpSecret);
    const answers: Answer[] = [];
    for (let i = 0; i < 5; i++) answers.push(await signIn(member, wrong));
    expect(answers.map((answer) => answer.json<Problem>().code)).toEqual([
      ...new Array<string>(3).fill('session.invalid-code'),
      ...new Array<string>(2).fill('session.totp-locked'),
    ]);
    expectProblem(await signIn(member, codeOf(member.totpSecret)), 401, 'session.totp-locked');
    expectProblem(await signIn(member, 'ABCD-EFGH-IJKL-MNOP'), 401, 'session.invalid-code');
    tokenOf(await signIn(member, member.recoveryCodes[0]));
    tokenOf(await signIn(member, codeOf(member.totpSecret)));
    const [row] = await app.dataSource.query<{ attempts: number }[]>(
      'SELECT totp_attempts AS attempts FROM staff WHERE id = $1',
      [member.id],
    );
    expect(row?.attempts).toBe(0);
  });
});

describe('recovery codes', () => {
  it('are replaced by new ones, and the old ones stop working', async () => {
    const member = await newEnrolled();
    const answer = await post(member, `${SESSION}/recovery-codes`, { currentPassword: member.password });
    expect(answer.status).toBe(200);
    const { recoveryCodes } = answer.json<{ recoveryCodes: string[] }>();
    recoveryCodes.forEach(secret);
    expect(new Set([...recoveryCodes, ...member.recoveryCodes]).size).toBe(20);
    expectProblem(await signIn(member, member.recoveryCodes[0]), 401, 'session.invalid-code');
    tokenOf(await signIn(member, recoveryCodes[0]));
    tokenOf(await signIn(member, codeOf(member.totpSecret)));
    expect((await eventsOf(member.id)).map(({ action }) => action)).toContain('staff.recovery-codes-renewed');
  });

  it('require a second factor', async () => {
    const member = await app.newStaff('viewer');
    const answer = await post(member, `${SESSION}/recovery-codes`, { currentPassword: member.password });
    expectProblem(answer, 409, 'session.no-second-factor');
  });
});

describe('an unwanted second factor', () => {
  const disable = (member: StaffMember): Promise<Answer> =>
    app.request('DELETE', TOTP_PATH, { token: member.token, json: { currentPassword: member.password } });

  it('is removed with the password', async () => {
    const member = await newEnrolled();
    const answer = await disable(member);
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect((await whoami(member.token)).json()).toMatchObject({ secondFactor: false });
    tokenOf(await signIn(member));
    expect((await eventsOf(member.id)).map(({ action }) => action)).toContain('staff.second-factor-disabled');
    expectProblem(await disable(member), 409, 'session.no-second-factor');
    const [left] = await app.dataSource.query<{ count: number }[]>(
      'SELECT count(*)::int AS count FROM recovery_code WHERE staff_id = $1',
      [member.id],
    );
    expect(left?.count).toBe(0);
    // A new second factor has its own codes.
    const again = await enrol(member);
    expectProblem(await signIn(again, member.recoveryCodes[0]), 401, 'session.invalid-code');
    tokenOf(await signIn(again, codeOf(again.totpSecret)));
  });

  it('is reset by an admin, which ends the sessions', async () => {
    const member = await newEnrolled('operator');
    const answer = await app.request('DELETE', `${STAFF}/${member.id}/second-factor`, { token: admin.token });
    expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    expect((await whoami(member.token)).status).toBe(401);
    const [event] = await eventsOf(member.id);
    expect(event).toMatchObject({
      action: 'staff.second-factor-reset',
      actor: { id: admin.id },
      changes: { secondFactor: [true, false] },
    });
    const token = tokenOf(await signIn(member));
    // Without a second factor, nothing changes.
    const again = await app.request('DELETE', `${STAFF}/${member.id}/second-factor`, { token: admin.token });
    expect(again.status).toBe(204);
    expect((await whoami(token)).status).toBe(200);
    expect((await eventsOf(member.id))[0]?.action).toBe('staff.signed-in');
  });

  it('is reset on the command line by e-mail', async () => {
    const member = await newEnrolled();
    const reset = async (email: string): Promise<ServerProcess> => {
      const command = new ServerProcess({
        env: {
          NODE_ENV: 'development',
          DATABASE_URL: app.databaseUrl,
          PUBLIC_URL: app.config.publicUrl,
          KEY_ENCRYPTION_KEY: secret(app.config.keyEncryptionKeys[0].toString('base64')),
        },
        command: [process.execPath, 'dist/src/cli.js', 'staff', 'reset-second-factor', '--email', email],
      });
      await command.exited;
      keepOutput(command.stdout + command.stderr);
      return command;
    };
    const [known, unknown] = await Promise.all([reset(member.email.toUpperCase()), reset('nobody@staff.example')]);
    expect(known.stdout).toBe('Second factor removed. All sessions have ended.\n');
    expect([await unknown.exited, unknown.stderr]).toEqual([1, 'There is no such staff member.\n']);
    expect((await reset(member.email)).stdout).toBe('This account has no second factor.\n');
    expect((await whoami(member.token)).status).toBe(401);
    tokenOf(await signIn(member));
    expect((await eventsOf(member.id))[1]).toMatchObject({
      action: 'staff.second-factor-reset',
      actor: { type: 'cli' },
    });
    // The test starts three processes, on a machine that may be busy.
  });

  it('survives a change of the password and is deleted with its owner', async () => {
    const member = await newEnrolled();
    const reset = await app.request('POST', `${STAFF}/${member.id}/reset-password`, { token: admin.token });
    const password = secret(reset.json<{ password: string }>().password);
    expectProblem(await signIn({ ...member, password }), 401, 'session.code-required');
    tokenOf(await signIn({ ...member, password }, codeOf(member.totpSecret)));
    expect((await app.request('DELETE', `${STAFF}/${member.id}`, { token: admin.token })).status).toBe(204);
  });
});

describe('the settings for second factors', () => {
  const change = (token: string, json: unknown, on = app): Promise<Answer> =>
    on.request('PATCH', SETTINGS, { token, json });
  const required = async (value: boolean): Promise<void> => {
    const { token } = enrolledAdmin;
    const answer = await change(token, { secondFactorRequired: value });
    expect({ status: answer.status, body: answer.json() }).toEqual({
      status: 200,
      body: { secondFactorRequired: value, localSignIn: 'everybody', publicUrl: app.config.publicUrl },
    });
  };
  let enrolledAdmin: Enrolled;
  beforeAll(async () => {
    enrolledAdmin = await newEnrolled('admin');
  });
  afterEach(() => required(false));

  it('are readable for all and changeable for admins', async () => {
    for (const role of ['viewer', 'operator', 'admin'] as const) {
      const { token } = await app.asStaff(role);
      const answer = await app.request('GET', SETTINGS, { token });
      expect({ status: answer.status, body: answer.json() }).toEqual({
        status: 200,
        body: { secondFactorRequired: false, localSignIn: 'everybody', publicUrl: app.config.publicUrl },
      });
      const changed = await change(token, { secondFactorRequired: false });
      if (role === 'admin') expect(changed.status).toBe(200);
      else expectProblem(changed, 403, 'auth.insufficient-role');
    }
    expectProblem(await app.request('GET', SETTINGS), 401, 'auth.no-token');
    for (const value of [null, 'true', 1, []]) {
      const answer = await change(admin.token, { secondFactorRequired: value });
      expectProblem(answer, 400, 'request.invalid', ['secondFactorRequired']);
    }
    expectProblem(await change(admin.token, { id: false }), 400, 'request.invalid', ['id']);
  });

  it('are audited when they change', async () => {
    const trail = async (): Promise<Event[]> =>
      (await app.request('GET', '/admin/audit-events?action=settings.changed', { token: enrolledAdmin.token })).json<{
        items: Event[];
      }>().items;
    const before = (await trail()).length;
    await required(true);
    await required(true);
    expect((await change(enrolledAdmin.token, {})).json()).toEqual({
      secondFactorRequired: true,
      localSignIn: 'everybody',
      publicUrl: app.config.publicUrl,
    });
    const events = await trail();
    expect(events).toHaveLength(before + 1);
    expect(events[0]).toMatchObject({
      actor: { id: enrolledAdmin.id },
      target: { type: 'settings', name: 'settings' },
      changes: { secondFactorRequired: [false, true] },
    });
    const target = events[0]?.target.id ?? '';
    await required(false);
    expect((await eventsOf(target)).length).toBe(before + 2);
  });

  it('close everything else to staff without one, at once on every instance', async () => {
    const member = await app.newStaff('admin');
    const partner = await app.newPartner();
    const second = await TestApp.start({ ...app.config });
    second.clockOffset = app.clockOffset;
    try {
      expect((await second.request('GET', '/admin/channel-users', { token: member.token })).status).toBe(200);
      await required(true);
      for (const on of [app, second]) {
        const session = await whoami(member.token, on);
        expect(session.json()).toMatchObject({ secondFactor: false, enrolmentRequired: true });
        for (const [method, path, json] of [
          ['GET', '/admin/channel-users', undefined],
          ['DELETE', `/admin/channel-users/${partner.id}`, undefined],
          ['GET', STAFF, undefined],
          ['DELETE', `${STAFF}/${member.id}/second-factor`, undefined],
          ['GET', '/admin/audit-events', undefined],
          ['GET', '/admin/signing-keys', undefined],
          ['GET', SETTINGS, undefined],
          ['PATCH', SETTINGS, { secondFactorRequired: false }],
        ] as const) {
          expectProblem(
            await on.request(method, path, { token: member.token, json }),
            403,
            'session.enrolment-required',
          );
        }
      }
      // The password still signs in, but only to set up a second factor.
      const token = tokenOf(await signIn(member));
      const wrong = await app.request('PATCH', `${SESSION}/password`, {
        token,
        json: { currentPassword: 'wrong', newPassword: 'a new password of mine' },
      });
      expectProblem(wrong, 400, 'request.invalid', ['currentPassword']);
      const enrolled = await enrol({ ...member, token });
      expect((await whoami(token)).json()).toMatchObject({ secondFactor: true, enrolmentRequired: false });
      expect((await app.request('GET', STAFF, { token })).status).toBe(200);
      const off = await app.request('DELETE', TOTP_PATH, { token, json: { currentPassword: member.password } });
      expectProblem(off, 409, 'session.second-factor-required');
      tokenOf(await signIn(enrolled, codeOf(enrolled.totpSecret)));
      const out = await app.request('DELETE', SESSION, { token });
      expect(out.status).toBe(204);
    } finally {
      await second.close();
    }
  });
});

describe('the key encryption key of second factors', () => {
  it('can be replaced, and second factors work without the old key', async () => {
    const before = await TestApp.start();
    before.clockOffset = app.clockOffset;
    const member = await enrol(await before.newStaff('viewer'), before);
    const pending = await before.newStaff('viewer');
    const begun = await post(pending, TOTP_PATH, { currentPassword: pending.password }, before);
    const pendingSecret = secret(begun.json<{ secret: string }>().secret);
    const [old] = before.config.keyEncryptionKeys;
    const next = randomBytes(32);
    const started = async (keys: [Buffer, ...Buffer[]]): Promise<TestApp> => {
      const instance = await TestApp.start({ ...before.config, keyEncryptionKeys: keys });
      instance.clockOffset = app.clockOffset;
      return instance;
    };
    try {
      const during = await started([next, old]);
      tokenOf(await signIn(member, codeOf(member.totpSecret), during));
      nextStep();
      expect((await reencrypt(during)).secondFactors).toBe(2);
      expect((await reencrypt(during)).secondFactors).toBe(0);
      await during.close();
      const after = await started([next]);
      tokenOf(await signIn(member, codeOf(member.totpSecret), after));
      const confirmed = await post(pending, `${TOTP_PATH}/confirm`, { code: codeOf(pendingSecret) }, after);
      expect(confirmed.status).toBe(200);
      confirmed.json<{ recoveryCodes: string[] }>().recoveryCodes.forEach(secret);
      await after.close();
    } finally {
      await before.close();
    }
  });
});
