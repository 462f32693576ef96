import type { MigrationInterface, QueryRunner } from 'typeorm';

/** Accounts that one statement copies. */
const COPIED_AT_ONCE = 5_000;

/**
 * When an account obtained its last token gets a narrow table of its own: `channel_user` has nine indexes, two of them
 * on this time, and each token a minute rewrote the row and an entry in every index.
 *
 * Expand: the version before goes on reading and writing `channel_user.last_token_at`, and a trigger forwards what it
 * writes. This version does not write that column, so the version before shows the times from before the deploy. A later
 * release drops the column, its two indexes and the trigger that forwards.
 */
const TABLE = [
  `CREATE TABLE IF NOT EXISTS "channel_user_use" (
    "channel_user_id" uuid NOT NULL,
    "created_at" timestamptz(3) NOT NULL,
    "last_token_at" timestamptz(3) NOT NULL DEFAULT '-infinity',
    CONSTRAINT "pk_channel_user_use" PRIMARY KEY ("channel_user_id"),
    CONSTRAINT "fk_channel_user_use_channel_user" FOREIGN KEY ("channel_user_id")
      REFERENCES "channel_user" ("id") ON DELETE CASCADE
  )`,
  `CREATE INDEX IF NOT EXISTS "ix_channel_user_use_last_token_at"
    ON "channel_user_use" ("last_token_at", "channel_user_id")`,
  // Accounts that never obtained a token are silent since they were created.
  `CREATE INDEX IF NOT EXISTS "ix_channel_user_use_unused" ON "channel_user_use" ("created_at", "channel_user_id")
    WHERE last_token_at = '-infinity'`,
];

const TRIGGERS = [
  `CREATE OR REPLACE FUNCTION channel_user_use_made() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO channel_user_use (channel_user_id, created_at, last_token_at)
        SELECT id, created_at, COALESCE(last_token_at, '-infinity') FROM made
        ON CONFLICT (channel_user_id) DO NOTHING;
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_channel_user_use_made" AFTER INSERT ON "channel_user" REFERENCING NEW TABLE AS made
    FOR EACH STATEMENT EXECUTE FUNCTION channel_user_use_made()`,
  // Inserts too: the account may not have been copied yet.
  `CREATE OR REPLACE FUNCTION channel_user_use_forwarded() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      INSERT INTO channel_user_use AS known (channel_user_id, created_at, last_token_at)
        VALUES (NEW.id, NEW.created_at, COALESCE(NEW.last_token_at, '-infinity'))
        ON CONFLICT (channel_user_id) DO UPDATE SET
          created_at = EXCLUDED.created_at, last_token_at = greatest(known.last_token_at, EXCLUDED.last_token_at);
      RETURN NULL;
    END
  $$`,
  `CREATE OR REPLACE TRIGGER "tr_channel_user_use_forwarded" AFTER UPDATE OF last_token_at, created_at ON "channel_user"
    FOR EACH ROW EXECUTE FUNCTION channel_user_use_forwarded()`,
];

/** The accounts are locked against deletion alone. */
const COPY = `
  WITH batch AS MATERIALIZED (
    SELECT id, created_at, COALESCE(last_token_at, '-infinity') AS last_token_at FROM channel_user
    WHERE id > $1 ORDER BY id LIMIT ${String(COPIED_AT_ONCE)} FOR KEY SHARE
  ), copied AS (
    INSERT INTO channel_user_use (channel_user_id, created_at, last_token_at) SELECT * FROM batch
    ON CONFLICT (channel_user_id) DO NOTHING
  )
  SELECT id FROM batch ORDER BY id DESC LIMIT 1`;

const DOWN = [
  `DROP TRIGGER "tr_channel_user_use_forwarded" ON "channel_user"`,
  `DROP TRIGGER "tr_channel_user_use_made" ON "channel_user"`,
  `UPDATE "channel_user" SET "last_token_at" = used.last_token_at FROM "channel_user_use" AS used
    WHERE used.channel_user_id = id AND used.last_token_at > COALESCE(channel_user.last_token_at, '-infinity')`,
  `DROP TABLE "channel_user_use"`,
  `DROP FUNCTION channel_user_use_forwarded()`,
  `DROP FUNCTION channel_user_use_made()`,
];

export class LastUse1796400000000 implements MigrationInterface {
  name = 'LastUse1796400000000';
  /** Each statement commits by itself, so that no account stays locked while others are copied. Can be run again. */
  transaction = false;

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of [...TABLE, ...TRIGGERS]) await queryRunner.query(statement);
    let last: string | undefined = '00000000-0000-0000-0000-000000000000';
    while (last !== undefined) {
      const rows = (await queryRunner.query(COPY, [last])) as { id: string }[];
      last = rows[0]?.id;
    }
    await queryRunner.query('ANALYZE "channel_user_use"');
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
