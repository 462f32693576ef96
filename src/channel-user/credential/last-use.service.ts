import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { performance } from 'node:perf_hooks';
import { DataSource } from 'typeorm';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { BATCH_MS, BATCH_ROWS, BufferedWriter, RETRY_MS } from '../../platform/database/buffered-writer.ts';

/** Precision of `lastTokenAt` and `lastUsedAt` in milliseconds. It keeps a busy partner's row from being hot. */
const RESOLUTION_MS = 60_000;
/** Credentials whose last recorded use is in memory, to tell whether the next one is worth writing. */
const MAX_REMEMBERED = 100_000;
/** Uses that wait to be written, about 400 bytes each. When there are more, the oldest is dropped. */
const MAX_WAITING = 100_000;

/** A token that a credential obtained. */
export interface CredentialUse {
  readonly channelUserId: string;
  readonly credentialId: string;
  readonly at: Date;
  readonly address: string | null;
  readonly userAgent: string | null;
}

/**
 * The statement takes a JSON list of [id, time, address, user agent] and returns the ids of rows that another
 * transaction has locked. It never replaces a time by an earlier one.
 */
const writeStatement = (table: string, key: string, column: string, more = ''): string => `
  WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (1) (use ->> 0)::uuid AS id, (use ->> 1)::timestamptz(3) AS at, use ->> 2 AS address,
      use ->> 3 AS user_agent
    FROM jsonb_array_elements($1::jsonb) AS use ORDER BY 1, 2 DESC
  ), due AS MATERIALIZED (
    SELECT given.* FROM given JOIN ${table} AS known ON known.${key} = given.id
    WHERE known.${column} IS NULL OR known.${column} < given.at
  ), free AS MATERIALIZED (
    SELECT known.${key} AS id FROM ${table} AS known JOIN due ON due.id = known.${key}
    WHERE known.${column} IS NULL OR known.${column} < due.at
    ORDER BY known.${key} FOR NO KEY UPDATE OF known SKIP LOCKED
  ), written AS (
    UPDATE ${table} AS known SET ${column} = due.at${more}
    FROM due JOIN free ON free.id = due.id WHERE known.${key} = due.id
  )
  SELECT id FROM due WHERE id NOT IN (SELECT id FROM free)`;

const WRITE_ACCOUNTS = writeStatement('channel_user_use', 'channel_user_id', 'last_token_at');
const WRITE_CREDENTIALS = writeStatement(
  'credential',
  'id',
  'last_used_at',
  ', last_used_address = due.address, last_used_user_agent = due.user_agent',
);

/**
 * Records when accounts and credentials were last used. Uses wait in memory and are written in batches, outside of
 * requests. A batch skips rows that another transaction has locked; a later batch writes them.
 */
@Injectable()
export class LastUseService implements OnApplicationShutdown {
  /** Credential → when its last use was recorded. */
  readonly #recorded = new LRUCache<string, number>({ max: MAX_REMEMBERED });
  /** Uses that no statement has tried to write yet, by credential. */
  readonly #fresh = new Map<string, CredentialUse>();
  /** Uses that could not be written and are tried again, by credential. */
  readonly #retries = new Map<string, CredentialUse>();
  #retryAt = Infinity;
  #isStopping = false;
  readonly #writer: BufferedWriter;

  constructor(
    private readonly dataSource: DataSource,
    patience: ReadPatience,
  ) {
    const rows = {
      name: 'times of last use',
      writeAll: () => this.#writeAll(),
      dueAt: (writtenAt: number) => this.#dueAt(writtenAt),
    };
    this.#writer = new BufferedWriter(rows, patience, new Logger(LastUseService.name));
  }

  /** Nest calls this after the last request was answered and before the database connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    this.#isStopping = true;
    await this.#writer.stop(() => this.#retries.size > 0 && !this.#writer.isFailing);
  }

  /** Records a use. Returns at once and never throws. */
  record(use: CredentialUse): void {
    const last = this.#recorded.get(use.credentialId);
    if (last !== undefined && use.at.getTime() - last < RESOLUTION_MS) return;
    this.#recorded.set(use.credentialId, use.at.getTime());
    this.#fresh.set(use.credentialId, use);
    this.#bound();
    this.#writer.schedule();
  }

  /** Before a read, writes what this instance has recorded. Gives up if that takes too long or fails. */
  settle(): Promise<void> {
    return this.#writer.settle();
  }

  #bound(): void {
    if (this.#fresh.size + this.#retries.size <= MAX_WAITING) return;
    const oldest = this.#retries.size > 0 ? this.#retries : this.#fresh;
    for (const id of oldest.keys()) {
      oldest.delete(id);
      this.#writer.giveUp(1);
      return;
    }
  }

  #dueAt(writtenAt: number): number {
    if (this.#fresh.size === 0) return this.#retryAt;
    return writtenAt + (this.#writer.isFailing ? RETRY_MS : BATCH_MS);
  }

  /** Writes batches one after the other, until nothing is left or the database does not answer. */
  async #writeAll(): Promise<void> {
    if (this.#isStopping || performance.now() >= this.#retryAt) {
      for (const [id, use] of this.#retries) if (!this.#fresh.has(id)) this.#fresh.set(id, use);
      this.#retries.clear();
      this.#retryAt = Infinity;
    }
    const uses = [...this.#fresh.values()];
    this.#fresh.clear();
    for (let i = 0; i < uses.length; i += BATCH_ROWS) {
      const batch = uses.slice(i, i + BATCH_ROWS);
      if (await this.#writeBatch(batch)) continue;
      // The untried batches come first the next time, so that the failed batch does not block them.
      this.#retryLater([...uses.slice(i + BATCH_ROWS), ...batch]);
      return;
    }
  }

  /** @returns whether the database answers */
  #writeBatch(uses: readonly CredentialUse[]): Promise<boolean> {
    return this.#writer.attempt(
      async () => {
        const accounts = await this.#locked(WRITE_ACCOUNTS, uses, ({ channelUserId }) => channelUserId);
        const credentials = await this.#locked(WRITE_CREDENTIALS, uses, ({ credentialId }) => credentialId);
        this.#retryLater(uses.filter((use) => accounts.has(use.channelUserId) || credentials.has(use.credentialId)));
      },
      (isAway) => {
        if (!isAway) this.#writer.giveUp(uses.length);
      },
    );
  }

  /** Writes a batch. @returns the ids of rows that another transaction has locked */
  async #locked(
    statement: string,
    uses: readonly CredentialUse[],
    idOf: (use: CredentialUse) => string,
  ): Promise<ReadonlySet<string>> {
    const rows = uses.map((use) => [idOf(use), use.at, use.address, use.userAgent]);
    const locked = await this.dataSource.query<{ id: string }[]>(statement, [JSON.stringify(rows)]);
    return new Set(locked.map(({ id }) => id));
  }

  #retryLater(uses: readonly CredentialUse[]): void {
    if (uses.length === 0) return;
    for (const use of uses) this.#retries.set(use.credentialId, use);
    this.#retryAt = performance.now() + RETRY_MS;
  }
}
