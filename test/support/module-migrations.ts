import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/platform/database/data-source.ts';
import { hasPendingMigrations, revertMigration, runMigrations } from '../../src/platform/database/migrate.ts';
import { loadMigrations, MigrationFolders } from '../../src/platform/database/migration-folders.ts';
import type { TestApp } from './app.ts';
import { createDatabase } from './database.ts';

/**
 * Expects that the migrations of modules create what the entities declare, and that they can be reverted and repeated.
 *
 * @param app the application with the modules
 * @param folders the folders of the migrations
 */
export async function expectMigrationsToFit(app: TestApp, folders: readonly URL[]): Promise<void> {
  const { upQueries } = await app.dataSource.driver.createSchemaBuilder().log();
  expect(upQueries.map(({ query }) => query)).toEqual([]);

  const { url, drop } = await createDatabase();
  try {
    const all = await new MigrationFolders(folders).all();
    const own = (await loadMigrations(folders)).map(({ name }) => name);
    const before = await tablesOf(url);
    expect(await hasPendingMigrations(url, all)).toBe(true);
    expect(await runMigrations(url, all)).toEqual(own);
    expect(await hasPendingMigrations(url, all)).toBe(false);
    const after = await tablesOf(url);
    expect(after).not.toEqual(before);
    for (const _ of own) await revertMigration(url, all);
    expect(await tablesOf(url)).toEqual(before);
    await runMigrations(url, all);
    expect(await tablesOf(url)).toEqual(after);
  } finally {
    await drop();
  }
}

/** Tables, columns, constraints and indexes, as text. */
async function tablesOf(url: string): Promise<string[]> {
  const dataSource = await new DataSource(dataSourceOptions(url, 1)).initialize();
  try {
    const rows = await dataSource.query<{ line: string }[]>(`
      SELECT concat_ws(' ', table_name, column_name, udt_name, is_nullable, column_default) AS line
        FROM information_schema.columns WHERE table_schema = 'public'
      UNION ALL SELECT concat_ws(' ', conrelid::regclass, conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      UNION ALL SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY line`);
    return rows.map(({ line }) => line);
  } finally {
    await dataSource.destroy();
  }
}
