import { createHash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import pg from 'pg';
import { type Answer, TestApp } from '../../../test/support/app.ts';
import { reencrypt } from '../../../test/support/command.ts';
import { passLimits, reencryptHandovers } from '../../../test/support/inside.ts';
import { secret } from '../../../test/support/secrets.ts';
import { inParallel, LOOPBACK_PROXIES, newAddress, tally } from '../../../test/support/sign-ins.ts';

interface Provisioned {
  channelUser: { id: string; username: string; displayName: string };
  credential: { id: string; fingerprint: string; expiresAt: string | null };
  handoverUrl: string;
  handover: { id: string; expiresAt: string };
}
interface Link {
  id: string;
  username: string;
  displayName: string;
  credentialId: string;
  fingerprint: string;
  handoverId: string;
  expiresAt: string;
  /** The text after the # of the link. */
  secret: string;
}
interface Revealed {
  username: string;
  password: string;
  displayName: string;
  tokenEndpoint: string;
  fingerprint: string;
}
interface Handover {
  id: string;
  credentialId: string;
  status: string;
  createdAt: string;
  expiresAt: string;
  revealedAt: string | null;
  revealedAddress: string | null;
}
interface Event {
  actor: { type: string; id: string | null; name: string };
  action: string;
  target: { type: string; id: string; name: string };
  address: string | null;
  requestId: string;
  changes: Record<string, [unknown, unknown]>;
}
interface Problem {
  code: string;
  detail: string;
  errors?: { field: string; messages: string[] }[];
}

const USERS = '/admin/channel-users';
const UNKNOWN = '3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11';
const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const DAY_S = 86_400;

let app: TestApp;
/** Another instance on the same database. */
let other: TestApp;

beforeAll(async () => {
  app = await TestApp.start({ trustedProxies: LOOPBACK_PROXIES });
  other = await TestApp.start(app.config);
});
afterAll(async () => {
  await other.close();
  await app.close();
});
afterEach(() => {
  app.clockOffset = 0;
});

let counter = 0;
const operator = async (): Promise<string> => (await app.asStaff('operator')).token;
const viewer = async (): Promise<string> => (await app.asStaff('viewer')).token;

const provision = async (fields: Record<string, unknown> = {}): Promise<Answer> =>
  app.request('POST', USERS, {
    token: await operator(),
    json: { username: `linked-${String(++counter)}`, displayName: `Linked ${String(counter)}`, ...fields },
  });
const rotate = async (id: string, fields: Record<string, unknown> = {}): Promise<Answer> =>
  app.request('POST', `${USERS}/${id}/credentials`, { token: await operator(), json: fields });

const secretOf = (url: string): string => secret(url.slice(url.indexOf('#') + 1));
function linkOf(answer: Answer, of?: Link): Link {
  expect({ status: answer.status, text: answer.status === 201 ? '' : answer.text }).toEqual({ status: 201, text: '' });
  const body = answer.json<Partial<Provisioned>>();
  const { credential, handover, handoverUrl, channelUser = of } = body;
  if (!channelUser || !credential || !handover || handoverUrl === undefined) throw new Error('There is no link');
  return {
    id: channelUser.id,
    username: channelUser.username,
    displayName: channelUser.displayName,
    credentialId: credential.id,
    fingerprint: credential.fingerprint,
    handoverId: handover.id,
    expiresAt: handover.expiresAt,
    secret: secretOf(handoverUrl),
  };
}
const newLink = async (fields: Record<string, unknown> = {}): Promise<Link> =>
  linkOf(await provision({ deliver: 'link', ...fields }));

const post = (json: unknown, address = newAddress(), on = app): Promise<Answer> =>
  on.request('POST', '/handover/reveal', { json, headers: { 'x-forwarded-for': address } });
const tryToReveal = async (link: Pick<Link, 'secret'>, address?: string, on?: TestApp): Promise<Answer> => {
  const answer = await post({ secret: link.secret }, address, on);
  if (answer.status === 200) secret(answer.json<Revealed>().password);
  return answer;
};
const reveal = async (link: Link, address?: string): Promise<Revealed> => {
  const answer = await tryToReveal(link, address);
  expect({ status: answer.status, text: answer.status === 200 ? '' : answer.text }).toEqual({ status: 200, text: '' });
  return answer.json<Revealed>();
};
const revoke = async (link: Link, id = link.id): Promise<Answer> =>
  app.request('DELETE', `${USERS}/${id}/handovers/${link.handoverId}`, { token: await operator() });
const revokeCredential = async (link: Link): Promise<Answer> =>
  app.request('DELETE', `${USERS}/${link.id}/credentials/${link.credentialId}`, { token: await operator() });
const list = async (id: string): Promise<Handover[]> => {
  const answer = await app.request('GET', `${USERS}/${id}/handovers`, { token: await viewer() });
  expect(answer.status).toBe(200);
  return answer.json<{ items: Handover[] }>().items;
};
const statusOf = async (link: Link): Promise<string | undefined> =>
  (await list(link.id)).find(({ id }) => id === link.handoverId)?.status;
/** The audit events about links of a channel user, oldest first. */
const trailOf = async (link: Link): Promise<Event[]> => {
  const answer = await app.request('GET', `/admin/audit-events?target=${link.id}&limit=200`, { token: await viewer() });
  const { items } = answer.json<{ items: Event[] }>();
  return items.filter(({ action }) => action.startsWith('handover.')).reverse();
};
const sealedOf = async ({ handoverId }: Link): Promise<Buffer | null> => {
  const [row] = await app.dataSource.query<{ sealed_password: Buffer | null }[]>(
    'SELECT sealed_password FROM handover WHERE id = $1',
    [handoverId],
  );
  if (!row) throw new Error('The link is not in the database');
  return row.sealed_password;
};
const wipe = (on = app): Promise<void> => on.runTask('Wiping the passwords of expired links');

/** The tables that hold a text: in plain form, as a dump would write it, or as bytes in hexadecimal or base64. */
async function tablesWith(text: string): Promise<string[]> {
  const bytes = Buffer.from(text);
  const forms = [text, bytes.toString('hex'), bytes.toString('base64').replace(/=+$/, '')];
  const tables = await app.dataSource.query<{ name: string }[]>(
    `SELECT quote_ident(table_name) AS name FROM information_schema.tables WHERE table_schema = 'public'`,
  );
  expect(tables.length).toBeGreaterThan(8);
  const found = await Promise.all(
    tables.map(async ({ name }) => {
      const [row] = await app.dataSource.query<{ found: boolean }[]>(
        `SELECT EXISTS (SELECT FROM ${name} AS row, unnest($1::text[]) AS form
           WHERE position(form IN row::text) > 0) AS found`,
        [forms],
      );
      return row?.found === true ? [name] : [];
    }),
  );
  return found.flat().sort();
}

/** An answer without its date and request id, which differ even between equal answers. */
const withoutIds = ({ status, headers, text }: Answer) => ({
  status,
  headers: [...headers].filter(([name]) => name !== 'date' && name !== 'x-request-id'),
  text: text.replace(/"requestId":"[^"]*"/, ''),
});
const expectGone = (answer: Answer): void => {
  expect({ status: answer.status, code: answer.json<Problem>().code }).toEqual({ status: 410, code: 'handover.gone' });
};

describe('a link in place of a password', () => {
  it('is made when provisioning', async () => {
    const before = Date.now();
    const answer = await provision({ deliver: 'link' });
    const link = linkOf(answer);
    const body = answer.json<Provisioned>();
    expect(Object.keys(body).sort()).toEqual(['channelUser', 'credential', 'handover', 'handoverUrl']);
    expect(Object.keys(body.credential).sort()).toEqual(
      [
        'activatedAt',
        'createdAt',
        'expiresAt',
        'fingerprint',
        'id',
        'label',
        'lastUsedAt',
        'lastUsedAddress',
        'lastUsedUserAgent',
        'pendingSince',
        'pendingUntil',
        'reportedLeakedAt',
        'retireOthers',
        'revokedAt',
        'startedBy',
        'status',
      ].sort(),
    );
    expect(body.handoverUrl).toMatch(/^http:\/\/latchkey\.test\/handover#[A-Za-z0-9_-]{43}$/);
    expect(Math.abs(Date.parse(link.expiresAt) - before - 3 * DAY_S * 1000)).toBeLessThan(60_000);
    expect(await list(link.id)).toEqual([
      {
        id: link.handoverId,
        credentialId: link.credentialId,
        status: 'waiting',
        createdAt: expect.stringMatching(/Z$/) as string,
        expiresAt: link.expiresAt,
        revealedAt: null,
        revealedAddress: null,
      },
    ]);
    // The account holds neither the field of the request nor the link of the answer.
    expect(JSON.stringify(body.channelUser)).not.toMatch(/deliver|handover/);
  });

  it('is made when rotating, with the requested lifetime', async () => {
    const link = await newLink();
    const before = Date.now();
    const answer = await rotate(link.id, { deliver: 'link', linkTtlSeconds: 600 });
    expect(Object.keys(answer.json<object>()).sort()).toEqual(['credential', 'handover', 'handoverUrl']);
    expect(answer.text).not.toContain('"password"');
    const second = linkOf(answer, link);
    expect(Math.abs(Date.parse(second.expiresAt) - before - 600_000)).toBeLessThan(60_000);
    expect((await list(link.id)).map(({ id }) => id)).toEqual([second.handoverId, link.handoverId]);
    expect((await reveal(second)).fingerprint).toBe(second.fingerprint);
    expect((await reveal(link)).fingerprint).toBe(link.fingerprint);
  });

  it('does not outlive its credential', async () => {
    const link = await newLink();
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const second = linkOf(await rotate(link.id, { deliver: 'link', expiresAt }), link);
    expect(second.expiresAt).toBe(expiresAt);
  });

  it('is made only on request', async () => {
    for (const fields of [{}, { deliver: 'password' }]) {
      const answer = await provision(fields);
      expect(Object.keys(answer.json<object>()).sort()).toEqual(['channelUser', 'credential']);
      const { channelUser, credential } = answer.json<{
        channelUser: { id: string };
        credential: { password: string };
      }>();
      expect(secret(credential.password)).toMatch(UUID_V4);
      expect(await list(channelUser.id)).toEqual([]);
      const rotated = (await rotate(channelUser.id, fields)).json<{ credential: { password: string } }>();
      expect(Object.keys(rotated)).toEqual(['credential']);
      expect(secret(rotated.credential.password)).toMatch(UUID_V4);
    }
  });

  it.each([300, 30 * DAY_S])('may live for %p seconds', async (linkTtlSeconds) => {
    const before = Date.now();
    const link = await newLink({ linkTtlSeconds });
    expect(Math.abs(Date.parse(link.expiresAt) - before - linkTtlSeconds * 1000)).toBeLessThan(60_000);
  });

  it.each([
    ['deliver', { deliver: 'mail' }],
    ['deliver', { deliver: null }],
    ['deliver', { deliver: ['link'] }],
    ['deliver', { deliver: 'Link' }],
    ['linkTtlSeconds', { deliver: 'link', linkTtlSeconds: 299 }],
    ['linkTtlSeconds', { deliver: 'link', linkTtlSeconds: 30 * DAY_S + 1 }],
    ['linkTtlSeconds', { deliver: 'link', linkTtlSeconds: 300.5 }],
    ['linkTtlSeconds', { deliver: 'link', linkTtlSeconds: '600' }],
    ['linkTtlSeconds', { deliver: 'link', linkTtlSeconds: null }],
    ['linkTtlSeconds', { linkTtlSeconds: 600 }],
    ['linkTtlSeconds', { deliver: 'password', linkTtlSeconds: 600 }],
    ['handoverUrl', { deliver: 'link', handoverUrl: 'https://elsewhere.example' }],
  ])('is refused with a bad %s: %j', async (field, fields) => {
    const { id } = await app.newPartner();
    for (const answer of [await provision(fields), await rotate(id, fields)]) {
      expect(answer.status).toBe(400);
      expect(answer.json<Problem>().errors?.map((error) => error.field)).toEqual([field]);
    }
  });

  it('is refused with seconds but without delivery by link, and the error says why', async () => {
    const { errors } = (await provision({ linkTtlSeconds: 600 })).json<Problem>();
    expect(errors).toEqual([{ field: 'linkTtlSeconds', messages: ['is allowed only with deliver: "link"'] }]);
  });

  it('is made in one transaction with its event and the account', async () => {
    const count = async (): Promise<unknown> =>
      (
        await app.dataSource.query<unknown[]>(
          'SELECT (SELECT count(*) FROM channel_user) AS users, (SELECT count(*) FROM handover) AS links',
        )
      )[0];
    const before = await count();
    await app.dataSource.query(
      `ALTER TABLE audit_event ADD CONSTRAINT ck_test CHECK (action <> 'handover.created') NOT VALID`,
    );
    try {
      expect((await provision({ deliver: 'link' })).status).toBe(500);
    } finally {
      await app.dataSource.query('ALTER TABLE audit_event DROP CONSTRAINT ck_test');
    }
    expect(await count()).toEqual(before);
  });
});

describe('revealing a link', () => {
  it('shows the working credentials once', async () => {
    const link = await newLink();
    const address = newAddress();
    const answer = await tryToReveal(link, address);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('cache-control')).toBe('no-store');
    const revealed = answer.json<Revealed>();
    expect(revealed).toEqual({
      username: link.username,
      password: expect.stringMatching(UUID_V4) as string,
      displayName: link.displayName,
      tokenEndpoint: 'http://latchkey.test/generateToken',
      fingerprint: link.fingerprint,
    });
    expect(createHash('sha256').update(revealed.password).digest('hex').slice(0, 8)).toBe(link.fingerprint);
    const token = await app.generateToken(revealed);
    const me = await app.request('GET', '/me', { token });
    expect(me.json<{ credential: { id: string } }>().credential.id).toBe(link.credentialId);
    expectGone(await tryToReveal(link, address));
    const [shown] = await list(link.id);
    expect(shown).toMatchObject({ status: 'revealed', revealedAddress: address });
    expect(Math.abs(Date.parse(shown?.revealedAt ?? '') - Date.now())).toBeLessThan(60_000);
  });

  it('answers the same to every link that does not work', async () => {
    const used = await newLink();
    await reveal(used);
    const expired = await newLink({ linkTtlSeconds: 300 });
    const revoked = await newLink();
    expect((await revoke(revoked)).status).toBe(204);
    const ofRevokedCredential = await newLink();
    expect((await revokeCredential(ofRevokedCredential)).status).toBe(204);
    const ofExpiredCredential = await newLink();
    await rotate(ofExpiredCredential.id, { retireOthersInSeconds: 0, deliver: 'link' });
    const deleted = await newLink();
    const { token } = await app.asStaff('admin');
    expect((await app.request('DELETE', `${USERS}/${deleted.id}`, { token })).status).toBe(204);
    const unknown = { secret: randomBytes(32).toString('base64url') };
    app.clockOffset = 301_000;
    const [first, ...others] = await Promise.all(
      [unknown, used, expired, revoked, ofRevokedCredential, ofExpiredCredential, deleted].map((link) =>
        tryToReveal(link),
      ),
    );
    if (!first) throw new Error('There was no answer');
    expectGone(first);
    expect(first.json<Problem>().detail).toMatch(/Ask your contact for a new one/);
    for (const answer of others) expect(withoutIds(answer)).toEqual(withoutIds(first));
    expect(await statusOf(expired)).toBe('expired');
    expect(await statusOf(ofExpiredCredential)).toBe('expired');
    expect(await statusOf(ofRevokedCredential)).toBe('revoked');
  });

  it('works until the moment that the link expires', async () => {
    const link = await newLink({ linkTtlSeconds: 300 });
    app.clockOffset = 290_000;
    expect(await statusOf(link)).toBe('waiting');
    app.clockOffset = 300_001;
    expectGone(await tryToReveal(link));
    app.clockOffset = 290_000;
    await reveal(link);
  });

  it('works for a suspended account, which may be reactivated', async () => {
    const link = await newLink();
    await app.request('POST', `${USERS}/${link.id}/suspend`, { token: await operator(), json: { reason: 'Paused' } });
    await reveal(link);
  });

  it.each([
    ['nothing', {}],
    ['an empty secret', { secret: '' }],
    ['a secret that was cut off', { secret: 'a'.repeat(42) }],
    ['a secret that is too long', { secret: 'a'.repeat(44) }],
    ['padding', { secret: `${'a'.repeat(43)}=` }],
    ['the # itself', { secret: `#${'a'.repeat(43)}` }],
    ['another alphabet', { secret: `${'a'.repeat(42)}+` }],
    ['a line break', { secret: `${'a'.repeat(43)}\n` }],
    ['no text', { secret: 1 }],
    ['a list', { secret: ['a'.repeat(43)] }],
    ['null', { secret: null }],
    ['another field', { secret: 'a'.repeat(43), username: 'x' }],
    ['a list for a body', []],
  ])('refuses %s as malformed', async (_, json) => {
    const answer = await post(json);
    expect({ status: answer.status, code: answer.json<Problem>().code }).toEqual({
      status: 400,
      code: 'request.invalid',
    });
  });

  it('accepts only JSON by POST', async () => {
    const link = await newLink();
    const form = await app.request('POST', '/handover/reveal', { form: { secret: link.secret } });
    expect(form.status).toBe(415);
    for (const method of ['GET', 'HEAD', 'PUT', 'DELETE']) {
      const answer = await app.request(method, `/handover/reveal?secret=${link.secret}`);
      expect([method, answer.status, answer.headers.get('allow')]).toEqual([method, 405, 'POST']);
    }
    const inQuery = await app.request('POST', `/handover/reveal?secret=${link.secret}`, { json: {} });
    expect(inQuery.status).toBe(400);
    expect(await statusOf(link)).toBe('waiting');
  });

  it('fails without its event', async () => {
    const link = await newLink();
    await app.dataSource.query(
      `ALTER TABLE audit_event ADD CONSTRAINT ck_test CHECK (action <> 'handover.revealed') NOT VALID`,
    );
    try {
      expect((await tryToReveal(link)).status).toBe(500);
    } finally {
      await app.dataSource.query('ALTER TABLE audit_event DROP CONSTRAINT ck_test');
    }
    expect(await statusOf(link)).toBe('waiting');
    await reveal(link);
  });
});

describe('of two requests at once', () => {
  it('one reveals the password, on either instance', async () => {
    for (let round = 0; round < 5; round++) {
      const link = await newLink();
      const answers = await Promise.all(
        Array.from({ length: 12 }, (_, i) => tryToReveal(link, undefined, i % 2 === 0 ? app : other)),
      );
      expect(tally(answers)).toEqual({ 200: 1, 410: 11 });
      expect((await trailOf(link)).filter(({ action }) => action === 'handover.revealed')).toHaveLength(1);
    }
  });

  it('the first wins when one revokes the link', async () => {
    for (let round = 0; round < 20; round++) {
      const link = await newLink();
      const first = round % 2 === 0;
      const [revoking, revealing] = first
        ? await Promise.all([revoke(link), tryToReveal(link, undefined, other)])
        : await Promise.all([tryToReveal(link, undefined, other), revoke(link)]).then(([a, b]) => [b, a] as const);
      const outcome = `${String(revoking.status)} ${String(revealing.status)}`;
      expect(['204 410', '409 200']).toContain(outcome);
      expect(await statusOf(link)).toBe(outcome === '204 410' ? 'revoked' : 'revealed');
      expect(await sealedOf(link)).toBeNull();
    }
  });

  it('the reveal fails after the credential was revoked', async () => {
    for (let round = 0; round < 10; round++) {
      const link = await newLink();
      const [revoking, revealing] = await Promise.all([revokeCredential(link), tryToReveal(link, undefined, other)]);
      expect(revoking.status).toBe(204);
      expect([200, 410]).toContain(revealing.status);
      expect(await statusOf(link)).toBe(revealing.status === 200 ? 'revealed' : 'revoked');
      expect(await sealedOf(link)).toBeNull();
    }
  });

  it('none restores a password by re-encrypting or wiping', async () => {
    const link = await newLink();
    const [revealing] = await Promise.all([tryToReveal(link), reencryptHandovers(other), wipe(other)]);
    expect(revealing.status).toBe(200);
    expect(await sealedOf(link)).toBeNull();
  });
});

describe('the stored password of a link', () => {
  it('cannot be read in the database before or after the reveal, nor can the link', async () => {
    const link = await newLink();
    const sealed = await sealedOf(link);
    expect(sealed?.length).toBeGreaterThan(60);
    expect(await tablesWith(link.secret)).toEqual([]);
    const { password } = await reveal(link);
    // Checks the encrypted password that was stored while the link was unused.
    expect(sealed?.includes(password)).toBe(false);
    expect(await tablesWith(password)).toEqual([]);
    expect(await tablesWith(link.secret)).toEqual([]);
    // The search does find existing texts.
    expect(await tablesWith(link.username)).toEqual(['channel_user']);
    await app.dataSource.query('UPDATE handover SET sealed_password = $2, revealed_at = NULL WHERE id = $1', [
      link.handoverId,
      Buffer.from(password),
    ]);
    expect(await tablesWith(password)).toEqual(['handover']);
    await app.dataSource.query('DELETE FROM handover WHERE id = $1', [link.handoverId]);
  });

  it('is wiped by a reveal and by revoking the link or the credential', async () => {
    const links = [await newLink(), await newLink(), await newLink()] as const;
    for (const link of links) expect(await sealedOf(link)).not.toBeNull();
    await reveal(links[0]);
    await revoke(links[1]);
    await revokeCredential(links[2]);
    for (const link of links) expect(await sealedOf(link)).toBeNull();
  });

  it('is wiped once the link or the credential has expired', async () => {
    const short = await newLink({ linkTtlSeconds: 300 });
    const long = await newLink();
    const retired = await newLink();
    await rotate(retired.id, { retireOthersInSeconds: 60, deliver: 'link' });
    await wipe();
    for (const link of [short, long, retired]) expect(await sealedOf(link)).not.toBeNull();
    app.clockOffset = 61_000;
    await wipe();
    expect(await sealedOf(retired)).toBeNull();
    expect(await sealedOf(short)).not.toBeNull();
    app.clockOffset = 301_000;
    await wipe();
    expect(await sealedOf(short)).toBeNull();
    expect(await sealedOf(long)).not.toBeNull();
    expect(await statusOf(short)).toBe('expired');
    expectGone(await tryToReveal(short));
    await reveal(long);
  });

  it('is wiped in bounded statements when very many links expire at once', async () => {
    const { handoverId } = await newLink({ linkTtlSeconds: 300 });
    await app.seed(
      `INSERT INTO handover (id, channel_user_id, credential_id, secret_hash, sealed_password, created_at, expires_at)
       SELECT gen_random_uuid(), channel_user_id, credential_id, sha256(n::text::bytea), sealed_password, created_at, expires_at
       FROM handover, generate_series(1, 4500) AS n WHERE id = $1`,
      [handoverId],
    );
    // Makes every statement fail that wipes more than one part.
    await app.dataSource.query(
      `CREATE FUNCTION at_most() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF (SELECT count(*) FROM wiped) > 2000 THEN RAISE EXCEPTION 'too many at once'; END IF; RETURN NULL; END $$;
       CREATE TRIGGER at_most AFTER UPDATE ON handover REFERENCING NEW TABLE AS wiped
         FOR EACH STATEMENT EXECUTE FUNCTION at_most()`,
    );
    try {
      app.clockOffset = 301_000;
      await wipe();
      const [left] = await app.dataSource.query<{ count: number }[]>(
        `SELECT count(*)::int AS count FROM handover WHERE sealed_password IS NOT NULL AND expires_at <= $1`,
        [new Date(Date.now() + app.clockOffset)],
      );
      expect(left?.count).toBe(0);
    } finally {
      await app.dataSource.query('DROP TRIGGER at_most ON handover; DROP FUNCTION at_most()');
    }
  });

  it('is wiped by one instance at a time', async () => {
    const link = await newLink({ linkTtlSeconds: 300 });
    app.clockOffset = 301_000;
    const runner = app.dataSource.createQueryRunner();
    await runner.startTransaction();
    await runner.query('SELECT pg_advisory_xact_lock(7236010)');
    await wipe();
    expect(await sealedOf(link)).not.toBeNull();
    await runner.commitTransaction();
    await runner.release();
    await wipe();
    expect(await sealedOf(link)).toBeNull();
  });

  it('cannot be moved to another link', async () => {
    const [mine, theirs] = [await newLink(), await newLink()];
    await app.dataSource.query(
      `UPDATE handover SET sealed_password = (SELECT sealed_password FROM handover WHERE id = $2) WHERE id = $1`,
      [mine.handoverId, theirs.handoverId],
    );
    expect((await tryToReveal(mine)).status).toBe(500);
    expect(await statusOf(mine)).toBe('waiting');
    await reveal(theirs);
  });

  it('is deleted with the account', async () => {
    const link = await newLink();
    const { token } = await app.asStaff('admin');
    await app.request('DELETE', `${USERS}/${link.id}`, { token });
    await expect(sealedOf(link)).rejects.toThrow('not in the database');
  });
});

describe('the key encryption key of waiting links', () => {
  it('can be replaced with the command line', async () => {
    const origin = await TestApp.start();
    const { token } = await origin.asStaff('operator');
    const provisioned = await origin.request('POST', USERS, {
      token,
      json: { username: 'waits', displayName: 'Waits', deliver: 'link' },
    });
    const link = linkOf(provisioned);
    const [old] = origin.config.keyEncryptionKeys;
    const next = randomBytes(32);
    expect((await reencrypt(origin, [next, old])).handovers).toBe(1);
    expect((await reencrypt(origin, [next, old])).handovers).toBe(0);
    const after = await TestApp.start({ ...origin.config, keyEncryptionKeys: [next] });
    const answer = await after.request('POST', '/handover/reveal', { json: { secret: link.secret } });
    expect(answer.status).toBe(200);
    const { username, password } = answer.json<Revealed>();
    await after.generateToken({ username, password: secret(password) });
    await after.close();
    await origin.close();
  });
});

describe('staff and links', () => {
  it('see every link of a channel user, newest first, without a secret', async () => {
    const first = await newLink();
    const second = linkOf(await rotate(first.id, { deliver: 'link', retireOthersInSeconds: null }), first);
    const third = linkOf(await rotate(first.id, { deliver: 'link', retireOthersInSeconds: null }), first);
    await reveal(second, '203.0.113.7');
    await revoke(third);
    const items = await list(first.id);
    expect(items.map(({ id, status, revealedAddress }) => [id, status, revealedAddress])).toEqual([
      [third.handoverId, 'revoked', null],
      [second.handoverId, 'revealed', '203.0.113.7'],
      [first.handoverId, 'waiting', null],
    ]);
    for (const item of items) {
      expect(Object.keys(item).sort()).toEqual(
        ['createdAt', 'credentialId', 'expiresAt', 'id', 'revealedAddress', 'revealedAt', 'status'].sort(),
      );
    }
  });

  it.each([UNKNOWN, 'nobody', '%00'])('find no links of the unknown id %s', async (id) => {
    const answer = await app.request('GET', `${USERS}/${id}/handovers`, { token: await viewer() });
    expect({ status: answer.status, code: answer.json<Problem>().code }).toEqual({
      status: 404,
      code: 'channel-user.not-found',
    });
  });

  it('revoke a link once and keep the credential', async () => {
    const link = await newLink();
    for (let i = 0; i < 2; i++) {
      const answer = await revoke(link);
      expect({ status: answer.status, text: answer.text }).toEqual({ status: 204, text: '' });
    }
    expect((await trailOf(link)).map(({ action }) => action)).toEqual(['handover.created', 'handover.revoked']);
    const credentials = await app.request('GET', `${USERS}/${link.id}/credentials`, { token: await viewer() });
    expect(credentials.json<{ items: { status: string }[] }>().items.map(({ status }) => status)).toEqual(['active']);
  });

  it('cannot revoke a revealed link', async () => {
    const link = await newLink();
    const credentials = await reveal(link);
    const answer = await revoke(link);
    expect({ status: answer.status, code: answer.json<Problem>().code }).toEqual({
      status: 409,
      code: 'handover.already-revealed',
    });
    await app.generateToken(credentials);
  });

  it('revoke a link only under its own channel user', async () => {
    const [mine, theirs] = [await newLink(), await newLink()];
    for (const answer of [
      await revoke(mine, theirs.id),
      await revoke(mine, UNKNOWN),
      await revoke({ ...mine, handoverId: UNKNOWN }),
      await revoke({ ...mine, handoverId: 'none' }),
    ]) {
      expect({ status: answer.status, code: answer.json<Problem>().code }).toEqual({
        status: 404,
        code: 'handover.not-found',
      });
    }
    expect(await statusOf(mine)).toBe('waiting');
  });

  it('revoke links as operators and only see them as viewers', async () => {
    const link = await newLink();
    const path = `${USERS}/${link.id}/handovers`;
    expect((await app.request('DELETE', `${path}/${link.handoverId}`, { token: await viewer() })).status).toBe(403);
    expect((await app.request('GET', path, { token: await viewer() })).status).toBe(200);
    expect(await statusOf(link)).toBe('waiting');
  });

  it('find every step in the audit trail, with the address and without a secret', async () => {
    const link = await newLink();
    const { id: operatorId } = await app.asStaff('operator');
    const { password } = await reveal(link, '203.0.113.20');
    const late = await tryToReveal(link, '203.0.113.21');
    const second = linkOf(await rotate(link.id, { deliver: 'link' }), link);
    await revokeCredential(second);
    const events = await trailOf(link);
    expect(events.map(({ action, actor, address }) => [action, actor.type, actor.id, address])).toEqual([
      ['handover.created', 'staff', operatorId, '127.0.0.1'],
      ['handover.revealed', 'system', null, '203.0.113.20'],
      ['handover.refused', 'system', null, '203.0.113.21'],
      ['handover.created', 'staff', operatorId, '127.0.0.1'],
      ['handover.revoked', 'staff', operatorId, '127.0.0.1'],
    ]);
    for (const { target } of events) expect(target).toEqual({ type: 'channel-user', id: link.id, name: link.username });
    const [created, revealed, refused, , revoked] = events;
    expect(created?.changes).toEqual({
      handoverId: [null, link.handoverId],
      credentialId: [null, link.credentialId],
      expiresAt: [null, link.expiresAt],
    });
    const ids = {
      handoverId: [link.handoverId, link.handoverId],
      credentialId: [link.credentialId, link.credentialId],
    };
    expect(revealed?.changes).toEqual({ ...ids, status: ['waiting', 'revealed'] });
    expect(refused?.changes).toEqual({ ...ids, status: ['revealed', 'revealed'] });
    expect(refused?.requestId).toBe(late.headers.get('x-request-id'));
    expect(revoked?.changes['status']).toEqual(['waiting', 'revoked']);
    const text = JSON.stringify(events);
    for (const value of [password, link.secret, second.secret]) expect(text).not.toContain(value);
    // The address is personal data, so it is not stored in plain form.
    expect(await tablesWith('203.0.113.21')).toEqual([]);
  });
});

describe('failed reveals', () => {
  it('are throttled by address after ten, without affecting working links or sign-ins', async () => {
    const address = newAddress();
    const unknown = (): Promise<Answer> => tryToReveal({ secret: randomBytes(32).toString('base64url') }, address);
    const first = [];
    for (let i = 0; i < 10; i++) first.push(await unknown());
    expect(tally(first)).toEqual({ 410: 10 });
    const limited = await unknown();
    expect({ status: limited.status, code: limited.json<Problem>().code }).toEqual({
      status: 429,
      code: 'handover.too-many-attempts',
    });
    expect(limited.headers.get('retry-after')).toMatch(/^[1-9]\d*$/);
    // An attempt after a wait begins a longer one.
    passLimits(app, 15_000);
    const later = await unknown();
    expect([later.status, Number(later.headers.get('retry-after'))]).toEqual([429, 30]);
    expectGone(await tryToReveal({ secret: randomBytes(32).toString('base64url') }));
    await reveal(await newLink(), address);
    const signIn = await app.request('POST', '/generateToken', {
      form: { Username: 'nobody', Password: 'nothing' },
      headers: { 'x-forwarded-for': address },
    });
    expect(signIn.status).toBe(401);
  });

  it('of one dead link from one address do not fill the trail', async () => {
    const link = await newLink();
    await reveal(link);
    const address = newAddress();
    const answers = [];
    for (let i = 0; i < 14; i++) answers.push(await tryToReveal(link, address));
    expect(tally(answers)).toEqual({ 410: 10, 429: 4 });
    expect((await trailOf(link)).filter(({ action }) => action === 'handover.refused').length).toBeLessThan(12);
  });

  const ENDS: [string, (link: Link) => Promise<unknown>][] = [
    ['revealed', (link) => reveal(link)],
    ['revoked', (link) => revoke(link)],
    [
      'expired',
      () => {
        app.clockOffset = 73 * 3_600_000;
        return Promise.resolve();
      },
    ],
  ];

  it.each(ENDS)('of one link that has been %s make ten events, from any number of addresses', async (status, end) => {
    const link = await newLink();
    await end(link);
    // Four at once, since the limit must also hold for simultaneous attempts.
    const answers = await inParallel(40, 4, () => tryToReveal(link));
    expect(tally(answers)).toEqual({ 410: 40 });
    app.clockOffset = 0;
    const refused = (await trailOf(link)).filter(({ action }) => action === 'handover.refused');
    expect(refused.map(({ changes }) => changes['status'])).toEqual(new Array(10).fill([status, status]));
  });

  it.each(ENDS)('of one link that has been %s take no lock once they are known', async (_, end) => {
    const link = await newLink();
    await end(link);
    for (let i = 0; i < 10; i++) expectGone(await tryToReveal(link));
    const holder = new pg.Client({ connectionString: app.databaseUrl });
    await holder.connect();
    try {
      await holder.query('BEGIN');
      await holder.query('SELECT FROM channel_user WHERE id = $1 FOR UPDATE', [link.id]);
      await holder.query('SELECT FROM handover WHERE id = $1 FOR UPDATE', [link.handoverId]);
      await holder.query('LOCK TABLE audit_event, audit_chain IN ACCESS EXCLUSIVE MODE');
      // A request that waited for the lock would reach its deadline and get a 503.
      expectGone(await tryToReveal(link));
    } finally {
      await holder.end();
    }
  });
});

describe('the page', () => {
  const FILES = {
    '/handover': ['page.html', 'text/html; charset=utf-8'],
    '/handover/page.css': ['page.css', 'text/css; charset=utf-8'],
    '/handover/page.js': ['page.js', 'text/javascript; charset=utf-8'],
    '/handover/icon.svg': ['icon.svg', 'image/svg+xml'],
  };

  it.each(Object.entries(FILES))('%s is served with strict headers', async (path, [file, type]) => {
    for (const method of ['GET', 'HEAD']) {
      const answer = await app.request(method, path);
      expect({ method, status: answer.status }).toEqual({ method, status: 200 });
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'content-type': type,
        'cache-control': 'no-store',
        'referrer-policy': 'no-referrer',
        'x-content-type-options': 'nosniff',
        'x-robots-tag': 'noindex',
        'content-security-policy':
          "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; " +
          "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; " +
          "require-trusted-types-for 'script'; trusted-types 'none'",
      });
      expect(answer.headers.get('set-cookie')).toBeNull();
      const source = await readFile(`src/channel-user/handover/page/${file ?? ''}`, 'utf8');
      expect(answer.text).toBe(method === 'GET' ? source : '');
      // The build has the same file.
      expect(await readFile(`dist/src/channel-user/handover/page/${file ?? ''}`, 'utf8')).toBe(source);
    }
  });

  it('is the same for every link and uses none up', async () => {
    const link = await newLink();
    for (const method of ['GET', 'HEAD']) {
      for (const path of [...Object.keys(FILES), `/handover?${link.secret}`, `/handover?secret=${link.secret}`]) {
        expect((await app.request(method, path)).status).toBe(200);
      }
    }
    expect(await statusOf(link)).toBe('waiting');
    await reveal(link);
  });

  it('fits its own policy, without inline or foreign parts', async () => {
    const { text } = await app.request('GET', '/handover');
    expect(text).not.toMatch(/<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|<form/i);
    const targets = [...text.matchAll(/\b(?:src|href)="([^"]*)"/g)].map(([, target]) => target ?? '');
    expect(targets.length).toBeGreaterThan(3);
    // Relative targets also work when PUBLIC_URL has a path.
    for (const target of targets) {
      expect(target).toMatch(/^handover\//);
      expect((await app.request('GET', `/${target}`)).status).toBe(200);
    }
    expect(text).toMatch(/<noscript>[^]*JavaScript[^]*<\/noscript>/);
  });

  it.each(['%23', '%2523', '%252523', '/%23', '/%2523'])('opens when the # of a link arrives as %s', async (hash) => {
    const link = await newLink();
    const page = hash.startsWith('/') ? '../handover' : 'handover';
    for (const tail of ['', '.', '%3E', '%20', '?x=1']) {
      const answer = await fetch(`${app.url}/handover${hash}${link.secret}${tail}`, { redirect: 'manual' });
      expect([tail, answer.status, answer.headers.get('location')]).toEqual([tail, 302, `${page}#${link.secret}`]);
      expect(answer.headers.get('cache-control')).toBe('no-store');
    }
    expect(await statusOf(link)).toBe('waiting');
    await reveal(link);
  });

  it.each(['%23', '%23short', '%2523', '%23%3Cscript%3E', `%23${'a'.repeat(44)}`, '%23//evil.example'])(
    'reports an incomplete link without a secret: %s',
    async (rest) => {
      const answer = await fetch(`${app.url}/handover${rest}`, { redirect: 'manual' });
      // A longer path does not belong to Latchkey.
      if (rest.includes('/')) expect(answer.status).toBe(404);
      else expect([answer.status, answer.headers.get('location')]).toEqual([302, 'handover']);
    },
  );

  it('has no other files and accepts no changes', async () => {
    for (const path of ['/handover/', '/handover/page.html', '/handover/..%2fpackage.json', '/handover/page']) {
      expect([path, (await app.request('GET', path)).status]).toEqual([path, 404]);
    }
    expect((await app.request('POST', '/handover', { json: {} })).status).toBe(405);
  });
});
