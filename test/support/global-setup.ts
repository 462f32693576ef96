import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { runMigrations } from '../../src/platform/database/migrate.ts';
import { administer, databaseUrl, onDatabase } from './database.ts';

/**
 * Finds or starts a PostgreSQL, and migrates a template that every test file copies. Node runs this file without
 * compiling it, so it must not import anything with decorators.
 */
export default async function globalSetup(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-test-'));
  process.env['LATCHKEY_TEST_DIR'] = folder;
  let server = process.env['TEST_DATABASE_URL'];
  if (server === undefined || server === '') {
    const { startEmbeddedPostgres } = await import('../../src/platform/embedded-postgres/embedded-postgres.ts');
    const postgres = await startEmbeddedPostgres({ dataDir: path.join(folder, 'data'), mode: 'serve' });
    globalThis.stopTestPostgres = () => postgres.stop();
    server = postgres.url;
    // A crash may lose these databases.
    await onDatabase(server, async (client) => {
      for (const setting of ['fsync', 'full_page_writes', 'synchronous_commit']) {
        await client.query(`ALTER SYSTEM SET ${setting} = off`);
      }
      await client.query('SELECT pg_reload_conf()');
    });
  }
  process.env['LATCHKEY_TEST_SERVER'] = server;
  process.env['LATCHKEY_TEST_TEMPLATE'] = `latchkey_test_${String(process.pid)}`;
  // No test may touch the database of a developer's environment.
  delete process.env['DATABASE_URL'];
  await administer(`CREATE DATABASE "${process.env['LATCHKEY_TEST_TEMPLATE']}"`);
  await runMigrations(databaseUrl(process.env['LATCHKEY_TEST_TEMPLATE']));
}

declare global {
  var stopTestPostgres: (() => Promise<void>) | undefined;
}
