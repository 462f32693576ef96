import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { DataSource } from 'typeorm';
import { SignInLogService } from '../sign-in-log/sign-in-log.service.ts';
import { SignInRecorderService } from '../sign-in-log/sign-in-recorder.service.ts';
import { TallyService } from '../../channel-user/tally.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import type { FailingItem, OverviewDto } from './overview.dto.ts';

/** Milliseconds for which the numbers are cached, however many people look at them. */
const KEEP_MS = 5_000;
const DAY_MS = 86_400_000;
const MONTH_MS = 30 * DAY_MS;
/** Reasons that no longer apply once the account is active. */
const REASONS_OF_STATE = new Set(['account_suspended', 'account_expired']);
/** Hours shown, the present one included. */
const HOURS = 24;
/** Items shown of each list. */
const ITEMS = 10;

/** Counts up to this number are exact, as in lists. */
const MAX_EXACT = 10_000;

/** PostgreSQL answers each from one index alone where it can, since the rows of a million partners are wide. */
const ROWS = {
  suspended: 'SELECT FROM channel_user WHERE suspended_at IS NOT NULL',
  expired: `SELECT FROM channel_user WHERE suspended_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1`,
  silent: `SELECT FROM channel_user_use WHERE last_token_at > '-infinity' AND last_token_at < $1
    UNION ALL SELECT FROM channel_user_use WHERE last_token_at = '-infinity' AND created_at < $1`,
  failing: `SELECT FROM sign_in_failure AS failure
    JOIN channel_user ON channel_user.id = failure.channel_user_id WHERE failure.last_at > $1`,
};

const EXPIRING_CREDENTIALS = `SELECT channel_user_id AS owner FROM credential
  WHERE revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2 AND NOT superseded`;
const EXPIRING_ACCOUNTS = `SELECT id FROM channel_user
  WHERE expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2`;
const EXPIRING_OWNERS = `SELECT DISTINCT owner FROM (${EXPIRING_CREDENTIALS} UNION ALL ${EXPIRING_ACCOUNTS}) AS expiry`;
/**
 * So many expiries belong to more owners than are counted exactly, since an account has at most six: its own and those
 * of five live credentials.
 */
const SOME_EXPIRING_OWNERS = `SELECT DISTINCT owner FROM (
  ${EXPIRING_CREDENTIALS} UNION ALL ${EXPIRING_ACCOUNTS} LIMIT ${String(6 * (MAX_EXACT + 1))}) AS expiry`;

const FAILING = `
  SELECT channel_user.id, username, display_name AS "displayName", since, last_at AS "lastAt", reason,
    refusals::float8 AS count, CASE WHEN suspended_at IS NOT NULL THEN 'suspended'
      WHEN expires_at <= $2 THEN 'expired' ELSE 'active' END AS status,
    (SELECT max(at) FROM (
      SELECT channel_user.updated_at AS at
      UNION ALL SELECT created_at FROM credential WHERE channel_user_id = channel_user.id
    ) AS change WHERE at > last_at) AS "changedAt"
  FROM sign_in_failure AS failure JOIN channel_user ON channel_user.id = failure.channel_user_id
  WHERE last_at > $1 ORDER BY last_at DESC, failure.channel_user_id DESC LIMIT ${String(ITEMS)}`;

const EXPIRING = `
  SELECT channel_user.id, username, display_name AS "displayName", "credentialId", label, expiry."expiresAt"
  FROM (
    (SELECT channel_user_id AS owner, id AS "credentialId", label, expires_at AS "expiresAt" FROM credential
      WHERE revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2 AND NOT superseded
      ORDER BY expires_at, channel_user_id LIMIT ${String(ITEMS)})
    UNION ALL
    (SELECT id, NULL, NULL, expires_at FROM channel_user
      WHERE expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2
      ORDER BY expires_at, id LIMIT ${String(ITEMS)})
  ) AS expiry JOIN channel_user ON channel_user.id = expiry.owner
  ORDER BY expiry."expiresAt", username_key, "credentialId" LIMIT ${String(ITEMS)}`;

/** Reads the numbers that staff see first. */
@Injectable()
export class OverviewService {
  /** Callers at the same time share one reading. */
  readonly #cache: LRUCache<'overview', OverviewDto>;

  constructor(
    private readonly dataSource: DataSource,
    private readonly recorder: SignInRecorderService,
    private readonly signIns: SignInLogService,
    private readonly tally: TallyService,
    private readonly clock: Clock,
  ) {
    this.#cache = new LRUCache({
      max: 1,
      ttl: KEEP_MS,
      ttlResolution: 0,
      perf: { now: () => clock.elapsed() },
      fetchMethod: () => this.#read(),
    });
  }

  /** The numbers, a few seconds old at most. */
  read(): Promise<OverviewDto> {
    return this.#cache.forceFetch('overview');
  }

  async #read(): Promise<OverviewDto> {
    const at = this.clock.now();
    const now = new Date(at);
    const yesterday = new Date(at - DAY_MS);
    const inAMonth = new Date(at + MONTH_MS);
    await this.recorder.settle();
    const [{ accounts: total }, suspended, expired, silent, failing, expiring, failingItems, expiringItems, hours] =
      await Promise.all([
        this.tally.read(),
        this.#count(ROWS.suspended, []),
        this.#count(ROWS.expired, [now]),
        this.#count(ROWS.silent, [new Date(at - MONTH_MS)]),
        this.#count(ROWS.failing, [yesterday]),
        this.#count(SOME_EXPIRING_OWNERS, [now, inAMonth], EXPIRING_OWNERS),
        this.#failing(yesterday, now),
        this.dataSource.query<OverviewDto['expiring']['items']>(EXPIRING, [now, inAMonth]),
        this.signIns.hours(HOURS),
      ]);
    return {
      at: now,
      channelUsers: { total, active: Math.max(0, total - suspended - expired), suspended, expired },
      tokens: { last24h: hours.reduce((sum, { tokens }) => sum + tokens, 0), hours },
      failing: { total: failing, items: failingItems },
      expiring: { total: expiring, items: expiringItems },
      silent: { total: silent },
    };
  }

  async #failing(after: Date, now: Date): Promise<FailingItem[]> {
    const rows = await this.dataSource.query<Omit<FailingItem, 'reasons' | 'isOver'>[]>(FAILING, [after, now]);
    const reasons = await this.signIns.reasons(rows);
    return rows.map((row) => ({
      ...row,
      isOver: row.status === 'active' && REASONS_OF_STATE.has(row.reason),
      reasons: (reasons.get(row.id) ?? []).map(({ reason, count, lastAt }) => ({ reason, count, lastAt })),
    }));
  }

  /** Exact to {@link MAX_EXACT}. Above that the planner's estimate, since counting would read every row. */
  async #count(rows: string, parameters: Date[], all = rows): Promise<number> {
    const [counted] = await this.dataSource.query<{ n: number }[]>(
      `SELECT count(*)::float8 AS n FROM (${rows} LIMIT ${String(MAX_EXACT + 1)}) AS counted`,
      parameters,
    );
    const n = counted?.n ?? 0;
    if (n <= MAX_EXACT) return n;
    const [explained] = await this.dataSource.query<{ 'QUERY PLAN': { Plan: { 'Plan Rows': number } }[] }[]>(
      `EXPLAIN (FORMAT JSON) ${all}`,
      parameters,
    );
    return Math.max(n, explained?.['QUERY PLAN'][0]?.Plan['Plan Rows'] ?? n);
  }
}
