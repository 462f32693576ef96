import fc from 'fast-check';
import { parseForm } from '../../src/platform/http/form-body.ts';
import { TestApp } from '../support/app.ts';

let app: TestApp;
beforeAll(async () => {
  app = await TestApp.start();
});
afterAll(() => app.close());

const text = fc.string({ unit: 'binary', maxLength: 300 });
const wellFormed = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 100 });

it('decodes any form as it was encoded', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(wellFormed, wellFormed)), (fields) => {
      const body = Buffer.from(new URLSearchParams(fields).toString());
      expect(parseForm(body)).toEqual(fields);
    }),
    { numRuns: 300 },
  );
});

it('answers any body of /generateToken without failing', async () => {
  const bodies = fc.oneof(
    fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
    fc
      .array(fc.tuple(fc.constantFrom('Username', 'username', 'Password', 'password', 'x', 'Username[]'), text))
      .map((fields) => Buffer.from(fields.map(([name, value]) => `${name}=${value}`).join('&'))),
    fc
      .tuple(wellFormed, wellFormed)
      .map(([Username, Password]) => Buffer.from(new URLSearchParams({ Username, Password }).toString())),
  );
  await fc.assert(
    fc.asyncProperty(bodies, async (body) => {
      const answer = await app.request('POST', '/generateToken', {
        body,
        headers: { 'content-type': 'application/x-www-form-urlencoded' },
      });
      expect([400, 401]).toContain(answer.status);
    }),
    { numRuns: 200 },
  );
  // Those that are well-formed are refused after a quarter of a second each, one after the other.
});

it('answers any query of /generateToken and lists without failing', async () => {
  const { token } = await app.asStaff('viewer');
  await fc.assert(
    fc.asyncProperty(
      fc.webQueryParameters(),
      fc.dictionary(wellFormed, wellFormed, { maxKeys: 4 }),
      async (raw, fields) => {
        const named = new URLSearchParams(fields).toString();
        for (const query of [raw, named, `q=${named}`, `cursor=${named}`, `limit=${named}`]) {
          expect((await app.request('GET', `/admin/channel-users?${query}`, { token })).status).toBeLessThan(500);
          expect((await app.request('GET', `/admin/audit-events?${query}`, { token })).status).toBeLessThan(500);
          expect((await app.request('POST', `/generateToken?${query}`)).status).toBeLessThan(500);
        }
      },
    ),
    { numRuns: 40 },
  );
});

const value = fc.oneof(
  fc.jsonValue({ stringUnit: 'binary' }),
  text,
  fc.double(),
  fc.integer(),
  fc.bigInt().map(String),
  fc.constant(null),
);
/** A JSON body: any value, or an object that may have these fields. */
const body = (...names: string[]): fc.Arbitrary<unknown> =>
  fc.oneof(
    fc.jsonValue({ stringUnit: 'binary' }),
    fc.dictionary(fc.constantFrom(...names, '__proto__', 'constructor'), value),
  );
type Call = [method: string, path: string, bodies: fc.Arbitrary<unknown>];

/** Sends many bodies to each route, and expects that none of them makes the server fail. */
async function expectAnswers(token: string, calls: readonly Call[]): Promise<void> {
  for (const [method, path, bodies] of calls) {
    await fc.assert(
      fc.asyncProperty(bodies, async (json) => {
        const answer = await app.request(method, path, { token, json });
        expect(answer.status).toBeLessThan(500);
      }),
      { numRuns: 60 },
    );
  }
}

it('answers any JSON of the partner API without failing', async () => {
  const { token, credentialId } = await app.asPartner();
  await expectAnswers(token, [
    ['POST', '/me/credentials', body('password', 'label', 'overlapSeconds')],
    ['POST', `/me/credentials/${credentialId}/withdraw`, body('password')],
    ['DELETE', `/me/credentials/${credentialId}`, body('password')],
  ]);
});

it('answers any JSON of the staff API without failing', async () => {
  const { token } = await app.asStaff('admin');
  const partner = await app.newPartner();
  const member = await app.newStaff('viewer');
  await expectAnswers(token, [
    ['POST', '/admin/channel-users', body('username', 'displayName', 'scopes', 'allowedIps', 'expiresAt', 'deliver')],
    [
      'PATCH',
      `/admin/channel-users/${partner.id}`,
      body(
        'displayName',
        'contactEmail',
        'scopes',
        'tokenTtlSeconds',
        'allowedIps',
        'expiresAt',
        'selfService',
        'notes',
      ),
    ],
    [
      'POST',
      `/admin/channel-users/${partner.id}/credentials`,
      body('label', 'expiresAt', 'retireOthers', 'retireOthersInSeconds', 'replaces', 'deliver', 'linkTtlSeconds'),
    ],
    ['POST', `/admin/channel-users/${partner.id}/suspend`, body('reason')],
    ['POST', '/handover/reveal', body('secret')],
    ['POST', '/credentials/report-leaked', body('username', 'password')],
    ['POST', '/admin/session', body('email', 'password', 'code', 'cookie')],
    ['POST', '/admin/staff', body('email', 'name', 'role')],
    ['PATCH', `/admin/staff/${member.id}`, body('name', 'role')],
    ['POST', '/admin/session/totp', body('currentPassword')],
    ['POST', '/admin/session/totp/confirm', body('code')],
    ['POST', '/admin/session/recovery-codes', body('currentPassword')],
    ['DELETE', '/admin/session/totp', body('currentPassword')],
    ['PATCH', '/admin/settings', body('secondFactorRequired')],
  ]);
});
