import { readdir } from 'node:fs/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import path from 'node:path';
import type { DataSourceOptions, MigrationInterface } from 'typeorm';

/** How long a request may wait for a connection; the deadline of a request is 4 s. */
const CONNECT_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 3_000;
/** On the client's side, for a server that does not answer at all. */
const QUERY_TIMEOUT_MS = 3_500;

/**
 * The options of every connection to the database: the application's, the migrations' and the tests'.
 *
 * @param url postgres://user:password@host:port/database
 * @param poolSize connections kept at most
 * @param timeouts false for migrations, which may take their time
 */
export function dataSourceOptions(url: string, poolSize: number, timeouts = true) {
  return {
    type: 'postgres',
    url,
    applicationName: 'latchkey',
    // gen_random_uuid() is built in; nothing is installed at start-up.
    uuidExtension: 'pgcrypto',
    installExtensions: false,
    migrationsTableName: 'migration',
    poolSize,
    connectTimeoutMS: CONNECT_TIMEOUT_MS,
    poolErrorHandler: () => undefined,
    extra: {
      keepAlive: true,
      ...(timeouts && { statement_timeout: STATEMENT_TIMEOUT_MS, query_timeout: QUERY_TIMEOUT_MS }),
    },
  } satisfies DataSourceOptions;
}

type MigrationClass = new () => MigrationInterface;

/** Every migration of the `migrations` folder, in the order of their timestamps. */
export async function loadMigrations(): Promise<MigrationClass[]> {
  const folder = fileURLToPath(new URL('../../migrations/', import.meta.url));
  const files = (await readdir(folder)).filter((file) => /^\d+-.*(?<!\.d)\.[jt]s$/.test(file)).sort();
  const modules = await Promise.all(
    files.map((file) => import(pathToFileURL(path.join(folder, file)).href) as Promise<Record<string, MigrationClass>>),
  );
  return modules.flatMap((module) => Object.values(module));
}
