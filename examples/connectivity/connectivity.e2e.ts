import { randomUUID } from 'node:crypto';
import {
  type Answer,
  createTestApp,
  expectGrantsToHold,
  expectMigrationsToFit,
  type PartnerWithToken,
  type TestApp,
} from '../../test/kit.ts';
import application from './application.ts';

const SCOPES = ['content:read', 'property:write', 'calendar:write'];
const NAME = 'Seaside "1" – Ålesund';

interface Day {
  date: string;
  [field: string]: unknown;
}
interface Calendar {
  days: Day[];
  ratePlanDays: Day[];
}
interface Place {
  property: string;
  room: string;
  plan: string;
}

let app: TestApp;
let partner: PartnerWithToken;
let here: Place;

beforeAll(async () => {
  app = await createTestApp(application);
});
afterAll(() => app.close());
beforeEach(async () => {
  here = await newPlace();
  partner = await app.asPartner({ scopes: SCOPES, grants: [granted(here)] });
});

const granted = ({ property }: Place) => ({ resourceType: 'property', resourceIds: [property] });

/** Calls as an operator. @throws where the status is another one */
async function staff(method: string, path: string, json?: unknown, status = 200): Promise<Answer> {
  const { token } = await app.asStaff('operator');
  const answer = await app.request(method, `/admin/${path}`, { token, ...(json !== undefined && { json }) });
  expect([method, path, answer.status, answer.text]).toEqual([method, path, status, expect.anything()]);
  return answer;
}

const create = async (path: string, json: object): Promise<string> =>
  (await staff('POST', path, json, 201)).json<{ id: string }>().id;

const ROOM = { name: 'Double', quantity: 9, maxGuests: 3, maxAdults: 2, maxChildren: 2 };
const newProperty = (name = NAME): Promise<string> => create('properties', { name });
const newRoom = (property: string, more: object = {}): Promise<string> =>
  create(`properties/${property}/rooms`, { ...ROOM, ...more });
const newPlan = (room: string, name = 'Flexible'): Promise<string> => create(`rooms/${room}/rate-plans`, { name });

/** A property with a room with a rate plan. */
async function newPlace(): Promise<Place> {
  const property = await newProperty();
  const room = await newRoom(property);
  return { property, room, plan: await newPlan(room) };
}

const call = (path: string, json?: unknown, by = partner): Promise<Answer> =>
  app.request('POST', `/${path}`, { token: by.token, ...(json !== undefined && { json }) });

const calendarOf = async ({ room }: Place, from = '2030-01-01'): Promise<Calendar> =>
  (await staff('GET', `rooms/${room}/calendar?from=${from}`)).json<Calendar>();

const dayAfter = (days: number, from = '2030-01-01'): string =>
  new Date(Date.parse(from) + days * 86_400_000).toISOString().slice(0, 10);

const inventory = (days: number, inventoryNumber = 3): Day[] =>
  Array.from({ length: days }, (_, i) => ({ date: dayAfter(i), inventoryNumber, propertyName: NAME }));

/** The four calls on calendars, each with its field and how it shows. */
const UPDATES = [
  ['updateCalendarInventory', 'inventoryNumber', 'inventory', 4, 'calendar inventory updated'],
  ['updateCalendarBlackout', 'blackoutStatus', 'blackout', true, 'calendar blackout updated'],
  ['updateCalendarMinStay', 'minStay', 'minStay', 2, 'calendar min stay updated'],
  ['updateCalendarMaxStay', 'maxStay', 'maxStay', 14, 'calendar max stay updated'],
] as const;
const ofPlan = (update: string): boolean => update.endsWith('Stay');
const urlOf = (update: string, { room, plan }: Place): string =>
  `${update}?roomId=${room}${ofPlan(update) ? `&ratePlanId=${plan}` : ''}`;

describe('GET routes for partners', () => {
  it('list the rooms of a property with their names', async () => {
    const single = await newRoom(here.property, { name: 'A single' });
    const answer = await call(`getRooms?propertyId=${here.property}`);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/json; charset=utf-8']);
    expect(answer.json()).toEqual([
      { id: single, name: 'A single' },
      { id: here.room, name: 'Double' },
    ]);
  });

  it('list the rate plans of a room', async () => {
    const second = await newPlan(here.room, 'Non-refundable');
    const answer = await call(`returnRatePlan?roomId=${here.room}`);
    expect(answer.json()).toEqual([
      { id: here.plan, rate_name: 'Flexible' },
      { id: second, rate_name: 'Non-refundable' },
    ]);
  });

  it('list images with absolute URLs for rooms and relative paths for properties', async () => {
    const images = ['https://images.example/b.jpg', 'https://images.example/a.jpg'];
    await staff('PUT', `rooms/${here.room}/images`, { images });
    await staff('PUT', `properties/${here.property}/images`, { images: ['seaside/front.jpg'] });
    expect((await call('getApiRoomImages', { roomId: here.room })).json()).toEqual({ imgPath: images });
    expect((await call('getApiPropertyImages', { propertyId: here.property })).json()).toEqual({
      propertyImagesPath: ['seaside/front.jpg'],
    });
  });

  it.each([
    ['getRooms', 'propertyId'],
    ['returnRatePlan', 'roomId'],
  ])('require the scope: %s needs %s', async (path, field) => {
    for (const query of ['', `?${field}=`, `?${field}=${here.property}&${field}=${here.property}`]) {
      const answer = await call(path + query);
      const errors = answer.status === 400 ? answer.json<{ errors: { field: string }[] }>().errors : [];
      // A list of rooms is no room: the second one is refused as what is not granted.
      expect([path, query, answer.status, errors[0]?.field]).toEqual(
        query.includes('&') && field === 'roomId' ? [path, query, 404, undefined] : [path, query, 400, field],
      );
    }
  });
});

describe('getRoomResponseConnectivity', () => {
  const numbers = (more: object = {}) => ({
    id: here.room,
    qty: 7,
    maxGuests: 4,
    maxAdults: 3,
    maxChildren: 1,
    ...more,
  });
  const roomNow = async (): Promise<unknown> =>
    (await staff('GET', `properties/${here.property}`)).json<{ rooms: unknown[] }>().rooms[0];

  it('answers true whenever the room has the numbers', async () => {
    for (const _ of [1, 2]) {
      const answer = await call('getRoomResponseConnectivity', numbers());
      expect([answer.status, answer.headers.get('content-type'), answer.text]).toEqual([
        200,
        'application/json; charset=utf-8',
        'true',
      ]);
    }
    expect(await roomNow()).toMatchObject({
      quantity: 7,
      maxGuests: 4,
      maxAdults: 3,
      maxChildren: 1,
      pushedBy: partner.id,
    });
  });

  it.each([
    ['more guests than adults and children', { maxGuests: 5 }],
    ['more adults than guests', { maxAdults: 5 }],
    ['more children than guests', { maxChildren: 5 }],
  ])('answers false and changes nothing for %s', async (_, more) => {
    const before = await roomNow();
    const answer = await call('getRoomResponseConnectivity', numbers(more));
    expect([answer.status, answer.text]).toEqual([200, 'false']);
    expect(await roomNow()).toEqual(before);
  });

  it.each([
    ['qty', -1],
    ['qty', 10_001],
    ['qty', 1.5],
    ['qty', '7'],
    ['maxGuests', 0],
    ['maxAdults', null],
    ['maxChildren', undefined],
    ['price', 1],
  ])('refuses %s that is %p', async (field, value) => {
    const before = await roomNow();
    const answer = await call('getRoomResponseConnectivity', numbers({ [field]: value }));
    expect([answer.status, answer.json()['errors']]).toMatchObject([400, [{ field }]]);
    expect(await roomNow()).toEqual(before);
  });
});

describe.each(UPDATES)('%s', (update, field, shown, value, text) => {
  const push = (days: unknown, by = partner): Promise<Answer> => call(urlOf(update, here), days, by);
  const daysNow = async (): Promise<Day[]> => (await calendarOf(here))[ofPlan(update) ? 'ratePlanDays' : 'days'];
  const day = (date: string, more: object = {}): Day => ({ date, [field]: value, propertyName: NAME, ...more });

  it('accepts both forms of days and answers in plain text', async () => {
    const answer = await push([day('2030-02-28'), day('2030-03-01T00:00:00.000+00:00')]);
    expect([answer.status, answer.headers.get('content-type'), answer.text]).toEqual([
      200,
      'text/plain; charset=utf-8',
      text,
    ]);
    const pushed = { [shown]: value, pushedBy: partner.id };
    expect(await daysNow()).toMatchObject([
      { date: '2030-02-28', ...pushed },
      { date: '2030-03-01', ...pushed },
    ]);
  });

  it('accepts a year, and changes nothing when the same year is sent again', async () => {
    const year = Array.from({ length: 365 }, (_, i) => day(dayAfter(i)));
    expect((await push(year)).text).toBe(text);
    const first = await daysNow();
    expect(first.map((each) => [each.date, each[shown]])).toEqual(year.map(({ date }) => [date, value]));
    app.clockOffset = 60_000;
    try {
      expect((await push(year)).text).toBe(text);
    } finally {
      app.clockOffset = 0;
    }
    expect(await daysNow()).toEqual(first);
  });

  it.each([
    ['no list', () => day('2030-01-01'), ''],
    ['an empty list', () => [], ''],
    ['more than 1,000 days', () => Array.from({ length: 1_001 }, (_, i) => day(dayAfter(i))), ''],
    ['an entry that is no object', () => [day('2030-01-01'), 7], '1'],
    ['an entry that is null', () => [null], '0'],
    ['a list in the list', () => [[day('2030-01-01')]], '0'],
    ['a day twice', () => [day('2030-01-01'), day('2030-01-02'), day('2030-01-01')], '2.date'],
    ['a day in both forms', () => [day('2030-01-01'), day('2030-01-01T00:00:00.000+00:00')], '1.date'],
    ['a day that does not exist', () => [day('2030-01-01'), day('2030-02-29')], '1.date'],
    ['a day of the year 0', () => [day('0000-01-01')], '0.date'],
    ['another form of day', () => [day('01.02.2030')], '0.date'],
    ['midnight as Z', () => [day('2030-01-01T00:00:00.000Z')], '0.date'],
    ['midnight elsewhere', () => [day('2030-01-01T00:00:00.000+02:00')], '0.date'],
    ['another time of day', () => [day('2030-01-01T01:00:00.000+00:00')], '0.date'],
    ['a day as number', () => [day('2030-01-01', { date: 20_300_101 })], '0.date'],
    ['no day', () => [{ ...day('2030-01-01'), date: undefined }], '0.date'],
    [
      'the name of another property',
      () => [day('2030-01-01'), day('2030-01-02', { propertyName: 'X' })],
      '1.propertyName',
    ],
    ['no name', () => [day('2030-01-01', { propertyName: undefined })], '0.propertyName'],
    ['no value', () => [day('2030-01-01'), day('2030-01-02', { [field]: undefined })], `1.${field}`],
    ['null', () => [day('2030-01-01', { [field]: null })], `0.${field}`],
    ['a value as text', () => [day('2030-01-01', { [field]: String(value) })], `0.${field}`],
    ['a value below the least', () => [day('2030-01-01', { [field]: -1 })], `0.${field}`],
    ['an unknown field', () => [day('2030-01-01', { price: 1 })], '0.price'],
  ])('refuses %s and changes nothing', async (_, body, at) => {
    const answer = await push(body());
    expect([answer.status, answer.text]).toEqual([400, expect.anything()]);
    expect(answer.json<{ errors: { field: string }[] }>().errors.map((error) => error.field)).toEqual([at]);
    expect(await calendarOf(here)).toEqual({ days: [], ratePlanDays: [] });
  });

  it('names the accepted forms of days in its error', async () => {
    const { errors } = (await push([day('x')])).json<{ errors: { messages: string[] }[] }>();
    expect(errors[0]?.messages).toEqual(['must be an existing day, as YYYY-MM-DD or YYYY-MM-DDT00:00:00.000+00:00']);
  });

  it('refuses an unknown room and a room of another partner', async () => {
    const other = await newPlace();
    const unknown = { ...here, room: randomUUID() };
    for (const place of [unknown, { ...other, plan: here.plan }, { ...here, room: 'x' }]) {
      const answer = await call(urlOf(update, place), [day('2030-01-01')]);
      expect([answer.status, answer.json()['detail']]).toEqual([404, 'There is no such room.']);
    }
    expect(await calendarOf(other)).toEqual({ days: [], ratePlanDays: [] });
  });

  it('requires its scope', async () => {
    const reader = await app.asPartner({ scopes: SCOPES.slice(0, 2), grants: [granted(here)] });
    expect((await push([day('2030-01-01')], reader)).status).toBe(403);
  });
});

describe.each(UPDATES.filter(([update]) => ofPlan(update)))('%s', (update, field, _, value) => {
  it('refuses a rate plan of another room and changes nothing, even within the same property', async () => {
    const room = await newRoom(here.property, { name: 'Other' });
    const sibling = await newPlan(room);
    const stranger = await newPlace();
    for (const plan of [sibling, stranger.plan, randomUUID(), 'x']) {
      const days = [{ date: '2030-01-01', [field]: value, propertyName: NAME }];
      const answer = await call(urlOf(update, { ...here, plan }), days);
      expect([answer.status, answer.json()['detail']]).toEqual([404, 'There is no such rate plan.']);
    }
    for (const place of [here, { ...here, room }, stranger]) {
      expect((await calendarOf(place)).ratePlanDays).toEqual([]);
    }
  });
});

describe('two partners who share a property', () => {
  it('can push the same days at the same moment, and each day holds the values of one of them', async () => {
    const other = await app.asPartner({ scopes: SCOPES, grants: [granted(here)] });
    const url = urlOf('updateCalendarInventory', here);
    for (let round = 0; round < 5; round++) {
      const [one, two] = [2 * round, 2 * round + 1];
      // In opposite orders: without one order of locks they would wait for each other.
      const answers = await Promise.all([
        call(url, inventory(365, one), partner),
        call(url, inventory(365, two).reverse(), other),
        call(url, inventory(365, one).reverse(), partner),
        call(url, inventory(365, two), other),
      ]);
      expect(answers.map(({ status, text }) => [status, text])).toEqual(
        answers.map(() => [200, 'calendar inventory updated']),
      );
      const { days } = await calendarOf(here);
      expect(days).toHaveLength(365);
      // Whole requests: the last one to be written is there for every day.
      expect(new Set(days.map((day) => day['inventory'])).size).toBe(1);
      for (const day of days) expect(day['pushedBy']).toBe(day['inventory'] === one ? partner.id : other.id);
    }
  });

  it('keep each other’s values when they push different ones', async () => {
    const other = await app.asPartner({ scopes: SCOPES, grants: [granted(here)] });
    const blackout = inventory(30).map(({ date, propertyName }) => ({ date, propertyName, blackoutStatus: true }));
    await Promise.all([
      call(urlOf('updateCalendarInventory', here), inventory(30, 9)),
      call(urlOf('updateCalendarBlackout', here), blackout, other),
    ]);
    const { days } = await calendarOf(here);
    expect(days.map((day) => [day['inventory'], day['blackout']])).toEqual(Array.from({ length: 30 }, () => [9, true]));
  });
});

it('reads a year from any existing day up to the last possible day', async () => {
  const lastDays = [{ date: '9999-12-31', inventoryNumber: 1, propertyName: NAME }];
  expect((await call(urlOf('updateCalendarInventory', here), lastDays)).status).toBe(200);
  expect((await calendarOf(here, '9999-06-01')).days.map((day) => day.date)).toEqual(['9999-12-31']);
  for (const from of ['2030-02-30', '2030-13-01', '2030-00-10']) {
    const answer = await staff('GET', `rooms/${here.room}/calendar?from=${from}`, undefined, 400);
    expect(answer.json()['errors']).toEqual([{ field: 'from', messages: ['must be an existing day'] }]);
  }
});

it('writes nothing of a push that it cannot write completely', async () => {
  expect((await call(urlOf('updateCalendarInventory', here), inventory(3, 1))).status).toBe(200);
  await app.dataSource.query(`ALTER TABLE calendar_day ADD CONSTRAINT ck_test CHECK (date <> '2030-01-20') NOT VALID`);
  try {
    expect((await call(urlOf('updateCalendarInventory', here), inventory(30, 2))).status).toBe(500);
  } finally {
    await app.dataSource.query('ALTER TABLE calendar_day DROP CONSTRAINT ck_test');
  }
  expect((await calendarOf(here)).days.map((day) => day['inventory'])).toEqual([1, 1, 1]);
});

describe('grants', () => {
  it('apply to every call, and cover the rooms and rate plans of a property', async () => {
    const property = { create: () => newProperty() };
    const owners = new Map<string, string>();
    const room = {
      create: async () => {
        const place = await newPlace();
        owners.set(place.room, place.property).set(place.plan, place.property);
        return place.room;
      },
      grantedWith: { type: 'property', idOf: (id: string) => Promise.resolve(owners.get(id) ?? '') },
    };
    const plan = {
      ...room,
      create: async () => {
        const place = await newPlace();
        owners.set(place.plan, place.property);
        return place.plan;
      },
    };
    const tried = await expectGrantsToHold(app, { property, room, 'rate-plan': plan });
    expect(tried.sort()).toEqual([
      'POST /getApiPropertyImages',
      'POST /getApiRoomImages',
      'POST /getRoomResponseConnectivity',
      'POST /getRooms',
      'POST /returnRatePlan',
      'POST /updateCalendarBlackout',
      'POST /updateCalendarInventory',
      'POST /updateCalendarMaxStay',
      'POST /updateCalendarMinStay',
    ]);
  });

  it('end access with the next call when they are withdrawn', async () => {
    expect((await call(`getRooms?propertyId=${here.property}`)).status).toBe(200);
    expect((await call(`returnRatePlan?roomId=${here.room}`)).status).toBe(200);
    await staff('DELETE', `channel-users/${partner.id}/grants/property/${here.property}`, undefined, 204);
    expect((await call(`getRooms?propertyId=${here.property}`)).status).toBe(404);
    expect((await call(`returnRatePlan?roomId=${here.room}`)).status).toBe(404);
  });
});

describe('staff', () => {
  it('see the scopes with their descriptions', async () => {
    const { items } = (await staff('GET', 'scopes')).json<{ items: { name: string }[] }>();
    expect(items.filter(({ name }) => SCOPES.includes(name))).toMatchObject([
      { name: 'calendar:write', description: 'Change the calendars of granted properties.', declared: true },
      { name: 'content:read', description: 'Read rooms, rate plans and images of granted properties.', declared: true },
      { name: 'property:write', description: 'Change the rooms of granted properties.', declared: true },
    ]);
  });

  it('see their changes in the audit trail', async () => {
    await staff('PUT', `rooms/${here.room}/images`, { images: ['https://images.example/a.jpg'] });
    await staff('PUT', `rooms/${here.room}/images`, { images: ['https://images.example/a.jpg'] });
    const { items } = (await staff('GET', `audit-events?target=${here.room}`)).json<{ items: object[] }>();
    expect(items).toMatchObject([
      {
        action: 'room.images-changed',
        target: { type: 'room', id: here.room, name: 'Double' },
        changes: { images: [[], ['https://images.example/a.jpg']] },
      },
      { action: 'room.created', changes: { quantity: [null, 9], propertyId: [null, here.property] } },
    ]);
    for (const [id, action] of [
      [here.property, 'property.created'],
      [here.plan, 'rate-plan.created'],
    ]) {
      const trail = (await staff('GET', `audit-events?target=${String(id)}`)).json<{ items: object[] }>();
      expect(trail.items).toMatchObject([{ action }]);
    }
  });

  it('page through the properties', async () => {
    const seen: string[] = [];
    let cursor: string | null = '';
    for (let pages = 0; cursor !== null && pages < 200; pages++) {
      const path: string = cursor === '' ? 'properties?limit=7' : `properties?limit=7&cursor=${cursor}`;
      const page = (await staff('GET', path)).json<{ items: { id: string }[]; nextCursor: string | null }>();
      seen.push(...page.items.map(({ id }) => id));
      cursor = page.nextCursor;
    }
    expect(seen).toContain(here.property);
    expect(new Set(seen).size).toBe(seen.length);
  });

  it.each([
    ['properties', { name: '' }, 400],
    ['properties', { name: 'a\u0000' }, 400],
    ['properties/PROPERTY/rooms', { ...ROOM, maxGuests: 9 }, 409],
    ['properties/PROPERTY/rooms', { ...ROOM, quantity: -1 }, 400],
    [`properties/${randomUUID()}/rooms`, ROOM, 404],
    [`rooms/${randomUUID()}/rate-plans`, { name: 'x' }, 404],
  ])('cannot create invalid data: POST %s %p', async (path, json, status) => {
    await staff('POST', path.replace('PROPERTY', here.property), json, status);
  });

  it.each(['/absolute.jpg', '../up.jpg', 'a/../b.jpg', 'https://images.example/a.jpg', 'a//b.jpg', ''])(
    'cannot use %p as an image of a property',
    async (image) => {
      await staff('PUT', `properties/${here.property}/images`, { images: [image] }, 400);
    },
  );

  it.each(['relative.jpg', 'http://images.example/a.jpg', 'javascript:alert(1)'])(
    'cannot use %p as an image of a room',
    async (image) => {
      await staff('PUT', `rooms/${here.room}/images`, { images: [image] }, 400);
    },
  );

  it('can read everything and change nothing as viewers', async () => {
    const { token } = await app.asStaff('viewer');
    const as = async (method: string, path: string, json?: object): Promise<number> =>
      (await app.request(method, `/admin/${path}`, { token, ...(json && { json }) })).status;
    expect(await as('GET', `properties/${here.property}`)).toBe(200);
    expect(await as('GET', `rooms/${here.room}/calendar`)).toBe(200);
    expect(await as('POST', 'properties', { name: 'x' })).toBe(403);
    expect(await as('POST', `properties/${here.property}/rooms`, ROOM)).toBe(403);
    expect(await as('POST', `rooms/${here.room}/rate-plans`, { name: 'x' })).toBe(403);
    expect(await as('PUT', `rooms/${here.room}/images`, { images: [] })).toBe(403);
    expect(await as('PUT', `properties/${here.property}/images`, { images: [] })).toBe(403);
  });
});

it('documents every call', async () => {
  const { paths } = (await app.request('GET', '/docs/openapi.json')).json<{ paths: Record<string, unknown> }>();
  expect(Object.keys(paths)).toEqual(
    expect.arrayContaining([...UPDATES.map(([update]) => `/${update}`), '/getRooms', '/getRoomResponseConnectivity']),
  );
  expect(paths['/updateCalendarInventory']).toMatchObject({
    post: {
      requestBody: { content: { 'application/json': { schema: { type: 'array', minItems: 1, maxItems: 1_000 } } } },
      responses: { 200: { content: { 'text/plain': {} } } },
    },
  });
});

it('has migrations that match its entities and can be reverted', async () => {
  await expectMigrationsToFit(app, application.migrations);
});

describe('a push that contradicts stored values', () => {
  const stay = (field: 'minStay' | 'maxStay', nights: number, date = '2030-01-02'): Day => ({
    date,
    [field]: nights,
    propertyName: NAME,
  });
  const push = async (update: string, days: Day[]): Promise<unknown[]> => {
    const answer = await call(urlOf(update, here), days);
    return [answer.status, answer.status === 200 ? undefined : answer.json()['errors']];
  };

  it('is refused when a minimum stay exceeds the maximum of its day, and the error names the day', async () => {
    expect(await push('updateCalendarMaxStay', [stay('maxStay', 3)])).toEqual([200, undefined]);
    expect(await push('updateCalendarMinStay', [stay('minStay', 9, '2030-01-01'), stay('minStay', 4)])).toEqual([
      400,
      [{ field: '1.minStay', messages: ['must be at most 3 on 2030-01-02, the maximum stay of that day'] }],
    ]);
    expect((await calendarOf(here)).ratePlanDays).toMatchObject([{ date: '2030-01-02', minStay: null, maxStay: 3 }]);
    expect(await push('updateCalendarMinStay', [stay('minStay', 3)])).toEqual([200, undefined]);
    expect(await push('updateCalendarMaxStay', [stay('maxStay', 2)])).toEqual([
      400,
      [{ field: '0.maxStay', messages: ['must be at least 3 on 2030-01-02, the minimum stay of that day'] }],
    ]);
    expect((await calendarOf(here)).ratePlanDays).toMatchObject([{ minStay: 3, maxStay: 3 }]);
  });

  it('keeps minimum and maximum consistent when both arrive at the same moment', async () => {
    for (let i = 0; i < 10; i++) {
      const date = dayAfter(i);
      const answers = await Promise.all([
        call(urlOf('updateCalendarMinStay', here), [stay('minStay', 5, date)]),
        call(urlOf('updateCalendarMaxStay', here), [stay('maxStay', 4, date)]),
      ]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 400]);
    }
  });

  it('is refused when free rooms exceed all rooms, and the error names the day', async () => {
    const day = (date: string, inventoryNumber: number): Day => ({ date, inventoryNumber, propertyName: NAME });
    expect(await push('updateCalendarInventory', [day('2030-01-01', 9), day('2030-01-02', 10)])).toEqual([
      400,
      [{ field: '1.inventoryNumber', messages: ['must be at most 9 on 2030-01-02: the room has no more units'] }],
    ]);
    expect((await calendarOf(here)).days).toEqual([]);
    expect(await push('updateCalendarInventory', [day('2030-01-01', 5), day('2020-01-01', 5)])).toEqual([
      200,
      undefined,
    ]);
    const numbers = { id: here.room, maxGuests: 4, maxAdults: 4, maxChildren: 3 };
    const fewer = await call('getRoomResponseConnectivity', { ...numbers, qty: 4 });
    expect([fewer.status, fewer.json()['code'], fewer.json()['detail']]).toEqual([
      409,
      'room.inventory',
      'On 2030-01-01, 5 units of the room are free, more than the new quantity. Lower the inventory first.',
    ]);
    expect(await push('updateCalendarInventory', [day('2030-01-01', 4)])).toEqual([200, undefined]);
    // Days that have ended, in UTC, do not count.
    expect((await call('getRoomResponseConnectivity', { ...numbers, qty: 4 })).json()).toBe(true);
  });

  it('compares property names in composed form and says what it expected', async () => {
    const as = (propertyName: string): Day[] => [{ ...stay('minStay', 1), propertyName }];
    expect(await push('updateCalendarMinStay', as(` ${NAME.normalize('NFD').replace(' ', '\u00A0 ')} `))).toEqual([
      200,
      undefined,
    ]);
    expect(await push('updateCalendarMinStay', as('Seaside'))).toEqual([
      400,
      [
        {
          field: '0.propertyName',
          messages: [`must be ${JSON.stringify(NAME)}, the name of the property that the room belongs to`],
        },
      ],
    ]);
  });
});
