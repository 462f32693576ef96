import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyInstance } from 'fastify';
import { Repository } from 'typeorm';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, isTimestamp, pageOf } from '../../platform/api/page.ts';
import { Clock } from '../../platform/common/clock.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { isUuid } from '../../platform/common/uuid.ts';
import { deleteInBatches } from '../../platform/database/delete-in-batches.ts';
import { CallCounterService, HOUR_MS, MAX_ROUTES, OTHER_ROUTE } from './call-counter.service.ts';
import { CallErrorRecorderService } from './call-error-recorder.service.ts';
import { CallError } from './call-error.entity.ts';
import { READ_COUNTS } from './call-statements.ts';
import { explainCall, titleOfCall } from './call-words.ts';
import {
  type CallErrorDto,
  type CallErrorPageDto,
  type CallsDto,
  DEFAULT_HOURS,
  type ListCallErrorsQuery,
  type ReadCallsQuery,
} from './calls.dto.ts';

const DAY_MS = 24 * HOUR_MS;
const KEEP_COUNTS_MS = 8 * DAY_MS;
/** How long refused and failed calls are kept. */
export const KEEP_ERRORS_DAYS = 14;

interface CountRow {
  readonly hour: Date;
  readonly method: string;
  readonly route: string;
  readonly statusClass: number;
  readonly calls: number;
}

/** Reads what channel users called and which calls were refused or failed, and deletes the rows in time. */
@Injectable()
export class CallsService implements OnApplicationBootstrap {
  constructor(
    @InjectRepository(CallError) private readonly errors: Repository<CallError>,
    private readonly counter: CallCounterService,
    private readonly recorder: CallErrorRecorderService,
    private readonly host: HttpAdapterHost,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({ name: 'Deleting old calls', everyMs: HOUR_MS, run: () => this.#prune() });
    // The command line has no HTTP adapter.
    const adapter = this.host.httpAdapter as HttpAdapterHost['httpAdapter'] | null;
    adapter?.getInstance<FastifyInstance>().callObservers.register((request, status, code) => {
      this.counter.record(request, status);
      if (status >= 400) this.recorder.record(request, status, code);
    });
  }

  /** The calls of a channel user by hour, with everything that this instance has answered so far. */
  async calls(channelUserId: string, { hours = DEFAULT_HOURS }: ReadCallsQuery): Promise<CallsDto> {
    const from = new Date((Math.floor(this.clock.now() / HOUR_MS) - (hours - 1)) * HOUR_MS);
    const { writer } = this.counter;
    const inMemory = this.counter.countsOf(channelUserId).filter(({ hour }) => hour >= from.getTime());
    const written = await this.errors.query<CountRow[]>(READ_COUNTS, [channelUserId, from, writer]);
    const rows = sumsOf([...written, ...inMemory.map((count) => ({ ...count, hour: new Date(count.hour) }))]);
    return {
      from,
      totals: joined(rows.map((row) => ({ ...row, hour: from }))).map(toTotalDto),
      items: rows.map((row) => ({ hour: row.hour, ...toTotalDto(row) })),
    };
  }

  /** A page of a channel user's refused and failed calls, newest first. */
  async listErrors(
    channelUserId: string,
    { limit = DEFAULT_PAGE, cursor }: ListCallErrorsQuery,
  ): Promise<CallErrorPageDto> {
    await this.recorder.settle();
    const query = this.errors
      .createQueryBuilder('error')
      .where('error.channelUserId = :channelUserId', { channelUserId })
      .orderBy('error.at', 'DESC')
      .addOrderBy('error.id', 'DESC')
      .limit(limit + 1);
    if (cursor !== undefined) {
      const [at, id] = decodeCursor(cursor, 'at', [isTimestamp, isUuid]);
      query.andWhere('(error.at, error.id) < (:at::timestamptz, :id::uuid)', { at, id });
    }
    const page = pageOf(await query.getMany(), limit, (row) => encodeCursor('at', [row.at.toISOString(), row.id]));
    return { items: page.items.map(toDto), nextCursor: page.nextCursor };
  }

  /**
   * The refused or failed call that has this request id.
   *
   * @param channelUserId of whom; of anybody if absent
   */
  async ofRequest(
    requestId: string,
    channelUserId?: string,
  ): Promise<{ channelUserId: string; call: CallErrorDto } | undefined> {
    await this.recorder.settle();
    const row = await this.errors.findOneBy({ requestId, ...(channelUserId !== undefined && { channelUserId }) });
    return row ? { channelUserId: row.channelUserId, call: toDto(row) } : undefined;
  }

  async #prune(): Promise<void> {
    const now = this.clock.now();
    const { manager } = this.errors;
    await deleteInBatches(manager, 'call_count', 'hour < $1', new Date(now - KEEP_COUNTS_MS));
    await deleteInBatches(manager, 'call_error', 'at < $1', new Date(now - KEEP_ERRORS_DAYS * DAY_MS));
  }
}

function toDto({ id, at, method, route, status, code, reason, requestId, count }: CallError): CallErrorDto {
  const explanation = explainCall({ reason, code, status });
  return { id, at, method, route, status, code, title: titleOfCall(status), ...explanation, requestId, count };
}

function toTotalDto({ method, route, statusClass, calls }: CountRow): CallsDto['totals'][number] {
  return {
    method: method === '' ? null : method,
    route,
    statusClass: `${String(statusClass)}xx` as CallsDto['totals'][number]['statusClass'],
    count: calls,
  };
}

/** Adds up equal counts, with the routes beyond {@link MAX_ROUTES} as one. */
function sumsOf(counts: readonly CountRow[]): CountRow[] {
  const named = mostCalled(counts);
  return joined(
    counts.map((count) => (named.has(nameOf(count)) ? count : { ...count, method: '', route: OTHER_ROUTE })),
  );
}

/** Adds up equal counts. Newest hour first, then by route. */
function joined(counts: readonly CountRow[]): CountRow[] {
  const sums = new Map<string, CountRow>();
  for (const { hour, method, route, statusClass, calls } of counts) {
    const key = [hour.getTime(), method, route, statusClass].join(' ');
    sums.set(key, { hour, method, route, statusClass, calls: (sums.get(key)?.calls ?? 0) + calls });
  }
  return [...sums.values()].sort(
    (a, b) =>
      b.hour.getTime() - a.hour.getTime() ||
      Number(a.method === '') - Number(b.method === '') ||
      compare(a.route, b.route) ||
      compare(a.method, b.method) ||
      a.statusClass - b.statusClass,
  );
}

const nameOf = ({ method, route }: CountRow): string => `${method} ${route}`;
const compare = (a: string, b: string): number => (a < b ? -1 : Number(a > b));

/** The routes with the most calls. Instances and hours may each have counted other routes by name. */
function mostCalled(counts: readonly CountRow[]): Set<string> {
  const calls = new Map<string, number>();
  for (const count of counts) {
    if (count.method !== '') calls.set(nameOf(count), (calls.get(nameOf(count)) ?? 0) + count.calls);
  }
  const byCalls = [...calls].sort(([a, m], [b, n]) => n - m || compare(a, b));
  return new Set(byCalls.slice(0, MAX_ROUTES).map(([name]) => name));
}
