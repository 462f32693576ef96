import { randomUUID } from 'node:crypto';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { importFrom } from '../../../test/support/inside.ts';
import { secret } from '../../../test/support/secrets.ts';

/** Files as spreadsheets and other programs write them, and those that Latchkey writes itself. */
let app: TestApp;
let admin: string;

beforeAll(async () => {
  app = await TestApp.start();
  admin = (await app.asStaff('admin')).token;
});
afterAll(() => app.close());

const USERS = '/admin/channel-users';
const CSV = 'text/csv';
const NDJSON = 'application/x-ndjson';

interface Summary {
  rows: number;
  created: number;
  failed: number;
  errors: { field: string; messages: string[] }[];
  code?: string;
  credentials?: { username: string; password: string }[];
}

async function send(body: string | Buffer, { type = CSV, query = '' } = {}): Promise<Summary & { status: number }> {
  const answer = await app.request('POST', `${USERS}/import${query}`, {
    token: admin,
    body,
    headers: { 'content-type': type },
  });
  const summary = answer.json<Summary>();
  for (const { password } of summary.credentials ?? []) secret(password);
  return { ...summary, status: answer.status };
}

const fetchExport = (format: string, q: string): Promise<Answer> =>
  app.request('GET', `${USERS}/export?${new URLSearchParams({ format, q }).toString()}`, { token: admin });
const find = async (username: string): Promise<Record<string, unknown> | undefined> => {
  const { items } = (await app.request('GET', `${USERS}?q=${username}`, { token: admin })).json<{
    items: Record<string, unknown>[];
  }>();
  return items.find((item) => item['username'] === username);
};
const removeAll = (prefix: string): Promise<unknown> =>
  app.dataSource.query('DELETE FROM channel_user WHERE starts_with(username_key, $1)', [prefix]);
let names = 0;
const newName = (): string => `file-${String(++names)}-${randomUUID().slice(0, 8)}`;

describe('an export', () => {
  const TEXTS = [
    '=1+1',
    '+1 800 000',
    "'quoted'",
    "'=1",
    "''=1",
    '＝1',
    '＠x',
    '\n=1',
    '\t-1',
    '\rx',
    ' =1',
    'a,b;c\t"d"',
    'two\r\nlines',
    ' spaces ',
    '\u001A',
    '',
  ];

  it.each([
    ['csv', CSV],
    ['ndjson', NDJSON],
  ])('can be imported as it is and changes nothing: %s', async (format, type) => {
    const prefix = newName();
    const expiresAt = ['2040-01-01T00:00:00.000Z', '2020-01-01T00:00:00.000Z', null];
    for (const [i, notes] of TEXTS.entries()) {
      const isPlain = !/\p{Cc}/u.test(notes);
      await app.newPartner({
        username: `${prefix}-${String(i)}`,
        displayName: isPlain && notes.trim() !== '' ? notes : 'Zoë, "the" best',
        contactEmail: i % 2 === 0 ? '+ops=1@blue.example' : null,
        scopes: ['a', 'b:c'].slice(0, i % 3),
        allowedIps: ['192.0.2.0/24', '::1'].slice(0, i % 3),
        expiresAt: expiresAt[i % 3],
        notes: notes === '\u001A' || (format === 'csv' && notes === '') ? null : notes,
        tokenTtlSeconds: 60 + i,
      });
    }
    const suspended = String((await find(`${prefix}-1`))?.['id']);
    await app.request('POST', `${USERS}/${suspended}/suspend`, { token: admin, json: { reason: 'unpaid' } });
    await app.dataSource.query(
      `UPDATE channel_user SET created_at = '2020-02-03T04:05:06.789Z', last_token_at = '2021-02-03T04:05:06.789Z'
       WHERE username_key = $1`,
      [`${prefix}-2`],
    );
    const first = await fetchExport(format, prefix);
    expect(first.headers.get('content-type')).toBe(type === CSV ? 'text/csv; charset=utf-8' : type);
    await removeAll(prefix);
    const imported = await send(first.text, { type });
    expect([imported.errors, imported.created, imported.rows]).toEqual([[], TEXTS.length, TEXTS.length]);
    const second = await fetchExport(format, prefix);
    expect(second.text).toBe(first.text);
    expect(await find(`${prefix}-1`)).toMatchObject({ status: 'suspended' });
    expect(second.text).toContain('2020-02-03T04:05:06.789Z');
    expect(second.text).toContain('2021-02-03T04:05:06.789Z');
  });

  it('shows names in the form that signs in', async () => {
    const username = `@${newName()}`;
    const { text } = await (async () => {
      await app.newPartner({ username });
      return fetchExport('csv', username);
    })();
    expect(text).toContain(`\r\n${username},`);
  });

  it.each([
    ['status', 'deleted', /must be one of active, suspended, expired/],
    ['status', 'expired', /if expiresAt is missing/],
    ['createdAt', '2999-01-01T00:00:00Z', /must not be in the future/],
    ['lastTokenAt', 'yesterday', /ISO 8601/],
  ])('that was edited is checked: %s %s', async (column, value, message) => {
    const { errors } = await send(`username,displayName,${column}\nnever-imported,Never,${value}\n`);
    expect(errors).toEqual([{ field: `rows.2.${column}`, messages: expect.anything() as unknown }]);
    expect(errors[0]?.messages.join()).toMatch(message);
  });
});

describe('a file to import', () => {
  const utf16be = (text: string): Buffer => Buffer.from(text, 'utf16le').swap16();

  it.each<[what: string, file: (a: string, b: string, c: string) => string | Buffer]>([
    ['CRLF, then LF', (a, b, c) => `username,displayName\r\n${a},Zoë\n${b},Zoë\n${c},Zoë\n`],
    ['LF, then CRLF', (a, b, c) => `username,displayName\n${a},Zoë\r\n${b},Zoë\r\n${c},Zoë`],
    ['CR alone', (a, b, c) => `username,displayName\r${a},Zoë\r${b},Zoë\r${c},Zoë\r`],
    ['all of them', (a, b, c) => `username,displayName\r${a},Zoë\n${b},Zoë\r\n${c},Zoë`],
    ['lines of blanks', (a, b, c) => `\r\n  \nusername,displayName\n${a},Zoë\n   \n\t\n${b},Zoë\n,\n , \n${c},Zoë\n  `],
    ['Ctrl-Z at the end', (a, b, c) => `username,displayName\r\n${a},Zoë\r\n${b},Zoë\r\n${c},Zoë\r\n\u001A`],
    ['Ctrl-Z and a line end', (a, b, c) => `username,displayName\n${a},Zoë\n${b},Zoë\n${c},Zoë\u001A\r\n`],
    ['a byte order mark', (a, b, c) => `\uFEFFusername,displayName\n${a},Zoë\n${b},Zoë\n${c},Zoë\n`],
    [
      'UTF-16, little end first',
      (a, b, c) => Buffer.from(`\uFEFFusername\tdisplayName\r\n${a}\tZoë\r\n${b}\tZoë\r\n${c}\tZoë\r\n`, 'utf16le'),
    ],
    ['UTF-16, big end first', (a, b, c) => utf16be(`\uFEFFusername,displayName\n${a},Zoë\n${b},Zoë\n${c},Zoë\n`)],
    [
      'UTF-16 without a mark',
      (a, b, c) => Buffer.from(`username,displayName\n${a},Zoë\n${b},Zoë\n${c},Zoë\n`, 'utf16le'),
    ],
    ['semicolons', (a, b, c) => `username;displayName\r\n${a};Zoë\r\n${b};Zoë\r\n${c};"Zoë"\r\n`],
    ['tabs', (a, b, c) => `username\tdisplayName\n${a}\tZoë\n${b}\tZoë\n${c}\tZoë\n`],
    ['sep=;', (a, b, c) => `sep=;\r\nusername;displayName\r\n${a};Zoë\r\n${b};Zoë\r\n${c};Zoë\r\n`],
    ['"sep=,"', (a, b, c) => `\uFEFF"sep=,"\r\nusername,displayName\r\n${a},Zoë\r\n${b},Zoë\r\n${c},Zoë\r\n`],
    ['sep= and a tab', (a, b, c) => `sep=\t\r\nusername\tdisplayName\r\n${a}\tZoë\r\n${b}\tZoë\r\n${c}\tZoë\r\n`],
    ['other names of columns', (a, b, c) => `"User Name", DISPLAY_NAME \n${a},Zoë\n${b},Zoë\n${c},Zoë\n`],
    ['columns that were used once', (a, b, c) => `username;displayName;;;\n${a};Zoë;;;\n${b};Zoë;;;\n${c};Zoë\n;;;;\n`],
    ['blanks around names', (a, b, c) => `username,displayName\n ${a} ,Zoë\n\u00A0${b},Zoë\n"${c}\t",Zoë\n`],
  ])('with %s is read completely', async (_, file) => {
    const users = [newName(), newName(), newName()] as const;
    const imported = await send(file(...users));
    expect([imported.errors, imported.rows, imported.created]).toEqual([[], 3, 3]);
    expect(imported.credentials?.map(({ username }) => username)).toEqual(users);
    for (const username of users) expect(await find(username)).toMatchObject({ displayName: 'Zoë', notes: null });
  });

  it.each<[what: string, text: (a: string, b: string) => string]>([
    ['CRLF', (a, b) => `${a}\r\n${b}\r\n`],
    ['CR alone', (a, b) => `${a}\r${b}\r`],
    ['Ctrl-Z', (a, b) => `${a}\n${b}\n\u001A`],
    ['lines of blanks', (a, b) => `\n  \n${a}\n\t\n${b}\n `],
    ['a byte order mark', (a, b) => `\uFEFF${a}\n${b}`],
  ])('of NDJSON with %s is read completely', async (_, text) => {
    const users = [newName(), newName()] as const;
    const [a, b] = users.map((username) => JSON.stringify({ username, displayName: 'Zoë' })) as [string, string];
    const imported = await send(text(a, b), { type: NDJSON });
    expect([imported.errors, imported.created]).toEqual([[], 2]);
  });

  it('is read the same when it arrives byte by byte', async () => {
    const users = [newName(), newName()];
    const text = `sep=;\r\n"User Name";displayName\r\n${users.join(';"Zoë\r\n"\r\n')};Zoë\r\n\u001A\r\n`;
    const bytes = Buffer.from(`\uFEFF${text}`, 'utf16le');
    const { status, errors } = await send(bytes, { query: '?dryRun=true' });
    async function* slowly(): AsyncGenerator<Uint8Array> {
      for (const byte of bytes) yield await Promise.resolve(Buffer.from([byte]));
    }
    const finished = await importFrom(app, slowly(), { dryRun: true, partial: true });
    await finished.release();
    expect([status, finished.summary.rows, finished.summary.errors]).toEqual([200, 2, errors]);
  });

  it('keeps quoted texts and passwords unchanged', async () => {
    const username = newName();
    const password = secret(`'= ${randomUUID()} `);
    const notes = ' two\r\nlines; "three"\t';
    await send(`username;displayName;notes;password\n${username};x;"${notes.replaceAll('"', '""')}";"${password}"\n`);
    expect(await find(username)).toMatchObject({ notes });
    const answer = await app.request('POST', '/generateToken', { form: { Username: username, Password: password } });
    expect(answer.status).toBe(200);
    secret(answer.text);
  });

  it.each<[what: string, body: string | Buffer, field: string, message: RegExp, type?: string]>([
    [
      'ANSI',
      Buffer.from('username,displayName\nabc,Blue\nabd,Zo\xeb\n', 'latin1'),
      'rows.3',
      /0xEB would be "ë".*"ANSI".*CSV UTF-8/,
    ],
    ['a workbook', Buffer.from('504b0304140000', 'hex'), '', /workbook.*CSV UTF-8/],
    ['compressed', Buffer.from('1f8b0800000000', 'hex'), '', /compressed/],
    ['UTF-32', Buffer.from('fffe0000750000007300', 'hex'), '', /UTF-32/],
    ['another separator', 'sep=~\nusername~displayName\n', 'rows.1', /separator is "~"; it must be/],
    [
      'an unknown column',
      'username;displayName;Rolle\na-b;c;d\n',
      'rows.1',
      /column 3 is "Rolle", which is not one of username/,
    ],
    [
      'no names of columns',
      'abc,Blue\nabd,Green\n',
      'rows.1',
      /column 1 is "abc".*first line must contain the column names/,
    ],
    [
      'a missing column',
      'User Name;Notes\na-b;c\n',
      'rows.1',
      /displayName is missing; found username, notes, separated by semicolons/,
    ],
    [
      'the same column in two spellings',
      'username,displayName,Display Name\na-b,c,d\n',
      'rows.1',
      /displayName occurs twice/,
    ],
    ['a JSON array', '[\n  {"username":"a-b"}\n]\n', 'rows.1', /JSON array.*jq/, NDJSON],
    ['a JSON array on one line', '[{"username":"a-b","displayName":"x"}]', 'rows.1', /JSON array/, NDJSON],
    ['NDJSON where CSV is meant', '{"username":"a-b","displayName":"x"}\n', 'rows.1', /begins with "\{" like JSON/],
  ])('that is unreadable gets an error with what was found: %s', async (_, body, field, message, type = CSV) => {
    const { status, code, errors } = await send(body, { type });
    expect([status, code, errors.map((error) => error.field)]).toEqual([400, 'import.unreadable', [field]]);
    expect(errors[0]?.messages[0]).toMatch(message);
  });

  it('gets errors that quote the wrong value, except for secrets', async () => {
    const { errors } = await send(
      'username,displayName,tokenTtlSeconds,allowedIps,password\r\nblue one,Blue,1e3,10.0.0.0/33,"a\tsecret"\r\n',
    );
    expect(errors.map(({ field, messages }) => `${field} ${messages[0] ?? ''}`).sort()).toEqual([
      expect.stringMatching(/^rows\.2\.allowedIps .*; found "\[\\"10\.0\.0\.0\/33\\"\]"$/),
      expect.stringMatching(/^rows\.2\.password [^"]*$/),
      expect.stringMatching(/^rows\.2\.tokenTtlSeconds .*; found "1e3"$/),
      expect.stringMatching(/^rows\.2\.username must be 3 to 64 .*; it contains a space; found "blue one"$/),
    ]);
  });

  it('counts every row, including those with too few or too many cells', async () => {
    const { rows, created, failed, errors } = await send(
      `username,displayName,notes\r\n${newName()},Blue\n${newName()},Blue,,,\r\n${newName()},Blue,x,y\r`,
      { query: '?partial=true' },
    );
    expect([rows, created, failed]).toEqual([3, 1, 2]);
    expect(errors.map(({ field, messages }) => [field, messages[0]])).toEqual([
      ['rows.2', 'must have 3 cells, like the line of column names; found 2'],
      ['rows.4', 'must have 3 cells, like the line of column names; found 4'],
    ]);
  });
});
