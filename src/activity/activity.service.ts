import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import type { FastifyRequest } from 'fastify';
import { randomFillSync, randomUUID } from 'node:crypto';
import { Repository } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { CredentialService } from '../channel-user/credential.service.ts';
import { Clock } from '../common/clock.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { UnavailableError } from '../common/errors.ts';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, isTimestamp, isUuid, pageOf } from '../common/page.ts';
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
const HOUR_MS = 3_600_000;
/** How long the hourly numbers are kept; the overview shows the last day. */
const KEEP_HOURS_MS = 8 * 24 * HOUR_MS;
/** After so long without an attempt, it is forgotten that the last ones were refused. */
const KEEP_FAILURES_MS = 30 * 24 * HOUR_MS;
const MAX_USER_AGENT = 256;

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
  /** Of a row that counts: when the last one was. */
  lastAt?: number;
}

/** The sign-ins of an hour, on all instances. */
export interface HourOfSignIns {
  /** The hour's start. */
  readonly at: Date;
  readonly tokens: number;
  readonly refused: number;
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

/** Refusals of one channel user for one reason that are rows of their own, a minute. */
const REFUSALS_IN_FULL = 30;

const RECORDS = `json_to_recordset($1::json) AS row(id uuid, "channelUserId" uuid, "at" float8, "lastAt" float8,
  address text, outcome text, "errorCode" text, reason text, "credentialId" uuid, "requestId" text, "userAgent" text,
  count integer, "minute" float8)`;

/**
 * What the overview reads, kept with each batch from `attempt`, the attempts that are new with it: numbers of the hour
 * in this writer's own row ($2), and who was refused and has not obtained a token since. Rows of several writers are
 * locked in one order. Two instances that write a refusal and a token of one channel user in the same moment may miss
 * each other; the next token makes it good.
 */
const AGGREGATES = `
  hours AS (
    INSERT INTO sign_in_hour (hour, writer, tokens, refused)
    SELECT date_trunc('hour', at, 'UTC'), $2::uuid, COALESCE(sum(count) FILTER (WHERE outcome = 'token'), 0),
      COALESCE(sum(count) FILTER (WHERE outcome = 'refused'), 0)
    FROM attempt GROUP BY 1
    ON CONFLICT (hour, writer) DO UPDATE SET
      tokens = sign_in_hour.tokens + EXCLUDED.tokens, refused = sign_in_hour.refused + EXCLUDED.refused
  ), token AS (
    SELECT channel_user_id, max(at) AS at FROM attempt WHERE outcome = 'token' GROUP BY 1
  ), refused AS (
    SELECT refused.channel_user_id, greatest(token.at, (
        SELECT max(later.at) FROM activity AS later
        WHERE later.channel_user_id = refused.channel_user_id AND later.outcome = 'token' AND later.at > refused.at
          AND later.day >= (refused.at AT TIME ZONE 'UTC')::date)) AS token_at
    FROM (SELECT channel_user_id, min(at) AS at FROM attempt WHERE outcome = 'refused' GROUP BY 1) AS refused
      LEFT JOIN token ON token.channel_user_id = refused.channel_user_id
  ), failure AS (
    SELECT channel_user_id, min(greatest(at, token_at)) AS since, max(last_at) AS last_at,
      (array_agg(reason ORDER BY last_at DESC))[1] AS reason, sum(count) AS refusals, token_at
    FROM attempt JOIN refused USING (channel_user_id)
    WHERE outcome = 'refused' AND (token_at IS NULL OR last_at > token_at) GROUP BY channel_user_id, token_at
  ), locked AS MATERIALIZED (
    SELECT channel_user_id FROM sign_in_failure WHERE channel_user_id IN (SELECT channel_user_id FROM attempt)
    ORDER BY channel_user_id FOR UPDATE
  ), recovered AS (
    DELETE FROM sign_in_failure AS known USING locked, token
    WHERE known.channel_user_id = locked.channel_user_id AND token.channel_user_id = locked.channel_user_id
      AND known.last_at <= token.at
      AND NOT EXISTS (SELECT FROM failure WHERE failure.channel_user_id = locked.channel_user_id)
  )
  INSERT INTO sign_in_failure AS known (channel_user_id, since, last_at, reason, refusals, token_at)
  SELECT channel_user_id, since, last_at, reason, refusals, token_at FROM failure
  WHERE (SELECT count(*) FROM locked) >= 0 ORDER BY channel_user_id
  ON CONFLICT (channel_user_id) DO UPDATE SET
    since = CASE WHEN EXCLUDED.token_at >= known.last_at THEN EXCLUDED.since ELSE least(known.since, EXCLUDED.since) END,
    refusals = CASE WHEN EXCLUDED.token_at >= known.last_at THEN 0 ELSE known.refusals END + EXCLUDED.refusals,
    reason = CASE WHEN EXCLUDED.last_at >= known.last_at THEN EXCLUDED.reason ELSE known.reason END,
    last_at = greatest(known.last_at, EXCLUDED.last_at),
    token_at = greatest(known.token_at, EXCLUDED.token_at)`;

/**
 * Writes a batch. What is new with it is looked up and not returned by the insertion: RETURNING of an insertion with
 * ON CONFLICT into a partitioned table, in a WITH, ends a backend of PostgreSQL 18.4 with a segmentation fault once in a
 * while.
 *
 * @param conflict what becomes of a record that is there already
 * @param isNew which records the overview counts
 */
const write = (conflict: string, isNew = 'true'): string => `
  WITH written AS (
    INSERT INTO activity (day, id, channel_user_id, at, address, outcome, error_code, reason, credential_id, request_id,
      user_agent, count, minute)
    SELECT (to_timestamp("at" / 1000.0) AT TIME ZONE 'UTC')::date, id, "channelUserId", to_timestamp("at" / 1000.0),
      address, outcome, "errorCode", reason, "credentialId", "requestId", "userAgent", count,
      to_timestamp("minute" / 1000.0)
    FROM ${RECORDS}
    ${conflict}
  ), attempt AS MATERIALIZED (
    SELECT "channelUserId" AS channel_user_id, to_timestamp("at" / 1000.0)::timestamptz(3) AS at,
      to_timestamp(COALESCE("lastAt", "at") / 1000.0)::timestamptz(3) AS last_at, outcome, reason, count
    FROM ${RECORDS}
    WHERE ${isNew}
  ), ${AGGREGATES}`;

/** A batch whose answer was lost is written again, and changes nothing the second time. */
const INSERT = write(
  'ON CONFLICT (day, id) DO NOTHING',
  `NOT EXISTS (
      SELECT FROM activity AS known
      WHERE known.day = (to_timestamp(row."at" / 1000.0) AT TIME ZONE 'UTC')::date AND known.id = row.id)`,
);
/** In one order, so that two instances cannot wait for each other. */
const COUNT = write(`ORDER BY "channelUserId", reason, "minute"
    ON CONFLICT (day, channel_user_id, minute, reason) WHERE minute IS NOT NULL
    DO UPDATE SET count = activity.count + EXCLUDED.count`);

const COUNT_TOKENS = `
  SELECT count(*)::int AS tokens FROM (
    SELECT FROM activity
    WHERE channel_user_id = $1 AND credential_id = $2 AND outcome = 'token' AND at > $3 AND day >= $4
    LIMIT $5
  ) AS counted`;

const HOURS = `
  SELECT hour, sum(tokens)::float8 AS tokens, sum(refused)::float8 AS refused FROM sign_in_hour
  WHERE hour >= $1 GROUP BY hour ORDER BY hour`;

/**
 * Keeps what became of sign-in attempts. Records are queued in memory and written in batches, off the path of the
 * request: a crash loses the last batch at most, a stop none.
 */
@Injectable()
export class ActivityService implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly #logger = new Logger(ActivityService.name);
  readonly #writer = randomUUID();
  readonly #queue: Row[] = [];
  /** Refusals for too many requests that are not written yet, by channel user, minute and reason. */
  readonly #counted = new Map<string, Row>();
  /** Of this minute, by channel user and reason. */
  #refusals = { minute: 0, counts: new Map<string, number>() };
  #writing: Promise<void> | undefined;
  #writtenAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #partitionTimer: NodeJS.Timeout | undefined;
  /** Since the database does not answer. */
  #givenUp = 0;
  /** Since the start. */
  #lost = 0;
  #isFailing = false;
  #isStopping = false;

  constructor(
    @InjectRepository(Activity) private readonly activities: Repository<Activity>,
    private readonly credentials: CredentialService,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    void this.#keepTables();
    this.#partitionTimer = setInterval(() => void this.#keepTables(), HOUR_MS).unref();
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
      minute: this.#isCountedOnly(attempt, at) ? Math.floor(at / 60_000) * 60_000 : null,
    };
    if (row.minute === null) this.#queue.push(row);
    else this.#count(row);
    if (attempt.outcome === 'token' && attempt.credentialId !== null) {
      this.credentials.noteUse({
        channelUserId: attempt.channelUserId,
        credentialId: attempt.credentialId,
        at: new Date(at),
        address: row.address,
        userAgent: row.userAgent,
      });
    }
    if (this.#queue.length > MAX_QUEUE) {
      this.#queue.shift();
      this.#giveUp(1);
    }
    this.#schedule();
  }

  /** 429s, and what else is refused again and again: one row a minute says it as well, and leaves room for others. */
  #isCountedOnly({ channelUserId, outcome, errorCode, reason }: SignInAttempt, at: number): boolean {
    if (outcome !== 'refused') return false;
    if (errorCode === 'too_many_requests') return true;
    // Those have a limit, beyond which they are 429s.
    if (errorCode === 'invalid_credentials') return false;
    const minute = Math.floor(at / 60_000);
    if (this.#refusals.minute !== minute) this.#refusals = { minute, counts: new Map() };
    const { counts } = this.#refusals;
    const key = `${channelUserId} ${String(reason)}`;
    const count = (counts.get(key) ?? 0) + 1;
    counts.set(key, count);
    return count > REFUSALS_IN_FULL;
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

  /** Everything this instance has recorded so far is written, if the database answers. */
  async written(): Promise<void> {
    await this.#flush();
  }

  /**
   * How many tokens a credential obtained after a moment.
   *
   * @param limit counted no further than this
   */
  async countTokens(channelUserId: string, credentialId: string, since: Date, limit: number): Promise<number> {
    await this.#flush();
    const day = since.toISOString().slice(0, 10);
    const rows = await this.activities.query<{ tokens: number }[]>(COUNT_TOKENS, [
      channelUserId,
      credentialId,
      since,
      day,
      limit,
    ]);
    return rows[0]?.tokens ?? 0;
  }

  /** The sign-ins of the present hour and those before it, oldest first, the hours without any too. */
  async hours(count: number): Promise<HourOfSignIns[]> {
    const last = Math.floor(this.clock.now() / HOUR_MS) * HOUR_MS;
    const starts = Array.from({ length: count }, (_, i) => last - (count - 1 - i) * HOUR_MS);
    const rows = await this.activities.query<{ hour: Date; tokens: number; refused: number }[]>(HOURS, [
      new Date(starts[0] ?? last),
    ]);
    const found = new Map(rows.map((row) => [row.hour.getTime(), row]));
    return starts.map((start) => {
      const { tokens = 0, refused = 0 } = found.get(start) ?? {};
      return { at: new Date(start), tokens, refused };
    });
  }

  /** Records that wait to be written, and those that were lost since the start. */
  get stats(): { queued: number; lost: number } {
    return { queued: this.#queue.length + this.#counted.size, lost: this.#lost };
  }

  #giveUp(records: number): void {
    this.#givenUp += records;
    this.#lost += records;
  }

  #count(row: Row): void {
    const key = `${row.channelUserId} ${String(row.minute)} ${String(row.reason)}`;
    const counted = this.#counted.get(key);
    row.lastAt ??= row.at;
    if (counted) {
      counted.count += row.count;
      counted.lastAt = Math.max(counted.lastAt ?? 0, row.lastAt);
    } else this.#counted.set(key, row);
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
    const begun = performance.now();
    this.#writing ??= this.#writeAll(least).finally(() => {
      this.#writing = undefined;
      // From one beginning to the next, so that a record waits no longer because the writing before it took long.
      this.#writtenAt = this.#isFailing ? performance.now() : begun;
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
      () => this.activities.query(INSERT, [JSON.stringify(rows), this.#writer]),
      () => this.#queue.unshift(...rows),
    );
  }

  #writeCounted(): Promise<boolean> {
    const rows = [...this.#counted.values()];
    this.#counted.clear();
    return this.#try(
      rows.length,
      () => this.activities.query(COUNT, [JSON.stringify(rows), this.#writer]),
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
      else this.#giveUp(records);
      if (!this.#isFailing || !isAway) {
        this.#logger.error(`Activity cannot be written${isAway ? ' and waits' : ''}: ${(error as Error).message}`);
      }
      this.#isFailing = true;
      return !isAway;
    }
  }

  async #keepTables(): Promise<void> {
    try {
      const now = this.clock.now();
      await this.activities.query('DELETE FROM sign_in_hour WHERE hour < $1', [new Date(now - KEEP_HOURS_MS)]);
      await this.activities.query('DELETE FROM sign_in_failure WHERE last_at < $1', [new Date(now - KEEP_FAILURES_MS)]);
      await this.activities.query('SELECT activity_partitions($1)', [this.config.activityRetentionDays]);
    } catch (error) {
      if (this.#isStopping) return;
      // Rows of days without a partition go to the default one; the next hour tries again.
      this.#logger.warn(`The tables of the activity were not kept: ${(error as Error).message}`);
    }
  }
}
