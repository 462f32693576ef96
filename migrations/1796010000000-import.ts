import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `CREATE TABLE "channel_user_import" (
    "id" uuid NOT NULL,
    "state" text NOT NULL,
    "format" text NOT NULL,
    "dry_run" boolean NOT NULL,
    "partial" boolean NOT NULL,
    "rows" integer NOT NULL DEFAULT 0,
    "created" integer NOT NULL DEFAULT 0,
    "failed" integer NOT NULL DEFAULT 0,
    "file_sha256" text,
    "actor_type" text NOT NULL,
    "actor_id" uuid,
    "started_at" timestamptz(3) NOT NULL DEFAULT now(),
    "heartbeat_at" timestamptz(3) NOT NULL DEFAULT now(),
    "finished_at" timestamptz(3),
    CONSTRAINT "pk_channel_user_import" PRIMARY KEY ("id")
  )`,
  // One at a time, whichever instance runs it.
  `CREATE UNIQUE INDEX "uq_channel_user_import_running" ON "channel_user_import" ("state") WHERE state = 'running'`,
  `CREATE INDEX "ix_channel_user_import_started_at" ON "channel_user_import" ("started_at", "id")`,
  // What waits here is read again from the file after a crash: it needs no log of its own.
  `CREATE UNLOGGED TABLE "channel_user_import_row" (
    "import_id" uuid NOT NULL,
    "row_number" integer NOT NULL,
    "username_key" text COLLATE "C" NOT NULL,
    "account" jsonb NOT NULL,
    "secret_hash" text NOT NULL,
    "fingerprint" text,
    CONSTRAINT "pk_channel_user_import_row" PRIMARY KEY ("import_id", "row_number")
  )`,
  `CREATE UNIQUE INDEX "uq_channel_user_import_row_username"
    ON "channel_user_import_row" ("import_id", "username_key")`,
];

const DOWN = [`DROP TABLE "channel_user_import_row"`, `DROP TABLE "channel_user_import"`];

export class Import1796010000000 implements MigrationInterface {
  name = 'Import1796010000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
