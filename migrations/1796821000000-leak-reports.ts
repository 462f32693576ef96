import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `ALTER TABLE "credential" ADD COLUMN IF NOT EXISTS "reported_leaked_at" timestamptz(3)`,
  // The event names what ended with the reported credential. All of it has been written when the event is.
  `CREATE OR REPLACE FUNCTION notice_of_leak_report() RETURNS trigger LANGUAGE plpgsql AS $$
    DECLARE
      details jsonb;
    BEGIN
      SELECT jsonb_build_object(
          'channelUser', jsonb_build_object(
            'id', account.id, 'username', account.username, 'displayName', account.display_name),
          'credential', jsonb_build_object(
            'id', reported.id, 'fingerprint', reported.fingerprint, 'expiresAt', notice_time(reported.expires_at)),
          'statusBefore', NEW.changes #> '{status,0}',
          'descendants', COALESCE((
            SELECT jsonb_agg(jsonb_build_object('id', id, 'fingerprint', fingerprint) ORDER BY created_at, id)
            FROM credential WHERE channel_user_id = account.id AND NEW.changes #> '{descendants,1}' ? id::text), '[]'),
          'liveCredentials', (SELECT count(*) FROM credential WHERE channel_user_id = account.id
            AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > NEW.at)))
        INTO details FROM credential AS reported JOIN channel_user AS account ON account.id = reported.channel_user_id
        WHERE reported.id = (NEW.changes #>> '{credentialId,1}')::uuid;
      IF NOT FOUND THEN RETURN NULL; END IF;
      INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
        VALUES (notice_id(NEW.at), 'credential.reported_leaked', 'audit:' || NEW.id, NEW.target_id, details, NEW.at);
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_audit_event_leak_notice" AFTER INSERT ON "audit_event" FOR EACH ROW
    WHEN (NEW.action = 'credential.reported-leaked') EXECUTE FUNCTION notice_of_leak_report()`,
];

const DOWN = [
  `DROP TRIGGER "tr_audit_event_leak_notice" ON "audit_event"`,
  `DROP FUNCTION notice_of_leak_report()`,
  `ALTER TABLE "credential" DROP COLUMN "reported_leaked_at"`,
];

/** When a credential was reported as leaked, and the notice of it. */
export class LeakReports1796821000000 implements MigrationInterface {
  name = 'LeakReports1796821000000';
  /** Each statement holds its lock alone, while the servers work. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
