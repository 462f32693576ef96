import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Counts of the guarded calls of each account, and those that were refused or failed. Without foreign keys, so that the
 * deletion of an account makes no batch fail: a trigger deletes the rows, and writers leave out accounts that are gone.
 */
const UP = [
  `CREATE TABLE "call_count" (
    "channel_user_id" uuid NOT NULL,
    "hour" timestamptz(3) NOT NULL,
    "route" text NOT NULL,
    "method" text NOT NULL,
    "status_class" smallint NOT NULL,
    "writer" uuid NOT NULL,
    "calls" bigint NOT NULL,
    CONSTRAINT "pk_call_count" PRIMARY KEY ("channel_user_id", "hour", "route", "method", "status_class", "writer")
  )`,
  `CREATE INDEX "ix_call_count_hour" ON "call_count" ("hour")`,

  `CREATE TABLE "call_error" (
    "id" uuid NOT NULL,
    "channel_user_id" uuid NOT NULL,
    "at" timestamptz(3) NOT NULL,
    "method" text NOT NULL,
    "route" text NOT NULL,
    "status" smallint NOT NULL,
    "code" text,
    "reason" text NOT NULL,
    "request_id" uuid NOT NULL,
    "count" integer NOT NULL,
    "minute" timestamptz(3),
    CONSTRAINT "pk_call_error" PRIMARY KEY ("id")
  )`,
  `CREATE INDEX "ix_call_error_channel_user" ON "call_error" ("channel_user_id", "at", "id")`,
  `CREATE INDEX "ix_call_error_request" ON "call_error" ("request_id")`,
  `CREATE INDEX "ix_call_error_at" ON "call_error" ("at")`,
  // The errors of one minute beyond those with a row each share a row, whichever instance counts them.
  `CREATE UNIQUE INDEX "uq_call_error_minute" ON "call_error" ("channel_user_id", "minute", "reason")
    WHERE minute IS NOT NULL`,

  // Locks the rows in the order in which servers write them, so that the two cannot deadlock.
  `CREATE FUNCTION channel_user_calls_gone() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM FROM call_count WHERE channel_user_id IN (SELECT id FROM gone)
        ORDER BY channel_user_id, hour, route, method, status_class, writer FOR UPDATE;
      DELETE FROM call_count WHERE channel_user_id IN (SELECT id FROM gone);
      PERFORM FROM call_error WHERE channel_user_id IN (SELECT id FROM gone) AND minute IS NOT NULL
        ORDER BY channel_user_id, minute, reason FOR UPDATE;
      DELETE FROM call_error WHERE channel_user_id IN (SELECT id FROM gone);
      RETURN NULL;
    END
  $$`,
  `CREATE TRIGGER "tr_channel_user_calls_gone" AFTER DELETE ON "channel_user" REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION channel_user_calls_gone()`,
];

const DOWN = [
  `DROP TRIGGER "tr_channel_user_calls_gone" ON "channel_user"`,
  `DROP FUNCTION channel_user_calls_gone()`,
  `DROP TABLE "call_error"`,
  `DROP TABLE "call_count"`,
];

export class Calls1796810000000 implements MigrationInterface {
  name = 'Calls1796810000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
