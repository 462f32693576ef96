import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { randomBytes, randomUUID } from 'node:crypto';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { scrape } from '../../../test/support/metrics.ts';
import { reencrypt } from '../../../test/support/command.ts';
import { holdSlowHashes, slowHashesOf } from '../../../test/support/inside.ts';
import { isLong } from '../../../test/support/long.ts';
import { realTime } from '../../../test/support/real-time.ts';
import { secret } from '../../../test/support/secrets.ts';
import {
  LOOPBACK_PROXIES,
  eventually,
  importPassword,
  inParallel,
  newAddress,
  signInFrom,
  tally,
  until,
} from '../../../test/support/sign-ins.ts';

interface Imported {
  readonly partner: Partner;
  readonly credentials: { readonly username: string; readonly password: string };
  readonly credentialId: string;
}

interface Item {
  readonly outcome: string;
  readonly errorCode: string | null;
  readonly reason: string | null;
  readonly count: number;
}

let app: TestApp;

beforeEach(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
});
afterEach(() => app.close());

async function imported(
  hash: (password: string) => Promise<string>,
  password = secret(`Sommer-${randomBytes(4).toString('hex')}`),
): Promise<Imported> {
  const partner = await app.newPartner();
  const credentialId = await importPassword(app, partner.id, await hash(password));
  return { partner, credentials: { username: partner.username, password }, credentialId };
}

const cheap = (password: string): Promise<string> =>
  argon2.hash(password, { memoryCost: 4096, timeCost: 1, parallelism: 1 });
const bcrypt4 = (password: string): Promise<string> => bcrypt.hash(password, 4);
const wrong = (username: string): { username: string; password: string } => ({
  username,
  password: `wrong ${randomUUID()}`,
});
const unknown = (): { username: string; password: string } => wrong(`nobody-${randomBytes(6).toString('hex')}`);
/** How many slow hashes an instance has verified. */
const verifiedBy = async (on: TestApp): Promise<number> =>
  (await scrape(on.opsUrl)).value('latchkey_slow_hashes_total');

async function activityOf({ id }: Partner): Promise<Item[]> {
  const { token } = await app.asStaff('viewer');
  const answer = await app.request('GET', `/admin/channel-users/${id}/activity?limit=200`, { token });
  return answer.json<{ items: Item[] }>().items;
}

/** Status, text and headers of an answer, without request id and date. */
const formOf = (answer: Answer): string =>
  JSON.stringify([
    answer.status,
    answer.text,
    [...answer.headers].filter(([name]) => !['date', 'x-request-id'].includes(name)),
  ]);

async function signsIn(credentials: Imported['credentials']): Promise<void> {
  secret((await signInFrom(app, newAddress(), credentials)).expect(200).text);
}

const keyedHashOf = async (id: string): Promise<string | null> => {
  const rows = await app.dataSource.query<{ keyed: string | null }[]>(
    'SELECT keyed_hash AS keyed FROM credential WHERE id = $1',
    [id],
  );
  return rows[0]?.keyed ?? null;
};
const storedKeyedHash = (id: string): Promise<string> =>
  eventually(async () => (await keyedHashOf(id)) ?? undefined, 'a keyed hash');

/** So many hashes wait that a refusal takes two seconds: sign-ins overlap even if the machine stalls between them. */
const MANY = 100;

describe('while slow hashes of partners cannot be verified in time', () => {
  it('no password is called, counted or recorded as wrong, whatever the name', async () => {
    const partners = await inParallel(12, 4, () => imported(cheap));
    const address = newAddress();
    const [insistent] = partners;
    if (!insistent) throw new Error('There is no partner');
    app.waits = 'real';
    const release = holdSlowHashes(app, 'partnerHashes', MANY);
    // Each partner signs in once, and one of them twelve times more: ten counted failures of a name would be too many.
    const right = inParallel(24, 24, (i) => signInFrom(app, address, (partners[i] ?? insistent).credentials));
    const others = inParallel(12, 12, (i) => {
      const name = partners[i]?.partner.username ?? '';
      return signInFrom(app, newAddress(), i % 2 === 0 ? unknown() : wrong(name));
    });
    const [answers, ofOthers] = await Promise.all([right, others]);
    for (const answer of [...answers, ...ofOthers]) {
      expect(answer.headers.get('error-code')).toBe('service_unavailable');
      expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    }
    expect(new Set([...answers, ...ofOthers].map(formOf)).size).toBe(1);
    for (const { partner } of partners) {
      const items = await activityOf(partner);
      expect(new Set(items.map(({ reason }) => reason))).toEqual(new Set(['not_checked']));
      expect(new Set(items.map(({ errorCode }) => errorCode))).toEqual(new Set(['service_unavailable']));
    }
    release();
    const { queue } = slowHashesOf(app).partnerHashes;
    await until(() => queue.jobs === 0, 'an empty queue');
    // None of them was counted, so the first wrong password is not throttled.
    const first = await eventually(async () => {
      const answer = await signInFrom(app, address, wrong(insistent.partner.username));
      return answer.status === 503 ? undefined : answer;
    }, 'an answer');
    expect(first.status).toBe(401);
    // Verified passwords do not wait, and the address has no failure: ten wrong passwords are still answered 401.
    for (const { credentials } of partners) {
      const answer = await signInFrom(app, address, credentials);
      expect(answer.status).toBe(200);
      secret(answer.text);
    }
    const nobody = unknown().username;
    expect(tally(await inParallel(12, 1, () => signInFrom(app, address, wrong(nobody))))).toEqual({ 401: 10, 429: 2 });
  });

  it('OAuth clients get the same answer at each endpoint', async () => {
    const { credentials } = await imported(cheap);
    app.waits = 'real';
    const release = holdSlowHashes(app, 'partnerHashes', MANY);
    const bodies: [string, Record<string, string>][] = [
      ['token', { grant_type: 'client_credentials' }],
      ['introspect', { token: 'x' }],
      ['revoke', { token: 'x' }],
    ];
    const ask = ([path, form]: [string, Record<string, string>], { username, password }: Imported['credentials']) =>
      app.request('POST', `/oauth2/${path}`, {
        form: { ...form, client_id: username, client_secret: password },
        headers: { 'x-forwarded-for': newAddress() },
      });
    for (const body of bodies) {
      const pair = await Promise.all([ask(body, credentials), ask(body, unknown())]);
      for (const answer of pair) {
        expect(answer.status).toBe(503);
        expect(answer.json()['error']).toBe('temporarily_unavailable');
        expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
      }
      expect(new Set(pair.map(formOf)).size).toBe(1);
    }
    release();
  });

  it('a wrong password counts once it has been verified, like an unknown name', async () => {
    const { partner } = await imported(cheap);
    const address = newAddress();
    app.waits = 'real';
    const release = holdSlowHashes(app, 'partnerHashes');
    const nobody = unknown().username;
    const answers = await Promise.all(
      [partner.username, nobody].flatMap((name) =>
        Array.from({ length: 11 }, () => signInFrom(app, address, wrong(name))),
      ),
    );
    expect(answers.filter(({ status }) => status !== 503 && status !== 429)).toEqual([]);
    release();
    const limited = async (name: string): Promise<true | undefined> =>
      (await signInFrom(app, address, wrong(name))).status === 429 ? true : undefined;
    await eventually(() => limited(partner.username), '429');
    await eventually(() => limited(nobody), '429');
  });

  /** 300 partners whose imported password is `Sommer 2019`. @param stored its hash */
  const newPartners = (stored: string): Promise<{ username: string; password: string }[]> =>
    inParallel(300, 8, async () => {
      const { id, username } = await app.newPartner();
      await importPassword(app, id, stored);
      return { username, password: 'Sommer 2019' };
    });

  it('a burst larger than the queue is accepted as soon as its hashes are verified', async () => {
    const stored = await bcrypt4('Sommer 2019');
    const partners = await newPartners(stored);
    const addresses = [newAddress(), newAddress(), newAddress()];
    app.waits = 'real';
    const release = holdSlowHashes(app, 'partnerHashes');
    const statuses = new Set<number>();
    let first = 0;
    await inParallel(300, 300, async (i) => {
      for (;;) {
        const answer = await signInFrom(app, addresses[i % 3] ?? '', partners[i] ?? unknown());
        statuses.add(answer.status);
        // Nothing is verified before all have tried once, so the queue certainly overflows.
        if (++first === 300) release();
        if (answer.status === 200) return secret(answer.text);
        expect(answer.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
        await realTime('Retry-After is over', Number(answer.headers.get('retry-after')) * 1000);
      }
    });
    expect([...statuses].sort()).toEqual([200, 503]);
  });

  // The hashes alone take a minute of one core.
  const long = isLong ? it : it.skip;

  long('300 accounts with bcrypt 10 are all in within the time of their hashes and 30 s', async () => {
    const stored = await bcrypt.hash('Sommer 2019', 10);
    const partners = await newPartners(stored);
    const addresses = [newAddress(), newAddress(), newAddress()];
    app.waits = 'real';
    const began = performance.now();
    let last = began;
    const over = new AbortController();
    const statuses: number[] = [];
    const signIns = inParallel(300, 300, async (i) => {
      for (;;) {
        const answer = await signInFrom(app, addresses[i % 3] ?? '', partners[i] ?? unknown());
        statuses.push(answer.status);
        if (answer.status === 200) {
          last = performance.now();
          return secret(answer.text);
        }
        await realTime('Retry-After is over', Number(answer.headers.get('retry-after')) * 1000);
      }
    }).finally(() => {
      over.abort();
    });
    // Meanwhile nobody learns which names exist.
    const pairs: [number, number][] = [];
    for (let i = 0; !over.signal.aborted; i++) {
      const names = [partners[i % 300]?.username ?? '', unknown().username];
      const address = newAddress();
      const [known, nobody] = await Promise.all(names.map((name) => signInFrom(app, address, wrong(name))));
      pairs.push([known?.status ?? 0, nobody?.status ?? 0]);
    }
    await signIns;
    const reference = performance.now();
    for (let i = 0; i < 20; i++) await bcrypt.verify('Sommer 2019', stored);
    const hashesMs = ((performance.now() - reference) / 20) * (300 + pairs.length);
    process.stdout.write(
      `300 accounts with bcrypt 10: in after ${String(Math.round(last - began))} ms, hashes alone ` +
        `${String(Math.round(hashesMs))} ms, answers ${JSON.stringify(tally(statuses.map((status) => ({ status }))))}, ` +
        `${String(pairs.length)} pairs of a known and an unknown name\n`,
    );
    expect(new Set(statuses)).toEqual(new Set([200, 503]));
    expect(pairs.filter(([known, nobody]) => known !== nobody)).toEqual([]);
    expect(last - began).toBeLessThan(hashesMs + 30_000);
  });
});

describe('while slow hashes of staff cannot be verified in time', () => {
  it('no password is called wrong and the right one is not counted', async () => {
    const member = await app.newStaff('viewer');
    const signIn = (email: string, password: string): Promise<Answer> =>
      app.request('POST', '/admin/session', {
        json: { email, password },
        headers: { 'x-forwarded-for': '203.0.113.9' },
      });
    app.waits = 'real';
    const release = holdSlowHashes(app, 'staffHashes', 100);
    for (let i = 0; i < 12; i++) {
      const answers = await Promise.all([
        signIn(member.email, member.password),
        signIn(`nobody-${String(i)}@staff.example`, 'wrong'),
      ]);
      expect(answers.map(({ status }) => status)).toEqual([503, 503]);
      const forms = answers.map((answer) =>
        formOf({ ...answer, text: answer.text.replace(/"requestId":"[^"]*"/, '') }),
      );
      expect(new Set(forms).size).toBe(1);
    }
    release();
    const signedIn = await eventually(async () => {
      const answer = await signIn(member.email, member.password);
      return answer.status === 503 ? undefined : answer;
    }, 'an answer');
    expect(signedIn.status).toBe(200);
    secret(signedIn.json<{ accessToken: string }>().accessToken);
  });
});

describe('a password that was verified by its slow hash', () => {
  it('needs no slow hash after a restart, while another password does', async () => {
    const { credentials, credentialId, partner } = await imported(cheap);
    await signsIn(credentials);
    const keyed = await storedKeyedHash(credentialId);
    expect(keyed).toMatch(/^\$hmac-sha256\$[\w-]{11}\$[\w-]{43}$/);
    const restarted = await TestApp.start({ ...app.config });
    try {
      const before = await verifiedBy(restarted);
      const answers = await inParallel(5, 5, () => signInFrom(restarted, newAddress(), credentials));
      for (const answer of answers) secret(answer.text);
      expect(tally(answers)).toEqual({ 200: 5 });
      expect(await verifiedBy(restarted)).toBe(before);
      await eventually(async () => {
        const { status } = await signInFrom(restarted, newAddress(), wrong(partner.username));
        return status === 401 ? true : undefined;
      }, 'a wrong one is wrong');
    } finally {
      await restarted.close();
    }
  });

  it('is not recognized from the keyed hash of another credential', async () => {
    const [one, other] = [await imported(cheap, 'Sommer 2019'), await imported(cheap, 'Sommer 2019')];
    await signsIn(one.credentials);
    await signsIn(other.credentials);
    const [first, second] = [await storedKeyedHash(one.credentialId), await storedKeyedHash(other.credentialId)];
    expect(first).not.toBe(second);
  });

  it('loses its keyed hash with the retired key encryption key and gets one under the new key', async () => {
    const { credentials, credentialId } = await imported(cheap);
    await signsIn(credentials);
    const old = await storedKeyedHash(credentialId);
    const keyEncryptionKeys = [randomBytes(32), ...app.config.keyEncryptionKeys] as const;
    const renewed = await TestApp.start({ ...app.config, keyEncryptionKeys: [...keyEncryptionKeys] });
    try {
      expect((await reencrypt(renewed)).keyedHashes).toBe(1);
      expect(await keyedHashOf(credentialId)).toBeNull();
      expect((await reencrypt(renewed)).keyedHashes).toBe(0);
      secret(
        (
          await eventually(async () => {
            const answer = await signInFrom(renewed, newAddress(), credentials);
            return answer.status === 200 ? answer : undefined;
          }, 'a sign-in')
        ).text,
      );
      const anew = await storedKeyedHash(credentialId);
      expect(anew.slice(0, 25)).not.toBe(old.slice(0, 25));
      expect((await reencrypt(renewed)).keyedHashes).toBe(0);
    } finally {
      await renewed.close();
    }
  });

  it('loses its keyed hash when it is revoked', async () => {
    const { credentials, credentialId, partner } = await imported(cheap);
    await signsIn(credentials);
    await storedKeyedHash(credentialId);
    const { token } = await app.asStaff('operator');
    const path = `/admin/channel-users/${partner.id}/credentials/${credentialId}`;
    expect((await app.request('DELETE', path, { token })).status).toBe(204);
    expect(await keyedHashOf(credentialId)).toBeNull();
    expect((await signInFrom(app, newAddress(), credentials)).status).toBe(401);
  });
});

describe('a bcrypt hash', () => {
  it('accepts exactly 72 bytes and refuses longer passwords that start alike', async () => {
    const password = secret(`${'ü'.repeat(35)}ab`);
    expect(Buffer.byteLength(password)).toBe(72);
    const { partner, credentials } = await imported(bcrypt4, password);
    const refuses = async (): Promise<void> => {
      for (const longer of [`${password}x`, password + password]) {
        const answer = await signInFrom(app, newAddress(), { ...credentials, password: longer });
        expect(answer.status).toBe(401);
      }
    };
    await refuses();
    expect((await activityOf(partner)).map(({ reason }) => reason)).toContain('password_too_long');
    // A sign-in replaces the hash by one of argon2.
    await signsIn(credentials);
    await refuses();
    await signsIn(credentials);
  });

  it('of a longer password accepts none of the passwords that it cannot tell apart', async () => {
    const password = secret('x'.repeat(80));
    const { credentials } = await imported(bcrypt4, password);
    for (const tried of [password, 'x'.repeat(73), `${'x'.repeat(72)}y`]) {
      expect((await signInFrom(app, newAddress(), { ...credentials, password: tried })).status).toBe(401);
    }
  });
});
