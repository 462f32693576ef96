import type { MigrationInterface, QueryRunner } from 'typeorm';

export class HandoverRefusals1796500000000 implements MigrationInterface {
  name = 'HandoverRefusals1796500000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    // With a constant default, PostgreSQL rewrites nothing. The version before does not name the column.
    await queryRunner.query(`ALTER TABLE "handover" ADD COLUMN "refusals" smallint NOT NULL DEFAULT 0`);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`ALTER TABLE "handover" DROP COLUMN "refusals"`);
  }
}
