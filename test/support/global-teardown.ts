import { rm } from 'node:fs/promises';
import pg from 'pg';
import { findLeaks } from './secrets.ts';

/** Searches all kept output for every noted secret, and cleans up. */
export default async function globalTeardown(): Promise<void> {
  const { secrets, outputBytes, leaks } = findLeaks();
  const client = new pg.Client({ connectionString: process.env['LATCHKEY_TEST_SERVER'] });
  await client.connect();
  const { rows } = await client.query<{ datname: string }>(
    'SELECT datname FROM pg_database WHERE starts_with(datname, $1)',
    [process.env['LATCHKEY_TEST_TEMPLATE']],
  );
  for (const { datname } of rows) await client.query(`DROP DATABASE IF EXISTS "${datname}" WITH (FORCE)`);
  await client.end();
  await globalThis.stopTestPostgres?.();
  await rm(process.env['LATCHKEY_TEST_DIR'] ?? '', { recursive: true, force: true });
  if (leaks.length > 0) {
    throw new Error(
      `${String(leaks.length)} of ${String(secrets)} secrets are in the output, after:\n${leaks.join('\n')}`,
    );
  }
  process.stdout.write(
    `\nNone of the ${String(secrets)} secrets used is in the ${String(outputBytes)} bytes of output.\n`,
  );
}
