import { type Answer, TestApp } from '../../../test/support/app.ts';
import { secret } from '../../../test/support/secrets.ts';
import { LOOPBACK_PROXIES, newAddress, signInFrom } from '../../../test/support/sign-ins.ts';

interface Item {
  id: string;
  at: string;
  address: string | null;
  outcome: string;
  errorCode: string | null;
  reason: string | null;
  hint: string | null;
  requestId: string;
  count: number;
}
interface Page {
  items: Item[];
  nextCursor: string | null;
}

let app: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES, legacyQueryCredentials: true });
  for (const role of ['viewer', 'operator'] as const) await app.asStaff(role);
});
afterAll(() => app.close());

const ask = (token: string | undefined, query = ''): Promise<Answer> =>
  app.request('GET', `/me/activity${query}`, { token });
const list = async (token: string, query = ''): Promise<Page> => (await ask(token, query)).expect(200).json<Page>();
const requestIdOf = (answer: Answer): string => answer.headers.get('x-request-id') ?? '';

describe('the own sign-ins of a partner', () => {
  it('have exactly the fields of the contract, in the order that staff see', async () => {
    const partner = await app.newPartner();
    const address = newAddress();
    const refused = await signInFrom(app, address, { ...partner, password: 'wrong' }, { 'user-agent': 'Bot/1' });
    const token = secret((await signInFrom(app, address, partner)).text);
    const page = await list(token);
    expect(page.nextCursor).toBeNull();
    expect(page.items).toHaveLength(2);
    expect(page.items[1]).toEqual({
      id: expect.any(String) as string,
      at: expect.any(String) as string,
      address,
      outcome: 'refused',
      errorCode: 'invalid_credentials',
      reasonCode: 'wrong_password',
      reason: 'The password was wrong.',
      hint: expect.stringContaining('Compare the password') as string,
      requestId: requestIdOf(refused),
      count: 1,
    });
    expect(page.items[0]).toMatchObject({ outcome: 'token', errorCode: null, reason: null, hint: null });
    const viewer = await app.asStaff('viewer');
    const path = `/admin/channel-users/${partner.id}/activity`;
    const staff = (await app.request('GET', path, { token: viewer.token })).json<Page>();
    expect(staff.items.map(({ id, requestId }) => [id, requestId])).toEqual(
      page.items.map(({ id, requestId }) => [id, requestId]),
    );
  });

  it('give the true reason and a hint', async () => {
    const partner = await app.newPartner({ allowedIps: ['198.18.0.0/15', '127.0.0.0/8', '::1'], tokensPerMinute: 2 });
    const { username, password } = partner;
    const token = secret((await signInFrom(app, newAddress(), partner)).text);
    await signInFrom(app, '203.0.113.5', partner);
    const query = `?username=${username}&password=${password}`;
    const address = newAddress();
    secret((await app.request('POST', `/generateToken${query}`, { headers: { 'x-forwarded-for': address } })).text);
    await signInFrom(app, newAddress(), partner);
    const guesser = newAddress();
    for (let i = 0; i < 11; i++) await signInFrom(app, guesser, { username, password: `wrong ${String(i)}` });
    const { items } = await list(token, '?limit=200');
    const explained = items.map(({ errorCode, reason }) => [errorCode, reason]).reverse();
    expect(explained.slice(0, 5)).toEqual([
      [null, null],
      ['invalid_credentials', expect.stringContaining('the address is not on the list')],
      [null, expect.stringContaining('sent in the URL')],
      ['too_many_requests', expect.stringContaining('More tokens were requested')],
      ['invalid_credentials', 'The password was wrong.'],
    ]);
    expect(explained.at(-1)).toEqual([
      'too_many_requests',
      'The password was wrong. It was one of too many failed attempts.',
    ]);
    for (const { reason, hint } of items) expect(reason === null).toBe(hint === null);
  });

  it('are paged and filtered', async () => {
    const partner = await app.newPartner();
    for (let i = 0; i < 3; i++) await signInFrom(app, newAddress(), { ...partner, password: 'wrong' });
    const token = await app.generateToken(partner);
    const { items } = await list(token);
    const first = await list(token, '?limit=2');
    expect(first.items).toEqual(items.slice(0, 2));
    expect(await list(token, `?cursor=${first.nextCursor ?? ''}`)).toEqual({
      items: items.slice(2),
      nextCursor: null,
    });
    expect((await list(token, '?outcome=token')).items).toEqual(items.slice(0, 1));
    for (const query of ['?limit=0', '?cursor=x', '?outcome=x', '?id=x']) {
      expect([query, (await ask(token, query)).status]).toEqual([query, 400]);
    }
  });

  it('are shown to nobody else', async () => {
    const [partner, stranger] = [await app.asPartner(), await app.asPartner()];
    expect((await list(partner.token)).items).toHaveLength(1);
    const own = await list(stranger.token);
    expect(own.items).toHaveLength(1);
    const theirs = await list(partner.token);
    expect(theirs.items[0]?.requestId).not.toBe(own.items[0]?.requestId);
    expect((await ask(stranger.token, `?channelUserId=${partner.id}`)).status).toBe(400);
    // A cursor is only a place in the list.
    await signInFrom(app, newAddress(), { ...partner, password: 'wrong' });
    const cursor = (await list(partner.token, '?limit=1')).nextCursor ?? '';
    const ids = (await list(partner.token)).items.map(({ id }) => id);
    for (const { id } of (await list(stranger.token, `?cursor=${cursor}`)).items) expect(ids).not.toContain(id);
    expect((await ask(undefined)).status).toBe(401);
    expect((await ask((await app.asStaff('viewer')).token)).status).toBe(403);
  });
});
