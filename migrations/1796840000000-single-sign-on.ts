import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `ALTER TABLE "staff" ADD "oidc_issuer" text`,
  `ALTER TABLE "staff" ADD "oidc_subject" text`,
  `ALTER TABLE "staff" ADD "break_glass" boolean NOT NULL DEFAULT false`,
  `ALTER TABLE "staff" ADD CONSTRAINT "ck_staff_identity" CHECK ((oidc_issuer IS NULL) = (oidc_subject IS NULL))`,
  `ALTER TABLE "staff" ADD CONSTRAINT "ck_staff_break_glass" CHECK (NOT break_glass OR oidc_subject IS NULL)`,
  `CREATE UNIQUE INDEX "uq_staff_identity" ON "staff" ("oidc_issuer", "oidc_subject")`,

  `ALTER TABLE "staff_session" ADD "authenticated_at" timestamptz(3) NOT NULL DEFAULT now()`,
  `ALTER TABLE "staff_session" ADD "oidc_sid" text`,
  `ALTER TABLE "staff_session" ADD "id_token" bytea`,

  `ALTER TABLE "settings" ADD "local_sign_in" text NOT NULL DEFAULT 'everybody'`,
  `ALTER TABLE "settings" ADD CONSTRAINT "ck_settings_local_sign_in" CHECK (local_sign_in IN ('everybody', 'break-glass'))`,

  `CREATE TABLE "used_logout_token" (
    "id_hash" text NOT NULL,
    "expires_at" timestamptz(3) NOT NULL,
    CONSTRAINT "pk_used_logout_token" PRIMARY KEY ("id_hash")
  )`,
  `CREATE INDEX "ix_used_logout_token_expires_at" ON "used_logout_token" ("expires_at")`,
];

const DOWN = [
  `DROP TABLE "used_logout_token"`,
  `ALTER TABLE "settings" DROP COLUMN "local_sign_in"`,
  `ALTER TABLE "staff_session" DROP COLUMN "id_token"`,
  `ALTER TABLE "staff_session" DROP COLUMN "oidc_sid"`,
  `ALTER TABLE "staff_session" DROP COLUMN "authenticated_at"`,
  `ALTER TABLE "staff" DROP COLUMN "break_glass"`,
  `ALTER TABLE "staff" DROP COLUMN "oidc_subject"`,
  `ALTER TABLE "staff" DROP COLUMN "oidc_issuer"`,
];

export class SingleSignOn1796840000000 implements MigrationInterface {
  name = 'SingleSignOn1796840000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
