import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { DataSource, type EntityManager } from 'typeorm';
import { Clock } from '../common/clock.ts';
import { every } from '../common/every.ts';
import { uniqueViolation } from '../common/postgres-errors.ts';
import { DecryptionError, EncryptionService, seal, unseal } from '../encryption/encryption.service.ts';
import { BrokenChainError } from './audit.errors.ts';
import {
  ChainVerifier,
  type Finding,
  type FindingKind,
  Genesis,
  isSame,
  type Link,
  type LinkedEvent,
  macOf,
  MAX_FINDINGS,
  type StoredEvent,
  storedTime,
} from './chain-link.ts';
import { type UnreadablePart, unreadableParts } from './personal-part.ts';

/** An event that has yet to get its place. `changes` is JSON in any form. */
export type UnlinkedEvent = Omit<StoredEvent, 'sequence' | 'at'>;

/** Where the chain ends. */
export interface ChainHead extends Link {
  /** When the last event was written; `null` while there is none since the chain began. */
  readonly at: Date | null;
}

/** What the last verification found, here or on another instance. */
export interface Verification {
  readonly at: Date;
  /** How far the chain was looked at. */
  readonly sequence: number;
  readonly ok: boolean;
  /** The first thing that does not fit, in words. */
  readonly problem: string | null;
}

export interface ChainReport {
  /** Those from before the chain included. */
  readonly events: number;
  readonly head: ChainHead | undefined;
  readonly kinds: readonly FindingKind[];
  /** By place; of very many the first. */
  readonly findings: readonly Finding[];
}

interface HeadRow {
  wrappedKey: Buffer;
  genesisSequence: string;
  genesisEvents: string;
  genesisMac: Buffer;
  sequence: string;
  mac: Buffer;
  at: Date | null;
  verified: Buffer | null;
}

/** As the table has it: all of them are absent until the chain has begun. */
type StoredHead = { [K in keyof HeadRow]: HeadRow[K] | null };

/** Events that were read at once, and the places that they are all of. */
interface EventPage {
  readonly events: readonly LinkedEvent[];
  readonly after: string;
  readonly upTo: string;
}

export const CHAIN_KEY_CONTEXT = 'audit-chain';
const VERIFIED_CONTEXT = 'audit-chain:verified';
const READ_AT_ONCE = 1_000;
const GENESIS_POLL_MS = 200;
/** How often it is asked whether the daily verification is due. */
const SCHEDULE_MS = 3_600_000;
const DAY_MS = 86_400_000;
/** Any number will do, as long as every instance takes the same. */
const VERIFICATION_LOCK = 7_236_030;
const BEFORE_ALL = '-9223372036854775808';

const HEAD = `
  SELECT wrapped_key AS "wrappedKey", genesis_sequence AS "genesisSequence", genesis_events AS "genesisEvents",
    genesis_mac AS "genesisMac", sequence, mac, at, verified
  FROM audit_chain WHERE id`;

/**
 * The last lock of the transaction. An instance that freezes while it holds it must not stop all others; the setting
 * ends with the transaction, whoever gets its connection next. PostgreSQL writes the changes as it will store them.
 */
const LOCK_HEAD = `
  SELECT wrapped_key AS "wrappedKey", sequence, mac,
    set_config('idle_in_transaction_session_timeout', '2s', true),
    ARRAY(SELECT text::jsonb::text FROM unnest($1::text[]) WITH ORDINALITY AS change (text, n) ORDER BY n) AS changes
  FROM audit_chain WHERE id FOR UPDATE`;

const APPEND = `
  WITH moved AS (
    UPDATE audit_chain SET sequence = $2, mac = $3, at = $4 WHERE id AND sequence = $1 RETURNING id
  )
  INSERT INTO audit_event (seq, id, at, actor_type, actor_id, actor_personal, action, target_type, target_id,
    target_personal, changes, request_id, mac)
  OVERRIDING SYSTEM VALUE
  SELECT event.sequence, event.id, $4, event."actorType", event."actorId", decode(event."actorPersonal", 'hex'),
    event.action, event."targetType", event."targetId", decode(event."targetPersonal", 'hex'), event.changes::jsonb,
    event."requestId", decode(event.mac, 'hex')
  FROM moved, json_to_recordset($5::json) AS event (sequence bigint, id uuid, "actorType" text, "actorId" uuid,
    "actorPersonal" text, action text, "targetType" text, "targetId" uuid, "targetPersonal" text, changes text,
    "requestId" text, mac text)
  RETURNING seq`;

/** Without an upper bound: with both, a planner that knows no numbers yet reads and sorts the whole rest each time. */
const EVENTS = `
  SELECT seq AS sequence, id, to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US BC') AS at,
    actor_type AS "actorType", actor_id AS "actorId", actor_personal AS "actorPersonal", action,
    target_type AS "targetType", target_id AS "targetId", target_personal AS "targetPersonal", changes::text AS changes,
    request_id AS "requestId", mac
  FROM audit_event WHERE seq > $1 ORDER BY seq LIMIT ${String(READ_AT_ONCE)}`;

/**
 * The chain of the audit trail: each event's MAC covers the event and the MAC before it.
 *
 * Its key is random and wrapped under the key encryption key, not derived from it: when that is replaced, the chain's
 * key is wrapped anew and stays what it is, so that old events are verified as before.
 */
@Injectable()
export class AuditChain implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger(AuditChain.name);
  #hasBegun: Promise<void> | undefined;
  #unwrapped: { wrappedKey: Buffer; key: Buffer } | undefined;
  #verifying: { here: Promise<boolean>; done: Promise<void> } | undefined;
  #timer: NodeJS.Timeout | undefined;
  #isStopping = false;
  #events = 0;
  #sequence: number | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly clock: Clock,
  ) {}

  /** A chain that cannot be begun or continued stops changes, not partners. */
  async onApplicationBootstrap(): Promise<void> {
    try {
      await this.begun();
      await this.head();
    } catch (error) {
      this.#logger.error(`The audit trail cannot be written: ${reasonOf(error)}`);
    }
    this.#timer = every(
      SCHEDULE_MS,
      () => this.verifyWhenDue(),
      (reason) => {
        this.#logger.warn(`The audit trail was not verified: ${reason}`);
      },
    );
  }

  async onModuleDestroy(): Promise<void> {
    clearInterval(this.#timer);
    this.#isStopping = true;
    await this.#verifying?.done;
  }

  /** How many events this instance wrote, and the last place in the chain that it knows: one that falls was moved back. */
  get stats(): { readonly events: number; readonly sequence: number | undefined } {
    return { events: this.#events, sequence: this.#sequence };
  }

  /** Resolves when the chain has a first MAC, which covers every event from before it. */
  begun(): Promise<void> {
    this.#hasBegun ??= this.#begin().catch((error: unknown) => {
      this.#hasBegun = undefined;
      throw error;
    });
    return this.#hasBegun;
  }

  /** Whether there is a chain, without beginning one. */
  async exists(): Promise<boolean> {
    return (await this.#stored())?.wrappedKey != null;
  }

  /**
   * Writes events at the end of the chain. Nothing may follow in the transaction but its commit: the head is held.
   *
   * @param manager the transaction's
   * @throws BrokenChainError
   */
  async append(manager: EntityManager, events: readonly UnlinkedEvent[]): Promise<Link> {
    const changes = events.map((event) => event.changes);
    type Held = Pick<StoredHead, 'wrappedKey' | 'sequence' | 'mac'> & { changes: string[] };
    const [head] = await manager.query<Held[]>(LOCK_HEAD, [changes]);
    if (!head) throw new BrokenChainError('its head is missing');
    const key = this.#keyOf(head);
    if (head.sequence === null || !head.mac) throw new BrokenChainError('its head is not whole');
    const at = new Date(this.clock.now());
    const first = Number(head.sequence);
    // It is held, and what this instance knows was committed.
    if (first < (this.#sequence ?? first)) this.#fellTo(first);
    let last: Link = { sequence: first, mac: head.mac };
    const rows = events.map((event, i) => {
      const stored = { ...event, sequence: last.sequence + 1, at: storedTime(at), changes: head.changes[i] ?? '' };
      last = { sequence: stored.sequence, mac: macOf(key, last.mac, stored) };
      return {
        ...stored,
        actorPersonal: event.actorPersonal?.toString('hex') ?? null,
        targetPersonal: event.targetPersonal.toString('hex'),
        mac: last.mac.toString('hex'),
      };
    });
    try {
      const written = await manager.query<unknown[]>(APPEND, [
        first,
        last.sequence,
        last.mac,
        at,
        JSON.stringify(rows),
      ]);
      if (written.length !== rows.length) throw new BrokenChainError('its head has moved although it was held');
    } catch (error) {
      if (uniqueViolation(error) !== 'pk_audit_event') throw error;
      throw new BrokenChainError('there are events beyond its head', error);
    }
    return last;
  }

  /** To be told once the transaction of {@link append} was committed. */
  appended(count: number, { sequence }: Link): void {
    this.#events += count;
    this.#sequence = Math.max(this.#sequence ?? 0, sequence);
  }

  /** @throws BrokenChainError */
  async head(): Promise<ChainHead> {
    return linkOf(await this.#row());
  }

  /** The head, what the last verification found, and whether one runs. @throws BrokenChainError */
  async state(): Promise<{ head: ChainHead; verified: Verification | null; verifying: boolean }> {
    // Before the row: once nothing runs any more, that has what was found.
    const [lock] = await this.dataSource.query<{ held: boolean }[]>(
      `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = $1 AND objsubid = 1
         AND database = (SELECT oid FROM pg_database WHERE datname = current_database())) AS held`,
      [VERIFICATION_LOCK],
    );
    const verifying = this.#verifying !== undefined || lock?.held === true;
    const row = await this.#row();
    return { head: linkOf(row), verified: this.#verificationOf(row), verifying };
  }

  /**
   * Verifies the whole chain in the background, unless that happens already, here or on another instance. All of it:
   * the part that was verified yesterday can be edited today.
   *
   * @returns once it is known, whether this instance verifies now; if not, the log says why
   */
  async verifyInBackground(): Promise<boolean> {
    const isHere = await this.#verifyHere().here;
    if (!isHere) {
      this.#logger.warn(
        'Asked to verify the audit trail, this instance does not: another is at it, or it just said why',
      );
    }
    return isHere;
  }

  /** Verifies once a day. Of several instances one does it. */
  async verifyWhenDue(): Promise<void> {
    const { verified } = await this.state();
    if (verified && verified.at.getTime() > this.clock.now() - DAY_MS) return;
    await this.#verifyHere().done;
  }

  /**
   * Follows the whole chain, in constant memory.
   *
   * @param expected a head that was kept elsewhere
   */
  async verify(expected?: Link, manager = this.dataSource.manager): Promise<ChainReport> {
    let row: HeadRow;
    let key: Buffer;
    try {
      row = await this.#row(manager);
      key = this.#keyOf(row);
    } catch (error) {
      if (!(error instanceof BrokenChainError)) throw error;
      const finding = { kind: 'missing', sequence: 0, detail: `is out of reach: ${error.reason}` } as const;
      return { events: 0, head: undefined, kinds: ['missing'], findings: [finding] };
    }
    const head = linkOf(row);
    const start = { sequence: Number(row.genesisSequence), mac: row.genesisMac };
    const verifier = new ChainVerifier(key, start, expected);
    const genesis = new Genesis(key);
    const unreadable = new Map<string, UnreadablePart>();
    const open = async (events: readonly StoredEvent[]): Promise<void> => {
      for await (const part of unreadableParts(manager, this.encryption, events)) {
        if (unreadable.size < MAX_FINDINGS && !unreadable.has(part.subject)) unreadable.set(part.subject, part);
      }
    };
    await this.#countOutside(manager, verifier);
    for await (const page of this.#pages(BEFORE_ALL, row.genesisSequence, manager)) {
      for (const event of page.events) {
        if (event.mac === null) genesis.add(event);
        else verifier.found('inserted', event.sequence, 'has a link, and the place of an event from before the chain');
      }
      await this.#count(page, manager, verifier);
      await open(page.events.filter(({ mac }) => mac === null));
    }
    // What is not as it was need not open.
    if (!this.#compare(genesis, row, verifier)) unreadable.clear();
    for await (const page of this.#pages(row.genesisSequence, row.sequence, manager)) {
      const genuine = page.events.filter((event) => verifier.add(event));
      await this.#count(page, manager, verifier);
      await open(genuine);
    }
    for (const { sequence, detail } of unreadable.values()) verifier.found('unreadable', sequence, detail);
    // One statement: what is written meanwhile comes with its head.
    const beyond = await manager.query<{ sequence: string }[]>(
      'SELECT seq AS sequence FROM audit_event WHERE seq > (SELECT sequence FROM audit_chain) ORDER BY seq LIMIT 10',
    );
    for (const { sequence } of beyond) verifier.found('inserted', Number(sequence), 'comes after the head');
    const findings = verifier.end(head);
    return { events: genesis.events + verifier.events, head, kinds: [...verifier.kinds].sort(), findings };
  }

  /**
   * Events in the order of the chain, read page by page.
   *
   * @param after the sequence before the first
   * @param upTo the sequence of the last
   */
  async *events(
    after: string | number,
    upTo: string | number,
    manager = this.dataSource.manager,
  ): AsyncGenerator<LinkedEvent> {
    for await (const page of this.#pages(String(after), String(upTo), manager)) yield* page.events;
  }

  /** What a file needs that is to be verified without the database. @throws BrokenChainError */
  async anchor(): Promise<{ head: ChainHead; genesis: Link & { events: number }; wrappedKey: Buffer; key: Buffer }> {
    const row = await this.#row();
    const key = this.#keyOf(row);
    const genesis = {
      sequence: Number(row.genesisSequence),
      events: Number(row.genesisEvents),
      mac: row.genesisMac,
    };
    return { head: linkOf(row), genesis, wrappedKey: row.wrappedKey, key };
  }

  /**
   * Wraps the key of the chain anew under the newest key encryption key.
   *
   * @returns whether it was under another one
   */
  async reencrypt(): Promise<boolean> {
    await this.begun();
    const { wrappedKey } = await this.#row();
    const rewrapped = this.encryption.renewed(wrappedKey, CHAIN_KEY_CONTEXT);
    if (!rewrapped) return false;
    await this.dataSource.query('UPDATE audit_chain SET wrapped_key = $1 WHERE id', [rewrapped]);
    return true;
  }

  async *#pages(after: string, upTo: string, manager: EntityManager): AsyncGenerator<EventPage> {
    for (;;) {
      if (this.#isStopping) throw new Error('the application is stopping');
      const rows = await manager.query<(Omit<LinkedEvent, 'sequence'> & { sequence: string })[]>(EVENTS, [after]);
      const all = rows.map((row) => ({ ...row, sequence: Number(row.sequence) }));
      const events = all.filter(({ sequence }) => sequence <= Number(upTo));
      const isLast = rows.length < READ_AT_ONCE || events.length < rows.length;
      const last = rows.at(-1)?.sequence ?? after;
      yield { events, after, upTo: isLast ? upTo : last };
      if (isLast) return;
      after = last;
    }
  }

  /** Where the primary key was dropped, an event with the place of a page's last is on no page. */
  async #count({ events, after, upTo }: EventPage, manager: EntityManager, verifier: ChainVerifier): Promise<void> {
    const [row] = await manager.query<{ count: string }[]>(
      'SELECT count(*) AS count FROM audit_event WHERE seq > $1 AND seq <= $2',
      [after, upTo],
    );
    const more = Number(row?.count) - events.length;
    if (more > 0) verifier.found('inserted', Number(upTo), `shares its place with ${String(more)} more`);
    if (more < 0) verifier.found('missing', Number(upTo), `or one of those before it went while they were read`);
  }

  /** What no page begins early enough for. */
  async #countOutside(manager: EntityManager, verifier: ChainVerifier): Promise<void> {
    const [row] = await manager.query<{ count: string }[]>(
      'SELECT count(*) AS count FROM audit_event WHERE seq <= $1 OR seq IS NULL',
      [BEFORE_ALL],
    );
    const count = Number(row?.count);
    if (count > 0) verifier.found('inserted', 0, `is one of ${String(count)} without a place that a chain has`);
  }

  /** @returns whether the events from before the chain are as they were when it began */
  #compare(genesis: Genesis, row: HeadRow, verifier: ChainVerifier): boolean {
    const lacking = Number(row.genesisEvents) - genesis.events;
    const mac = genesis.mac();
    if (lacking === 0 && genesis.sequence === Number(row.genesisSequence) && isSame(mac, row.genesisMac)) {
      return true;
    }
    const kind = lacking > 0 ? 'missing' : lacking < 0 ? 'inserted' : 'edited';
    const detail = {
      missing: `${String(lacking)} of the events from before the chain are missing`,
      inserted: `${String(-lacking)} events were added to those from before the chain`,
      edited: 'an event from before the chain is not as it was, or not where it was',
    }[kind];
    verifier.found(kind, 1, detail);
    return false;
  }

  async #begin(): Promise<void> {
    for (;;) {
      const stored = await this.#stored();
      if (!stored) throw new BrokenChainError('its head is missing');
      if (stored.wrappedKey || (await this.#beginHere())) return;
      await wait(GENESIS_POLL_MS);
    }
  }

  /** @returns false when another instance is at it */
  #beginHere(): Promise<boolean> {
    return this.dataSource.transaction(async (manager) => {
      const [held] = await manager.query<unknown[]>(
        'SELECT id FROM audit_chain WHERE id AND wrapped_key IS NULL FOR UPDATE SKIP LOCKED',
      );
      if (!held) return false;
      const key = randomBytes(32);
      const genesis = new Genesis(key);
      // No event can be added meanwhile: one needs the row that is held here, and its own MAC.
      for await (const event of this.events(BEFORE_ALL, '9223372036854775807', manager)) {
        if (event.mac !== null) throw new BrokenChainError('its head was removed from under the events');
        genesis.add(event);
      }
      await manager.query(
        `UPDATE audit_chain SET wrapped_key = $1, genesis_sequence = $2, genesis_events = $3, genesis_mac = $4,
           sequence = $2, mac = $4 WHERE id`,
        [this.encryption.encrypt(key, CHAIN_KEY_CONTEXT), genesis.sequence, genesis.events, genesis.mac()],
      );
      // Expected once, of the upgrade that brought the chain: later it means that one was removed.
      if (genesis.events > 0) {
        this.#logger.warn(
          `The chain of the audit trail begins after event ${String(genesis.sequence)}: nothing proves the ${String(genesis.events)} events up to there as they were before`,
        );
      }
      return true;
    });
  }

  #verifyHere(): { here: Promise<boolean>; done: Promise<void> } {
    if (this.#verifying) return this.#verifying;
    let tell: (isHere: boolean) => void = () => undefined;
    const here = new Promise<boolean>((resolve) => {
      tell = resolve;
    });
    const done = this.#verifyOnce(() => {
      tell(true);
    })
      .catch((error: unknown) => {
        this.#logger.warn(`The audit trail was not verified: ${reasonOf(error)}`);
      })
      .finally(() => {
        this.#verifying = undefined;
        tell(false);
      });
    this.#verifying = { here, done };
    return this.#verifying;
  }

  /** @param begins is told that no other instance verifies */
  async #verifyOnce(begins: () => void): Promise<void> {
    await this.begun();
    await this.dataSource.transaction(async (manager) => {
      const [lock] = await manager.query<{ taken: boolean }[]>('SELECT pg_try_advisory_xact_lock($1) AS taken', [
        VERIFICATION_LOCK,
      ]);
      if (lock?.taken !== true) return;
      begins();
      await this.#verifyAndNote(manager);
    });
  }

  async #verifyAndNote(manager: EntityManager): Promise<void> {
    const report = await this.verify(undefined, manager);
    const { head, findings } = report;
    const [first] = findings;
    const problem = first ? `Event ${String(first.sequence)} ${first.detail}` : null;
    // The log is where a head is kept that nobody with the database alone can take back.
    if (head && !first) {
      this.#logger.log(
        `The audit trail is intact up to event ${String(head.sequence)}, MAC ${head.mac.toString('hex')}`,
      );
    } else this.#logger.error(`The audit trail is broken: ${problem ?? ''} (${report.kinds.join(', ')})`);
    if (!head) return;
    const { key } = await this.anchor();
    const verification = { at: new Date(this.clock.now()), sequence: head.sequence, ok: !first, problem };
    await manager.query('UPDATE audit_chain SET verified = $1 WHERE id', [
      seal(key, Buffer.from(JSON.stringify(verification)), VERIFIED_CONTEXT),
    ]);
  }

  #verificationOf(row: HeadRow): Verification | null {
    if (!row.verified) return null;
    try {
      const text = unseal(this.#keyOf(row), row.verified, VERIFIED_CONTEXT).toString();
      const verification = JSON.parse(text) as Omit<Verification, 'at'> & { at: string };
      return { ...verification, at: new Date(verification.at) };
    } catch (error) {
      // Somebody else wrote it: as good as none.
      if (error instanceof DecryptionError) return null;
      throw error;
    }
  }

  /** As it is, whether or not the chain has begun. */
  async #stored(manager = this.dataSource.manager): Promise<StoredHead | undefined> {
    return (await manager.query<StoredHead[]>(HEAD))[0];
  }

  /** @throws BrokenChainError */
  async #row(manager = this.dataSource.manager): Promise<HeadRow> {
    const known = this.#sequence;
    const stored = await this.#stored(manager);
    if (!stored) throw new BrokenChainError('its head is missing');
    if (!stored.wrappedKey) throw new BrokenChainError('it has no key');
    if (!isWhole(stored)) throw new BrokenChainError('its head is not whole');
    // Else an event was appended meanwhile, which this row may be from before.
    if (this.#sequence === known) {
      const sequence = Number(stored.sequence);
      if (known !== undefined && sequence < known) this.#fellTo(sequence);
      else this.#sequence = sequence;
    }
    return stored;
  }

  #fellTo(sequence: number): void {
    this.#logger.error(
      `The head of the audit trail was moved back from event ${String(this.#sequence)} to ${String(sequence)}`,
    );
    this.#sequence = sequence;
  }

  #keyOf({ wrappedKey }: Pick<StoredHead, 'wrappedKey'>): Buffer {
    if (!wrappedKey) throw new BrokenChainError('it has no key');
    if (this.#unwrapped?.wrappedKey.equals(wrappedKey) !== true) {
      try {
        this.#unwrapped = { wrappedKey, key: this.encryption.decrypt(wrappedKey, CHAIN_KEY_CONTEXT) };
      } catch (error) {
        throw error instanceof DecryptionError ? new BrokenChainError('its key cannot be read', error) : error;
      }
    }
    return this.#unwrapped.key;
  }
}

const isWhole = (row: StoredHead): row is HeadRow =>
  [row.wrappedKey, row.genesisSequence, row.genesisEvents, row.genesisMac, row.sequence, row.mac].every(
    (value) => value !== null,
  );

const linkOf = ({ sequence, mac, at }: HeadRow): ChainHead => ({ sequence: Number(sequence), mac, at });

/** The private cause of ours, the message of others. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return error instanceof BrokenChainError && cause instanceof Error ? cause.message : message;
}
