import type { MigrationInterface, QueryRunner } from 'typeorm';

const TABLES = [
  `CREATE TABLE "webhook" (
    "id" uuid NOT NULL,
    "url" text NOT NULL,
    "description" text,
    "events" text array NOT NULL,
    "enabled" boolean NOT NULL,
    "disabled_reason" text,
    "sealed_secret" bytea NOT NULL,
    "sealed_previous_secret" bytea,
    "previous_secret_until" timestamptz(3),
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    "updated_at" timestamptz(3) NOT NULL,
    CONSTRAINT "pk_webhook" PRIMARY KEY ("id"),
    CONSTRAINT "ck_webhook_previous" CHECK ((sealed_previous_secret IS NULL) = (previous_secret_until IS NULL))
  )`,
  `CREATE TABLE "notice" (
    "id" uuid NOT NULL,
    "type" text NOT NULL,
    "once" text NOT NULL,
    "channel_user_id" uuid,
    "data" jsonb NOT NULL,
    "created_at" timestamptz(3) NOT NULL DEFAULT now(),
    CONSTRAINT "pk_notice" PRIMARY KEY ("id")
  )`,
  `CREATE UNIQUE INDEX "uq_notice_once" ON "notice" ("once")`,
  `CREATE INDEX "ix_notice_type" ON "notice" ("type", "id")`,
  `CREATE INDEX "ix_notice_channel_user" ON "notice" ("channel_user_id", "type", "created_at")`,
  `CREATE INDEX "ix_notice_created_at" ON "notice" ("created_at")`,
  // No foreign key to the webhook: it would lock it for the audit event of a change, while a change of the webhook, which
  // holds it, waits to write its own.
  `CREATE TABLE "notice_delivery" (
    "id" uuid NOT NULL DEFAULT gen_random_uuid(),
    "notice_id" uuid NOT NULL,
    "webhook_id" uuid NOT NULL,
    "state" text NOT NULL DEFAULT 'pending',
    "attempts" integer NOT NULL DEFAULT 0,
    "next_attempt_at" timestamptz(3),
    "claim" uuid,
    "last_attempt_at" timestamptz(3),
    "last_status" integer,
    "last_error" text,
    "last_duration_ms" integer,
    "delivered_at" timestamptz(3),
    CONSTRAINT "pk_notice_delivery" PRIMARY KEY ("id"),
    CONSTRAINT "fk_notice_delivery_notice" FOREIGN KEY ("notice_id") REFERENCES "notice" ("id") ON DELETE CASCADE,
    CONSTRAINT "ck_notice_delivery_state" CHECK (state IN ('pending', 'failed', 'delivered', 'given-up')),
    CONSTRAINT "ck_notice_delivery_due" CHECK ((state IN ('pending', 'failed')) = (next_attempt_at IS NOT NULL))
  )`,
  `CREATE UNIQUE INDEX "uq_notice_delivery_webhook" ON "notice_delivery" ("notice_id", "webhook_id")`,
  `CREATE INDEX "ix_notice_delivery_webhook" ON "notice_delivery" ("webhook_id", "notice_id")`,
  // What is due, for each webhook: all that a claim looks through.
  `CREATE INDEX "ix_notice_delivery_due" ON "notice_delivery" ("webhook_id", "next_attempt_at", "id")
    WHERE next_attempt_at IS NOT NULL`,
  `CREATE INDEX "ix_notice_delivery_state" ON "notice_delivery" ("state", "notice_id") WHERE state <> 'delivered'`,
];

const FUNCTIONS = [
  // RFC 9562 §5.7: 48 bits of milliseconds, the version, and random bits. PostgreSQL has its own from 18 on.
  `CREATE FUNCTION notice_id(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE AS $$
      SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid
    $$`,
  // Times as the API writes them, whatever the session's time zone.
  `CREATE FUNCTION notice_time(at timestamptz) RETURNS text LANGUAGE sql STABLE AS $$
      SELECT to_char(at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')
    $$`,

  // A delivery for each webhook that asks for the type. In the transaction of the notice: none is forgotten.
  `CREATE FUNCTION notice_deliveries() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO notice_delivery (notice_id, webhook_id, next_attempt_at)
        SELECT made.id, webhook.id, made.created_at FROM made JOIN webhook
          ON webhook.enabled AND (webhook.events = '{}' OR made.type = ANY (webhook.events))
        -- A test is for one webhook: who asks for it says which.
        WHERE made.type <> 'webhook.test';
      IF FOUND THEN PERFORM pg_notify('latchkey_change', 'notice_delivery:*'); END IF;
      RETURN NULL;
    END
  $$`,
  `CREATE TRIGGER "tr_notice_made" AFTER INSERT ON "notice" REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION notice_deliveries()`,

  // Every change writes its audit event in its own transaction; so does, with it, the notice of the change.
  `CREATE FUNCTION notice_of_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      kind text;
      details jsonb;
    BEGIN
      SELECT jsonb_build_object('channelUser',
          jsonb_build_object('id', id, 'username', username, 'displayName', display_name))
        INTO details FROM channel_user WHERE id = NEW.target_id;
      IF NOT FOUND THEN RETURN NULL; END IF;
      IF NEW.action = 'credential.created' THEN
        kind := 'credential.rotated';
        -- The first credential of an account replaces none.
        SELECT details || jsonb_build_object('credential', jsonb_build_object(
            'id', id, 'fingerprint', fingerprint, 'expiresAt', notice_time(expires_at)))
          INTO details FROM credential
          WHERE id = (NEW.changes #>> '{credentialId,1}')::uuid AND EXISTS (
            SELECT FROM credential AS other WHERE other.channel_user_id = NEW.target_id AND other.id <> credential.id);
        IF NOT FOUND THEN RETURN NULL; END IF;
      ELSE
        kind := replace(NEW.action, '-', '_');
      END IF;
      INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
        VALUES (notice_id(NEW.at), kind, 'audit:' || NEW.id, NEW.target_id, details, NEW.at);
      RETURN NULL;
    END
  $$`,
  `CREATE TRIGGER "tr_audit_event_notice" AFTER INSERT ON "audit_event" FOR EACH ROW
    WHEN (NEW.action IN ('channel-user.suspended', 'channel-user.reactivated', 'credential.created'))
    EXECUTE FUNCTION notice_of_audit_event()`,

  // Erasing somebody destroys the key of what the trail says about them. Notices say it in the clear: it goes too.
  `CREATE FUNCTION notice_erased() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE notice SET data = data || jsonb_build_object('channelUser',
          (data -> 'channelUser') || '{"username": "[erased]", "displayName": "[erased]"}')
        WHERE channel_user_id = OLD.subject_id;
      RETURN NULL;
    END
  $$`,
  `CREATE TRIGGER "tr_personal_key_erased" AFTER DELETE ON "personal_key" FOR EACH ROW
    EXECUTE FUNCTION notice_erased()`,
];

const UP = [...TABLES, ...FUNCTIONS];

const DOWN = [
  `DROP TRIGGER "tr_personal_key_erased" ON "personal_key"`,
  `DROP TRIGGER "tr_audit_event_notice" ON "audit_event"`,
  `DROP TABLE "notice_delivery"`,
  `DROP TABLE "notice"`,
  `DROP TABLE "webhook"`,
  `DROP FUNCTION notice_erased()`,
  `DROP FUNCTION notice_of_audit_event()`,
  `DROP FUNCTION notice_deliveries()`,
  `DROP FUNCTION notice_time(timestamptz)`,
  `DROP FUNCTION notice_id(timestamptz)`,
];

export class Notices1795910000000 implements MigrationInterface {
  name = 'Notices1795910000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
