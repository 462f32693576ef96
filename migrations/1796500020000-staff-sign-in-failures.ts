import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  `CREATE TABLE "staff_sign_in_failure" (
    "staff_id" uuid NOT NULL,
    "hour" timestamptz(3) NOT NULL,
    "reason" text NOT NULL,
    "count" integer NOT NULL,
    "last_at" timestamptz(3) NOT NULL,
    "last_address" text,
    CONSTRAINT "pk_staff_sign_in_failure" PRIMARY KEY ("staff_id", "hour", "reason"),
    CONSTRAINT "fk_staff_sign_in_failure_staff" FOREIGN KEY ("staff_id") REFERENCES "staff" ("id") ON DELETE CASCADE
  )`,
  `CREATE INDEX "ix_staff_sign_in_failure_hour" ON "staff_sign_in_failure" ("hour")`,
];

export class StaffSignInFailures1796500020000 implements MigrationInterface {
  name = 'StaffSignInFailures1796500020000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(`DROP TABLE "staff_sign_in_failure"`);
  }
}
