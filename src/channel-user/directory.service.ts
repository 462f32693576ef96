import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { DataSource } from 'typeorm';
import { Config } from '../config/config.ts';
import { Batch, BatchedReads } from '../database/batched-reads.ts';
import { ChangeFeed, type ChangeListener } from '../database/change-feed.service.ts';
import { Account, type AccountCredential, type AccountRow } from './account.ts';
import { usernameKeyOf } from './username.ts';

export { usernameKeyOf };
export type { Account, AccountCredential };

/** The topic of the triggers on `channel_user` and `credential`; the key is the channel user's id. */
export const CHANNEL_USER_TOPIC = 'channel_user';

/**
 * Credentials that were revoked long ago are left out: no token of theirs can still be alive (a day at most), and all
 * they could do is name the true reason of a refusal.
 */
const QUERY = `
  SELECT u.id, u.username, u.username_key, u.display_name, u.suspended_at IS NOT NULL AS suspended,
    (extract(epoch FROM u.expires_at) * 1000)::float8 AS expires_at, u.scopes, u.token_ttl_seconds,
    u.tokens_per_minute, u.allowed_ips, u.epoch,
    (SELECT json_agg(json_build_object('id', c.id, 'label', c.label, 'secret_hash', c.secret_hash,
        'expires_at', (extract(epoch FROM c.expires_at) * 1000)::float8, 'revoked', c.revoked_at IS NOT NULL))
      FROM credential c
      WHERE c.channel_user_id = u.id AND (c.revoked_at IS NULL OR c.revoked_at > now() - interval '30 days')
    ) AS credentials
  FROM channel_user u WHERE u.id = ANY($1::uuid[]) OR u.username_key = ANY($2::text[])`;

type Index = 'byId' | 'byUsernameKey';

export interface Reading {
  readonly account: Account | undefined;
  /** It was read from PostgreSQL by a query that started after the call, so that a refusal may rest on it. */
  readonly fresh: boolean;
}

/** A read of several accounts in one query; their owners are they themselves. */
class AccountBatch extends Batch {
  readonly keys = { byId: new Set<string>(), byUsernameKey: new Set<string>() };
  readonly byId = new Map<string, Account>();
  readonly byUsernameKey = new Map<string, Account>();

  get size(): number {
    return this.keys.byId.size + this.keys.byUsernameKey.size;
  }

  put(account: Account): void {
    this.byId.set(account.id, account);
    this.byUsernameKey.set(account.usernameKey, account);
  }
}

/**
 * The one place where sign-ins and the guard read an account with its credentials: from memory while the change feed
 * can be trusted, from PostgreSQL otherwise.
 *
 * - Nothing stale is answered: what changes is forgotten at once on this instance and with the notification on every
 *   other, and memory is believed only as long as notifications are known to arrive.
 * - A read that was under way when its account changed does not put the old state back.
 * - Reads are joined into batches, so that any number of misses costs a bounded number of queries.
 * - Only accounts that exist are remembered, `DIRECTORY_CACHE_SIZE` of them at most.
 */
@Injectable()
export class Directory implements ChangeListener {
  readonly #accounts: LRUCache<string, Account>;
  readonly #idOfUsername = new Map<string, string>();
  /** Batches a plain read may join although they are under way: those that no change has overtaken. */
  readonly #joinable = new Map<string, AccountBatch>();
  readonly #batches: BatchedReads<AccountBatch>;
  #hits = 0;
  #misses = 0;
  #bypasses = 0;

  constructor(
    private readonly dataSource: DataSource,
    private readonly feed: ChangeFeed,
    config: Config,
  ) {
    this.#accounts = new LRUCache({
      max: config.directoryCacheSize,
      dispose: ({ id, usernameKey }) => {
        if (this.#idOfUsername.get(usernameKey) === id) this.#idOfUsername.delete(usernameKey);
      },
    });
    this.#batches = new BatchedReads(
      feed,
      () => new AccountBatch(),
      (batch) => this.#readBatch(batch),
    );
    feed.subscribe(CHANNEL_USER_TOPIC, this);
  }

  /**
   * Counts since the start: accounts that memory answered, that it did not have, and that were read past it, since it
   * could not be believed or a refusal depended on it; and how many it holds.
   */
  get stats(): { hits: number; misses: number; bypasses: number; accounts: number } {
    return { hits: this.#hits, misses: this.#misses, bypasses: this.#bypasses, accounts: this.#accounts.size };
  }

  /** The account, if it is remembered and memory can be trusted. No refusal may rest on it: see {@link readById}. */
  peekById(id: string): Account | undefined {
    return this.#hit(this.#knownById(id));
  }

  /** See {@link peekById}. */
  peekByUsername(username: string): Account | undefined {
    return this.#hit(this.#knownByUsername(username));
  }

  /** From memory or else from PostgreSQL; a read that is under way may serve several callers. */
  findById(id: string): Promise<Reading> {
    return this.#find(`id:${id}`, this.#knownById(id), 'byId', id);
  }

  /** See {@link findById}. */
  findByUsername(username: string): Promise<Reading> {
    const key = usernameKeyOf(username);
    return this.#find(`username:${key}`, this.#knownByUsername(username), 'byUsernameKey', key);
  }

  /** From PostgreSQL, by a query that starts after this call: what a refusal must rest on. */
  readById(id: string): Promise<Account | undefined> {
    this.#bypasses++;
    return this.#read('byId', id);
  }

  /** See {@link readById}. */
  readByUsername(username: string): Promise<Account | undefined> {
    this.#bypasses++;
    return this.#read('byUsernameKey', usernameKeyOf(username));
  }

  changed(id: string): void {
    this.#accounts.delete(id);
    this.#batches.changed(id);
    // It is not known which usernames the batches will find it under.
    this.#joinable.clear();
  }

  reset(): void {
    this.#accounts.clear();
    this.#idOfUsername.clear();
    this.#batches.reset();
    this.#joinable.clear();
  }

  #knownById(id: string): Account | undefined {
    return this.feed.trusted ? this.#accounts.get(id) : undefined;
  }

  #knownByUsername(username: string): Account | undefined {
    if (!this.feed.trusted) return undefined;
    const id = this.#idOfUsername.get(usernameKeyOf(username));
    return id === undefined ? undefined : this.#accounts.get(id);
  }

  /** What memory does not have is counted by those who go on to read it. */
  #hit(known: Account | undefined): Account | undefined {
    if (known) this.#hits++;
    return known;
  }

  async #find(joinKey: string, known: Account | undefined, index: Index, key: string): Promise<Reading> {
    if (this.#hit(known)) return { account: known, fresh: false };
    if (this.feed.trusted) this.#misses++;
    else this.#bypasses++;
    const shared = this.feed.trusted ? this.#joinable.get(joinKey) : undefined;
    if (shared) return { account: await this.#resultOf(shared, index, key), fresh: false };
    const batch = this.#enlist(index, key);
    this.#joinable.set(joinKey, batch);
    const leave = (): void => {
      if (this.#joinable.get(joinKey) === batch) this.#joinable.delete(joinKey);
    };
    void batch.done.then(leave, leave);
    return { account: await this.#resultOf(batch, index, key), fresh: true };
  }

  #read(index: Index, key: string): Promise<Account | undefined> {
    return this.#resultOf(this.#enlist(index, key), index, key);
  }

  async #resultOf(batch: AccountBatch, index: Index, key: string): Promise<Account | undefined> {
    await batch.done;
    const account = batch[index].get(key);
    if (account === undefined || !batch.changed.has(account.id)) return account;
    // It changed while it was read. Once more, and no further: a caller has a deadline.
    const again = this.#enlist(index, key);
    await again.done;
    return again[index].get(key);
  }

  /** Puts a key into a batch that has not been sent. */
  #enlist(index: Index, key: string): AccountBatch {
    const batch = this.#batches.open();
    batch.keys[index].add(key);
    return batch;
  }

  async #readBatch(batch: AccountBatch): Promise<void> {
    const rows = await this.dataSource.query<AccountRow[]>(QUERY, [
      [...batch.keys.byId],
      [...batch.keys.byUsernameKey],
    ]);
    for (const account of rows.map((row) => new Account(row))) {
      if (batch.mayRemember && !batch.changed.has(account.id)) this.#remember(account);
      batch.put(account);
    }
  }

  #remember(account: Account): void {
    this.#accounts.set(account.id, account);
    this.#idOfUsername.set(account.usernameKey, account.id);
  }
}
