import type { MigrationInterface, QueryRunner } from 'typeorm';

const COLUMNS = 'id, channel_user_id, label, secret_hash, expires_at, revoked_at';

const UP = [
  // The first credentials of an account come with the account, which no instance remembers: an import of 200,000 accounts
  // sent 200,000 notifications to each instance when it committed.
  `CREATE FUNCTION notify_credential_made() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      PERFORM pg_notify('latchkey_change', 'channel_user:' || made.channel_user_id)
        FROM made GROUP BY made.channel_user_id
        HAVING count(*) < (SELECT count(*) FROM credential WHERE credential.channel_user_id = made.channel_user_id);
      RETURN NULL;
    END
  $$`,
  `CREATE TRIGGER "tr_credential_made" AFTER INSERT ON "credential" REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION notify_credential_made()`,
  `CREATE OR REPLACE TRIGGER "tr_credential_changed" AFTER DELETE OR UPDATE OF ${COLUMNS} ON "credential"
    FOR EACH ROW EXECUTE FUNCTION notify_change('channel_user', 'channel_user_id')`,
];

const DOWN = [
  `CREATE OR REPLACE TRIGGER "tr_credential_changed" AFTER INSERT OR DELETE OR UPDATE OF ${COLUMNS} ON "credential"
    FOR EACH ROW EXECUTE FUNCTION notify_change('channel_user', 'channel_user_id')`,
  `DROP TRIGGER "tr_credential_made" ON "credential"`,
  `DROP FUNCTION notify_credential_made()`,
];

export class NewCredentialsStaySilent1796420000000 implements MigrationInterface {
  name = 'NewCredentialsStaySilent1796420000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
