import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { randomBytes, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { Agent, type IncomingMessage, request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { Secret, TOTP } from 'otpauth';
import { WaitingRoom } from '../src/rate-limit/waiting-room.service.ts';
import { type Answer, type Partner, type StaffMember, TestApp } from './support/app.ts';
import { secret } from './support/secrets.ts';
import {
  eventually,
  importPassword,
  inParallel,
  LOOPBACK_PROXIES,
  newAddress,
  requestLine,
  signInFrom,
  tally,
} from './support/sign-ins.ts';

const INVALID = 'invalid username or password';
const FREE_PER_PAIR = 10;
const FREE_PER_ADDRESS = 100;

/** Believes X-Forwarded-For: a test chooses its addresses. */
let app: TestApp;
/** Believes no forwarding header. */
let direct: TestApp;

const from = (
  address: string,
  credentials: { username: string; password: string },
  headers?: Record<string, string>,
): Promise<Answer> => signInFrom(app, address, credentials, headers);
/** A wrong password, another one each time. */
const wrong = (username: string): { username: string; password: string } => ({
  username,
  password: `wrong ${randomUUID()}`,
});
const unknownName = (): string => `nobody-${randomBytes(6).toString('hex')}`;
const failures = (count: number, address: string, username: string): Promise<Answer[]> =>
  inParallel(count, count, () => from(address, wrong(username)));
/** Uses up what a pair may fail without being throttled. */
async function useUpPair(address: string, username: string): Promise<void> {
  expect(tally(await failures(FREE_PER_PAIR, address, username))).toEqual({ 401: FREE_PER_PAIR });
}
const operator = async (): Promise<string> => (await app.asStaff('operator')).token;

/** 200, and the token is looked for in the log at the end. */
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

/** The text form of a 429. @returns its Retry-After */
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

/** A positive whole number of seconds. */
function retryAfterOf(answer: Answer): number {
  expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
  return Number(answer.headers.get('retry-after'));
}

/** Headers of an answer that may differ between two that must be alike. */
const headersOf = (answer: Answer, ...ignored: string[]): [string, string][] =>
  [...answer.headers].filter(([name]) => !['date', 'x-request-id', ...ignored].includes(name));

// --- What takes its time runs beside everything else: a wait of 15 s that began here is over for the last test.

interface Waiting {
  readonly address: string;
  readonly generated: Partner;
  readonly imported: { username: string; password: string };
  /** When the last free failures had been counted. */
  readonly since: number;
}
let waiting: Waiting;

async function beginToWait(): Promise<Waiting> {
  const address = newAddress();
  const generated = await app.newPartner();
  const { imported } = await withImportedPassword();
  await useUpPair(address, generated.username);
  await useUpPair(address, imported.username);
  return { address, generated, imported, since: Date.now() };
}

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  direct = await TestApp.start();
  waiting = await beginToWait();
});
afterAll(async () => {
  await app.close();
  await direct.close();
});
afterEach(() => {
  app.clockOffset = 0;
});

/** As an older system may have left it: cheap, so that the tests are fast. */
const argon2id = (password: string): Promise<string> =>
  argon2.hash(password, { memoryCost: 4096, timeCost: 1, parallelism: 1 });

/** A partner that also has a password from an older system. */
async function withImportedPassword(
  hash: (password: string) => Promise<string> = argon2id,
  fields: Record<string, unknown> = {},
): Promise<{ partner: Partner; imported: { username: string; password: string }; credentialId: string }> {
  const partner = await app.newPartner(fields);
  const password = secret(`Sommer-${randomBytes(4).toString('hex')}`);
  const credentialId = await importPassword(app, partner.id, await hash(password));
  return { partner, imported: { username: partner.username, password }, credentialId };
}

describe('failures of one address and username', () => {
  it('are 401 ten times, then 429 with the time to wait', async () => {
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

  it('are counted exactly when they come at once', async () => {
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

  it('are those of the username in any case, and of no other username and no other address', async () => {
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

  it('tell no known username from an unknown one, neither before nor after', async () => {
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

  it('with the right password count as well when the address or the credential is not allowed', async () => {
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
  it('are 401 a hundred times, whatever the usernames, then 429; another address is not affected', async () => {
    const partner = await app.newPartner();
    const { imported } = await withImportedPassword();
    const [address, otherAddress] = [newAddress(), newAddress()];
    const names = [partner.username, ...Array.from({ length: 9 }, unknownName)];
    const answers = await inParallel(FREE_PER_ADDRESS, 50, (i) => from(address, wrong(names[i % 10] ?? '')));
    expect(tally(answers)).toEqual({ 401: 100 });
    const each = [unknownName(), partner.username, (await app.newPartner()).username, imported.username];
    (await Promise.all(each.map((name) => from(address, wrong(name))))).forEach(expectTooMany);
    (await Promise.all(each.map((name) => from(otherAddress, wrong(name))))).forEach(expectInvalid);
    // What the contract promises to a generated password holds here, too; an imported one waits.
    expectToken(await from(address, partner));
    expectTooMany(await from(address, imported));
    expectToken(await from(otherAddress, imported));
  });

  it('are counted exactly when they come at once', async () => {
    const address = newAddress();
    expect(tally(await inParallel(150, 150, () => from(address, wrong(unknownName()))))).toEqual({ 401: 100, 429: 50 });
  });
});

describe('what counts as one address', () => {
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

  it('is the IPv4 address of an IPv4-mapped one, however it is spelled', async () => {
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

  it('is one for all whose address is not known', async () => {
    const { username } = await app.newPartner();
    await useUpPair('unknown', username);
    expectTooMany(await from('_hidden', wrong(username)));
    expectInvalid(await from(newAddress(), wrong(username)));
  });

  it('is not what a client puts in front of what the proxy adds', async () => {
    const partner = await app.newPartner({ allowedIps: ['203.0.113.9'] });
    const address = newAddress();
    // As an instance does that starts on a database with such passwords.
    app.app.nest.get(WaitingRoom).partnerHashes.expect();
    const answers = await inParallel(12, 12, (i) => from(`203.0.113.9, 198.51.100.${String(i)}, ${address}`, partner));
    expect(tally(answers)).toEqual({ 401: 10, 429: 2 });
    expect(answers[0] && requestLine(answers[0])).toMatchObject({ address });
  });
});

describe('without trusted proxies', () => {
  it('forwarding headers change neither the limiter nor the log nor the activity', async () => {
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

  it('forwarding headers do not get past the list of allowed addresses, neither at sign-in nor at use', async () => {
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

describe('the right generated password', () => {
  it('always passes, while thousands of wrong ones come from everywhere, its own address too', async () => {
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

  it('passes many times at once, as often as the minute’s tokens last', async () => {
    const partner = await app.newPartner();
    await useUpPair('198.51.100.60', partner.username);
    const answers = await inParallel(60, 60, (i) => from(i % 2 === 0 ? '198.51.100.60' : newAddress(), partner));
    answers.forEach(expectToken);
    const more = await inParallel(5, 5, () => from(newAddress(), partner));
    more.forEach(expectTooMany);
  });

  it('of a suspended or expired account or credential stays 403 when the counters are up', async () => {
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
      // Many times, too: it is a match and no failure.
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

describe('tokens per minute', () => {
  it('are as many as the channel user may have, then 429 says when there is another', async () => {
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
    // A crash loop does not use up another's.
    expect(tally(await inParallel(100, 50, () => from(newAddress(), partner)))).toEqual({ 429: 100 });
    for (const answer of await inParallel(3, 3, () => from(newAddress(), other))) expectToken(answer);
  });

  it('are counted exactly when they are asked for at once, whatever the address and the credential', async () => {
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

  it('are more as soon as staff raise the limit', async () => {
    const partner = await app.newPartner({ tokensPerMinute: 1 });
    expectToken(await from(newAddress(), partner));
    expectTooMany(await from(newAddress(), partner));
    const path = `/admin/channel-users/${partner.id}`;
    const patch = { token: await operator(), json: { tokensPerMinute: 10 } };
    expect((await app.request('PATCH', path, patch)).status).toBe(200);
    expectToken(await from(newAddress(), partner));
  });

  it('are looked at after everything else: what is refused for another reason takes none', async () => {
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

describe('a password that came from an older system', () => {
  /** The first time it is verified; on a machine under load that may take longer than a refusal waits. */
  const signsIn = async (credentials: { username: string; password: string }, address?: string): Promise<void> => {
    const attempt = async (): Promise<Answer | undefined> => {
      const answer = await from(address ?? newAddress(), credentials);
      return answer.status === 200 ? answer : undefined;
    };
    expectToken(await eventually(attempt, 'the first sign-in'));
  };
  const bcryptAs =
    (version: '2a' | '2b' | '2y') =>
    async (password: string): Promise<string> =>
      // The versions differ in their name only, for passwords such as these.
      (await bcrypt.hash(password, 10)).replace('$2b$', `$${version}$`);

  it.each([
    ['argon2id', argon2id],
    ['bcrypt $2b$', bcryptAs('2b')],
    ['bcrypt $2a$', bcryptAs('2a')],
    ['bcrypt $2y$', bcryptAs('2y')],
  ])('is right or wrong as ever: %s', async (_, hash) => {
    const { partner, imported } = await withImportedPassword(hash);
    const { username, password } = imported;
    await signsIn(imported);
    const wrongOnes = [password.toUpperCase(), `${password} `, password.slice(1), partner.password.slice(1)];
    const answers = await inParallel(4, 4, (i) => from(newAddress(), { username, password: wrongOnes[i] ?? '' }));
    answers.forEach(expectInvalid);
    expectToken(await from(newAddress(), { username: username.toUpperCase(), password }));
    expectToken(await from(newAddress(), partner));
  });

  it('is right from the first moment for many at once', async () => {
    const { imported } = await withImportedPassword();
    for (const answer of await inParallel(20, 20, () => from(newAddress(), imported))) expectToken(answer);
  });

  it('is right for many users at once, where sign-ins have to expect such passwords', async () => {
    const stored = await bcrypt.hash('Sommer 2019', 10);
    const partners = await inParallel(12, 4, async () => {
      const { id, username } = await app.newPartner();
      await importPassword(app, id, stored);
      return { username, password: 'Sommer 2019' };
    });
    // As an instance does that starts on a database with such passwords.
    app.app.nest.get(WaitingRoom).partnerHashes.expect();
    const signIn = (partner: { username: string; password: string }): Promise<Answer> => from(newAddress(), partner);
    const answers = await inParallel(12, 12, (i) => signIn(partners[i] ?? wrong('')));
    // Whoever comes when the machine has become twice as slow may be told to try again.
    const late = partners.filter((_, i) => answers[i]?.status !== 200);
    expect(late.length).toBeLessThanOrEqual(4);
    answers.filter(({ status }) => status === 200).forEach(expectToken);
    for (const partner of late) expectToken(await signIn(partner));
  });

  it('gets the refusals of a match: suspended, expired, too many tokens', async () => {
    const { partner, imported, credentialId } = await withImportedPassword(argon2id, { tokensPerMinute: 1 });
    const token = await operator();
    const path = `/admin/channel-users/${partner.id}`;
    const code = async (): Promise<string | null> => (await from(newAddress(), imported)).headers.get('error-code');
    expectToken(await from(newAddress(), imported));
    expect(await code()).toBe('too_many_requests');
    await app.dataSource.query('UPDATE credential SET expires_at = now() WHERE id = $1', [credentialId]);
    expect(await eventually(async () => ((await code()) === 'credential_expired' ? true : undefined), '403')).toBe(
      true,
    );
    await app.request('POST', `${path}/suspend`, { token, json: { reason: 'unpaid' } });
    expect(await code()).toBe('account_suspended');
    expect((await app.request('DELETE', `${path}/credentials/${credentialId}`, { token })).status).toBe(204);
    expect(await code()).toBe('invalid_credentials');
  });

  it('is refused from outside the allowed addresses', async () => {
    const { imported } = await withImportedPassword(argon2id, { allowedIps: ['203.0.113.0/24'] });
    expectInvalid(await from(newAddress(), imported));
    expectToken(await from('203.0.113.50', imported));
    expectInvalid(await from(newAddress(), imported));
  });

  it('passes at once from where it was used before, and waits elsewhere, once the counters are up', async () => {
    const { imported } = await withImportedPassword(bcryptAs('2b'));
    const [home, away] = [newAddress(), newAddress()];
    await signsIn(imported, home);
    await useUpPair(home, imported.username);
    await useUpPair(away, imported.username);
    expectTooMany(await from(home, wrong(imported.username)));
    for (const answer of await inParallel(5, 5, () => from(home, imported))) expectToken(answer);
    for (const answer of await inParallel(5, 5, () => from(away, imported))) expectTooMany(answer);
    // From a third one, where nothing failed, it is verified as ever.
    expectToken(await from(newAddress(), imported));
  });

  it('is kept out of no known address by wrong ones from others, nor is another user', async () => {
    const { imported } = await withImportedPassword(bcryptAs('2b'));
    const { imported: neighbour } = await withImportedPassword();
    const home = newAddress();
    await signsIn(imported, home);
    let flooding = true;
    const signIns: Answer[] = [];
    const partnerAtWork = async (): Promise<void> => {
      while (flooding && signIns.length < 50) signIns.push(await from(home, imported));
    };
    const flood = inParallel(200, 60, () => from(newAddress(), wrong(imported.username))).finally(() => {
      flooding = false;
    });
    const work = partnerAtWork();
    const queue = app.app.nest.get(WaitingRoom).partnerHashes.queue;
    await eventually(() => (queue.length >= 3 ? true : undefined), 'a queue of slow hashes');
    const first = await from(newAddress(), neighbour);
    const [answers] = await Promise.all([flood, work]);
    expect(tally(answers)).toEqual({ 401: 200 });
    expect(signIns.length).toBeGreaterThan(5);
    for (const answer of [...signIns, first]) expectToken(answer);
  });

  it('costs no slow hash while a wait is on: a flood from one address is answered at once', async () => {
    const { imported } = await withImportedPassword(bcryptAs('2b'));
    const address = newAddress();
    await useUpPair(address, imported.username);
    const queue = app.app.nest.get(WaitingRoom).partnerHashes.queue;
    let longest = 0;
    const started = performance.now();
    const answers = await inParallel(300, 50, async () => {
      const answer = await from(address, wrong(imported.username));
      longest = Math.max(longest, queue.length);
      return answer;
    });
    expect(tally(answers)).toEqual({ 429: 300 });
    expect(longest).toBe(0);
    // Each hash takes some 50 ms.
    expect(performance.now() - started).toBeLessThan(5_000);
  });

  it('is one for each channel user: the database refuses a second', async () => {
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
  ])('is just wrong when what is stored of it cannot be read: %s', async (_, stored) => {
    const partner = await app.newPartner();
    await importPassword(app, partner.id, stored);
    const passwords = ['Sommer-2019', stored === '' ? 'x' : stored];
    const answers = await inParallel(2, 2, (i) => from(newAddress(), { ...partner, password: passwords[i] ?? '' }));
    answers.forEach(expectInvalid);
    expectToken(await from(newAddress(), partner));
  });
});

describe('signing in as staff', () => {
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
  /** Within a few attempts: on a machine under load a slow hash may take longer than a refusal waits. */
  const signsIn = async ({ email, password }: StaffMember, address: () => string): Promise<void> => {
    const attempt = async (): Promise<Answer | undefined> => {
      const answer = await signIn(address(), email, password);
      return answer.status === 200 ? answer : undefined;
    };
    const answer = await eventually(attempt, 'signing in');
    secret(answer.json<{ accessToken: string }>().accessToken);
  };
  const INVALID_CREDENTIALS = '401 session.invalid-credentials';
  const TOO_MANY = '429 session.too-many-attempts';

  it('fails ten times, then waits, with the right password too; not so from another address', async () => {
    const member = await app.newStaff('viewer');
    const address = newAddress();
    const spellings = [member.email, member.email.toUpperCase()];
    const answers = await inParallel(10, 10, (i) => signIn(address, spellings[i % 2] ?? '', `wrong ${String(i)}`));
    expect(answers.map(codeOf)).toEqual(new Array(10).fill(INVALID_CREDENTIALS));
    expect(codeOf(await signIn(address, member.email, 'wrong'))).toBe(TOO_MANY);
    expect(codeOf(await signIn(address, member.email.toUpperCase(), member.password))).toBe(TOO_MANY);
    await signsIn(member, newAddress);
    // Another member from the same address, and a partner, are not concerned.
    await signsIn(await app.newStaff('viewer'), () => address);
    expectInvalid(await from(address, wrong(member.email)));
  });

  it('is counted exactly and alike for an e-mail that nobody has', async () => {
    const address = newAddress();
    const answers = await inParallel(25, 25, () => signIn(address, 'nobody@staff.example', 'wrong'));
    expect(tally(answers)).toEqual({ 401: 10, 429: 15 });
    answers.forEach(codeOf);
  });

  it('is limited for each address, whatever the e-mails', async () => {
    const member = await app.newStaff('viewer');
    const address = newAddress();
    const answers = await inParallel(100, 50, (i) =>
      signIn(address, `nobody-${String(i % 10)}@staff.example`, 'wrong'),
    );
    expect(tally(answers)).toEqual({ 401: 100 });
    expect(codeOf(await signIn(address, member.email, member.password))).toBe(TOO_MANY);
    expect((await signIn(newAddress(), member.email, 'wrong')).status).toBe(401);
  });

  it('lets the own password be guessed ten times by who has the session, then no more', async () => {
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
    // Signing in is another matter.
    await signsIn(member, () => '203.0.113.201');
  });
});

// --- The moment of a refusal

interface RawAnswer {
  readonly status: number;
  /** Names and values as they were sent, in their order. */
  readonly headers: string[];
  readonly body: string;
  readonly elapsedMs: number;
}

const agent = new Agent({ keepAlive: true });
afterAll(() => {
  agent.destroy();
});

/** A request over Node's own client, timed from before it leaves to the first byte of its answer. */
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

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;

/** Everything but what names the request and the time. */
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
}

/** Every case once in each round, at the same time: what happens to the machine happens to all of them. */
async function interleaved<T>(
  rounds: number,
  cases: Record<string, T>,
  ask: (each: T) => Promise<RawAnswer>,
): Promise<Sample[]> {
  const answers = Object.keys(cases).map((name) => ({ name, answers: [] as RawAnswer[] }));
  for (let round = 0; round < rounds; round++) {
    await Promise.all(answers.map(async (each) => each.answers.push(await ask(cases[each.name] as T))));
  }
  return answers.map(({ name, answers: ofOne }) => {
    const forms = new Set(ofOne.map(formOf));
    return {
      name,
      status: ofOne[0]?.status ?? 0,
      form: [...forms].join('\n'),
      times: ofOne.map(({ elapsedMs }) => elapsedMs),
    };
  });
}

/** The common moment of a request that arrives now: 250 ms, or a multiple when hashes are slow on this machine. */
function momentNow(): number {
  const { partnerHashes, staffHashes } = app.app.nest.get(WaitingRoom);
  return 250 * Math.ceil((Math.max(partnerHashes.estimatedMs, staffHashes.estimatedMs) + 40) / 250);
}

/** Forgets the load of other tests. */
function rest(): void {
  const { partnerHashes, staffHashes } = app.app.nest.get(WaitingRoom);
  for (const queue of [partnerHashes.queue, staffHashes.queue]) for (let i = 0; i < 50; i++) queue.measured(25);
  expect(momentNow()).toBe(250);
}

function expectTheMoment(samples: Sample[]): void {
  expect(new Set(samples.map(({ status }) => status))).toEqual(new Set([401]));
  expect([...new Set(samples.map(({ form }) => form))]).toHaveLength(1);
  expect(samples[0]?.form).not.toContain('\n');
  for (const { name, times } of samples) {
    expect({ name, early: times.filter((time) => time < 250) }).toEqual({ name, early: [] });
    // The moment, or a multiple of it where the machine is busy.
    const middle = median(times.map((time) => time % 250));
    expect({ name, middle, isInTime: middle < 40 }).toEqual({ name, middle, isInTime: true });
  }
}

describe('the moment of a refusal', () => {
  it('is 250 ms after the request arrived for every 401, and nothing else tells them apart', async () => {
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
    rest();
    const samples = await interleaved(9, cases, (credentials) => timedSignIn(newAddress(), credentials()));
    expectTheMoment(samples);
  });

  it('is the same for staff', async () => {
    const member = await app.newStaff('viewer');
    const cases = { 'wrong password': member.email, 'unknown e-mail': 'nobody@staff.example' };
    rest();
    const samples = await interleaved(7, cases, async (email) => {
      const json = JSON.stringify({ email, password: 'wrong' });
      const answer = await timed('/admin/session', 'application/json', newAddress(), json);
      return { ...answer, body: answer.body.replace(/"requestId":"[^"]*"/, '') };
    });
    expectTheMoment(samples);
  });

  it('does not tell by that of others whether a name is known, however many ask for it at once', async () => {
    const member = await app.newStaff('viewer');
    const { imported } = await withImportedPassword((password) => bcrypt.hash(password, 10));
    const json = 'application/json';
    const probe = async (flood: (address: string) => Promise<unknown>): Promise<number> => {
      const address = newAddress();
      const begun = Array.from({ length: 5 }, () => flood(address));
      await new Promise((resolve) => setTimeout(resolve, 40));
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
        rest();
        multiples['known']?.push(Math.floor((await probe(known)) / 250));
        rest();
        multiples['unknown']?.push(Math.floor((await probe(unknown)) / 250));
      }
      expect(median(multiples['known'] ?? [])).toBe(median(multiples['unknown'] ?? []));
    }
  });

  it('is the same where a right password is not enough', async () => {
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
      // Of another day.
      'wrong code': { code: new TOTP({ secret: authenticator }).generate({ timestamp: 0 }) },
      'unknown recovery code': { code: 'ABCD-EFGH-IJKL-MNOP' },
    };
    rest();
    const samples = await interleaved(7, cases, async (fields) => {
      const json = JSON.stringify({ email: member.email, password: member.password, ...fields });
      const answer = await timed('/admin/session', 'application/json', newAddress(), json);
      // What they say differs, and so does its length.
      const headers = answer.headers.map((value, i) => (answer.headers[i - 1] === 'content-length' ? '' : value));
      return { ...answer, headers, body: '' };
    });
    expectTheMoment(samples);
  });

  it('comes soon for what is refused because of too many failures, alike for every name', async () => {
    const { username } = await app.newPartner();
    const { imported } = await withImportedPassword((password) => bcrypt.hash(password, 10));
    const unknown = unknownName();
    const names = [username, imported.username, unknown];
    const address = newAddress();
    for (const name of names) await useUpPair(address, name);
    const cases = Object.fromEntries(names.map((name, i) => [String(i), name]));
    const samples = await interleaved(15, cases, (name) => timedSignIn(address, wrong(name)));
    for (const { times, status } of samples) {
      expect(status).toBe(429);
      // On a grid of 25 ms.
      expect(times.filter((time) => time < 25)).toEqual([]);
      expect(median(times)).toBeLessThan(60);
    }
  });

  it('is none for what is right', async () => {
    const partner = await app.newPartner();
    const values: number[] = [];
    for (let i = 0; i < 15; i++) {
      const answer = await timedSignIn(newAddress(), partner);
      expect(answer.status).toBe(200);
      secret(answer.body);
      values.push(answer.elapsedMs);
    }
    expect(median(values)).toBeLessThan(60);
  });
});

describe('the waiting room', () => {
  it('holds 2,000: what fails beyond them is 429, what is right passes, and it empties', async () => {
    const busy = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
    try {
      const partner = await busy.newPartner();
      // Slow hashes that wait make the common moment two seconds: time enough for everybody to come.
      const stopFlood = await floodWithSlowHashes(busy);
      const comeTogether = async (): Promise<{ counts: Record<string, number>; inTheCrowd: Answer }> => {
        const crowd = sendPipelined(busy.url, 100, 26);
        const inTheCrowd = await signInFrom(busy, newAddress(), partner);
        const statuses = await crowd;
        expect(statuses).toHaveLength(2_600);
        return { counts: tally(statuses.map((status) => ({ status }))), inTheCrowd };
      };
      let { counts, inTheCrowd } = await comeTogether();
      // A machine that is busy with something else does not let 2,600 in within two seconds: then the room was never full.
      for (let i = 0; i < 3 && counts[429] === undefined; i++) ({ counts, inTheCrowd } = await comeTogether());
      await stopFlood();
      expectToken(inTheCrowd);
      expect(Object.keys(counts)).toEqual(['401', '429']);
      // Had none left before the last came, 600 and the slow hashes, which wait there too; fewer on a slow machine.
      expect(counts[401]).toBeGreaterThan(1_900);
      expect(counts[429]).toBeGreaterThan(0);
      expect((await signInFrom(busy, newAddress(), wrong(partner.username))).status).toBe(401);
    } finally {
      await busy.close();
    }
  });

  /** @returns how to end it */
  async function floodWithSlowHashes(busy: TestApp): Promise<() => Promise<unknown>> {
    const slow = await bcrypt.hash('right', 13);
    let flooding = true;
    const flood = async (username: string): Promise<void> => {
      while (flooding) await signInFrom(busy, newAddress(), wrong(username));
    };
    const floods: Promise<void>[] = [];
    for (let i = 0; i < 6; i++) {
      const { id, username } = await busy.newPartner();
      await importPassword(busy, id, slow);
      for (let each = 0; each < 4; each++) floods.push(flood(username));
    }
    const queue = busy.app.nest.get(WaitingRoom).partnerHashes;
    await eventually(() => (queue.estimatedMs > 2_000 ? true : undefined), 'a queue of slow hashes', 20_000);
    return () => {
      flooding = false;
      return Promise.all(floods);
    };
  }

  /** Failures from an address each, sent at once. @returns their statuses */
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

describe('the wait', () => {
  it('is over after its time: an imported password passes, another failure makes the next one longer', async () => {
    const { address, generated, imported, since } = waiting;
    const passed = await eventually(
      async () => {
        const answer = await from(address, imported);
        if (answer.status === 200) return answer;
        expectTooMany(answer);
        return undefined;
      },
      'the end of the wait',
      25_000,
    );
    expectToken(passed);
    expect(Date.now() - since).toBeGreaterThan(14_000);
    const longer = expectTooMany(await from(address, wrong(generated.username)));
    expect(longer).toBe(30);
    expect(expectTooMany(await from(address, wrong(generated.username)))).toBeGreaterThanOrEqual(29);
    expectToken(await from(address, generated));
  });
});
