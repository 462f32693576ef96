import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The columns whose changes are announced: those that decide access, or that an answer to a partner shows. */
const ANNOUNCED = `id, username, username_key, display_name, suspended_at, expires_at, scopes, token_ttl_seconds,
  tokens_per_minute, allowed_ips, epoch`;

/** Announces a changed account when one of the columns changes. */
const announce = (columns: string): string =>
  `CREATE OR REPLACE TRIGGER "tr_channel_user_changed" AFTER DELETE OR UPDATE OF ${columns} ON "channel_user"
    FOR EACH ROW EXECUTE FUNCTION notify_change('channel_user', 'id')`;

/**
 * The notice of a change: every change writes its audit event in its own transaction.
 *
 * @param withdrawnBy SQL for who withdrew a pending credential
 * @param rotatedBy SQL for what the notice of a first use says of the rotation's beginner
 * @param revoked statements for a revoked credential that was not pending
 */
const noticeOfAuditEvent = (withdrawnBy: string, rotatedBy: string, revoked: string): string =>
  `CREATE OR REPLACE FUNCTION notice_of_audit_event() RETURNS trigger LANGUAGE plpgsql AS $$
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
          details := details || '{"after": "first-use"}'${rotatedBy};
        ELSIF NEW.action = 'credential.created' THEN
          -- The first credential of an account replaces none.
          IF NOT EXISTS (SELECT FROM credential AS other
            WHERE other.channel_user_id = NEW.target_id AND other.id <> subject.id) THEN RETURN NULL; END IF;
          kind := 'credential.rotated';
          details := details || '{"after": "now"}'${rotatedBy};
        ELSIF subject.pending THEN
          kind := 'credential.rotation_withdrawn';
          details := details || jsonb_build_object('withdrawnBy', ${withdrawnBy});
        ELSE
          ${revoked}
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
  // Rows that exist get false without being rewritten. New ones get true, also those of the version before.
  `ALTER TABLE "channel_user" ADD COLUMN "self_service" boolean NOT NULL DEFAULT false`,
  `ALTER TABLE "channel_user" ALTER COLUMN "self_service" SET DEFAULT true`,
  // An import of the version before writes every column and does not know this one.
  `CREATE FUNCTION fill_self_service() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      NEW.self_service := true;
      RETURN NEW;
    END
  $$`,
  `CREATE TRIGGER "tr_channel_user_self_service" BEFORE INSERT ON "channel_user" FOR EACH ROW
    WHEN (NEW.self_service IS NULL) EXECUTE FUNCTION fill_self_service()`,
  announce(`${ANNOUNCED}, self_service`),
  noticeOfAuditEvent(
    `CASE NEW.actor_type WHEN 'system' THEN 'system' WHEN 'channel-user' THEN 'account' ELSE 'staff' END`,
    ` || jsonb_build_object('startedBy', subject.begun_by)`,
    `IF NEW.actor_type <> 'channel-user' THEN RETURN NULL; END IF;
          kind := 'credential.ended';
          details := details || '{"endedBy": "account"}';`,
  ),
];

const DOWN = [
  noticeOfAuditEvent(`CASE WHEN NEW.actor_type = 'system' THEN 'system' ELSE 'staff' END`, '', 'RETURN NULL;'),
  announce(ANNOUNCED),
  `DROP TRIGGER "tr_channel_user_self_service" ON "channel_user"`,
  `DROP FUNCTION fill_self_service()`,
  `ALTER TABLE "channel_user" DROP COLUMN "self_service"`,
];

/**
 * Whether a partner may rotate its passwords by itself. Staff decide that for accounts that exist already. The notices
 * of a rotation tell whether the partner began it.
 */
export class SelfService1796820000000 implements MigrationInterface {
  name = 'SelfService1796820000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
