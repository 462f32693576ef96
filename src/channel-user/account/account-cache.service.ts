import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { DataSource } from 'typeorm';
import { Config } from '../../platform/config/config.ts';
import { Batch, ReadBatcher } from '../../platform/database/read-batcher.ts';
import { ChangeFeed, type ChangeListener } from '../../platform/database/change-feed.service.ts';
import { Account, type AccountRow } from './account.rules.ts';
import { CHANNEL_USER_TOPIC } from '../model/channel-user-change.ts';
import { usernameKeyOf } from '../model/username.rules.ts';

/**
 * Leaves out credentials that were revoked more than 30 days ago. Their tokens have expired (after a day at most), and
 * their passwords no longer prove a report of a leak (`PROOF_DAYS`), so they would only give the true reason of a refusal.
 */
const QUERY = `
  SELECT u.id, u.username, u.username_key, u.display_name, u.suspended_at IS NOT NULL AS suspended,
    (extract(epoch FROM u.expires_at) * 1000)::float8 AS expires_at, u.scopes, u.token_ttl_seconds,
    u.tokens_per_minute, u.allowed_ips, u.epoch, u.self_service,
    (SELECT json_agg(json_build_object('id', c.id, 'label', c.label, 'secret_hash', c.secret_hash,
        'keyed_hash', c.keyed_hash, 'expires_at', (extract(epoch FROM c.expires_at) * 1000)::float8,
        'revoked', c.revoked_at IS NOT NULL, 'pending', c.pending))
      FROM credential c
      WHERE c.channel_user_id = u.id AND (c.revoked_at IS NULL OR c.revoked_at > now() - interval '30 days')
    ) AS credentials
  FROM channel_user u WHERE u.id = ANY($1::uuid[]) OR u.username_key = ANY($2::text[])`;

type Index = 'byId' | 'byUsernameKey';

export interface AccountLookup {
  readonly account: Account | undefined;
  /** Whether the account was read by a query that started after the call, so that a refusal may rest on it. */
  readonly fresh: boolean;
}

/** Accounts that are read in one query. Each account is its own owner. */
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
 * Reads accounts with their credentials for sign-ins and the guard: from memory while the change feed is trusted, and
 * from PostgreSQL otherwise.
 *
 * - A changed account is dropped at once on this instance, and with the notification on every other one. The cache is
 *   used only while notifications are known to arrive.
 * - A read that was in progress when its account changed does not put the old state into the cache.
 * - Reads are joined into batches, so that any number of misses costs a bounded number of queries.
 * - Only accounts that exist are cached, at most `CACHE_SIZE` of them.
 */
@Injectable()
export class AccountCache implements ChangeListener {
  readonly #accounts: LRUCache<string, Account>;
  readonly #idOfUsername = new Map<string, string>();
  /** Batches that a lookup may still join, even after their query has started: no account has changed since. */
  readonly #joinable = new Map<string, AccountBatch>();
  readonly #batches: ReadBatcher<AccountBatch>;
  #hits = 0;
  #misses = 0;
  #bypasses = 0;

  constructor(
    private readonly dataSource: DataSource,
    private readonly feed: ChangeFeed,
    config: Config,
  ) {
    this.#accounts = new LRUCache({
      max: config.accountCacheSize,
      dispose: ({ id, usernameKey }) => {
        if (this.#idOfUsername.get(usernameKey) === id) this.#idOfUsername.delete(usernameKey);
      },
    });
    this.#batches = new ReadBatcher(
      feed,
      () => new AccountBatch(),
      (batch) => this.#readBatch(batch),
    );
    feed.subscribe(CHANNEL_USER_TOPIC, this);
  }

  /**
   * Lookups since the start: `hits` and `misses` of the cache, and `bypasses` that read from PostgreSQL because the
   * cache was not trusted or a refusal depended on it. `accounts` is the present number of cached accounts.
   */
  get stats(): { hits: number; misses: number; bypasses: number; accounts: number } {
    return { hits: this.#hits, misses: this.#misses, bypasses: this.#bypasses, accounts: this.#accounts.size };
  }

  /** The cached account while the cache is trusted. A refusal must not rest on it, see {@link readById}. */
  peekById(id: string): Account | undefined {
    return this.#hit(this.#knownById(id));
  }

  /** See {@link peekById}. */
  peekByUsername(username: string): Account | undefined {
    return this.#hit(this.#knownByUsername(username));
  }

  /** Looks an account up in the cache, or else in PostgreSQL. Callers may share a query that has already started. */
  findById(id: string): Promise<AccountLookup> {
    return this.#find(`id:${id}`, this.#knownById(id), 'byId', id);
  }

  /** See {@link findById}. */
  findByUsername(username: string): Promise<AccountLookup> {
    const key = usernameKeyOf(username);
    return this.#find(`username:${key}`, this.#knownByUsername(username), 'byUsernameKey', key);
  }

  /** Reads an account with a query that starts after this call, as every refusal must. */
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
    // Clears all, since a batch may find the account under a username that is not known here.
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

  /** Counts a hit. Misses are counted by the callers that go on to read. */
  #hit(known: Account | undefined): Account | undefined {
    if (known) this.#hits++;
    return known;
  }

  async #find(joinKey: string, known: Account | undefined, index: Index, key: string): Promise<AccountLookup> {
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
    // The account changed during the query. Reads it only once more, since the caller has a deadline.
    const again = this.#enlist(index, key);
    await again.done;
    return again[index].get(key);
  }

  /** Adds a key to a batch whose query has not started. */
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
