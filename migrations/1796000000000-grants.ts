import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `CREATE TABLE "resource_grant" (
    "channel_user_id" uuid NOT NULL,
    "resource_type" text NOT NULL,
    "resource_id" text NOT NULL,
    "permissions" text array NOT NULL DEFAULT '{}',
    "granted_by" uuid,
    "granted_at" timestamptz(3) NOT NULL DEFAULT now(),
    "expires_at" timestamptz(3),
    CONSTRAINT "pk_resource_grant" PRIMARY KEY ("channel_user_id", "resource_type", "resource_id"),
    CONSTRAINT "fk_resource_grant_channel_user" FOREIGN KEY ("channel_user_id")
      REFERENCES "channel_user" ("id") ON DELETE CASCADE
  )`,
  // Who may do something with a resource.
  `CREATE INDEX "ix_resource_grant_resource" ON "resource_grant" ("resource_type", "resource_id", "channel_user_id")`,
  // A thousand grants of one account in one statement are one notification.
  `CREATE TRIGGER "tr_resource_grant_changed" AFTER INSERT OR DELETE OR UPDATE ON "resource_grant"
    FOR EACH ROW EXECUTE FUNCTION notify_change('resource_grant', 'channel_user_id')`,
  `CREATE TRIGGER "tr_resource_grant_truncated" AFTER TRUNCATE ON "resource_grant"
    FOR EACH STATEMENT EXECUTE FUNCTION notify_change('resource_grant')`,
];

const DOWN = [`DROP TABLE "resource_grant"`];

export class Grants1796000000000 implements MigrationInterface {
  name = 'Grants1796000000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
