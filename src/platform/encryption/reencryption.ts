import type { EntityManager } from 'typeorm';
import { NIL_UUID } from '../common/uuid.ts';

/** Rows per statement. With a commit for each row, a million personal keys took an hour. */
const ROWS_PER_STATEMENT = 500;

/** A column with values encrypted by `EncryptionService`, in a table whose primary key is one UUID. */
export interface SealedColumn {
  table: string;
  id: string;
  column: string;
}

/**
 * Encrypts a column again under the newest key encryption key. Each statement of 500 rows commits by itself, so the
 * next run finishes an interrupted one. A value that changes between reading and writing keeps its change.
 *
 * @param renew returns the value under the newest key, or undefined when it needs no change or cannot be read
 * @returns how many values were encrypted again
 */
export async function reencryptColumn(
  manager: EntityManager,
  { table, id, column }: SealedColumn,
  renew: (id: string, sealed: Buffer) => Buffer | undefined,
): Promise<number> {
  let after = NIL_UUID;
  let count = 0;
  for (;;) {
    const rows = await manager.query<{ id: string; sealed: Buffer }[]>(
      `SELECT ${id} AS id, ${column} AS sealed FROM ${table}
        WHERE ${id} > $1 AND ${column} IS NOT NULL ORDER BY ${id} LIMIT $2`,
      [after, ROWS_PER_STATEMENT],
    );
    const changes = rows.flatMap((row) => {
      const renewed = renew(row.id, row.sealed);
      return renewed ? [{ ...row, renewed }] : [];
    });
    if (changes.length > 0) {
      const [, affected] = await manager.query<[unknown, number]>(
        `UPDATE ${table} SET ${column} = change.renewed
          FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) AS change (id, sealed, renewed)
          WHERE ${table}.${id} = change.id AND ${table}.${column} = change.sealed`,
        [changes.map((row) => row.id), changes.map(({ sealed }) => sealed), changes.map(({ renewed }) => renewed)],
      );
      count += affected;
    }
    const last = rows.at(-1);
    if (!last || rows.length < ROWS_PER_STATEMENT) return count;
    after = last.id;
  }
}
