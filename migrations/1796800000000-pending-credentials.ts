import type { MigrationInterface, QueryRunner } from 'typeorm';

const CHANGED = 'id, channel_user_id, label, secret_hash, expires_at, revoked_at';

/** The constraints are validated afterwards, so that no statement locks the table while it reads every row. */
const CHECKS: [name: string, condition: string][] = [
  ['ck_credential_pending', 'NOT pending OR retire_seconds IS NOT NULL'],
  ['ck_credential_withdrawn', 'withdrawn_at IS NULL OR (pending AND revoked_at IS NOT NULL)'],
  ['ck_credential_begun_by', `begun_by IN ('staff', 'account', 'system')`],
];

/** The notice of a change: every change writes its audit event in its own transaction. */
const NOTICE_OF_AUDIT_EVENT = `CREATE OR REPLACE FUNCTION notice_of_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      kind text;
      details jsonb;
      subject credential;
    BEGIN
      SELECT jsonb_build_object('channelUser',
          jsonb_build_object('id', id, 'username', username, 'displayName', display_name))
        INTO details FROM channel_user WHERE id = NEW.target_id;
      IF NOT FOUND THEN RETURN NULL; END IF;
      IF NEW.action LIKE 'credential.%' THEN
        SELECT * INTO subject FROM credential WHERE id = (NEW.changes #>> '{credentialId,1}')::uuid;
        IF NOT FOUND THEN RETURN NULL; END IF;
        details := details || jsonb_build_object('credential', jsonb_build_object(
          'id', subject.id, 'fingerprint', subject.fingerprint, 'expiresAt', notice_time(subject.expires_at)));
        IF NEW.action = 'credential.created' AND subject.pending THEN
          kind := 'credential.rotation_started';
          details := details || jsonb_build_object('startedBy', subject.begun_by, 'retireOthers',
            jsonb_build_object('after', 'first-use', 'seconds', subject.retire_seconds));
        ELSIF NEW.action = 'credential.activated' THEN
          kind := 'credential.rotated';
          details := details || '{"after": "first-use"}';
        ELSIF NEW.action = 'credential.created' THEN
          -- The first credential of an account replaces none.
          IF NOT EXISTS (SELECT FROM credential AS other
            WHERE other.channel_user_id = NEW.target_id AND other.id <> subject.id) THEN RETURN NULL; END IF;
          kind := 'credential.rotated';
          details := details || '{"after": "now"}';
        ELSIF subject.pending THEN
          kind := 'credential.rotation_withdrawn';
          details := details || jsonb_build_object('withdrawnBy',
            CASE WHEN NEW.actor_type = 'system' THEN 'system' ELSE 'staff' END);
        ELSE
          RETURN NULL;
        END IF;
      ELSE
        kind := replace(NEW.action, '-', '_');
      END IF;
      INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
        VALUES (notice_id(NEW.at), kind, 'audit:' || NEW.id, NEW.target_id, details, NEW.at);
      RETURN NULL;
    END
  $$`;

const UP = [
  `ALTER TABLE "credential"
    ADD COLUMN IF NOT EXISTS "pending" boolean NOT NULL DEFAULT false,
    ADD COLUMN IF NOT EXISTS "activated_at" timestamptz(3),
    ADD COLUMN IF NOT EXISTS "withdrawn_at" timestamptz(3),
    ADD COLUMN IF NOT EXISTS "retire_seconds" integer,
    ADD COLUMN IF NOT EXISTS "begun_by" text,
    ADD COLUMN IF NOT EXISTS "begun_by_id" uuid,
    ADD COLUMN IF NOT EXISTS "proved_by" uuid`,
  ...CHECKS.flatMap(([name, condition]) => [
    `ALTER TABLE "credential" DROP CONSTRAINT IF EXISTS "${name}"`,
    `ALTER TABLE "credential" ADD CONSTRAINT "${name}" CHECK (${condition}) NOT VALID`,
    `ALTER TABLE "credential" VALIDATE CONSTRAINT "${name}"`,
  ]),
  `DROP INDEX CONCURRENTLY IF EXISTS "uq_credential_pending"`,
  `CREATE UNIQUE INDEX CONCURRENTLY "uq_credential_pending" ON "credential" ("channel_user_id")
    WHERE pending AND revoked_at IS NULL`,
  `CREATE OR REPLACE TRIGGER "tr_credential_changed" AFTER DELETE OR UPDATE OF ${CHANGED}, pending ON "credential"
    FOR EACH ROW EXECUTE FUNCTION notify_change('channel_user', 'channel_user_id')`,
  // The version before knows nothing of pending rotations. Its own rotation would end the pending password and the old
  // one on the same day. 55P03 makes it answer 503, so that staff try again; this version withdraws the pending one first.
  `CREATE OR REPLACE FUNCTION refuse_beside_pending() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF EXISTS (SELECT FROM made JOIN credential AS other ON other.channel_user_id = made.channel_user_id
          AND other.pending AND other.revoked_at IS NULL AND other.id <> made.id) THEN
        RAISE EXCEPTION 'A rotation of this account is pending. Withdraw it before adding a credential.'
          USING ERRCODE = '55P03';
      END IF;
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_credential_beside_pending" AFTER INSERT ON "credential" REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_beside_pending()`,
  NOTICE_OF_AUDIT_EVENT,
  `CREATE OR REPLACE TRIGGER "tr_audit_event_notice" AFTER INSERT ON "audit_event" FOR EACH ROW
    WHEN (NEW.action IN ('channel-user.suspended', 'channel-user.reactivated', 'credential.created',
      'credential.activated', 'credential.withdrawn', 'credential.revoked'))
    EXECUTE FUNCTION notice_of_audit_event()`,
];

const DOWN = [
  `CREATE OR REPLACE TRIGGER "tr_audit_event_notice" AFTER INSERT ON "audit_event" FOR EACH ROW
    WHEN (NEW.action IN ('channel-user.suspended', 'channel-user.reactivated', 'credential.created'))
    EXECUTE FUNCTION notice_of_audit_event()`,
  `CREATE OR REPLACE FUNCTION notice_of_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
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
  `DROP TRIGGER "tr_credential_beside_pending" ON "credential"`,
  `DROP FUNCTION refuse_beside_pending()`,
  `CREATE OR REPLACE TRIGGER "tr_credential_changed" AFTER DELETE OR UPDATE OF ${CHANGED} ON "credential"
    FOR EACH ROW EXECUTE FUNCTION notify_change('channel_user', 'channel_user_id')`,
  `DROP INDEX "uq_credential_pending"`,
  ...CHECKS.map(([name]) => `ALTER TABLE "credential" DROP CONSTRAINT "${name}"`),
  `ALTER TABLE "credential" DROP COLUMN "pending", DROP COLUMN "activated_at", DROP COLUMN "withdrawn_at",
    DROP COLUMN "retire_seconds", DROP COLUMN "begun_by", DROP COLUMN "begun_by_id", DROP COLUMN "proved_by"`,
];

/**
 * A credential that waits for its first use is `pending`; `retire_seconds` then says when the others end. A withdrawn one
 * is revoked too, so that the version before refuses it.
 */
export class PendingCredentials1796800000000 implements MigrationInterface {
  name = 'PendingCredentials1796800000000';
  /** An index is built concurrently outside of a transaction only. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
