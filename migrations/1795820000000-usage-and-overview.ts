import type { MigrationInterface, QueryRunner } from 'typeorm';

/** None of the new columns decides access: the triggers that announce changes name theirs and stay silent. */
const UP = [
  `ALTER TABLE "channel_user" ADD COLUMN IF NOT EXISTS "tokens_revoked_at" timestamptz(3)`,
  // Since when an account is silent. With the columns, without which PostgreSQL does not count by the index alone.
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_channel_user_silent"`,
  `CREATE INDEX CONCURRENTLY "ix_channel_user_silent" ON "channel_user" ((COALESCE("last_token_at", "created_at")))
    INCLUDE ("last_token_at", "created_at")`,
  // Those that expire, and have expired, are counted by the index alone, too.
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_channel_user_expires_at_wide"`,
  `CREATE INDEX CONCURRENTLY "ix_channel_user_expires_at_wide" ON "channel_user" ("expires_at", "suspended_at", "id")
    WHERE expires_at IS NOT NULL`,
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_channel_user_expires_at"`,
  `ALTER INDEX "ix_channel_user_expires_at_wide" RENAME TO "ix_channel_user_expires_at"`,

  `ALTER TABLE "credential" ADD COLUMN IF NOT EXISTS "last_used_address" text`,
  `ALTER TABLE "credential" ADD COLUMN IF NOT EXISTS "last_used_user_agent" text`,
  // With the owner, so that a list filters by the index alone.
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_credential_expires_at"`,
  `CREATE INDEX CONCURRENTLY "ix_credential_expires_at" ON "credential" ("expires_at", "channel_user_id")
    WHERE revoked_at IS NULL AND expires_at IS NOT NULL`,

  // No foreign keys: what is deleted meanwhile must not make a batch fail. Rows that belong to nobody are pruned.
  `CREATE TABLE IF NOT EXISTS "sign_in_failure" (
    "channel_user_id" uuid NOT NULL,
    "since" timestamptz(3) NOT NULL,
    "last_at" timestamptz(3) NOT NULL,
    "reason" text NOT NULL,
    "refusals" bigint NOT NULL,
    "token_at" timestamptz(3),
    CONSTRAINT "pk_sign_in_failure" PRIMARY KEY ("channel_user_id")
  )`,
  `CREATE INDEX IF NOT EXISTS "ix_sign_in_failure_last_at" ON "sign_in_failure" ("last_at", "channel_user_id")`,

  `CREATE TABLE IF NOT EXISTS "sign_in_hour" (
    "hour" timestamptz(3) NOT NULL,
    "writer" uuid NOT NULL,
    "tokens" bigint NOT NULL,
    "refused" bigint NOT NULL,
    CONSTRAINT "pk_sign_in_hour" PRIMARY KEY ("hour", "writer")
  )`,

  `CREATE TABLE IF NOT EXISTS "credential_usage" (
    "credential_id" uuid NOT NULL,
    "hour" timestamptz(3) NOT NULL,
    "writer" uuid NOT NULL,
    "calls" bigint NOT NULL,
    "last_at" timestamptz(3) NOT NULL,
    CONSTRAINT "pk_credential_usage" PRIMARY KEY ("credential_id", "hour", "writer")
  )`,
  `CREATE INDEX IF NOT EXISTS "ix_credential_usage_hour" ON "credential_usage" ("hour")`,

  // What the older version recorded of the last day. Nobody else writes these tables before the migration has ended.
  `DELETE FROM "sign_in_hour"`,
  `DELETE FROM "sign_in_failure"`,
  `INSERT INTO "sign_in_hour" (hour, writer, tokens, refused)
    SELECT date_trunc('hour', at, 'UTC'), gen_random_uuid(), COALESCE(sum(count) FILTER (WHERE outcome = 'token'), 0),
      COALESCE(sum(count) FILTER (WHERE outcome = 'refused'), 0)
    FROM activity WHERE day >= (now() AT TIME ZONE 'UTC')::date - 1 AND at > now() - interval '1 day' GROUP BY 1`,
  `INSERT INTO "sign_in_failure" (channel_user_id, since, last_at, reason, refusals, token_at)
    SELECT channel_user_id, min(at), max(at), (array_agg(reason ORDER BY at DESC))[1], sum(count), max(token_at)
    FROM (
      SELECT *, max(at) FILTER (WHERE outcome = 'token') OVER (PARTITION BY channel_user_id) AS token_at
      FROM activity WHERE day >= (now() AT TIME ZONE 'UTC')::date - 1 AND at > now() - interval '1 day'
    ) AS recent
    WHERE outcome = 'refused' AND reason IS NOT NULL AND (token_at IS NULL OR at > token_at) GROUP BY 1`,
];

const DOWN = [
  `DROP TABLE "credential_usage"`,
  `DROP TABLE "sign_in_hour"`,
  `DROP TABLE "sign_in_failure"`,
  `DROP INDEX "ix_credential_expires_at"`,
  `ALTER TABLE "credential" DROP COLUMN "last_used_user_agent"`,
  `ALTER TABLE "credential" DROP COLUMN "last_used_address"`,
  `DROP INDEX "ix_channel_user_expires_at"`,
  `CREATE INDEX "ix_channel_user_expires_at" ON "channel_user" ("expires_at") WHERE expires_at IS NOT NULL`,
  `DROP INDEX "ix_channel_user_silent"`,
  `ALTER TABLE "channel_user" DROP COLUMN "tokens_revoked_at"`,
];

export class UsageAndOverview1795820000000 implements MigrationInterface {
  name = 'UsageAndOverview1795820000000';
  /**
   * In one transaction, the first ALTER TABLE kept everybody from reading accounts until the last index was built. Can be
   * run again.
   */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
