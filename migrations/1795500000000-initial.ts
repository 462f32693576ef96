import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // Trusted since PostgreSQL 13: no superuser is needed. Search by any part of a name uses it.
  `CREATE EXTENSION IF NOT EXISTS pg_trgm`,

  `CREATE TABLE "signing_key" (
    "kid" text NOT NULL,
    "purpose" text NOT NULL,
    "public_jwk" jsonb NOT NULL,
    "private_key" bytea NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "retired_at" timestamptz(3),
    CONSTRAINT "pk_signing_key" PRIMARY KEY ("kid"),
    CONSTRAINT "ck_signing_key_purpose" CHECK (purpose IN ('partner', 'staff'))
  )`,
  `CREATE UNIQUE INDEX "uq_signing_key_active" ON "signing_key" ("purpose") WHERE retired_at IS NULL`,

  `CREATE TABLE "channel_user" (
    "id" uuid NOT NULL DEFAULT gen_random_uuid(),
    "username" text NOT NULL,
    "username_key" text COLLATE "C" NOT NULL,
    "display_name" text NOT NULL,
    "contact_email" text,
    "suspended_at" timestamptz(3),
    "expires_at" timestamptz(3),
    "scopes" text[] NOT NULL,
    "token_ttl_seconds" integer NOT NULL,
    "tokens_per_minute" integer NOT NULL,
    "allowed_ips" text[] NOT NULL,
    "notes" text,
    "search_text" text NOT NULL,
    "epoch" integer NOT NULL DEFAULT 0,
    "version" integer NOT NULL DEFAULT 1,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "updated_at" timestamptz(3) NOT NULL,
    "last_token_at" timestamptz(3),
    CONSTRAINT "pk_channel_user" PRIMARY KEY ("id"),
    CONSTRAINT "ck_channel_user_username" CHECK (username ~ '^[A-Za-z0-9._@-]{3,64}$'),
    CONSTRAINT "ck_channel_user_username_key" CHECK (username_key = lower(username COLLATE "C")),
    CONSTRAINT "ck_channel_user_token_ttl" CHECK (token_ttl_seconds BETWEEN 60 AND 86400),
    CONSTRAINT "ck_channel_user_tokens_per_minute" CHECK (tokens_per_minute >= 1)
  )`,
  `CREATE UNIQUE INDEX "uq_channel_user_username" ON "channel_user" ("username_key")`,
  `CREATE INDEX "ix_channel_user_created_at" ON "channel_user" ("created_at", "id")`,
  `CREATE INDEX "ix_channel_user_last_token_at" ON "channel_user"
    ((COALESCE("last_token_at", '-infinity'::timestamptz)), "id")`,
  `CREATE INDEX "ix_channel_user_search" ON "channel_user" USING gin ("search_text" gin_trgm_ops)`,
  `CREATE INDEX "ix_channel_user_scopes" ON "channel_user" USING gin ("scopes")`,
  `CREATE INDEX "ix_channel_user_suspended" ON "channel_user" ("username_key") WHERE suspended_at IS NOT NULL`,
  `CREATE INDEX "ix_channel_user_expires_at" ON "channel_user" ("expires_at") WHERE expires_at IS NOT NULL`,

  `CREATE TABLE "credential" (
    "id" uuid NOT NULL DEFAULT gen_random_uuid(),
    "channel_user_id" uuid NOT NULL,
    "label" text NOT NULL,
    "fingerprint" text,
    "secret_hash" text NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "expires_at" timestamptz(3),
    "revoked_at" timestamptz(3),
    "last_used_at" timestamptz(3),
    CONSTRAINT "pk_credential" PRIMARY KEY ("id"),
    CONSTRAINT "fk_credential_channel_user" FOREIGN KEY ("channel_user_id")
      REFERENCES "channel_user" ("id") ON DELETE CASCADE
  )`,
  `CREATE INDEX "ix_credential_channel_user" ON "credential" ("channel_user_id")`,

  `CREATE TABLE "staff" (
    "id" uuid NOT NULL DEFAULT gen_random_uuid(),
    "email" text NOT NULL,
    "email_key" text NOT NULL,
    "name" text NOT NULL,
    "role" text NOT NULL,
    "password_hash" text NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "last_sign_in_at" timestamptz(3),
    CONSTRAINT "pk_staff" PRIMARY KEY ("id"),
    CONSTRAINT "ck_staff_role" CHECK (role IN ('viewer', 'operator', 'admin'))
  )`,
  `CREATE UNIQUE INDEX "uq_staff_email" ON "staff" ("email_key")`,

  `CREATE TABLE "staff_session" (
    "id" uuid NOT NULL,
    "staff_id" uuid NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "expires_at" timestamptz(3) NOT NULL,
    CONSTRAINT "pk_staff_session" PRIMARY KEY ("id"),
    CONSTRAINT "fk_staff_session_staff" FOREIGN KEY ("staff_id") REFERENCES "staff" ("id") ON DELETE CASCADE
  )`,
  `CREATE INDEX "ix_staff_session_staff" ON "staff_session" ("staff_id")`,

  `CREATE TABLE "personal_key" (
    "subject_id" uuid NOT NULL,
    "wrapped_key" bytea NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT "pk_personal_key" PRIMARY KEY ("subject_id")
  )`,
  `CREATE TABLE "audit_event" (
    "seq" bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    "id" uuid NOT NULL,
    "at" timestamptz(3) NOT NULL,
    "actor_type" text NOT NULL,
    "actor_id" uuid,
    "actor_personal" bytea,
    "action" text NOT NULL,
    "target_type" text NOT NULL,
    "target_id" uuid NOT NULL,
    "target_personal" bytea NOT NULL,
    "changes" jsonb NOT NULL,
    "request_id" text,
    CONSTRAINT "pk_audit_event" PRIMARY KEY ("seq")
  )`,
  `CREATE UNIQUE INDEX "uq_audit_event_id" ON "audit_event" ("id")`,
  `CREATE INDEX "ix_audit_event_target" ON "audit_event" ("target_id", "seq")`,
  `CREATE INDEX "ix_audit_event_actor" ON "audit_event" ("actor_id", "seq")`,
  `CREATE INDEX "ix_audit_event_action" ON "audit_event" ("action", "seq")`,
  `CREATE INDEX "ix_audit_event_at" ON "audit_event" ("at")`,

  // A statement trigger too: a row trigger does not see TRUNCATE, nor a statement that happens to hit no row.
  `CREATE FUNCTION audit_event_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'audit_event is append-only: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
    END
  $$`,
  `CREATE TRIGGER "tr_audit_event_no_row_change" BEFORE UPDATE OR DELETE ON "audit_event"
    FOR EACH ROW EXECUTE FUNCTION audit_event_is_append_only()`,
  `CREATE TRIGGER "tr_audit_event_no_statement" BEFORE UPDATE OR DELETE OR TRUNCATE ON "audit_event"
    FOR EACH STATEMENT EXECUTE FUNCTION audit_event_is_append_only()`,

  `CREATE TABLE "quickstart" (
    "id" boolean NOT NULL DEFAULT true,
    "issuer" text NOT NULL,
    "provisioned_at" timestamptz(3),
    CONSTRAINT "pk_quickstart" PRIMARY KEY ("id"),
    CONSTRAINT "ck_quickstart_one_row" CHECK (id)
  )`,
];

const DOWN = [
  `DROP TABLE "quickstart"`,
  `DROP TABLE "audit_event"`,
  `DROP FUNCTION audit_event_is_append_only()`,
  `DROP TABLE "personal_key"`,
  `DROP TABLE "staff_session"`,
  `DROP TABLE "staff"`,
  `DROP TABLE "credential"`,
  `DROP TABLE "channel_user"`,
  `DROP TABLE "signing_key"`,
  `DROP EXTENSION IF EXISTS pg_trgm`,
];

export class Initial1795500000000 implements MigrationInterface {
  name = 'Initial1795500000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
