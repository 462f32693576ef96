import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `CREATE TABLE "handover" (
    "id" uuid NOT NULL,
    "channel_user_id" uuid NOT NULL,
    "credential_id" uuid NOT NULL,
    "secret_hash" bytea NOT NULL,
    "sealed_password" bytea,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "created_by" uuid,
    "expires_at" timestamptz(3) NOT NULL,
    "revealed_at" timestamptz(3),
    "revealed_address" text,
    "revoked_at" timestamptz(3),
    CONSTRAINT "pk_handover" PRIMARY KEY ("id"),
    CONSTRAINT "fk_handover_channel_user" FOREIGN KEY ("channel_user_id")
      REFERENCES "channel_user" ("id") ON DELETE CASCADE,
    CONSTRAINT "fk_handover_credential" FOREIGN KEY ("credential_id")
      REFERENCES "credential" ("id") ON DELETE CASCADE,
    CONSTRAINT "ck_handover_wiped"
      CHECK (sealed_password IS NULL OR (revealed_at IS NULL AND revoked_at IS NULL))
  )`,
  `CREATE UNIQUE INDEX "uq_handover_secret_hash" ON "handover" ("secret_hash")`,
  `CREATE INDEX "ix_handover_channel_user" ON "handover" ("channel_user_id", "created_at")`,
  `CREATE INDEX "ix_handover_credential" ON "handover" ("credential_id")`,
  // What the wiping looks through.
  `CREATE INDEX "ix_handover_sealed" ON "handover" ("expires_at") WHERE sealed_password IS NOT NULL`,
];

const DOWN = [`DROP TABLE "handover"`];

export class Handover1795810000000 implements MigrationInterface {
  name = 'Handover1795810000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
