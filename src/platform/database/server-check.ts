import type { DataSource } from 'typeorm';
import { OperatorError } from '../common/operator-error.ts';
import { databasePlace } from '../config/database-url.ts';

const OLDEST_VERSION = 15;

/** The database cannot be used, for a reason that an operator can fix. The message holds no password. */
export class DatabaseError extends OperatorError {}

/**
 * Explains an error of the database in one sentence.
 *
 * @param url the URL that was connected to; its password is left out
 * @param cause anything caught; a DatabaseError is returned unchanged
 * @param hint a sentence that says what to do
 */
export function unusable(url: string, cause: unknown, hint = ''): DatabaseError {
  if (cause instanceof DatabaseError) return cause;
  const { code, message = '' } = cause as { code?: string; message?: string };
  const reason = message === '' ? (code ?? 'no answer') : message;
  return new DatabaseError(`The database at ${databasePlace(url)} cannot be used: ${reason}. ${hint}`.trim(), {
    cause,
  });
}

interface Server {
  version: number;
  encoding: string;
  schema: string | null;
  dateStyle: string;
  strings: string;
  isolation: string;
}

/**
 * Refuses a server on which statements would fail later.
 *
 * @throws DatabaseError naming the first problem and its remedy
 */
export async function demandUsableServer(url: string, dataSource: DataSource): Promise<void> {
  const [server] = await dataSource.query<Server[]>(`
    SELECT current_setting('server_version_num')::int / 10000 AS version, current_setting('server_encoding') AS encoding,
      current_schema() AS schema, current_setting('DateStyle') AS "dateStyle",
      current_setting('standard_conforming_strings') AS strings,
      current_setting('default_transaction_isolation') AS isolation`);
  const problem = server && problemOf(server);
  if (problem !== undefined) throw unusable(url, new Error(problem));
}

function problemOf({ version, encoding, schema, dateStyle, strings, isolation }: Server): string | undefined {
  if (version < OLDEST_VERSION) {
    return `it runs PostgreSQL ${String(version)}, and Latchkey needs ${String(OLDEST_VERSION)} or newer`;
  }
  if (encoding !== 'UTF8') {
    return `its encoding is ${encoding}, and Latchkey needs UTF8 (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0)`;
  }
  if (schema === null) {
    return `the role's search_path names no schema that exists (ALTER ROLE … SET search_path = public)`;
  }
  // These can differ only behind a pooler, where a connection cannot set them.
  const settings = [
    ['DateStyle', dateStyle, /^ISO\b/, 'ISO, MDY'],
    ['standard_conforming_strings', strings, /^on$/, 'on'],
    ['default_transaction_isolation', isolation, /^read committed$/, 'read committed'],
  ] as const;
  for (const [name, found, expected, value] of settings) {
    if (!expected.test(found)) {
      return `the role's ${name} is "${found}", and behind a pooler Latchkey needs "${value}" (ALTER ROLE … SET ${name} = '${value}')`;
    }
  }
  return undefined;
}
