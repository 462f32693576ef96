import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `ALTER TABLE "signing_key" ADD "id" uuid NOT NULL DEFAULT gen_random_uuid()`,
  `ALTER TABLE "signing_key" ADD "state" text`,
  `ALTER TABLE "signing_key" ADD "activated_at" timestamptz(3)`,
  `ALTER TABLE "signing_key" ADD "verifies_until" timestamptz(3)`,
  `ALTER TABLE "signing_key" ADD "revoked_at" timestamptz(3)`,
  // What was retired still verified; the longest token lives for a day.
  `UPDATE "signing_key" SET
    "state" = CASE WHEN retired_at IS NULL THEN 'active' ELSE 'retiring' END,
    "activated_at" = created_at,
    "verifies_until" = retired_at + interval '1 day'`,
  `ALTER TABLE "signing_key" ALTER COLUMN "state" SET NOT NULL`,
  `ALTER TABLE "signing_key" ADD CONSTRAINT "ck_signing_key_state"
    CHECK (state IN ('published', 'active', 'retiring', 'retired', 'revoked'))`,
  `DROP INDEX "uq_signing_key_active"`,
  `ALTER TABLE "signing_key" DROP COLUMN "retired_at"`,
  `CREATE UNIQUE INDEX "uq_signing_key_id" ON "signing_key" ("id")`,
  // One of each purpose signs, and one stands by.
  `CREATE UNIQUE INDEX "uq_signing_key_active" ON "signing_key" ("purpose") WHERE state = 'active'`,
  `CREATE UNIQUE INDEX "uq_signing_key_published" ON "signing_key" ("purpose") WHERE state = 'published'`,

  `CREATE TABLE "revoked_token" (
    "jti" uuid NOT NULL,
    "expires_at" timestamptz(3) NOT NULL,
    "revoked_at" timestamptz(3) NOT NULL,
    CONSTRAINT "pk_revoked_token" PRIMARY KEY ("jti")
  )`,
  `CREATE INDEX "ix_revoked_token_expires_at" ON "revoked_token" ("expires_at")`,
  `CREATE TRIGGER "tr_revoked_token_changed" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "revoked_token"
    FOR EACH STATEMENT EXECUTE FUNCTION notify_change('revoked_token')`,
];

const DOWN = [
  `DROP TABLE "revoked_token"`,
  `DROP INDEX "uq_signing_key_published"`,
  `DROP INDEX "uq_signing_key_active"`,
  `DROP INDEX "uq_signing_key_id"`,
  `ALTER TABLE "signing_key" ADD "retired_at" timestamptz(3)`,
  // The older version believes every key that is there.
  `DELETE FROM "signing_key" WHERE state IN ('published', 'retired', 'revoked')`,
  `UPDATE "signing_key" SET "retired_at" = verifies_until - interval '1 day' WHERE state = 'retiring'`,
  `CREATE UNIQUE INDEX "uq_signing_key_active" ON "signing_key" ("purpose") WHERE retired_at IS NULL`,
  `ALTER TABLE "signing_key" DROP CONSTRAINT "ck_signing_key_state"`,
  `ALTER TABLE "signing_key" DROP COLUMN "revoked_at"`,
  `ALTER TABLE "signing_key" DROP COLUMN "verifies_until"`,
  `ALTER TABLE "signing_key" DROP COLUMN "activated_at"`,
  `ALTER TABLE "signing_key" DROP COLUMN "state"`,
  `ALTER TABLE "signing_key" DROP COLUMN "id"`,
];

export class KeyStatesAndRevokedTokens1795700000000 implements MigrationInterface {
  name = 'KeyStatesAndRevokedTokens1795700000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
