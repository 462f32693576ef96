import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { Repository } from 'typeorm';
import { ActivityService } from '../activity/activity.service.ts';
import { ChannelUserService } from '../channel-user/channel-user.service.ts';
import { CredentialService } from '../channel-user/credential.service.ts';
import { Clock } from '../common/clock.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { every } from '../common/every.ts';
import { CredentialUsage } from './credential-usage.entity.ts';
import type { CredentialImpactDto } from './usage.dto.ts';

const WRITE_MS = 10_000;
/**
 * An instance that counts for more credentials than this allows writes less often: what it costs PostgreSQL does not
 * grow with their number.
 */
const ROWS_PER_SECOND = 250;
const BATCH_RECORDS = 1_000;
/** Beyond so many credentials a new count is begun as soon as this one is written. */
const MAX_COUNTED = 100_000;
/** Counts that cannot be written, while the database is away; beyond, the oldest is given up. */
const MAX_COUNTS = 24;
const HOUR_MS = 3_600_000;
const KEEP_MS = 8 * 24 * HOUR_MS;
const MAX_LIVE_TOKENS = 100_000;

interface Calls {
  calls: number;
  lastAt: number;
  /** How many of them are in the database. */
  written: number;
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

/** What is not in the database yet. */
const dueOf = (count: Pick<HourlyCount, 'calls'> | undefined): [credentialId: string, calls: Calls][] =>
  [...(count?.calls ?? [])].filter(([, { calls, written }]) => calls > written);

/** Whole numbers, not what was added: a batch whose answer was lost is written again, and changes nothing. */
const WRITE = `
  INSERT INTO credential_usage (credential_id, hour, writer, calls, last_at)
  SELECT id, $2, $3, calls, to_timestamp("lastAt" / 1000.0)
  FROM json_to_recordset($1::json) AS row(id uuid, calls bigint, "lastAt" float8)
  ON CONFLICT (credential_id, hour, writer) DO UPDATE SET
    calls = greatest(credential_usage.calls, EXCLUDED.calls), last_at = greatest(credential_usage.last_at, EXCLUDED.last_at)`;

const READ = `
  SELECT COALESCE(sum(calls) FILTER (WHERE hour >= $2), 0)::float8 AS calls, max(last_at) AS "lastAt"
  FROM credential_usage WHERE credential_id = $1`;

/** Counts guarded calls in memory, and writes the numbers now and then: a crash loses those of the last seconds. */
@Injectable()
export class UsageService implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly #logger = new Logger(UsageService.name);
  #count = new HourlyCount(0);
  /** Counts that go on no more and are not written yet, oldest first. */
  #ended: HourlyCount[] = [];
  #lost = 0;
  #writing = Promise.resolve();
  #rowsWritten = 0;
  /** When the next write may begin that nobody waits for, on the monotonic clock. */
  #dueAt = -Infinity;
  #writeTimer: NodeJS.Timeout | undefined;
  #pruneTimer: NodeJS.Timeout | undefined;

  constructor(
    @InjectRepository(CredentialUsage) private readonly usages: Repository<CredentialUsage>,
    private readonly activity: ActivityService,
    private readonly channelUsers: ChannelUserService,
    private readonly credentials: CredentialService,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    this.#writeTimer = every(
      WRITE_MS,
      () => this.#writeIfDue(),
      (reason) => {
        this.#logger.warn(`The numbers of calls wait: ${reason}`);
      },
    );
    this.#pruneTimer = every(
      HOUR_MS,
      () => this.prune(),
      (reason) => {
        this.#logger.warn(`Old numbers of calls stay for now: ${reason}`);
      },
    );
  }

  onModuleDestroy(): void {
    clearInterval(this.#writeTimer);
    clearInterval(this.#pruneTimer);
  }

  /** After the last request was answered, and before the connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    try {
      await this.#written();
    } catch (error) {
      this.#lost += this.stats.queued;
      this.#logger.warn(`The last numbers of calls are lost: ${(error as Error).message}`);
    }
  }

  /**
   * Counts a call. It is on the way of every one: it looks into one map, and makes nothing but for the first of an hour.
   *
   * @param now milliseconds since the epoch
   */
  noteCall(credentialId: string, now: number): void {
    const hour = Math.floor(now / HOUR_MS);
    if (hour !== this.#count.hour) this.#begin(hour);
    const known = this.#count.calls.get(credentialId);
    if (known) {
      known.calls++;
      known.lastAt = now;
    } else this.#count.calls.set(credentialId, { calls: 1, lastAt: now, written: 0 });
  }

  /**
   * What revoking a credential would end.
   *
   * @throws CredentialNotFoundError, ChannelUserNotFoundError
   */
  async impact(channelUserId: string, credentialId: string): Promise<CredentialImpactDto> {
    const { tokenTtlSeconds, tokensRevokedAt } = await this.channelUsers.get(channelUserId);
    const { lastUsedAt, revokedAt } = await this.credentials.get(channelUserId, credentialId);
    await this.#written();
    const now = this.clock.now();
    const since = new Date(Math.max(now - tokenTtlSeconds * 1000, tokensRevokedAt?.getTime() ?? 0));
    const firstHour = new Date((Math.floor(now / HOUR_MS) - 23) * HOUR_MS);
    const [liveTokens, [usage]] = await Promise.all([
      revokedAt === null ? this.activity.countTokens(channelUserId, credentialId, since, MAX_LIVE_TOKENS) : 0,
      this.usages.query<{ calls: number; lastAt: Date | null }[]>(READ, [credentialId, firstHour]),
    ]);
    return {
      liveTokens,
      lastTokenAt: lastUsedAt,
      lastCallAt: usage?.lastAt ?? null,
      callsLast24h: usage?.calls ?? 0,
    };
  }

  /** Numbers, one a credential and hour, that wait to be written, and those that were lost since the start. */
  get stats(): { queued: number; lost: number } {
    const queued = [...this.#ended, this.#count].reduce((sum, count) => sum + dueOf(count).length, 0);
    return { queued, lost: this.#lost };
  }

  /** Forgets the numbers of 8 days ago and before. */
  async prune(): Promise<void> {
    await this.usages.query('DELETE FROM credential_usage WHERE hour < $1', [new Date(this.clock.now() - KEEP_MS)]);
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

  async #writeAll(): Promise<void> {
    for (const count of [...this.#ended]) {
      await this.#write(count);
      this.#ended = this.#ended.filter((ended) => ended !== count);
    }
    await this.#write(this.#count);
    if (this.#count.calls.size > MAX_COUNTED) this.#begin(this.#count.hour);
  }

  async #write({ hour, writer, calls }: HourlyCount): Promise<void> {
    const due = dueOf({ calls });
    for (let i = 0; i < due.length; i += BATCH_RECORDS) {
      const rows = due.slice(i, i + BATCH_RECORDS).map(([id, counted]) => ({ id, ...counted, counted }));
      const values = rows.map(({ id, calls: number, lastAt }) => ({ id, calls: number, lastAt }));
      await this.usages.query(WRITE, [JSON.stringify(values), new Date(hour * HOUR_MS), writer]);
      for (const { counted, calls: number } of rows) counted.written = number;
      this.#rowsWritten += rows.length;
    }
  }
}
