import type { MigrationInterface, QueryRunner } from 'typeorm';

/** The columns that decide access, or that an answer to a partner shows. Those that record use stay silent. */
const CHANNEL_USER_COLUMNS = [
  'id',
  'username',
  'username_key',
  'display_name',
  'suspended_at',
  'expires_at',
  'scopes',
  'token_ttl_seconds',
  'tokens_per_minute',
  'allowed_ips',
  'epoch',
].join(', ');
const CREDENTIAL_COLUMNS = 'id, channel_user_id, label, secret_hash, expires_at, revoked_at';

const NOTIFICATIONS = [
  // Payload `<topic>:<key>`; the key is `*` where a statement says that anything may have changed.
  `CREATE FUNCTION notify_change() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_LEVEL = 'STATEMENT' THEN
        PERFORM pg_notify('latchkey_change', TG_ARGV[0] || ':*');
        RETURN NULL;
      END IF;
      IF TG_OP <> 'INSERT' THEN
        PERFORM pg_notify('latchkey_change', TG_ARGV[0] || ':' || (to_jsonb(OLD) ->> TG_ARGV[1]));
      END IF;
      IF TG_OP <> 'DELETE' THEN
        PERFORM pg_notify('latchkey_change', TG_ARGV[0] || ':' || (to_jsonb(NEW) ->> TG_ARGV[1]));
      END IF;
      RETURN NULL;
    END
  $$`,
  // A new channel user is nowhere remembered: nothing to say.
  `CREATE TRIGGER "tr_channel_user_changed" AFTER DELETE OR UPDATE OF ${CHANNEL_USER_COLUMNS} ON "channel_user"
    FOR EACH ROW EXECUTE FUNCTION notify_change('channel_user', 'id')`,
  `CREATE TRIGGER "tr_channel_user_truncated" AFTER TRUNCATE ON "channel_user"
    FOR EACH STATEMENT EXECUTE FUNCTION notify_change('channel_user')`,
  `CREATE TRIGGER "tr_credential_changed" AFTER INSERT OR DELETE OR UPDATE OF ${CREDENTIAL_COLUMNS} ON "credential"
    FOR EACH ROW EXECUTE FUNCTION notify_change('channel_user', 'channel_user_id')`,
  `CREATE TRIGGER "tr_credential_truncated" AFTER TRUNCATE ON "credential"
    FOR EACH STATEMENT EXECUTE FUNCTION notify_change('channel_user')`,
  `CREATE TRIGGER "tr_signing_key_changed" AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON "signing_key"
    FOR EACH STATEMENT EXECUTE FUNCTION notify_change('signing_key')`,
];

const CREDENTIALS = [
  // Slow hashes are verified in a queue that is fair among users: one user, one of them.
  `CREATE UNIQUE INDEX "uq_credential_slow_hash" ON "credential" ("channel_user_id")
    WHERE revoked_at IS NULL AND NOT starts_with(secret_hash, '$sha256$')`,
];

const ACTIVITY = [
  `CREATE TABLE "activity" (
    "day" date NOT NULL,
    "id" uuid NOT NULL,
    "channel_user_id" uuid NOT NULL,
    "at" timestamptz(3) NOT NULL,
    "address" text,
    "outcome" text NOT NULL,
    "error_code" text,
    "reason" text,
    "credential_id" uuid,
    "request_id" text NOT NULL,
    "user_agent" text,
    "count" integer NOT NULL,
    "minute" timestamptz(3),
    CONSTRAINT "pk_activity" PRIMARY KEY ("day", "id"),
    CONSTRAINT "ck_activity_outcome" CHECK (outcome IN ('token', 'refused'))
  ) PARTITION BY RANGE ("day")`,
  `CREATE INDEX "ix_activity_channel_user" ON "activity" ("channel_user_id", "at" DESC, "id" DESC)`,
  // The refusals for too many requests of one minute are one row with a count, whichever instance counted them.
  `CREATE UNIQUE INDEX "uq_activity_minute" ON "activity" ("day", "channel_user_id", "minute", "reason")
    WHERE minute IS NOT NULL`,
  // For days that have no partition yet.
  `CREATE TABLE "activity_default" PARTITION OF "activity" DEFAULT`,
];

/**
 * Makes the partitions of the next days and drops those beyond the retention. Defined with its owner's rights: the
 * application's role needs none to create or drop tables.
 */
const partitions = (schema: string): string => `
  CREATE FUNCTION activity_partitions(keep_days integer) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = ${schema}, pg_temp SET lock_timeout = '1s' AS $$
    DECLARE
      today date := (now() AT TIME ZONE 'UTC')::date;
      next_day date;
      partition text;
    BEGIN
      IF NOT pg_try_advisory_xact_lock(7236002) THEN RETURN; END IF;
      FOR next_day IN SELECT today + n FROM generate_series(0, 2) AS n LOOP
        partition := 'activity_' || to_char(next_day, 'YYYYMMDD');
        CONTINUE WHEN to_regclass(partition) IS NOT NULL;
        EXECUTE format('CREATE TABLE %I (LIKE activity INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', partition);
        EXECUTE format('WITH moved AS (DELETE FROM activity_default WHERE day = %L RETURNING *)
          INSERT INTO %I SELECT * FROM moved', next_day, partition);
        EXECUTE format('ALTER TABLE activity ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
          partition, next_day, next_day + 1);
      END LOOP;
      FOR partition IN
        SELECT child.relname FROM pg_inherits JOIN pg_class child ON child.oid = inhrelid
          WHERE inhparent = 'activity'::regclass AND child.relname ~ '^activity_[0-9]{8}$'
            AND child.relname < 'activity_' || to_char(today - keep_days, 'YYYYMMDD')
      LOOP
        EXECUTE format('DROP TABLE %I', partition);
      END LOOP;
      DELETE FROM activity_default WHERE day < today - keep_days;
    END
  $$`;

const DOWN = [
  `DROP FUNCTION activity_partitions(integer)`,
  `DROP TABLE "activity"`,
  `DROP INDEX "uq_credential_slow_hash"`,
  `DROP TRIGGER "tr_signing_key_changed" ON "signing_key"`,
  `DROP TRIGGER "tr_credential_truncated" ON "credential"`,
  `DROP TRIGGER "tr_credential_changed" ON "credential"`,
  `DROP TRIGGER "tr_channel_user_truncated" ON "channel_user"`,
  `DROP TRIGGER "tr_channel_user_changed" ON "channel_user"`,
  `DROP FUNCTION notify_change()`,
];

export class DirectoryAndActivity1795600000000 implements MigrationInterface {
  name = 'DirectoryAndActivity1795600000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of [...NOTIFICATIONS, ...CREDENTIALS, ...ACTIVITY]) await queryRunner.query(statement);
    const [row] = (await queryRunner.query('SELECT quote_ident(current_schema()) AS schema')) as { schema: string }[];
    await queryRunner.query(partitions(row?.schema ?? 'public'));
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
