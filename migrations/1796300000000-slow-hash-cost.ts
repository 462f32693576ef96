import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * A start asks for the costliest slow hash: the index answers that with one row, however many hashes there are. The cost
 * is the argon2id work m × t in KiB, and for bcrypt the work that takes as long.
 */
const UP = `
  CREATE INDEX "ix_credential_slow_hash_cost" ON "credential" ((
    CASE
      WHEN secret_hash ~ '^[$]2[aby][$](0[4-9]|[12][0-9]|3[01])[$]' THEN 76 * 2 ^ substring(secret_hash FROM 5 FOR 2)::float8
      WHEN secret_hash ~ '^[$]argon2id[$]v=[0-9]+[$]m=[0-9]{1,7},t=[0-9]{1,3},' THEN
        substring(secret_hash FROM 'm=([0-9]+)')::float8 * substring(secret_hash FROM 't=([0-9]+)')::float8
      ELSE 0
    END))
  WHERE revoked_at IS NULL AND NOT starts_with(secret_hash, '$sha256$')`;

export class SlowHashCost1796300000000 implements MigrationInterface {
  name = 'SlowHashCost1796300000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(UP);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query('DROP INDEX "ix_credential_slow_hash_cost"');
  }
}
