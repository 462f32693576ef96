import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * `activity_partitions` runs with its owner's rights and drops tables: PUBLIC may no longer call it, and it refuses to
 * keep less than one day. Roles that may write activity keep the right to call it, so the running version goes on.
 */
const KEEPS_AT_LEAST_A_DAY = `
      IF keep_days IS NULL OR keep_days < 1 THEN
        RAISE EXCEPTION 'activity_partitions keeps at least 1 day, not %', coalesce(keep_days::text, 'null')
          USING ERRCODE = 'invalid_parameter_value';
      END IF;`;

const partitions = (schema: string, check: string): string => `
  CREATE OR REPLACE FUNCTION activity_partitions(keep_days integer) RETURNS void
  LANGUAGE plpgsql SECURITY DEFINER SET search_path = ${schema}, pg_temp SET lock_timeout = '1s' AS $$
    DECLARE
      today date := (now() AT TIME ZONE 'UTC')::date;
      next_day date;
      partition text;
    BEGIN${check}
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

const GRANT_TO_WRITERS = `
  DO $$
    DECLARE writer oid;
    BEGIN
      FOR writer IN
        SELECT DISTINCT acl.grantee FROM pg_class, aclexplode(relacl) AS acl
          WHERE pg_class.oid = 'activity'::regclass AND acl.privilege_type = 'INSERT' AND acl.grantee <> 0
      LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION activity_partitions(integer) TO %I', pg_get_userbyid(writer));
      END LOOP;
    END
  $$`;

export class PartitionRights1796020000000 implements MigrationInterface {
  name = 'PartitionRights1796020000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(partitions(await schemaOf(queryRunner), KEEPS_AT_LEAST_A_DAY));
    await queryRunner.query('REVOKE EXECUTE ON FUNCTION activity_partitions(integer) FROM PUBLIC');
    await queryRunner.query(GRANT_TO_WRITERS);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    await queryRunner.query(partitions(await schemaOf(queryRunner), ''));
    await queryRunner.query('GRANT EXECUTE ON FUNCTION activity_partitions(integer) TO PUBLIC');
  }
}

/** The schema that the migration runs in, quoted as an identifier. */
async function schemaOf(queryRunner: QueryRunner): Promise<string> {
  const [row] = (await queryRunner.query('SELECT quote_ident(current_schema()) AS schema')) as { schema: string }[];
  return row?.schema ?? 'public';
}
