import type { Logger } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { performance } from 'node:perf_hooks';
import type { DataSource } from 'typeorm';
import type { ReadPatience } from '../common/read-patience.ts';
import { BATCH_MS, BATCH_ROWS, BufferedWriter, RETRY_MS } from './buffered-writer.ts';

/** Precision of recorded times in milliseconds. It keeps a busy caller's row from being hot. */
const RESOLUTION_MS = 60_000;
/** Ids whose last recorded use is in memory, to tell whether the next one is worth writing. */
const MAX_REMEMBERED = 100_000;
/** Uses that wait to be written, about 400 bytes each. When there are more, the oldest is dropped. */
const MAX_WAITING = 100_000;

/** A use of something, such as a password. */
export interface Use {
  readonly at: Date;
  readonly address: string | null;
  readonly userAgent: string | null;
}

/** A table whose rows say when they were last used. */
export interface UseTable<T extends Use> {
  readonly name: string;
  /** The column of the id. */
  readonly key: string;
  /** The column of the time. */
  readonly column: string;
  /** Further assignments; `due.address` and `due.user_agent` are those of the use. */
  readonly more?: string;
  readonly idOf: (use: T) => string;
}

/**
 * The statement takes a JSON list of [id, time, address, user agent] and returns the ids of rows that another
 * transaction has locked. It never replaces a time by an earlier one.
 */
const writeStatement = ({ name, key, column, more }: Omit<UseTable<Use>, 'idOf'>): string => `
  WITH given AS MATERIALIZED (
    SELECT DISTINCT ON (1) (use ->> 0)::uuid AS id, (use ->> 1)::timestamptz(3) AS at, use ->> 2 AS address,
      use ->> 3 AS user_agent
    FROM jsonb_array_elements($1::jsonb) AS use ORDER BY 1, 2 DESC
  ), due AS MATERIALIZED (
    SELECT given.* FROM given JOIN ${name} AS known ON known.${key} = given.id
    WHERE known.${column} IS NULL OR known.${column} < given.at
  ), free AS MATERIALIZED (
    SELECT known.${key} AS id FROM ${name} AS known JOIN due ON due.id = known.${key}
    WHERE known.${column} IS NULL OR known.${column} < due.at
    ORDER BY known.${key} FOR NO KEY UPDATE OF known SKIP LOCKED
  ), written AS (
    UPDATE ${name} AS known SET ${[`${column} = due.at`, ...(more === undefined ? [] : [more])].join(', ')}
    FROM due JOIN free ON free.id = due.id WHERE known.${key} = due.id
  )
  SELECT id FROM due WHERE id NOT IN (SELECT id FROM free)`;

/**
 * Records when rows were last used. Uses wait in memory and are written in batches, outside of requests. A batch skips
 * rows that another transaction has locked; a later batch writes them.
 */
export class LastUseWriter<T extends Use> {
  /** Id → when its last use was recorded. */
  readonly #recorded = new LRUCache<string, number>({ max: MAX_REMEMBERED });
  /** Uses that no statement has tried to write yet, by id. */
  readonly #fresh = new Map<string, T>();
  /** Uses that could not be written and are tried again, by id. */
  readonly #retries = new Map<string, T>();
  #retryAt = Infinity;
  #isStopping = false;
  readonly #writer: BufferedWriter;
  readonly #tables: readonly { readonly statement: string; readonly idOf: (use: T) => string }[];

  /**
   * @param name what the log calls the times
   * @param keyOf the id that a use is remembered by, of a row that exists
   * @param tables written in this order
   */
  constructor(
    name: string,
    private readonly keyOf: (use: T) => string,
    tables: readonly UseTable<T>[],
    private readonly dataSource: DataSource,
    patience: ReadPatience,
    logger: Logger,
  ) {
    this.#tables = tables.map(({ idOf, ...table }) => ({ statement: writeStatement(table), idOf }));
    const rows = {
      name,
      writeAll: () => this.#writeAll(),
      dueAt: (writtenAt: number) => this.#dueAt(writtenAt),
    };
    this.#writer = new BufferedWriter(rows, patience, logger);
  }

  /** Writes what waits. To be called after the last request was answered, before the database connections are closed. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#writer.stop(() => this.#retries.size > 0 && !this.#writer.isFailing);
  }

  /** Records a use. Returns at once and never throws. */
  record(use: T): void {
    const key = this.keyOf(use);
    const last = this.#recorded.get(key);
    if (last !== undefined && use.at.getTime() - last < RESOLUTION_MS) return;
    this.#recorded.set(key, use.at.getTime());
    this.#fresh.set(key, use);
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
    for (const key of oldest.keys()) {
      oldest.delete(key);
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
      for (const [key, use] of this.#retries) if (!this.#fresh.has(key)) this.#fresh.set(key, use);
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
  #writeBatch(uses: readonly T[]): Promise<boolean> {
    return this.#writer.attempt(
      async () => {
        const locked = new Set<T>();
        for (const { statement, idOf } of this.#tables) {
          const ids = await this.#locked(statement, uses, idOf);
          for (const use of uses) if (ids.has(idOf(use))) locked.add(use);
        }
        this.#retryLater([...locked]);
      },
      (isAway) => {
        if (!isAway) this.#writer.giveUp(uses.length);
      },
    );
  }

  /** Writes a batch. @returns the ids of rows that another transaction has locked */
  async #locked(statement: string, uses: readonly T[], idOf: (use: T) => string): Promise<ReadonlySet<string>> {
    const rows = uses.map((use) => [idOf(use), use.at, use.address, use.userAgent]);
    const locked = await this.dataSource.query<{ id: string }[]>(statement, [JSON.stringify(rows)]);
    return new Set(locked.map(({ id }) => id));
  }

  #retryLater(uses: readonly T[]): void {
    if (uses.length === 0) return;
    for (const use of uses) this.#retries.set(this.keyOf(use), use);
    this.#retryAt = performance.now() + RETRY_MS;
  }
}
