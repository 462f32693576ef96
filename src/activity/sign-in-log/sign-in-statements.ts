const RECORDS = `json_to_recordset($1::json) AS row(id uuid, "channelUserId" uuid, "at" float8, "lastAt" float8,
  address text, outcome text, "errorCode" text, reason text, "credentialId" uuid, "requestId" text, "userAgent" text,
  count integer, "minute" float8)`;

/** Adds the new attempts of a batch (`attempt`) to this writer's hourly rows ($2), which the overview sums. */
const HOURS_OF_ATTEMPTS = `
  hours AS (
    INSERT INTO sign_in_hour (hour, writer, tokens, refused)
    SELECT date_trunc('hour', at, 'UTC'), $2::uuid, COALESCE(sum(count) FILTER (WHERE outcome = 'token'), 0),
      COALESCE(sum(count) FILTER (WHERE outcome = 'refused'), 0)
    FROM attempt GROUP BY 1
    ON CONFLICT (hour, writer) DO UPDATE SET
      tokens = sign_in_hour.tokens + EXCLUDED.tokens, refused = sign_in_hour.refused + EXCLUDED.refused
  )`;
/**
 * Keeps a row for each channel user that was refused and has not obtained a token since. Locked rows are skipped and
 * their channel users returned, see {@link SETTLE}. If two instances write a refusal and a token of one channel user at
 * the same moment, the row may be wrong until the next token.
 */
const FAILURES_OF_ATTEMPTS = `
  token AS (
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
    ORDER BY channel_user_id FOR UPDATE SKIP LOCKED
  ), busy AS MATERIALIZED (
    SELECT channel_user_id FROM sign_in_failure WHERE channel_user_id IN (SELECT channel_user_id FROM attempt)
      AND channel_user_id NOT IN (SELECT channel_user_id FROM locked)
  ), recovered AS (
    DELETE FROM sign_in_failure AS known USING locked, token
    WHERE known.channel_user_id = locked.channel_user_id AND token.channel_user_id = locked.channel_user_id
      AND known.last_at <= token.at
      AND NOT EXISTS (SELECT FROM failure WHERE failure.channel_user_id = locked.channel_user_id)
  ), kept AS (
  INSERT INTO sign_in_failure AS known (channel_user_id, since, last_at, reason, refusals, token_at)
  SELECT channel_user_id, since, last_at, reason, refusals, token_at FROM failure
  WHERE channel_user_id NOT IN (SELECT channel_user_id FROM busy) ORDER BY channel_user_id
  ON CONFLICT (channel_user_id) DO UPDATE SET
    since = CASE WHEN EXCLUDED.token_at >= known.last_at THEN EXCLUDED.since ELSE least(known.since, EXCLUDED.since) END,
    refusals = CASE WHEN EXCLUDED.token_at >= known.last_at THEN 0 ELSE known.refusals END + EXCLUDED.refusals,
    reason = CASE WHEN EXCLUDED.last_at >= known.last_at THEN EXCLUDED.reason ELSE known.reason END,
    last_at = greatest(known.last_at, EXCLUDED.last_at),
    token_at = greatest(known.token_at, EXCLUDED.token_at)
  )`;
const BUSY = `SELECT channel_user_id AS "channelUserId", NULL::uuid AS id FROM busy`;

const COLUMNS = `day, id, channel_user_id, at, address, outcome, error_code, reason, credential_id, request_id,
      user_agent, count, minute`;
const VALUES = `(to_timestamp("at" / 1000.0) AT TIME ZONE 'UTC')::date, id, "channelUserId", to_timestamp("at" / 1000.0),
      address, outcome, "errorCode", reason, "credentialId", "requestId", "userAgent", count,
      to_timestamp("minute" / 1000.0)`;
const ATTEMPT = `"channelUserId" AS channel_user_id, to_timestamp("at" / 1000.0)::timestamptz(3) AS at,
      to_timestamp(COALESCE("lastAt", "at") / 1000.0)::timestamptz(3) AS last_at, outcome, reason, count`;

/**
 * Writes a batch. A batch whose answer was lost can be written again, which changes nothing. New attempts are looked up
 * instead of returned by the INSERT: in a WITH, INSERT … ON CONFLICT … RETURNING into a partitioned table sometimes
 * crashes the backend of PostgreSQL 18.4 with a segmentation fault.
 */
export const INSERT = `
  WITH written AS (
    INSERT INTO activity (${COLUMNS}) SELECT ${VALUES} FROM ${RECORDS} ON CONFLICT (day, id) DO NOTHING
  ), attempt AS MATERIALIZED (
    SELECT ${ATTEMPT} FROM ${RECORDS}
    WHERE NOT EXISTS (
      SELECT FROM activity AS known
      WHERE known.day = (to_timestamp(row."at" / 1000.0) AT TIME ZONE 'UTC')::date AND known.id = row.id)
  ), ${HOURS_OF_ATTEMPTS}, ${FAILURES_OF_ATTEMPTS}
  ${BUSY}`;

const COUNTED_ROWS = `record JOIN activity AS known ON known.channel_user_id = "channelUserId"
      AND known.day = (to_timestamp(record."at" / 1000.0) AT TIME ZONE 'UTC')::date
      AND known.minute = to_timestamp(record."minute" / 1000.0) AND known.reason = record.reason`;

/**
 * Adds to rows that count refusals. Locked rows are skipped and their records returned by id, since another instance
 * that counts the same minute soon unlocks them. All instances insert in one order, so that they cannot deadlock.
 */
export const COUNT = `
  WITH record AS MATERIALIZED (
    SELECT * FROM ${RECORDS}
  ), free AS MATERIALIZED (
    SELECT record.id FROM ${COUNTED_ROWS} FOR UPDATE OF known SKIP LOCKED
  ), busy_row AS MATERIALIZED (
    SELECT record.id FROM ${COUNTED_ROWS} WHERE record.id NOT IN (SELECT id FROM free)
  ), written AS (
    INSERT INTO activity (${COLUMNS}) SELECT ${VALUES} FROM record WHERE id NOT IN (SELECT id FROM busy_row)
    ORDER BY "channelUserId", reason, "minute"
    ON CONFLICT (day, channel_user_id, minute, reason) WHERE minute IS NOT NULL
    DO UPDATE SET count = activity.count + EXCLUDED.count
  ), attempt AS MATERIALIZED (
    SELECT ${ATTEMPT} FROM record WHERE id NOT IN (SELECT id FROM busy_row)
  ), ${HOURS_OF_ATTEMPTS}, ${FAILURES_OF_ATTEMPTS}
  ${BUSY} UNION ALL SELECT NULL, id FROM busy_row`;

/** Updates the failure rows that a batch skipped because they were locked. */
export const SETTLE = `
  WITH attempt AS MATERIALIZED (
    SELECT ${ATTEMPT} FROM ${RECORDS}
  ), ${FAILURES_OF_ATTEMPTS}
  ${BUSY}`;

export const COUNT_TOKENS = `
  SELECT count(*)::int AS tokens FROM (
    SELECT FROM activity
    WHERE channel_user_id = $1 AND credential_id = $2 AND outcome = 'token' AND at > $3 AND day >= $4
    LIMIT $5
  ) AS counted`;

/** Counts each channel user's refusals since a given time, by reason. Reads at most the newest 1000 of each. */
export const REASONS = `
  SELECT failing.id, recent.reason, sum(recent.count)::float8 AS count, max(recent.at) AS "lastAt"
  FROM unnest($1::uuid[], $2::timestamptz[]) AS failing (id, since)
  CROSS JOIN LATERAL (
    SELECT reason, count, at FROM activity
    WHERE channel_user_id = failing.id AND outcome = 'refused' AND at >= failing.since AND reason IS NOT NULL
      AND day >= (failing.since AT TIME ZONE 'UTC')::date
    ORDER BY at DESC LIMIT 1000
  ) AS recent
  GROUP BY failing.id, recent.reason ORDER BY failing.id, count DESC, "lastAt" DESC`;

export const HOURS = `
  SELECT hour, sum(tokens)::float8 AS tokens, sum(refused)::float8 AS refused FROM sign_in_hour
  WHERE hour >= $1 GROUP BY hour ORDER BY hour`;
