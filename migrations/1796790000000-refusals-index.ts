import type { MigrationInterface, QueryRunner } from 'typeorm';

const COLUMNS = `("channel_user_id", "at" DESC, "id" DESC) WHERE outcome = 'refused'`;

/**
 * For the list of a partner's refusals, which must not read all its tokens. PostgreSQL cannot build an index of a
 * partitioned table concurrently, so each partition gets its own, which then becomes a part of the whole.
 */
export class RefusalsIndex1796790000000 implements MigrationInterface {
  name = 'RefusalsIndex1796790000000';
  /** An index is built concurrently outside of a transaction only. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`CREATE INDEX IF NOT EXISTS "ix_activity_refused" ON ONLY "activity" ${COLUMNS}`);
    const partitions = (await queryRunner.query(
      `SELECT part.relname AS name FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid
        WHERE inhparent = 'activity'::regclass AND NOT EXISTS (
          SELECT FROM pg_index JOIN pg_inherits AS attached ON attached.inhrelid = indexrelid
          WHERE indrelid = part.oid AND attached.inhparent = 'ix_activity_refused'::regclass)`,
    )) as { name: string }[];
    for (const { name } of partitions) {
      const index = `"${name}_refused"`;
      await queryRunner.query(`DROP INDEX CONCURRENTLY IF EXISTS ${index}`);
      await queryRunner.query(`CREATE INDEX CONCURRENTLY ${index} ON "${name}" ${COLUMNS}`);
      await queryRunner.query(`ALTER INDEX "ix_activity_refused" ATTACH PARTITION ${index}`);
    }
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`DROP INDEX "ix_activity_refused"`);
  }
}
