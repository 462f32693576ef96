import { DataSource } from 'typeorm';
import { dataSourceOptions } from './data-source.ts';
import { loadMigrations } from './migration-folders.ts';

/** Any number will do, as long as every instance takes the same: one migrates, the others wait for it. */
const MIGRATION_LOCK = 7_236_001;

async function withMigrations<T>(
  url: string,
  folders: readonly URL[] | undefined,
  work: (dataSource: DataSource) => Promise<T>,
): Promise<T> {
  const migrations = await loadMigrations(folders);
  const dataSource = new DataSource({ ...dataSourceOptions(url, 2, 'none'), migrations });
  await dataSource.initialize();
  try {
    return await work(dataSource);
  } finally {
    await dataSource.destroy();
  }
}

async function locked<T>(dataSource: DataSource, work: () => Promise<T>): Promise<T> {
  const runner = dataSource.createQueryRunner();
  try {
    await runner.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    return await work();
  } finally {
    await runner.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]);
    await runner.release();
  }
}

/**
 * Brings the schema to its newest form. Each migration is a transaction of its own.
 *
 * @param url the database
 * @param folders as in {@link loadMigrations}
 * @returns the names of the migrations that were run, none when there was nothing to do
 */
export function runMigrations(url: string, folders?: readonly URL[]): Promise<string[]> {
  return withMigrations(url, folders, (dataSource) =>
    locked(dataSource, async () => {
      const done = await dataSource.runMigrations({ transaction: 'each' });
      return done.map(({ name }) => name);
    }),
  );
}

/**
 * Takes back the newest migration.
 *
 * @param url the database
 * @param folders as in {@link loadMigrations}
 */
export function revertMigration(url: string, folders?: readonly URL[]): Promise<void> {
  return withMigrations(url, folders, (dataSource) =>
    locked(dataSource, () => dataSource.undoLastMigration({ transaction: 'each' })),
  );
}

/**
 * Which timeouts statements have that do not bring their own: those of the role, behind a pooler.
 *
 * @param url as the application connects
 * @returns the settings that are missing
 */
export async function missingTimeouts(url: string): Promise<string[]> {
  const dataSource = await new DataSource(dataSourceOptions(url, 1, 'role')).initialize();
  try {
    const rows = await dataSource.query<{ name: string }[]>(
      `SELECT name FROM pg_settings
        WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout') AND setting = '0' ORDER BY name`,
    );
    return rows.map(({ name }) => name);
  } finally {
    await dataSource.destroy();
  }
}

/** Whether the schema is older than this version of Latchkey. */
export function hasPendingMigrations(url: string, folders?: readonly URL[]): Promise<boolean> {
  return withMigrations(url, folders, (dataSource) => dataSource.showMigrations());
}
