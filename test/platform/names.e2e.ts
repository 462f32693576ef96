import { randomUUID } from 'node:crypto';
import { type Answer, TestApp } from '../support/app.ts';
import { SearchText1796600000000 } from '../../migrations/1796600000000-search-text.ts';
import { secret } from '../support/secrets.ts';

/** Names as people type them: composed or not, with other blanks, in other cases. */
let app: TestApp;
let token: string;

beforeAll(async () => {
  app = await TestApp.start();
  token = (await app.asStaff('operator')).token;
});
afterAll(() => app.close());

const USERS = '/admin/channel-users';
const post = (json: object): Promise<Answer> => app.request('POST', USERS, { token, json });
const found = async (q: string): Promise<string[]> => {
  const answer = await app.request('GET', `${USERS}?${new URLSearchParams({ q }).toString()}`, { token });
  return answer.json<{ items: { username: string }[] }>().items.map(({ username }) => username);
};

const PAIRS = [
  ['Zoë Hôtel', 'Zoe\u0308 Ho\u0302tel'],
  ['Zoe\u0308 Palace', 'zoë palace'],
  ['İstanbul Rooms', 'istanbul rooms'],
  ['Istanbul Lodge', 'İSTANBUL LODGE'],
  ['DİYARBAKIR Inn', 'diyarbakır inn'],
  ['Two  Blanks', 'two blanks'],
  ['No\u00A0Break', 'no break'],
  ['Full Ｗｉｄｅ', 'full wide'],
  ['Straight On', 'straight \u2003 on'],
  ['ΟΔΟΣ Lets', 'οδος lets'],
] as const;

it.each(PAIRS)('finds %j by %j', async (displayName, q) => {
  const { username } = await app.newPartner({ displayName });
  expect(await found(q)).toEqual([username]);
  expect(await found(displayName)).toEqual([username]);
});

it('finds rows from earlier versions as well', async () => {
  const made = [];
  for (const [i, [displayName]] of PAIRS.entries()) {
    const username = `before-${String(i)}-${randomUUID().slice(0, 8)}`;
    made.push(username);
    // As the version before wrote it.
    const searchText = [username, displayName, ''].join('\n').toLowerCase().replaceAll('ς', 'σ');
    await app.dataSource.query(
      `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
         allowed_ips, search_text, updated_at) VALUES ($1, $1, $2, '{}', 3600, 60, '{}', $3, now())`,
      [username, displayName, searchText],
    );
  }
  const runner = app.dataSource.createQueryRunner();
  await new SearchText1796600000000().up(runner);
  await runner.release();
  for (const [i, [, q]] of PAIRS.entries()) expect(await found(q)).toContain(made[i]);
});

it('stores what is typed in composed form with single blanks', async () => {
  const username = `typed-${randomUUID().slice(0, 8)}`;
  const answer = await post({
    username,
    displayName: '  Zoe\u0308 \u00A0 Hotel ',
    contactEmail: ' zoe@hotel.example ',
  });
  secret(answer.json<{ credential: { password: string } }>().credential.password);
  expect([answer.status, answer.json()['channelUser']]).toMatchObject([
    201,
    { username, displayName: 'Zoë Hotel', contactEmail: 'zoe@hotel.example' },
  ]);
  const put = await app.request('PUT', `${USERS}/by-username/${username}`, {
    token,
    json: { displayName: 'Zoë' },
  });
  expect([put.status, put.json()['channelUser']]).toMatchObject([200, { username, displayName: 'Zoë' }]);
});

it.each([
  [' blue', /; it contains a space$/],
  ['blue\u00A0', /; it contains a space$/],
  ['lu\u212Ae', /; it contains "\u212A"$/],
  ['blue channel', /digits or \. _ - @; it contains a space$/],
  ['blue\u00A0channel', /; it contains a space$/],
  ['zoë', /; it contains "ë"$/],
  ['zoe\u0308', /; it contains "ë"$/],
  ['tab\tbed', /; it contains "\\t"$/],
  ['no', /must be 3 to 64 ASCII letters, digits or \. _ - @$/],
])('explains why a username is refused: %j', async (username, message) => {
  const answer = await post({ username, displayName: 'x' });
  const { errors } = answer.json<{ errors: { field: string; messages: string[] }[] }>();
  expect([answer.status, errors[0]?.field]).toEqual([400, 'username']);
  expect(errors[0]?.messages[0]).toMatch(message);
});

it('accepts an e-mail of staff with a blank around it', async () => {
  const { email, password } = await app.newStaff('viewer');
  const answer = await app.request('POST', '/admin/session', { json: { email: ` ${email} `, password } });
  expect(answer.status).toBe(200);
  secret(answer.json<{ accessToken: string }>().accessToken);
});
