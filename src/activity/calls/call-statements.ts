/** Leaves out channel users that were deleted since the call. */
const EXISTS = 'WHERE EXISTS (SELECT FROM channel_user WHERE channel_user.id = "channelUserId")';

/**
 * Writes totals, not increments: a batch whose answer was lost can be written again, which changes nothing. All writers
 * lock rows in the order of the primary key.
 */
export const WRITE_COUNTS = `
  INSERT INTO call_count (channel_user_id, hour, route, method, status_class, writer, calls)
  SELECT "channelUserId", to_timestamp("hour" / 1000.0), route, method, "statusClass", writer, calls
  FROM json_to_recordset($1::json) AS row("channelUserId" uuid, "hour" float8, route text, method text,
    "statusClass" smallint, writer uuid, calls bigint)
  ${EXISTS}
  ORDER BY 1, 2, 3, 4, 5, 6
  ON CONFLICT (channel_user_id, hour, route, method, status_class, writer)
  DO UPDATE SET calls = greatest(call_count.calls, EXCLUDED.calls)`;

/** The counts of a channel user ($1) since an hour ($2), without those of a writer ($3). */
export const READ_COUNTS = `
  SELECT hour, route, method, status_class AS "statusClass", sum(calls)::float8 AS calls
  FROM call_count WHERE channel_user_id = $1 AND hour >= $2 AND writer <> $3
  GROUP BY hour, route, method, status_class`;

const WRITE_ERRORS = `
  INSERT INTO call_error (id, channel_user_id, at, method, route, status, code, reason, request_id, count, minute)
  SELECT id, "channelUserId", to_timestamp("at" / 1000.0), method, route, status, code, reason, "requestId", count,
    to_timestamp("minute" / 1000.0)
  FROM json_to_recordset($1::json) AS row(id uuid, "channelUserId" uuid, "at" float8, method text, route text,
    status smallint, code text, reason text, "requestId" uuid, count integer, "minute" float8)
  ${EXISTS}`;

/** Writes errors with a row each. A batch whose answer was lost can be written again, which changes nothing. */
export const INSERT_ERRORS = `${WRITE_ERRORS} ON CONFLICT (id) DO NOTHING`;

/** Adds to rows that count errors. All instances lock the rows in one order, so that they cannot deadlock. */
export const COUNT_ERRORS = `${WRITE_ERRORS}
  ORDER BY "channelUserId", "minute", reason
  ON CONFLICT (channel_user_id, minute, reason) WHERE minute IS NOT NULL
  DO UPDATE SET count = call_error.count + EXCLUDED.count`;
