import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // A session in a cookie ends when nobody uses it.
  `ALTER TABLE "staff_session" ADD "by_cookie" boolean NOT NULL DEFAULT false`,
  `ALTER TABLE "staff_session" ADD "last_seen_at" timestamptz(3) NOT NULL DEFAULT now()`,

  `ALTER TABLE "staff" ADD "second_factor_at" timestamptz(3)`,
  `ALTER TABLE "staff" ADD "totp_secret" bytea`,
  `ALTER TABLE "staff" ADD "pending_totp_secret" bytea`,
  `ALTER TABLE "staff" ADD "last_totp_step" integer`,
  `ALTER TABLE "staff" ADD "totp_attempts" integer NOT NULL DEFAULT 0`,
  `ALTER TABLE "staff" ADD CONSTRAINT "ck_staff_second_factor" CHECK (
    (second_factor_at IS NULL) = (totp_secret IS NULL) AND (second_factor_at IS NULL) = (last_totp_step IS NULL))`,
  `CREATE TABLE "recovery_code" (
    "staff_id" uuid NOT NULL,
    "code_hash" text NOT NULL,
    CONSTRAINT "pk_recovery_code" PRIMARY KEY ("staff_id", "code_hash"),
    CONSTRAINT "fk_recovery_code_staff" FOREIGN KEY ("staff_id") REFERENCES "staff" ("id") ON DELETE CASCADE
  )`,

  `CREATE TABLE "settings" (
    "id" boolean NOT NULL DEFAULT true,
    "second_factor_required" boolean NOT NULL DEFAULT false,
    CONSTRAINT "pk_settings" PRIMARY KEY ("id"),
    CONSTRAINT "ck_settings_one_row" CHECK (id)
  )`,
  `INSERT INTO "settings" DEFAULT VALUES`,
];

const DOWN = [
  `DROP TABLE "settings"`,
  `DROP TABLE "recovery_code"`,
  `ALTER TABLE "staff" DROP CONSTRAINT "ck_staff_second_factor"`,
  `ALTER TABLE "staff" DROP COLUMN "totp_attempts"`,
  `ALTER TABLE "staff" DROP COLUMN "last_totp_step"`,
  `ALTER TABLE "staff" DROP COLUMN "pending_totp_secret"`,
  `ALTER TABLE "staff" DROP COLUMN "totp_secret"`,
  `ALTER TABLE "staff" DROP COLUMN "second_factor_at"`,
  `ALTER TABLE "staff_session" DROP COLUMN "last_seen_at"`,
  `ALTER TABLE "staff_session" DROP COLUMN "by_cookie"`,
];

export class SecondFactor1795800000000 implements MigrationInterface {
  name = 'SecondFactor1795800000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
