import type { MigrationInterface, QueryRunner } from 'typeorm';

const INDEX = `"ix_audit_event_actor_type"`;

export class AuditActorType1796430000000 implements MigrationInterface {
  name = 'AuditActorType1796430000000';
  /** Built without a lock that would hold up changes, which no transaction allows. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    // One that was interrupted has left an index that is not valid.
    await queryRunner.query(`DROP INDEX CONCURRENTLY IF EXISTS ${INDEX}`);
    await queryRunner.query(`CREATE INDEX CONCURRENTLY ${INDEX} ON "audit_event" ("actor_type", "seq")`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`DROP INDEX ${INDEX}`);
  }
}
