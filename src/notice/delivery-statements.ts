import type { NoticeType } from './notice.entity.ts';

/** Waiting deliveries are counted up to this number. */
const MAX_COUNT = 100_000;

/** A delivery that this instance has claimed. */
export interface Claimed {
  readonly id: string;
  readonly claim: string;
  readonly attempts: number;
  readonly noticeId: string;
  readonly type: NoticeType;
  readonly createdAt: Date;
  readonly data: object;
  readonly webhookId: string;
  readonly url: string;
  readonly sealedUrl: Buffer | null;
  readonly sealedSecret: Buffer;
  readonly sealedPreviousSecret: Buffer | null;
  readonly previousSecretUntil: Date | null;
}

/**
 * Claims due deliveries: for each webhook as many as this instance has free places ($3, less those taken, $2). Skips
 * what another instance claims at the same moment. No instance claims a delivery again before its lease ends ($4).
 */
export const CLAIM = `
  WITH due AS MATERIALIZED (
    SELECT waiting.id FROM webhook CROSS JOIN LATERAL (
      SELECT id FROM notice_delivery
      WHERE webhook_id = webhook.id AND next_attempt_at <= $1
      ORDER BY next_attempt_at, id
      LIMIT $3::int - COALESCE(($2::jsonb ->> webhook.id::text)::int, 0)
      FOR UPDATE SKIP LOCKED
    ) AS waiting WHERE webhook.enabled
  ), claimed AS (
    UPDATE notice_delivery AS delivery
    SET claim = notice_id($1), next_attempt_at = $4, attempts = delivery.attempts + 1, last_attempt_at = $1
    FROM due WHERE delivery.id = due.id
    RETURNING delivery.id, delivery.claim, delivery.attempts, delivery.notice_id, delivery.webhook_id
  )
  SELECT claimed.id, claim, attempts, notice_id AS "noticeId", type, notice.created_at AS "createdAt", data,
    webhook_id AS "webhookId", url, sealed_url AS "sealedUrl", sealed_secret AS "sealedSecret",
    sealed_previous_secret AS "sealedPreviousSecret", previous_secret_until AS "previousSecretUntil"
  FROM claimed JOIN notice ON notice.id = notice_id JOIN webhook ON webhook.id = webhook_id`;

/** Records an outcome if the attempt still holds the claim, which another instance takes over from a late attempt. */
export const FINISH = `
  UPDATE notice_delivery SET state = $3, next_attempt_at = $4, claim = NULL, last_status = $5, last_error = $6,
    last_duration_ms = $7, delivered_at = COALESCE($8, delivered_at)
  WHERE id = $1 AND claim = $2`;

export const GIVE_BACK = `
  UPDATE notice_delivery SET claim = NULL, next_attempt_at = $3, attempts = attempts - 1 WHERE id = $1 AND claim = $2`;

export const COUNT = `
  SELECT count(*)::int AS waiting FROM (
    SELECT FROM notice_delivery WHERE next_attempt_at IS NOT NULL LIMIT ${String(MAX_COUNT)}
  ) AS waiting`;
