import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import type { ChainReport } from './chain-verification.service.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { ADVISORY_LOCKS } from '../../platform/database/advisory-locks.ts';
import { TestApp } from '../../../test/support/app.ts';
import { type Ended, reencrypt, runCommand } from '../../../test/support/command.ts';
import { auditOf, freezeWithHead, verifyTrail } from '../../../test/support/inside.ts';
import { administer, createDatabase } from '../../../test/support/database.ts';
import { scrape } from '../../../test/support/metrics.ts';
import { secret } from '../../../test/support/secrets.ts';
import { inParallel, logLines, until } from '../../../test/support/sign-ins.ts';

const CHAIN = '/admin/audit-events/chain';
const USERS = '/admin/channel-users';
const VERIFICATION = 'Verifying the audit trail';
const SYSTEM: Actor = { type: 'system', id: null, name: 'test', address: null, requestId: null };

interface Head {
  readonly sequence: number;
  readonly mac: string;
}

let app: TestApp;
let superuser: pg.Client;
let folder: string;

/** Connects as a superuser for whom no trigger fires. */
async function connected(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`SET session_replication_role = replica`);
  return client;
}

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-audit-'));
  const { url } = await createDatabase();
  // An older version left events without a MAC, and a gap where a transaction was rolled back.
  superuser = await connected(url);
  await superuser.query(
    `INSERT INTO audit_event (seq, id, at, actor_type, action, target_type, target_id, target_personal, changes)
     OVERRIDING SYSTEM VALUE
     SELECT n, gen_random_uuid(), now() - interval '1 day', 'system', 'test.old', 'staff', gen_random_uuid(), '\\x00',
       '{"a": [1, 2.50]}' FROM generate_series(1, 2500) AS n WHERE n <> 7`,
  );
  app = await TestApp.start({ databaseUrl: url });
  const { token } = await app.asStaff('operator');
  for (let i = 0; i < 3; i++) {
    const partner = await app.newPartner({ notes: 'b\u00e4 \u2028 "x"', scopes: ['a', 'b:c'] });
    await app.request('POST', `${USERS}/${partner.id}/suspend`, { token, json: { reason: 'r' } });
  }
  await superuser.query('CREATE TABLE kept_event AS TABLE audit_event');
  await superuser.query('CREATE TABLE kept_chain AS TABLE audit_chain');
});
afterAll(async () => {
  await app.close();
  await superuser.end();
  await rm(folder, { recursive: true, force: true });
  const { pathname } = new URL(app.databaseUrl);
  await administer(`DROP DATABASE IF EXISTS "${pathname.slice(1)}" WITH (FORCE)`);
});

const verify = (of: TestApp = app, head?: Head): Promise<ChainReport> => verifyTrail(of, head);
const headOf = async (of: TestApp = app): Promise<Head> =>
  (await of.request('GET', CHAIN, { token: (await of.asStaff('viewer')).token })).json<{ head: Head }>().head;
const restore = async (): Promise<void> => {
  await superuser.query(`BEGIN; DELETE FROM audit_event; DELETE FROM audit_chain;
    INSERT INTO audit_event OVERRIDING SYSTEM VALUE SELECT * FROM kept_event;
    INSERT INTO audit_chain SELECT * FROM kept_chain; COMMIT`);
};
const expectIntact = async (of: TestApp = app): Promise<void> => {
  const { findings, head } = await verify(of);
  expect(findings).toEqual([]);
  expect(head?.sequence).toBeGreaterThan(0);
};

/** The last place in the chain, as the table has it. */
const sequenceInTable = async (): Promise<number> => {
  const { rows } = await superuser.query<{ sequence: string }>('SELECT sequence FROM audit_chain');
  return Number(rows[0]?.sequence);
};

/** The sequence of the n-th event of the chain. */
const nth = (n: number): string => `(SELECT genesis_sequence + ${String(n)} FROM audit_chain)`;
const last = '(SELECT sequence FROM audit_chain)';
const FORGED = `INSERT INTO audit_event (seq, id, at, actor_type, action, target_type, target_id, target_personal, changes, mac)
  OVERRIDING SYSTEM VALUE SELECT %, gen_random_uuid(), now(), 'system', 'x.forged', 'staff', gen_random_uuid(), '\\x00', '{}', $`;
const forged = (seq: string, mac: string): string => FORGED.replace('%', seq).replace('$', mac);
const shift = (from: string, by: number): string =>
  `UPDATE audit_event SET seq = -seq WHERE seq >= ${from}; UPDATE audit_event SET seq = -seq + ${String(by)} WHERE seq < 0`;

/**
 * What somebody with all rights does, as which kinds it is found, and the place of the first finding, counted from the
 * start of the chain.
 */
const TAMPERINGS: [what: string, sql: string, kinds: string[], at: number | 'genesis'][] = [
  ['another action', `UPDATE audit_event SET action = 'x' WHERE seq = ${nth(5)}`, ['edited'], 5],
  [
    'another moment, by a microsecond',
    `ALTER TABLE audit_event ALTER at TYPE timestamptz(6);
    UPDATE audit_event SET at = at + interval '1 microsecond' WHERE seq = ${nth(5)}`,
    ['edited'],
    5,
  ],
  ['a moment that is none', `UPDATE audit_event SET at = 'infinity' WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['another actor type', `UPDATE audit_event SET actor_type = 'cli' WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['no actor', `UPDATE audit_event SET actor_id = NULL WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['another target', `UPDATE audit_event SET target_id = gen_random_uuid() WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['another target type', `UPDATE audit_event SET target_type = 'token' WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['another id', `UPDATE audit_event SET id = gen_random_uuid() WHERE seq = ${nth(5)}`, ['edited'], 5],
  [
    'other changes',
    `UPDATE audit_event SET changes = changes || '{"z": [null, 1]}' WHERE seq = ${nth(5)}`,
    ['edited'],
    5,
  ],
  ['no request id', `UPDATE audit_event SET request_id = NULL WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['an empty request id', `UPDATE audit_event SET request_id = '' WHERE seq = ${nth(1)}`, ['edited'], 1],
  [
    'another sealed part',
    `UPDATE audit_event SET target_personal = target_personal || '\\x00' WHERE seq = ${nth(5)}`,
    ['edited'],
    5,
  ],
  ['no actor\u2019s part', `UPDATE audit_event SET actor_personal = NULL WHERE seq = ${nth(5)}`, ['edited'], 5],
  [
    'sealed parts exchanged',
    `UPDATE audit_event SET actor_personal = target_personal, target_personal = actor_personal
    WHERE seq = ${nth(5)}`,
    ['edited'],
    5,
  ],
  ['another MAC', `UPDATE audit_event SET mac = sha256(mac) WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['a shorter MAC', `UPDATE audit_event SET mac = '\\x00' WHERE seq = ${nth(5)}`, ['edited'], 5],
  ['no MAC', `UPDATE audit_event SET mac = NULL WHERE seq = ${nth(5)}`, ['inserted', 'missing'], 5],
  ['the last event edited', `UPDATE audit_event SET action = 'x' WHERE seq = ${last}`, ['edited'], 99],
  [
    'the last event edited, its MAC and the head\u2019s too',
    `UPDATE audit_event SET action = 'x', mac = sha256(mac)
    WHERE seq = ${last}; UPDATE audit_chain SET mac = (SELECT mac FROM audit_event WHERE seq = sequence)`,
    ['edited'],
    99,
  ],
  ['one deleted', `DELETE FROM audit_event WHERE seq = ${nth(5)}`, ['missing'], 5],
  ['the first deleted', `DELETE FROM audit_event WHERE seq = ${nth(1)}`, ['missing'], 1],
  ['several deleted', `DELETE FROM audit_event WHERE seq BETWEEN ${nth(5)} AND ${nth(7)}`, ['missing'], 5],
  [
    'one deleted and the others moved up',
    `DELETE FROM audit_event WHERE seq = ${nth(5)}; ${shift(nth(5), -1)}`,
    ['edited', 'reordered', 'truncated'],
    5,
  ],
  ['the last deleted', `DELETE FROM audit_event WHERE seq = ${last}`, ['truncated'], 99],
  [
    'one inserted, the others moved down',
    `${shift(nth(5), 1)}; ${forged(nth(5), `'\\x${'ab'.repeat(32)}'`)}`,
    ['inserted', 'reordered'],
    5,
  ],
  [
    'one inserted without a link',
    `${shift(nth(5), 1)}; ${forged(nth(5), 'NULL')}`,
    ['inserted', 'missing', 'reordered'],
    5,
  ],
  ['one added after the head', forged(`${last} + 1`, `'\\x${'ab'.repeat(32)}'`), ['inserted'], 99],
  ['one added after the head, without a link', forged(`${last} + 1`, 'NULL'), ['inserted'], 99],
  [
    'two exchanged',
    `UPDATE audit_event SET seq = -seq WHERE seq IN (${nth(5)}, ${nth(6)});
    UPDATE audit_event SET seq = ${nth(5)} + ${nth(6)} + seq WHERE seq < 0`,
    ['reordered'],
    5,
  ],
  [
    'two far apart exchanged',
    `UPDATE audit_event SET seq = -seq WHERE seq IN (${nth(3)}, ${nth(8)});
    UPDATE audit_event SET seq = ${nth(3)} + ${nth(8)} + seq WHERE seq < 0`,
    ['reordered'],
    3,
  ],
  [
    'the head moved back',
    `UPDATE audit_chain SET sequence = sequence - 1,
    mac = (SELECT mac FROM audit_event WHERE seq = sequence - 1)`,
    ['inserted'],
    99,
  ],
  ['the head deleted', 'DELETE FROM audit_chain', ['missing'], 'genesis'],
  [
    'the key of the chain replaced',
    `UPDATE audit_chain SET wrapped_key = (SELECT wrapped_key FROM personal_key LIMIT 1)`,
    ['missing'],
    'genesis',
  ],
  ['an old event edited', `UPDATE audit_event SET action = 'x' WHERE seq = 1200`, ['edited'], 'genesis'],
  ['an old event deleted', 'DELETE FROM audit_event WHERE seq = 1200', ['missing'], 'genesis'],
  ['the last old event deleted', 'DELETE FROM audit_event WHERE seq = 2500', ['missing'], 'genesis'],
  ['an old event put into a hole', forged('7', 'NULL'), ['inserted'], 'genesis'],
  ['an old event moved into a hole', 'UPDATE audit_event SET seq = 7 WHERE seq = 8', ['edited'], 'genesis'],
  [
    'old events exchanged',
    `UPDATE audit_event SET seq = -seq WHERE seq IN (10, 11);
    UPDATE audit_event SET seq = 21 + seq WHERE seq < 0`,
    ['edited'],
    'genesis',
  ],
  ['an event before all others', forged('-5', 'NULL'), ['inserted'], 'genesis'],
  ['an event at the lowest number there is', forged('-9223372036854775808', 'NULL'), ['inserted'], 'genesis'],
  [
    'the start of the chain moved',
    'UPDATE audit_chain SET genesis_sequence = genesis_sequence + 1',
    ['edited', 'inserted'],
    'genesis',
  ],
];

describe('an attacker with all rights in the database but without the key encryption key', () => {
  // PostgreSQL refuses to update a column that is GENERATED ALWAYS AS IDENTITY.
  beforeAll(() => superuser.query('ALTER TABLE audit_event ALTER seq DROP IDENTITY'));
  afterAll(() => superuser.query('ALTER TABLE audit_event ALTER seq ADD GENERATED ALWAYS AS IDENTITY'));
  afterEach(async () => {
    await superuser.query('ALTER TABLE audit_event ALTER at TYPE timestamptz(3)');
    await restore();
  });

  it('leaves no finding without a change', () => expectIntact());

  it.each(TAMPERINGS)('is detected after %s', async (_, sql, kinds, at) => {
    const { rows } = await superuser.query<{ genesis: string; sequence: string }>(
      'SELECT genesis_sequence AS genesis, sequence FROM kept_chain',
    );
    await superuser.query(sql);
    const report = await verify();
    expect(report.kinds).toEqual(kinds);
    const [first] = report.findings;
    const genesis = Number(rows[0]?.genesis);
    const latest = at === 'genesis' ? genesis : Math.min(genesis + at, Number(rows[0]?.sequence) + 1);
    const earliest = at === 'genesis' ? -5 : Math.min(genesis + at, Number(rows[0]?.sequence));
    expect(first?.sequence).toBeGreaterThanOrEqual(earliest);
    expect(first?.sequence).toBeLessThanOrEqual(latest);
  });

  it('is detected by a kept head after cutting off the end together with the head', async () => {
    const kept = await headOf();
    await expectIntact();
    await superuser.query(`DELETE FROM audit_event WHERE seq = ${last}`);
    await superuser.query(`UPDATE audit_chain SET sequence = sequence - 1,
      mac = (SELECT mac FROM audit_event WHERE seq = sequence - 1)`);
    await expectIntact();
    const { kinds, findings } = await verify(app, kept);
    expect(kinds).toEqual(['truncated']);
    expect(findings[0]?.sequence).toBe(kept.sequence);
    // The kept head also finds it when a new event has taken the place.
    await app.newPartner();
    await expectIntact();
    expect((await verify(app, kept)).kinds).toEqual(['truncated']);
  });

  it('is detected after restoring an event that was replaced', async () => {
    const { token } = await app.asStaff('operator');
    const { rows } = await superuser.query<{ id: string }>('SELECT id FROM channel_user LIMIT 1');
    const written = async (reason: string): Promise<void> => {
      const path = `${USERS}/${rows[0]?.id ?? ''}/revoke-tokens`;
      expect((await app.request('POST', path, { token, json: { reason } })).status).toBe(204);
    };
    await superuser.query('CREATE TABLE before_chain AS TABLE audit_chain');
    await written('the one that is put back');
    await superuser.query(`CREATE TABLE before_event AS SELECT * FROM audit_event WHERE seq = ${last};
      DELETE FROM audit_event WHERE seq = ${last};
      DELETE FROM audit_chain; INSERT INTO audit_chain SELECT * FROM before_chain`);
    await written('the one that is replaced');
    await written('the next');
    await expectIntact();
    // Both events are genuine and fit this place. Only the MAC of the next event tells which of them stood there.
    await superuser.query(`DELETE FROM audit_event WHERE seq = ${last} - 1;
      INSERT INTO audit_event OVERRIDING SYSTEM VALUE SELECT * FROM before_event;
      DROP TABLE before_chain, before_event`);
    const { kinds, head } = await verify();
    expect(kinds).toEqual(['edited']);
    expect(head?.sequence).toBeGreaterThan(0);
  });

  it('is detected by a kept head after removing the whole chain', async () => {
    const kept = await headOf();
    await superuser.query(`DELETE FROM audit_event WHERE mac IS NOT NULL;
      UPDATE audit_chain SET wrapped_key = NULL, mac = NULL, sequence = NULL, at = NULL, verified = NULL,
        genesis_mac = NULL, genesis_events = NULL, genesis_sequence = NULL`);
    const fresh = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl });
    expect((await verify(fresh, kept)).kinds).toEqual(['truncated']);
    await fresh.close();
  });

  it('is detected by a kept head after editing everything and starting a new chain', async () => {
    const kept = await headOf();
    await app.newPartner();
    await superuser.query(`UPDATE audit_event SET action = 'x.rewritten' WHERE seq = ${nth(5)};
      UPDATE audit_event SET mac = NULL;
      UPDATE audit_chain SET wrapped_key = NULL, mac = NULL, sequence = NULL, at = NULL, verified = NULL,
        genesis_mac = NULL, genesis_events = NULL, genesis_sequence = NULL`);
    const fresh = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl });
    await expectIntact(fresh);
    const { kinds, findings } = await verify(fresh, kept);
    await fresh.close();
    expect(kinds).toEqual(['replaced']);
    expect(findings[0]).toMatchObject({
      sequence: kept.sequence,
      detail: expect.stringContaining('is before the start of the chain: the chain was replaced') as string,
    });
  });

  it('is detected after inserting an event without a place or with a place that is taken', async () => {
    await superuser.query('ALTER TABLE audit_event DROP CONSTRAINT pk_audit_event');
    await superuser.query('ALTER TABLE audit_event ALTER seq DROP NOT NULL');
    const found: unknown[] = [];
    // Pages have 200 events and event 7 is missing, so 1001 is the last place of a page.
    for (const place of ['1001', `(SELECT genesis_sequence + 3 FROM audit_chain)`, 'NULL::bigint']) {
      await superuser.query(forged(place, 'NULL'));
      found.push([place, (await verify()).kinds.includes('inserted')]);
      await restore();
    }
    await superuser.query('ALTER TABLE audit_event ADD CONSTRAINT pk_audit_event PRIMARY KEY (seq)');
    expect(found.map((each) => (each as [string, boolean])[1])).toEqual([true, true, true]);
  });

  it('is detected after emptying a field of the head', async () => {
    for (const field of ['mac', 'sequence', 'genesis_mac', 'genesis_sequence', 'genesis_events']) {
      await superuser.query(`UPDATE audit_chain SET ${field} = NULL`);
      expect([field, (await verify()).kinds]).toEqual([field, ['missing']]);
      await restore();
    }
  });

  it('shows in the metrics after moving the head back, at the next verification and the next event', async () => {
    const sequence = async (): Promise<number> => (await scrape(app.opsUrl)).value('latchkey_audit_chain_sequence');
    const moveBack = (by: number): Promise<unknown> =>
      superuser.query(`DELETE FROM audit_event WHERE seq > ${last} - ${String(by)};
        UPDATE audit_chain SET sequence = sequence - ${String(by)},
          mac = (SELECT mac FROM audit_event WHERE seq = sequence - ${String(by)})`);
    await app.newPartner();
    const before = await sequence();
    await moveBack(2);
    await expectIntact();
    expect(await sequence()).toBe(before - 2);
    await moveBack(3);
    await app.newPartner();
    expect(await sequence()).toBe(before - 3);
  });

  it('cannot make a server start a new chain or record changes by removing the head', async () => {
    await superuser.query(`UPDATE audit_chain SET wrapped_key = NULL, mac = NULL, sequence = NULL`);
    const fresh = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl });
    await expect(fresh.asStaff('operator')).rejects.toThrow('the audit trail cannot record it');
    await fresh.close();
  });

  it('stops changes but not partners by inserting an event beyond the head', async () => {
    const partner = await app.asPartner();
    await superuser.query(forged(`${last} + 1`, `'\\x${'ab'.repeat(32)}'`));
    const { token } = await app.asStaff('operator');
    const answer = await app.request('PATCH', `${USERS}/${partner.id}`, { token, json: { notes: 'x' } });
    expect([answer.status, answer.json()['code']]).toEqual([500, 'audit.chain-broken']);
    expect((await app.request('GET', '/me', { token: partner.token })).status).toBe(200);
  });
});

describe('writing events', () => {
  it('keeps the events of one change together and in order', async () => {
    const { token } = await app.asStaff('operator');
    const before = await headOf();
    const { id } = await app.newPartner();
    const after = await headOf();
    expect(after.sequence - before.sequence).toBe(2);
    const { items } = (await app.request('GET', `/admin/audit-events?target=${id}`, { token })).json<{
      items: { action: string; at: string }[];
    }>();
    expect(items.map(({ action }) => action)).toEqual(['credential.created', 'channel-user.created']);
    expect(new Set(items.map(({ at }) => at)).size).toBe(1);
    const metrics = await scrape(app.opsUrl);
    expect(metrics.value('latchkey_audit_chain_sequence')).toBe(after.sequence);
    expect(metrics.value('latchkey_audit_events_total')).toBeGreaterThan(0);
  });

  it('keeps one chain without gaps when several instances write at once', async () => {
    const other = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl });
    const { token } = await app.asStaff('operator');
    const before = await headOf();
    // Both instances change each of these accounts at once.
    const partners = await Promise.all([app.newPartner(), app.newPartner(), app.newPartner()]);
    const changes = Array.from({ length: 60 }, (_, i) => {
      const path = `${USERS}/${partners[i % 3]?.id ?? ''}`;
      const json = { notes: `note ${String(i)}` };
      return () => (i % 2 ? app : other).request('PATCH', path, { token, json });
    });
    for (let i = 0; i < 60; i += 10) {
      const path = `${USERS}/${partners[i % 3]?.id ?? ''}/revoke-tokens`;
      changes.push(() => other.request('POST', path, { token, json: { reason: 'r' } }));
    }
    // The head of the trail is a queue, in which a request may wait for four seconds: few at a time, for slow machines.
    const answers = await inParallel(changes.length, 8, async (i) => changes[i]?.());
    for (const answer of answers) expect(answer?.status).toBeLessThan(300);
    const { rows } = await superuser.query<{ seq: string; at: Date }>(
      'SELECT seq, at FROM audit_event WHERE seq > $1 ORDER BY seq',
      [before.sequence],
    );
    expect(rows.map(({ seq }) => Number(seq))).toEqual(rows.map((_, i) => before.sequence + 1 + i));
    expect(rows).toHaveLength(6 + 66);
    await expectIntact();
    await expectIntact(other);
    await other.close();
  });

  it('is an error outside of a transaction of the trail and after its end', async () => {
    const audit = auditOf(app);
    const event = {
      actor: SYSTEM,
      action: 'test.done',
      target: { type: 'staff', id: SYSTEM.name, name: 'x' },
    } as const;
    await expect(
      app.dataSource.transaction((manager) => {
        audit.record(manager, event);
        return Promise.resolve();
      }),
    ).rejects.toThrow('outside of AuditService.transaction()');
    const manager = await audit.transaction((given) => Promise.resolve(given));
    expect(() => {
      audit.record(manager, event);
    }).toThrow('outside of AuditService.transaction()');
  });

  it('takes the lock on the head last, so a change that waits for it is otherwise complete', async () => {
    const { token } = await app.asStaff('operator');
    const partner = await app.newPartner();
    const holder = await connected(app.databaseUrl);
    await holder.query('BEGIN; SELECT FROM audit_chain FOR UPDATE');
    const change = app.request('PATCH', `${USERS}/${partner.id}`, { token, json: { notes: 'waited' } });
    // PostgreSQL may show that it waits a moment before it shows for what.
    const last = 'FROM audit_chain WHERE id FOR UPDATE';
    // A change that waits for the head has run all its other statements.
    const waiting = async (): Promise<string[]> =>
      (
        await superuser.query<{ query: string }>(
          `SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()`,
        )
      ).rows.map(({ query }) => query);
    try {
      await until(async () => (await waiting()).some((query) => query.includes(last)), last);
      expect(await waiting()).toHaveLength(1);
    } finally {
      await holder.query('COMMIT');
      await holder.end();
    }
    expect((await change).status).toBe(200);
    await expectIntact();
  });

  it('ends the transaction of an instance that freezes with the head for two seconds', async () => {
    const { token } = await app.asStaff('operator');
    const partner = await app.newPartner({ notes: 'before' });
    const freeze = freezeWithHead(app, 3_000);
    const answer = await app.request('PATCH', `${USERS}/${partner.id}`, { token, json: { notes: 'after' } });
    freeze.end();
    expect([freeze.hasFrozen, answer.status]).toEqual([true, 503]);
    const read = await app.request('GET', `${USERS}/${partner.id}`, { token });
    expect(read.json()['notes']).toBe('before');
    await expectIntact();
    // The timeout applies to no other transaction.
    const { rows } = await superuser.query<Record<string, string>>('SHOW idle_in_transaction_session_timeout');
    expect(rows).toEqual([{ idle_in_transaction_session_timeout: '0' }]);
    const settings = await Promise.all(
      Array.from({ length: 8 }, () => app.dataSource.query<unknown[]>('SHOW idle_in_transaction_session_timeout')),
    );
    expect(new Set(settings.map((setting) => JSON.stringify(setting)))).toEqual(
      new Set(['[{"idle_in_transaction_session_timeout":"0"}]']),
    );
  });

  it('refuses an event of an older version, which does not know the chain', async () => {
    await expect(
      app.dataSource.query(
        `INSERT INTO audit_event (id, at, actor_type, action, target_type, target_id, target_personal, changes)
         VALUES (gen_random_uuid(), now(), 'system', 'x.y', 'staff', gen_random_uuid(), '\\x00', '{}')`,
      ),
    ).rejects.toThrow('audit_event is chained');
    for (const sql of ['DELETE FROM audit_chain', 'TRUNCATE audit_chain']) {
      await expect(app.dataSource.query(sql)).rejects.toThrow('audit_chain is kept');
    }
  });

  it('starts one chain over all existing events when several instances start at once', async () => {
    const { url, drop } = await createDatabase();
    const old = await connected(url);
    await old.query('INSERT INTO audit_event OVERRIDING SYSTEM VALUE SELECT * FROM audit_event');
    const config = { ...app.config, databaseUrl: url };
    const instances = await Promise.all([TestApp.start(config), TestApp.start(config), TestApp.start(config)]);
    await Promise.all(instances.map((instance) => instance.asStaff('admin')));
    for (const instance of instances) await expectIntact(instance);
    await Promise.all(instances.map((instance) => instance.close()));
    await old.end();
    await drop();
  });
});

describe('the key for the personal data of a subject', () => {
  const named = async (target: string): Promise<{ action: string; target: string; reason: string | null }[]> => {
    const { token } = await app.asStaff('viewer');
    const answer = await app.request('GET', `/admin/audit-events?target=${target}`, { token });
    expect(answer.status).toBe(200);
    const { items } = answer.json<{ items: { action: string; target: { name: string }; reason: string | null }[] }>();
    return items.map((item) => ({ action: item.action, target: item.target.name, reason: item.reason }));
  };

  it('is missed when it is deleted without an erasure, even after a new key has replaced it', async () => {
    const admin = await app.asStaff('admin');
    const partner = await app.newPartner({ notes: 'noted' });
    const other = await app.newPartner();
    await expectIntact();
    await superuser.query('DELETE FROM personal_key WHERE subject_id = ANY($1)', [[partner.id, other.id]]);
    expect((await named(partner.id))[0]?.target).toBe('[erased]');
    const { kinds, findings } = await verify();
    expect(kinds).toEqual(['unreadable']);
    expect(findings.map(({ detail }) => detail)).toEqual(
      [partner, other].map(({ id }) => expect.stringContaining(`the key of ${id} was deleted`) as string),
    );
    for (const { id } of [partner, other]) {
      const json = { notes: 'anew' };
      expect((await app.request('PATCH', `${USERS}/${id}`, { token: admin.token, json })).status).toBe(200);
    }
    expect((await verify()).findings.map(({ detail }) => detail)).toEqual(
      [partner, other].map(({ id }) => expect.stringContaining(`the key of ${id} was replaced`) as string),
    );
    // An erasure explains why earlier parts are unreadable.
    for (const { id } of [partner, other]) {
      expect((await app.request('DELETE', `${USERS}/${id}`, { token: admin.token })).status).toBe(204);
      expect((await runCommand(app, ['audit', 'erase', '--subject', id])).code).toBe(0);
    }
    await expectIntact();
  });

  it('is missed when it is deleted without an erasure for a staff member', async () => {
    const member = await app.newStaff('operator');
    const { id } = await app.newPartner();
    await app.request('PATCH', `${USERS}/${id}`, { token: member.token, json: { notes: 'by a member' } });
    await superuser.query('CREATE TABLE kept_key AS SELECT * FROM personal_key');
    await superuser.query('DELETE FROM personal_key WHERE subject_id = $1', [member.id]);
    const { kinds, findings } = await verify();
    await superuser.query(
      'INSERT INTO personal_key SELECT * FROM kept_key ON CONFLICT DO NOTHING; DROP TABLE kept_key',
    );
    expect(kinds).toEqual(['unreadable']);
    expect(findings[0]?.detail).toContain(member.id);
    await expectIntact();
  });

  it("is reported when it is damaged, and only changes in that subject's name fail", async () => {
    const admin = await app.asStaff('admin');
    const partner = await app.newPartner({ notes: 'noted' });
    const { rows } = await superuser.query<{ key: Buffer }>(
      'SELECT wrapped_key AS key FROM personal_key WHERE subject_id = $1',
      [partner.id],
    );
    const key = rows[0]?.key ?? Buffer.alloc(0);
    const damage = (bytes: Buffer): Promise<unknown> =>
      superuser.query('UPDATE personal_key SET wrapped_key = $2 WHERE subject_id = $1', [partner.id, bytes]);
    const flipped = Buffer.from(key);
    flipped[40] = (flipped[40] ?? 0) ^ 1;
    for (const bytes of [Buffer.alloc(1), flipped, Buffer.alloc(65, 1)]) {
      await damage(bytes);
      expect(await named(partner.id)).toEqual([
        { action: 'credential.created', target: '[unreadable]', reason: '[unreadable]' },
        { action: 'channel-user.created', target: '[unreadable]', reason: '[unreadable]' },
      ]);
      const file = await app.request('GET', '/admin/audit-events/export', { token: admin.token });
      expect([file.status, file.text.includes(partner.id)]).toEqual([200, true]);
      const { kinds, findings } = await verify();
      expect(kinds).toEqual(['unreadable']);
      expect(findings).toHaveLength(1);
      expect(findings[0]?.detail).toContain(`the key of ${partner.id} cannot be decrypted`);
      const suspended = await app.request('POST', `${USERS}/${partner.id}/suspend`, {
        token: admin.token,
        json: { reason: 'r' },
      });
      expect([suspended.status, suspended.json()['code']]).toEqual([500, 'audit.key-unreadable']);
      expect((await app.newPartner()).id).not.toBe('');
      // A damaged personal key does not stop the re-encryption.
      expect((await reencrypt(app)).personalKeys).toBe(0);
    }
    await damage(key);
    await expectIntact();
    const json = { reason: 'r' };
    expect((await app.request('POST', `${USERS}/${partner.id}/suspend`, { token: admin.token, json })).status).toBe(
      200,
    );
    expect((await named(partner.id))[0]?.target).toBe(partner.username);
  });
});

describe('the chain stays verifiable', () => {
  it('and keeps the personal key of a staff member whose account exists', async () => {
    const { id } = await app.asStaff('operator');
    expect(await runCommand(app, ['audit', 'erase', '--subject', id])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('still exists') as string,
    });
  });

  it('after a person is erased', async () => {
    const partner = await app.newPartner({ notes: 'to be erased' });
    const admin = await app.asStaff('admin');
    const erase = (...args: string[]): Promise<Ended> => runCommand(app, ['audit', 'erase', '--subject', ...args]);
    expect(await erase(partner.id)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('still exists') as string,
    });
    await app.request('DELETE', `${USERS}/${partner.id}`, { token: admin.token });
    expect((await erase(partner.id, '--reason', 'asked for')).code).toBe(0);
    const answer = await app.request('GET', `/admin/audit-events?target=${partner.id}`, { token: admin.token });
    expect(answer.text).not.toContain(partner.username);
    expect(answer.text).not.toContain('to be erased');
    const { items } = answer.json<{ items: { action: string; reason: string; target: unknown }[] }>();
    expect(items[0]).toMatchObject({
      action: 'personal-data.erased',
      reason: 'asked for',
      target: { type: 'channel-user', id: partner.id, name: '[erased]' },
    });
    expect(items.map(({ action }) => action).slice(1)).toEqual([
      'channel-user.deleted',
      'credential.created',
      'channel-user.created',
    ]);
    await expectIntact();
    expect(await erase('3f8f54a6-5f0a-4d2e-9a53-0c4a5b8d7e11')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no personal data') as string,
    });
  });

  it('after the key encryption key is replaced', async () => {
    const [old] = app.config.keyEncryptionKeys;
    const next = randomBytes(32);
    const during = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl, keyEncryptionKeys: [next, old] });
    expect((await reencrypt(during)).personalKeys).toBeGreaterThan(0);
    await during.close();
    const { token } = await app.asStaff('operator');
    const after = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl, keyEncryptionKeys: [next] });
    await expectIntact(after);
    await after.asStaff('viewer');
    await expectIntact(after);
    expect((await headOf(after)).sequence).toBeGreaterThan(0);
    // Puts the keys back for the tests that follow.
    const back = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl, keyEncryptionKeys: [old, next] });
    await reencrypt(back);
    await back.close();
    await after.close();
    expect((await app.request('GET', CHAIN, { token })).status).toBe(200);
  });
});

describe('the API of the chain', () => {
  interface State {
    head: { sequence: number; mac: string; at: string };
    verified: { at: string; sequence: number; ok: boolean; problem: string | null } | null;
    verifying: boolean;
  }
  const settled = async (token: string): Promise<State> => {
    let state: State;
    do state = (await app.request('GET', CHAIN, { token })).json<State>();
    while (state.verifying);
    return state;
  };

  it('shows viewers the head and lets admins verify', async () => {
    const viewer = await app.asStaff('viewer');
    const admin = await app.asStaff('admin');
    const operator = await app.asStaff('operator');
    const before = (await app.request('GET', CHAIN, { token: viewer.token })).json<State>();
    expect(before).toEqual({
      head: {
        sequence: await sequenceInTable(),
        mac: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        at: expect.stringMatching(/^\d{4}-.*Z$/) as string,
      },
      verified: null,
      verifying: false,
    });
    expect((await app.request('POST', `${CHAIN}/verify`, { token: operator.token })).status).toBe(403);
    const accepted = await app.request('POST', `${CHAIN}/verify`, { token: admin.token });
    expect([accepted.status, accepted.json<State>().verifying]).toEqual([202, true]);
    const after = await settled(viewer.token);
    expect(after.verified).toMatchObject({ sequence: before.head.sequence, ok: true, problem: null });

    await superuser.query('ALTER TABLE audit_event DISABLE TRIGGER USER');
    await superuser.query(`UPDATE audit_event SET action = 'channel-user.nothing' WHERE seq = ${nth(4)}`);
    await superuser.query('ALTER TABLE audit_event ENABLE TRIGGER USER');
    await app.request('POST', `${CHAIN}/verify`, { token: admin.token });
    const broken = await settled(viewer.token);
    expect(broken.verified).toMatchObject({
      ok: false,
      problem: expect.stringMatching(/^Event \d+ was changed after it was written$/) as string,
    });
    await superuser.query(`UPDATE audit_event e SET action = k.action FROM kept_event k WHERE k.seq = e.seq`);

    // A result that Latchkey did not write counts as none.
    await superuser.query(`UPDATE audit_chain SET verified = '\\x00'`);
    expect((await settled(viewer.token)).verified).toBeNull();
  });

  it('runs beside other tasks, and logs when another instance verifies already', async () => {
    const admin = await app.asStaff('admin');
    const asked = async (): Promise<State> =>
      (await app.request('POST', `${CHAIN}/verify`, { token: admin.token })).json<State>();
    const { chainVerification, ...others } = ADVISORY_LOCKS;
    const locks = Object.values(others);
    await superuser.query('SELECT pg_advisory_lock(number) FROM unnest($1::bigint[]) AS number', [locks]);
    expect((await asked()).verifying).toBe(true);
    const first = await settled(admin.token);
    await superuser.query('SELECT pg_advisory_unlock_all()');
    expect(first.verified?.sequence).toBe(first.head.sequence);

    const warnings = (): number =>
      logLines().filter(({ msg }) => String(msg).includes('another instance is doing so')).length;
    const before = warnings();
    await superuser.query('SELECT pg_advisory_lock($1)', [chainVerification]);
    const elsewhere = await asked();
    await superuser.query('SELECT pg_advisory_unlock_all()');
    expect(elsewhere).toMatchObject({ verifying: true, verified: first.verified });
    expect(warnings()).toBe(before + 1);
    expect(await settled(admin.token)).toMatchObject({ verifying: false, verified: first.verified });
  });

  it('verifies once a day on one of several instances', async () => {
    const other = await TestApp.start({ ...app.config, databaseUrl: app.databaseUrl });
    const { token } = await app.asStaff('viewer');
    await Promise.all([app, other].map((each) => each.runTask(VERIFICATION)));
    const first = (await settled(token)).verified;
    expect(first?.ok).toBe(true);
    await app.runTask(VERIFICATION);
    expect((await settled(token)).verified).toEqual(first);
    app.clockOffset = 86_400_000;
    await app.runTask(VERIFICATION);
    app.clockOffset = 0;
    expect((await settled(token)).verified?.at).not.toBe(first?.at);
    await other.close();
  });
});

describe('the command line of the chain', () => {
  const cli = async (args: string[], env: Record<string, string> = {}): Promise<{ code: number; output: string }> => {
    const { code, stdout, stderr } = await runCommand(app, ['audit', ...args], { env });
    return { code, output: stdout + stderr };
  };
  const NOWHERE = { DATABASE_URL: 'postgres://nobody@127.0.0.1:1/nothing' };

  it('verifies the chain, also against a kept head, and exits with 1 after a finding', async () => {
    const head = await cli(['head']);
    expect(JSON.parse(head.output)).toEqual({
      sequence: (await headOf()).sequence,
      mac: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
      at: expect.any(String) as string,
    });
    const file = path.join(folder, 'head.json');
    await writeFile(file, head.output);
    const intact = await cli(['verify', '--head', file]);
    const { rows } = await superuser.query<{ count: string }>('SELECT count(*) FROM audit_event');
    expect(intact).toEqual({
      code: 0,
      output: expect.stringMatching(`^Intact: ${rows[0]?.count ?? ''} events, head \\d+ [0-9a-f]{64}\n$`) as string,
    });
    await superuser.query(
      'CREATE TABLE cut AS SELECT * FROM audit_event WHERE seq = (SELECT sequence FROM audit_chain)',
    );
    await superuser.query('DELETE FROM audit_event WHERE seq = (SELECT sequence FROM audit_chain)');
    const broken = await cli(['verify', '--head', file]);
    await superuser.query('INSERT INTO audit_event OVERRIDING SYSTEM VALUE SELECT * FROM cut; DROP TABLE cut');
    expect(broken.code).toBe(1);
    expect(broken.output).toMatch(/^Broken: event \d+/);
    expect(broken.output).toContain('Found: truncated.');
    expect((await cli(['verify'])).code).toBe(0);
  });

  it('never starts a chain to verify it or to print its head', async () => {
    await superuser.query(`CREATE TABLE whole_chain AS TABLE audit_chain;
      UPDATE audit_chain SET wrapped_key = NULL, mac = NULL, sequence = NULL, at = NULL, verified = NULL,
        genesis_mac = NULL, genesis_events = NULL, genesis_sequence = NULL;
      CREATE TABLE whole_event AS TABLE audit_event; UPDATE audit_event SET mac = NULL`);
    const ends = [await cli(['verify']), await cli(['head'])];
    const { rows } = await superuser.query<{ begun: boolean }>(
      'SELECT wrapped_key IS NOT NULL AS begun FROM audit_chain',
    );
    await superuser.query(`DELETE FROM audit_chain; INSERT INTO audit_chain SELECT * FROM whole_chain;
      UPDATE audit_event e SET mac = w.mac FROM whole_event w WHERE w.seq = e.seq; DROP TABLE whole_chain, whole_event`);
    for (const { code, output } of ends) {
      expect(code).toBe(1);
      expect(output).toContain('The audit trail has no chain.');
    }
    expect(rows).toEqual([{ begun: false }]);
    await expectIntact();
  });

  it('checks an export against a kept head', async () => {
    const file = path.join(folder, 'whole.ndjson');
    const part = path.join(folder, 'after.ndjson');
    const kept = path.join(folder, 'kept.json');
    expect((await cli(['export', '--file', file])).code).toBe(0);
    const lines = (await readFile(file, 'utf8')).trimEnd().split('\n');
    const tail = JSON.parse(lines.pop() ?? '') as Record<'head' | 'genesis', { sequence: number; mac: string }>;
    const events = lines.map((line) => JSON.parse(line) as { sequence: number; mac: string; at: string });
    const old = events.find(({ sequence }) => sequence === tail.genesis.sequence + 3);
    const other = '0'.repeat(64);
    const against = async (of: string, head: unknown): Promise<{ code: number; output: string }> => {
      await writeFile(kept, JSON.stringify(head));
      return cli(['verify', '--export', of, '--head', kept], NOWHERE);
    };
    for (const head of [tail.head, old, tail.genesis]) {
      expect(await against(file, head)).toMatchObject({ code: 0, output: expect.stringMatching(/^Intact/) as string });
    }
    for (const head of [tail.head, old, tail.genesis]) {
      expect(await against(file, { ...head, mac: other })).toMatchObject({
        code: 1,
        output: expect.stringContaining('Found: truncated.') as string,
      });
    }
    const { sequence } = tail.head;
    expect((await against(file, { sequence: sequence + 5, mac: other })).output).toMatch(
      `Broken: event ${String(sequence + 1)} is missing: the saved head is ${String(sequence + 5)}.`,
    );
    expect((await against(file, { sequence: tail.genesis.sequence - 1, mac: other })).output).toContain(
      'the chain was replaced',
    );
    // A partial export cannot check a head from before its first event.
    const from = new Date(Date.parse(events.at(-1)?.at ?? '')).toISOString();
    expect((await cli(['export', '--from', from, '--file', part])).code).toBe(0);
    expect((await against(part, tail.head)).code).toBe(0);
    const beside = await against(part, old);
    expect([beside.code, beside.output]).toEqual([1, expect.stringContaining('does not contain event')]);
  });

  it('exports events with a proof that needs only the key encryption key', async () => {
    const file = path.join(folder, 'trail.ndjson');
    expect((await cli(['export', '--file', file])).code).toBe(0);
    const text = await readFile(file, 'utf8');
    const lines = text.trimEnd().split('\n');
    const tail = JSON.parse(lines.pop() ?? '') as { head: { sequence: number; mac: string }; events: number };
    const head = await headOf();
    expect(tail.head).toMatchObject({ sequence: head.sequence, mac: head.mac });
    expect(tail.events).toBe(lines.length);
    const events = lines.map((line) => JSON.parse(line) as { sequence: number; mac: string; action: string });
    expect(events.at(-1)).toMatchObject({ sequence: head.sequence, mac: head.mac });
    const verified = await cli(['verify', '--export', file], NOWHERE);
    expect(verified).toMatchObject({
      code: 0,
      output: expect.stringMatching(`^Intact: ${String(lines.length)} events`) as string,
    });

    const part = path.join(folder, 'part.ndjson');
    const from = new Date(Date.now() - 3_600_000).toISOString();
    expect((await cli(['export', '--from', from, '--file', part])).code).toBe(0);
    expect((await cli(['verify', '--export', part], NOWHERE)).code).toBe(0);
    const partText = await readFile(part, 'utf8');
    expect(partText).not.toContain('test.old');

    const all = partText.trimEnd().split('\n');
    const changed: [string, string[]][] = [
      ['a name', all.map((line, i) => (i === 2 ? line.replace(/"name":"[^"]+"/, '"name":"Mallory"') : line))],
      ['an action', all.map((line, i) => (i === 2 ? line.replace(/"action":"[^"]+"/, '"action":"x.y"') : line))],
      ['a line gone', all.filter((_, i) => i !== 2)],
      ['a line twice', [...all.slice(0, 3), ...all.slice(2)]],
      ['two exchanged', [...all.slice(0, 2), all[3] ?? '', all[2] ?? '', ...all.slice(4)]],
      ['the first gone', all.slice(1)],
      ['the end gone', all.slice(0, -1)],
      ['the end but for the head gone', [...all.slice(0, -3), ...all.slice(-1)]],
      ['another head', [...all.slice(0, -1), (all.at(-1) ?? '').replace(/"sequence":\d/, '"sequence":9')]],
      ...['head', 'before', 'genesis', 'key', 'seal'].map((field): [string, string[]] => [
        `the last line without its ${field}`,
        [...all.slice(0, -1), (all.at(-1) ?? '').replace(`"${field}":`, '"other":')],
      ]),
    ];
    for (const [what, anew] of changed) {
      expect([what, anew.join('\n') === all.join('\n')]).toEqual([what, false]);
      await writeFile(part, `${anew.join('\n')}\n`);
      const { code, output } = await cli(['verify', '--export', part], NOWHERE);
      expect([what, code, output.startsWith('Broken: event')]).toEqual([what, 1, true]);
    }
    const stranger = { ...NOWHERE, KEY_ENCRYPTION_KEY: secret(randomBytes(32).toString('base64')) };
    expect((await cli(['verify', '--export', file], stranger)).code).toBe(1);
  });

  it('erases personal data', async () => {
    const partner = await app.newPartner();
    const { token } = await app.asStaff('admin');
    expect((await cli(['erase', '--subject', partner.id])).output).toContain('still exists');
    await app.request('DELETE', `${USERS}/${partner.id}`, { token });
    expect((await cli(['erase', '--subject', partner.id, '--reason', 'asked'])).code).toBe(0);
    const trail = await app.request('GET', `/admin/audit-events?target=${partner.id}`, { token });
    expect(trail.text).not.toContain(partner.username);
    expect(trail.json<{ items: { action: string; actor: unknown }[] }>().items[0]).toMatchObject({
      action: 'personal-data.erased',
      actor: { type: 'cli' },
    });
    expect((await cli(['erase', '--subject', 'nobody'])).code).toBe(1);
    await expectIntact();
  });
});
