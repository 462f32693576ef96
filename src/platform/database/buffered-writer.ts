import type { Logger } from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import { UnavailableError } from '../common/errors.ts';
import { postgresError } from '../common/postgres-errors.ts';
import type { ReadPatience } from '../common/read-patience.ts';

/** Rows of a statement: it stays far below the statement timeout, whatever the backlog. */
export const BATCH_ROWS = 500;
/** The time from one write to the next, at least, in milliseconds. */
export const BATCH_MS = 250;
/** The same while the database does not answer, or somebody else has locked the rows that wait. */
export const RETRY_MS = 1_000;
/** Rows that another instance has locked are free again in milliseconds; a flush tries again this soon. */
const LOCKED_RETRY_MS = 25;
const LOCKED_RETRIES = 80;

/** Rows that wait in memory. Their owner bounds them. */
export interface WaitingRows {
  /** What the log calls them. */
  readonly name: string;
  /**
   * Writes what waits, each batch through {@link BufferedWriter.attempt}, until nothing is left or the database does not
   * answer.
   *
   * @param least how many rows make another batch
   */
  readonly writeAll: (least: number) => Promise<void>;
  /** When the next write is due, on the monotonic clock, given when the last one was; `Infinity` when nothing waits. */
  readonly dueAt: (writtenAt: number) => number;
}

/** Writes rows that wait in memory, off the path of the requests that made them: one write at a time, again after failures. */
export class BufferedWriter {
  #writing: Promise<void> | undefined;
  #writingSince: number | undefined;
  #writtenAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #timerDue = Infinity;
  #isFailing = false;
  /** Since the last write that succeeded. */
  #givenUp = 0;
  #lost = 0;

  constructor(
    private readonly rows: WaitingRows,
    private readonly patience: ReadPatience,
    private readonly logger: Logger,
  ) {}

  /** Whether the last statement failed. */
  get isFailing(): boolean {
    return this.#isFailing;
  }

  /** Rows that were given up since the start. */
  get lost(): number {
    return this.#lost;
  }

  giveUp(rows: number): void {
    this.#givenUp += rows;
    this.#lost += rows;
  }

  /** Sees to it that what waits is written when it is due. */
  schedule(): void {
    if (this.#writing) return;
    const due = this.rows.dueAt(this.#writtenAt);
    if (due === Infinity || (this.#timer && this.#timerDue <= due)) return;
    clearTimeout(this.#timer);
    this.#timerDue = due;
    this.#timer = setTimeout(() => void this.#write(BATCH_ROWS), Math.max(0, due - performance.now()));
  }

  /**
   * Writes what waits now.
   *
   * @param isLocked whether rows were left since somebody else has locked them: they are tried again for two seconds
   */
  async flush(isLocked?: () => boolean): Promise<void> {
    await this.#writing;
    // Also when somebody else began the next write meanwhile: it may hold what this caller waits for.
    await this.#write(1);
    for (let retries = 0; isLocked?.() === true && retries < LOCKED_RETRIES; retries++) {
      await wait(LOCKED_RETRY_MS);
      await this.#write(1);
    }
  }

  /** {@link flush} for reads: no longer than a reader waits. */
  settle(isLocked?: () => boolean): Promise<void> {
    return this.patience.waitFor(this.flush(isLocked), this.#writingSince);
  }

  /** {@link flush} for the shutdown: nothing is written afterwards. */
  async stop(isLocked?: () => boolean): Promise<void> {
    await this.flush(isLocked);
    this.#clearTimer();
  }

  /**
   * Writes a batch. The log says when that begins to fail, and when it works again.
   *
   * @param failed takes the rows back when the database is away; what it refuses for another reason is given up
   * @returns whether the database answers
   */
  async attempt(work: () => Promise<void>, failed: (isAway: boolean) => void): Promise<boolean> {
    const { name } = this.rows;
    try {
      await work();
      if (this.#isFailing)
        this.logger.warn(`Writing ${name} works again, rows lost meanwhile: ${String(this.#givenUp)}`);
      this.#isFailing = false;
      this.#givenUp = 0;
      return true;
    } catch (error) {
      const isAway = postgresError(error) instanceof UnavailableError;
      failed(isAway);
      if (!this.#isFailing || !isAway) {
        this.logger.error(`Writing ${name} failed${isAway ? ', retrying' : ''}: ${(error as Error).message}`);
      }
      this.#isFailing = true;
      return !isAway;
    }
  }

  #write(least: number): Promise<void> {
    this.#clearTimer();
    const begun = performance.now();
    this.#writingSince ??= begun;
    this.#writing ??= this.rows.writeAll(least).finally(() => {
      this.#writing = undefined;
      this.#writingSince = undefined;
      // From one beginning to the next, so that a row waits no longer because the write before it took long.
      this.#writtenAt = this.#isFailing ? performance.now() : begun;
      this.schedule();
    });
    return this.#writing;
  }

  #clearTimer(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
