import type { EntityManager } from 'typeorm';

/** A checked row, in the form in which it will be moved. */
export interface StagedRow {
  readonly row: number;
  readonly usernameKey: string;
  /** The values for `channel_user`, by column name. */
  readonly account: Record<string, unknown>;
  readonly secretHash: string;
  readonly fingerprint: string | null;
}

/** A staged row, and the account that was created from it. */
export interface MovedRow {
  readonly row: number;
  /** `null` when the username was taken and no account was created. */
  readonly credentialId: string | null;
  readonly channelUserId: string;
  /** Whether the password was generated. */
  readonly generated: boolean;
}

/** An account with a generated password. */
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

/** Stages rows. Of several rows with one username, only the first is staged. */
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

/** Creates one batch of accounts with their credentials. Returns for each row whether its username was free. */
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
    RETURNING id, channel_user_id
  )
  SELECT row_number AS row, credentials.id AS "credentialId", account_id AS "channelUserId",
    batch.fingerprint IS NOT NULL AS generated
  FROM batch LEFT JOIN credentials ON credentials.channel_user_id = account_id ORDER BY row_number`;

const GENERATED = `
  SELECT row_number AS row, account ->> 'username' AS username, account ->> 'id' AS id, fingerprint
  FROM channel_user_import_row
  WHERE import_id = $1 AND row_number BETWEEN $2 + 1 AND $2 + ${String(AT_ONCE)} AND fingerprint IS NOT NULL
  ORDER BY row_number`;

/** Deletes one part of the staged rows of an import. */
const DELETE_SOME = `
  DELETE FROM channel_user_import_row WHERE (import_id, row_number) IN (
    SELECT import_id, row_number FROM channel_user_import_row WHERE import_id = $1 LIMIT ${String(DELETED_AT_ONCE)}
  ) RETURNING row_number`;

/** @returns the usernames that accounts already have */
export async function takenUsernames(manager: EntityManager, usernameKeys: readonly string[]): Promise<Set<string>> {
  const rows = await manager.query<{ usernameKey: string }[]>(TAKEN, [usernameKeys]);
  return new Set(rows.map(({ usernameKey }) => usernameKey));
}

/** Stages rows. @returns for each row whose username is in the file before: the number of that earlier row */
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
 * Creates accounts from a range of staged rows. The range is given by row numbers, since the planner has no statistics
 * of a table that was just filled and would search the first rows slowly.
 *
 * @param after the row number before the first of {@link AT_ONCE} row numbers
 * @returns the staged rows of the range, whether their usernames were free, and whether their passwords are generated
 */
export const move = (manager: EntityManager, importId: string, after: number, label: string): Promise<MovedRow[]> =>
  manager.query(MOVE, [importId, after, label]);

/** Deletes staged rows that did not become accounts. */
export async function unstage(manager: EntityManager, importId: string, rows: readonly number[]): Promise<void> {
  if (rows.length === 0) return;
  await manager.query('DELETE FROM channel_user_import_row WHERE import_id = $1 AND row_number = ANY($2::integer[])', [
    importId,
    rows,
  ]);
}

/** The accounts of a range with generated passwords, see {@link move}. */
export const generated = (manager: EntityManager, importId: string, after: number): Promise<StagedCredential[]> =>
  manager.query(GENERATED, [importId, after]);

/** Deletes the staged rows of an import, in parts. */
export async function clear(manager: EntityManager, importId: string): Promise<void> {
  let deleted: unknown[];
  do {
    // TypeORM returns the deleted rows and their number.
    [deleted] = await manager.query<[unknown[], number]>(DELETE_SOME, [importId]);
  } while (deleted.length === DELETED_AT_ONCE);
}
