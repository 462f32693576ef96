import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { Repository } from 'typeorm';
import { Config } from '../../platform/config/config.ts';
import { Clock } from '../../platform/common/clock.ts';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { BATCH_ROWS, BufferedWriter, RETRY_MS } from '../../platform/database/buffered-writer.ts';
import type { RouteStats } from '../../platform/http/route-stats.ts';
import { CallCount } from './call-count.entity.ts';
import { WRITE_COUNTS } from './call-statements.ts';

export const HOUR_MS = 3_600_000;
/** Milliseconds from one write to the next. */
const WRITE_MS = 10_000;
/** Rows that an instance writes a second, on average. With more it writes less often, see `UsageService`. */
const ROWS_PER_SECOND = 250;
/**
 * Counts of an hour by route, for each account that is kept in memory. Beyond this number further routes are counted as
 * `other`, and beyond twice this number further calls are given up. A count takes 75 bytes, and 120 if it is the first
 * one of its channel user.
 */
const COUNTS_PER_ACCOUNT = 4;
/** Routes of a channel user, each with its method, that are counted by name in an hour. */
export const MAX_ROUTES = 50;
/** The route under which calls to all further routes are counted. */
export const OTHER_ROUTE = 'other';
/** Its method is empty. */
const OTHER_NAME = ` ${OTHER_ROUTE}`;

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];
/** Numbers from 1. Any other method is 0. */
const METHOD_NUMBERS = new Map(METHODS.map((method, i) => [method, i + 1]));

/** A route, method and class of the status. All channel users share it. */
interface Kind {
  readonly route: string;
  readonly method: string;
  readonly statusClass: number;
}

/** The counts that begin in one hour. */
interface Hour {
  /** In milliseconds since the epoch. */
  readonly start: number;
  /** Names the rows that the counts are written to. */
  readonly writer: string;
}

/** The calls of one channel user to one route in one hour that had an answer of one class. */
interface Count {
  readonly channelUserId: string;
  readonly kind: Kind;
  readonly hour: Hour;
  calls: number;
  /** How many of the calls are in the database. */
  written: number;
  /** The next count of the same channel user and hour. */
  next: Count | undefined;
}

function* chainOf(first: Count | undefined): Generator<Count> {
  for (let count = first; count; count = count.next) yield count;
}

/**
 * Counts guarded calls by channel user, hour, route and class of the status. Counts wait in memory and are written every
 * few seconds. A crash loses those not written yet; a stop loses none.
 */
@Injectable()
export class CallCounterService implements OnApplicationShutdown {
  readonly #writer: BufferedWriter;
  readonly #maxCounts: number;
  /** By route, method and class of the status, joined to one number. */
  readonly #kinds = new Map<number, Kind>();
  readonly #others = new Map<number, Kind>();
  #hour: Hour = { start: 0, writer: randomUUID() };
  /** The first count of each channel user in this hour. */
  #counts = new Map<string, Count>();
  #size = 0;
  /** The counts with calls that are not in the database yet. */
  #waiting: Count[] = [];
  #rowsOfLastWrite = 0;

  constructor(
    @InjectRepository(CallCount) private readonly table: Repository<CallCount>,
    private readonly clock: Clock,
    patience: ReadPatience,
    config: Config,
  ) {
    this.#maxCounts = config.accountCacheSize * COUNTS_PER_ACCOUNT;
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
    const now = this.clock.now();
    if (now - this.#hour.start >= HOUR_MS || now < this.#hour.start) this.#begin(Math.floor(now / HOUR_MS) * HOUR_MS);
    const kind = this.#kindOf(stats, method, Math.floor(status / 100));
    let count = this.#counts.get(channelUserId);
    while (count && count.kind !== kind) count = count.next;
    count ??= this.#add(channelUserId, kind);
    if (count === undefined) this.#writer.giveUp(1);
    // Only the first call after a write has to be queued.
    else if (count.calls++ === count.written) this.#wait(count);
  }

  /**
   * The counts of a channel user in memory. The rows of {@link writer} in the database have the same counts, or lower
   * ones.
   */
  countsOf(channelUserId: string): (Kind & { hour: number; calls: number })[] {
    return [...chainOf(this.#counts.get(channelUserId))].map(({ kind, hour, calls }) => ({
      ...kind,
      hour: hour.start,
      calls,
    }));
  }

  get writer(): string {
    return this.#hour.writer;
  }

  /** How many counts wait to be written, and how many calls were lost since the start. */
  get stats(): { queued: number; lost: number } {
    return { queued: this.#waiting.length, lost: this.#writer.lost };
  }

  /** Begins new counts. Those before remain in {@link #waiting} until they are written. */
  #begin(start: number): void {
    this.#hour = { start, writer: randomUUID() };
    this.#counts = new Map();
    this.#size = 0;
  }

  #kindOf({ number, route }: RouteStats, method: string, statusClass: number): Kind {
    const key = ((number << 3) | (METHOD_NUMBERS.get(method) ?? 0)) * 8 + statusClass;
    let kind = this.#kinds.get(key);
    if (!kind) this.#kinds.set(key, (kind = { route, method, statusClass }));
    return kind;
  }

  /** Begins the count of calls of this kind, or finds the one of `other`. `undefined` if there are too many. */
  #add(channelUserId: string, kind: Kind): Count | undefined {
    const chain = [...chainOf(this.#counts.get(channelUserId))];
    const routes = new Set(chain.map(({ kind: { route, method } }) => `${method} ${route}`));
    const isNamed =
      routes.has(`${kind.method} ${kind.route}`) ||
      ([...routes].filter((name) => name !== OTHER_NAME).length < MAX_ROUTES && this.#size < this.#maxCounts);
    if (isNamed) return this.#append(channelUserId, kind);
    const other = this.#otherOf(kind);
    return chain.find((count) => count.kind === other) ?? this.#append(channelUserId, other);
  }

  #append(channelUserId: string, kind: Kind): Count | undefined {
    if (this.#size >= 2 * this.#maxCounts) return undefined;
    const count: Count = { channelUserId, kind, hour: this.#hour, calls: 0, written: 0, next: undefined };
    let last = this.#counts.get(channelUserId);
    while (last?.next) last = last.next;
    if (last) last.next = count;
    else this.#counts.set(channelUserId, count);
    this.#size++;
    return count;
  }

  #otherOf({ statusClass }: Kind): Kind {
    let kind = this.#others.get(statusClass);
    if (!kind) this.#others.set(statusClass, (kind = { route: OTHER_ROUTE, method: '', statusClass }));
    return kind;
  }

  #wait(count: Count): void {
    if (this.#waiting.length >= 2 * this.#maxCounts) this.#giveUp(this.#waiting.shift());
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
    const rows = counts.map(({ channelUserId, kind, hour, calls }) => ({
      channelUserId,
      ...kind,
      hour: hour.start,
      writer: hour.writer,
      calls,
    }));
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
