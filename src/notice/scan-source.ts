import type { NoticeType } from './notice.entity.ts';

/** SQL for a point in time in a notice's identity. */
const milliseconds = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::bigint`;
/** Rows that one statement scans. */
export const SCANNED_AT_ONCE = 500;
/** Days before an expiry at which its first notice is made. Others follow 7 days and 1 day before. */
export const FIRST_THRESHOLD_DAYS = 30;

/**
 * What expires soon, in a table of the feature that registers the source. In SQL, `$1` is the time of the scan, and no
 * other parameter may occur.
 */
export interface ExpirySource {
  readonly type: NoticeType;
  /** Rows of `expires_at`, `owner` and `id` (both UUIDs), in the order of an index. */
  readonly expiries: string;
  /**
   * Columns `channel_user_id` and `data` (a jsonb) beside those of `near`, which has the rows of `expiries` that are
   * due, and the `days` of the threshold that each has passed. Rows that it leaves out make no notice.
   */
  readonly notices: string;
}

/** A state that lasts, in a table of the feature that registers the source. `$1` is as in {@link ExpirySource}. */
export interface StateSource {
  readonly type: NoticeType;
  /** Rows of `channel_user_id`, `data` (a jsonb), and `since`, when the state began. */
  readonly states: string;
}

/** What has happened, or has lasted for a time, once each. `$1` is as in {@link ExpirySource}. */
export interface OccurrenceSource {
  readonly type: NoticeType;
  /**
   * Rows of `id` and `key`, which name the occurrence together, `channel_user_id`, and `data` (a jsonb). A row must be
   * gone before the notice is: notices are kept for 35 days.
   */
  readonly occurrences: string;
}

/** A table that is scanned for what staff and their systems should know. */
export type ScanSource = ExpirySource | StateSource | OccurrenceSource;

/**
 * Makes the notices of expiries after a position ($2, $3, $4), using only the index of expiries. Returns the position
 * to go on from.
 */
export const expiryScan = ({ type, expiries, notices }: ExpirySource): string => `
  WITH due AS MATERIALIZED (
    SELECT expires_at, owner, id FROM (${expiries}) AS expiry
    WHERE (expires_at, owner, id) > ($2::timestamptz, $3::uuid, $4::uuid)
      AND expires_at <= $1::timestamptz + interval '${String(FIRST_THRESHOLD_DAYS)} days'
    ORDER BY expires_at, owner, id LIMIT ${String(SCANNED_AT_ONCE)}
  ), near AS (
    SELECT due.*, CASE WHEN expires_at <= $1::timestamptz + interval '1 day' THEN 1
      WHEN expires_at <= $1::timestamptz + interval '7 days' THEN 7
      ELSE ${String(FIRST_THRESHOLD_DAYS)} END AS days FROM due
  ), made AS (
    INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
    SELECT notice_id($1::timestamptz), '${type}',
      concat_ws(':', '${type}', id, days, ${milliseconds('expires_at')}), channel_user_id,
      data || jsonb_build_object('withinDays', days), $1::timestamptz
    FROM (${notices}) AS found
    ON CONFLICT (once) DO NOTHING
  )
  SELECT expires_at AS "expiresAt", owner, id, count(*) OVER ()::int AS count FROM due
  ORDER BY expires_at DESC, owner DESC, id DESC LIMIT 1`;

/**
 * Makes one notice of a state, and no second one while it lasts. `once` alone does not prevent a second one: `since`
 * moves back when another instance writes late.
 */
export const stateScan = ({ type, states }: StateSource): string => `
  INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
  SELECT notice_id($1::timestamptz), '${type}',
    concat_ws(':', '${type}', channel_user_id, ${milliseconds('since')}), channel_user_id, data, $1::timestamptz
  FROM (${states}) AS found
  WHERE NOT EXISTS (
    SELECT FROM notice WHERE notice.channel_user_id = found.channel_user_id AND notice.type = '${type}'
      AND notice.created_at >= found.since)
  LIMIT ${String(SCANNED_AT_ONCE)}
  ON CONFLICT (once) DO NOTHING`;

/** Makes the notice of each occurrence. */
export const occurrenceScan = ({ type, occurrences }: OccurrenceSource): string => `
  INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
  SELECT notice_id($1::timestamptz), '${type}', once, channel_user_id, data, $1::timestamptz
  FROM (SELECT concat_ws(':', '${type}', id, key) AS once, channel_user_id, data FROM (${occurrences}) AS row) AS found
  WHERE NOT EXISTS (SELECT FROM notice WHERE notice.once = found.once)
  LIMIT ${String(SCANNED_AT_ONCE)}
  ON CONFLICT (once) DO NOTHING`;
