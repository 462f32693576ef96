import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `CREATE TABLE "password_link" (
    "id" uuid NOT NULL,
    "staff_id" uuid NOT NULL,
    "secret_hash" bytea NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "created_by" uuid,
    "expires_at" timestamptz(3) NOT NULL,
    "used_at" timestamptz(3),
    "revoked_at" timestamptz(3),
    "refusals" smallint NOT NULL DEFAULT 0,
    CONSTRAINT "pk_password_link" PRIMARY KEY ("id"),
    CONSTRAINT "fk_password_link_staff" FOREIGN KEY ("staff_id") REFERENCES "staff" ("id") ON DELETE CASCADE
  )`,
  `CREATE UNIQUE INDEX "uq_password_link_secret_hash" ON "password_link" ("secret_hash")`,
  `CREATE INDEX "ix_password_link_staff" ON "password_link" ("staff_id")`,
];

export class PasswordLinks1796500010000 implements MigrationInterface {
  name = 'PasswordLinks1796500010000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`DROP TABLE "password_link"`);
  }
}
