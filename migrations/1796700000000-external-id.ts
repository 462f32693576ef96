import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The id of a partner in the CRM, which several accounts may share. Lists find accounts by it. */
const UP = [
  `ALTER TABLE "channel_user" ADD COLUMN IF NOT EXISTS "external_id" text`,
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_channel_user_external_id"`,
  `CREATE INDEX CONCURRENTLY "ix_channel_user_external_id" ON "channel_user" ("external_id")
    WHERE external_id IS NOT NULL`,
];

const DOWN = [`ALTER TABLE "channel_user" DROP COLUMN "external_id"`];

export class ExternalId1796700000000 implements MigrationInterface {
  name = 'ExternalId1796700000000';
  /** An index is built concurrently outside of a transaction only. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
