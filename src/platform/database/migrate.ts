import { setTimeout as delay } from 'node:timers/promises';
import { DataSource, type QueryRunner } from 'typeorm';
import { ADVISORY_LOCKS } from './advisory-locks.ts';
import { dataSourceOptions } from './data-source.ts';
import { loadMigrations } from './migration-folders.ts';
import { demandUsableServer, unusable } from './server-check.ts';

const LOCK_POLL_MS = 100;

async function withMigrations<T>(
  url: string,
  folders: readonly URL[] | undefined,
  work: (dataSource: DataSource) => Promise<T>,
): Promise<T> {
  const migrations = await loadMigrations(folders);
  return withServer(url, new DataSource({ ...dataSourceOptions(url, 2, 'none'), migrations }), work);
}

/** @throws DatabaseError for any error of the database */
async function withServer<T>(
  url: string,
  dataSource: DataSource,
  work: (dataSource: DataSource) => Promise<T>,
): Promise<T> {
  await dataSource.initialize().catch((error: unknown) => {
    throw unusable(url, error, 'Check DATABASE_URL.');
  });
  try {
    await demandUsableServer(url, dataSource);
    return await work(dataSource);
  } catch (error) {
    // A programming error in a migration keeps its stack.
    throw error instanceof TypeError || error instanceof ReferenceError ? error : unusable(url, error);
  } finally {
    await dataSource.destroy();
  }
}

async function tryLock(runner: QueryRunner): Promise<boolean> {
  const rows = (await runner.query('SELECT pg_try_advisory_lock($1) AS locked', [ADVISORY_LOCKS.migration])) as {
    locked: boolean;
  }[];
  return rows[0]?.locked === true;
}

async function locked<T>(dataSource: DataSource, work: () => Promise<T>): Promise<T> {
  const runner = dataSource.createQueryRunner();
  try {
    // Polls, since a statement that waits for the lock holds a snapshot, and CREATE INDEX CONCURRENTLY of the lock's
    // holder would wait for that snapshot for ever.
    while (!(await tryLock(runner))) await delay(LOCK_POLL_MS);
    return await work();
  } finally {
    await runner.query('SELECT pg_advisory_unlock($1)', [ADVISORY_LOCKS.migration]);
    await runner.release();
  }
}

/**
 * Runs all pending migrations, each in a transaction of its own.
 *
 * @param url the database
 * @param folders as in {@link loadMigrations}
 * @returns the names of the migrations that were run; empty when none was pending
 * @throws DatabaseError when the database cannot be used or refuses a migration
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
 * Reverts the newest migration.
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
 * Finds the timeouts that the role does not set. Behind a pooler, only the role can set them.
 *
 * @param url the URL that the application connects to
 * @returns the names of the missing settings
 * @throws DatabaseError, also when another setting of the role makes the database unusable
 */
export async function missingTimeouts(url: string): Promise<string[]> {
  return withServer(url, new DataSource(dataSourceOptions(url, 1, 'role')), async (dataSource) => {
    const rows = await dataSource.query<{ name: string }[]>(
      `SELECT name FROM pg_settings
        WHERE name IN ('statement_timeout', 'idle_in_transaction_session_timeout') AND setting = '0' ORDER BY name`,
    );
    return rows.map(({ name }) => name);
  });
}

/** Whether the database lacks a migration of this version of Latchkey. */
export function hasPendingMigrations(url: string, folders?: readonly URL[]): Promise<boolean> {
  return withMigrations(url, folders, (dataSource) => dataSource.showMigrations());
}
