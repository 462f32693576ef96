import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The partitions of the activity whose part of the new index is missing, or was left behind half built. */
const PARTITIONS_WITHOUT_INDEX = `
  SELECT child.relname AS name FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
  WHERE inhparent = 'activity'::regclass AND NOT EXISTS (
    SELECT FROM pg_index JOIN pg_inherits part ON part.inhrelid = indexrelid
    WHERE indrelid = child.oid AND part.inhparent = '"ix_activity_request"'::regclass)
  ORDER BY 1`;

export class RequestIds1796811000000 implements MigrationInterface {
  name = 'RequestIds1796811000000';
  /** An index is built concurrently outside of a transaction only. Can be run again. */
  transaction = false;

  /**
   * Looks up sign-ins and changes by request id. A partitioned index cannot be built concurrently, so each partition gets
   * its part first. Request ids are only compared for equality, which a hash index does in a third of the space.
   */
  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(
      `CREATE INDEX IF NOT EXISTS "ix_activity_request" ON ONLY "activity" USING hash ("request_id")`,
    );
    const partitions = (await queryRunner.query(PARTITIONS_WITHOUT_INDEX)) as { name: string }[];
    for (const { name } of partitions) {
      const index = name.replace('activity', 'ix_activity_request');
      await queryRunner.query(`DROP INDEX CONCURRENTLY IF EXISTS "${index}"`);
      await queryRunner.query(`CREATE INDEX CONCURRENTLY "${index}" ON "${name}" USING hash ("request_id")`);
      await queryRunner.query(`ALTER INDEX "ix_activity_request" ATTACH PARTITION "${index}"`);
    }
    await queryRunner.query(`DROP INDEX CONCURRENTLY IF EXISTS "ix_audit_event_request"`);
    await queryRunner.query(
      `CREATE INDEX CONCURRENTLY "ix_audit_event_request" ON "audit_event" ("request_id", "seq")
        WHERE request_id IS NOT NULL`,
    );
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`DROP INDEX "ix_audit_event_request"`);
    await queryRunner.query(`DROP INDEX "ix_activity_request"`);
  }
}
