import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Client } from 'pg';
import { passwordSql, SCOPES, USERNAME_PREFIX } from './accounts.ts';
import { withClient } from './database.ts';
import { ROOT } from './server-process.ts';
import { latchkeyEnvironment } from './variants.ts';

const run = promisify(execFile);

/** Seconds, longer than a whole run. */
const TOKEN_TTL_SECONDS = 7200;
/** High enough that the issuance limit never limits the run. */
const TOKENS_PER_MINUTE = 1_000_000;

/** Migrates a database to the newest schema with Latchkey's own command. */
export async function migrate(databaseUrl: string): Promise<void> {
  await run(process.execPath, ['dist/src/cli.js', 'migrate', 'run'], {
    cwd: ROOT,
    env: { PATH: process.env['PATH'], NODE_ENV: 'production', ...latchkeyEnvironment(databaseUrl) },
  });
}

/** Drops the indexes of tables that are not unique, and builds them again after the work: filling them takes longer. */
export async function withoutIndexes(
  client: Client,
  tables: readonly string[],
  work: () => Promise<unknown>,
): Promise<void> {
  const { rows: indexes } = await client.query<{ name: string; definition: string }>(
    `SELECT indexrelid::regclass::text AS name, pg_get_indexdef(indexrelid) AS definition FROM pg_index
      WHERE indrelid = ANY ($1::regclass[]) AND NOT indisunique`,
    [tables],
  );
  for (const { name } of indexes) await client.query(`DROP INDEX ${name}`);
  await work();
  for (const { definition } of indexes) await client.query(definition);
}

/**
 * Makes channel users with one generated credential each, see `accounts.ts`. No server may be running on the
 * database: the triggers on credentials are off meanwhile, which saves time.
 */
export async function seedChannelUsers(databaseUrl: string, count: number): Promise<void> {
  await withClient(databaseUrl, async (client) => {
    await client.query('BEGIN');
    await client.query('SET LOCAL synchronous_commit = off');
    await withoutIndexes(client, ['channel_user'], async () => {
      await client.query('ALTER TABLE credential DISABLE TRIGGER USER');
      await client.query(
        `INSERT INTO channel_user (username, username_key, display_name, scopes, token_ttl_seconds, tokens_per_minute,
          allowed_ips, search_text, updated_at)
        SELECT name, name, 'Partner ' || n, $2, $3, $4, '{}', name || ' partner ' || n, now()
        FROM generate_series(1, $1::integer) AS n, concat($5::text, n) AS name`,
        [count, SCOPES, TOKEN_TTL_SECONDS, TOKENS_PER_MINUTE, USERNAME_PREFIX],
      );
      await client.query(
        `INSERT INTO credential (channel_user_id, label, fingerprint, secret_hash)
        SELECT id, 'bench', left(encode(digest, 'hex'), 8),
          '$sha256$' || rtrim(translate(encode(digest, 'base64'), '+/', '-_'), '=')
        FROM channel_user, substr(username, ${String(USERNAME_PREFIX.length + 1)}) AS n,
          sha256(convert_to(${passwordSql('n')}, 'UTF8')) AS digest`,
      );
      await client.query('ALTER TABLE credential ENABLE TRIGGER USER');
    });
    await client.query('COMMIT');
    await client.query('VACUUM ANALYZE');
  });
}
