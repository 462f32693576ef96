import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { randomFillSync } from 'node:crypto';
import { Repository } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { CredentialService } from '../channel-user/credential.service.ts';
import { Clock } from '../common/clock.ts';
import { UnavailableError } from '../common/errors.ts';
import { decodeCursor, encodeCursor, isTimestamp, isUuid, pageOf } from '../common/page.ts';
import { postgresError } from '../common/postgres-errors.ts';
import { Config } from '../config/config.ts';
import type { ActivityPageDto, ListActivityQuery } from './activity.dto.ts';
import { Activity, type Outcome } from './activity.entity.ts';

/** Batches are written this far apart at least, and at most when there is something to write. */
const BATCH_MS = 250;
const BATCH_RECORDS = 500;
/** While the database is away; beyond, the oldest are given up. */
const MAX_QUEUE = 20_000;
const RETRY_MS = 1_000;
const PARTITIONS_EVERY_MS = 3_600_000;
const MAX_USER_AGENT = 256;
const DEFAULT_PAGE = 50;

/** What a sign-in attempt came to. */
export interface SignInAttempt {
  readonly channelUserId: string;
  readonly credentialId: string | null;
  readonly outcome: Outcome;
  /** What the partner was told. */
  readonly errorCode: string | null;
  /** What was really the matter. */
  readonly reason: string | null;
}

/** As the statements read it; times are in milliseconds since the epoch. */
interface Row extends SignInAttempt {
  readonly id: string;
  readonly at: number;
  readonly address: string | null;
  readonly requestId: string;
  readonly userAgent: string | null;
  count: number;
  readonly minute: number | null;
}

/** Random bytes are asked for in bulk, sixteen for each id. */
const randomness = new Uint8Array(16 * 256);
let usedRandomness = randomness.length;
let sequence = 0;

/** A UUID of version 7 (RFC 9562 §5.7); those of one millisecond are in the order they were made in. */
function newId(at: number): string {
  if (usedRandomness === randomness.length) {
    randomFillSync(randomness);
    usedRandomness = 0;
  }
  const random = randomness.subarray(usedRandomness, (usedRandomness += 16));
  sequence = (sequence + 1) >>> 0;
  return uuidv7({ msecs: at, seq: sequence, random });
}

const columns = (conflict: string): string => `
  INSERT INTO activity (day, id, channel_user_id, at, address, outcome, error_code, reason, credential_id, request_id,
    user_agent, count, minute)
  SELECT (to_timestamp("at" / 1000.0) AT TIME ZONE 'UTC')::date, id, "channelUserId", to_timestamp("at" / 1000.0),
    address, outcome, "errorCode", reason, "credentialId", "requestId", "userAgent", count,
    to_timestamp("minute" / 1000.0)
  FROM json_to_recordset($1::json) AS row(id uuid, "channelUserId" uuid, "at" float8, address text, outcome text,
    "errorCode" text, reason text, "credentialId" uuid, "requestId" text, "userAgent" text, count integer,
    "minute" float8)
  ${conflict}`;

/** A batch whose answer was lost is written again, and changes nothing the second time. */
const INSERT = columns('ON CONFLICT (day, id) DO NOTHING');
/** In one order, so that two instances cannot wait for each other. */
const COUNT = columns(`ORDER BY "channelUserId", reason, "minute"
  ON CONFLICT (day, channel_user_id, minute, reason) WHERE minute IS NOT NULL
  DO UPDATE SET count = activity.count + EXCLUDED.count`);

/**
 * Keeps what became of sign-in attempts. Records are queued in memory and written in batches, off the path of the
 * request: a crash loses the last batch at most, a stop none.
 */
@Injectable()
export class ActivityService implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly #logger = new Logger(ActivityService.name);
  readonly #queue: Row[] = [];
  /** Refusals for too many requests that are not written yet, by channel user, minute and reason. */
  readonly #counted = new Map<string, Row>();
  #writing: Promise<void> | undefined;
  #writtenAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #partitionTimer: NodeJS.Timeout | undefined;
  #givenUp = 0;
  #isFailing = false;
  #isStopping = false;

  constructor(
    @InjectRepository(Activity) private readonly activities: Repository<Activity>,
    private readonly credentials: CredentialService,
    private readonly config: Config,
    private readonly clock: Clock,
  ) {}

  onApplicationBootstrap(): void {
    void this.#keepPartitions();
    this.#partitionTimer = setInterval(() => void this.#keepPartitions(), PARTITIONS_EVERY_MS).unref();
  }

  onModuleDestroy(): void {
    clearInterval(this.#partitionTimer);
    this.#isStopping = true;
  }

  /** After the last request was answered, and before the connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    await this.#flush();
    clearTimeout(this.#timer);
  }

  /** Records an attempt. Does not wait, does not throw. */
  record({ id: requestId, clientAddress, headers }: FastifyRequest, attempt: SignInAttempt): void {
    const at = this.clock.now();
    const row: Row = {
      ...attempt,
      id: newId(at),
      at,
      address: clientAddress ?? null,
      requestId,
      userAgent: headers['user-agent']?.slice(0, MAX_USER_AGENT) ?? null,
      count: 1,
      minute: attempt.errorCode === 'too_many_requests' ? Math.floor(at / 60_000) * 60_000 : null,
    };
    if (row.minute === null) this.#queue.push(row);
    else this.#count(row);
    if (attempt.outcome === 'token' && attempt.credentialId !== null) {
      this.credentials.noteUse({
        channelUserId: attempt.channelUserId,
        credentialId: attempt.credentialId,
        at: new Date(at),
      });
    }
    if (this.#queue.length > MAX_QUEUE) {
      this.#queue.shift();
      this.#givenUp++;
    }
    this.#schedule();
  }

  /** A page of a channel user's attempts, newest first, with everything this instance has recorded so far. */
  async list(channelUserId: string, { limit = DEFAULT_PAGE, cursor }: ListActivityQuery): Promise<ActivityPageDto> {
    await this.#flush();
    const query = this.activities
      .createQueryBuilder('activity')
      .where('activity.channelUserId = :channelUserId', { channelUserId })
      .orderBy('activity.at', 'DESC')
      .addOrderBy('activity.id', 'DESC')
      .limit(limit + 1);
    if (cursor !== undefined) {
      const [at, id] = decodeCursor(cursor, 'at', [isTimestamp, isUuid]);
      query.andWhere('(activity.at, activity.id) < (:at::timestamptz, :id::uuid)', { at, id });
    }
    const page = pageOf(await query.getMany(), limit, (row) => encodeCursor('at', [row.at.toISOString(), row.id]));
    return {
      items: page.items.map(({ id, at, address, outcome, errorCode, reason, credentialId, ...rest }) => ({
        id,
        at,
        address,
        outcome,
        errorCode,
        reason,
        credentialId,
        requestId: rest.requestId,
        userAgent: rest.userAgent,
        count: rest.count,
      })),
      nextCursor: page.nextCursor,
    };
  }

  #count(row: Row): void {
    const key = `${row.channelUserId} ${String(row.minute)} ${String(row.reason)}`;
    const counted = this.#counted.get(key);
    if (counted) counted.count += row.count;
    else this.#counted.set(key, row);
  }

  get #isEmpty(): boolean {
    return this.#queue.length === 0 && this.#counted.size === 0 && !this.credentials.hasUses;
  }

  /** The first record after a quiet time is written at once; in a busy one, batches are 250 ms apart or 500 records. */
  #schedule(): void {
    if (this.#writing) return;
    const isFull = this.#queue.length >= BATCH_RECORDS && !this.#isFailing;
    if (this.#timer && !isFull) return;
    clearTimeout(this.#timer);
    const due = this.#writtenAt + (this.#isFailing ? RETRY_MS : BATCH_MS);
    this.#timer = setTimeout(() => void this.#write(), isFull ? 0 : Math.max(0, due - performance.now()));
  }

  /** Writes what has been recorded up to now. */
  async #flush(): Promise<void> {
    await this.#writing;
    // Also when somebody else began the next batch meanwhile: it may hold what this caller waits for.
    await this.#write(1);
  }

  /** @param least how many records make another batch */
  #write(least = BATCH_RECORDS): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#writing ??= this.#writeAll(least).finally(() => {
      this.#writing = undefined;
      this.#writtenAt = performance.now();
      if (!this.#isEmpty) this.#schedule();
    });
    return this.#writing;
  }

  /** One batch after the other, until nothing is left or the database does not answer. */
  async #writeAll(least: number): Promise<void> {
    do {
      if (!(await this.#writeRows()) || !(await this.#writeCounted()) || !(await this.#writeUses())) return;
    } while (this.#queue.length >= least);
  }

  #writeRows(): Promise<boolean> {
    const rows = this.#queue.splice(0, BATCH_RECORDS);
    return this.#try(
      rows.length,
      () => this.activities.query(INSERT, [JSON.stringify(rows)]),
      () => this.#queue.unshift(...rows),
    );
  }

  #writeCounted(): Promise<boolean> {
    const rows = [...this.#counted.values()];
    this.#counted.clear();
    return this.#try(
      rows.length,
      () => this.activities.query(COUNT, [JSON.stringify(rows)]),
      () => {
        for (const row of rows) this.#count(row);
      },
    );
  }

  #writeUses(): Promise<boolean> {
    // What cannot be written there waits there.
    return this.#try(
      this.credentials.hasUses ? 1 : 0,
      () => this.credentials.writeUses(),
      () => undefined,
    );
  }

  /**
   * @param giveBack for when the database does not answer; what it refuses for another reason is given up
   * @returns whether the database answers
   */
  async #try(records: number, write: () => Promise<unknown>, giveBack: () => void): Promise<boolean> {
    if (records === 0) return true;
    try {
      await write();
      if (this.#isFailing) this.#logger.warn(`Activity is written again; given up: ${String(this.#givenUp)} records`);
      this.#isFailing = false;
      this.#givenUp = 0;
      return true;
    } catch (error) {
      const isAway = postgresError(error) instanceof UnavailableError;
      if (isAway) giveBack();
      else this.#givenUp += records;
      if (!this.#isFailing || !isAway) {
        this.#logger.error(`Activity cannot be written${isAway ? ' and waits' : ''}: ${(error as Error).message}`);
      }
      this.#isFailing = true;
      return !isAway;
    }
  }

  async #keepPartitions(): Promise<void> {
    try {
      await this.activities.query('SELECT activity_partitions($1)', [this.config.activityRetentionDays]);
    } catch (error) {
      if (this.#isStopping) return;
      // Rows of days without a partition go to the default one; the next hour tries again.
      this.#logger.warn(`The partitions of the activity were not kept: ${(error as Error).message}`);
    }
  }
}
