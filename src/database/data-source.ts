import { performance } from 'node:perf_hooks';
import type { Client, Pool, PoolClient } from 'pg';
import { DataSource, type DataSourceOptions } from 'typeorm';

/** How long a request may wait for a connection; the deadline of a request is 4 s. */
const CONNECT_TIMEOUT_MS = 2_000;
const STATEMENT_TIMEOUT_MS = 3_000;
/** On the client's side, for a server that does not answer at all. */
const QUERY_TIMEOUT_MS = 3_500;

/**
 * Who limits how long a statement takes. `connection`: each connection asks for it when it starts. `role`: the role's
 * own settings, since a pooler refuses what a connection asks for. `none`: nobody, for migrations.
 */
type Timeouts = 'connection' | 'role' | 'none';

const TIMEOUTS = {
  connection: { statement_timeout: STATEMENT_TIMEOUT_MS, query_timeout: QUERY_TIMEOUT_MS },
  role: { query_timeout: QUERY_TIMEOUT_MS },
  // Said aloud: the role may have one. pg would leave out a zero.
  none: { options: '-c statement_timeout=0 -c idle_in_transaction_session_timeout=0' },
} satisfies Record<Timeouts, object>;

/**
 * The options of every connection to the database: the application's, the migrations' and the tests'.
 *
 * @param url postgres://user:password@host:port/database
 * @param poolSize connections kept at most
 */
export function dataSourceOptions(url: string, poolSize: number, timeouts: Timeouts = 'connection') {
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
      ...TIMEOUTS[timeouts],
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

/** Connections that were made before this moment are not used again, on the monotonic clock. */
const outdatedSince = new WeakMap<Pool, number>();

/**
 * Connects, as {@link dataSourceOptions} says.
 *
 * A query that timed out on this side still runs on the other, so that whoever got its connection next would wait for
 * it: such a connection is ended, and the idle ones with it, since the server or the way to it is likely to be gone.
 */
export async function connect(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = await new DataSource(options).initialize();
  const pool = poolOf(dataSource);
  const madeAt = new WeakMap<PoolClient, number>();
  pool.on('connect', (client) => {
    madeAt.set(client, performance.now());
  });
  pool.on('release', (_, client: PoolClient & ClientInternals) => {
    const isBusy = client._getActiveQuery?.() != null;
    const isOutdated = (madeAt.get(client) ?? 0) <= (outdatedSince.get(pool) ?? -Infinity);
    if (!isBusy && !isOutdated) return;
    // Not queryable any more: the pool drops it now.
    void (client as unknown as Client).end().catch(() => undefined);
    if (isBusy) dropIdle(pool);
  });
  return dataSource;
}

/**
 * Makes all connections anew: the idle ones end at once, the others when what they are used for is done. For when the
 * server may have become another: what is connected to the old one is still answered by it after a failover.
 */
export function renewConnections(dataSource: DataSource): void {
  const pool = poolOf(dataSource);
  outdatedSince.set(pool, performance.now());
  dropIdle(pool);
}

function poolOf(dataSource: DataSource): Pool & PoolInternals {
  return (dataSource.driver as unknown as { master: Pool & PoolInternals }).master;
}

function dropIdle(pool: Pool & PoolInternals): void {
  for (const { client } of [...(pool._idle ?? [])]) pool._remove?.(client);
}
