import { randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { Body, Controller, Get, HttpCode, Module, Param, Post, Query } from '@nestjs/common';
import { PartnerApi } from '../../platform/api/openapi.decorators.ts';
import { ResourceNotFoundError } from '../../platform/common/errors.ts';
import type { CurrentChannelUser as Principal } from '../../platform/common/principal.ts';
import { AnyPartner, CurrentChannelUser, Granted, Scopes } from '../../platform/api/security.ts';
import { GrantModule } from './grant.module.ts';
import { GrantService } from './grant.service.ts';
import { type Answer, type PartnerWithToken, type RequestOptions, TestApp } from '../../../test/support/app.ts';
import { expectGrantsToHold } from '../../../test/support/granted-routes.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { realTime } from '../../../test/support/real-time.ts';
import { eventually, until } from '../../../test/support/sign-ins.ts';

/** Number of simultaneous lookups of cabins. */
const cabinsAtOnce = { now: 0, most: 0 };

@Controller('boats')
@PartnerApi('Boats')
@AnyPartner()
class BoatController {
  constructor(private readonly grants: GrantService) {
    grants.viaParent('cabin', 'boat', async (id) => {
      cabinsAtOnce.most = Math.max(cabinsAtOnce.most, ++cabinsAtOnce.now);
      await new Promise(setImmediate);
      cabinsAtOnce.now--;
      return /^(.+)-cabin$/.exec(id)?.[1];
    });
  }

  @Get()
  async list(@CurrentChannelUser() { id }: Principal): Promise<string[]> {
    return (await this.grants.resourcesOf(id, 'boat')).sort();
  }

  @Get('search')
  @Granted('boat', 'boatId')
  search(@Query('boatId') boatId: string): { boatId: string } {
    return { boatId };
  }

  @Get('berths/:berthId')
  async berth(
    @Param('berthId') berthId: string,
    @CurrentChannelUser() { id }: Principal,
  ): Promise<{ berthId: string }> {
    // A berth is granted with its boat.
    await this.grants.require(id, 'boat', berthId.split('-')[0] ?? '');
    return { berthId };
  }

  @Get('cabins/:cabinId')
  @Granted('cabin', 'cabinId', 'sleep')
  cabin(@Param('cabinId') cabinId: string): { cabinId: string } {
    return { cabinId };
  }

  @Get(':boatId')
  @Granted('boat', 'boatId')
  get(@Param('boatId') boatId: string): { boatId: string } {
    if (boatId === 'sunk') throw new ResourceNotFoundError('boat');
    return { boatId };
  }

  @Post('sail')
  @HttpCode(200)
  @Scopes('boat:sail')
  @Granted('boat', 'boatId', 'sail')
  sail(@Body() body: object): object {
    return body;
  }

  @Post('fleet')
  @HttpCode(200)
  @Granted('boat', 'boatId')
  fleet(@Body() body: unknown): unknown {
    return body;
  }

  @Post('cabins')
  @HttpCode(200)
  @Granted('cabin', 'cabinIds')
  cabins(@Body() body: object): object {
    return body;
  }

  @Post('convoy/:harbourId')
  @HttpCode(200)
  @Granted('harbour', 'harbourId')
  @Granted('boat', 'boatIds')
  convoy(@Body() body: object): object {
    return body;
  }
}

@Module({ imports: [GrantModule], controllers: [BoatController] })
class BoatModule {}

let a: TestApp;
let b: TestApp;
let proxy: PostgresProxy;
let partner: PartnerWithToken;
let operator: string;

beforeAll(async () => {
  a = await TestApp.start({}, { features: [BoatModule] });
  proxy = await PostgresProxy.start(a.databaseUrl);
  b = await TestApp.start({ ...a.config, databaseUrl: proxy.url }, { features: [BoatModule] });
  operator = (await a.asStaff('operator')).token;
});
afterAll(async () => {
  await b.close();
  await proxy.shut();
  await a.close();
});
beforeEach(async () => {
  partner = await a.asPartner({ scopes: ['boat:sail'] });
});
afterEach(() => {
  a.clockOffset = b.clockOffset = 0;
  proxy.reset();
});

const grantsOf = (id: string): string => `/admin/channel-users/${id}/grants`;

async function staff(method: string, path: string, json?: unknown, status = 200, token = operator): Promise<Answer> {
  const answer = await a.request(method, path, { token, ...(json !== undefined && { json }) });
  expect([method, path, answer.status, answer.text]).toEqual([method, path, status, expect.anything()]);
  return answer;
}

const grant = (ids: string[], terms: object = {}, type = 'boat', to = partner): Promise<Answer> =>
  staff('POST', grantsOf(to.id), { resourceType: type, resourceIds: ids, ...terms });

const call = (path: string, options: RequestOptions = {}, on = a): Promise<Answer> =>
  on.request(options.json === undefined && options.body === undefined ? 'GET' : 'POST', path, {
    token: partner.token,
    ...options,
  });

const status = async (path: string, options: RequestOptions = {}, on = a): Promise<number> =>
  (await call(path, options, on)).status;

describe('a route with @Granted()', () => {
  it('is open with the grant, wherever the request names the resource', async () => {
    await grant(['7', 'nautilus']);
    expect((await call('/boats/7')).json()).toEqual({ boatId: '7' });
    expect((await call('/boats/nautilus')).json()).toEqual({ boatId: 'nautilus' });
    expect((await call('/boats/search?boatId=7')).json()).toEqual({ boatId: '7' });
    await grant(['7'], { permissions: ['sail'] });
    expect((await call('/boats/sail', { json: { boatId: '7' } })).json()).toEqual({ boatId: '7' });
    expect((await call('/boats/sail', { json: { boatId: 7 } })).json()).toEqual({ boatId: 7 });
  });

  it('answers the same 404 for what is not granted as for what does not exist', async () => {
    await grant(['sunk']);
    const other = await a.asPartner();
    await grant(['8'], {}, 'boat', other);
    const answers = [await call('/boats/sunk'), await call('/boats/8'), await call('/boats/nobody-has-it')];
    const [first] = answers;
    expect(first?.json()).toMatchObject({ status: 404, code: 'resource.not-found', detail: 'There is no such boat.' });
    const comparable = ({ status, headers, text }: Answer): unknown => ({
      status,
      headers: [...headers.keys()].filter((name) => name !== 'token-expires-in').sort(),
      body: text.replace(/"requestId":"[^"]+"/, ''),
    });
    for (const answer of answers) expect(comparable(answer)).toEqual(comparable(first ?? answer));
  });

  it('requires the permission that it names', async () => {
    await grant(['7'], { permissions: ['paint'] });
    expect(await status('/boats/7')).toBe(200);
    expect(await status('/boats/sail', { json: { boatId: '7' } })).toBe(404);
    await grant(['7'], { permissions: ['sail', 'paint'] });
    expect(await status('/boats/sail', { json: { boatId: '7' } })).toBe(200);
  });

  it('requires a grant of its resource type', async () => {
    await grant(['7'], {}, 'harbour');
    expect(await status('/boats/7')).toBe(404);
  });

  it('checks every value of a request against every rule of the route', async () => {
    await grant(['1', '2'], { permissions: ['sail'] });
    const convoy = (json: object, harbour = 'north', query = ''): Promise<number> =>
      status(`/boats/convoy/${harbour}${query}`, { json });
    expect(await convoy({ boatIds: ['1', '2'] })).toBe(404);
    await grant(['north'], {}, 'harbour');
    expect(await convoy({ boatIds: ['1', '2'] })).toBe(200);
    expect(await convoy({ boatIds: ['1', '2', '3'] })).toBe(404);
    expect(await convoy({ boatIds: ['1'] }, 'south')).toBe(404);
    // The ids of the query must be granted, too, even if the controller reads only the body, and vice versa.
    expect(await convoy({ boatIds: ['1'] }, 'north', '?boatIds=3')).toBe(404);
    expect(await status('/boats/search?boatId=1&boatId=3')).toBe(404);
    expect(await status('/boats/search?boatId=3&boatId=1')).toBe(404);
    expect(await status('/boats/sail?boatId=1', { json: { boatId: '3' } })).toBe(404);
    expect(await status('/boats/1?boatId=3')).toBe(404);
  });

  it('checks every entry of a list, whatever the query says', async () => {
    await grant(['1', '2']);
    const fleet = (json: object[], query = ''): Promise<number> => status(`/boats/fleet${query}`, { json });
    expect(await fleet([{ boatId: '1' }, { boatId: '2' }])).toBe(200);
    expect(await fleet([{ boatId: '1' }, { boatId: '3' }])).toBe(404);
    expect(await fleet([{ boatId: '3' }], '?boatId=1')).toBe(404);
    // An entry without the field leaves open which boat is meant.
    expect(await fleet([{ boatId: '1' }, {}], '?boatId=1')).toBe(400);
    expect(await fleet([{ date: '2030-01-01' }], '?boatId=1')).toBe(200);
    expect(await fleet([{ date: '2030-01-01' }])).toBe(400);
    expect(await fleet([])).toBe(400);
  });

  it('accepts a hundred resources at most and resolves them one after the other', async () => {
    const ids = Array.from({ length: 101 }, (_, i) => `many-${String(i)}`);
    await grant(ids);
    const cabinIds = ids.map((id) => `${id}-cabin`);
    cabinsAtOnce.most = 0;
    expect(await status('/boats/cabins', { json: { cabinIds: cabinIds.slice(1) } })).toBe(200);
    expect(cabinsAtOnce.most).toBe(1);
    const answer = await call('/boats/cabins', { json: { cabinIds } });
    expect([answer.status, answer.json()['errors']]).toEqual([
      400,
      [{ field: 'cabinIds', messages: ['must name at most 100 resources'] }],
    ]);
    // Repeated ids count once.
    const again = await status('/boats/cabins', { json: { cabinIds: Array(150).fill(cabinIds[0]) } });
    expect(again).toBe(200);
  });

  it('treats a UUID in capitals as the same one', async () => {
    const [id, other] = [randomUUID(), randomUUID()];
    await grant([id, other.toUpperCase()]);
    for (const each of [id, other]) {
      for (const text of [each, each.toUpperCase()]) expect(await status(`/boats/${text}`)).toBe(200);
    }
    const again = await grant([id.toUpperCase(), id]);
    expect(again.json()).toEqual({ given: 0, changed: 0 });
    await staff('DELETE', `${grantsOf(partner.id)}/boat/${id.toUpperCase()}`, undefined, 204);
    expect(await status(`/boats/${id}`)).toBe(404);
  });

  it.each([
    ['nothing', {}],
    ['null', { boatId: null }],
    ['an empty text', { boatId: '' }],
    ['an empty list', { boatId: [] }],
    ['a list in a list', { boatId: [['7']] }],
    ['an object', { boatId: { id: '7' } }],
    ['true', { boatId: true }],
    ['a fraction', { boatId: 7.5 }],
    ['a control character', { boatId: '7\u0000' }],
    ['half a character', { boatId: '\ud800' }],
    ['129 characters', { boatId: '7'.repeat(129) }],
  ])('refuses a body that names %s', async (_, json) => {
    await grant(['7'], { permissions: ['sail'] });
    const answer = await call('/boats/sail', { json });
    expect(answer.status).toBe(400);
    expect(answer.json()['errors']).toMatchObject([{ field: 'boatId' }]);
  });

  it.each([
    ['the path is wrong and the body not granted', '/boats/convoy/%01', { boatIds: ['not-granted'] }],
    ['the body is wrong and the path not granted', '/boats/convoy/not-granted', { boatIds: [null] }],
  ])('answers the refusal when %s', async (_, path, json) => {
    const unheard: unknown[] = [];
    const hear = (reason: unknown): unknown => unheard.push(reason);
    // An unhandled rejection would end the process.
    process.on('unhandledRejection', hear);
    try {
      expect(await status(path, { json })).toBe(400);
      // This request is answered after the reads of the one before.
      expect(await status('/boats/not-granted')).toBe(404);
      await realTime('a rejection is reported');
    } finally {
      process.off('unhandledRejection', hear);
    }
    expect(unheard).toEqual([]);
  });

  it('refuses a body that hides the name among inherited properties', async () => {
    await grant(['7'], { permissions: ['sail'] });
    const headers = { 'content-type': 'application/json' };
    expect(await status('/boats/sail', { headers, body: '{"__proto__":{"boatId":"7"}}' })).toBe(400);
    expect(await status('/boats/sail', { headers, body: '{"constructor":{"boatId":"7"}}' })).toBe(400);
  });

  it('checks the token and its scopes first', async () => {
    const { token } = await a.asPartner();
    expect((await a.request('GET', '/boats/7')).status).toBe(401);
    expect((await a.request('POST', '/boats/sail', { token, json: { boatId: '7' } })).status).toBe(403);
    expect((await a.request('GET', '/boats/7', { token: operator })).status).toBe(403);
  });
});

it('checks grants on every route that declares it', async () => {
  const boat = { create: () => Promise.resolve(randomUUID()) };
  const cabin = {
    create: () => Promise.resolve(`${randomUUID()}-cabin`),
    grantedWith: { type: 'boat', idOf: (id: string) => Promise.resolve(id.replace('-cabin', '')) },
  };
  expect((await expectGrantsToHold(a, { boat, harbour: boat, cabin })).sort()).toEqual([
    'GET /boats/:boatId',
    'GET /boats/cabins/:cabinId',
    'GET /boats/search',
    'POST /boats/cabins',
    'POST /boats/convoy/:harbourId',
    'POST /boats/fleet',
    'POST /boats/sail',
  ]);
});

describe('a resource that is granted through another one', () => {
  it('is open and closed with its parent and checks the permission there', async () => {
    expect(await status('/boats/cabins/7-cabin')).toBe(404);
    await grant(['7'], { permissions: ['sleep'] });
    expect((await call('/boats/cabins/7-cabin')).json()).toEqual({ cabinId: '7-cabin' });
    expect(await status('/boats/cabins/8-cabin')).toBe(404);
    expect(await status('/boats/cabins/7')).toBe(404);
    await grant(['7']);
    expect((await call('/boats/cabins/7-cabin')).json()).toMatchObject({ detail: 'There is no such cabin.' });
  });

  it('may name only one parent', async () => {
    @Module({ imports: [GrantModule] })
    class HarbourModule {
      constructor(grants: GrantService) {
        grants.viaParent('cabin', 'harbour', () => Promise.resolve(undefined));
      }
    }
    const starting = TestApp.start({ ...a.config }, { features: [BoatModule, HarbourModule] });
    await expect(starting).rejects.toThrow('"cabin"');
  });
});

describe('the grant service', () => {
  it('lets a module require a grant and list the granted resources', async () => {
    await grant(['7', '9']);
    expect(await status('/boats/berths/7-b')).toBe(200);
    const refused = await call('/boats/berths/8-b');
    expect(refused.json()).toMatchObject({ status: 404, code: 'resource.not-found' });
    await grant(['10'], { expiresAt: '2020-01-01T00:00:00Z' });
    expect((await call('/boats')).json()).toEqual(['7', '9']);
  });
});

describe('a grant', () => {
  it('opens at once on every instance, and closes within a second on other instances', async () => {
    expect(await status('/boats/7', {}, b)).toBe(404);
    await grant(['7']);
    expect(await status('/boats/7')).toBe(200);
    // The grant works at once, since no refusal rests on the cache.
    expect(await status('/boats/7', {}, b)).toBe(200);
    await staff('DELETE', `${grantsOf(partner.id)}/boat/7`, undefined, 204);
    expect(await status('/boats/7')).toBe(404);
    await until(async () => (await status('/boats/7', {}, b)) === 404, 'refused by the other instance', 1_000);
  });

  it('is checked in memory without a query', async () => {
    await grant(['memory-7']);
    expect(await status('/boats/memory-7', {}, b)).toBe(200);
    // The cache is not trusted after a late heartbeat, as it may happen on a busy machine.
    await eventually(async () => {
      const queries = proxy.countQueries('memory-7');
      for (let i = 0; i < 10; i++) expect(await status('/boats/memory-7', {}, b)).toBe(200);
      return queries.count === 0 || undefined;
    }, 'no query');
  });

  it('follows changes by hand in the database', async () => {
    await grant(['7'], { permissions: ['sail'] });
    expect(await status('/boats/sail', { json: { boatId: '7' } }, b)).toBe(200);
    await a.dataSource.query(`UPDATE resource_grant SET permissions = '{}' WHERE channel_user_id = $1`, [partner.id]);
    await until(
      async () => (await status('/boats/sail', { json: { boatId: '7' } }, b)) === 404,
      'the permission is gone',
      1_000,
    );
    await a.dataSource.query('TRUNCATE resource_grant');
    await until(async () => (await status('/boats/7', {}, b)) === 404, 'the grant is gone', 1_000);
  });

  it('is not trusted from the cache while the change feed is silent', async () => {
    await grant(['7']);
    expect(await status('/boats/7', {}, b)).toBe(200);
    proxy.abandon('feed');
    await staff('DELETE', `${grantsOf(partner.id)}/boat/7`, undefined, 204);
    await until(async () => (await status('/boats/7', {}, b)) === 404, 'refused although nothing is heard', 1_000);
  });

  it('is not cached when it is withdrawn during the read', async () => {
    await grant(['7']);
    const hold = proxy.hold('resource_id');
    const reading = call('/boats/7', {}, b);
    await hold.reached;
    await staff('DELETE', `${grantsOf(partner.id)}/boat/7`, undefined, 204);
    await until(async () => (await status('/boats/7')) === 404, 'refused', 1_000);
    await realTime('a read is held');
    hold.release();
    expect([200, 404]).toContain((await reading).status);
    await until(async () => (await status('/boats/7', {}, b)) === 404, 'refused there, too', 1_000);
  });

  it('ends at its expiry by the application’s clock, to the millisecond', async () => {
    await grant(['7'], { expiresAt: new Date(Date.now() + 60_000).toISOString() });
    expect(await status('/boats/7')).toBe(200);
    a.clockOffset = 61_000;
    expect(await status('/boats/7')).toBe(404);
  });

  it('is deleted with its channel user', async () => {
    await grant(['7']);
    await staff('DELETE', `/admin/channel-users/${partner.id}`, undefined, 204, (await a.asStaff('admin')).token);
    const left = await a.dataSource.query<unknown[]>('SELECT FROM resource_grant WHERE channel_user_id = $1', [
      partner.id,
    ]);
    expect(left).toEqual([]);
  });

  it('is neither assumed nor denied while the database is down', async () => {
    await grant(['7']);
    proxy.cut('feed');
    proxy.cut('pool');
    await until(async () => (await status('/boats/7', {}, b)) === 503, 'unavailable', 2_000);
    proxy.mend();
    await until(async () => (await status('/boats/7', {}, b)) === 200, 'available');
  });
});

describe('staff', () => {
  it('can grant one resource with PUT repeatedly', async () => {
    const path = `${grantsOf(partner.id)}/boat/7`;
    const created = await staff('PUT', path, { permissions: ['sail'] }, 201);
    const { id: member } = await a.asStaff('operator');
    expect(created.json()).toEqual({
      resourceType: 'boat',
      resourceId: '7',
      permissions: ['sail'],
      grantedBy: member,
      grantedAt: expect.stringMatching(/Z$/) as string,
      expiresAt: null,
    });
    expect((await staff('PUT', path, { permissions: ['sail'] })).json()).toEqual(created.json());
    const changed = (await staff('PUT', path, { expiresAt: '2099-01-01T00:00:00Z' })).json();
    expect(changed).toMatchObject({ permissions: [], expiresAt: '2099-01-01T00:00:00.000Z' });
  });

  it('can grant many at once and learn what changed', async () => {
    const ids = Array.from({ length: 1_000 }, (_, i) => `boat ${String(i)}`);
    expect((await grant(ids)).json()).toEqual({ given: 1_000, changed: 0 });
    expect((await grant(ids)).json()).toEqual({ given: 0, changed: 0 });
    expect((await grant(ids.slice(0, 3), { permissions: ['sail'] })).json()).toEqual({ given: 0, changed: 3 });
    expect(await status('/boats/boat%20999')).toBe(200);
  });

  it('can page through all grants and their holders', async () => {
    await grant(['1', '2', '3']);
    await grant(['1'], {}, 'harbour');
    const page = (await staff('GET', `${grantsOf(partner.id)}?limit=2`)).json<{
      items: object[];
      nextCursor: string;
    }>();
    expect(page.items).toMatchObject([{ resourceId: '1' }, { resourceId: '2' }]);
    const rest = (await staff('GET', `${grantsOf(partner.id)}?limit=2&cursor=${page.nextCursor}`)).json();
    expect(rest).toMatchObject({
      items: [
        { resourceType: 'boat', resourceId: '3' },
        { resourceType: 'harbour', resourceId: '1' },
      ],
      nextCursor: null,
    });
    expect(
      (await staff('GET', `${grantsOf(partner.id)}?resourceType=harbour`)).json<{ items: object[] }>().items,
    ).toHaveLength(1);
    const other = await a.asPartner();
    await grant(['shared'], {}, 'boat', partner);
    await grant(['shared'], {}, 'boat', other);
    const first = (await staff('GET', '/admin/grants?resourceType=boat&resourceId=shared&limit=1')).json<{
      items: { username: string }[];
      nextCursor: string;
    }>();
    const second = (
      await staff('GET', `/admin/grants?resourceType=boat&resourceId=shared&limit=1&cursor=${first.nextCursor}`)
    ).json<{ items: { username: string }[] }>();
    const names = [...first.items, ...second.items].map(({ username }) => username);
    expect(names.sort()).toEqual([partner.username, other.username].sort());
  });

  it('see each change in the audit trail and none without a difference', async () => {
    await grant(['1', '2'], { permissions: ['sail'] });
    await grant(['1', '2'], { permissions: ['sail'] });
    await grant(['2']);
    await staff('DELETE', `${grantsOf(partner.id)}/boat/1`, undefined, 204);
    const { items } = (await staff('GET', `/admin/audit-events?target=${partner.id}`)).json<{
      items: { action: string; changes: object }[];
    }>();
    const terms = { permissions: ['sail'], expiresAt: null };
    expect(
      items.filter(({ action }) => action.startsWith('grant.')).map(({ action, changes }) => [action, changes]),
    ).toEqual([
      ['grant.withdrawn', { 'boat/1': [terms, null] }],
      ['grant.changed', { 'boat/2': [terms, { permissions: [], expiresAt: null }] }],
      ['grant.given', { 'boat/1': [null, terms], 'boat/2': [null, terms] }],
    ]);
  });

  it.each([
    ['no type', { resourceIds: ['1'] }, 'resourceType'],
    ['a type in capitals', { resourceType: 'Boat', resourceIds: ['1'] }, 'resourceType'],
    ['no ids', { resourceType: 'boat', resourceIds: [] }, 'resourceIds'],
    ['the same id twice', { resourceType: 'boat', resourceIds: ['1', '1'] }, 'resourceIds'],
    ['too many ids', { resourceType: 'boat', resourceIds: Array.from({ length: 1_001 }, String) }, 'resourceIds'],
    ['an id with NUL', { resourceType: 'boat', resourceIds: ['1\u0000'] }, 'resourceIds'],
    ['a number as id', { resourceType: 'boat', resourceIds: [1] }, 'resourceIds'],
    ['a permission in capitals', { resourceType: 'boat', resourceIds: ['1'], permissions: ['Sail'] }, 'permissions'],
    ['an expiry without zone', { resourceType: 'boat', resourceIds: ['1'], expiresAt: '2099-01-01' }, 'expiresAt'],
    ['an unknown field', { resourceType: 'boat', resourceIds: ['1'], note: 'x' }, 'note'],
  ])('learn what is wrong with %s, and nothing changes', async (_, json, field) => {
    const answer = await staff('POST', grantsOf(partner.id), json, 400);
    expect(answer.json<{ errors: { field: string }[] }>().errors.map((error) => error.field)).toContain(field);
    expect((await staff('GET', grantsOf(partner.id))).json()).toEqual({ items: [], nextCursor: null });
  });

  it('can withdraw every valid id: 128 characters of two code units each', async () => {
    const id = '😀'.repeat(128);
    await grant([id]);
    expect(await status(`/boats/${encodeURIComponent(id)}`)).toBe(200);
    await staff('DELETE', `${grantsOf(partner.id)}/boat/${encodeURIComponent(id)}`, undefined, 204);
    await staff('PUT', `${grantsOf(partner.id)}/boat/%20`, {}, 400);
  });

  it('get 404 for an unknown channel user or grant and 400 for an invalid id', async () => {
    const nobody = grantsOf('7f3c5a1e-0000-4000-8000-000000000000');
    await staff('GET', nobody, undefined, 404);
    await staff('POST', nobody, { resourceType: 'boat', resourceIds: ['1'] }, 404);
    await staff('PUT', `${nobody}/boat/1`, {}, 404);
    expect((await staff('DELETE', `${grantsOf(partner.id)}/boat/1`, undefined, 404)).json()).toMatchObject({
      code: 'grant.not-found',
    });
    await staff('PUT', `${grantsOf(partner.id)}/Boat/1`, {}, 400);
    await staff('PUT', `${grantsOf(partner.id)}/boat/%00`, {}, 400);
    await staff('GET', `${grantsOf(partner.id)}?cursor=x`, undefined, 400);
  });

  it('see the resource types of the routes', async () => {
    const { token } = await a.asStaff('viewer');
    const answer = await staff('GET', '/admin/resource-types', undefined, 200, token);
    // Cabins are granted with their boat.
    expect(answer.json()['items']).toEqual([{ name: 'boat' }, { name: 'harbour' }]);
  });

  it('can read grants as viewers but not change them', async () => {
    const { token } = await a.asStaff('viewer');
    await staff('GET', grantsOf(partner.id), undefined, 200, token);
    await staff('POST', grantsOf(partner.id), { resourceType: 'boat', resourceIds: ['1'] }, 403, token);
    await staff('PUT', `${grantsOf(partner.id)}/boat/1`, {}, 403, token);
    await staff('DELETE', `${grantsOf(partner.id)}/boat/1`, undefined, 403, token);
  });

  it('can grant the same at the same moment', async () => {
    const answers = await Promise.all(Array.from({ length: 8 }, () => grant(['1', '2'])));
    const sum = answers.map((answer) => answer.json<{ given: number }>().given).reduce((x, y) => x + y, 0);
    expect(sum).toBe(2);
  });
});

describe('an id that no URL can carry', () => {
  it.each(['.', '..'])('is not granted: %j', async (resourceId) => {
    const { id } = await a.newPartner();
    const token = operator;
    const given = await a.request('POST', `/admin/channel-users/${id}/grants`, {
      token,
      json: { resourceType: 'boat', resourceIds: ['7', resourceId] },
    });
    expect([given.status, given.json()['errors']]).toEqual([
      400,
      [{ field: 'resourceIds', messages: ['each must not be "." or "..", which cannot be part of a URL'] }],
    ]);
    // Writes the request by hand, since HTTP clients remove such a segment.
    const { hostname, port } = new URL(a.url);
    const socket = connect(Number(port), hostname);
    socket.write(
      `PUT /admin/channel-users/${id}/grants/boat/${resourceId} HTTP/1.1\r\nHost: ${hostname}\r\nConnection: close\r\n` +
        `Authorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}`,
    );
    expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
    const { items } = (await a.request('GET', `/admin/channel-users/${id}/grants`, { token })).json();
    expect(items).toEqual([]);
  });

  it.each(['.', '..', 'a/b', '%2e', ' x ', '?#'])('can be withdrawn if it was granted: %j', async (resourceId) => {
    const { id } = await a.newPartner();
    const { token } = await a.asStaff('operator');
    await a.dataSource.query(
      `INSERT INTO resource_grant (channel_user_id, resource_type, resource_id, permissions, granted_at)
       VALUES ($1, 'boat', $2, '{}', now())`,
      [id, resourceId],
    );
    const query = new URLSearchParams({ resourceType: 'boat', resourceId });
    const path = `/admin/channel-users/${id}/grants?${query.toString()}`;
    expect((await a.request('DELETE', path, { token })).status).toBe(204);
    expect((await a.request('DELETE', path, { token })).status).toBe(404);
  });
});
