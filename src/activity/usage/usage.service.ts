import { Injectable, Logger, type OnApplicationBootstrap, type OnApplicationShutdown } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { Repository } from 'typeorm';
import { SignInLogService } from '../sign-in-log/sign-in-log.service.ts';
import { SignInRecorderService } from '../sign-in-log/sign-in-recorder.service.ts';
import { ChannelUserService } from '../../channel-user/channel-user.service.ts';
import { CredentialService } from '../../channel-user/credential/credential.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { ReadPatience } from '../../platform/common/read-patience.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { deleteInBatches } from '../../platform/database/delete-in-batches.ts';
import { CredentialUsage } from './credential-usage.entity.ts';
import type { CredentialImpactDto } from './usage.dto.ts';

const WRITE_MS = 10_000;
/**
 * Rows that an instance writes a second, on average. With more credentials it writes less often, so that the load on
 * PostgreSQL does not grow with their number.
 */
const ROWS_PER_SECOND = 250;
const BATCH_RECORDS = 500;
const MAX_FAILURES = 2;
/** Credentials in one count. When a count with more has been written, a new one begins. */
const MAX_COUNTED = 100_000;
/** Ended counts kept while the database is away. Beyond this number the oldest is dropped. */
const MAX_COUNTS = 24;
const HOUR_MS = 3_600_000;
const KEEP_MS = 8 * 24 * HOUR_MS;
/** The number at which counting the live tokens of a credential stops. */
const MAX_LIVE_TOKENS = 100_000;

interface Calls {
  calls: number;
  lastAt: number;
  /** How many of the calls are in the database. */
  written: number;
  /** Whether the last attempt to write them failed. */
  hasFailed: boolean;
}

/** The calls of an hour, by credential. */
class HourlyCount {
  readonly writer = randomUUID();
  readonly calls = new Map<string, Calls>();

  constructor(
    /** Hours since the epoch. */
    readonly hour: number,
  ) {}
}

/** The credentials with calls that are not in the database yet. */
const dueOf = (count: Pick<HourlyCount, 'calls'> | undefined): [credentialId: string, calls: Calls][] =>
  [...(count?.calls ?? [])].filter(([, { calls, written }]) => calls > written);

/** Writes totals, not increments: a batch whose answer was lost can be written again, which changes nothing. */
const WRITE = `
  INSERT INTO credential_usage (credential_id, hour, writer, calls, last_at)
  SELECT id, $2, $3, calls, to_timestamp("lastAt" / 1000.0)
  FROM json_to_recordset($1::json) AS row(id uuid, calls bigint, "lastAt" float8)
  ON CONFLICT (credential_id, hour, writer) DO UPDATE SET
    calls = greatest(credential_usage.calls, EXCLUDED.calls), last_at = greatest(credential_usage.last_at, EXCLUDED.last_at)`;

const READ = `
  SELECT COALESCE(sum(calls) FILTER (WHERE hour >= $2), 0)::float8 AS calls, max(last_at) AS "lastAt"
  FROM credential_usage WHERE credential_id = $1`;

/** Counts guarded calls in memory, and writes the counts every few seconds. A crash loses those not written yet. */
@Injectable()
export class UsageService implements OnApplicationBootstrap, OnApplicationShutdown {
  readonly #logger = new Logger(UsageService.name);
  #count = new HourlyCount(0);
  /** Counts that have ended but are not written yet, oldest first. */
  #ended: HourlyCount[] = [];
  #lost = 0;
  #writing = Promise.resolve();
  #rowsWritten = 0;
  /** When the next scheduled write may begin, on the monotonic clock. */
  #dueAt = -Infinity;

  constructor(
    @InjectRepository(CredentialUsage) private readonly usages: Repository<CredentialUsage>,
    private readonly signIns: SignInLogService,
    private readonly recorder: SignInRecorderService,
    private readonly channelUsers: ChannelUserService,
    private readonly credentials: CredentialService,
    private readonly clock: Clock,
    private readonly patience: ReadPatience,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({ name: 'Writing call counts', everyMs: WRITE_MS, run: () => this.#writeIfDue() });
    this.scheduler.schedule({ name: 'Deleting old call counts', everyMs: HOUR_MS, run: () => this.prune() });
  }

  /** Runs after the last request was answered and before the database connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    try {
      await this.#written();
    } catch (error) {
      this.#lost += this.stats.queued;
      this.#logger.warn(
        `Writing call counts failed at shutdown, the last counts are lost: ${(error as Error).message}`,
      );
    }
  }

  /**
   * Counts a call. Every guarded call runs this, so it looks into one map, and allocates only for the first call of a
   * credential in an hour.
   *
   * @param now milliseconds since the epoch
   */
  recordCall(credentialId: string, now: number): void {
    const hour = Math.floor(now / HOUR_MS);
    if (hour !== this.#count.hour) this.#begin(hour);
    const known = this.#count.calls.get(credentialId);
    if (known) {
      known.calls++;
      known.lastAt = now;
    } else this.#count.calls.set(credentialId, { calls: 1, lastAt: now, written: 0, hasFailed: false });
  }

  /**
   * What revoking a credential would end.
   *
   * @throws CredentialNotFoundError, ChannelUserNotFoundError
   */
  async impact(channelUserId: string, credentialId: string): Promise<CredentialImpactDto> {
    await Promise.all([this.patience.waitFor(this.#written()), this.recorder.settle()]);
    const { tokenTtlSeconds, tokensRevokedAt } = await this.channelUsers.get(channelUserId);
    const { lastUsedAt, revokedAt } = await this.credentials.get(channelUserId, credentialId);
    const now = this.clock.now();
    const since = new Date(Math.max(now - tokenTtlSeconds * 1000, tokensRevokedAt?.getTime() ?? 0));
    const firstHour = new Date((Math.floor(now / HOUR_MS) - 23) * HOUR_MS);
    const [liveTokens, [usage], descendants] = await Promise.all([
      revokedAt === null ? this.signIns.countTokens(channelUserId, credentialId, since, MAX_LIVE_TOKENS) : 0,
      this.usages.query<{ calls: number; lastAt: Date | null }[]>(READ, [credentialId, firstHour]),
      this.credentials.descendants(channelUserId, credentialId),
    ]);
    return {
      liveTokens,
      lastTokenAt: lastUsedAt,
      lastCallAt: usage?.lastAt ?? null,
      callsLast24h: usage?.calls ?? 0,
      descendants,
    };
  }

  /** How many numbers, one a credential and hour, wait to be written, and how many were lost since the start. */
  get stats(): { queued: number; lost: number } {
    const queued = [...this.#ended, this.#count].reduce((sum, count) => sum + dueOf(count).length, 0);
    return { queued, lost: this.#lost };
  }

  /** Deletes the counts of hours that began more than 8 days ago. */
  async prune(): Promise<void> {
    await deleteInBatches(this.usages.manager, 'credential_usage', 'hour < $1', new Date(this.clock.now() - KEEP_MS));
  }

  #begin(hour: number): void {
    if (this.#count.calls.size > 0) this.#ended.push(this.#count);
    if (this.#ended.length > MAX_COUNTS) this.#lost += dueOf(this.#ended.shift()).length;
    this.#count = new HourlyCount(hour);
  }

  async #writeIfDue(): Promise<void> {
    if (performance.now() < this.#dueAt) return;
    const before = this.#rowsWritten;
    await this.#written();
    this.#dueAt = performance.now() + ((this.#rowsWritten - before) / ROWS_PER_SECOND) * 1000;
  }

  /** Writes everything that was counted before this call. */
  #written(): Promise<void> {
    this.#writing = this.#writing.catch(() => undefined).then(() => this.#writeAll());
    return this.#writing;
  }

  /** Writes each batch in a statement of its own. After two failures it takes the database to be away and stops. */
  async #writeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const count of [...this.#ended, this.#count]) {
      const due = dueOf(count).sort(([, a], [, b]) => Number(a.hasFailed) - Number(b.hasFailed));
      for (let i = 0; i < due.length && failures.length < MAX_FAILURES; i += BATCH_RECORDS) {
        await this.#write(count, due.slice(i, i + BATCH_RECORDS)).catch((error: unknown) => failures.push(error));
      }
      if (failures.length === 0) this.#ended = this.#ended.filter((ended) => ended !== count);
    }
    if (this.#count.calls.size > MAX_COUNTED) this.#begin(this.#count.hour);
    if (failures.length > 0) throw failures[0];
  }

  async #write({ hour, writer }: HourlyCount, due: readonly [string, Calls][]): Promise<void> {
    const rows = due.map(([id, counted]) => ({ id, ...counted, counted }));
    const values = rows.map(({ id, calls, lastAt }) => ({ id, calls, lastAt }));
    // Marked as failed until the write succeeds: the next run writes these credentials last.
    for (const { counted } of rows) counted.hasFailed = true;
    await this.usages.query(WRITE, [JSON.stringify(values), new Date(hour * HOUR_MS), writer]);
    for (const { counted, calls } of rows) Object.assign(counted, { written: calls, hasFailed: false });
    this.#rowsWritten += rows.length;
  }
}
