import { randomBytes } from 'node:crypto';
import { TestApp } from '../../test/support/app.ts';
import { createDatabase, onDatabase } from '../../test/support/database.ts';
import { slowHashesOf } from '../../test/support/inside.ts';
import { ServerProcess } from '../../test/support/server.ts';
import { until } from '../../test/support/sign-ins.ts';

const ROWS = 20_000;
/** Rows that a start may read of one table: far fewer than {@link ROWS}, so that no statement may scan a table. */
const FEW = 500;

const FILL = [
  `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
     allowed_ips, search_text, updated_at)
   SELECT 'partner-' || i, 'partner-' || i, 'Partner', '{}', 3600, 60, '{}', 'partner-' || i, now()
   FROM generate_series(1, ${String(ROWS)}) AS i`,
  `INSERT INTO credential (channel_user_id, label, secret_hash)
   SELECT id, 'imported', CASE WHEN username = 'partner-77' THEN '$2b$13$' ELSE '$2b$10$' END || repeat('a', 53)
   FROM channel_user`,
  `INSERT INTO credential (channel_user_id, label, secret_hash, revoked_at)
   SELECT id, 'revoked', '$2b$14$' || repeat('a', 53), now() FROM channel_user`,
  `INSERT INTO sign_in_failure (channel_user_id, since, last_at, reason, refusals)
   SELECT id, now(), now(), 'wrong_password', 1 FROM channel_user`,
  `INSERT INTO credential_usage (credential_id, hour, writer, calls, last_at)
   SELECT id, date_trunc('hour', now()), id, 1, now() FROM credential`,
  `INSERT INTO notice (id, type, once, data, created_at)
   SELECT id, 'credential.expiring', id, '{}', now() FROM channel_user`,
  `INSERT INTO channel_user_import (id, state, format, dry_run, partial, actor_type)
   VALUES ('00000000-0000-4000-8000-000000000001', 'imported', 'csv', false, false, 'cli')`,
  `INSERT INTO channel_user_import_row (import_id, row_number, username_key, account, secret_hash)
   SELECT '00000000-0000-4000-8000-000000000001', i, i, '{}', '' FROM generate_series(1, ${String(ROWS)}) AS i`,
  'ANALYZE',
];

/** Rows and index entries read since the statistics were reset, by table. */
const READ = `
  SELECT relname AS "table", (COALESCE(seq_tup_read, 0) + GREATEST(COALESCE(idx_tup_fetch, 0), (
      SELECT COALESCE(sum(idx_tup_read), 0) FROM pg_stat_user_indexes AS index
      WHERE index.relid = relation.relid)))::float8 AS read
  FROM pg_stat_user_tables AS relation`;

const OTHERS = `
  SELECT FROM pg_stat_activity
  WHERE datname = current_database() AND backend_type = 'client backend' AND pid <> pg_backend_pid()`;

describe('a start', () => {
  it('scans no table and expects the costliest stored password', async () => {
    const { url, drop } = await createDatabase();
    try {
      await onDatabase(url, async (client) => {
        for (const statement of FILL) await client.query(statement);
      });
      await onDatabase(url, (client) => client.query('SELECT pg_stat_reset()'));
      const app = await TestApp.start({ databaseUrl: url });
      const { partnerHashes } = slowHashesOf(app);
      // The costliest live hash is bcrypt of cost 13. The revoked ones have cost 14.
      expect(partnerHashes.estimatedMs).toBeGreaterThanOrEqual(16 * 30);
      await app.close();
      const read = await onDatabase(url, async (client) => {
        // A connection's statistics are complete only when it has ended.
        await until(async () => (await client.query(OTHERS)).rowCount === 0, 'the end');
        return (await client.query<{ table: string; read: number }>(READ)).rows;
      });
      expect(read.filter((row) => row.read > FEW)).toEqual([]);
    } finally {
      await drop();
    }
  });
});

/** Starts a server in a container of 256 MiB with this number of partners. */
async function startWith(
  partners: number,
  env: Record<string, string> = {},
): Promise<{ server: ServerProcess; drop: () => Promise<void> }> {
  const { url, drop } = await createDatabase();
  await onDatabase(url, (client) =>
    client.query('INSERT INTO channel_user_tally (scope, accounts) VALUES (NULL, $1)', [partners]),
  );
  const server = new ServerProcess({
    command: [
      process.execPath,
      '--import',
      `data:text/javascript,process.constrainedMemory = () => ${String(256 * 2 ** 20)}`,
      'dist/src/main.js',
    ],
    env: {
      NODE_ENV: 'development',
      DATABASE_URL: url,
      PUBLIC_URL: 'http://127.0.0.1:3000',
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      PORT: '0',
      ...env,
    },
  });
  return { server, drop };
}

describe('a start with 256 MiB of memory', () => {
  it('is refused in one sentence when the partners need more', async () => {
    const { server, drop } = await startWith(100_000);
    try {
      expect(await server.exited).toBe(1);
      expect(server.stderr).toContain(
        'Latchkey did not start. The memory limit of this process is 256 MiB, but 100000 partners in memory need about 439 MiB. Raise the limit or lower CACHE_SIZE.\n',
      );
    } finally {
      await drop();
    }
  });

  it.each([
    ['they fit', 10_000, {}],
    ['those fit that are kept in memory', 5_000_000, { CACHE_SIZE: '10000' }],
  ])('succeeds when %s', async (_, partners, env: Record<string, string>) => {
    const { server, drop } = await startWith(partners, env);
    try {
      await server.listening();
    } finally {
      await server.kill('SIGTERM');
      await drop();
    }
  });
});
