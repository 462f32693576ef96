import { Injectable } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { ActivityService } from '../activity/activity.service.ts';
import { Clock } from '../common/clock.ts';
import { Recent } from '../common/recent.ts';
import type { OverviewDto } from './overview.dto.ts';

/** However many people look, the numbers are read this often. */
const KEEP_MS = 5_000;
const DAY_MS = 86_400_000;
const MONTH_MS = 30 * DAY_MS;
const HOURS = 24;
const ITEMS = 10;

// Each by one index alone where PostgreSQL can: the rows of a million partners are wide.
const COUNT = {
  total: 'SELECT count(*)::float8 AS n FROM channel_user',
  suspended: 'SELECT count(*)::float8 AS n FROM channel_user WHERE suspended_at IS NOT NULL',
  expired: `SELECT count(*)::float8 AS n FROM channel_user 
    WHERE suspended_at IS NULL AND expires_at IS NOT NULL AND expires_at <= $1`,
  silent: `SELECT count(*)::float8 AS n FROM channel_user WHERE COALESCE(last_token_at, created_at) < $1`,
  failing: `SELECT count(*)::float8 AS n FROM sign_in_failure AS failure
    JOIN channel_user ON channel_user.id = failure.channel_user_id WHERE failure.last_at > $1`,
  expiring: `SELECT count(DISTINCT owner)::float8 AS n FROM (
      SELECT channel_user_id AS owner FROM credential
        WHERE revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2
      UNION ALL SELECT id FROM channel_user WHERE expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2
    ) AS expiry`,
};

const FAILING = `
  SELECT channel_user.id, username, display_name AS "displayName", since, last_at AS "lastAt", reason,
    refusals::float8 AS count
  FROM sign_in_failure AS failure JOIN channel_user ON channel_user.id = failure.channel_user_id
  WHERE last_at > $1 ORDER BY last_at DESC, failure.channel_user_id DESC LIMIT ${String(ITEMS)}`;

const EXPIRING = `
  SELECT channel_user.id, username, display_name AS "displayName", "credentialId", label, expiry."expiresAt"
  FROM (
    (SELECT channel_user_id AS owner, id AS "credentialId", label, expires_at AS "expiresAt" FROM credential
      WHERE revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at > $1 AND expires_at <= $2
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
  readonly #recent: Recent<OverviewDto>;

  constructor(
    private readonly dataSource: DataSource,
    private readonly activity: ActivityService,
    private readonly clock: Clock,
  ) {
    this.#recent = new Recent(clock, KEEP_MS, () => this.#read());
  }

  /** The numbers, a few seconds old at most. */
  read(): Promise<OverviewDto> {
    return this.#recent.get();
  }

  async #read(): Promise<OverviewDto> {
    const at = this.clock.now();
    const now = new Date(at);
    const yesterday = new Date(at - DAY_MS);
    const inAMonth = new Date(at + MONTH_MS);
    await this.activity.written();
    const [total, suspended, expired, silent, failing, expiring, failingItems, expiringItems, hours] =
      await Promise.all([
        this.#count(COUNT.total),
        this.#count(COUNT.suspended),
        this.#count(COUNT.expired, now),
        this.#count(COUNT.silent, new Date(at - MONTH_MS)),
        this.#count(COUNT.failing, yesterday),
        this.#count(COUNT.expiring, now, inAMonth),
        this.dataSource.query<OverviewDto['failing']['items']>(FAILING, [yesterday]),
        this.dataSource.query<OverviewDto['expiring']['items']>(EXPIRING, [now, inAMonth]),
        this.activity.hours(HOURS),
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

  async #count(query: string, ...parameters: Date[]): Promise<number> {
    const [row] = await this.dataSource.query<{ n: number }[]>(query, parameters);
    return row?.n ?? 0;
  }
}
