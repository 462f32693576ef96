import type { MigrationInterface, QueryRunner } from 'typeorm';

/** An older version neither reads nor writes the column: it verifies the slow hash, as before. */
const UP = [
  'ALTER TABLE "credential" ADD COLUMN "keyed_hash" text',
  // `keys re-encrypt` looks for those under an older key.
  'CREATE INDEX "ix_credential_keyed_hash" ON "credential" ("id") WHERE keyed_hash IS NOT NULL',
];

const DOWN = ['DROP INDEX "ix_credential_keyed_hash"', 'ALTER TABLE "credential" DROP COLUMN "keyed_hash"'];

export class KeyedHash1796300100000 implements MigrationInterface {
  name = 'KeyedHash1796300100000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
