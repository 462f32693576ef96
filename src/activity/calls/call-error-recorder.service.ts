import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { Repository } from 'typeorm';
import { Clock } from '../../platform/common/clock.ts';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { RowsPerMinute } from '../../platform/common/rows-per-minute.ts';
import { timeOrderedId } from '../../platform/common/uuid.ts';
import { BATCH_MS, BATCH_ROWS, BufferedWriter, RETRY_MS } from '../../platform/database/buffered-writer.ts';
import { CallError } from './call-error.entity.ts';
import { COUNT_ERRORS, INSERT_ERRORS } from './call-statements.ts';

/** Records kept while the database is away. Beyond this number the oldest records and new counts are dropped. */
const MAX_QUEUE = 20_000;

/** A record as the SQL statements read it. Times are in milliseconds since the epoch. */
interface Row {
  readonly id: string;
  readonly channelUserId: string;
  readonly at: number;
  readonly method: string;
  readonly route: string;
  readonly status: number;
  readonly code: string | null;
  readonly reason: string;
  readonly requestId: string;
  count: number;
  readonly minute: number | null;
}

/**
 * Records guarded calls that were refused or failed. Records wait in memory and are written in batches, so that requests
 * do not wait for them. A crash loses at most the last batch; a stop loses none.
 */
@Injectable()
export class CallErrorRecorderService implements OnApplicationShutdown {
  readonly #writer: BufferedWriter;
  readonly #queue: Row[] = [];
  /** Errors that are only counted and not written yet, by channel user, minute and reason. */
  readonly #counted = new Map<string, Row>();
  readonly #perMinute = new RowsPerMinute();

  constructor(
    @InjectRepository(CallError) private readonly table: Repository<CallError>,
    private readonly clock: Clock,
    patience: ReadPatience,
  ) {
    const rows = {
      name: 'errors of calls',
      writeAll: () => this.#writeAll(),
      dueAt: (writtenAt: number) => this.#dueAt(writtenAt),
    };
    this.#writer = new BufferedWriter(rows, patience, new Logger(CallErrorRecorderService.name));
  }

  /** Runs after the last request was answered and before the database connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    await this.#writer.stop();
  }

  /** Records a call that was refused or failed. Neither waits nor throws. */
  record(request: FastifyRequest, status: number, code: string | undefined): void {
    const { id: requestId, channelUserId, method, stats, tokenRefusal } = request;
    if (channelUserId === undefined || stats === undefined) return;
    const at = this.clock.now();
    const reason = tokenRefusal ?? code ?? String(status);
    const row: Row = {
      id: timeOrderedId(at),
      channelUserId,
      at,
      method,
      route: stats.route,
      status,
      code: code ?? null,
      reason,
      requestId,
      count: 1,
      minute: this.#perMinute.sharedMinute(`${channelUserId} ${reason}`, at),
    };
    if (row.minute === null) this.#keep([row]);
    else this.#count(row);
    this.#writer.schedule();
  }

  /** Writes what this instance has recorded, for a read that follows. Returns early if that takes too long or fails. */
  settle(): Promise<void> {
    return this.#writer.settle();
  }

  /** How many records wait to be written, and how many were lost since the start. */
  get stats(): { queued: number; lost: number } {
    return { queued: this.#queue.length + this.#counted.size, lost: this.#writer.lost };
  }

  /** @param rows newer than those in the queue */
  #keep(rows: readonly Row[]): void {
    this.#queue.push(...rows);
    this.#trim();
  }

  #trim(): void {
    const excess = this.#queue.length - MAX_QUEUE;
    if (excess <= 0) return;
    this.#queue.splice(0, excess);
    this.#writer.giveUp(excess);
  }

  #count(row: Row): void {
    const key = `${row.channelUserId} ${String(row.minute)} ${row.reason}`;
    const counted = this.#counted.get(key);
    if (counted) counted.count += row.count;
    else if (this.#counted.size < MAX_QUEUE) this.#counted.set(key, row);
    else this.#writer.giveUp(row.count);
  }

  /** The first record after a quiet time is written at once. The next batch follows after 250 ms or 500 records. */
  #dueAt(writtenAt: number): number {
    const { isFailing } = this.#writer;
    if (this.#queue.length >= BATCH_ROWS && !isFailing) return -Infinity;
    if (this.#queue.length === 0 && this.#counted.size === 0) return Infinity;
    return writtenAt + (isFailing ? RETRY_MS : BATCH_MS);
  }

  /** Writes batch after batch, until what waited is written or the database does not answer. */
  async #writeAll(): Promise<void> {
    let isAnswering = true;
    for (let left = this.#queue.length; left > 0 && isAnswering; left -= BATCH_ROWS) {
      isAnswering = await this.#writeBatch(INSERT_ERRORS, this.#queue.splice(0, BATCH_ROWS), (rows) => {
        this.#queue.unshift(...rows);
        this.#trim();
      });
    }
    for (let left = this.#counted.size; left > 0 && isAnswering; left -= BATCH_ROWS) {
      isAnswering = await this.#writeBatch(COUNT_ERRORS, this.#takeCounted(), (rows) => {
        for (const row of rows) this.#count(row);
      });
    }
  }

  #takeCounted(): Row[] {
    const rows = [...this.#counted].slice(0, BATCH_ROWS);
    for (const [key] of rows) this.#counted.delete(key);
    return rows.map(([, row]) => row);
  }

  /** @param giveBack takes the rows back when the database does not answer; rows that it refuses are dropped */
  #writeBatch(statement: string, rows: Row[], giveBack: (rows: Row[]) => void): Promise<boolean> {
    if (rows.length === 0) return Promise.resolve(true);
    return this.#writer.attempt(
      async () => {
        await this.table.query(statement, [JSON.stringify(rows)]);
      },
      (isAway) => {
        if (isAway) giveBack(rows);
        else this.#writer.giveUp(rows.reduce((sum, { count }) => sum + count, 0));
      },
    );
  }
}
