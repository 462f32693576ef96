import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { createHash, randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { request as httpRequest } from 'node:http';
import { Readable } from 'node:stream';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { importFrom, importLimitsOf, verifyTrail } from '../../../test/support/inside.ts';
import { realTime } from '../../../test/support/real-time.ts';
import { secret } from '../../../test/support/secrets.ts';
import { eventually, until } from '../../../test/support/sign-ins.ts';

interface RowError {
  field: string;
  messages: string[];
}

interface Summary {
  id: string;
  outcome: string;
  rows: number;
  created: number;
  failed: number;
  errorCount: number;
  errors: RowError[];
  warnings: string[];
  credentials: { row: number; username: string; id: string; fingerprint: string; password: string }[];
}

interface Refusal {
  id: string;
  code: string;
  detail: string;
  rows: number;
  failed: number;
  errorCount: number;
  errors: RowError[];
}

const CSV = 'text/csv; charset=utf-8';
const NDJSON = 'application/x-ndjson';

let app: TestApp;
let operator: string;

beforeAll(async () => {
  app = await TestApp.start();
  operator = (await app.asStaff('operator')).token;
});
afterAll(() => app.close());

const send = (
  body: string | Buffer,
  { query = '', type = CSV, token = operator }: { query?: string; type?: string; token?: string | undefined } = {},
): Promise<Answer> =>
  app.request('POST', `/admin/channel-users/import${query}`, { token, body, headers: { 'content-type': type } });

/** Imports a file, and expects success. */
async function importing(body: string | Buffer, options: Parameters<typeof send>[1] = {}): Promise<Summary> {
  const answer = await send(body, options);
  expect([answer.status, answer.status === 200 ? '' : answer.text]).toEqual([200, '']);
  const summary = answer.json<Summary>();
  for (const { password } of summary.credentials as { password?: string }[]) if (password) secret(password);
  return summary;
}

async function refused(body: string | Buffer, options: Parameters<typeof send>[1] = {}): Promise<Refusal> {
  const answer = await send(body, options);
  expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/problem+json; charset=utf-8']);
  return answer.json<Refusal>();
}

let names = 0;
const newName = (): string => `imported-${String(++names)}-${randomUUID().slice(0, 8)}`;
const lines = (...rows: object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const signIn = (username: string, password: string, target = app): Promise<Answer> =>
  target.request('POST', '/generateToken', { form: { Username: username, Password: password } });
const countOf = async (sql: string, values: unknown[] = []): Promise<number> =>
  (await app.dataSource.query<{ count: number }[]>(`SELECT count(*)::int AS count FROM ${sql}`, values))[0]?.count ??
  -1;
const accounts = (prefix: string): Promise<number> =>
  countOf('channel_user WHERE starts_with(username_key, $1)', [prefix]);

it('imports CSV', async () => {
  const username = newName();
  const file = `\uFEFFusername,displayName,contactEmail,scopes,tokenTtlSeconds,tokensPerMinute,allowedIps,expiresAt,notes\r
${username},"Blue, ""the"" best",ops@blue.example,calendar:write property:read,120,7,192.0.2.0/24 ::1,2040-01-01T00:00:00Z,"two\r
lines"\r
${username}-2,Zoë,,,,,,,\r
`;
  const summary = await importing(file);
  expect(summary).toMatchObject({ outcome: 'imported', rows: 2, created: 2, failed: 0, errorCount: 0, errors: [] });
  expect(summary.credentials.map(({ row, username: name }) => [row, name])).toEqual([
    [2, username],
    [3, `${username}-2`],
  ]);
  const [first, second] = summary.credentials;
  const read = (id = ''): Promise<Answer> => app.request('GET', `/admin/channel-users/${id}`, { token: operator });
  expect((await read(first?.id)).json()).toMatchObject({
    username,
    displayName: 'Blue, "the" best',
    contactEmail: 'ops@blue.example',
    status: 'active',
    scopes: ['calendar:write', 'property:read'],
    tokenTtlSeconds: 120,
    tokensPerMinute: 7,
    allowedIps: ['192.0.2.0/24', '::1'],
    expiresAt: '2040-01-01T00:00:00.000Z',
    notes: 'two\r\nlines',
    version: 1,
  });
  // An empty cell has the same default as an absent field of POST.
  const posted = await app.newPartner();
  const own = new Set(['id', 'username', 'displayName', 'createdAt', 'updatedAt']);
  const defaults = Object.entries((await read(posted.id)).json()).filter(([name]) => !own.has(name));
  const { components } = JSON.parse(await readFile('openapi.json', 'utf8')) as {
    components: { schemas: { ChannelUserDto: { properties: object } } };
  };
  const fields = Object.keys(components.schemas.ChannelUserDto.properties).filter((name) => !own.has(name));
  expect(defaults.map(([name]) => name).sort()).toEqual(fields.sort());
  expect((await read(second?.id)).json()).toMatchObject({ ...Object.fromEntries(defaults), displayName: 'Zoë' });
});

it('imports a flag as spreadsheets and exports write it', async () => {
  const username = newName();
  const file = `username,displayName,selfService\n${username},Off,FALSE\n${username}-2,On, true\n${username}-3,New,\n`;
  const { credentials } = await importing(file);
  const flags = await Promise.all(
    credentials.map(async ({ id }) => {
      const answer = await app.request('GET', `/admin/channel-users/${id}`, { token: operator });
      return answer.json()['selfService'];
    }),
  );
  expect(flags).toEqual([false, true, true]);
});

it('imports NDJSON with one row a line', async () => {
  const username = newName();
  const fields = {
    displayName: 'Blue',
    contactEmail: null,
    scopes: ['a:b', 'c'],
    allowedIps: ['10.0.0.0/8'],
    notes: null,
  };
  const file = `\n${lines({ username, ...fields, tokenTtlSeconds: 60 })}\r\n${JSON.stringify({ username: `${username}-2`, displayName: 'ž' })}`;
  const { rows, created, credentials } = await importing(file, { type: NDJSON });
  expect([rows, created, credentials.map(({ row }) => row)]).toEqual([2, 2, [2, 4]]);
  const { text } = await app.request('GET', `/admin/channel-users/${credentials[0]?.id ?? ''}`, { token: operator });
  expect(JSON.parse(text)).toMatchObject({ username, ...fields, tokenTtlSeconds: 60, expiresAt: null });
});

describe('rows to import', () => {
  const good = { username: 'never-imported', displayName: 'Never' };

  const bad: [field: string, change: object, cell?: string][] = [
    ['username', { username: 'no' }],
    ['username', { username: 'with space' }],
    ['username', { username: undefined }],
    ['displayName', { displayName: undefined }],
    ['displayName', { displayName: '   ' }],
    ['displayName', { displayName: 'x'.repeat(201) }],
    ['displayName', { displayName: 'nul\u0000' }],
    ['contactEmail', { contactEmail: 'nobody' }],
    ['scopes', { scopes: ['Upper'] }, 'Upper'],
    ['scopes', { scopes: ['a', 'a'] }, 'a a'],
    ['tokenTtlSeconds', { tokenTtlSeconds: 59 }],
    ['tokenTtlSeconds', { tokenTtlSeconds: '1e3' }],
    ['tokensPerMinute', { tokensPerMinute: 0 }],
    ['tokensPerMinute', { tokensPerMinute: 1.5 }],
    ['allowedIps', { allowedIps: ['10.0.0.0/33'] }, '10.0.0.0/33'],
    ['expiresAt', { expiresAt: '2030-02-30T00:00:00Z' }],
    ['expiresAt', { expiresAt: '2030-02-20' }],
    ['selfService', { selfService: 'yes' }],
    ['selfService', { selfService: 1 }],
    ['notes', { notes: 'x'.repeat(4001) }],
    ['password', { password: 'x'.repeat(257) }],
    ['password', { password: 'tab\tbed' }],
    ['passwordHash', { passwordHash: 'plain' }],
    ['passwordHash', { passwordHash: '$2b$15$abcdefghijklmnopqrstuuMk1yB4Vv4Jf2lJ0N8kYtN9Q0mQ1XQ0G' }],
    ['passwordHash', { passwordHash: '$2b$03$abcdefghijklmnopqrstuuMk1yB4Vv4Jf2lJ0N8kYtN9Q0mQ1XQ0G' }],
    ['passwordHash', { passwordHash: '$2x$10$abcdefghijklmnopqrstuuMk1yB4Vv4Jf2lJ0N8kYtN9Q0mQ1XQ0G' }],
    ['passwordHash', { passwordHash: `$argon2id$v=19$m=196609,t=1,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}` }],
    ['passwordHash', { passwordHash: `$argon2id$v=19$m=65536,t=17,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}` }],
    ['passwordHash', { passwordHash: `$argon2id$v=19$m=196608,t=6,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}` }],
    ['passwordHash', { passwordHash: `$argon2id$v=19$m=65536,t=2,p=5$${'a'.repeat(22)}$${'b'.repeat(43)}` }],
    ['passwordHash', { passwordHash: `$argon2i$v=19$m=65536,t=2,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}` }],
    ['passwordHash', { passwordHash: '$sha256$47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU' }],
    ['passwordHash', { password: 'old', passwordHash: '$2b$10$abcdefghijklmnopqrstuuMk1yB4Vv4Jf2lJ0N8kYtN9Q0mQ1XQ0G' }],
  ];

  it.each(bad.map(([field, change, cell]) => [field, change, cell] as const))(
    'with an invalid %s are refused: %j',
    async (field, change, cell) => {
      const row = { ...good, ...change };
      const { code, errors, errorCount, rows, failed } = await refused(lines(good, row), { type: NDJSON });
      expect([code, rows, failed, errorCount]).toEqual(['import.refused', 2, 1, 1]);
      expect(errors).toEqual([{ field: `rows.2.${field}`, messages: expect.any(Array) as unknown }]);
      expect(errors[0]?.messages.join()).toMatch(/must|is not allowed beside/);
      // A cell with the same value is refused for the same reason.
      const cells: Record<string, string | number> = { ...row, ...(cell !== undefined && { [field]: cell }) };
      const header = [...new Set(['username', 'displayName', ...Object.keys(cells)])];
      const csv = [header, header.map((name) => `"${String(cells[name] ?? '')}"`)].map((each) => each.join(','));
      expect((await refused(csv.join('\n'))).errors).toEqual(errors);
    },
  );

  it('are refused if they are no objects or have unknown fields', async () => {
    const deep = `{"username":"deep-one","displayName":"x","notes":${'['.repeat(5_000)}${']'.repeat(5_000)}}`;
    const { errors } = await refused(
      `[]\n"text"\n{"username"\n${JSON.stringify({ ...good, role: 'admin' })}\n${deep}\n{"__proto__":{"username":"polluted"},"displayName":"x"}`,
      { type: NDJSON },
    );
    expect(errors.map(({ field }) => field)).toEqual([
      'rows.1',
      'rows.2',
      'rows.3',
      'rows.4.role',
      'rows.5',
      'rows.6.username',
      'rows.6.__proto__',
    ]);
    const short = await refused('username,displayName\nlonely\nnever-imported,Never,more\n\nno,Never');
    expect(short.errors.map(({ field }) => field)).toEqual(['rows.2', 'rows.3', 'rows.5.username']);
    expect(await accounts('never-imported')).toBe(0);
  });

  it('must have a username that is free in any case, in the file and among all accounts', async () => {
    const { username } = await app.newPartner();
    const other = newName();
    const file = `username,displayName
${username.toUpperCase()},Taken
${other},First
x,Bad
${other.toUpperCase()},Second
`;
    const { errors } = await refused(file);
    expect(errors.map(({ field, messages: [message] }) => [field, field === 'rows.4.username' ? '' : message])).toEqual(
      [
        ['rows.2.username', 'is taken'],
        ['rows.4.username', ''],
        ['rows.5.username', 'is the same as in row 3'],
      ],
    );
    expect(await accounts(other)).toBe(0);
  });

  it('are refused for a hash that needs too much memory, and marked for one that cuts at 72 bytes', async () => {
    const large = `$argon2id$v=19$m=262144,t=1,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}`;
    const { errors } = await refused(lines({ ...good, passwordHash: large }), { type: NDJSON });
    expect(errors[0]?.messages.join()).toContain('m at most 196608 (192 MiB), t at most 10');
    const bcryptHash = '$2b$10$abcdefghijklmnopqrstuuMk1yB4Vv4Jf2lJ0N8kYtN9Q0mQ1XQ0G';
    const largest = `$argon2id$v=19$m=196608,t=1,p=1$${'a'.repeat(22)}$${'b'.repeat(43)}`;
    const imported = async (username: string, passwordHash: string): Promise<Summary> =>
      importing(lines({ ...good, username, passwordHash }), { type: NDJSON, query: '?dryRun=true' });
    const withBcrypt = await imported('with-bcrypt', bcryptHash);
    const without = await imported('without-bcrypt', largest);
    expect(withBcrypt.warnings).toEqual([expect.stringMatching(/^Rows with a bcrypt hash: 1\. .* 72 bytes/)]);
    expect(without.warnings).toEqual([]);
  });

  it('with errors are all counted, and the first thousand are shown', async () => {
    const bad = Array.from({ length: 1_200 }, () => 'x,');
    const { errors, errorCount, failed } = await refused(['username,displayName', ...bad].join('\n'));
    expect([errors.length, errorCount, failed]).toEqual([1_000, 2_400, 1_200]);
  });
});

describe('a file to import', () => {
  it.each<[what: string, body: string | Buffer, field: string, message: RegExp, type?: string]>([
    ['without a line', '', '', /no body|column names is missing/],
    ['without rows', 'username,displayName\r\n\r\n', '', /no rows/],
    [
      'with a column that nobody knows',
      'username,displayName,role\na-b,c,d',
      'rows.1',
      /column 3 is "role", which is not one of/,
    ],
    ['with a column twice', 'username,displayName,username\na-b,c,d', 'rows.1', /twice/],
    ['without usernames', 'displayName\nBlue', 'rows.1', /username is missing/],
    ['that is not UTF-8', Buffer.from('username,displayName\nabc,Zo\xeb\n', 'latin1'), 'rows.2', /UTF-8/],
    ['that ends within a character', Buffer.from('username,displayName\nabc,Zo\xc3', 'latin1'), '', /UTF-8/],
    ['with an open quotation mark', 'username,displayName\nabc,"Zoe\n', 'rows.2', /quotation mark/],
    ['with a quotation mark within', 'username,displayName\nabc,Z"oe"\n', 'rows.2', /quotation mark/],
    ['with a row that is too long', `username,displayName\nabc,${'x'.repeat(70_000)}\n`, 'rows.2', /65536/],
    ['with a line that is too long', `\n{"username":"${'x'.repeat(70_000)}`, 'rows.2', /65536/, NDJSON],
    ['of nothing', '\n\n', '', /no rows/, NDJSON],
  ])('is refused completely when it cannot be read: %s', async (_, body, field, message, type = CSV) => {
    const { code, errors } = await refused(body, { type, query: '?partial=true' });
    expect([code, errors.length, errors[0]?.field]).toEqual(['import.unreadable', 1, field]);
    expect(errors[0]?.messages[0]).toMatch(message);
    expect(await countOf('channel_user_import_row')).toBe(0);
  });

  it('is refused where its cells exceed the size of a row', async () => {
    const { errors } = await refused(`username,displayName\nabc,Blue\n${','.repeat(2_000_000)}`);
    expect(errors).toEqual([{ field: 'rows.3', messages: ['has more than 64 cells'] }]);
  });

  it('is refused with another media type or bad options', async () => {
    const file = 'username,displayName\nnever-imported,Never\n';
    for (const type of ['application/json', 'text/plain', 'application/x-www-form-urlencoded', 'text/csvx']) {
      const answer = await send(file, { type });
      expect([type, answer.status]).toEqual([type, 415]);
    }
    for (const query of ['?dryRun=yes', '?partial', '?id=1', '?dry_run=true', '?dryRun=true&dryRun=true']) {
      expect([query, (await send(file, { query })).status]).toEqual([query, 400]);
    }
    // Other routes do not accept a file as their body.
    const answer = await app.request('POST', '/admin/channel-users', {
      token: operator,
      body: file,
      headers: { 'content-type': CSV },
    });
    expect(answer.status).toBe(415);
    expect(await accounts('never-imported')).toBe(0);
  });

  it('is for operators, while viewers may watch', async () => {
    const viewer = (await app.asStaff('viewer')).token;
    const partner = (await app.asPartner()).token;
    const file = `username,displayName\n${newName()},Blue\n`;
    const statuses = [];
    for (const token of [undefined, viewer, partner]) {
      statuses.push(
        (
          await app.request('POST', '/admin/channel-users/import', {
            token,
            body: file,
            headers: { 'content-type': CSV },
          })
        ).status,
      );
    }
    expect(statuses).toEqual([401, 403, 403]);
    const { id } = await importing(file);
    for (const [token, status] of [
      [viewer, 200],
      [partner, 403],
    ] as const) {
      expect((await app.request('GET', '/admin/channel-users/imports', { token })).status).toBe(status);
      expect((await app.request('GET', `/admin/channel-users/imports/${id}`, { token })).status).toBe(status);
    }
    expect((await app.request('GET', `/admin/channel-users/imports/${randomUUID()}`, { token: viewer })).status).toBe(
      404,
    );
  });
});

/** Waits until no row is staged: rows are deleted after the answer was sent. */
const nothingStaged = (): Promise<void> =>
  until(async () => (await countOf('channel_user_import_row')) === 0, 'what was staged goes');

describe('an import', () => {
  const file = (prefix: string): string =>
    [
      'username,displayName',
      ...Array.from({ length: 1_201 }, (_, i) => `${prefix}-${String(i)},${i === 700 ? '' : 'Blue'}`),
    ].join('\n');

  it('keeps all rows out for one bad row by default', async () => {
    const prefix = newName();
    const { id, rows, failed, errors } = await refused(file(prefix));
    expect([rows, failed, errors[0]?.field]).toEqual([1_201, 1, 'rows.702.displayName']);
    expect([await accounts(prefix), await countOf('channel_user_import_row')]).toEqual([0, 0]);
    const { text } = await app.request('GET', `/admin/channel-users/imports/${id}`, { token: operator });
    expect(JSON.parse(text)).toMatchObject({ state: 'refused', rows: 1_201, created: 0, failed: 1 });
  });

  it('imports the good rows with partial=true and reports the others', async () => {
    const prefix = newName();
    const summary = await importing(file(prefix), { query: '?partial=true' });
    expect(summary).toMatchObject({ outcome: 'imported', rows: 1_201, created: 1_200, failed: 1, errorCount: 1 });
    expect(summary.credentials.length).toBe(1_200);
    expect(new Set(summary.credentials.map(({ password }) => password)).size).toBe(1_200);
    expect(summary.credentials.some(({ row }) => row === 702)).toBe(false);
    expect(await accounts(prefix)).toBe(1_200);
    await nothingStaged();
  });

  it('checks everything and keeps nothing with dryRun=true', async () => {
    const prefix = newName();
    const { username } = await app.newPartner();
    const checked = await importing(`${file(prefix)}\n${username},Taken\n${prefix}-0,Again`, { query: '?dryRun=true' });
    expect(checked).toMatchObject({ outcome: 'checked', rows: 1_203, created: 1_200, failed: 3, credentials: [] });
    expect(checked.errors.map(({ field }) => field)).toEqual([
      'rows.702.displayName',
      'rows.1203.username',
      'rows.1204.username',
    ]);
    expect(await accounts(prefix)).toBe(0);
    await nothingStaged();
  });
});

describe('imported passwords', () => {
  const bcryptOf = async (password: string, scheme: '2a' | '2b' | '2y'): Promise<string> =>
    (await bcrypt.hash(password, 5)).replace('$2b$', `$${scheme}$`);
  const weakArgon2 = (password: string): Promise<string> => argon2.hash(password, { memoryCost: 4_096, timeCost: 1 });
  const strongArgon2 = (password: string): Promise<string> =>
    argon2.hash(password, { memoryCost: 20_480, timeCost: 3 });
  const hashOf = async (username: string): Promise<string> => {
    const rows = await app.dataSource.query<{ secret_hash: string }[]>(
      'SELECT secret_hash FROM credential JOIN channel_user u ON u.id = channel_user_id WHERE u.username = $1',
      [username],
    );
    expect(rows.length).toBe(1);
    return rows[0]?.secret_hash ?? '';
  };

  it.each<[scheme: string, hash: (password: string) => Promise<object>, stored: RegExp, isRenewed: boolean]>([
    ['bcrypt 2a', async (password) => ({ passwordHash: await bcryptOf(password, '2a') }), /^\$2a\$05\$/, true],
    ['bcrypt 2b', async (password) => ({ passwordHash: await bcryptOf(password, '2b') }), /^\$2b\$05\$/, true],
    ['bcrypt 2y', async (password) => ({ passwordHash: await bcryptOf(password, '2y') }), /^\$2y\$05\$/, true],
    ['weak argon2id', async (password) => ({ passwordHash: await weakArgon2(password) }), /m=4096,t=1/, true],
    ['strong argon2id', async (password) => ({ passwordHash: await strongArgon2(password) }), /m=20480,t=3/, false],
    ['cleartext', (password) => Promise.resolve({ password }), /^\$argon2id\$v=19\$m=19456,t=2,p=1\$/, false],
  ])('of an older system verify as before: %s', async (_, hash, stored, isRenewed) => {
    const username = newName();
    const password = secret(` Pässword, "${randomUUID().slice(0, 8)}" `);
    const { credentials } = await importing(lines({ username, displayName: 'Old', ...(await hash(password)) }), {
      type: NDJSON,
    });
    expect(credentials).toEqual([]);
    const before = await hashOf(username);
    expect(before).toMatch(stored);
    expect((await signIn(username, 'wrong')).status).toBe(401);
    expect(await hashOf(username)).toBe(before);
    const statuses = [];
    // On a machine under load, a slow hash may take longer than a refusal is delayed.
    for (let i = 0; i < 5 && statuses.at(-1) !== 200; i++) statuses.push((await signIn(username, password)).status);
    expect(statuses.at(-1)).toBe(200);
    if (!isRenewed) {
      expect(await hashOf(username)).toBe(before);
      return;
    }
    const renewed = await eventually(async () => {
      const now = await hashOf(username);
      // A hash is not renewed while a sign-in waits in the queue. The next sign-in tries again.
      if (now === before) await signIn(username, password);
      return now === before ? undefined : now;
    }, 'the hash is renewed');
    expect(renewed).toMatch(/^\$argon2id\$v=19\$m=19456,t=2,p=1\$/);
    expect(await argon2.verify(renewed, password)).toBe(true);
    const other = await TestApp.start(app.config);
    try {
      const again = await eventually(async () => {
        const { status } = await signIn(username, password, other);
        return status === 200 ? status : undefined;
      }, 'another instance verifies the new hash');
      expect(again).toBe(200);
    } finally {
      await other.close();
    }
    expect((await signIn(username, password)).status).toBe(200);
    expect(await hashOf(username)).toBe(renewed);
    expect(
      await countOf(`audit_event WHERE target_id = (SELECT id FROM channel_user WHERE username = $1)`, [username]),
    ).toBe(0);
  });

  it('of an older system that were revoked are told from wrong ones to staff', async () => {
    const username = newName();
    const password = secret('Sommer 1999');
    await importing(lines({ username, displayName: 'Old', password }), { type: NDJSON });
    const [row] = await app.dataSource.query<{ id: string; owner: string }[]>(
      `SELECT c.id, u.id AS owner FROM credential c JOIN channel_user u ON u.id = channel_user_id WHERE username = $1`,
      [username],
    );
    const path = `/admin/channel-users/${row?.owner ?? ''}`;
    const revoked = await app.request('DELETE', `${path}/credentials/${row?.id ?? ''}`, { token: operator });
    expect(revoked.status).toBe(204);
    await eventually(async () => {
      expect((await signIn(username, password)).status).toBe(401);
      const { items } = (await app.request('GET', `${path}/activity`, { token: operator })).json<{
        items: { reason: string; credentialId: string | null }[];
      }>();
      // On a machine under load, a slow hash may take longer than a refusal is delayed.
      return items[0]?.reason === 'revoked_credential' && items[0].credentialId === row?.id ? true : undefined;
    }, 'the true reason');
    expect((await signIn(username, 'wrong')).status).toBe(401);
  });

  it('that are random UUIDs are stored like generated ones but without a fingerprint', async () => {
    const [v4, v1] = [newName(), newName()];
    const password = secret(randomUUID());
    const rows = lines(
      { username: v4, displayName: 'Old', password },
      { username: v1, displayName: 'Old', password: 'c232ab00-9414-11ec-b3c8-9f6bdeced846' },
    );
    await importing(rows, { type: NDJSON });
    expect(await hashOf(v4)).toMatch(/^\$sha256\$/);
    expect(await hashOf(v1)).toMatch(/^\$argon2id\$/);
    expect((await signIn(v4, password)).status).toBe(200);
    expect(
      await countOf(
        'credential c JOIN channel_user u ON u.id = c.channel_user_id WHERE u.username = ANY($1) AND fingerprint IS NOT NULL',
        [[v4, v1]],
      ),
    ).toBe(0);
  });

  it('that were generated work and match their fingerprints', async () => {
    const prefix = newName();
    const rows = Array.from({ length: 501 }, (_, i) => ({ username: `${prefix}-${String(i)}`, displayName: 'New' }));
    const { credentials } = await importing(lines(...rows), { type: NDJSON });
    expect(credentials.map(({ row, username }) => [row, username])).toEqual(
      rows.map(({ username }, i) => [i + 1, username]),
    );
    for (const { username, id, password, fingerprint } of [credentials[0], credentials[500]].filter(
      (each) => each !== undefined,
    )) {
      expect(password).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
      expect(createHash('sha256').update(password).digest('hex').slice(0, 8)).toBe(fingerprint);
      expect((await signIn(username, password)).status).toBe(200);
      const { text } = await app.request('GET', `/admin/channel-users/${id}/credentials`, { token: operator });
      expect(JSON.parse(text)).toMatchObject({
        items: [{ label: 'imported', fingerprint, status: 'active', expiresAt: null }],
      });
    }
  });
});

describe('with deliver=link', () => {
  it('creates a link for each partner in place of its password, which opens once', async () => {
    const prefix = newName();
    const rows = [`${prefix}-0,New,`, `${prefix}-1,Old,${secret('an old password')}`, `${prefix}-2,New,`];
    const file = `username,displayName,password\n${rows.join('\n')}\n`;
    const summary = await importing(file, { query: '?deliver=link&linkTtlSeconds=3600' });
    const links = summary.credentials as unknown as Record<string, string>[];
    expect(links.map(({ username }) => username)).toEqual([`${prefix}-0`, `${prefix}-2`]);
    for (const { id = '', username = '', fingerprint, handoverUrl = '', expiresAt = '', ...others } of links) {
      expect(others).toEqual({ row: expect.any(Number) as unknown });
      expect(Math.abs(Date.parse(expiresAt) - Date.now() - 3_600_000)).toBeLessThan(60_000);
      const linkSecret = secret(handoverUrl.split('#')[1] ?? '');
      expect(handoverUrl).toMatch(/^http:\/\/latchkey\.test\/handover#[A-Za-z0-9_-]{43}$/);
      const reveal = (): Promise<Answer> => app.request('POST', '/handover/reveal', { json: { secret: linkSecret } });
      const revealed = (await reveal()).json<{ username: string; password: string; fingerprint: string }>();
      expect(revealed).toMatchObject({ username, fingerprint });
      expect((await signIn(username, secret(revealed.password))).status).toBe(200);
      expect((await reveal()).status).not.toBe(200);
      const { text } = await app.request('GET', `/admin/channel-users/${id}/handovers`, { token: operator });
      expect(JSON.parse(text)).toMatchObject({ items: [{ status: 'revealed' }] });
    }
    const stored = await app.dataSource.query<object[]>('SELECT * FROM handover');
    for (const { handoverUrl = '' } of links) {
      expect(JSON.stringify(stored)).not.toContain(handoverUrl.split('#')[1]);
    }
    const admin = (await app.asStaff('admin')).token;
    const { text } = await app.request('GET', `/admin/audit-events?target=${summary.id}`, { token: admin });
    expect(JSON.parse(text)).toMatchObject({ items: [{ changes: { links: [null, 2] } }] });
  });

  it('refuses bad options', async () => {
    const file = `username,displayName\n${newName()},New\n`;
    for (const query of ['?deliver=mail', '?deliver=link&linkTtlSeconds=299', '?linkTtlSeconds=3600']) {
      expect([query, (await send(file, { query })).status]).toEqual([query, 400]);
    }
  });
});

it('reports passwords that are lost with the staged rows instead of ending normally', async () => {
  const prefix = newName();
  const rows = Array.from({ length: 1_200 }, (_, i) => `${prefix}-${String(i)},Blue\n`);
  const file = Readable.from([Buffer.from(`username,displayName\n${rows.join('')}`)]);
  const finished = await importFrom(app, file, { dryRun: false, partial: false });
  let count = 0;
  const reading = (async () => {
    for await (const credential of finished.credentials()) {
      if ('password' in credential) secret(credential.password);
      // As after a crash of PostgreSQL, which keeps committed rows but empties this unlogged table.
      if (++count === 1) await app.dataSource.query('TRUNCATE channel_user_import_row');
    }
  })();
  await expect(reading).rejects.toThrow(/generated passwords, \d+ were lost/);
  expect(count).toBeLessThan(1_200);
  await finished.release();
  expect(await accounts(prefix)).toBe(1_200);
});

it('is one event in an intact trail, and none without a change', async () => {
  const username = newName();
  const file = `username,displayName,password\n${username},Old,${secret('an old password')}\nx,Bad,\n`;
  const admin = (await app.asStaff('admin')).token;
  const before = await countOf('audit_event');
  await refused(file);
  await importing(file, { query: '?dryRun=true' });
  expect(await countOf('audit_event')).toBe(before);
  const { id } = await importing(file, { query: '?partial=true' });
  const { text } = await app.request('GET', '/admin/audit-events?action=channel-users.imported&limit=1', {
    token: admin,
  });
  expect(JSON.parse(text)).toMatchObject({
    items: [
      {
        action: 'channel-users.imported',
        actor: { type: 'staff', name: 'Staff operator' },
        target: { type: 'import', id },
        changes: {
          rows: [null, 2],
          created: [null, 1],
          failed: [null, 1],
          format: [null, 'csv'],
          partial: [null, true],
          fileSha256: [null, createHash('sha256').update(file).digest('hex')],
        },
      },
    ],
  });
  expect(await countOf('audit_event')).toBe(before + 1);
  expect((await verifyTrail(app)).findings).toEqual([]);
});

describe('while a file arrives', () => {
  interface Sending {
    readonly write: (text: string) => void;
    readonly end: () => void;
    readonly hangUp: () => void;
    /** Status and text, or undefined when the connection ended without an answer. */
    readonly answered: Promise<{ status: number; text: string } | undefined>;
    /** Resolves when the connection has ended. */
    readonly closed: Promise<unknown>;
  }

  /** Starts a request whose body the test sends piece by piece. */
  function sending(path: string, type = CSV): Sending {
    const request = httpRequest(`${app.url}${path}`, {
      method: 'POST',
      headers: { authorization: `Bearer ${operator}`, 'content-type': type, 'transfer-encoding': 'chunked' },
    });
    const answered = new Promise<{ status: number; text: string } | undefined>((resolve) => {
      request.on('response', (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => (text += chunk));
        response.on('close', () => {
          resolve({ status: response.statusCode ?? 0, text });
        });
      });
      request.on('error', () => {
        resolve(undefined);
      });
    });
    const closed = new Promise((resolve) => {
      request.once('socket', (socket) => socket.once('close', resolve));
    });
    request.flushHeaders();
    return {
      write: (text) => request.write(text),
      end: () => request.end(),
      hangUp: () => request.destroy(),
      answered,
      closed,
    };
  }

  const rowsOf = (prefix: string, from: number, count: number): string =>
    Array.from({ length: count }, (_, i) => `${prefix}-${String(from + i)},Blue\n`).join('');
  const importOf = async (id: string): Promise<Record<string, unknown> | undefined> => {
    const answer = await app.request('GET', `/admin/channel-users/imports/${id}`, { token: operator });
    return answer.status === 200 ? answer.json() : undefined;
  };
  const staged = (id: string): Promise<number> => countOf('channel_user_import_row WHERE import_id = $1', [id]);

  it('others see its progress, and no second import begins', async () => {
    const [id, prefix] = [randomUUID(), newName()];
    const upload = sending(`/admin/channel-users/import?id=${id}`);
    upload.write(`username,displayName\n${rowsOf(prefix, 0, 1_000)}`);
    const running = await eventually(async () => {
      const found = await importOf(id);
      // The last row is complete only when another follows or the file ends.
      return found?.['rows'] === 999 ? found : undefined;
    }, 'the rows are counted');
    expect(running).toMatchObject({
      state: 'running',
      by: { type: 'staff', name: 'Staff operator' },
      finishedAt: null,
    });
    const second = await send('username,displayName\nabc,Blue\n');
    expect([second.status, second.json()['code']]).toEqual([409, 'import.running']);
    expect(await accounts(prefix)).toBe(0);
    upload.end();
    const answer = await upload.answered;
    expect(answer?.status).toBe(200);
    for (const { password } of (JSON.parse(answer?.text ?? '') as Summary).credentials) secret(password);
    expect(await importOf(id)).toMatchObject({ state: 'imported', rows: 1_000, created: 1_000, failed: 0 });
    const again = await send('username,displayName\nabc,Blue\n', { query: `?id=${id}` });
    expect([again.status, again.json()['code']]).toEqual([409, 'import.id-taken']);
    const { text } = await app.request('GET', '/admin/channel-users/imports', { token: operator });
    expect((JSON.parse(text) as { items: { id: string }[] }).items[0]?.id).toBe(id);
  });

  it('a sender that hangs up imports nothing, and the next import may begin', async () => {
    const [id, prefix] = [randomUUID(), newName()];
    const upload = sending(`/admin/channel-users/import?id=${id}`);
    upload.write(`username,displayName\n${rowsOf(prefix, 0, 600)}`);
    await until(async () => (await staged(id)) > 0, 'rows are staged');
    upload.hangUp();
    await until(async () => (await importOf(id))?.['state'] === 'interrupted', 'it ends');
    await until(async () => (await staged(id)) === 0, 'what was staged goes');
    expect(await accounts(prefix)).toBe(0);
    expect((await importing(`username,displayName\n${newName()},Blue\n`)).created).toBe(1);
  });

  it('a file that is refused early is refused completely while its sender still sends', async () => {
    const upload = sending('/admin/channel-users/import');
    upload.write('username,role\n');
    upload.write(rowsOf('never-imported', 0, 2_000));
    upload.end();
    const answer = await upload.answered;
    expect([answer?.status, JSON.parse(answer?.text ?? '{}')]).toEqual([
      400,
      expect.objectContaining({ code: 'import.unreadable' }),
    ]);
  });

  it('an account that is created in between keeps its name', async () => {
    const [id, username] = [randomUUID(), newName()];
    const upload = sending(`/admin/channel-users/import?partial=true&id=${id}`);
    upload.write(`username,displayName\n${username},Late\n${rowsOf(username, 0, 600)}`);
    await until(async () => (await staged(id)) > 0, 'rows are staged');
    const posted = await app.newPartner({ username });
    upload.end();
    const answer = await upload.answered;
    const summary = JSON.parse(answer?.text ?? '') as Summary;
    expect(summary).toMatchObject({
      created: 600,
      failed: 1,
      errors: [{ field: 'rows.2.username', messages: ['is taken'] }],
    });
    expect(summary.credentials.map(({ row }) => row)).not.toContain(2);
    expect(await app.generateToken(posted)).toMatch(/^ey/);
    for (const { password } of summary.credentials) secret(password);
  });

  it('a slow upload is accepted, while other slow bodies are not', async () => {
    const server = app.app.nest.getHttpServer() as { requestTimeout: number; headersTimeout: number };
    const { requestTimeout, headersTimeout } = server;
    expect([requestTimeout, headersTimeout]).toEqual([15_000, 15_000]);
    Object.assign(server, { requestTimeout: 1_000, headersTimeout: 1_000 });
    try {
      const [prefix, started] = [newName(), Date.now()];
      const upload = sending('/admin/channel-users/import');
      const other = sending('/admin/channel-users', 'application/json');
      other.write('{"username":');
      upload.write('username,displayName\n');
      const elsewhere = { hasEnded: false };
      void other.closed.then(() => (elsewhere.hasEnded = true));
      // Node checks its connection timeouts every 30 seconds.
      for (let i = 0; Date.now() - started < 75_000 && !(elsewhere.hasEnded && Date.now() - started > 33_000); i++) {
        upload.write(rowsOf(prefix, i, 1));
        await realTime('Node checks its connections');
      }
      expect(elsewhere.hasEnded).toBe(true);
      upload.end();
      const answer = await upload.answered;
      expect(answer?.status).toBe(200);
      for (const { password } of (JSON.parse(answer?.text ?? '') as Summary).credentials) secret(password);
    } finally {
      Object.assign(server, { requestTimeout, headersTimeout });
    }
  });

  describe('with lower limits', () => {
    /** 100 MB and half a minute, which would keep the tests waiting. */
    const usual = { maxBytes: 100_000_000, stallMs: 30_000 };
    beforeAll(() => {
      expect(importLimitsOf(app)).toEqual(usual);
    });
    afterEach(() => {
      Object.assign(importLimitsOf(app), usual);
    });

    it('an upload that stalls is ended', async () => {
      importLimitsOf(app).stallMs = 1_000;
      const [id, prefix] = [randomUUID(), newName()];
      const upload = sending(`/admin/channel-users/import?id=${id}`);
      upload.write(`username,displayName\n${rowsOf(prefix, 0, 3)}`);
      const answer = await upload.answered;
      expect([answer?.status, JSON.parse(answer?.text ?? '{}')]).toEqual([
        408,
        expect.objectContaining({ code: 'request.timeout' }),
      ]);
      expect(await importOf(id)).toMatchObject({ state: 'interrupted' });
      expect(await accounts(prefix)).toBe(0);
    });

    it('an upload with more bytes than allowed is refused', async () => {
      importLimitsOf(app).maxBytes = 1_000_000;
      const upload = sending('/admin/channel-users/import?dryRun=true');
      const line = '\n'.repeat(100_000);
      upload.write('username,displayName\n');
      for (let i = 0; i < 10; i++) upload.write(line);
      upload.end();
      const answer = await upload.answered;
      expect([answer?.status, answer?.text]).toEqual([413, expect.stringContaining('the limit is 1000000 bytes')]);
    });
  });
});
