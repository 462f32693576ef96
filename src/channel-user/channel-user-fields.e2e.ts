import { TestApp } from '../../test/support/app.ts';
import { CHANNEL_USER_FIELDS } from './channel-user-fields.ts';

interface Row {
  readonly set?: { readonly personal: boolean };
  readonly file?: object;
}

const rows = Object.entries<Row>(CHANNEL_USER_FIELDS);
const namesWhere = (is: (row: Row) => boolean): string[] => rows.filter(([, row]) => is(row)).map(([name]) => name);

const USERS = '/admin/channel-users';
let app: TestApp;
let admin: string;
let channelUser: Record<string, unknown>;

/** Imports the template, whose partner has a value in every field that staff set. */
beforeAll(async () => {
  app = await TestApp.start();
  admin = (await app.asStaff('admin')).token;
  const template = await app.request('GET', `${USERS}/import/template`, { token: admin });
  const headers = { 'content-type': 'text/csv' };
  const imported = await app.request('POST', `${USERS}/import`, { token: admin, headers, body: template.text });
  expect([imported.status, imported.json()]).toEqual([200, expect.objectContaining({ created: 1 })]);
  const found = await app.request('GET', `${USERS}?q=example-partner`, { token: admin });
  [channelUser = {}] = found.json<{ items: Record<string, unknown>[] }>().items;
});
afterAll(() => app.close());

it('returns every field of the table in its order', () => {
  expect(Object.keys(channelUser)).toEqual(rows.map(([name]) => name));
});

it('imports every field that staff may set', () => {
  const isEmpty = (value: unknown): boolean => value === null || (Array.isArray(value) && value.length === 0);
  const empty = namesWhere(({ set }) => set !== undefined).filter((name) => isEmpty(channelUser[name] ?? null));
  expect(empty).toEqual([]);
});

it('exports every field of the file formats, in both formats', async () => {
  const names = namesWhere(({ file }) => file !== undefined).sort();
  const csv = await app.request('GET', `${USERS}/export`, { token: admin });
  expect(csv.text.split('\r\n')[0]?.split(',').sort()).toEqual(names);
  const ndjson = await app.request('GET', `${USERS}/export?format=ndjson`, { token: admin });
  expect(Object.keys(JSON.parse(ndjson.text.split('\n')[0] ?? '') as object).sort()).toEqual(names);
});

it('audits every field that staff may set and seals the personal ones', async () => {
  const id = String(channelUser['id']);
  await app.request('DELETE', `${USERS}/${id}`, { token: admin });
  const trail = `/admin/audit-events?target=${id}&action=channel-user.deleted`;
  const [told] = (await app.request('GET', trail, { token: admin })).json<{ items: { changes: object }[] }>().items;
  const [stored] = await app.dataSource.query<{ changes: object }[]>(
    `SELECT changes FROM audit_event WHERE target_id = $1 AND action = 'channel-user.deleted'`,
    [id],
  );
  const settable = namesWhere(({ set }) => set !== undefined);
  expect(Object.keys(told?.changes ?? {}).sort()).toEqual(['username', ...settable].sort());
  expect(Object.keys(stored?.changes ?? {}).sort()).toEqual(namesWhere(({ set }) => set?.personal === false).sort());
});

describe('externalId', () => {
  const idsOf = async (query: string): Promise<unknown[]> => {
    const answer = await app.request('GET', `${USERS}?${query}`, { token: admin });
    return answer
      .expect(200)
      .json<{ items: { id: string }[] }>()
      .items.map(({ id }) => id);
  };
  const patch = (id: string, externalId: unknown) =>
    app.request('PATCH', `${USERS}/${id}`, { token: admin, json: { externalId } });

  it('is set by POST, PUT and PATCH and finds all accounts with exactly this value', async () => {
    const posted = await app.newPartner({ externalId: ' CRM 1' });
    const username = `put-${posted.username}`;
    const json = { displayName: 'Put', externalId: 'CRM 1', deliver: 'link' };
    const put = await app.request('PUT', `${USERS}/by-username/${username}`, { token: admin, json });
    const { channelUser: second } = put.expect(201).json<{ channelUser: { id: string; externalId: string } }>();
    const third = await app.newPartner({ externalId: 'CRM 11' });
    expect(second.externalId).toBe('CRM 1');
    expect(new Set(await idsOf('externalId=CRM%201'))).toEqual(new Set([posted.id, second.id]));
    expect(await idsOf('externalId=crm%201')).toEqual([]);
    expect(await idsOf(`externalId=CRM%201&q=${username}`)).toEqual([second.id]);

    (await patch(third.id, 'CRM 1')).expect(200);
    (await patch(second.id, null)).expect(200);
    expect(new Set(await idsOf('externalId=CRM%201'))).toEqual(new Set([posted.id, third.id]));
  });

  it.each([
    ['', 'empty'],
    [' ', 'blank'],
    ['x'.repeat(129), 'too long'],
    ['a\nb', 'of two lines'],
    [5, 'a number'],
  ])('refuses %j, which is %s', async (externalId: unknown, _) => {
    const { id } = await app.newPartner();
    const refused = (await patch(id, externalId)).expect(400).json<{ errors: { field: string }[] }>();
    expect(refused.errors.map(({ field }) => field)).toEqual(['externalId']);
  });
});
