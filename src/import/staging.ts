import type { EntityManager } from 'typeorm';

/** A row that was checked, as it will be moved. */
export interface StagedRow {
  readonly row: number;
  readonly usernameKey: string;
  /** By the names of the columns of `channel_user`. */
  readonly account: Record<string, unknown>;
  readonly secretHash: string;
  readonly fingerprint: string | null;
}

/** A generated password's account. */
export interface StagedCredential {
  readonly row: number;
  readonly username: string;
  readonly id: string;
  readonly fingerprint: string;
}

/** Rows that one statement handles. */
export const AT_ONCE = 500;
const DELETED_AT_ONCE = 5_000;

const TAKEN = `SELECT username_key AS "usernameKey" FROM channel_user WHERE username_key = ANY($1::text[])`;

/** Of several rows with a username, the first stays. */
const STAGE = `
  INSERT INTO channel_user_import_row (import_id, row_number, username_key, account, secret_hash, fingerprint)
  SELECT $1, staged.row, staged."usernameKey", staged.account, staged."secretHash", staged.fingerprint
  FROM json_to_recordset($2::json)
    AS staged (row integer, "usernameKey" text, account jsonb, "secretHash" text, fingerprint text)
  ORDER BY staged.row
  ON CONFLICT (import_id, username_key) DO NOTHING
  RETURNING row_number AS row`;

const FIRST = `
  SELECT username_key AS "usernameKey", row_number AS row FROM channel_user_import_row
  WHERE import_id = $1 AND username_key = ANY($2::text[])`;

/** One batch of accounts with their credentials; says of each row whether its username was free. */
const MOVE = `
  WITH batch AS MATERIALIZED (
    SELECT row_number, secret_hash, fingerprint, (account ->> 'id')::uuid AS account_id, account
    FROM channel_user_import_row WHERE import_id = $1 AND row_number BETWEEN $2 + 1 AND $2 + ${String(AT_ONCE)}
  ), moved AS (
    INSERT INTO channel_user
    SELECT (columns).* FROM batch, LATERAL (
      SELECT jsonb_populate_record(NULL::channel_user, batch.account) AS columns OFFSET 0
    ) AS account
    ON CONFLICT (username_key) DO NOTHING
    RETURNING id
  ), credentials AS (
    INSERT INTO credential (channel_user_id, label, fingerprint, secret_hash)
    SELECT batch.account_id, $3, batch.fingerprint, batch.secret_hash FROM batch JOIN moved ON moved.id = account_id
  )
  SELECT row_number AS row, EXISTS (SELECT FROM moved WHERE moved.id = account_id) AS created,
    fingerprint IS NOT NULL AS generated
  FROM batch ORDER BY row_number`;

const GENERATED = `
  SELECT row_number AS row, account ->> 'username' AS username, account ->> 'id' AS id, fingerprint
  FROM channel_user_import_row
  WHERE import_id = $1 AND row_number BETWEEN $2 + 1 AND $2 + ${String(AT_ONCE)} AND fingerprint IS NOT NULL
  ORDER BY row_number`;

/** A part of what an import left behind that is over, or whose instance is. */
const DELETE_SOME = `
  DELETE FROM channel_user_import_row WHERE (import_id, row_number) IN (
    SELECT import_id, row_number FROM channel_user_import_row WHERE import_id = $1 LIMIT ${String(DELETED_AT_ONCE)}
  ) RETURNING row_number`;

/** @returns those of the usernames that accounts have */
export async function takenUsernames(manager: EntityManager, usernameKeys: readonly string[]): Promise<Set<string>> {
  const rows = await manager.query<{ usernameKey: string }[]>(TAKEN, [usernameKeys]);
  return new Set(rows.map(({ usernameKey }) => usernameKey));
}

/** @returns for each row whose username stands in the file before: the row where */
export async function stage(
  manager: EntityManager,
  importId: string,
  rows: readonly StagedRow[],
): Promise<Map<number, number>> {
  if (rows.length === 0) return new Map();
  const kept = await manager.query<{ row: number }[]>(STAGE, [importId, JSON.stringify(rows)]);
  if (kept.length === rows.length) return new Map();
  const numbers = new Set(kept.map(({ row }) => row));
  const repeated = rows.filter(({ row }) => !numbers.has(row));
  const found = await manager.query<{ usernameKey: string; row: number }[]>(FIRST, [
    importId,
    repeated.map(({ usernameKey }) => usernameKey),
  ]);
  const first = new Map(found.map(({ usernameKey, row }) => [usernameKey, row]));
  return new Map(repeated.map(({ row, usernameKey }) => [row, first.get(usernameKey) ?? 0]));
}

/**
 * Makes accounts of some of the staged rows. They are named by their numbers: of a table that has just been filled, the
 * planner does not know yet how to find the first ones.
 *
 * @param after the number before the first of {@link AT_ONCE} rows
 * @returns those of them that were staged, whether their usernames were free, and whether their passwords are generated
 */
export const move = (
  manager: EntityManager,
  importId: string,
  after: number,
  label: string,
): Promise<{ row: number; created: boolean; generated: boolean }[]> => manager.query(MOVE, [importId, after, label]);

/** Takes rows back of which no account was made. */
export async function unstage(manager: EntityManager, importId: string, rows: readonly number[]): Promise<void> {
  if (rows.length === 0) return;
  await manager.query('DELETE FROM channel_user_import_row WHERE import_id = $1 AND row_number = ANY($2::integer[])', [
    importId,
    rows,
  ]);
}

/** Those of some accounts whose passwords were generated, see {@link move}. */
export const generated = (manager: EntityManager, importId: string, after: number): Promise<StagedCredential[]> =>
  manager.query(GENERATED, [importId, after]);

/** Deletes what an import has staged, in parts. */
export async function clear(manager: EntityManager, importId: string): Promise<void> {
  let deleted: unknown[];
  do {
    // TypeORM answers a deletion with the rows and their number.
    [deleted] = await manager.query<[unknown[], number]>(DELETE_SOME, [importId]);
  } while (deleted.length === DELETED_AT_ONCE);
}
