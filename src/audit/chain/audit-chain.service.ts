import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { DataSource, type EntityManager } from 'typeorm';
import { Clock } from '../../platform/common/clock.ts';
import { UnavailableError } from '../../platform/common/errors.ts';
import { uniqueViolation } from '../../platform/common/postgres-errors.ts';
import { DecryptionError, EncryptionService } from '../../platform/encryption/encryption.service.ts';
import { BrokenChainError } from './chain.errors.ts';
import { BEFORE_ALL, type EventPage, eventPages } from './chain-events.ts';
import {
  APPEND,
  type ChainHead,
  HEAD,
  type HeadRow,
  isWhole,
  linkOf,
  LOCK_HEAD,
  type StoredHead,
} from './chain-head.ts';
import { ChainStart, type Link, type LinkedEvent, macOf, type StoredEvent, storedTime } from './chain-link.ts';

/** An event that has no place in the chain yet. `changes` is JSON in any formatting. */
export type UnlinkedEvent = Omit<StoredEvent, 'sequence' | 'at'>;

export const CHAIN_KEY_CONTEXT = 'audit-chain';
/** Milliseconds between two checks whether another instance has begun the chain. */
const GENESIS_POLL_MS = 200;
/**
 * The chain of the audit trail: each event's MAC covers the event and the MAC before it.
 *
 * Its key is random and encrypted under the key encryption key, not derived from it. Replacing the key encryption key
 * therefore keeps the chain's key, and old events can still be verified.
 */
@Injectable()
export class AuditChain implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger(AuditChain.name);
  #hasBegun: Promise<void> | undefined;
  #starting: Promise<void> | undefined;
  #unwrapped: { wrappedKey: Buffer; key: Buffer } | undefined;
  #isStopping = false;
  #events = 0;
  #sequence: number | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly clock: Clock,
  ) {}

  /**
   * Does not wait for the chain, since beginning one reads every event. A broken chain stops changes, but partners can
   * still sign in.
   */
  onApplicationBootstrap(): void {
    this.#starting = this.#start();
  }

  async #start(): Promise<void> {
    try {
      await this.begun();
      await this.head();
    } catch (error) {
      if (!this.#isStopping) this.#logger.error(`The audit trail cannot be written: ${reasonOf(error)}`);
    }
  }

  async onModuleDestroy(): Promise<void> {
    this.#isStopping = true;
    await this.#starting;
  }

  /**
   * The number of events that this instance wrote, and the last place in the chain that it knows. A place that falls
   * means that the head was moved back.
   */
  get stats(): { readonly events: number; readonly sequence: number | undefined } {
    return { events: this.#events, sequence: this.#sequence };
  }

  /** Begins the chain unless it has begun. Resolves when its first MAC covers every older event. */
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
   * Appends events to the chain. The transaction must commit next, because it locks the head for all instances.
   *
   * @param manager the transaction's
   * @throws BrokenChainError
   */
  async append(manager: EntityManager, events: readonly UnlinkedEvent[]): Promise<Link> {
    const changes = events.map((event) => event.changes);
    type Held = Pick<StoredHead, 'wrappedKey' | 'sequence' | 'mac'> & { changes: string[] };
    const [head] = await manager.query<Held[]>(LOCK_HEAD, [changes]);
    if (!head) throw new BrokenChainError('the head is missing');
    const key = this.keyOf(head);
    if (head.sequence === null || !head.mac) throw new BrokenChainError('the head is incomplete');
    const at = new Date(this.clock.now());
    const first = Number(head.sequence);
    // The head is locked and `#sequence` was committed, so a lower head was moved back.
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
      if (written.length !== rows.length)
        throw new BrokenChainError('the head changed although this transaction had locked it');
    } catch (error) {
      if (uniqueViolation(error) !== 'pk_audit_event') throw error;
      throw new BrokenChainError('there are events after the head', error);
    }
    return last;
  }

  /** Must be called once the transaction of {@link append} has committed. */
  appended(count: number, { sequence }: Link): void {
    this.#events += count;
    this.#sequence = Math.max(this.#sequence ?? 0, sequence);
  }

  /** @throws BrokenChainError */
  async head(): Promise<ChainHead> {
    return linkOf(await this.row());
  }

  /**
   * Events in the order of the chain, read page by page.
   *
   * @param after the sequence before the first event
   * @param upTo the sequence of the last event
   */
  async *events(
    after: string | number,
    upTo: string | number,
    manager = this.dataSource.manager,
  ): AsyncGenerator<LinkedEvent> {
    for await (const page of this.pages(String(after), String(upTo), manager)) yield* page.events;
  }

  /** Resolves when the application's start has begun the chain, or has failed to begin it. */
  async started(): Promise<void> {
    await this.#starting;
  }

  /** What an export must hold to be verified without the database. @throws BrokenChainError */
  async anchor(): Promise<{ head: ChainHead; genesis: Link & { events: number }; wrappedKey: Buffer; key: Buffer }> {
    const row = await this.row();
    const key = this.keyOf(row);
    const genesis = {
      sequence: Number(row.genesisSequence),
      events: Number(row.genesisEvents),
      mac: row.genesisMac,
    };
    return { head: linkOf(row), genesis, wrappedKey: row.wrappedKey, key };
  }

  /**
   * Re-encrypts the chain's key under the newest key encryption key.
   *
   * @returns whether it was under another key encryption key
   */
  async reencrypt(): Promise<boolean> {
    await this.begun();
    const { wrappedKey } = await this.row();
    const rewrapped = this.encryption.renewed(wrappedKey, CHAIN_KEY_CONTEXT);
    if (!rewrapped) return false;
    await this.dataSource.query('UPDATE audit_chain SET wrapped_key = $1 WHERE id', [rewrapped]);
    return true;
  }

  /**
   * The events of {@link events}, page by page.
   *
   * @throws Error when the application stops meanwhile
   */
  async *pages(after: string, upTo: string, manager = this.dataSource.manager): AsyncGenerator<EventPage> {
    for await (const page of eventPages(manager, after, upTo)) {
      if (this.#isStopping) throw new Error('the application is stopping');
      yield page;
    }
  }

  async #begin(): Promise<void> {
    for (;;) {
      const stored = await this.#stored();
      if (!stored) throw new BrokenChainError('the head is missing');
      if (this.#isStopping) throw new UnavailableError();
      if (stored.wrappedKey || (await this.#beginHere())) return;
      await wait(GENESIS_POLL_MS);
    }
  }

  /** @returns false when another instance is beginning the chain, or has begun it */
  #beginHere(): Promise<boolean> {
    return this.dataSource.transaction(async (manager) => {
      const [held] = await manager.query<unknown[]>(
        'SELECT id FROM audit_chain WHERE id AND wrapped_key IS NULL FOR UPDATE SKIP LOCKED',
      );
      if (!held) return false;
      const key = randomBytes(32);
      const genesis = new ChainStart(key);
      // No event can be added meanwhile: an append needs the row that is locked here, and a trigger requires a MAC.
      for await (const event of this.events(BEFORE_ALL, '9223372036854775807', manager)) {
        if (this.#isStopping) throw new UnavailableError();
        if (event.mac !== null) throw new BrokenChainError('the head was removed, but the events remain');
        genesis.add(event);
      }
      await manager.query(
        `UPDATE audit_chain SET wrapped_key = $1, genesis_sequence = $2, genesis_events = $3, genesis_mac = $4,
           sequence = $2, mac = $4 WHERE id`,
        [this.encryption.encrypt(key, CHAIN_KEY_CONTEXT), genesis.sequence, genesis.events, genesis.mac()],
      );
      // Expected once, after the upgrade that introduced the chain. Later it means that a chain was removed.
      if (genesis.events > 0) {
        this.#logger.warn(
          `The chain of the audit trail begins after event ${String(genesis.sequence)}: nothing proves that the ` +
            `${String(genesis.events)} events up to there are unchanged`,
        );
      }
      return true;
    });
  }

  /** The row of the chain, whether or not the chain has begun. */
  async #stored(manager = this.dataSource.manager): Promise<StoredHead | undefined> {
    return (await manager.query<StoredHead[]>(HEAD))[0];
  }

  /** The row of the chain. @throws BrokenChainError */
  async row(manager = this.dataSource.manager): Promise<HeadRow> {
    const known = this.#sequence;
    const stored = await this.#stored(manager);
    if (!stored) throw new BrokenChainError('the head is missing');
    if (!stored.wrappedKey) throw new BrokenChainError('the key is missing');
    if (!isWhole(stored)) throw new BrokenChainError('the head is incomplete');
    // If an event was appended during the query, this row may be older than that event.
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

  /** The key of the chain. @throws BrokenChainError */
  keyOf({ wrappedKey }: Pick<StoredHead, 'wrappedKey'>): Buffer {
    if (!wrappedKey) throw new BrokenChainError('the key is missing');
    if (this.#unwrapped?.wrappedKey.equals(wrappedKey) !== true) {
      try {
        this.#unwrapped = { wrappedKey, key: this.encryption.decrypt(wrappedKey, CHAIN_KEY_CONTEXT) };
      } catch (error) {
        throw error instanceof DecryptionError ? new BrokenChainError('the key cannot be decrypted', error) : error;
      }
    }
    return this.#unwrapped.key;
  }
}

/** The internal cause of a {@link BrokenChainError}, or the message of any other error. */
export function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return error instanceof BrokenChainError && cause instanceof Error ? cause.message : message;
}
