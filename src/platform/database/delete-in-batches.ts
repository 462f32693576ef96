import type { EntityManager } from 'typeorm';

/** Rows that one statement deletes: about 100 ms of work, far below the statement timeout of 3 s. */
const DELETED_AT_ONCE = 5_000;

/**
 * Deletes any number of rows in statements of bounded size. Skips locked rows, which another instance is deleting.
 *
 * @param table name of the table; inserted into the SQL, so it must come from the code
 * @param condition SQL with `$1` for the parameter, also from the code
 */
export async function deleteInBatches(
  manager: EntityManager,
  table: string,
  condition: string,
  parameter: unknown,
): Promise<void> {
  let deleted: number;
  do {
    const [{ count } = { count: 0 }] = await manager.query<{ count: number }[]>(
      `WITH doomed AS MATERIALIZED (
         SELECT ctid FROM ${table} WHERE ${condition} LIMIT ${String(DELETED_AT_ONCE)} FOR UPDATE SKIP LOCKED
       ), deleted AS (
         DELETE FROM ${table} WHERE ctid = ANY (ARRAY(SELECT ctid FROM doomed)) RETURNING 1
       )
       SELECT count(*)::int AS count FROM deleted`,
      [parameter],
    );
    deleted = count;
  } while (deleted > 0);
}
