import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { Repository } from 'typeorm';
import { LastUseService } from '../../channel-user/credential/last-use.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { minuteOf, RowsPerMinute } from '../../platform/common/rows-per-minute.ts';
import { timeOrderedId } from '../../platform/common/uuid.ts';
import { BATCH_MS, BATCH_ROWS, BufferedWriter, RETRY_MS } from '../../platform/database/buffered-writer.ts';
import { type Outcome, SignInAttempt, wasTooMany } from './sign-in-attempt.entity.ts';
import { COUNT, INSERT, SETTLE } from './sign-in-statements.ts';

/** Records kept while the database is away. Beyond this number the oldest records and new counts are dropped. */
const MAX_QUEUE = 20_000;
/** Characters of a User-Agent header that are recorded. */
const MAX_USER_AGENT = 256;

/** The result of a sign-in attempt. */
export interface NewSignInAttempt {
  readonly channelUserId: string;
  readonly credentialId: string | null;
  readonly outcome: Outcome;
  /** The error code that the partner was told. */
  readonly errorCode: string | null;
  /** The true reason. Whoever signs in does not see it. */
  readonly reason: string | null;
}

/** A record as the SQL statements read it. Times are in milliseconds since the epoch. */
interface Row extends NewSignInAttempt {
  readonly id: string;
  readonly at: number;
  readonly address: string | null;
  readonly requestId: string;
  readonly userAgent: string | null;
  count: number;
  readonly minute: number | null;
  /** In a row that counts refusals: the time of the last one. */
  lastAt?: number;
}

/** Copies the start of a long header: a slice would keep the whole header in memory until the record is written. */
function userAgentOf(header: string | undefined): string | null {
  if (header === undefined || header.length <= MAX_USER_AGENT) return header ?? null;
  return Buffer.from(header.slice(0, MAX_USER_AGENT), 'latin1').toString('latin1');
}

/** What a statement skipped because a row was locked: `channelUserId` names a failure row, `id` a counting record. */
interface Skipped {
  readonly channelUserId: string | null;
  readonly id: string | null;
}

/**
 * Records the results of sign-in attempts. Records wait in memory and are written in batches, so that requests do not
 * wait for them. A crash loses at most the last batch; a stop loses none.
 */
@Injectable()
export class SignInRecorderService implements OnApplicationShutdown {
  readonly #writer: BufferedWriter;
  /** Names the hourly rows that this instance adds to. */
  #instance = randomUUID();
  readonly #queue: Row[] = [];
  /** Refusals that are only counted and not written yet, by channel user, minute and reason. */
  readonly #counted = new Map<string, Row>();
  /** Written records that `sign_in_failure` does not reflect yet, because their row there was locked. */
  #unsettled: Row[] = [];
  /** Whether the last write left counts in memory because their rows were locked. */
  #hasSkippedCounts = false;
  readonly #refusals = new RowsPerMinute();

  constructor(
    @InjectRepository(SignInAttempt) private readonly attempts: Repository<SignInAttempt>,
    private readonly lastUses: LastUseService,
    private readonly clock: Clock,
    patience: ReadPatience,
  ) {
    const rows = {
      name: 'the sign-in log',
      writeAll: (least: number) => this.#writeAll(least),
      dueAt: (writtenAt: number) => this.#dueAt(writtenAt),
    };
    this.#writer = new BufferedWriter(rows, patience, new Logger(SignInRecorderService.name));
  }

  /** Runs after the last request was answered and before the database connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    await this.#writer.stop(() => this.#hasSkippedCounts);
  }

  /** Records an attempt. Neither waits nor throws. */
  record({ id: requestId, clientAddress, headers }: FastifyRequest, attempt: NewSignInAttempt): void {
    const at = this.clock.now();
    const row: Row = {
      ...attempt,
      id: timeOrderedId(at),
      at,
      address: clientAddress ?? null,
      requestId,
      userAgent: userAgentOf(headers['user-agent']),
      count: 1,
      minute: this.#sharedMinute(attempt, at),
    };
    if (row.minute === null) this.#queue.push(row);
    else this.#count(row);
    // The last use tells which password the partner's software has. A person on the partner's page is no such use.
    if (attempt.outcome === 'token' && attempt.credentialId !== null && attempt.reason !== 'partner_page') {
      this.lastUses.record({
        channelUserId: attempt.channelUserId,
        credentialId: attempt.credentialId,
        at: new Date(at),
        address: row.address,
        userAgent: row.userAgent,
      });
    }
    if (this.#queue.length > MAX_QUEUE) {
      this.#queue.shift();
      this.#writer.giveUp(1);
    }
    this.#writer.schedule();
  }

  /**
   * The minute of the row that an attempt shares, if any. 429s share one row a minute, and so do refusals beyond the
   * number that {@link RowsPerMinute} gives a row each.
   */
  #sharedMinute({ channelUserId, outcome, errorCode, reason }: NewSignInAttempt, at: number): number | null {
    if (outcome !== 'refused') return null;
    if (wasTooMany(errorCode)) return minuteOf(at);
    return this.#refusals.sharedMinute(`${channelUserId} ${String(reason)}`, at);
  }

  /** Writes what this instance has recorded, for a read that follows. Returns early if that takes too long or fails. */
  settle(): Promise<void> {
    return this.#writer.settle(() => this.#hasSkippedCounts);
  }

  /** How many records wait to be written, and how many were lost since the start. */
  get stats(): { queued: number; lost: number } {
    return { queued: this.#queue.length + this.#counted.size, lost: this.#writer.lost };
  }

  #count(row: Row): void {
    const key = `${row.channelUserId} ${String(row.minute)} ${String(row.reason)}`;
    const counted = this.#counted.get(key);
    row.lastAt ??= row.at;
    if (counted) {
      counted.count += row.count;
      counted.lastAt = Math.max(counted.lastAt ?? 0, row.lastAt);
    } else if (this.#counted.size < MAX_QUEUE) this.#counted.set(key, row);
    else this.#writer.giveUp(row.count);
  }

  /** The first record after a quiet time is written at once. The next batch follows after 250 ms or 500 records. */
  #dueAt(writtenAt: number): number {
    const { isFailing } = this.#writer;
    if (this.#queue.length >= BATCH_ROWS && !isFailing) return -Infinity;
    const isNew = this.#queue.length > 0 || this.#counted.size > 0;
    if (!isNew && this.#unsettled.length === 0) return Infinity;
    return writtenAt + (isFailing || !isNew ? RETRY_MS : BATCH_MS);
  }

  /** Writes batch after batch, until nothing is left or the database does not answer. */
  async #writeAll(least: number): Promise<void> {
    // Each write tries records with a locked row once, so that a row that stays locked does not hold it up.
    const unsettled = this.#unsettled;
    this.#unsettled = [];
    this.#hasSkippedCounts = false;
    const batchesOfCounted = Math.ceil(this.#counted.size / BATCH_ROWS);
    let isAnswering = await this.#writeRows();
    while (isAnswering && this.#queue.length >= least) isAnswering = await this.#writeRows();
    for (let i = 0; i < batchesOfCounted && isAnswering; i++) isAnswering = await this.#writeCounted();
    if (!isAnswering) {
      this.#settleLater(unsettled);
      return;
    }
    for (let i = 0; i < unsettled.length; i += BATCH_ROWS) {
      await this.#writeBatch(SETTLE, unsettled.slice(i, i + BATCH_ROWS), (rows) => {
        this.#settleLater(rows);
      });
    }
  }

  #writeRows(): Promise<boolean> {
    return this.#writeBatch(INSERT, this.#queue.splice(0, BATCH_ROWS), (rows) => this.#queue.unshift(...rows));
  }

  #writeCounted(): Promise<boolean> {
    const rows: Row[] = [];
    for (const [key, row] of this.#counted) {
      this.#counted.delete(key);
      if (rows.push(row) === BATCH_ROWS) break;
    }
    return this.#writeBatch(COUNT, rows, (unwritten) => {
      for (const row of unwritten) this.#count(row);
    });
  }

  #settleLater(rows: readonly Row[]): void {
    this.#unsettled.push(...rows);
    if (this.#unsettled.length > MAX_QUEUE) this.#unsettled.splice(0, this.#unsettled.length - MAX_QUEUE);
  }

  /**
   * @param giveBack takes back all rows when the database does not answer, or else those whose row there is locked;
   *   rows that the database refuses for another reason are dropped
   * @returns whether the database answers
   */
  async #writeBatch(statement: string, rows: Row[], giveBack: (rows: Row[]) => void): Promise<boolean> {
    if (rows.length === 0) return true;
    return this.#writer.attempt(
      async () => {
        const parameters = statement === SETTLE ? [JSON.stringify(rows)] : [JSON.stringify(rows), this.#instance];
        this.#putBack(rows, await this.attempts.query<Skipped[]>(statement, parameters), giveBack);
      },
      (isAway) => {
        if (isAway) giveBack(rows);
        else this.#writer.giveUp(rows.length);
        // The row of the hour may have been locked, so the next batch adds to a new one.
        this.#instance = randomUUID();
      },
    );
  }

  #putBack(rows: readonly Row[], skipped: readonly Skipped[], giveBack: (rows: Row[]) => void): void {
    if (skipped.length === 0) return;
    const ids = new Set(skipped.map(({ id }) => id));
    const locked = rows.filter(({ id }) => ids.has(id));
    if (locked.length > 0) this.#hasSkippedCounts = true;
    giveBack(locked);
    const users = new Set(skipped.map(({ channelUserId }) => channelUserId));
    this.#settleLater(rows.filter(({ id, channelUserId }) => !ids.has(id) && users.has(channelUserId)));
  }
}
