import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // Each revocation names its token and its expiry, so that no instance has to read the list again. The version before
  // this one takes any key as a reason to read the list.
  `CREATE FUNCTION revoked_token_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        PERFORM pg_notify('latchkey_change',
          'revoked_token:' || NEW.jti || '@' || (extract(epoch FROM NEW.expires_at) * 1000)::bigint);
      ELSE
        PERFORM pg_notify('latchkey_change', 'revoked_token:*');
      END IF;
      RETURN NULL;
    END
  $$`,
  `DROP TRIGGER "tr_revoked_token_changed" ON "revoked_token"`,
  `CREATE TRIGGER "tr_revoked_token_added" AFTER INSERT ON "revoked_token"
    FOR EACH ROW EXECUTE FUNCTION revoked_token_changed()`,
  // By hand. Nobody needs to hear of pruned rows: their tokens have expired.
  `CREATE TRIGGER "tr_revoked_token_updated" AFTER UPDATE ON "revoked_token"
    FOR EACH ROW EXECUTE FUNCTION revoked_token_changed()`,
  `CREATE TRIGGER "tr_revoked_token_deleted" AFTER DELETE ON "revoked_token"
    FOR EACH ROW WHEN (OLD.expires_at > now()) EXECUTE FUNCTION revoked_token_changed()`,
  `CREATE TRIGGER "tr_revoked_token_truncated" AFTER TRUNCATE ON "revoked_token"
    FOR EACH STATEMENT EXECUTE FUNCTION revoked_token_changed()`,
];

const DOWN = [
  `DROP TRIGGER "tr_revoked_token_truncated" ON "revoked_token"`,
  `DROP TRIGGER "tr_revoked_token_deleted" ON "revoked_token"`,
  `DROP TRIGGER "tr_revoked_token_updated" ON "revoked_token"`,
  `DROP TRIGGER "tr_revoked_token_added" ON "revoked_token"`,
  `CREATE TRIGGER "tr_revoked_token_changed" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "revoked_token"
    FOR EACH STATEMENT EXECUTE FUNCTION notify_change('revoked_token')`,
  `DROP FUNCTION revoked_token_changed()`,
];

export class RevokedTokenNotifications1796200000000 implements MigrationInterface {
  name = 'RevokedTokenNotifications1796200000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
