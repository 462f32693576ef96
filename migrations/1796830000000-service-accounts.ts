import type { MigrationInterface, QueryRunner } from 'typeorm';

const BEGUN_BY = 'ck_credential_begun_by';
const WITHDRAWN_BY = [
  `CASE NEW.actor_type WHEN 'system' THEN 'system' WHEN 'channel-user' THEN 'account' ELSE 'staff' END`,
  `CASE WHEN NEW.actor_type IN ('system', 'service-account') THEN NEW.actor_type
    WHEN NEW.actor_type = 'channel-user' THEN 'account' ELSE 'staff' END`,
] as const;

/** Allows these values in `credential.begun_by`. Validated afterwards, so that no statement locks the table for long. */
const begunBy = (values: string): string[] => [
  `ALTER TABLE "credential" DROP CONSTRAINT IF EXISTS "${BEGUN_BY}"`,
  `ALTER TABLE "credential" ADD CONSTRAINT "${BEGUN_BY}" CHECK (begun_by IN (${values})) NOT VALID`,
  `ALTER TABLE "credential" VALIDATE CONSTRAINT "${BEGUN_BY}"`,
];

/** Replaces a part of the function that writes notices, and leaves the rest as other migrations have made it. */
const inNotices = (from: string, to: string): string => `DO $do$
    BEGIN
      EXECUTE replace(pg_get_functiondef('notice_of_audit_event()'::regprocedure),
        $part$${from}$part$, $part$${to}$part$);
    END
  $do$`;

const UP = [
  `CREATE TABLE IF NOT EXISTS "service_account" (
    "id" uuid NOT NULL DEFAULT gen_random_uuid(),
    "name" text NOT NULL,
    "name_key" text NOT NULL,
    "role" text NOT NULL,
    "allowed_ips" text[] NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "expires_at" timestamptz(3),
    "suspended_at" timestamptz(3),
    "revoked_at" timestamptz(3),
    "last_used_at" timestamptz(3),
    "last_used_address" text,
    CONSTRAINT "ck_service_account_role" CHECK (role IN ('viewer', 'operator', 'admin')),
    CONSTRAINT "pk_service_account" PRIMARY KEY ("id")
  )`,
  `CREATE UNIQUE INDEX IF NOT EXISTS "uq_service_account_name" ON "service_account" ("name_key")`,
  `CREATE TABLE IF NOT EXISTS "service_account_key" (
    "id" uuid NOT NULL,
    "service_account_id" uuid NOT NULL,
    "secret_hash" text NOT NULL,
    "created_at" timestamptz(3) NOT NULL,
    "expires_at" timestamptz(3),
    "revoked_at" timestamptz(3),
    "pending" boolean NOT NULL DEFAULT false,
    "retire_seconds" integer,
    "last_used_at" timestamptz(3),
    "last_used_address" text,
    CONSTRAINT "ck_service_account_key_pending" CHECK (NOT pending OR retire_seconds IS NOT NULL),
    CONSTRAINT "pk_service_account_key" PRIMARY KEY ("id"),
    CONSTRAINT "fk_service_account_key_account" FOREIGN KEY ("service_account_id") REFERENCES "service_account" ("id")
      ON DELETE CASCADE
  )`,
  `CREATE INDEX IF NOT EXISTS "ix_service_account_key_account" ON "service_account_key" ("service_account_id")`,
  `CREATE UNIQUE INDEX IF NOT EXISTS "uq_service_account_key_pending" ON "service_account_key" ("service_account_id")
    WHERE pending AND revoked_at IS NULL`,
  ...begunBy(`'staff', 'service-account', 'account', 'system'`),
  inNotices(...WITHDRAWN_BY),
];

const DOWN = [
  inNotices(WITHDRAWN_BY[1], WITHDRAWN_BY[0]),
  `UPDATE "credential" SET begun_by = 'staff' WHERE begun_by = 'service-account'`,
  ...begunBy(`'staff', 'account', 'system'`),
  `DROP TABLE "service_account_key"`,
  `DROP TABLE "service_account"`,
];

/** The identities of scripts, and that they begin and withdraw rotations. */
export class ServiceAccounts1796830000000 implements MigrationInterface {
  name = 'ServiceAccounts1796830000000';
  /** A constraint is validated without locking the table in a transaction of its own only. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
