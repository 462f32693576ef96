import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { Secret, TOTP } from 'otpauth';
import { type Answer, type Partner, type StaffMember, TestApp } from '../../test/support/app.ts';
import { CONNECTION_LIMITS } from '../platform/http/connections.ts';
import { scrape } from '../../test/support/metrics.ts';
import { expectSlowHashes, holdRefusals, passLimits, slowHashesOf } from '../../test/support/inside.ts';
import { realTime } from '../../test/support/real-time.ts';
import { secret } from '../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  eventually,
  importPassword,
  inParallel,
  newAddress,
  requestLine,
  signInFrom,
  tally,
  until,
} from '../../test/support/sign-ins.ts';

const INVALID = 'invalid username or password';
const FREE_PER_PAIR = 10;
const FREE_PER_ADDRESS = 100;

/** Trusts `X-Forwarded-For`, so that a test can choose its addresses. */
let app: TestApp;
/** Trusts no forwarding header. */
let direct: TestApp;

const from = (
  address: string,
  credentials: { username: string; password: string },
  headers?: Record<string, string>,
): Promise<Answer> => signInFrom(app, address, credentials, headers);
/** Credentials with a wrong password, a new one at each call. */
const wrong = (username: string): { username: string; password: string } => ({
  username,
  password: `wrong ${randomUUID()}`,
});
const unknownName = (): string => `nobody-${randomBytes(6).toString('hex')}`;
const failures = (count: number, address: string, username: string): Promise<Answer[]> =>
  inParallel(count, count, () => from(address, wrong(username)));
/** Uses up the free failures of a pair. */
async function useUpPair(address: string, username: string): Promise<void> {
  expect(tally(await failures(FREE_PER_PAIR, address, username))).toEqual({ 401: FREE_PER_PAIR });
}
const operator = async (): Promise<string> => (await app.asStaff('operator')).token;

/** Expects a 200. The log is searched for the token at the end. */
function expectToken(answer: Answer): void {
  expect({ status: answer.status, errorCode: answer.headers.get('error-code') }).toEqual({
    status: 200,
    errorCode: null,
  });
  secret(answer.text);
}

function expectInvalid(answer: Answer): void {
  expect({ status: answer.status, text: answer.text, errorCode: answer.headers.get('error-code') }).toEqual({
    status: 401,
    text: INVALID,
    errorCode: 'invalid_credentials',
  });
  expect(answer.headers.get('retry-after')).toBeNull();
}

/** Expects a 429 in text form. @returns its Retry-After */
function expectTooMany(answer: Answer): number {
  expect({ status: answer.status, text: answer.text, errorCode: answer.headers.get('error-code') }).toEqual({
    status: 429,
    text: 'too many requests',
    errorCode: 'too_many_requests',
  });
  expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8');
  expect(answer.headers.get('cache-control')).toBe('no-store');
  return retryAfterOf(answer);
}

/** Expects a 503 in text form: this password, or one more, could not be checked in time. */
function expectNoTime(answer: Answer): void {
  expect({ status: answer.status, text: answer.text, errorCode: answer.headers.get('error-code') }).toEqual({
    status: 503,
    text: 'service unavailable',
    errorCode: 'service_unavailable',
  });
  retryAfterOf(answer);
}

/** `Retry-After`, which must be a positive whole number of seconds. */
function retryAfterOf(answer: Answer): number {
  expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  return Number(answer.headers.get('retry-after'));
}

/** The headers that must be equal in two answers that must be alike. */
const headersOf = (answer: Answer, ...ignored: string[]): [string, string][] =>
  [...answer.headers].filter(([name]) => !['date', 'x-request-id', ...ignored].includes(name));

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  direct = await TestApp.start();
});
afterAll(async () => {
  await app.close();
  await direct.close();
});
afterEach(() => {
  app.clockOffset = 0;
});

/** A hash as an older system may have left it, with a low cost to keep the tests fast. */
const argon2id = (password: string): Promise<string> =>
  argon2.hash(password, { memoryCost: 4096, timeCost: 1, parallelism: 1 });

/** Creates a partner that also has an imported password. */
async function withImportedPassword(
  hash: (password: string) => Promise<string> = argon2id,
  fields: Record<string, unknown> = {},
): Promise<{ partner: Partner; imported: { username: string; password: string }; credentialId: string }> {
  const partner = await app.newPartner(fields);
  const password = secret(`Sommer-${randomBytes(4).toString('hex')}`);
  const credentialId = await importPassword(app, partner.id, await hash(password));
  return { partner, imported: { username: partner.username, password }, credentialId };
}

/** Gives the tests of a block an application in which time passes. */
function withRealWaits(): void {
  let shared: TestApp;
  beforeAll(async () => {
    shared = app;
    app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
    app.waits = 'real';
  });
  afterAll(async () => {
    await app.close();
    app = shared;
  });
}

describe('failures of one address and username', () => {
  it('get 401 ten times, then 429 with the time to wait', async () => {
    const { username } = await app.newPartner();
    const address = newAddress();
    for (const answer of await failures(FREE_PER_PAIR - 1, address, username)) expectInvalid(answer);
    expectInvalid(await from(address, wrong(username)));
    const first = expectTooMany(await from(address, wrong(username)));
    expect(first).toBeLessThanOrEqual(15);
    const json = await from(address, wrong(username), { accept: 'application/json' });
    expect({ status: json.status, body: json.json() }).toEqual({
      status: 429,
      body: { error: 'too_many_requests', error_description: 'too many requests' },
    });
    expect(json.headers.get('content-type')).toBe('application/json; charset=utf-8');
    expect(json.headers.get('error-code')).toBe('too_many_requests');
    retryAfterOf(json);
  });

  it('are counted exactly when they arrive at once', async () => {
    const partner = await app.newPartner();
    const address = newAddress();
    const answers = await failures(30, address, partner.username);
    expect(tally(answers)).toEqual({ 401: 10, 429: 20 });
    for (const answer of answers) {
      if (answer.status === 401) expectInvalid(answer);
      else expectTooMany(answer);
    }
    expectToken(await from(address, partner));
  });

  it('are counted for the username in any case, but not for another username or address', async () => {
    const { username } = await app.newPartner();
    const other = await app.newPartner();
    const [address, otherAddress] = [newAddress(), newAddress()];
    const spellings = [username, username.toUpperCase(), username.replace('p', 'P')];
    const answers = await inParallel(FREE_PER_PAIR, FREE_PER_PAIR, (i) => from(address, wrong(spellings[i % 3] ?? '')));
    expect(tally(answers)).toEqual({ 401: 10 });
    const [limited, otherName, fromElsewhere] = await Promise.all([
      inParallel(3, 3, (i) => from(address, wrong(spellings[i] ?? ''))),
      failures(FREE_PER_PAIR, address, other.username),
      failures(FREE_PER_PAIR, otherAddress, username),
    ]);
    limited.forEach(expectTooMany);
    otherName.forEach(expectInvalid);
    fromElsewhere.forEach(expectInvalid);
  });

  it('look the same for known and unknown usernames, before and after the limit', async () => {
    const { username } = await app.newPartner();
    const { imported } = await withImportedPassword();
    const address = newAddress();
    const forms = new Set<string>();
    const names = [username, imported.username, unknownName()];
    const ofEach = await Promise.all(names.map((name) => failures(FREE_PER_PAIR + 2, address, name)));
    for (const answers of ofEach) {
      expect(tally(answers)).toEqual({ 401: 10, 429: 2 });
      for (const answer of answers.filter(({ status }) => status === 429)) {
        expectTooMany(answer);
        forms.add(JSON.stringify([headersOf(answer, 'retry-after'), answer.text]));
      }
    }
    expect(forms.size).toBe(1);
  });

  it('include the right password from a wrong address or of a revoked credential', async () => {
    const elsewhere = await app.newPartner({ allowedIps: ['203.0.113.0/24'] });
    const revoked = await app.newPartner();
    const token = await operator();
    const path = `/admin/channel-users/${revoked.id}/credentials`;
    const added = await app.request('POST', path, { token, json: { retireOthersInSeconds: null } });
    secret(added.json<{ credential: { password: string } }>().credential.password);
    expect((await app.request('DELETE', `${path}/${revoked.credentialId}`, { token })).status).toBe(204);
    for (const partner of [elsewhere, revoked]) {
      const address = newAddress();
      expect(tally(await inParallel(12, 12, () => from(address, partner)))).toEqual({ 401: 10, 429: 2 });
    }
    expectToken(await from('203.0.113.77', elsewhere));
  });
});

describe('failures of one address', () => {
  it('get 401 a hundred times with any usernames, then 429, without affecting other addresses', async () => {
    const partner = await app.newPartner();
    const { imported } = await withImportedPassword();
    const [address, otherAddress] = [newAddress(), newAddress()];
    const names = [partner.username, ...Array.from({ length: 9 }, unknownName)];
    const answers = await inParallel(FREE_PER_ADDRESS, 50, (i) => from(address, wrong(names[i % 10] ?? '')));
    expect(tally(answers)).toEqual({ 401: 100 });
    const each = [unknownName(), partner.username, (await app.newPartner()).username, imported.username];
    (await Promise.all(each.map((name) => from(address, wrong(name))))).forEach(expectTooMany);
    (await Promise.all(each.map((name) => from(otherAddress, wrong(name))))).forEach(expectInvalid);
    // A generated password always passes, as the contract promises. An imported one has to wait.
    expectToken(await from(address, partner));
    expectTooMany(await from(address, imported));
    expectToken(await from(otherAddress, imported));
  });

  it('are counted exactly when they arrive at once', async () => {
    const address = newAddress();
    expect(tally(await inParallel(150, 150, () => from(address, wrong(unknownName()))))).toEqual({ 401: 100, 429: 50 });
  });
});

describe('the address that is counted', () => {
  const expectSameClient = async (sameAs: string[], other: string): Promise<void> => {
    const { username } = await app.newPartner();
    const spelling = (i: number): string => sameAs[i % sameAs.length] ?? '';
    const answers = await inParallel(FREE_PER_PAIR, FREE_PER_PAIR, (i) => from(spelling(i), wrong(username)));
    expect(tally(answers)).toEqual({ 401: 10 });
    for (const address of sameAs) expectTooMany(await from(address, wrong(username)));
    expectInvalid(await from(other, wrong(username)));
  };

  it('is the /64 of an IPv6 address', async () => {
    await expectSameClient(
      ['2001:db8:1:2::1', '2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:DB8:1:2::abcd', '[2001:db8:1:2::1]:4711'],
      '2001:db8:1:3::1',
    );
  });

  it('is the IPv4 address of an IPv4-mapped one in any spelling', async () => {
    await expectSameClient(
      ['192.0.2.7', '::ffff:192.0.2.7', '::ffff:c000:207', '0:0:0:0:0:FFFF:C000:0207', '192.0.2.7:80'],
      '192.0.2.8',
    );
  });

  it('is the same in Forwarded and in X-Forwarded-For', async () => {
    const { username } = await app.newPartner();
    const address = newAddress();
    await useUpPair(address, username);
    const form = { Username: username, Password: 'wrong' };
    const headers = { forwarded: `for=203.0.113.200, for="${address}:4711";proto=https` };
    expectTooMany(await app.request('POST', '/generateToken', { form, headers }));
  });

  it('is one for all unknown addresses', async () => {
    const { username } = await app.newPartner();
    await useUpPair('unknown', username);
    expectTooMany(await from('_hidden', wrong(username)));
    expectInvalid(await from(newAddress(), wrong(username)));
  });

  it('ignores what a client writes before the entry of the proxy', async () => {
    const partner = await app.newPartner({ allowedIps: ['203.0.113.9'] });
    const address = newAddress();
    // An instance that starts on a database with imported passwords expects slow hashes, too.
    expectSlowHashes(app);
    const answers = await inParallel(12, 12, (i) => from(`203.0.113.9, 198.51.100.${String(i)}, ${address}`, partner));
    expect(tally(answers)).toEqual({ 401: 10, 429: 2 });
    expect(answers[0] && requestLine(answers[0])).toMatchObject({ address });
  });
});

describe('without trusted proxies', () => {
  it('ignores forwarding headers in limits, log and activity', async () => {
    const partner = await direct.newPartner();
    const spoof = (i: number): Record<string, string> => ({
      'x-forwarded-for': `203.0.113.${String(i)}`,
      forwarded: `for=203.0.113.${String(i)}`,
      'x-real-ip': `203.0.113.${String(i)}`,
    });
    const attempt = (i: number): Promise<Answer> => {
      const { 'x-forwarded-for': address = '', ...headers } = spoof(i);
      return signInFrom(direct, address, wrong(partner.username), headers);
    };
    const answers = await inParallel(14, 14, attempt);
    expect(tally(answers)).toEqual({ 401: 10, 429: 4 });
    for (const answer of answers) expect(requestLine(answer)).toMatchObject({ address: '127.0.0.1' });
    const { token } = await direct.asStaff('viewer');
    const activity = await direct.request('GET', `/admin/channel-users/${partner.id}/activity`, { token });
    const items = activity.json<{ items: { address: string }[] }>().items;
    expect(items).toHaveLength(11);
    expect(new Set(items.map(({ address }) => address))).toEqual(new Set(['127.0.0.1']));
  });

  it('ignores forwarding headers for allowed addresses at sign-in and use', async () => {
    const { token } = await direct.asStaff('operator');
    const partner = await direct.newPartner({ allowedIps: ['203.0.113.0/24'] });
    const form = { Username: partner.username, Password: partner.password };
    const names = ['x-forwarded-for', 'forwarded', 'x-real-ip', 'x-client-ip', 'true-client-ip'];
    const answers = await inParallel(names.length, names.length, (i) => {
      const headers = { [names[i] ?? '']: names[i] === 'forwarded' ? 'for=203.0.113.9' : '203.0.113.9' };
      return direct.request('POST', '/generateToken', { form, headers });
    });
    answers.forEach(expectInvalid);
    const path = `/admin/channel-users/${partner.id}`;
    expect((await direct.request('PATCH', path, { token, json: { allowedIps: ['127.0.0.1'] } })).status).toBe(200);
    const answer = await signInFrom(direct, '203.0.113.9', partner);
    expectToken(answer);
    const me = (): Promise<Answer> =>
      direct.request('GET', '/me', { token: answer.text, headers: { 'x-forwarded-for': '203.0.113.9' } });
    expect((await me()).status).toBe(200);
    expect((await direct.request('PATCH', path, { token, json: { allowedIps: ['203.0.113.9'] } })).status).toBe(200);
    expect((await me()).status).toBe(401);
  });
});

describe('a generated password that is right', () => {
  it('always works, while thousands of wrong ones come from everywhere, even from its own address', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 100_000 });
    const own = newAddress();
    const botnet = Array.from({ length: 600 }, newAddress);
    let flooding = true;
    const signIns: Answer[] = [];
    const partnerAtWork = async (address: string): Promise<void> => {
      while (flooding) signIns.push(await from(address, partner));
    };
    const flood = inParallel(3_000, 200, (i) =>
      // Every other one comes from the partner's own address.
      from(i % 2 === 0 ? own : (botnet[(i >> 1) % botnet.length] ?? own), wrong(partner.username)),
    ).finally(() => {
      flooding = false;
    });
    const [answers] = await Promise.all([flood, partnerAtWork(own), partnerAtWork(own), partnerAtWork(newAddress())]);
    const counts = tally(answers);
    expect(Object.keys(counts)).toEqual(['401', '429']);
    // 1,500 from 600 other addresses, none of them more than ten times.
    expect(counts[401]).toBe(1_500 + FREE_PER_PAIR);
    expect(signIns.length).toBeGreaterThan(20);
    for (const answer of signIns) expectToken(answer);
  });

  it('works many times at once within the tokens of the minute', async () => {
    const partner = await app.newPartner();
    await useUpPair('198.51.100.60', partner.username);
    const answers = await inParallel(60, 60, (i) => from(i % 2 === 0 ? '198.51.100.60' : newAddress(), partner));
    answers.forEach(expectToken);
    const more = await inParallel(5, 5, () => from(newAddress(), partner));
    more.forEach(expectTooMany);
  });

  it('gets 403 for a suspended or expired account or credential beyond the limits', async () => {
    const token = await operator();
    const address = newAddress();
    const suspended = await app.newPartner();
    const expired = await app.newPartner({ expiresAt: '2020-01-01T00:00:00Z' });
    const rotated = await app.newPartner();
    const path = `/admin/channel-users/${rotated.id}/credentials`;
    const added = await app.request('POST', path, { token, json: { retireOthersInSeconds: 0 } });
    secret(added.json<{ credential: { password: string } }>().credential.password);
    const suspend = `/admin/channel-users/${suspended.id}/suspend`;
    expect((await app.request('POST', suspend, { token, json: { reason: 'unpaid' } })).status).toBe(200);
    for (const [partner, code] of [
      [suspended, 'account_suspended'],
      [expired, 'account_expired'],
      [rotated, 'credential_expired'],
    ] as const) {
      await useUpPair(address, partner.username);
      expectTooMany(await from(address, wrong(partner.username)));
      // A match is never a failure, however often it comes.
      for (const answer of await inParallel(15, 15, () => from(address, partner))) {
        expect({ status: answer.status, text: answer.text, code: answer.headers.get('error-code') }).toEqual({
          status: 403,
          text: 'token expired',
          code,
        });
      }
    }
  });
});

describe('the tokens of a minute', () => {
  it('are limited to those of the channel user, then 429 tells when there is another', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 3 });
    const other = await app.newPartner({ tokensPerMinute: 3 });
    for (let i = 0; i < 3; i++) expectToken(await from(newAddress(), partner));
    const text = await from(newAddress(), partner);
    const json = await from(newAddress(), partner, { accept: 'application/json' });
    expectTooMany(text);
    expect({ status: json.status, body: json.json() }).toEqual({
      status: 429,
      body: { error: 'too_many_requests', error_description: 'too many requests' },
    });
    for (const answer of [text, json]) {
      const retryAfter = retryAfterOf(answer);
      expect(retryAfter).toBeGreaterThan(50);
      expect(retryAfter).toBeLessThanOrEqual(60);
      expect(answer.headers.get('ratelimit-policy')).toBe('"tokens";q=3;w=60');
      expect(answer.headers.get('ratelimit')).toBe(`"tokens";r=0;t=${String(retryAfter)}`);
    }
    // A partner in a crash loop does not use up another partner's limit.
    expect(tally(await inParallel(100, 50, () => from(newAddress(), partner)))).toEqual({ 429: 100 });
    for (const answer of await inParallel(3, 3, () => from(newAddress(), other))) expectToken(answer);
  });

  it('are counted exactly when they are requested at once, from any address with any credential', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 7 });
    const added = await app.request('POST', `/admin/channel-users/${partner.id}/credentials`, {
      token: await operator(),
      json: { retireOthersInSeconds: null },
    });
    const { password } = added.json<{ credential: { password: string } }>().credential;
    secret(password);
    const answers = await inParallel(20, 20, (i) =>
      from(newAddress(), i % 2 === 0 ? partner : { ...partner, password }),
    );
    expect(tally(answers)).toEqual({ 200: 7, 429: 13 });
    for (const answer of answers) if (answer.status === 200) secret(answer.text);
  });

  it('increase as soon as staff raise the limit', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1 });
    expectToken(await from(newAddress(), partner));
    expectTooMany(await from(newAddress(), partner));
    const path = `/admin/channel-users/${partner.id}`;
    const patch = { token: await operator(), json: { tokensPerMinute: 10 } };
    expect((await app.request('PATCH', path, patch)).status).toBe(200);
    expectToken(await from(newAddress(), partner));
  });

  it('are checked last, so that other refusals use none', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1 });
    const path = `/admin/channel-users/${partner.id}`;
    const token = await operator();
    const post = async (action: string): Promise<void> => {
      expect((await app.request('POST', `${path}/${action}`, { token, json: { reason: 'test' } })).status).toBe(200);
    };
    const codeOf = async (credentials = partner): Promise<string> => {
      const answer = await from(newAddress(), credentials);
      if (answer.status === 200) secret(answer.text);
      return `${String(answer.status)} ${String(answer.headers.get('error-code'))}`;
    };
    await post('suspend');
    expect([await codeOf(), await codeOf({ ...partner, password: 'wrong' })]).toEqual([
      '403 account_suspended',
      '401 invalid_credentials',
    ]);
    await post('reactivate');
    expect([await codeOf(), await codeOf()]).toEqual(['200 null', '429 too_many_requests']);
    await post('suspend');
    expect([await codeOf(), await codeOf({ ...partner, password: 'wrong' })]).toEqual([
      '403 account_suspended',
      '401 invalid_credentials',
    ]);
    await post('reactivate');
    expect(await codeOf()).toBe('429 too_many_requests');
    const expiry = { token, json: { expiresAt: '2020-01-01T00:00:00Z' } };
    expect((await app.request('PATCH', path, expiry)).status).toBe(200);
    expect(await codeOf()).toBe('403 account_expired');
  });
});

describe('a password from an older system', () => {
  const signsIn = async (credentials: { username: string; password: string }, address?: string): Promise<void> => {
    expectToken(await from(address ?? newAddress(), credentials));
  };
  const bcryptAs =
    (version: '2a' | '2b' | '2y') =>
    async (password: string): Promise<string> =>
      // For passwords like these, the versions differ only in their name.
      (await bcrypt.hash(password, 10)).replace('$2b$', `$${version}$`);

  it.each([
    ['argon2id', argon2id],
    ['bcrypt $2b$', bcryptAs('2b')],
    ['bcrypt $2a$', bcryptAs('2a')],
    ['bcrypt $2y$', bcryptAs('2y')],
  ])('is verified as before: %s', async (_, hash) => {
    const { partner, imported } = await withImportedPassword(hash);
    const { username, password } = imported;
    await signsIn(imported);
    const wrongOnes = [password.toUpperCase(), `${password} `, password.slice(1), partner.password.slice(1)];
    const answers = await inParallel(4, 4, (i) => from(newAddress(), { username, password: wrongOnes[i] ?? '' }));
    answers.forEach(expectInvalid);
    expectToken(await from(newAddress(), { username: username.toUpperCase(), password }));
    expectToken(await from(newAddress(), partner));
  });

  it('is accepted many times at once from the start', async () => {
    const { imported } = await withImportedPassword();
    for (const answer of await inParallel(20, 20, () => from(newAddress(), imported))) expectToken(answer);
  });

  it('is accepted for many users at once when slow hashes are expected', async () => {
    const stored = await bcrypt.hash('Sommer 2019', 10);
    const partners = await inParallel(12, 4, async () => {
      const { id, username } = await app.newPartner();
      await importPassword(app, id, stored);
      return { username, password: 'Sommer 2019' };
    });
    // An instance that starts on a database with imported passwords expects slow hashes, too.
    expectSlowHashes(app);
    const signIn = (partner: { username: string; password: string }): Promise<Answer> => from(newAddress(), partner);
    for (const answer of await inParallel(12, 12, (i) => signIn(partners[i] ?? wrong('')))) expectToken(answer);
  });

  it('gets the refusals of a match: suspended, expired, too many tokens', async () => {
    const { partner, imported, credentialId } = await withImportedPassword(argon2id, { tokensPerMinute: 1 });
    const token = await operator();
    const path = `/admin/channel-users/${partner.id}`;
    const code = async (): Promise<string | null> => (await from(newAddress(), imported)).headers.get('error-code');
    expectToken(await from(newAddress(), imported));
    expect(await code()).toBe('too_many_requests');
    await app.dataSource.query('UPDATE credential SET expires_at = now() WHERE id = $1', [credentialId]);
    await until(async () => (await code()) === 'credential_expired', '403');
    await app.request('POST', `${path}/suspend`, { token, json: { reason: 'unpaid' } });
    expect(await code()).toBe('account_suspended');
    expect((await app.request('DELETE', `${path}/credentials/${credentialId}`, { token })).status).toBe(204);
    expect(await code()).toBe('invalid_credentials');
  });

  it('is refused outside of the allowed addresses', async () => {
    const { imported } = await withImportedPassword(argon2id, { allowedIps: ['203.0.113.0/24'] });
    expectInvalid(await from(newAddress(), imported));
    expectToken(await from('203.0.113.50', imported));
    expectInvalid(await from(newAddress(), imported));
  });

  it('works at once from known addresses and waits elsewhere beyond the limits', async () => {
    const { imported } = await withImportedPassword(bcryptAs('2b'));
    const [home, away] = [newAddress(), newAddress()];
    await signsIn(imported, home);
    await useUpPair(home, imported.username);
    await useUpPair(away, imported.username);
    expectTooMany(await from(home, wrong(imported.username)));
    for (const answer of await inParallel(5, 5, () => from(home, imported))) expectToken(answer);
    for (const answer of await inParallel(5, 5, () => from(away, imported))) expectTooMany(answer);
    // From a third address, where nothing failed, the password is verified as usual.
    expectToken(await from(newAddress(), imported));
  });

  it('is not verified during a wait, so that a flood from one address is answered at once', async () => {
    const { imported } = await withImportedPassword(bcryptAs('2b'));
    const address = newAddress();
    await useUpPair(address, imported.username);
    const { queue } = slowHashesOf(app).partnerHashes;
    // On a slow machine, hashes of the failures so far, or of the test before, may still wait.
    await until(() => queue.jobs === 0, 'an empty queue');
    const verified = async (): Promise<number> => (await scrape(app.opsUrl)).value('latchkey_slow_hashes_total');
    const before = await verified();
    let longest = 0;
    const answers = await inParallel(300, 50, async () => {
      const answer = await from(address, wrong(imported.username));
      longest = Math.max(longest, queue.length);
      return answer;
    });
    expect(tally(answers)).toEqual({ 429: 300 });
    expect(longest).toBe(0);
    expect(await verified()).toBe(before);
  });

  it('is limited to one per channel user by the database', async () => {
    const { partner, credentialId } = await withImportedPassword();
    const second = await argon2id('another');
    await expect(importPassword(app, partner.id, second)).rejects.toThrow(/uq_credential_slow_hash/);
    await app.dataSource.query('UPDATE credential SET revoked_at = now() WHERE id = $1', [credentialId]);
    await importPassword(app, partner.id, second);
  });

  it.each([
    ['argon2id without its parts', '$argon2id$'],
    ['argon2id with nonsense', '$argon2id$v=19$m=19456,t=2,p=1$%%%%$%%%%'],
    ['argon2id cut short', '$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzYWx0'],
    ['bcrypt cut short', '$2b$10$abcdefghijklmnopqrstuv'],
    ['bcrypt with nonsense', `$2b$10$${'%'.repeat(53)}`],
    ['bcrypt with an impossible cost', `$2b$99$${'a'.repeat(53)}`],
    ['another scheme', '$scrypt$ln=16,r=8,p=1$c2FsdA$aGFzaA'],
    ['plain text', 'Sommer-2019'],
    ['nothing', ''],
  ])('is wrong when its stored hash is unreadable: %s', async (_, stored) => {
    const partner = await app.newPartner();
    await importPassword(app, partner.id, stored);
    const passwords = ['Sommer-2019', stored === '' ? 'x' : stored];
    const answers = await inParallel(2, 2, (i) => from(newAddress(), { ...partner, password: passwords[i] ?? '' }));
    answers.forEach(expectInvalid);
    expectToken(await from(newAddress(), partner));
  });
});

describe('a password from an older system that others guess', () => {
  withRealWaits();

  it('is not delayed at a known address by wrong ones from elsewhere, nor is another user', async () => {
    const { imported } = await withImportedPassword((password) => bcrypt.hash(password, 10));
    const { imported: neighbour } = await withImportedPassword();
    const home = newAddress();
    // So that the password counts as used there, however long its check takes.
    app.waits = 'none';
    expectToken(await from(home, imported));
    app.waits = 'real';
    let flooding = true;
    const signIns: Answer[] = [];
    const partnerAtWork = async (): Promise<void> => {
      while (flooding && signIns.length < 50) signIns.push(await from(home, imported));
    };
    const flood = inParallel(200, 60, () => from(newAddress(), wrong(imported.username))).finally(() => {
      flooding = false;
    });
    const work = partnerAtWork();
    const { queue } = slowHashesOf(app).partnerHashes;
    await until(() => queue.length >= 3, 'a queue of slow hashes');
    const first = await from(newAddress(), neighbour);
    const [answers] = await Promise.all([flood, work]);
    // A password that was not checked in time is not called wrong.
    expect(answers.filter(({ status }) => status !== 401 && status !== 503)).toEqual([]);
    answers.filter(({ status }) => status === 503).forEach(expectNoTime);
    expect(signIns.length).toBeGreaterThan(5);
    for (const answer of [...signIns, first]) expectToken(answer);
  });
});

describe('a sign-in of staff', () => {
  interface Problem {
    code: string;
    errors?: { field: string }[];
  }
  const signIn = (address: string, email: string, password: string): Promise<Answer> =>
    app.request('POST', '/admin/session', { json: { email, password }, headers: { 'x-forwarded-for': address } });
  const codeOf = (answer: Answer): string => {
    expect(answer.headers.get('content-type')).toMatch(/^application\/problem\+json/);
    if (answer.status === 429) retryAfterOf(answer);
    return `${String(answer.status)} ${answer.json<Problem>().code}`;
  };
  const signsIn = async ({ email, password }: StaffMember, address: () => string): Promise<void> => {
    const answer = await signIn(address(), email, password);
    secret(answer.expect(200).json<{ accessToken: string }>().accessToken);
  };
  const INVALID_CREDENTIALS = '401 session.invalid-credentials';
  const TOO_MANY = '429 session.too-many-attempts';

  it('fails ten times, then waits even with the right password, but not from another address', async () => {
    const member = await app.newStaff('viewer');
    const address = newAddress();
    const spellings = [member.email, member.email.toUpperCase()];
    const fail = (i: number): Promise<Answer> => signIn(address, spellings[i % 2] ?? '', `wrong ${String(i)}`);
    const answers = await inParallel(10, 10, fail);
    expect(answers.map(codeOf)).toEqual(new Array(10).fill(INVALID_CREDENTIALS));
    expect(codeOf(await signIn(address, member.email, 'wrong'))).toBe(TOO_MANY);
    expect(codeOf(await signIn(address, member.email.toUpperCase(), member.password))).toBe(TOO_MANY);
    await signsIn(member, newAddress);
    // Another member at the same address, and a partner, are not throttled.
    await signsIn(await app.newStaff('viewer'), () => address);
    expectInvalid(await from(address, wrong(member.email)));
  });

  it('is counted exactly and alike for an unknown e-mail', async () => {
    const address = newAddress();
    const answers = await inParallel(25, 25, () => signIn(address, 'nobody@staff.example', 'wrong'));
    expect(tally(answers)).toEqual({ 401: 10, 429: 15 });
    answers.forEach(codeOf);
  });

  it('is limited for each address with any e-mails', async () => {
    const member = await app.newStaff('viewer');
    const address = newAddress();
    const answers = await inParallel(100, 50, (i) =>
      signIn(address, `nobody-${String(i % 10)}@staff.example`, 'wrong'),
    );
    expect(tally(answers)).toEqual({ 401: 100 });
    expect(codeOf(await signIn(address, member.email, member.password))).toBe(TOO_MANY);
    expect((await signIn(newAddress(), member.email, 'wrong')).status).toBe(401);
  });

  it('limits guesses of the own password within a session to ten', async () => {
    const member = await app.newStaff('viewer');
    const change = (currentPassword: string): Promise<Answer> =>
      app.request('PATCH', '/admin/session/password', {
        token: member.token,
        json: { currentPassword, newPassword: 'correct horse battery staple' },
        headers: { 'x-forwarded-for': '203.0.113.201' },
      });
    for (let i = 0; i < 10; i++) {
      const answer = await change(`wrong ${String(i)}`);
      expect(codeOf(answer)).toBe('400 request.invalid');
      expect(answer.json<Problem>().errors?.map(({ field }) => field)).toEqual(['currentPassword']);
    }
    expect(codeOf(await change('wrong'))).toBe(TOO_MANY);
    expect(codeOf(await change(member.password))).toBe(TOO_MANY);
    // These failures do not throttle signing in.
    await signsIn(member, () => '203.0.113.201');
  });
});

// --- The moment of a refusal

interface RawAnswer {
  readonly status: number;
  /** Names and values in turn, in the order in which they were sent. */
  readonly headers: string[];
  readonly body: string;
  readonly elapsedMs: number;
}

const agent = new Agent({ keepAlive: true });
afterAll(() => {
  agent.destroy();
});

/** Sends a request with Node's client and measures the time from sending it to the first byte of the answer. */
async function timed(path: string, type: string, address: string, body: string): Promise<RawAnswer> {
  const started = performance.now();
  const request = httpRequest(app.url + path, {
    method: 'POST',
    agent,
    headers: { 'content-type': type, 'content-length': Buffer.byteLength(body), 'x-forwarded-for': address },
  });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  const elapsedMs = performance.now() - started;
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const { statusCode = 0, rawHeaders } = response;
  return { status: statusCode, headers: rawHeaders, body: Buffer.concat(chunks).toString(), elapsedMs };
}

const timedSignIn = (address: string, credentials: { username: string; password: string }): Promise<RawAnswer> => {
  const { username, password } = credentials;
  const body = new URLSearchParams({ Username: username, Password: password }).toString();
  return timed('/generateToken', 'application/x-www-form-urlencoded', address, body);
};

const isWithin = (value: number, values: readonly number[]): boolean =>
  value >= Math.min(...values) && value <= Math.max(...values);
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;

/** The whole answer without its request id and its date. */
const formOf = ({ status, headers, body }: RawAnswer): string => {
  const pairs = Array.from({ length: headers.length / 2 }, (_, i) => [headers[2 * i] ?? '', headers[2 * i + 1] ?? '']);
  const shown = pairs.map(([name = '', value]) =>
    /^(date|x-request-id)$/i.test(name) ? name : `${name}: ${value ?? ''}`,
  );
  return JSON.stringify([status, shown, body]);
};

interface Sample {
  readonly name: string;
  readonly status: number;
  readonly form: string;
  readonly times: readonly number[];
  /** How long requests took beside these that nothing delays: what the machine adds. */
  readonly lagMs: number;
}

/** Milliseconds that a request takes which is refused at once. */
const undelayed = async (): Promise<number> => {
  const { status, elapsedMs } = await timed('/generateToken', 'text/plain', newAddress(), 'x');
  expect(status).toBe(415);
  return elapsedMs;
};

/** Runs every case once a round, at the same time, so that the machine's load affects all cases alike. */
async function interleaved<T>(
  rounds: number,
  cases: Record<string, T>,
  ask: (each: T) => Promise<RawAnswer>,
): Promise<Sample[]> {
  const answers = Object.keys(cases).map((name) => ({ name, answers: [] as RawAnswer[] }));
  const lags: number[] = [];
  let tooSlow = 0;
  for (let round = 0; round < rounds; round++) {
    const [lag, ...ofRound] = await Promise.all([undelayed(), ...answers.map(({ name }) => ask(cases[name] as T))]);
    lags.push(lag);
    // Repeats a round in which a password could not be checked in time, since it tells nothing about the delay.
    if (ofRound.some(({ status }) => status === 503) && tooSlow++ < 20) round--;
    else answers.forEach((each, i) => ofRound[i] && each.answers.push(ofRound[i]));
  }
  return answers.map(({ name, answers: ofOne }) => {
    const forms = new Set(ofOne.map(formOf));
    return {
      name,
      status: ofOne[0]?.status ?? 0,
      form: [...forms].join('\n'),
      times: ofOne.map(({ elapsedMs }) => elapsedMs),
      lagMs: median(lags),
    };
  });
}

/** The delay of a refusal that arrives now: 250 ms, or a multiple where hashes are slow on this machine. */
function delayNow(): number {
  const { partnerHashes, staffHashes } = slowHashesOf(app);
  return 250 * Math.ceil((Math.max(partnerHashes.estimatedMs, staffHashes.estimatedMs) + 40) / 250);
}

/** Waits until the checks of other tests have ended, and forgets their durations. */
async function rest(): Promise<void> {
  const { partnerHashes, staffHashes } = slowHashesOf(app);
  await eventually(
    () => {
      for (const queue of [partnerHashes.queue, staffHashes.queue]) for (let i = 0; i < 50; i++) queue.measured(25);
      return delayNow() === 250 ? true : undefined;
    },
    'the end of the checks of other tests',
    20_000,
  );
}

function expectTheMoment(samples: Sample[]): void {
  expect(new Set(samples.map(({ status }) => status))).toEqual(new Set([401]));
  expect([...new Set(samples.map(({ form }) => form))]).toHaveLength(1);
  expect(samples[0]?.form).not.toContain('\n');
  for (const { name, times, lagMs } of samples) {
    expect({ name, early: times.filter((time) => time < 250) }).toEqual({ name, early: [] });
    // The delay is 250 ms, or a multiple where the machine is busy.
    const middle = median(times.map((time) => time % 250));
    expect({ name, middle, lagMs, isInTime: middle < 40 + lagMs }).toEqual({ name, middle, lagMs, isInTime: true });
  }
}

describe('the time of a refusal', () => {
  withRealWaits();

  it('is short and equal for every name when there are too many failures', async () => {
    const { username } = await app.newPartner();
    const { imported } = await withImportedPassword((password) => bcrypt.hash(password, 10));
    const unknown = unknownName();
    const names = [username, imported.username, unknown];
    const address = newAddress();
    app.waits = 'none';
    for (const name of names) await useUpPair(address, name);
    app.waits = 'real';
    const cases = Object.fromEntries(names.map((name, i) => [String(i), name]));
    const samples = await interleaved(15, cases, (name) => timedSignIn(address, wrong(name)));
    for (const { times, status, lagMs } of samples) {
      expect(status).toBe(429);
      // These refusals are sent on a grid of 25 ms.
      expect(times.filter((time) => time < 25)).toEqual([]);
      expect(median(times)).toBeLessThan(60 + lagMs);
    }
  });

  it('is 250 ms after the request for every 401, which are otherwise equal too', async () => {
    const token = await operator();
    const known = await app.newPartner();
    const elsewhere = await app.newPartner({ allowedIps: ['203.0.113.0/24'] });
    const revoked = await app.newPartner();
    const path = `/admin/channel-users/${revoked.id}/credentials`;
    const added = await app.request('POST', path, { token, json: { retireOthersInSeconds: null } });
    secret(added.json<{ credential: { password: string } }>().credential.password);
    expect((await app.request('DELETE', `${path}/${revoked.credentialId}`, { token })).status).toBe(204);
    const { imported } = await withImportedPassword((password) => bcrypt.hash(password, 10));
    const cases: Record<string, () => { username: string; password: string }> = {
      'unknown user': () => wrong(unknownName()),
      'wrong password': () => wrong(known.username),
      'revoked password': () => revoked,
      'wrong address': () => elsewhere,
      'imported password': () => wrong(imported.username),
    };
    await rest();
    const samples = await interleaved(9, cases, (credentials) => timedSignIn(newAddress(), credentials()));
    expectTheMoment(samples);
  });

  it('is the same for staff', async () => {
    const member = await app.newStaff('viewer');
    const cases = { 'wrong password': member.email, 'unknown e-mail': 'nobody@staff.example' };
    await rest();
    const samples = await interleaved(7, cases, async (email) => {
      const json = JSON.stringify({ email, password: 'wrong' });
      const answer = await timed('/admin/session', 'application/json', newAddress(), json);
      return { ...answer, body: answer.body.replace(/"requestId":"[^"]*"/, '') };
    });
    expectTheMoment(samples);
  });

  it('does not reveal a known name by the time of parallel requests', async () => {
    const member = await app.newStaff('viewer');
    const { imported } = await withImportedPassword((password) => bcrypt.hash(password, 10));
    const json = 'application/json';
    const probe = async (flood: (address: string) => Promise<unknown>): Promise<number> => {
      const address = newAddress();
      const begun = Array.from({ length: 5 }, () => flood(address));
      await realTime('the flood has begun');
      const { elapsedMs } = await timedSignIn(newAddress(), wrong(unknownName()));
      await Promise.all(begun);
      return elapsedMs;
    };
    const ofStaff = (email: string) => (address: string) =>
      timed('/admin/session', json, address, JSON.stringify({ email, password: 'wrong' }));
    const ofPartner = (username: string) => (address: string) => timedSignIn(address, wrong(username));
    for (const [known, unknown] of [
      [ofStaff(member.email), ofStaff('nobody@staff.example')],
      [ofPartner(imported.username), ofPartner(unknownName())],
    ] as const) {
      const multiples: Record<string, number[]> = { known: [], unknown: [] };
      for (let i = 0; i < 5; i++) {
        await rest();
        multiples['known']?.push(Math.floor((await probe(known)) / 250));
        await rest();
        multiples['unknown']?.push(Math.floor((await probe(unknown)) / 250));
      }
      // On a busy machine hashes take longer, and then every kind of answer comes after more multiples, or fewer.
      const { known: ofKnown = [], unknown: ofUnknown = [] } = multiples;
      expect(isWithin(median(ofKnown), ofUnknown) && isWithin(median(ofUnknown), ofKnown) ? [] : multiples).toEqual([]);
    }
  });

  it('is the same when a right password is not enough', async () => {
    const member = await app.newStaff('viewer');
    const post = (path: string, json: unknown): Promise<Answer> =>
      app.request('POST', `/admin/session/${path}`, { token: member.token, json });
    const begun = await post('totp', { currentPassword: member.password });
    const authenticator = Secret.fromBase32(secret(begun.json<{ secret: string }>().secret));
    const confirmed = await post('totp/confirm', { code: new TOTP({ secret: authenticator }).generate() });
    confirmed.json<{ recoveryCodes: string[] }>().recoveryCodes.forEach(secret);
    const cases = {
      'wrong password': { password: 'wrong' },
      'no code': {},
      // The code of another day.
      'wrong code': { code: new TOTP({ secret: authenticator }).generate({ timestamp: 0 }) },
      'unknown recovery code': { code: 'ABCD-EFGH-IJKL-MNOP' },
    };
    await rest();
    const samples = await interleaved(7, cases, async (fields) => {
      const json = JSON.stringify({ email: member.email, password: member.password, ...fields });
      const answer = await timed('/admin/session', 'application/json', newAddress(), json);
      // The bodies differ, and so do their lengths.
      const headers = answer.headers.map((value, i) => (answer.headers[i - 1] === 'content-length' ? '' : value));
      return { ...answer, headers, body: '' };
    });
    expectTheMoment(samples);
  });

  it('does not apply to a right password', async () => {
    const partner = await app.newPartner();
    const values: number[] = [];
    const lags: number[] = [];
    for (let i = 0; i < 15; i++) {
      lags.push(await undelayed());
      const answer = await timedSignIn(newAddress(), partner);
      expect(answer.status).toBe(200);
      secret(answer.body);
      values.push(answer.elapsedMs);
    }
    // A sign-in asks the database and signs, so it takes longer than what is refused at once.
    expect(median(values)).toBeLessThan(60 + 4 * median(lags));
  });
});

describe('the response delay', () => {
  it('holds 2,000 requests, answers 429 to further failures, accepts right passwords and empties', async () => {
    const busy = await TestApp.start(
      { trustedProxies: LOOPBACK_PROXIES },
      {},
      // A slow machine takes longer than the deadline of a request to accept so many.
      { ...CONNECTION_LIMITS, deadlineMs: 100_000 },
    );
    const release = holdRefusals(busy);
    try {
      const partner = await busy.newPartner();
      const crowd = sendPipelined(busy.url, 650, 4);
      const counted = async (): Promise<number> =>
        (await scrape(busy.opsUrl)).sum('latchkey_limiter_decisions_total', {
          limiter: 'partner_failures',
          decision: 'allowed',
        });
      await until(async () => (await counted()) === 2_600, 'all requests', 60_000);
      expect(slowHashesOf(busy).waiting).toBe(2_000);
      expectToken(await signInFrom(busy, newAddress(), partner));
      release();
      expect(tally((await crowd).map((status) => ({ status })))).toEqual({ 401: 2_000, 429: 600 });
      expect(slowHashesOf(busy).waiting).toBe(0);
      expect((await signInFrom(busy, newAddress(), wrong(partner.username))).status).toBe(401);
    } finally {
      release();
      await busy.close();
    }
  });

  /** Sends failed sign-ins at once, each from an address of its own. @returns their statuses */
  async function sendPipelined(url: string, connections: number, requests: number): Promise<number[]> {
    const { port, hostname } = new URL(url);
    const statuses = await inParallel(connections, connections, async () => {
      const socket = connect(Number(port), hostname);
      for (let i = 0; i < requests; i++) {
        const body = 'Username=nobody&Password=wrong';
        socket.write(
          `POST /generateToken HTTP/1.1\r\nhost: latchkey\r\nx-forwarded-for: ${newAddress()}\r\n` +
            `content-type: application/x-www-form-urlencoded\r\ncontent-length: ${String(body.length)}\r\n\r\n${body}`,
        );
      }
      let text = '';
      for await (const chunk of socket) {
        text += (chunk as Buffer).toString();
        const found = [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map((match) => Number(match[1]));
        if (found.length === requests) return found;
      }
      throw new Error('The server closed the connection');
    });
    return statuses.flat();
  }
});

describe('the wait after failures', () => {
  it('ends in time for an imported password, and another failure makes the next wait longer', async () => {
    const address = newAddress();
    const generated = await app.newPartner();
    const { imported } = await withImportedPassword();
    for (const { username } of [generated, imported]) await useUpPair(address, username);
    const left = expectTooMany(await from(address, imported));
    expect(left).toBeGreaterThan(5);
    expect(left).toBeLessThanOrEqual(15);
    passLimits(app, left * 1_000);
    expectToken(await from(address, imported));
    const longer = expectTooMany(await from(address, wrong(generated.username)));
    expect(longer).toBe(30);
    expectTooMany(await from(address, wrong(generated.username)));
    expectToken(await from(address, generated));
  });
});
