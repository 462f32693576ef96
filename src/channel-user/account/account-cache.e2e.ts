import { createHash, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { MeController } from '../../auth/me.controller.ts';
import { SCOPES } from '../../platform/api/security.ts';
import { runMigrations } from '../../platform/database/migrate.ts';
import { seal } from '../../platform/encryption/encryption.service.ts';
import { CONNECTION_LIMITS } from '../../platform/http/connections.ts';
import { type Answer, type Partner, TestApp } from '../../../test/support/app.ts';
import { scrape } from '../../../test/support/metrics.ts';
import { changeFeedOf, trustFeed } from '../../../test/support/inside.ts';
import { PostgresProxy } from '../../../test/support/postgres-proxy.ts';
import { realTime } from '../../../test/support/real-time.ts';
import { secret } from '../../../test/support/secrets.ts';
import { isRunning, ServerProcess } from '../../../test/support/server.ts';
import { until } from '../../../test/support/sign-ins.ts';

type Json = Record<string, unknown>;
type PartnerWithToken = Partner & { token: string };

/** Contract §3: how long every other instance may take to learn of a change. */
const KNOWN_EVERYWHERE_MS = 1_000;
/** Contract §5: how long an answer may take while the database is away. */
const UNAVAILABLE_MS = 5_000;

/** Runs the embedded PostgreSQL until it gets a signal. */
const POSTGRES = [
  process.execPath,
  '--input-type=module',
  '-e',
  `const { startEmbeddedPostgres } = await import('./src/platform/embedded-postgres/embedded-postgres.ts');
  const postgres = await startEmbeddedPostgres({ dataDir: process.env.DATA_DIR, mode: 'serve' });
  process.once('SIGTERM', () => postgres.stop().then(() => process.exit(0)));
  console.log('Listening on ' + postgres.url);
  setInterval(() => {}, 60_000);`,
];

/** Two instances on one database. The second one reaches PostgreSQL through a proxy. */
let a: TestApp;
let b: TestApp;
let proxy: PostgresProxy;

beforeAll(async () => {
  a = await TestApp.start();
  proxy = await PostgresProxy.start(a.databaseUrl);
  b = await TestApp.start({ ...a.config, databaseUrl: proxy.url }, {}, CONNECTION_LIMITS);
});
afterAll(async () => {
  await b.close();
  await proxy.shut();
  await a.close();
});
afterEach(async () => {
  b.clockOffset = 0;
  proxy.reset();
  // Stops the load of tests that failed.
  for (const load of Load.running) await load.stop().catch(() => undefined);
  await informed();
});

// --- Helpers --------------------------------------------------------------------------------------------------------

/** Waits for a promise, and fails when it takes too long. */
async function soon<T>(promise: Promise<T>, what: string): Promise<T> {
  let isSettled = false;
  const settled = promise.finally(() => (isSettled = true));
  await Promise.all([settled, until(() => isSettled, what)]);
  return promise;
}

/** Waits until an instance gets change notifications and therefore trusts its cache. */
const informed = (app = b): Promise<void> => until(() => changeFeedOf(app).trusted, 'changes are heard of');

/** Resolves when an instance gets the notification of a changed account, of changed keys, or of the test itself. */
function heard(topic: 'channel_user' | 'signing_key' | 'test', key: string, app = b): Promise<void> {
  const change = new Promise<void>((resolve) => {
    changeFeedOf(app).subscribe(topic, {
      changed: (changed) => {
        if (changed === key) resolve();
      },
      reset: () => {
        if (key === '*') resolve();
      },
    });
  });
  return soon(change, 'the change is heard of');
}

/** Waits until an instance has got every earlier notification, so that none of them clears what it caches next. */
async function settled(app = b): Promise<void> {
  await informed(app);
  const key = randomBytes(8).toString('hex');
  const known = heard('test', key, app);
  await sql(`SELECT pg_notify('latchkey_change', $1)`, [`test:${key}`]);
  await known;
}

const me = (token: string, app = b): Promise<Answer> => app.request('GET', '/me', { token });
const statusOf = async (token: string, app = b): Promise<number> => (await me(token, app)).status;

const signIn = ({ username, password }: { username: string; password: string }, app = b): Promise<Answer> =>
  app.request('POST', '/generateToken', { form: { Username: username, Password: password } });

/** Changes a channel user, on the first instance by default. */
async function change(where: string, json: Json | undefined = {}, method = 'POST', app = a): Promise<Answer> {
  const { token } = await app.asStaff('admin');
  const answer = await app.request(method, `/admin/channel-users/${where}`, { token, json });
  if (answer.status >= 300) throw new Error(`${method} ${where} answered ${String(answer.status)}: ${answer.text}`);
  return answer;
}

const suspend = (id: string, app = a): Promise<Answer> => change(`${id}/suspend`, { reason: 'x' }, 'POST', app);
const reactivate = (id: string): Promise<Answer> => change(`${id}/reactivate`);
const revokeTokens = (id: string): Promise<Answer> => change(`${id}/revoke-tokens`, { reason: 'x' });
const patch = (id: string, json: Json): Promise<Answer> => change(id, json, 'PATCH');

/** Creates another password, and expires the earlier ones. */
async function newPassword(id: string): Promise<string> {
  const answer = await change(`${id}/credentials`, { retireOthersInSeconds: 0 });
  return secret(answer.json<{ credential: { password: string } }>().credential.password);
}

/** Runs SQL, as someone might in psql. */
const sql = (statement: string, parameters: unknown[] = []): Promise<unknown> =>
  a.dataSource.query(statement, parameters);
const suspendByHand = (id: string): Promise<unknown> =>
  sql('UPDATE channel_user SET suspended_at = now() WHERE id = $1', [id]);

/** Replaces the key that signs partners' tokens. @returns the new key's kid */
async function newSigningKey(): Promise<string> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { crv, kty, x, y } = publicKey.export({ format: 'jwk' });
  const kid = createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
  const der = privateKey.export({ format: 'der', type: 'pkcs8' });
  const sealed = seal(a.config.keyEncryptionKeys[0], der, `signing-key:${kid}`);
  await a.dataSource.transaction(async (manager) => {
    await manager.query(`UPDATE signing_key SET state = 'retiring' WHERE purpose = 'partner' AND state = 'active'`);
    await manager.query(
      `INSERT INTO signing_key (kid, purpose, state, public_jwk, private_key) VALUES ($1, 'partner', 'active', $2, $3)`,
      [kid, JSON.stringify({ crv, kty, x, y }), sealed],
    );
  });
  return kid;
}

const kidOf = (token: string): unknown =>
  (JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()) as Json)['kid'];

/** The status of an answer, or the error in the challenge of a 401. */
const outcomeOf = ({ status, headers }: Answer): number | string =>
  status === 401 ? (/error="(\w+)"/.exec(headers.get('www-authenticate') ?? '')?.[1] ?? status) : status;
const isInvalidToken = (answer: Answer): boolean => outcomeOf(answer) === 'invalid_token';

/** Expects the second instance to answer for a partner without a query. Tries again after a late notification. */
async function expectRemembered({ id, token }: { id: string; token: string }, calls = 20): Promise<void> {
  // A late notification may have cleared the cache once more.
  await until(async () => {
    await informed();
    expect(await statusOf(token)).toBe(200);
    const queries = proxy.countQueries(id);
    for (let n = 0; n < calls; n++) expect(await statusOf(token)).toBe(200);
    return queries.count === 0;
  }, 'the database is not asked any more');
}

interface Call {
  readonly startedAt: number;
  readonly endedAt: number;
  readonly answer: Answer;
}

/** Calls `/me` continuously, several calls at once. */
class Load {
  static readonly running = new Set<Load>();
  readonly calls: Call[] = [];
  #isOver = false;
  readonly #loops: Promise<void>[];

  constructor(app: TestApp, token: string, loops = 8) {
    const loop = async (): Promise<void> => {
      while (!this.#isOver) {
        const startedAt = performance.now();
        const answer = await me(token, app);
        this.calls.push({ startedAt, endedAt: performance.now(), answer });
      }
    };
    this.#loops = Array.from({ length: loops }, loop);
    Load.running.add(this);
  }

  /** Waits until `calls` more calls were answered. */
  async more(calls = 100): Promise<void> {
    const enough = this.calls.length + calls;
    await until(() => this.calls.length >= enough, 'the load gets answers');
  }

  async stop(): Promise<Call[]> {
    this.#isOver = true;
    Load.running.delete(this);
    await Promise.all(this.#loops);
    return this.calls;
  }
}

/** Sends many requests at once over a few connections. @returns the number of answers by status */
async function pipelined(app: TestApp, request: string, count: number): Promise<Record<string, number>> {
  const { hostname, port, host } = new URL(app.url);
  const connections = 4;
  const statuses: Record<string, number> = {};
  const one = request.replace('\r\n', `\r\nhost: ${host}\r\n`);
  await Promise.all(
    Array.from({ length: connections }, async () => {
      const socket = net.connect(Number(port), hostname);
      socket.write(one.repeat(count / connections - 1) + one.replace('\r\n', '\r\nconnection: close\r\n'));
      let text = '';
      for await (const chunk of socket.setEncoding('latin1')) text += chunk as string;
      for (const [, status = ''] of text.matchAll(/HTTP\/1\.1 (\d{3}) /g))
        statuses[status] = (statuses[status] ?? 0) + 1;
    }),
  );
  return statuses;
}

// --- Tests ----------------------------------------------------------------------------------------------------------

describe('a change on one instance while the other is under load', () => {
  const changes: [string, (partner: PartnerWithToken) => Promise<unknown>][] = [
    ['suspend', ({ id }) => suspend(id)],
    ['revoke-tokens', ({ id }) => revokeTokens(id)],
    [
      'a revoked credential',
      ({ id, credentialId }) => change(`${id}/credentials/${credentialId}`, undefined, 'DELETE'),
    ],
    ['delete', ({ id }) => change(id, undefined, 'DELETE')],
    ['allowedIps', ({ id }) => patch(id, { allowedIps: ['192.0.2.1'] })],
    ['expiresAt', ({ id }) => patch(id, { expiresAt: '2020-01-01T00:00:00Z' })],
  ];

  it.each(changes)('is refused there within a second and here at once: %s', async (name, changeIt) => {
    const partner = await a.asPartner();
    expect(await statusOf(partner.token, a)).toBe(200);
    const load = new Load(b, partner.token);
    await load.more();
    await changeIt(partner);
    const changedAt = performance.now();
    expect(isInvalidToken(await me(partner.token, a))).toBe(true);
    await expectRefusedAfter(load, changedAt, name);
  });

  it('is refused on both within a second, whatever is changed by hand', async () => {
    const byHand: [statement: string, parameter: (partner: Partner) => string][] = [
      ['UPDATE channel_user SET suspended_at = now() WHERE id = $1', ({ id }) => id],
      [`UPDATE channel_user SET expires_at = '2020-01-01' WHERE id = $1`, ({ id }) => id],
      [`UPDATE channel_user SET allowed_ips = '{192.0.2.1}' WHERE id = $1`, ({ id }) => id],
      ['UPDATE channel_user SET epoch = epoch + 1 WHERE id = $1', ({ id }) => id],
      ['UPDATE credential SET revoked_at = now() WHERE id = $1', ({ credentialId }) => credentialId],
      ['DELETE FROM credential WHERE id = $1', ({ credentialId }) => credentialId],
      ['DELETE FROM channel_user WHERE id = $1', ({ id }) => id],
    ];
    const outcomes = await Promise.allSettled(
      byHand.map(async ([statement, parameter]) => {
        const partner = await a.asPartner();
        const loads = [new Load(a, partner.token, 1), new Load(b, partner.token, 2)];
        for (const load of loads) await load.more(20);
        await sql(statement, [parameter(partner)]);
        const changedAt = performance.now();
        for (const load of loads) await expectRefusedAfter(load, changedAt, statement);
      }),
    );
    expect(outcomes).toEqual(byHand.map(() => ({ status: 'fulfilled' })));
  });

  it('is refused on both within a second when TRUNCATE removes all accounts', async () => {
    const partner = await a.asPartner();
    const loads = [new Load(a, partner.token, 4), new Load(b, partner.token, 8)];
    for (const load of loads) await load.more();
    await sql('TRUNCATE channel_user CASCADE');
    const changedAt = performance.now();
    for (const load of loads) await expectRefusedAfter(load, changedAt, 'TRUNCATE');
  });

  it('takes a removed scope from existing tokens', async () => {
    const { id, token } = await a.asPartner({ scopes: ['a', 'b'] });
    const load = new Load(b, token);
    await load.more();
    await patch(id, { scopes: ['b'] });
    const changedAt = performance.now();
    const scopesOf = (answer: Answer): unknown => answer.json<Json>()['scopes'];
    expect(scopesOf(await me(token, a))).toEqual(['b']);
    const late = await callsStartedAfter(load, changedAt + KNOWN_EVERYWHERE_MS);
    expect(load.calls[0] && scopesOf(load.calls[0].answer)).toEqual(['a', 'b']);
    for (const { answer } of late) expect(scopesOf(answer)).toEqual(['b']);
  });

  /** Waits for calls that started after a time, and stops the load. */
  async function callsStartedAfter(load: Load, time: number): Promise<Call[]> {
    const late = (): Call[] => load.calls.filter(({ startedAt }) => startedAt > time);
    await until(() => late().length >= 50, 'the load gets answers');
    await load.stop();
    return late();
  }

  async function expectRefusedAfter(load: Load, changedAt: number, name: string): Promise<void> {
    const late = await callsStartedAfter(load, changedAt + KNOWN_EVERYWHERE_MS);
    const outcomes = (calls: Call[]): unknown[] => [...new Set(calls.map(({ answer }) => outcomeOf(answer)))].sort();
    expect([name, outcomes(late)]).toEqual([name, ['invalid_token']]);
    // Before that time, both outcomes are right, but no other.
    expect([name, outcomes(load.calls)]).toEqual([name, [200, 'invalid_token']]);
  }
});

describe('a new object works at once on the other instance', () => {
  const ROUNDS = 20;

  it('as a token after revoke-tokens, each time', async () => {
    const oneAfterTheOther = async (): Promise<void> => {
      const partner = await a.asPartner();
      for (let round = 0; round < ROUNDS / 5; round++) {
        await statusOf(partner.token);
        await revokeTokens(partner.id);
        expect(await statusOf(await a.generateToken(partner))).toBe(200);
      }
    };
    await Promise.all(Array.from({ length: 5 }, oneAfterTheOther));
  });

  it('as a credential and the token that it obtains there', async () => {
    const { id, username } = await a.newPartner();
    for (let round = 0; round < ROUNDS; round++) {
      const token = await b.generateToken({ username, password: await newPassword(id) });
      expect([await statusOf(token), await statusOf(token, a)]).toEqual([200, 200]);
    }
  });

  it('as a reactivated account', async () => {
    const { id, token } = await a.asPartner();
    for (let round = 0; round < ROUNDS; round++) {
      await suspend(id);
      await statusOf(token);
      await reactivate(id);
      expect(await statusOf(token)).toBe(200);
    }
  });

  it('as a channel user', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      const partner = await a.newPartner();
      expect(await statusOf(await b.generateToken(partner))).toBe(200);
    }
  });
});

describe('no refusal rests on the cache while a notification is held up', () => {
  /**
   * Runs work while the second instance gets no notification but still trusts its cache, however long the work takes, so
   * that it does not know what the first instance changes. Everything that it should know must be settled before.
   */
  async function unheard<T>(work: () => Promise<T>, app = b): Promise<T> {
    await informed(app);
    proxy.stall('feed');
    const distrust = trustFeed(app);
    try {
      return await work();
    } finally {
      distrust();
      proxy.mend();
    }
  }

  it('after a reactivation', async () => {
    const { id, token } = await a.asPartner();
    await suspend(id);
    await settled();
    expect(await statusOf(token)).toBe(401);
    const status = await unheard(async () => {
      await reactivate(id);
      return statusOf(token);
    });
    expect(status).toBe(200);
  });

  it('after an expiry is lifted, for tokens and sign-ins', async () => {
    const partner = await a.asPartner();
    await patch(partner.id, { expiresAt: '2020-01-01T00:00:00Z' });
    await settled();
    expect([await statusOf(partner.token), (await signIn(partner)).status]).toEqual([401, 403]);
    const statuses = await unheard(async () => {
      await patch(partner.id, { expiresAt: null });
      return [(await signIn(partner)).status, await statusOf(partner.token)];
    });
    expect(statuses).toEqual([200, 200]);
  });

  it('after an address is allowed, for tokens and sign-ins', async () => {
    const partner = await a.asPartner();
    for (const inOrder of [
      async () => [(await signIn(partner)).status, await statusOf(partner.token)],
      async () => [await statusOf(partner.token), (await signIn(partner)).status],
    ]) {
      await patch(partner.id, { allowedIps: ['192.0.2.1'] });
      await settled();
      expect([await statusOf(partner.token), (await signIn(partner)).status]).toEqual([401, 401]);
      const statuses = await unheard(async () => {
        await patch(partner.id, { allowedIps: ['127.0.0.0/8'] });
        return inOrder();
      });
      expect(statuses).toEqual([200, 200]);
    }
  });

  it('for a token after revoke-tokens', async () => {
    const partner = await a.asPartner();
    await settled();
    expect(await statusOf(partner.token)).toBe(200);
    const status = await unheard(async () => {
      const known = heard('channel_user', partner.id, a);
      await sql('UPDATE channel_user SET epoch = epoch + 1 WHERE id = $1', [partner.id]);
      await known;
      return statusOf(await a.generateToken(partner));
    });
    expect(status).toBe(200);
  });

  it('for a credential and its token from the first instance', async () => {
    const partner = await a.asPartner();
    for (const obtainFrom of [a, b]) {
      await settled();
      expect(await statusOf(partner.token)).toBe(200);
      const status = await unheard(async () => {
        const password = await newPassword(partner.id);
        return statusOf(await obtainFrom.generateToken({ ...partner, password }));
      });
      expect(status).toBe(200);
    }
  });

  it('for a channel user whose username was free or used by another', async () => {
    const partner = await a.newPartner();
    await settled();
    await b.generateToken(partner);
    const { username } = partner;
    const status = await unheard(async () => {
      await change(partner.id, undefined, 'DELETE');
      return statusOf(await b.generateToken(await a.newPartner({ username })));
    });
    expect(status).toBe(200);

    const unknown = `nobody-${randomBytes(4).toString('hex')}`;
    expect((await signIn({ username: unknown, password: 'x' })).status).toBe(401);
    const statusOfNew = await unheard(async () =>
      statusOf(await b.generateToken(await a.newPartner({ username: unknown }))),
    );
    expect(statusOfNew).toBe(200);
  });

  it('for a signing key', async () => {
    const partner = await a.asPartner();
    await settled();
    expect(await statusOf(partner.token)).toBe(200);
    const status = await unheard(async () => {
      const heardOf = heard('signing_key', '*', a);
      const kid = await newSigningKey();
      await heardOf;
      const token = await a.generateToken(partner);
      expect(kidOf(token)).toBe(kid);
      return statusOf(token);
    });
    expect(status).toBe(200);
  });

  it('an instance knows its own changes without a notification', async () => {
    const changes: ((partner: Partner) => Promise<Answer>)[] = [
      ({ id }) => change(`${id}/suspend`, { reason: 'x' }, 'POST', b),
      ({ id }) => change(id, { expiresAt: '2020-01-01T00:00:00Z' }, 'PATCH', b),
      ({ id, credentialId }) => change(`${id}/credentials/${credentialId}`, undefined, 'DELETE', b),
      ({ id }) => change(id, { allowedIps: ['192.0.2.1'] }, 'PATCH', b),
      ({ id }) => change(id, undefined, 'DELETE', b),
    ];
    await b.asStaff('admin');
    for (const changeIt of changes) {
      const partner = await a.asPartner();
      await settled();
      expect(await statusOf(partner.token)).toBe(200);
      proxy.stall('feed');
      await changeIt(partner);
      expect(await statusOf(partner.token)).toBe(401);
      proxy.mend();
    }
  });

  it('to a scope', async () => {
    // Makes /me need a scope on this instance, since no route of Latchkey does. Rules are read at the first call.
    const handler = Reflect.get(MeController.prototype, 'me') as object;
    Reflect.defineMetadata(SCOPES, ['calendar:write'], handler);
    const scoped = await TestApp.start(b.config);
    try {
      const partner = await a.asPartner();
      await settled(scoped);
      expect(await statusOf(partner.token, scoped)).toBe(403);
      Reflect.deleteMetadata(SCOPES, handler);
      const [before, after, newer] = await unheard(async () => {
        const first = await statusOf(partner.token, scoped);
        await patch(partner.id, { scopes: ['calendar:write'] });
        const token = await a.generateToken(partner);
        return [first, await statusOf(partner.token, scoped), await statusOf(token, scoped)];
      }, scoped);
      // The older token does not have the scope.
      expect([before, after, newer]).toEqual([403, 403, 200]);
    } finally {
      Reflect.deleteMetadata(SCOPES, handler);
      await scoped.close();
    }
  });

  it('to a token that is issued after revoke-tokens while no notification arrives', async () => {
    const partner = await a.asPartner();
    await settled();
    await b.generateToken(partner);
    proxy.stall('feed');
    await revokeTokens(partner.id);
    const token = await b.generateToken(partner);
    expect([await statusOf(token, a), await statusOf(token)]).toEqual([200, 200]);
    proxy.mend();
    await informed();
    expect([await statusOf(token, a), await statusOf(token)]).toEqual([200, 200]);
    expect([await statusOf(partner.token, a), await statusOf(partner.token)]).toEqual([401, 401]);
  });
});

describe('a new signing key', () => {
  it('signs on every instance within a second, and the old one verifies until its row is deleted', async () => {
    const partner = await a.asPartner();
    const before = kidOf(partner.token);
    const load = new Load(b, partner.token);
    await load.more();
    const kid = await newSigningKey();
    const changedAt = performance.now();
    for (const app of [a, b]) {
      const signsWithIt = async (): Promise<boolean> => kidOf(await app.generateToken(partner)) === kid;
      await until(signsWithIt, 'the new key signs', KNOWN_EVERYWHERE_MS - (performance.now() - changedAt));
    }
    const [newerOfA, newerOfB] = [await a.generateToken(partner), await b.generateToken(partner)];
    expect([await statusOf(newerOfA), await statusOf(newerOfB, a)]).toEqual([200, 200]);
    await load.more();
    expect(load.calls.every(({ answer }) => answer.status === 200)).toBe(true);

    await sql('DELETE FROM signing_key WHERE kid = $1', [before]);
    const deletedAt = performance.now();
    const late = (): Call[] => load.calls.filter(({ startedAt }) => startedAt > deletedAt + KNOWN_EVERYWHERE_MS);
    await until(() => late().length >= 50, 'the load gets answers');
    await load.stop();
    expect(late().every(({ answer }) => isInvalidToken(answer))).toBe(true);
    expect(isInvalidToken(await me(partner.token, a))).toBe(true);
    expect([await statusOf(newerOfA), await statusOf(newerOfB, a)]).toEqual([200, 200]);
  });
});

describe('the listening connection', () => {
  it('may be killed repeatedly without a stale answer, and the cache is trusted again afterwards', async () => {
    const { id, token } = await a.asPartner();
    const load = new Load(b, token);
    await load.more();
    let killed = 0;
    const killing = new AbortController();
    const killer = (async () => {
      while (!killing.signal.aborted) {
        const ended = (await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
          WHERE application_name = 'latchkey-changes' AND datname = current_database()`)) as unknown[];
        killed += ended.length;
        await realTime('connections are killed again', Math.random() * 120);
      }
    })();
    const periods: { suspendedAt: number; reactivatedFrom: number; reactivatedAt: number; until: number }[] = [];
    try {
      for (let round = 0; round < 3; round++) {
        await suspend(id);
        const suspendedAt = performance.now();
        const isLate = ({ startedAt }: Call): boolean => startedAt > suspendedAt + KNOWN_EVERYWHERE_MS;
        await until(() => load.calls.filter(isLate).length >= 20, 'the load gets answers');
        const reactivatedFrom = performance.now();
        await reactivate(id);
        const reactivatedAt = performance.now();
        expect(await statusOf(token)).toBe(200);
        await load.more(20);
        periods.push({ suspendedAt, reactivatedFrom, reactivatedAt, until: performance.now() });
      }
    } finally {
      killing.abort();
      await killer;
    }
    const calls = await load.stop();
    expect(killed).toBeGreaterThan(20);
    let [refused, admitted] = [0, 0];
    for (const { suspendedAt, reactivatedFrom, reactivatedAt, until } of periods) {
      for (const { startedAt, endedAt, answer } of calls) {
        if (startedAt > suspendedAt + KNOWN_EVERYWHERE_MS && endedAt < reactivatedFrom) {
          expect(outcomeOf(answer)).toBe('invalid_token');
          refused++;
        } else if (startedAt > reactivatedAt && endedAt < until) {
          expect(answer.status).toBe(200);
          admitted++;
        }
      }
    }
    expect(refused).toBeGreaterThanOrEqual(30);
    expect(admitted).toBeGreaterThanOrEqual(30);
    await expectRemembered({ id, token });
  });

  it('is replaced without missing the changes in between', async () => {
    const { id, token } = await a.asPartner();
    await expectRemembered({ id, token });
    proxy.cut('feed');
    await until(() => !changeFeedOf(b).connected, 'the loss is noticed');
    await suspend(id);
    // The cache is not trusted at all.
    expect(await statusOf(token)).toBe(401);
    await sql('UPDATE channel_user SET suspended_at = NULL WHERE id = $1', [id]);
    expect(await statusOf(token)).toBe(200);
    await suspendByHand(id);
    proxy.mend();
    await informed();
    for (let n = 0; n < 5; n++) expect(await statusOf(token)).toBe(401);
    await reactivate(id);
    await expectRemembered({ id, token });
  });

  it.each(['a while', 'good'])('causes no stale answer after a second of being half-open for %s', async (duration) => {
    const partner = await a.asPartner();
    const other = await a.asPartner();
    await expectRemembered(partner);
    await expectRemembered(other);
    const load = new Load(b, partner.token);
    await load.more();
    if (duration === 'good') proxy.abandon('feed');
    else proxy.stall('feed');
    await suspendByHand(partner.id);
    const changedAt = performance.now();
    const late = (): Call[] => load.calls.filter(({ startedAt }) => startedAt > changedAt + KNOWN_EVERYWHERE_MS);
    await until(() => late().length >= 50, 'the load gets answers');
    if (duration === 'a while') expect(changeFeedOf(b).trusted).toBe(false);
    expect(await statusOf(other.token)).toBe(200);
    proxy.mend();
    await informed();
    await load.more();
    await load.stop();
    expect(late().every(({ answer }) => isInvalidToken(answer))).toBe(true);
    expect(load.calls[0]?.answer.status).toBe(200);
    await expectRemembered(other);
    await reactivate(partner.id);
    await expectRemembered(partner);
  });
});

describe('the account cache', () => {
  it('answers without a query', async () => {
    const partner = await a.asPartner();
    const asked = proxy.countQueries(partner.id);
    expect(await statusOf(partner.token)).toBe(200);
    expect(asked.count).toBe(1);
    await expectRemembered(partner, 200);
  });

  it('queries once for thousands of first calls, by token and by username', async () => {
    const partner = await a.asPartner();
    const { username, password } = await a.newPartner({ tokensPerMinute: 10_000 });
    await settled();
    // On a machine so slow that a heartbeat is late, the cache is not trusted and those calls read.
    const bypasses = async (): Promise<number> =>
      (await scrape(b.opsUrl)).value('latchkey_directory_reads_total', { result: 'bypass' });
    const before = await bypasses();
    const untrusted = async (): Promise<number> => (await bypasses()) - before;
    const byId = proxy.countQueries(partner.id);
    const call = `GET /me HTTP/1.1\r\nauthorization: Bearer ${partner.token}\r\n\r\n`;
    expect(await pipelined(b, call, 2_000)).toEqual({ 200: 2_000 });
    expect(byId.count).toBeLessThanOrEqual(2 + (await untrusted()));

    const byUsername = proxy.countQueries(username);
    const form = new URLSearchParams({ username, password }).toString();
    const post = `POST /generateToken HTTP/1.1\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: ${String(form.length)}\r\n\r\n${form}`;
    expect(await pipelined(b, post, 1_000)).toEqual({ 200: 1_000 });
    // A sign-in that joined another's query may read once more before it is refused.
    expect(byUsername.count).toBeLessThanOrEqual(2 + (await untrusted()));
  });

  it('applies expiries by the clock and ignores recorded uses', async () => {
    const inMinutes = (minutes: number): number => minutes * 60_000;
    const partner = await a.asPartner({ expiresAt: new Date(Date.now() + inMinutes(10)).toISOString() });
    await expectRemembered(partner);
    b.clockOffset = inMinutes(9);
    expect(await statusOf(partner.token)).toBe(200);
    b.clockOffset = inMinutes(11);
    expect(await statusOf(partner.token)).toBe(401);
    b.clockOffset = 0;
    await expectRemembered(partner);

    const { token } = await a.asStaff('viewer');
    const path = `/admin/channel-users/${partner.id}`;
    const uses = async (): Promise<unknown[]> => [
      (await a.request('GET', path, { token })).json<Json>()['lastTokenAt'],
      (await a.request('GET', `${path}/credentials`, { token })).json<{ items: Json[] }>().items[0]?.['lastUsedAt'],
    ];
    const before = await uses();
    expect(before).toEqual([expect.any(String), expect.any(String)]);
    const queries = proxy.countQueries(partner.id);
    // The last use of a credential is recorded once a minute.
    a.clockOffset = inMinutes(2);
    await a.generateToken(partner);
    a.clockOffset = 0;
    const after = await uses();
    expect(after.map((use, index) => use === before[index])).toEqual([false, false]);
    await settled();
    expect(await statusOf(partner.token)).toBe(200);
    expect(queries.count).toBe(0);
  });

  it('keeps existing accounts only, and no more than its limit', async () => {
    const small = await TestApp.start({ ...b.config, accountCacheSize: 2 });
    try {
      const [first, second, third] = [await a.asPartner(), await a.asPartner(), await a.asPartner()];
      await settled(small);
      for (const { token } of [first, second]) expect(await statusOf(token, small)).toBe(200);
      const counters = [first, second, third].map(({ id }) => proxy.countQueries(id));
      const counts = (): number[] => counters.map(({ count }) => count);

      // Unknown usernames evict no account, and are looked up each time.
      const names = Array.from({ length: 20 }, () => `nobody-${randomBytes(4).toString('hex')}`);
      const unknown = names.map((name) => proxy.countQueries(name));
      for (const username of names.slice(0, 2)) await signIn({ username, password: 'x' }, small);
      await Promise.all(names.map((username) => signIn({ username, password: 'x' }, small)));
      expect(unknown.map(({ count }) => count)).toEqual([2, 2, ...Array.from({ length: 18 }, () => 1)]);
      for (const { token } of [first, second]) expect(await statusOf(token, small)).toBe(200);
      expect(counts()).toEqual([0, 0, 0]);

      expect(await statusOf(third.token, small)).toBe(200);
      expect(counts()).toEqual([0, 0, 1]);
      expect(await statusOf(first.token, small)).toBe(200);
      expect(counts()).toEqual([1, 0, 1]);
    } finally {
      await small.close();
    }
  });
});

describe('a read that a change overtakes', () => {
  const changes: [string, (id: string) => Promise<unknown>][] = [
    ['by hand', suspendByHand],
    ['on another instance', (id) => suspend(id)],
    ['on this instance', (id) => suspend(id, b)],
  ];

  it.each(changes)('does not restore the old state: %s', async (_, suspendIt) => {
    const { id, username, token } = await a.asPartner();
    await b.asStaff('admin');
    await settled();
    const held = proxy.hold(username);
    const overtaken = me(token);
    await soon(held.reached, 'the read is held');
    const known = heard('channel_user', id);
    await suspendIt(id);
    await known;
    // A call that arrives now does not join the query in progress.
    expect(await statusOf(token)).toBe(401);
    // Nor is the result of that query used, even before the account is read again.
    const again = proxy.hold(username);
    held.release();
    await soon(again.reached, 'the next read is held');
    for (let n = 0; n < 5; n++) expect(await statusOf(token)).toBe(401);
    again.release();
    expect((await overtaken).status).toBe(401);
    await expectSuspended(id, token);
  });

  it('does not restore the old state after the listening connection was replaced', async () => {
    const { id, username, token } = await a.asPartner();
    await settled();
    const held = proxy.hold(username);
    const overtaken = me(token);
    await soon(held.reached, 'the read is held');
    proxy.cut('feed');
    await until(() => !changeFeedOf(b).connected, 'the loss is noticed');
    await suspendByHand(id);
    proxy.mend();
    await informed();
    held.release();
    // This call arrived before the change.
    expect([200, 401]).toContain((await overtaken).status);
    await expectSuspended(id, token);
  });

  it('does not keep a deleted signing key', async () => {
    const partner = await a.asPartner();
    const kid = kidOf(partner.token) as string;
    const newer = await newSigningKey();
    await settled();
    expect(await statusOf(partner.token)).toBe(200);
    // An unknown key is looked up.
    const [, ...rest] = partner.token.split('.');
    const header = { alg: 'ES256', typ: 'at+jwt', kid: randomBytes(32).toString('base64url') };
    const stranger = [Buffer.from(JSON.stringify(header)).toString('base64url'), ...rest].join('.');
    const held = proxy.hold(kid);
    const overtaken = me(stranger);
    await soon(held.reached, 'the read is held');
    const known = heard('signing_key', '*');
    await sql('DELETE FROM signing_key WHERE kid = $1', [kid]);
    await known;
    // Holds the query after the overtaken one as well, so that no newer result is known.
    const next = proxy.hold(newer);
    held.release();
    await soon(next.reached, 'the next read is held');
    const answer = me(partner.token);
    await Promise.race([answer, realTime('a read is held', 100)]);
    next.release();
    expect(isInvalidToken(await answer)).toBe(true);
    expect((await overtaken).status).toBe(401);
  });

  async function expectSuspended(id: string, token: string): Promise<void> {
    for (let n = 0; n < 10; n++) expect(await statusOf(token)).toBe(401);
    await reactivate(id);
    await expectRemembered({ id, token });
    await suspend(id);
    await until(async () => (await statusOf(token)) === 401, 'the suspension is known', KNOWN_EVERYWHERE_MS);
  }
});

describe('without the database', () => {
  let remembered: PartnerWithToken;
  let unknown: PartnerWithToken;
  let staffToken: string;

  beforeEach(async () => {
    remembered = await a.asPartner();
    unknown = await a.asPartner();
    ({ token: staffToken } = await b.asStaff('admin'));
    await expectRemembered(remembered);
  });

  const listing = (app: TestApp): Promise<Answer> => app.request('GET', '/admin/channel-users', { token: staffToken });
  /** Calls of every kind that needs the database, valid and invalid. */
  const callsOf = (app: TestApp): Promise<Answer>[] => [
    me(remembered.token, app),
    me(unknown.token, app),
    signIn(remembered, app),
    signIn(unknown, app),
    signIn({ ...remembered, password: 'wrong' }, app),
    signIn({ username: `nobody-${randomBytes(4).toString('hex')}`, password: 'wrong' }, app),
    listing(app),
  ];

  async function expectUnavailable(app = b): Promise<void> {
    const startedAt = performance.now();
    const answers = await Promise.all(
      callsOf(app).map(async (call) => ({ answer: await call, ms: performance.now() - startedAt })),
    );
    for (const { answer, ms } of answers) {
      expect(answer.status).toBe(503);
      expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(ms).toBeLessThan(UNAVAILABLE_MS);
    }
  }

  async function expectBack(app = b, timeoutMs?: number): Promise<void> {
    const isBack = async (): Promise<boolean> => {
      const statuses = (await Promise.all(callsOf(app))).map(({ status }) => status);
      for (const status of statuses.slice(0, 4)) expect([200, 503]).toContain(status);
      return statuses.every((status) => status !== 503);
    };
    await until(isBack, 'everything works again', timeoutMs);
    expect((await Promise.all(callsOf(app))).map(({ status }) => status)).toEqual([200, 200, 200, 200, 401, 401, 200]);
  }

  it('which refuses connections', async () => {
    await proxy.shut();
    await until(() => !changeFeedOf(b).connected, 'the loss is noticed');
    await expectUnavailable();
    await expectUnavailable();
    await proxy.open();
    await expectBack();
    await expectRemembered(remembered);
  });

  it('which does not answer', async () => {
    proxy.stall();
    // The cache answers as long as it is trusted.
    const distrust = trustFeed(b);
    expect(await statusOf(remembered.token)).toBe(200);
    distrust();
    await until(() => !changeFeedOf(b).trusted, 'memory is not believed any more', KNOWN_EVERYWHERE_MS);
    await expectUnavailable();
    proxy.mend();
    await expectBack();
    await expectRemembered(remembered);
  });

  it('whose connections went dead, while new ones work', async () => {
    const front = await PostgresProxy.start(a.databaseUrl);
    const alone = await TestApp.start(
      { ...a.config, databaseUrl: front.url, databasePoolSize: 3 },
      {},
      CONNECTION_LIMITS,
    );
    try {
      // Opens as many connections as the pool may have.
      await Promise.all(Array.from({ length: 10 }, () => listing(alone)));
      front.abandon('feed', 'pool');
      // A request that gets one of them waits for its timeout.
      await expectBack(alone, 6_000);
    } finally {
      await front.shut();
      await alone.close();
    }
  });

  it('which is stopped and started again', async () => {
    const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-account-cache-'));
    let postgres: ServerProcess | undefined;
    let front: PostgresProxy | undefined;
    let alone: TestApp | undefined;
    try {
      // In a process of its own, since errors of Node's file system are not instances of Error inside Jest.
      const start = (): ServerProcess =>
        new ServerProcess({ command: POSTGRES, env: { DATA_DIR: path.join(folder, 'data') } });
      postgres = start();
      const url = await postgres.listening();
      await runMigrations(url);
      front = await PostgresProxy.start(url);
      const app = (alone = await TestApp.start({ ...a.config, databaseUrl: front.url }, {}, CONNECTION_LIMITS));
      remembered = await app.asPartner();
      unknown = await app.asPartner();
      ({ token: staffToken } = await app.asStaff('admin'));
      await informed(app);
      expect(await statusOf(remembered.token, app)).toBe(200);

      const load = new Load(app, remembered.token, 2);
      await load.more(20);
      expect(await postgres.kill('SIGTERM')).toBe(0);
      await until(() => !changeFeedOf(app).connected, 'the loss is noticed');
      await expectUnavailable(app);
      postgres = start();
      await expectUnavailable(app);
      // PostgreSQL comes back on another port.
      front.target = await postgres.listening();
      await expectBack(app);
      await load.more(20);
      for (const { answer, startedAt, endedAt } of await load.stop()) {
        expect([200, 503]).toContain(answer.status);
        expect(endedAt - startedAt).toBeLessThan(UNAVAILABLE_MS);
      }
      expect(load.calls.at(-1)?.answer.status).toBe(200);
    } finally {
      await alone?.close();
      await front?.shut();
      if (postgres && isRunning(postgres.pid)) await postgres.kill('SIGTERM');
      await rm(folder, { recursive: true, force: true });
    }
  });
});
