import http from 'node:http';
import { CONNECTION_LIMITS } from '../platform/http/connections.ts';
import { type Answer, TestApp } from '../../test/support/app.ts';
import { realTime } from '../../test/support/real-time.ts';
import { secret } from '../../test/support/secrets.ts';

interface Item {
  id: string;
  username: string;
  displayName: string;
  status: string;
  scopes: string[];
  createdAt: string;
  lastTokenAt: string | null;
}
interface Page {
  items: Item[];
  total: number | null;
  nextCursor: string | null;
}
interface Problem {
  code: string;
  errors?: { field: string; messages: string[] }[];
}

const USERS = '/admin/channel-users';
const NUMBER = 31;

let app: TestApp;
let token: string;
let all: Item[];

const query = (parameters: Record<string, string> | string): Promise<Answer> =>
  app.request(
    'GET',
    `${USERS}?${typeof parameters === 'string' ? parameters : new URLSearchParams(parameters).toString()}`,
    {
      token,
    },
  );
const list = async (parameters: Record<string, string>): Promise<Page> => {
  const answer = await query(parameters);
  expect({ status: answer.status, text: answer.status === 200 ? '' : answer.text }).toEqual({ status: 200, text: '' });
  return answer.json<Page>();
};
const names = async (parameters: Record<string, string>): Promise<string[]> => {
  const { items, total, nextCursor } = await list({ limit: '200', ...parameters });
  expect({ total, nextCursor }).toEqual({ total: items.length, nextCursor: null });
  return items.map(({ username }) => username);
};
const provision = async (
  fields: Record<string, unknown>,
): Promise<{ username: string; password: string; id: string }> => {
  const operator = (await app.asStaff('operator')).token;
  const answer = await app.request('POST', USERS, { token: operator, json: { displayName: 'Walked', ...fields } });
  expect(answer.status).toBe(201);
  const { channelUser, credential } = answer.json<{
    channelUser: { id: string; username: string };
    credential: { password: string };
  }>();
  return { id: channelUser.id, username: channelUser.username, password: secret(credential.password) };
};

beforeAll(async () => {
  app = await TestApp.start({}, {}, CONNECTION_LIMITS);
  token = (await app.asStaff('viewer')).token;
  const operator = (await app.asStaff('operator')).token;
  const special: Record<string, unknown>[] = [
    { username: 'Percent', displayName: '100% sure' },
    { username: 'under_score', displayName: 'plain' },
    { username: 'underXscore', displayName: 'plain' },
    { username: 'Backslash', displayName: 'C:\\temp\\' },
    { username: 'Umlaut', displayName: '\u00dcberall GmbH', contactEmail: 'Ops@Walked.example' },
    { username: 'b-scoped', displayName: 'Scoped', scopes: ['calendar:write', 'property'] },
    { username: 'A-scoped', displayName: 'Scoped', scopes: ['calendar'] },
    { username: 'expired-one', displayName: 'x', expiresAt: '2020-01-01T00:00:00Z' },
    { username: 'expired-suspended', displayName: 'x', expiresAt: '2020-01-01T00:00:00Z' },
    { username: 'suspended-one', displayName: 'x' },
  ];
  const made: { id: string; username: string; password: string }[] = [];
  for (let i = 0; i < NUMBER; i++) {
    made.push(await provision(special[i] ?? { username: `${i % 2 ? 'W' : 'w'}alker${String((i * 7) % NUMBER)}` }));
  }
  for (const username of ['suspended-one', 'expired-suspended']) {
    const id = made.find((each) => each.username === username)?.id ?? '';
    await app.request('POST', `${USERS}/${id}/suspend`, { token: operator, json: { reason: 'r' } });
  }
  for (const [i, partner] of made.entries()) {
    if (i >= 10 && i % 3 !== 0) await app.generateToken(partner);
  }
  // A list first writes all recorded uses, so none is written later.
  await list({ limit: '1' });
  // Makes ties to the millisecond. Many rows share a lastTokenAt or have none.
  await app.dataSource.query(
    `UPDATE channel_user SET created_at = date_trunc('minute', created_at) - (length(username) % 4) * interval '1 minute'`,
  );
  await app.dataSource.query(
    `UPDATE channel_user_use SET last_token_at = '2026-01-01T00:00:00.123Z'::timestamptz
       + (length(username) % 2) * interval '1 ms'
     FROM channel_user WHERE id = channel_user_id AND channel_user_use.last_token_at > '-infinity'`,
  );
  all = (await list({ limit: '200' })).items;
});
afterAll(() => app.close());
afterEach(() => {
  app.clockOffset = 0;
});

describe('the list of channel users', () => {
  it('is open to viewers, sorted by username, with fifty items by default', async () => {
    const page = await list({});
    expect(Object.keys(page).sort()).toEqual(['items', 'nextCursor', 'total']);
    expect(page.total).toBe(NUMBER);
    expect(page.items).toHaveLength(NUMBER);
    expect(page.nextCursor).toBeNull();
    const keys = page.items.map(({ username }) => username.toLowerCase());
    expect(keys).toEqual([...keys].sort());
    expect(Object.keys(page.items[0] ?? {}).sort()).toEqual(
      [
        'id username displayName contactEmail externalId status scopes tokenTtlSeconds tokensPerMinute allowedIps expiresAt',
        'selfService notes createdAt updatedAt lastTokenAt version',
      ]
        .join(' ')
        .split(' ')
        .sort(),
    );
  });

  it('has ties and rows without a token in the data of the tests below', () => {
    expect(new Set(all.map(({ createdAt }) => createdAt)).size).toBeLessThan(15);
    expect(all.filter(({ lastTokenAt }) => lastTokenAt === null).length).toBeGreaterThan(5);
    const tokens = all.flatMap(({ lastTokenAt }) => lastTokenAt ?? []);
    expect(tokens.length).toBeGreaterThan(5);
    expect(new Set(tokens).size).toBe(2);
  });

  it.each(['username', '-username', 'createdAt', '-createdAt', 'lastTokenAt', '-lastTokenAt'])(
    'pages through each row once, in order, by %s',
    async (sort) => {
      const seen: Item[] = [];
      let cursor: string | null = null;
      let pages = 0;
      do {
        const page: Page = await list({ sort, limit: '3', ...(cursor !== null && { cursor }) });
        expect(page.total).toBe(NUMBER);
        expect(page.items.length).toBe(page.nextCursor === null ? NUMBER % 3 : 3);
        seen.push(...page.items);
        cursor = page.nextCursor;
        pages++;
      } while (cursor !== null && pages < 50);
      expect(seen.map(({ id }) => id).sort()).toEqual(all.map(({ id }) => id).sort());
      const field = sort.replace('-', '') as 'username' | 'createdAt' | 'lastTokenAt';
      const keys = seen.map((item) => (item[field] ?? '').toLowerCase());
      const ordered = [...keys].sort();
      expect(keys).toEqual(sort.startsWith('-') ? ordered.reverse() : ordered);
      const backwards = await list({ sort: sort.startsWith('-') ? sort.slice(1) : `-${sort}`, limit: '200' });
      expect(backwards.items.map(({ id }) => id).reverse()).toEqual(seen.map(({ id }) => id));
    },
  );

  it('ends without an empty page after a full one', async () => {
    const page = await list({ limit: String(NUMBER) });
    expect({ length: page.items.length, nextCursor: page.nextCursor }).toEqual({ length: NUMBER, nextCursor: null });
    const almost = await list({ limit: String(NUMBER - 1) });
    const rest = await list({ limit: String(NUMBER - 1), cursor: almost.nextCursor ?? '' });
    expect({ length: rest.items.length, nextCursor: rest.nextCursor }).toEqual({ length: 1, nextCursor: null });
  });

  it('continues after a row that was deleted in between', async () => {
    const doomed = await provision({ username: '---doomed' });
    const first = await list({ limit: '1' });
    expect(first.items[0]?.username).toBe('---doomed');
    await app.request('DELETE', `${USERS}/${doomed.id}`, { token: (await app.asStaff('admin')).token });
    const next = await list({ limit: '1', cursor: first.nextCursor ?? '' });
    expect(next.items[0]?.id).toBe(all[0]?.id);
  });

  it('pages and counts only what the filter matches', async () => {
    const walkers = all.filter(({ username }) => username.toLowerCase().startsWith('walker'));
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const page: Page = await list({
        q: 'WALKER',
        sort: '-createdAt',
        limit: '4',
        ...(cursor !== null && { cursor }),
      });
      expect(page.total).toBe(walkers.length);
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    } while (cursor !== null);
    expect(seen.sort()).toEqual(walkers.map(({ id }) => id).sort());
  });

  it('counts exactly up to ten thousand and returns null above', async () => {
    const insert = (count: number, prefix: string): Promise<unknown> =>
      app.seed(
        `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
           allowed_ips, search_text, updated_at)
         SELECT n, n, 'Bulk', '{}', 3600, 60, '{}', n || E'\\nbulk\\n', now()
         FROM (SELECT $1 || i AS n FROM generate_series(1, $2::int) i) numbers`,
        [prefix, count],
      );
    try {
      await insert(10_000, 'bulk-');
      expect((await list({ q: 'bulk-', limit: '1' })).total).toBe(10_000);
      await insert(1, 'bulk-more-');
      expect((await list({ q: 'bulk-', limit: '1' })).total).toBeNull();
      expect((await list({ limit: '1' })).total).toBeNull();
      expect((await list({ q: 'bulk-', limit: '200', sort: '-lastTokenAt' })).items).toHaveLength(200);
    } finally {
      await app.seed(`DELETE FROM channel_user WHERE username LIKE 'bulk-%'`);
    }
  });
});

describe('searching', () => {
  it('finds parts of username, display name and e-mail in any case', async () => {
    expect(await names({ q: 'ackslas' })).toEqual(['Backslash']);
    expect(await names({ q: 'BACKSLASH' })).toEqual(['Backslash']);
    expect(await names({ q: '\u00fcBER' })).toEqual(['Umlaut']);
    expect(await names({ q: 'ops@walked.EXAMPLE' })).toEqual(['Umlaut']);
    expect(await names({ q: ' gmbh ' })).toEqual(['Umlaut']);
    expect(await names({ q: 'no such thing' })).toEqual([]);
    expect(await names({ q: '' })).toHaveLength(NUMBER);
  });

  it('treats wildcards and backslashes as plain characters', async () => {
    expect(await names({ q: '100%' })).toEqual(['Percent']);
    expect(await names({ q: 'under%' })).toEqual([]);
    expect(await names({ q: 'under_score' })).toEqual(['under_score']);
    expect(await names({ q: 'sco_ed' })).toEqual([]);
    expect(await names({ q: '\\temp\\' })).toEqual(['Backslash']);
    expect(await names({ q: '\\%' })).toEqual([]);
    expect(await names({ q: `' OR 1=1 --` })).toEqual([]);
  });

  it.each([
    ['un', ['under_score', 'underXscore']],
    ['UN', ['under_score', 'underXscore']],
    ['a-', ['A-scoped']],
    ['b', ['b-scoped', 'Backslash']],
    // Only display names contain these.
    ['%', []],
    ['0%', []],
    ['_', []],
    ['\\', []],
    ['\u00fcb', []],
    ['#', []],
    ['- -', []],
    // These have no three letters or digits in a row.
    ['b-s', ['b-scoped']],
    ['-sc', []],
  ])('finds usernames by their start when fewer than three letters or digits are given: %j', async (q, expected) => {
    expect(await names({ q })).toEqual(expected);
  });

  it('does not match across fields', async () => {
    expect(await names({ q: 'umlaut\u00fcberall' })).toEqual([]);
    expect((await query({ q: 'umlaut\n\u00fcberall' })).status).toBe(400);
  });
});

describe('filters of the list', () => {
  it('select by status, and a suspended, expired account is suspended', async () => {
    expect(await names({ status: 'suspended' })).toEqual(['expired-suspended', 'suspended-one']);
    expect(await names({ status: 'expired' })).toEqual(['expired-one']);
    const active = await list({ status: 'active', limit: '200' });
    expect(active.total).toBe(NUMBER - 3);
    expect(new Set(active.items.map(({ status }) => status))).toEqual(new Set(['active']));
  });

  it('by status follow the clock', async () => {
    const { id } = await provision({
      username: 'soon-over',
      expiresAt: new Date(Date.now() + 3_600_000).toISOString(),
    });
    expect(await names({ q: 'soon-over', status: 'active' })).toEqual(['soon-over']);
    app.clockOffset = 3_600_001;
    expect(await names({ q: 'soon-over', status: 'expired' })).toEqual(['soon-over']);
    expect(await names({ q: 'soon-over', status: 'active' })).toEqual([]);
    app.clockOffset = 0;
    await app.request('DELETE', `${USERS}/${id}`, { token: (await app.asStaff('admin')).token });
  });

  it('match a whole scope', async () => {
    expect(await names({ scope: 'calendar' })).toEqual(['A-scoped']);
    expect(await names({ scope: 'calendar:write' })).toEqual(['b-scoped']);
    expect(await names({ scope: 'property' })).toEqual(['b-scoped']);
    expect(await names({ scope: 'prop' })).toEqual([]);
  });

  it('can all be combined', async () => {
    expect(await names({ q: 'scoped', status: 'active', scope: 'calendar', sort: '-createdAt' })).toEqual(['A-scoped']);
    expect(await names({ q: 'scoped', status: 'expired' })).toEqual([]);
  });
});

describe('an invalid query', () => {
  const refuse = (answer: Answer, field?: string): void => {
    const problem = answer.json<Problem>();
    expect({ status: answer.status, code: problem.code }).toEqual({ status: 400, code: 'request.invalid' });
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    expect((problem.errors ?? []).map((error) => error.field)).toEqual(field === undefined ? [] : [field]);
  };

  it.each(['0', '201', '-1', '1.5', '1e2', '0x10', ' 5', 'abc', '', '99999999999999999999', 'NaN', '\u0665'])(
    'is refused: limit=%s',
    async (limit) => {
      refuse(await query({ limit }), 'limit');
    },
  );

  it.each([
    ['status', 'Active'],
    ['status', 'deleted'],
    ['sort', 'displayName'],
    ['sort', '--username'],
    ['sort', 'username;'],
    ['sort', 'constructor'],
    ['scope', 'A'],
    ['scope', 'a:b:c'],
    ['scope', ''],
    ['q', 'a\u0000b'],
    ['q', 'x'.repeat(201)],
    ['expiringWithinDays', '0'],
    ['expiringWithinDays', '366'],
    ['expiringWithinDays', 'soon'],
    ['silentForDays', '0'],
    ['silentForDays', '366'],
    ['silentForDays', '1.5'],
    ['failing', 'false'],
    ['failing', ''],
    ['failing', '1'],
    ['page', '2'],
    ['constructor', 'x'],
  ])('is refused: %s=%s', async (field, value) => {
    refuse(await query({ [field]: value }), field);
  });

  it.each(['q', 'status', 'sort', 'limit', 'scope', 'cursor'])('is refused: %s twice', async (field) => {
    const value = { q: 'a', status: 'active', sort: 'username', limit: '1', scope: 'a', cursor: 'a' }[field] ?? '';
    refuse(await query(`${field}=${value}&${field}=${value}`), field);
  });

  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  const ID = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';

  it.each([
    ['garbage', 'garbage'],
    ['empty', ''],
    ['too long', 'x'.repeat(1001)],
    ['no JSON', Buffer.from('{').toString('base64url')],
    ['null', encode(null)],
    ['an object', encode({ 0: 'username', length: 3 })],
    ['too short', encode(['username', 'abc'])],
    ['too long a key', encode(['username', 'abc', ID, ID])],
    ['of another order', encode(['-username', 'abc', ID])],
    ['of the audit trail', encode(['seq', '1'])],
    ['with no UUID', encode(['username', 'abc', 'x'])],
    ['with a number', encode(['username', 5, ID])],
    ['with null', encode(['username', null, ID])],
    ['with a list', encode(['username', ['abc'], ID])],
    ['with what no username is', encode(['username', "a'b", ID])],
  ])('is refused: a cursor that is %s', async (_, cursor) => {
    refuse(await query({ cursor }), 'cursor');
  });

  it.each([
    ['createdAt', 'yesterday'],
    ['createdAt', '-infinity'],
    ['createdAt', '2026-13-45T99:99:99.999Z'],
    ['createdAt', '2026-02-30T00:00:00.000Z'],
    ['lastTokenAt', 'infinity'],
    ['lastTokenAt', '2026-02-30T00:00:00.000Z'],
  ])('is refused: a cursor by %s with %s', async (sort, key) => {
    for (const direction of ['', '-']) {
      const answer = await query({ sort: direction + sort, cursor: encode([direction + sort, key, ID]) });
      refuse(answer, 'cursor');
    }
  });

  it('is refused: a valid cursor under another sort, or an edited one', async () => {
    const { nextCursor } = await list({ limit: '3', sort: 'createdAt' });
    for (const sort of ['-createdAt', 'username', 'lastTokenAt']) {
      refuse(await query({ sort, cursor: nextCursor ?? '' }), 'cursor');
    }
    refuse(await query({ cursor: nextCursor ?? '' }), 'cursor');
    refuse(await query({ sort: 'createdAt', cursor: (nextCursor ?? '').slice(0, -4) }), 'cursor');
    refuse(await query({ sort: 'createdAt', cursor: (nextCursor ?? '').slice(1) }), 'cursor');
  });
});

describe('the filters for what needs attention', () => {
  // The tests of the overview cover what each filter means.
  it.each(['expiringWithinDays', 'silentForDays', 'failing'])(
    'combine with every other filter, sort and cursor: %s',
    async (name) => {
      const parameters: Record<string, string> = { [name]: name === 'failing' ? 'true' : '30' };
      const marked = all.filter((_, i) => i % 2 === 0).map(({ id }) => id);
      const mark = (statement: string): Promise<unknown> => app.dataSource.query(statement, [marked]);
      await mark(
        `UPDATE credential SET expires_at = now() + interval '10 days' WHERE channel_user_id = ANY($1::uuid[])`,
      );
      await mark(
        `INSERT INTO sign_in_failure (channel_user_id, since, last_at, reason, refusals)
         SELECT id, now(), now(), 'wrong_password', 1 FROM unnest($1::uuid[]) AS id`,
      );
      await mark(`UPDATE channel_user SET created_at = created_at - interval '1 year' WHERE id = ANY($1::uuid[])`);
      await mark(`UPDATE channel_user_use SET last_token_at = '-infinity' WHERE channel_user_id = ANY($1::uuid[])`);
      await mark(
        `UPDATE channel_user_use SET last_token_at = now()
         WHERE channel_user_id <> ALL($1::uuid[]) AND last_token_at > '-infinity'`,
      );
      try {
        for (const sort of ['username', '-username', 'createdAt', '-createdAt', 'lastTokenAt', '-lastTokenAt']) {
          const whole = (await list({ sort, limit: '200' })).items.map(({ id }) => id);
          const seen: string[] = [];
          let cursor: string | null = null;
          do {
            const page: Page = await list({ ...parameters, sort, limit: '5', ...(cursor !== null && { cursor }) });
            expect(page.total).toBe(marked.length);
            seen.push(...page.items.map(({ id }) => id));
            cursor = page.nextCursor;
          } while (cursor !== null);
          expect(seen).toEqual(whole.filter((id) => marked.includes(id)));
        }
        const active = await list({ ...parameters, status: 'active', limit: '200' });
        const expected = all.filter(({ id, status }) => status === 'active' && marked.includes(id));
        expect(active.items.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
        expect((await list({ ...parameters, q: 'no such thing' })).total).toBe(0);
      } finally {
        await app.dataSource.query('UPDATE credential SET expires_at = NULL');
        await app.dataSource.query('DELETE FROM sign_in_failure');
        await mark(`UPDATE channel_user SET created_at = created_at + interval '1 year' WHERE id = ANY($1::uuid[])`);
      }
    },
  );
});

describe('the export of channel users', () => {
  const HEADER =
    'username,displayName,contactEmail,externalId,status,scopes,tokenTtlSeconds,tokensPerMinute,allowedIps,expiresAt,selfService,createdAt,lastTokenAt,notes';
  const fetchCsv = (parameters: Record<string, string> = {}): Promise<Answer> =>
    app.request('GET', `${USERS}/export?${new URLSearchParams(parameters).toString()}`, { token });
  const linesOf = (answer: Answer): string[] => {
    expect([answer.status, answer.text.slice(-2)]).toEqual([200, '\r\n']);
    const [header, ...lines] = answer.text.slice(0, -2).split('\r\n');
    expect(header).toBe(HEADER);
    return lines;
  };
  const bulk = (count: number): Promise<unknown> =>
    app.seed(
      `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
         allowed_ips, search_text, updated_at, notes)
       SELECT n, n, 'Bulk', '{}', 3600, 60, '{}', n || E'\\nbulk\\n', now(), repeat('x', 1000)
       FROM (SELECT 'bulk-' || lpad(i::text, 6, '0') AS n FROM generate_series(1, $1::int) i) numbers`,
      [count],
    );
  const unbulk = (): Promise<unknown> => app.seed(`DELETE FROM channel_user WHERE username LIKE 'bulk-%'`);
  /** Reads an export and pauses after each chunk for as long as `delayMs` says. */
  const download = (delayMs: (chunks: number) => number): Promise<{ text: string; complete: boolean }> =>
    new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${token}` };
      const read = async (response: http.IncomingMessage): Promise<{ text: string; complete: boolean }> => {
        let text = '';
        let chunks = 0;
        response.setEncoding('utf8');
        try {
          for await (const chunk of response) {
            text += chunk as string;
            const delay = delayMs(++chunks);
            if (delay > 0) await realTime('the client reads slowly', delay);
          }
        } catch {
          // The server cut the connection.
        }
        return { text, complete: response.complete };
      };
      http
        .get(`${app.url}${USERS}/export?q=bulk-`, { headers }, (response) => {
          read(response).then(resolve, reject);
        })
        .on('error', reject);
    });

  it('holds all channel users by username', async () => {
    const answer = await fetchCsv();
    expect(answer.headers.get('content-type')).toBe('text/csv; charset=utf-8');
    expect(answer.headers.get('content-disposition')).toBe(
      `attachment; filename="channel-users-${new Date().toISOString().slice(0, 10)}.csv"`,
    );
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const expected = (await list({ limit: '200' })).items;
    expect(linesOf(answer).map((line) => line.split(',')[0])).toEqual(expected.map(({ username }) => username));
  });

  it('has the cells of a channel user and no secret', async () => {
    const made = await provision({
      username: 'cells',
      displayName: 'Cells, "Inc."',
      contactEmail: 'a@b.example',
      scopes: ['a', 'b:c'],
      allowedIps: ['192.0.2.0/24', '2001:db8::/32'],
      expiresAt: '2090-01-01T00:00:00Z',
      notes: 'one\ntwo',
      tokensPerMinute: 7,
    });
    const { text } = await fetchCsv({ q: 'cells' });
    const [item] = (await list({ q: 'cells' })).items;
    expect(text).toBe(
      `${HEADER}\r\ncells,"Cells, ""Inc.""",a@b.example,,active,a b:c,3600,7,192.0.2.0/24 2001:db8::/32,` +
        `2090-01-01T00:00:00.000Z,true,${item?.createdAt ?? ''},,"one\ntwo"\r\n`,
    );
    expect(text).not.toContain(made.password);
  });

  it.each(['=1+1', '+1', '-1', '@SUM(A1)', '\t=1+1', '=cmd|"/c calc"!A1', '＝1+1', '＋1', '－1', '＠A1', ' =1', "'=1"])(
    'has no cell that a spreadsheet would take for a formula: %j',
    async (notes) => {
      const username = `-formula${String(Math.random()).slice(2)}`;
      await provision({ username, displayName: 'x', notes });
      const line = linesOf(await fetchCsv({ q: username }))[0] ?? '';
      // A username cannot hold a formula, so it stays as it is.
      expect(line.startsWith(`${username},x,`)).toBe(true);
      const cell = line.slice(line.lastIndexOf('Z,,') + 3);
      expect(cell).toBe(notes.includes('"') ? `"'${notes.replaceAll('"', '""')}"` : `'${notes}`);
    },
  );

  it('accepts the filters of the list and nothing else', async () => {
    const filters: Record<string, string>[] = [
      { status: 'suspended' },
      { scope: 'calendar:write' },
      { q: 'WALKER' },
      { failing: 'true' },
    ];
    for (const filter of filters) {
      const lines = linesOf(await fetchCsv(filter));
      expect(lines.map((line) => line.split(',')[0])).toEqual(await names(filter));
    }
    for (const [field, value] of [
      ['limit', '1'],
      ['cursor', 'x'],
      ['sort', 'username'],
      ['status', 'Active'],
      ['silentForDays', '0'],
    ] as const) {
      const answer = await fetchCsv({ [field]: value });
      expect([answer.status, answer.json<Problem>().errors?.map((error) => error.field)]).toEqual([400, [field]]);
      expect(answer.headers.get('content-disposition')).toBeNull();
    }
  });

  it('is open to all staff and to nobody else', async () => {
    const path = `${USERS}/export`;
    expect((await app.request('GET', path)).status).toBe(401);
    expect((await app.request('GET', path, { token: (await app.asPartner()).token })).status).toBe(403);
    expect((await app.request('HEAD', path, { token })).status).toBe(200);
  });

  it('spans several pages and holds each row once', async () => {
    await bulk(1_700);
    try {
      const lines = linesOf(await fetchCsv({ q: 'bulk-' })).map((line) => line.split(',')[0]);
      expect(lines).toHaveLength(1_700);
      expect(lines).toEqual([...new Set(lines)].sort());
      // 999 rows leave the last page one row short. The 1,000 rows below fill it.
      expect(linesOf(await fetchCsv({ q: 'bulk-000' }))).toHaveLength(999);
      await app.dataSource.query(`DELETE FROM channel_user WHERE username > 'bulk-001000' AND username LIKE 'bulk-%'`);
      expect(linesOf(await fetchCsv({ q: 'bulk-' }))).toHaveLength(1_000);
    } finally {
      await unbulk();
    }
  });

  it('may take longer than the deadline of a request', async () => {
    await bulk(15_000);
    try {
      const began = performance.now();
      const { text, complete } = await download(() => (performance.now() - began < 5_000 ? 500 : 0));
      expect(performance.now() - began).toBeGreaterThan(5_000);
      expect([complete, text.split('\r\n').length]).toEqual([true, 15_002]);
    } finally {
      await unbulk();
    }
  });

  it('is cut off without an end when the database fails', async () => {
    await bulk(15_000);
    const { dataSource } = app;
    const createQueryRunner = dataSource.createQueryRunner.bind(dataSource);
    try {
      const { text, complete } = await download((chunks) => {
        if (chunks === 1) {
          dataSource.createQueryRunner = () => {
            throw new Error('Connection terminated unexpectedly');
          };
        }
        return 0;
      });
      expect(complete).toBe(false);
      expect(text.startsWith(HEADER)).toBe(true);
      expect(text).not.toContain('Connection');
    } finally {
      dataSource.createQueryRunner = createQueryRunner;
      await unbulk();
    }
  });

  it('and the list hold many matches that are far from the start of the sort', async () => {
    const nameOf = (n: number): string => `bulk-${String(n).padStart(6, '0')}`;
    await bulk(13_000);
    try {
      // In all sorts, 2,000 come before the first match.
      await app.seed(`UPDATE channel_user SET created_at = now() - (13000 - right(username, 6)::int) * interval '1 second',
        scopes = CASE WHEN username <= 'bulk-002000' THEN '{early:one}' WHEN username > 'bulk-011000' THEN '{late:one}'
          ELSE '{early:one,late:one}' END::text[] WHERE username LIKE 'bulk-%'`);
      await app.seed(`UPDATE channel_user_use SET last_token_at = channel_user.created_at FROM channel_user
        WHERE id = channel_user_id AND username LIKE 'bulk-%'`);
      for (const order of ['username', 'createdAt', 'lastTokenAt']) {
        for (const [sort, scope, first, step] of [
          [order, 'late:one', 2_001, 1],
          [`-${order}`, 'early:one', 11_000, -1],
        ] as const) {
          const page = await list({ sort, scope, limit: '100' });
          const next = await list({ sort, scope, limit: '100', cursor: page.nextCursor ?? '' });
          expect([sort, page.total]).toEqual([sort, null]);
          expect([...page.items, ...next.items].map(({ username }) => username)).toEqual(
            Array.from({ length: 200 }, (_, i) => nameOf(first + i * step)),
          );
        }
      }
      const lines = linesOf(await fetchCsv({ scope: 'late:one' })).map((line) => line.split(',')[0]);
      expect(lines).toEqual(Array.from({ length: 11_000 }, (_, i) => nameOf(i + 2_001)));
    } finally {
      await unbulk();
    }
  });
});
