import { globSync, readFileSync } from 'node:fs';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../src/platform/database/data-source.ts';
import { loadMigrations } from '../../src/platform/database/migration-folders.ts';
import { hasPendingMigrations, revertMigration, runMigrations } from '../../src/platform/database/migrate.ts';
import { TestApp } from '../support/app.ts';
import { createDatabase } from '../support/database.ts';
import { PostgresProxy } from '../support/postgres-proxy.ts';
import { realTime } from '../support/real-time.ts';

/** Everything that a schema consists of, as text, so that two of them can be compared. */
async function schemaOf(url: string): Promise<string[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ line: string }>(`
      SELECT 'column ' || table_name || '.' || column_name || ' ' || udt_name || ' ' || is_nullable || ' '
        || coalesce(column_default, '') || ' ' || coalesce(collation_name, '') AS line
        FROM information_schema.columns WHERE table_schema = 'public'
      UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid)
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
      UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
      UNION ALL SELECT 'trigger ' || pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
      UNION ALL SELECT 'function ' || proname || ' ' || prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
        AND NOT EXISTS (SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e')
      ORDER BY line`);
    return rows.map(({ line }) => line);
  } finally {
    await client.end();
  }
}

it('match the entities at the newest schema', async () => {
  const app = await TestApp.start();
  try {
    // Earlier files of this process may have loaded the entities of an example, which Nest's module then adds.
    const ofExamples = globSync('examples/**/migrations/*.ts').flatMap((file) =>
      [...readFileSync(file, 'utf8').matchAll(/CREATE TABLE "?(\w+)"?/g)].map(([, name]) => name),
    );
    const entityMetadatas = app.dataSource.entityMetadatas.filter(({ tableName }) => !ofExamples.includes(tableName));
    Object.assign(app.dataSource, { entityMetadatas });
    const { upQueries } = await app.dataSource.driver.createSchemaBuilder().log();
    expect(upQueries.map(({ query }) => query)).toEqual([]);
    // The comparison can fail: an entity's column that is missing is found.
    await app.dataSource.query('ALTER TABLE channel_user DROP COLUMN notes');
    const { upQueries: repair } = await app.dataSource.driver.createSchemaBuilder().log();
    expect(repair.map(({ query }) => query)).toEqual(['ALTER TABLE "channel_user" ADD "notes" text']);
  } finally {
    await app.close();
  }
});

it('run from nothing to the newest schema, back to nothing and up again to the same', async () => {
  const { url, drop } = await createDatabase({ migrated: false });
  try {
    expect(await hasPendingMigrations(url)).toBe(true);
    const all = await runMigrations(url);
    expect(all).toHaveLength((await loadMigrations()).length);
    expect(await hasPendingMigrations(url)).toBe(false);
    expect(await runMigrations(url)).toEqual([]);
    const newest = await schemaOf(url);
    expect(newest.length).toBeGreaterThan(50);
    for (const _ of all) await revertMigration(url);
    const left = await schemaOf(url);
    expect(left.filter((line) => !/\bmigration\b/.test(line))).toEqual([]);
    await runMigrations(url);
    expect(await schemaOf(url)).toEqual(newest);
  } finally {
    await drop();
  }
});

it('run once when several instances migrate at once', async () => {
  const { url, drop } = await createDatabase({ migrated: false });
  try {
    const results = await Promise.all(Array.from({ length: 4 }, () => runMigrations(url)));
    expect(results.flat()).toHaveLength((await loadMigrations()).length);
  } finally {
    await drop();
  }
});

it('wait for a server that is too busy to accept a connection as fast as requests need it', async () => {
  const { url, drop } = await createDatabase({ migrated: false });
  const proxy = await PostgresProxy.start(url);
  try {
    proxy.stall();
    const run = runMigrations(proxy.url);
    await realTime('a connection waits longer than requests do');
    proxy.mend();
    expect(await run).toHaveLength((await loadMigrations()).length);
  } finally {
    await proxy.shut();
    await drop();
  }
});

it('give every constraint and index a name of its own', async () => {
  const { url, drop } = await createDatabase();
  try {
    const dataSource = await new DataSource(dataSourceOptions(url, 1)).initialize();
    const rows = await dataSource.query<{ name: string }[]>(
      // A partition has PostgreSQL's names; its table has ours.
      `SELECT conname AS name FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
         AND conrelid <> 'migration'::regclass AND conrelid NOT IN (SELECT inhrelid FROM pg_inherits)
       UNION SELECT indexname FROM pg_indexes WHERE schemaname = 'public' AND tablename <> 'migration'
         AND tablename NOT IN (SELECT inhrelid::regclass::text FROM pg_inherits)`,
    );
    await dataSource.destroy();
    expect(rows.length).toBeGreaterThan(20);
    for (const { name } of rows) expect(name).toMatch(/^(pk|fk|uq|ck|ix)_[a-z_]+$/);
  } finally {
    await drop();
  }
});
