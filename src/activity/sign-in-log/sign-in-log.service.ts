import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Repository } from 'typeorm';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, isTimestamp, pageOf } from '../../platform/api/page.ts';
import { Clock } from '../../platform/common/clock.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import { isUuid } from '../../platform/common/uuid.ts';
import { Config } from '../../platform/config/config.ts';
import { deleteInBatches } from '../../platform/database/delete-in-batches.ts';
import { SignInAttempt } from './sign-in-attempt.entity.ts';
import type { ActivityDto, ActivityPageDto, ListActivityQuery } from './sign-in-log.dto.ts';
import { SignInRecorderService } from './sign-in-recorder.service.ts';
import { COUNT_TOKENS, HOURS, REASONS } from './sign-in-statements.ts';

const HOUR_MS = 3_600_000;
/** How long the hourly numbers are kept; the overview shows the last day. */
const KEEP_HOURS_MS = 8 * 24 * HOUR_MS;
/** How long a failure row is kept after the channel user's last refusal. */
const KEEP_FAILURES_MS = 30 * 24 * HOUR_MS;

/** A reason that a channel user was refused for, and how often. */
export interface RefusalReason {
  readonly reason: string;
  readonly count: number;
  readonly lastAt: Date;
}

/** The sign-ins of an hour, on all instances. */
export interface HourOfSignIns {
  /** The hour's start. */
  readonly at: Date;
  readonly tokens: number;
  readonly refused: number;
}

/** Reads the sign-in log, and deletes its rows when their retention ends. */
@Injectable()
export class SignInLogService implements OnApplicationBootstrap {
  constructor(
    @InjectRepository(SignInAttempt) private readonly attempts: Repository<SignInAttempt>,
    private readonly recorder: SignInRecorderService,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({
      name: "Maintaining the sign-in log's tables",
      everyMs: HOUR_MS,
      firstAfterMs: 0,
      run: () => this.#keepTables(),
    });
  }

  /** A page of a channel user's attempts, newest first, with everything this instance has recorded so far. */
  async list(
    channelUserId: string,
    { limit = DEFAULT_PAGE, cursor, outcome }: ListActivityQuery,
  ): Promise<ActivityPageDto> {
    await this.recorder.settle();
    const query = this.attempts
      .createQueryBuilder('activity')
      .where('activity.channelUserId = :channelUserId', { channelUserId })
      .orderBy('activity.at', 'DESC')
      .addOrderBy('activity.id', 'DESC')
      .limit(limit + 1);
    if (outcome !== undefined) query.andWhere('activity.outcome = :outcome', { outcome });
    if (cursor !== undefined) {
      const [at, id] = decodeCursor(cursor, 'at', [isTimestamp, isUuid]);
      query.andWhere('(activity.at, activity.id) < (:at::timestamptz, :id::uuid)', { at, id });
    }
    const page = pageOf(await query.getMany(), limit, (row) => encodeCursor('at', [row.at.toISOString(), row.id]));
    return { items: page.items.map(toDto), nextCursor: page.nextCursor };
  }

  /**
   * The attempt that a request made.
   *
   * @param channelUserId of whom; of anybody if absent
   */
  async ofRequest(
    requestId: string,
    channelUserId?: string,
  ): Promise<{ channelUserId: string; attempt: ActivityDto } | undefined> {
    await this.recorder.settle();
    const row = await this.attempts.findOneBy({ requestId, ...(channelUserId !== undefined && { channelUserId }) });
    return row ? { channelUserId: row.channelUserId, attempt: toDto(row) } : undefined;
  }

  /**
   * The number of tokens that a credential obtained after `since`.
   *
   * @param limit the number at which counting stops
   */
  async countTokens(channelUserId: string, credentialId: string, since: Date, limit: number): Promise<number> {
    await this.recorder.settle();
    const day = since.toISOString().slice(0, 10);
    const rows = await this.attempts.query<{ tokens: number }[]>(COUNT_TOKENS, [
      channelUserId,
      credentialId,
      since,
      day,
      limit,
    ]);
    return rows[0]?.tokens ?? 0;
  }

  /**
   * The reasons that each channel user was refused for since its own `since`, the most frequent first. Counts at most
   * the newest 1000 records of each.
   */
  async reasons(of: readonly { id: string; since: Date }[]): Promise<Map<string, RefusalReason[]>> {
    if (of.length === 0) return new Map();
    const rows = await this.attempts.query<({ id: string } & RefusalReason)[]>(REASONS, [
      of.map(({ id }) => id),
      of.map(({ since }) => since),
    ]);
    return Map.groupBy(rows, ({ id }) => id);
  }

  /** The sign-ins of the last `count` hours, the present one included, oldest first. Hours without any are 0. */
  async hours(count: number): Promise<HourOfSignIns[]> {
    const last = Math.floor(this.clock.now() / HOUR_MS) * HOUR_MS;
    const starts = Array.from({ length: count }, (_, i) => last - (count - 1 - i) * HOUR_MS);
    const rows = await this.attempts.query<{ hour: Date; tokens: number; refused: number }[]>(HOURS, [
      new Date(starts[0] ?? last),
    ]);
    const found = new Map(rows.map((row) => [row.hour.getTime(), row]));
    return starts.map((start) => {
      const { tokens = 0, refused = 0 } = found.get(start) ?? {};
      return { at: new Date(start), tokens, refused };
    });
  }

  /** Deletes old rows, and creates the partitions of the next days. A day without one uses the default partition. */
  async #keepTables(): Promise<void> {
    const now = this.clock.now();
    const { manager } = this.attempts;
    await deleteInBatches(manager, 'sign_in_hour', 'hour < $1', new Date(now - KEEP_HOURS_MS));
    await deleteInBatches(manager, 'sign_in_failure', 'last_at < $1', new Date(now - KEEP_FAILURES_MS));
    await this.attempts.query('SELECT activity_partitions($1)', [this.config.activityRetentionDays]);
  }
}

function toDto(row: SignInAttempt): ActivityDto {
  const { id, at, address, outcome, errorCode, reason, credentialId, requestId, userAgent, count } = row;
  return { id, at, address, outcome, errorCode, reason, credentialId, requestId, userAgent, count };
}
