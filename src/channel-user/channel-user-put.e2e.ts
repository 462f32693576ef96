import { randomUUID } from 'node:crypto';
import { type Answer, TestApp } from '../../test/support/app.ts';
import { secret } from '../../test/support/secrets.ts';
import { inParallel, tally } from '../../test/support/sign-ins.ts';

interface ChannelUser {
  id: string;
  username: string;
  displayName: string;
  version: number;
  allowedIps: string[];
}

interface Put {
  channelUser: ChannelUser;
  credential?: { password?: string };
  handoverUrl?: string;
}

let app: TestApp;
let operator: string;
let names = 0;

beforeAll(async () => {
  app = await TestApp.start();
  operator = (await app.asStaff('operator')).token;
});
afterAll(() => app.close());

const newName = (): string => `put-${String(++names)}-${randomUUID().slice(0, 8)}`;
const put = (
  username: string,
  json: object,
  { token = operator, headers = {} }: { token?: string; headers?: Record<string, string> } = {},
): Promise<Answer> =>
  app.request('PUT', `/admin/channel-users/by-username/${encodeURIComponent(username)}`, { token, json, headers });
const eventsOf = async (id: string): Promise<string[]> => {
  const rows = await app.dataSource.query<{ action: string }[]>(
    'SELECT action FROM audit_event WHERE target_id = $1 ORDER BY seq',
    [id],
  );
  return rows.map(({ action }) => action);
};

it('can be read back by the username in any case', async () => {
  const username = newName();
  const { channelUser } = (await put(username, { displayName: 'Blue', deliver: 'link' })).expect(201).json<Put>();
  const read = (name: string): Promise<Answer> =>
    app.request('GET', `/admin/channel-users/by-username/${encodeURIComponent(name)}`, { token: operator });
  for (const name of [username, username.toUpperCase()]) {
    const answer = await read(name);
    expect(answer.expect(200).json()).toEqual(channelUser);
    expect(answer.headers.get('etag')).toBe('"1"');
  }
  expect((await read(newName())).json()).toMatchObject({ status: 404, code: 'channel-user.not-found' });
  expect((await read('a b')).json()).toMatchObject({ status: 400, errors: [{ field: 'username' }] });
});

it('creates the account once with a password and then changes only the given fields', async () => {
  const username = newName();
  const created = await put(username, { displayName: 'Blue', allowedIps: ['192.0.2.1'], notes: 'kept' });
  expect([created.status, created.headers.get('etag')]).toEqual([201, '"1"']);
  const { channelUser, credential } = created.json<Put & { credential: { password: string } }>();
  expect(created.headers.get('location')).toBe(`/admin/channel-users/${channelUser.id}`);
  const password = secret(credential.password);

  const same = await put(username, { displayName: 'Blue', allowedIps: ['192.0.2.1'] });
  expect([same.status, same.headers.get('etag'), Object.keys(same.json())]).toEqual([200, '"1"', ['channelUser']]);
  expect(await eventsOf(channelUser.id)).toEqual(['channel-user.created', 'credential.created']);

  // Another case is the same name. Fields that the request leaves out keep their values, such as `allowedIps`.
  const changed = await put(username.toUpperCase(), { displayName: 'Bluer', deliver: 'link' });
  expect([changed.status, changed.headers.get('etag')]).toEqual([200, '"2"']);
  expect(changed.json<Put>()).toEqual({
    channelUser: expect.objectContaining({
      username,
      displayName: 'Bluer',
      allowedIps: ['192.0.2.1'],
      notes: 'kept',
      version: 2,
    }) as unknown,
  });
  expect(await eventsOf(channelUser.id)).toEqual([
    'channel-user.created',
    'credential.created',
    'channel-user.updated',
  ]);
  expect((await put(username, { displayName: 'Bluer', allowedIps: [] })).json<Put>().channelUser.allowedIps).toEqual(
    [],
  );
  expect(await app.generateToken({ username, password })).toMatch(/^ey/);
});

it('delivers the first password by a link on request', async () => {
  const answer = (await put(newName(), { displayName: 'Blue', deliver: 'link' })).json<Put>();
  expect(answer.credential?.password).toBeUndefined();
  secret(answer.handoverUrl ?? '');
  expect(answer.handoverUrl).toMatch(/#/);
});

it('creates once and updates otherwise when several arrive at once', async () => {
  const username = newName();
  const answers = await inParallel(8, 8, (i) =>
    put(i % 2 ? username : username.toUpperCase(), { displayName: 'Blue' }),
  );
  expect(tally(answers)).toEqual({ 200: 7, 201: 1 });
  expect(new Set(answers.map((answer) => answer.json<Put>().channelUser.id)).size).toBe(1);
  for (const answer of answers) {
    const { password } = answer.json<Put>().credential ?? {};
    if (password !== undefined) secret(password);
  }
});

it('refuses an outdated If-Match, and any for an account that does not exist', async () => {
  const username = newName();
  for (const tag of ['*', '"1"']) {
    expect((await put(username, { displayName: 'Blue' }, { headers: { 'if-match': tag } })).status).toBe(412);
  }
  secret((await put(username, { displayName: 'Blue' })).json<Put>().credential?.password ?? '');
  expect((await put(username, { displayName: 'Green' }, { headers: { 'if-match': '"1"' } })).status).toBe(200);
  expect((await put(username, { displayName: 'Red' }, { headers: { 'if-match': '"1"' } })).status).toBe(412);
  expect((await put(username, { displayName: 'Red' }, { headers: { 'if-match': '*' } })).status).toBe(200);
});

it('refuses the same fields and roles as POST', async () => {
  for (const [username, json, field] of [
    ['no', { displayName: 'Blue' }, 'username'],
    ['with space', { displayName: 'Blue' }, 'username'],
    [newName(), {}, 'displayName'],
    [newName(), { displayName: 'Blue', username: 'other' }, 'username'],
    [newName(), { displayName: 'Blue', allowedIps: null }, 'allowedIps'],
  ] as const) {
    const answer = await put(username, json);
    expect([answer.status, answer.json<{ errors: { field: string }[] }>().errors[0]?.field]).toEqual([400, field]);
  }
  const viewer = (await app.asStaff('viewer')).token;
  expect((await put(newName(), { displayName: 'Blue' }, { token: viewer })).status).toBe(403);
});
