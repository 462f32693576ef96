import type { Client, Pool, PoolClient } from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';

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

/** What the pool and its clients do not show. */
interface PoolInternals {
  _idle?: { client: PoolClient }[];
  _remove?: (client: PoolClient) => void;
}
interface ClientInternals {
  _getActiveQuery?: () => unknown;
}

/**
 * Connects, as {@link dataSourceOptions} says.
 *
 * A query that timed out on this side still runs on the other, so that whoever got its connection next would wait for
 * it: such a connection is ended, and the idle ones with it, since the server or the way to it is likely to be gone.
 */
export async function connect(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = await new DataSource(options).initialize();
  const { master: pool } = dataSource.driver as unknown as { master: Pool & PoolInternals };
  pool.on('release', (_, client: PoolClient & ClientInternals) => {
    if (client._getActiveQuery?.() == null) return;
    // Not queryable any more: the pool drops it now.
    void (client as unknown as Client).end().catch(() => undefined);
    for (const { client: idle } of [...(pool._idle ?? [])]) pool._remove?.(idle);
  });
  return dataSource;
}
