import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * How many accounts there are, and how many have each scope: kept as differences, so that nobody who creates, changes or
 * deletes an account waits for another. The sum of the rows is the number, and servers fold the rows now and then.
 */
const UP = [
  `CREATE TABLE IF NOT EXISTS "channel_user_tally" (
    "id" bigint GENERATED ALWAYS AS IDENTITY NOT NULL,
    "scope" text,
    "accounts" bigint NOT NULL,
    CONSTRAINT "pk_channel_user_tally" PRIMARY KEY ("id")
  )`,

  `CREATE OR REPLACE FUNCTION channel_user_tally_made() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO channel_user_tally (scope, accounts)
        SELECT NULL, count(*) FROM made HAVING count(*) > 0
        UNION ALL
        SELECT scope, count(*) FROM made CROSS JOIN LATERAL unnest(scopes) AS scope GROUP BY scope;
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_channel_user_tally_made" AFTER INSERT ON "channel_user" REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION channel_user_tally_made()`,

  `CREATE OR REPLACE FUNCTION channel_user_tally_gone() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO channel_user_tally (scope, accounts)
        SELECT NULL, -count(*) FROM gone HAVING count(*) > 0
        UNION ALL
        SELECT scope, -count(*) FROM gone CROSS JOIN LATERAL unnest(scopes) AS scope GROUP BY scope;
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_channel_user_tally_gone" AFTER DELETE ON "channel_user" REFERENCING OLD TABLE AS gone
    FOR EACH STATEMENT EXECUTE FUNCTION channel_user_tally_gone()`,

  `CREATE OR REPLACE FUNCTION channel_user_tally_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO channel_user_tally (scope, accounts)
        SELECT scope, sum(n) FROM (
          SELECT unnest(NEW.scopes) AS scope, 1 AS n UNION ALL SELECT unnest(OLD.scopes), -1
        ) AS difference GROUP BY scope HAVING sum(n) <> 0;
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_channel_user_tally_changed" AFTER UPDATE OF scopes ON "channel_user" FOR EACH ROW
    WHEN (OLD.scopes IS DISTINCT FROM NEW.scopes) EXECUTE FUNCTION channel_user_tally_changed()`,

  `CREATE OR REPLACE FUNCTION channel_user_tally_emptied() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      DELETE FROM channel_user_tally;
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_channel_user_tally_emptied" AFTER TRUNCATE ON "channel_user"
    FOR EACH STATEMENT EXECUTE FUNCTION channel_user_tally_emptied()`,

  // One statement sees one moment: the accounts it counts, and the differences that are among them.
  `WITH counted_already AS (DELETE FROM "channel_user_tally")
    INSERT INTO "channel_user_tally" ("scope", "accounts")
    SELECT NULL, count(*) FROM "channel_user"
    UNION ALL
    SELECT scope, count(*) FROM "channel_user" CROSS JOIN LATERAL unnest(scopes) AS scope GROUP BY scope`,
];

const DOWN = [
  `DROP TRIGGER "tr_channel_user_tally_emptied" ON "channel_user"`,
  `DROP TRIGGER "tr_channel_user_tally_changed" ON "channel_user"`,
  `DROP TRIGGER "tr_channel_user_tally_gone" ON "channel_user"`,
  `DROP TRIGGER "tr_channel_user_tally_made" ON "channel_user"`,
  `DROP FUNCTION channel_user_tally_emptied()`,
  `DROP FUNCTION channel_user_tally_changed()`,
  `DROP FUNCTION channel_user_tally_gone()`,
  `DROP FUNCTION channel_user_tally_made()`,
  `DROP TABLE "channel_user_tally"`,
];

export class Tally1796410000000 implements MigrationInterface {
  name = 'Tally1796410000000';
  /** The triggers are committed before accounts are counted, so that nobody waits for that. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
