import type { MigrationInterface, QueryRunner } from 'typeorm';

const UP = [
  // The events of before have none: the first MAC of the chain covers all of them.
  `ALTER TABLE "audit_event" ADD "mac" bytea`,
  // During a rolling deploy the older version cannot write events, and so cannot change anything: it fails closed.
  `CREATE FUNCTION audit_event_is_chained() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF NEW.mac IS NULL THEN
        RAISE EXCEPTION 'audit_event is chained: an event without a MAC is refused' USING ERRCODE = 'not_null_violation';
      END IF;
      RETURN NEW;
    END
  $$`,
  `CREATE TRIGGER "tr_audit_event_chained" BEFORE INSERT ON "audit_event"
    FOR EACH ROW EXECUTE FUNCTION audit_event_is_chained()`,

  // Room for the one row to move within its page at every change.
  `CREATE TABLE "audit_chain" (
    "id" boolean NOT NULL DEFAULT true,
    "wrapped_key" bytea,
    "genesis_sequence" bigint,
    "genesis_events" bigint,
    "genesis_mac" bytea,
    "sequence" bigint,
    "mac" bytea,
    "at" timestamptz(3),
    "verified" bytea,
    CONSTRAINT "pk_audit_chain" PRIMARY KEY ("id"),
    CONSTRAINT "ck_audit_chain_one_row" CHECK (id)
  ) WITH (fillfactor = 10)`,
  // The application begins the chain: the migration has no key.
  `INSERT INTO "audit_chain" DEFAULT VALUES`,
  `CREATE FUNCTION audit_chain_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      RAISE EXCEPTION 'audit_chain is kept: % refused', TG_OP USING ERRCODE = 'insufficient_privilege';
    END
  $$`,
  `CREATE TRIGGER "tr_audit_chain_kept" BEFORE DELETE OR TRUNCATE ON "audit_chain"
    FOR EACH STATEMENT EXECUTE FUNCTION audit_chain_is_kept()`,
];

const DOWN = [
  `DROP TABLE "audit_chain"`,
  `DROP FUNCTION audit_chain_is_kept()`,
  `DROP TRIGGER "tr_audit_event_chained" ON "audit_event"`,
  `DROP FUNCTION audit_event_is_chained()`,
  `ALTER TABLE "audit_event" DROP COLUMN "mac"`,
  // The older version lets the database count on.
  `SELECT setval(pg_get_serial_sequence('audit_event', 'seq'), max(seq)) FROM "audit_event" HAVING max(seq) IS NOT NULL`,
];

export class AuditChain1795900000000 implements MigrationInterface {
  name = 'AuditChain1795900000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
