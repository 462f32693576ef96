import type { MigrationInterface, QueryRunner } from 'typeorm';

/** With the columns that lists sort by, so that a list of all suspended accounts reads the index alone. */
const UP = [
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_channel_user_suspended_new"`,
  `CREATE INDEX CONCURRENTLY "ix_channel_user_suspended_new" ON "channel_user" ("username_key", "created_at", "id")
    WHERE suspended_at IS NOT NULL`,
  `DROP INDEX CONCURRENTLY IF EXISTS "ix_channel_user_suspended"`,
  `ALTER INDEX "ix_channel_user_suspended_new" RENAME TO "ix_channel_user_suspended"`,
];

const DOWN = [
  `DROP INDEX "ix_channel_user_suspended"`,
  `CREATE INDEX "ix_channel_user_suspended" ON "channel_user" ("username_key") WHERE suspended_at IS NOT NULL`,
];

export class SuspendedIndex1796710000000 implements MigrationInterface {
  name = 'SuspendedIndex1796710000000';
  /** An index is built concurrently outside of a transaction only. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
