import { type Answer, TestApp } from '../../../test/support/app.ts';
import { CallModule } from '../../../test/support/call-module.ts';
import { onDatabase } from '../../../test/support/database.ts';
import { secret } from '../../../test/support/secrets.ts';
import { eventually, LOOPBACK_PROXIES, newAddress, signInFrom } from '../../../test/support/sign-ins.ts';

interface Found {
  requestId: string;
  kind: string;
  at: string;
  asked: string;
  answered: string;
  reason: string | null;
  hint: string | null;
  signIn: { id: string } | null;
  call: { id: string } | null;
  channelUser?: { id: string; username: string; displayName: string } | null;
  events?: { action: string; target: { id: string } }[];
}

const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES }, { features: [CallModule] });
  for (const role of ['viewer', 'operator', 'admin'] as const) await app.asStaff(role);
});
afterAll(() => app.close());

const get = (token: string | undefined, path: string): Promise<Answer> => app.request('GET', path, { token });
const requestIdOf = (answer: Answer): string => answer.headers.get('x-request-id') ?? '';
const own = (token: string | undefined, id: string): Promise<Answer> => get(token, `/me/requests/${id}`);
const any = async (id: string): Promise<Answer> => get((await app.asStaff('viewer')).token, `/admin/requests/${id}`);
/** A call is recorded when its answer has been sent, which may be after the client has it. */
const found = (ask: () => Promise<Answer>): Promise<Found> =>
  eventually(async () => {
    const answer = await ask();
    return answer.status === 404 ? undefined : answer.expect(200).json<Found>();
  }, 'the request is recorded');

describe('the look-up of a request', () => {
  it('tells of a refused call', async () => {
    const partner = await app.asPartner({ displayName: 'Blue Channel' });
    const requestId = requestIdOf(await get(partner.token, `/boats/${UNKNOWN}/crew`));
    const answer = await found(() => own(partner.token, requestId));
    const [call] = (await get(partner.token, '/me/errors')).json<{ items: { id: string }[] }>().items.slice(-1);
    expect(answer).toEqual({
      requestId,
      kind: 'call',
      at: expect.any(String) as string,
      asked: 'GET /boats/:boatId/crew',
      answered: '404 Not Found, resource.not-found',
      reason: 'There is no such resource, or it is not granted to your account.',
      hint: expect.stringContaining('Check the id') as string,
      signIn: null,
      call,
    });
    expect((await any(requestId)).expect(200).json()).toEqual({
      ...answer,
      channelUser: { id: partner.id, username: partner.username, displayName: 'Blue Channel' },
      events: [],
    });
  });

  it('tells of sign-ins', async () => {
    const partner = await app.asPartner();
    const address = newAddress();
    const refused = await signInFrom(app, address, { ...partner, password: 'wrong' });
    const token = await signInFrom(app, address, partner);
    const [newest, older] = (await get(partner.token, '/me/activity')).json<{ items: unknown[] }>().items;
    expect((await own(partner.token, requestIdOf(refused))).expect(200).json()).toMatchObject({
      kind: 'sign-in',
      asked: `A token, from ${address}`,
      answered: 'A refusal, invalid_credentials',
      reason: 'The password was wrong.',
      signIn: older,
      call: null,
    });
    expect((await any(requestIdOf(token))).expect(200).json()).toMatchObject({
      kind: 'sign-in',
      answered: 'A token',
      reason: null,
      hint: null,
      signIn: newest,
      channelUser: { id: partner.id },
    });
  });

  it('tells staff what a request changed, and nobody else', async () => {
    const partner = await app.asPartner();
    const { token } = await app.asStaff('operator');
    const path = `/admin/channel-users/${partner.id}`;
    const changed = await app.request('PATCH', path, { token, json: { displayName: 'Red Channel' } });
    const requestId = requestIdOf(changed);
    const answer = (await any(requestId)).expect(200).json<Found>();
    expect(answer).toMatchObject({
      kind: 'change',
      asked: 'channel-user.updated',
      answered: 'The change was made',
      reason: null,
      hint: null,
      signIn: null,
      call: null,
      channelUser: null,
    });
    expect(answer.events).toMatchObject([{ requestId, target: { id: partner.id, name: partner.username } }]);
    expect((await own(partner.token, requestId)).status).toBe(404);
  });

  it('tells staff which partner made a change itself', async () => {
    const partner = await app.asPartner({ displayName: 'Own Change Channel' });
    const { token, password } = partner;
    const made = await app.request('POST', '/me/credentials', { token, json: { password } });
    secret(made.expect(201).json<{ credential: { password: string } }>().credential.password);
    const answer = (await any(requestIdOf(made))).expect(200).json<Found>();
    expect(answer).toMatchObject({
      kind: 'change',
      asked: 'credential.created',
      channelUser: { id: partner.id, username: partner.username, displayName: 'Own Change Channel' },
    });
    // The partner's own look-up has no changes: to the partner, it is a successful call.
    expect((await own(token, requestIdOf(made))).status).toBe(404);
  });

  it('finds what another instance has answered', async () => {
    const partner = await app.asPartner();
    const other = await TestApp.start({ ...app.config }, { features: [CallModule] });
    const answers = [
      await other.request('GET', '/boats/broken/engine', { token: partner.token }),
      await signInFrom(other, newAddress(), { ...partner, password: 'wrong' }),
    ];
    for (const answer of answers) {
      const requestId = requestIdOf(answer);
      expect(await found(() => own(partner.token, requestId))).toMatchObject({ requestId });
      expect((await any(requestId)).expect(200).json()).toMatchObject({ channelUser: { id: partner.id } });
    }
    await other.close();
  });

  it('accepts an id as people paste it, and refuses any other text', async () => {
    const partner = await app.asPartner();
    const requestId = requestIdOf(await signInFrom(app, newAddress(), { ...partner, password: 'wrong' }));
    for (const text of [requestId.toUpperCase(), `%20${requestId}%20`]) {
      expect((await own(partner.token, text)).expect(200).json()).toMatchObject({ requestId });
      expect((await any(text)).expect(200).json()).toMatchObject({ requestId });
    }
    for (const text of ['x', requestId.slice(1), `${requestId}0`, `${requestId},${requestId}`, '%00', "'--"]) {
      for (const answer of [await own(partner.token, text), await any(text)]) {
        expect([text, answer.status, answer.json()['code']]).toEqual([text, 400, 'request.invalid']);
        expect(answer.json()['errors']).toEqual([
          { field: 'requestId', messages: [expect.stringContaining('X-Request-Id') as string] },
        ]);
      }
    }
  });

  it('says that successful calls are only counted, and how long others are kept', async () => {
    const partner = await app.asPartner();
    const requestId = requestIdOf(await get(partner.token, '/me'));
    for (const answer of [await own(partner.token, requestId), await any(requestId), await any(UNKNOWN)]) {
      expect([answer.status, answer.json()['code']]).toEqual([404, 'request.not-recorded']);
      expect(answer.json()['detail']).toMatch(/Successful calls are only counted.* 14 days.* 90\./);
    }
  });

  it("shows no partner another one's requests, and answers as if there were none", async () => {
    const [partner, stranger] = [await app.asPartner(), await app.asPartner()];
    const ids = [
      requestIdOf(await get(partner.token, '/boats/broken/engine')),
      requestIdOf(await signInFrom(app, newAddress(), { ...partner, password: 'wrong' })),
    ];
    const comparable = ({ status, text }: Answer): unknown => [status, text.replace(/"requestId":"[^"]+"/, '')];
    const none = comparable(await own(stranger.token, UNKNOWN));
    for (const id of ids) {
      await found(() => own(partner.token, id));
      expect(comparable(await own(stranger.token, id))).toEqual(none);
      expect((await get(stranger.token, `/admin/requests/${id}`)).status).toBe(403);
      expect((await own(undefined, id)).status).toBe(401);
      expect((await own((await app.asStaff('viewer')).token, id)).status).toBe(403);
    }
  });

  it('shows the sign-ins of a deleted partner without its name', async () => {
    const partner = await app.newPartner();
    const requestId = requestIdOf(await signInFrom(app, newAddress(), { ...partner, password: 'wrong' }));
    expect((await any(requestId)).json()).toMatchObject({ channelUser: { username: partner.username } });
    const { token } = await app.asStaff('admin');
    expect((await app.request('DELETE', `/admin/channel-users/${partner.id}`, { token })).status).toBe(204);
    expect((await any(requestId)).expect(200).json()).toMatchObject({ kind: 'sign-in', channelUser: null });
  });
});

it.each([
  ['sign-ins', 'SELECT FROM activity WHERE request_id = $1'],
  ['changes', 'SELECT FROM audit_event WHERE request_id = $1 ORDER BY seq LIMIT 50'],
  ['calls', 'SELECT FROM call_error WHERE request_id = $1'],
])('finds %s by an index', async (_, statement) => {
  const plan = await onDatabase(app.databaseUrl, async (client) => {
    await client.query('SET enable_seqscan = off');
    const { rows } = await client.query<{ 'QUERY PLAN': string }>(`EXPLAIN ${statement}`, [UNKNOWN]);
    return rows.map((row) => row['QUERY PLAN']).join('\n');
  });
  expect(plan).toMatch(/request/);
  expect(plan).not.toContain('Seq Scan');
});
