import { randomUUID } from 'node:crypto';
import { type Answer, type StaffMember, TestApp } from '../support/app.ts';
import { secret } from '../support/secrets.ts';
import type { Role } from '../../src/platform/common/principal.ts';

/*
 * Which routes of the staff API service accounts may call. A route is for people unless its controller says
 * otherwise: one that is in neither list is tested as closed, and has to be added to the second list once it is opened.
 */

/** For people only, whatever the role: staff, service accounts, settings, signing keys, and a person's own session. */
const PEOPLE = [
  'GET /admin/session',
  'DELETE /admin/session',
  'PATCH /admin/session/password',
  'POST /admin/session/totp',
  'POST /admin/session/totp/confirm',
  'DELETE /admin/session/totp',
  'POST /admin/session/recovery-codes',
  'GET /admin/staff',
  'POST /admin/staff',
  'GET /admin/staff/sign-in-failures',
  'GET /admin/staff/:id',
  'PATCH /admin/staff/:id',
  'POST /admin/staff/:id/reset-password',
  'DELETE /admin/staff/:id/second-factor',
  'DELETE /admin/staff/:id',
  'PUT /admin/staff/:id/identity',
  'DELETE /admin/staff/:id/identity',
  'GET /admin/service-accounts',
  'POST /admin/service-accounts',
  'GET /admin/service-accounts/:id',
  'PATCH /admin/service-accounts/:id',
  'POST /admin/service-accounts/:id/suspend',
  'POST /admin/service-accounts/:id/reactivate',
  'POST /admin/service-accounts/:id/rotate',
  'POST /admin/service-accounts/:id/revoke',
  'DELETE /admin/service-accounts/:id',
  'POST /admin/service-accounts/:id/keys/:keyId/withdraw',
  'DELETE /admin/service-accounts/:id/keys/:keyId',
  'GET /admin/settings',
  'PATCH /admin/settings',
  'GET /admin/signing-keys',
  'POST /admin/signing-keys/rotate',
  'POST /admin/signing-keys/:kid/revoke',
];

/** Also for service accounts with this role. */
const ALSO_FOR_SCRIPTS: Readonly<Record<string, Role>> = {
  'GET /admin/overview': 'viewer',
  'GET /admin/scopes': 'viewer',
  'GET /admin/resource-types': 'viewer',
  'GET /admin/grants': 'viewer',
  'GET /admin/requests/:requestId': 'viewer',
  'DELETE /admin/tokens/:jti': 'operator',
  'GET /admin/channel-users': 'viewer',
  'POST /admin/channel-users': 'operator',
  'GET /admin/channel-users/export': 'viewer',
  'POST /admin/channel-users/import': 'operator',
  'GET /admin/channel-users/import/template': 'viewer',
  'GET /admin/channel-users/imports': 'viewer',
  'GET /admin/channel-users/imports/:id': 'viewer',
  'DELETE /admin/channel-users/imports/:id': 'admin',
  'GET /admin/channel-users/by-username/:username': 'viewer',
  'PUT /admin/channel-users/by-username/:username': 'operator',
  'GET /admin/channel-users/:id': 'viewer',
  'PATCH /admin/channel-users/:id': 'operator',
  'DELETE /admin/channel-users/:id': 'admin',
  'POST /admin/channel-users/:id/suspend': 'operator',
  'POST /admin/channel-users/:id/reactivate': 'operator',
  'POST /admin/channel-users/:id/revoke-tokens': 'operator',
  'GET /admin/channel-users/:id/activity': 'viewer',
  'GET /admin/channel-users/:id/calls': 'viewer',
  'GET /admin/channel-users/:id/errors': 'viewer',
  'GET /admin/channel-users/:id/credentials': 'viewer',
  'POST /admin/channel-users/:id/credentials': 'operator',
  'POST /admin/channel-users/:id/credentials/:credentialId/withdraw': 'operator',
  'DELETE /admin/channel-users/:id/credentials/:credentialId': 'operator',
  'GET /admin/channel-users/:id/credentials/:credentialId/impact': 'viewer',
  'GET /admin/channel-users/:id/handovers': 'viewer',
  'DELETE /admin/channel-users/:id/handovers/:handoverId': 'operator',
  'GET /admin/channel-users/:id/grants': 'viewer',
  'POST /admin/channel-users/:id/grants': 'operator',
  'PUT /admin/channel-users/:id/grants/:resourceType/:resourceId': 'operator',
  'DELETE /admin/channel-users/:id/grants': 'operator',
  'DELETE /admin/channel-users/:id/grants/:resourceType/:resourceId': 'operator',
  'GET /admin/audit-events': 'viewer',
  'GET /admin/audit-events/export': 'viewer',
  'GET /admin/audit-events/actions': 'viewer',
  'GET /admin/audit-events/chain': 'viewer',
  'POST /admin/audit-events/chain/verify': 'admin',
  'GET /admin/notices': 'viewer',
  'POST /admin/notices/:id/deliveries/:deliveryId/retry': 'operator',
  'GET /admin/webhooks': 'viewer',
  'POST /admin/webhooks': 'admin',
  'GET /admin/webhooks/:id': 'viewer',
  'PATCH /admin/webhooks/:id': 'admin',
  'DELETE /admin/webhooks/:id': 'admin',
  'POST /admin/webhooks/:id/rotate-secret': 'admin',
  'POST /admin/webhooks/:id/test': 'admin',
};

/** Open to everybody, with or without a key. */
const PUBLIC = [
  'POST /admin/session',
  'GET /admin/session/methods',
  'GET /admin/session/oidc',
  'GET /admin/session/oidc/callback',
  'POST /admin/session/oidc/backchannel-logout',
  'POST /admin/password-link/use',
];

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };
const ROLES = Object.keys(RANK) as Role[];

let app: TestApp;
let admin: StaffMember;
const keys = {} as Record<Role, string>;

beforeAll(async () => {
  app = await TestApp.start();
  admin = await app.asStaff('admin');
  for (const role of ROLES) {
    const answer = await app.request('POST', '/admin/service-accounts', {
      token: admin.token,
      json: { name: role, role },
    });
    keys[role] = secret(answer.expect(201).json<{ key: string }>().key);
  }
});
afterAll(() => app.close());

const routes = (): string[] => [
  ...new Set(
    app.app.table.routes
      .filter(({ method, url }) => url.startsWith('/admin/') && method !== 'HEAD')
      .map(({ method, url }) => `${method} ${url}`),
  ),
];
/** Every route that is not meant to be open to service accounts. */
const closedRoutes = (): string[] =>
  routes().filter((route) => !(route in ALSO_FOR_SCRIPTS) && !PUBLIC.includes(route));
/** Calls a route about nothing that exists, without a body. */
const call = (route: string, token?: string): Promise<Answer> => {
  const [method = '', path = ''] = route.split(' ');
  return app.request(method, path.replace(/:\w+/g, randomUUID()), token === undefined ? {} : { token });
};
const codeOf = (answer: Answer): string => (answer.status < 400 ? 'ok' : answer.json<{ code: string }>().code);

it('knows every route that it tests', () => {
  expect(routes()).toEqual(expect.arrayContaining([...Object.keys(ALSO_FOR_SCRIPTS), ...PUBLIC]) as string[]);
  expect(closedRoutes()).toEqual(expect.arrayContaining(PEOPLE) as string[]);
});

it('closes every other route to every service account, also to admins', async () => {
  for (const route of closedRoutes()) {
    for (const role of ROLES) {
      const answer = await call(route, keys[role]);
      expect([route, role, answer.status, codeOf(answer)]).toEqual([route, role, 403, 'session.person-required']);
    }
  }
});

it('gives a service account what its role gives to staff, and nothing more', async () => {
  for (const [route, least] of Object.entries(ALSO_FOR_SCRIPTS)) {
    for (const role of ROLES) {
      const [asScript, asPerson] = [await call(route, keys[role]), await call(route, (await app.asStaff(role)).token)];
      expect([route, role, codeOf(asScript)]).toEqual([route, role, codeOf(asPerson)]);
      expect([route, role, codeOf(asScript) === 'auth.insufficient-role']).toEqual([
        route,
        role,
        RANK[role] < RANK[least],
      ]);
    }
  }
});

it('opens no route of the partner API to a service account', async () => {
  const partnerRoutes = app.app.table.routes.filter(({ url }) => /^\/me(\/|$)/.test(url));
  expect(partnerRoutes.length).toBeGreaterThan(0);
  for (const { method, url } of partnerRoutes) {
    const answer = await app.request(method, url.replace(/:\w+/g, randomUUID()), { token: keys.admin });
    expect([method, url, answer.status]).toEqual([method, url, 403]);
  }
});
