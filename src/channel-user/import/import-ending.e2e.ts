import { randomUUID } from 'node:crypto';
import { request as httpRequest } from 'node:http';
import { CONNECTION_LIMITS } from '../../platform/http/connections.ts';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { secret } from '../../../test/support/secrets.ts';
import { eventually, until } from '../../../test/support/sign-ins.ts';

let app: TestApp;
let operator: string;

beforeAll(async () => {
  app = await TestApp.start({}, {}, CONNECTION_LIMITS);
  operator = (await app.asStaff('operator')).token;
});
afterEach(() => {
  app.clockOffset = 0;
});
afterAll(() => app.close());

const PATH = '/admin/channel-users/import';
const HOUR_MS = 3_600_000;

interface Sending {
  readonly id: string;
  readonly write: (text: string) => void;
  readonly end: () => void;
  readonly answered: Promise<{ status: number; json: Record<string, unknown> }>;
}

/** Starts an upload and leaves it open. */
function sending(token = operator): Sending {
  const id = randomUUID();
  const request = httpRequest(`${app.url}${PATH}?id=${id}`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'text/csv', 'transfer-encoding': 'chunked' },
  });
  const answered = new Promise<{ status: number; json: Record<string, unknown> }>((resolve, reject) => {
    request.on('error', reject);
    request.on('response', (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
      response.on('close', () => {
        request.destroy();
        resolve({ status: response.statusCode ?? 0, json: JSON.parse(text) as Record<string, unknown> });
      });
    });
  });
  answered.catch(() => undefined);
  request.flushHeaders();
  return { id, write: (text) => request.write(text), end: () => request.end(), answered };
}

const stateOf = async (id: string): Promise<unknown> =>
  (await app.request('GET', `${PATH}s/${id}`, { token: operator })).json()['state'];
const isState = (id: string, state: string): Promise<void> =>
  until(async () => (await stateOf(id)) === state, `it is ${state}`);
/** Waits for the next heartbeat of an import. */
const heartbeatOf = async (id: string): Promise<void> => {
  const last = async (): Promise<number | undefined> => {
    const rows = await app.dataSource.query<{ at: Date }[]>(
      'SELECT heartbeat_at AS at FROM channel_user_import WHERE id = $1',
      [id],
    );
    return rows[0]?.at.getTime();
  };
  const before = await last();
  await eventually(async () => ((await last()) === before ? undefined : true), 'a heartbeat');
};
const accounts = async (prefix: string): Promise<number> => {
  const rows = await app.dataSource.query<unknown[]>('SELECT FROM channel_user WHERE starts_with(username_key, $1)', [
    prefix,
  ]);
  return rows.length;
};
const send = (body: string): Promise<Answer> =>
  app.request('POST', PATH, { token: operator, body, headers: { 'content-type': 'text/csv' } });

/** An upload of which one row has arrived. */
async function begun(username: string, token?: string): Promise<Sending> {
  const upload = sending(token);
  upload.write(`username,displayName\n${username},Blue\n`);
  await isState(upload.id, 'running');
  return upload;
}

it('ends an upload after an hour, however steadily bytes arrive', async () => {
  const upload = await begun('for-an-hour');
  app.clockOffset = HOUR_MS - 60_000;
  // Each heartbeat looks at the clock, so the second one from now on has seen this time.
  for (let i = 0; i < 2; i++) await heartbeatOf(upload.id);
  upload.write('still,there\n');
  expect(await stateOf(upload.id)).toBe('running');
  app.clockOffset = HOUR_MS + 60_000;
  const { status, json } = await upload.answered;
  expect([status, json['code'], json['detail']]).toEqual([
    408,
    'request.timeout',
    expect.stringMatching(/took more than 60 minutes\. Nothing was imported/),
  ]);
  await isState(upload.id, 'interrupted');
  expect(await accounts('for-an-hour')).toBe(0);
});

it('lets an admin end an upload, which imports nothing, tells its sender and frees the next one', async () => {
  const admin = (await app.asStaff('admin')).token;
  const upload = await begun('ended-one');
  const end = (token: string, id = upload.id): Promise<Answer> => app.request('DELETE', `${PATH}s/${id}`, { token });
  expect((await end(operator)).status).toBe(403);
  expect((await end(admin, randomUUID())).status).toBe(404);
  expect((await end(admin)).status).toBe(204);
  const { status, json } = await upload.answered;
  expect([status, json['code'], json['detail']]).toEqual([
    409,
    'import.ended',
    'An admin ended this import. Nothing was imported.',
  ]);
  expect([await stateOf(upload.id), await accounts('ended-one')]).toEqual(['ended', 0]);
  const again = await end(admin);
  expect([again.status, again.json()['code'], again.json()['detail']]).toEqual([
    409,
    'import.over',
    'This import is not running: its state is ended.',
  ]);
  const events = await app.request('GET', `/admin/audit-events?target=${upload.id}`, { token: admin });
  expect(events.json()).toMatchObject({
    items: [{ action: 'channel-users.import-ended', actor: { name: 'Staff admin' }, target: { type: 'import' } }],
  });
  const next = await send('username,displayName\nafter-ended,Blue\n');
  expect(next.status).toBe(200);
  for (const { password } of next.json<{ credentials: { password: string }[] }>().credentials) secret(password);
});

it.each(['removed', 'demoted', 'signed out'] as const)(
  'imports nothing for an operator who is %s during the upload, and says so at once',
  async (what) => {
    const admin = (await app.asStaff('admin')).token;
    const member = await app.newStaff('operator');
    const username = `of-somebody-${what.replace(' ', '-')}`;
    const upload = await begun(username, member.token);
    const path = `/admin/staff/${member.id}`;
    const answer =
      what === 'removed'
        ? await app.request('DELETE', path, { token: admin })
        : what === 'demoted'
          ? await app.request('PATCH', path, { token: admin, json: { role: 'viewer' } })
          : await app.request('DELETE', '/admin/session', { token: member.token });
    expect(answer.status).toBeLessThan(300);
    const { status, json } = await upload.answered;
    expect([status, json['credentials']]).toEqual([401, undefined]);
    expect([await stateOf(upload.id), await accounts(username)]).toEqual(['interrupted', 0]);
  },
);

it('tells a waiting sender how long to wait', async () => {
  const upload = await begun('makes-wait');
  await app.dataSource.query(
    `UPDATE channel_user_import SET started_at = now() - interval '90 seconds' WHERE id = $1`,
    [upload.id],
  );
  const refused = await send('username,displayName\nwaits,Blue\n');
  const { code, detail, running } = refused.json<{
    code: string;
    detail: string;
    running: Record<'id' | 'startedAt' | 'lastHeardAt' | 'freeAt', string>;
  }>();
  expect([refused.status, code, running.id]).toEqual([409, 'import.running', upload.id]);
  const wait = Number(refused.headers.get('retry-after'));
  expect(wait).toBeGreaterThan(0);
  expect(wait).toBeLessThanOrEqual(30);
  expect(Date.parse(running.freeAt) - Date.parse(running.lastHeardAt)).toBe(30_000);
  expect(detail).toContain(`can start at ${running.freeAt.slice(0, 19)}Z, in ${String(wait)} seconds`);
  upload.end();
  const { json } = await upload.answered;
  for (const { password } of json['credentials'] as { password: string }[]) secret(password);
});

describe('a slow statement', () => {
  /** Makes the insertion of one account misbehave. */
  const onInsert = (username: string, what: string): Promise<unknown> =>
    app.dataSource.query(
      `CREATE OR REPLACE FUNCTION misbehave() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF NEW.username_key = '${username}' THEN PERFORM ${what}; END IF; RETURN NEW; END $$;
       CREATE OR REPLACE TRIGGER misbehave BEFORE INSERT ON channel_user FOR EACH ROW EXECUTE FUNCTION misbehave()`,
    );

  it('that outlasts the deadline of a request does not undo an import', async () => {
    await onInsert('slow-one', 'pg_sleep(4)');
    const answer = await send('username,displayName\nslow-one,Blue\n');
    expect([answer.status, await accounts('slow-one')]).toEqual([200, 1]);
    for (const { password } of answer.json<{ credentials: { password: string }[] }>().credentials) secret(password);
    // The connections of the import have the statement timeout of requests again.
    const slow = await Promise.allSettled(
      Array.from({ length: 8 }, () => app.dataSource.query('SELECT pg_sleep(3.3)')),
    );
    expect(slow.map(({ status }) => status)).toEqual(Array<string>(8).fill('rejected'));
  });

  it('that breaks the connection undoes the import, and the sender is told what to do', async () => {
    await onInsert('fatal-one', 'pg_terminate_backend(pg_backend_pid())');
    const answer = await send('username,displayName\nfatal-one,Blue\n');
    const { code, detail } = answer.json();
    expect([answer.status, code, detail]).toEqual([
      503,
      'import.interrupted',
      expect.stringMatching(/Nothing was imported\. Send the file again\.$/),
    ]);
    expect(await accounts('fatal-one')).toBe(0);
  });
});
