import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { createHash, randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { AuditChain } from '../src/audit/audit-chain.service.ts';
import { type Answer, TestApp } from './support/app.ts';
import { secret } from './support/secrets.ts';
import { eventually } from './support/sign-ins.ts';

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

/** Sends a file that is expected to be taken. */
async function importing(body: string | Buffer, options: Parameters<typeof send>[1] = {}): Promise<Summary> {
  const answer = await send(body, options);
  expect([answer.status, answer.status === 200 ? '' : answer.text]).toEqual([200, '']);
  const summary = answer.json<Summary>();
  for (const { password } of summary.credentials) secret(password);
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
  // What a cell leaves open is what POST leaves open.
  const posted = await app.newPartner();
  const {
    id: _1,
    username: _2,
    displayName: _3,
    createdAt: _4,
    updatedAt: _5,
    ...defaults
  } = (await read(posted.id)).json();
  expect((await read(second?.id)).json()).toMatchObject({ ...defaults, displayName: 'Zoë' });
});
