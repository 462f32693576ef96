import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Marks the credentials that a rotation has replaced: their end is planned, and nobody has to be told that it comes.
 * The column decides no access: the triggers that announce changes name theirs and stay silent.
 */
const UP = [
  `ALTER TABLE "credential" ADD COLUMN IF NOT EXISTS "superseded" boolean NOT NULL DEFAULT false`,
  `UPDATE "credential" SET superseded = true
    WHERE NOT superseded AND revoked_at IS NULL AND expires_at > now() AND EXISTS (
      SELECT FROM credential AS newer
      WHERE newer.channel_user_id = credential.channel_user_id AND newer.created_at > credential.created_at
        AND newer.revoked_at IS NULL AND (newer.expires_at IS NULL OR newer.expires_at >= credential.expires_at))`,
  // With the mark, so that a list still filters by the index alone.
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_credential_expires_at_superseded"`,
  `CREATE INDEX CONCURRENTLY "ix_credential_expires_at_superseded"
    ON "credential" ("expires_at", "channel_user_id", "superseded") WHERE revoked_at IS NULL AND expires_at IS NOT NULL`,
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_credential_expires_at"`,
  `ALTER INDEX "ix_credential_expires_at_superseded" RENAME TO "ix_credential_expires_at"`,
];

const DOWN = [
  `DROP INDEX "ix_credential_expires_at"`,
  `ALTER TABLE "credential" DROP COLUMN "superseded"`,
  `CREATE INDEX "ix_credential_expires_at" ON "credential" ("expires_at", "channel_user_id")
    WHERE revoked_at IS NULL AND expires_at IS NOT NULL`,
];

export class SupersededCredentials1796650000000 implements MigrationInterface {
  name = 'SupersededCredentials1796650000000';
  /** An index is built concurrently outside of a transaction only. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
