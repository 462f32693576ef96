import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { Repository } from 'typeorm';
import { Clock } from '../../platform/common/clock.ts';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { BATCH_ROWS, BufferedWriter, RETRY_MS } from '../../platform/database/buffered-writer.ts';
import { CallCount } from './call-count.entity.ts';
import { WRITE_COUNTS } from './call-statements.ts';

export const HOUR_MS = 3_600_000;
/** Milliseconds from one write to the next. */
const WRITE_MS = 10_000;
/** Rows that an instance writes a second, on average. With more it writes less often, see `UsageService`. */
const ROWS_PER_SECOND = 250;
/** Counts in memory: those that grow, and as many again that wait for the database. Each takes about 300 bytes. */
const MAX_COUNTS = 50_000;
/** Routes of a channel user, each with its method, that are counted by name in an hour. */
export const MAX_ROUTES = 50;
/** The route under which calls to all further routes are counted. */
export const OTHER_ROUTE = 'other';

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
/** Numbers from 1. Any other method is 0. */
const METHOD_NUMBERS = new Map(METHODS.map((method, i) => [method, i + 1]));

/** The calls of one channel user to one route in one hour that had an answer of one class. */
interface Count {
  readonly channelUserId: string;
  /** The hour's start, in milliseconds since the epoch. */
  readonly hour: number;
  readonly route: string;
  readonly method: string;
  readonly statusClass: number;
  readonly writer: string;
  calls: number;
  /** How many of the calls are in the database. */
  written: number;
}

/** Counts by route, method and class of the status, joined to one number. */
type CountsOfUser = Map<number, Count>;

/**
 * Counts guarded calls by channel user, hour, route and class of the status. Counts wait in memory and are written every
 * few seconds. A crash loses those not written yet; a stop loses none.
 */
@Injectable()
export class CallCounterService implements OnApplicationShutdown {
  readonly #writer: BufferedWriter;
  /** Hours since the epoch. */
  #hour = 0;
  #counts = new Map<string, CountsOfUser>();
  #size = 0;
  /** Names the rows that the counts above are written to. */
  #rows = randomUUID();
  /** The counts with calls that are not in the database yet. */
  #waiting: Count[] = [];
  #rowsOfLastWrite = 0;

  constructor(
    @InjectRepository(CallCount) private readonly table: Repository<CallCount>,
    private readonly clock: Clock,
    patience: ReadPatience,
  ) {
    const rows = {
      name: 'counts of calls',
      writeAll: () => this.#writeAll(),
      dueAt: (writtenAt: number) => this.#dueAt(writtenAt),
    };
    this.#writer = new BufferedWriter(rows, patience, new Logger(CallCounterService.name));
  }

  /** Runs after the last request was answered and before the database connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    await this.#writer.stop();
  }

  /**
   * Counts an answered call. Every guarded call runs this, so it looks into two maps, and allocates only for the first
   * call of its kind in an hour.
   */
  record({ channelUserId, stats, method }: FastifyRequest, status: number): void {
    if (channelUserId === undefined || stats === undefined) return;
    const hour = Math.floor(this.clock.now() / HOUR_MS);
    if (hour !== this.#hour) this.#begin(hour);
    const statusClass = Math.floor(status / 100);
    const key = ((stats.number << 3) | (METHOD_NUMBERS.get(method) ?? 0)) * 8 + statusClass;
    const count =
      this.#counts.get(channelUserId)?.get(key) ?? this.#add(channelUserId, key, stats.route, method, statusClass);
    // Only the first call after a write has to be queued.
    if (count.calls++ === count.written) this.#wait(count);
  }

  /**
   * The counts of a channel user in memory. The rows of {@link writer} in the database have the same counts, or lower
   * ones.
   */
  countsOf(channelUserId: string): Pick<Count, 'hour' | 'route' | 'method' | 'statusClass' | 'calls'>[] {
    return [...new Set(this.#counts.get(channelUserId)?.values())];
  }

  get writer(): string {
    return this.#rows;
  }

  /** How many counts wait to be written, and how many calls were lost since the start. */
  get stats(): { queued: number; lost: number } {
    return { queued: this.#waiting.length, lost: this.#writer.lost };
  }

  /** Begins new counts. Those before remain in {@link #waiting} until they are written. */
  #begin(hour: number): void {
    this.#hour = hour;
    this.#counts = new Map();
    this.#size = 0;
    this.#rows = randomUUID();
  }

  #add(channelUserId: string, key: number, route: string, method: string, statusClass: number): Count {
    if (this.#size >= MAX_COUNTS) this.#begin(this.#hour);
    let counts = this.#counts.get(channelUserId);
    if (!counts) this.#counts.set(channelUserId, (counts = new Map<number, Count>()));
    const routes = new Set([...counts.keys()].map((known) => Math.floor(known / 8)));
    const isNamed = routes.size < MAX_ROUTES || routes.has(Math.floor(key / 8));
    const named = (): Count => this.#newCount({ channelUserId, route, method, statusClass });
    const count = isNamed ? named() : this.#otherCount(counts, channelUserId, statusClass);
    // Also the key of a route that is counted as `other`: the next call to it is then found at once.
    counts.set(key, count);
    this.#size++;
    return count;
  }

  #otherCount(counts: CountsOfUser, channelUserId: string, statusClass: number): Count {
    for (const count of counts.values()) {
      if (count.route === OTHER_ROUTE && count.statusClass === statusClass) return count;
    }
    return this.#newCount({ channelUserId, route: OTHER_ROUTE, method: '', statusClass });
  }

  #newCount(of: Pick<Count, 'channelUserId' | 'route' | 'method' | 'statusClass'>): Count {
    return { ...of, hour: this.#hour * HOUR_MS, writer: this.#rows, calls: 0, written: 0 };
  }

  #wait(count: Count): void {
    if (this.#waiting.length >= MAX_COUNTS) this.#giveUp(this.#waiting.shift());
    this.#waiting.push(count);
    this.#writer.schedule();
  }

  #giveUp(count: Count | undefined): void {
    if (count === undefined) return;
    this.#writer.giveUp(count.calls - count.written);
    count.written = count.calls;
  }

  #dueAt(writtenAt: number): number {
    if (this.#waiting.length === 0) return Infinity;
    if (this.#writer.isFailing) return writtenAt + RETRY_MS;
    return writtenAt + Math.max(WRITE_MS, (this.#rowsOfLastWrite / ROWS_PER_SECOND) * 1000);
  }

  /** Writes what waits, in statements of bounded size, until the database does not answer. */
  async #writeAll(): Promise<void> {
    this.#rowsOfLastWrite = this.#waiting.length;
    let left = this.#waiting.length;
    let isAnswering = true;
    for (; left > 0 && isAnswering; left -= BATCH_ROWS) {
      isAnswering = await this.#writeBatch(this.#waiting.splice(0, Math.min(left, BATCH_ROWS)));
    }
  }

  #writeBatch(counts: readonly Count[]): Promise<boolean> {
    if (counts.length === 0) return Promise.resolve(true);
    const rows = counts.map(({ written: _, ...row }) => row);
    const written = (): void => {
      for (const [i, count] of counts.entries()) count.written = rows[i]?.calls ?? 0;
    };
    // To the end of the queue, so that one batch that cannot be written does not keep the others waiting.
    const waitAgain = (): void => {
      for (const count of counts) if (count.calls > count.written) this.#wait(count);
    };
    return this.#writer.attempt(
      async () => {
        await this.table.query(WRITE_COUNTS, [JSON.stringify(rows)]);
        written();
        waitAgain();
      },
      (isAway) => {
        if (!isAway) {
          // They remain in the total, which the next call of the same kind brings to the database.
          this.#writer.giveUp(counts.reduce((sum, { written: before }, i) => sum + (rows[i]?.calls ?? 0) - before, 0));
          written();
        }
        waitAgain();
      },
    );
  }
}
