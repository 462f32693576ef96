import { performance } from 'node:perf_hooks';
import { setTimeout as wait } from 'node:timers/promises';
import pg, { type ClientConfig, type Pool, type PoolClient } from 'pg';
import { DataSource, type DataSourceOptions, type EntityManager } from 'typeorm';
import { connectionOptions } from './connection-options.ts';

/** How long a request may wait for a connection. Must stay below the request deadline of 4 s. */
const CONNECT_TIMEOUT_MS = 2_000;
/** How long a migration may wait for a connection. No request waits for it. */
const MIGRATION_CONNECT_TIMEOUT_MS = 30_000;
const STATEMENT_TIMEOUT_MS = 3_000;
/** The client's own timeout, for a server that does not answer at all. Must exceed `STATEMENT_TIMEOUT_MS`. */
const QUERY_TIMEOUT_MS = 3_500;
/** How long a statement of a bulk job may take, and how long the job tries to get a connection. */
const BULK_STATEMENT_MS = 60_000;
/** Pause between the attempts of a bulk job to get a connection. */
const RECONNECT_MS = 500;

/**
 * What limits the duration of a statement. `connection`: settings that each connection sends when it starts. `role`:
 * the role's own settings, since a pooler refuses those of a connection. `none`: no limit, for migrations, which also wait longer for a connection.
 */
type Timeouts = 'connection' | 'role' | 'none';

const TIMEOUTS = {
  connection: { statement_timeout: STATEMENT_TIMEOUT_MS, query_timeout: QUERY_TIMEOUT_MS },
  role: { query_timeout: QUERY_TIMEOUT_MS },
  none: {},
} satisfies Record<Timeouts, object>;

const SESSION = {
  connection: [],
  role: undefined,
  // As session settings, since the role may have a timeout and pg omits a zero from its own options.
  none: ['statement_timeout=0', 'idle_in_transaction_session_timeout=0'],
} satisfies Record<Timeouts, string[] | undefined>;

/**
 * A connection of a pool. The pool and TypeORM listen for its errors only while it is idle or in use. Without another
 * listener, an error in between would end the process, e.g. when PostgreSQL terminates a connection in the moment in
 * which it is ready. The next query of such a connection fails, and the pool removes it.
 */
class PooledConnection extends pg.Client {
  constructor(config?: ClientConfig) {
    super(config);
    this.on('error', () => undefined);
  }
}

/**
 * The options of every pool of connections: the application's, the migrations' and the tests'.
 *
 * @param url postgres://user:password@host:port/database
 * @param poolSize highest number of connections
 * @param timeouts what limits the duration of a statement
 */
export function dataSourceOptions(url: string, poolSize: number, timeouts: Timeouts = 'connection') {
  return {
    type: 'postgres',
    applicationName: 'latchkey',
    // gen_random_uuid() is built in, so TypeORM must not install an extension.
    uuidExtension: 'pgcrypto',
    installExtensions: false,
    migrationsTableName: 'migration',
    poolSize,
    connectTimeoutMS: timeouts === 'none' ? MIGRATION_CONNECT_TIMEOUT_MS : CONNECT_TIMEOUT_MS,
    poolErrorHandler: () => undefined,
    extra: {
      Client: PooledConnection,
      keepAlive: true,
      ...TIMEOUTS[timeouts],
      ...connectionOptions(url, SESSION[timeouts]),
    },
  } satisfies DataSourceOptions;
}

/** Private members of the pool and its clients that this file relies on. */
interface PoolInternals {
  _idle?: { client: PoolClient }[];
  _remove?: (client: PoolClient) => void;
}
interface ClientInternals {
  _getActiveQuery?: () => unknown;
  readonly connectionParameters?: { query_timeout?: number };
}

/** Connections made before this time of the monotonic clock are not used again. */
const outdatedSince = new WeakMap<Pool, number>();

/**
 * Connects with the options of {@link dataSourceOptions}.
 *
 * A query that timed out in the client still runs on the server and would delay the next user of its connection. Such
 * a connection is ended, together with all idle ones, since the server or the network is probably gone.
 */
export async function connect(options: DataSourceOptions): Promise<DataSource> {
  const dataSource = await new DataSource(options).initialize();
  const pool = poolOf(dataSource);
  const madeAt = new WeakMap<PoolClient, number>();
  pool.on('connect', (client) => {
    madeAt.set(client, performance.now());
  });
  pool.on('release', (_, client: PoolClient & ClientInternals) => {
    limitQueries(client, QUERY_TIMEOUT_MS);
    const isBusy = client._getActiveQuery?.() != null;
    const isOutdated = (madeAt.get(client) ?? 0) <= (outdatedSince.get(pool) ?? -Infinity);
    if (!isBusy && !isOutdated) return;
    // The pool removes an ended connection when it is released.
    void (client as unknown as pg.Client).end().catch(() => undefined);
    if (isBusy) dropIdle(pool);
  });
  return dataSource;
}

/**
 * Replaces all connections: idle ones at once, the others when they are released. Called when the server may have
 * changed, since the old server still answers its connections after a failover.
 */
export function renewConnections(dataSource: DataSource): void {
  const pool = poolOf(dataSource);
  outdatedSince.set(pool, performance.now());
  dropIdle(pool);
}

const limitQueries = ({ connectionParameters }: ClientInternals, milliseconds: number): void => {
  if (connectionParameters?.query_timeout !== undefined) connectionParameters.query_timeout = milliseconds;
};

/**
 * Runs a transaction of a bulk job, so that one slow statement does not undo minutes of work. Each statement may take a
 * minute, and so may getting a connection. The limits of requests apply again when the connection is released.
 *
 * @param transaction opens the transaction, as `manager.transaction` does
 * @param signal ends the wait for a connection
 */
export async function bulkTransaction<T>(
  transaction: (work: (manager: EntityManager) => Promise<T>) => Promise<T>,
  work: (manager: EntityManager) => Promise<T>,
  signal?: AbortSignal,
): Promise<T> {
  const until = performance.now() + BULK_STATEMENT_MS;
  for (;;) {
    signal?.throwIfAborted();
    const progress = { hasBegun: false };
    try {
      return await transaction(async (manager) => {
        progress.hasBegun = true;
        const client = (await manager.queryRunner?.connect()) as ClientInternals | undefined;
        if (client) limitQueries(client, BULK_STATEMENT_MS + QUERY_TIMEOUT_MS - STATEMENT_TIMEOUT_MS);
        const limit = String(BULK_STATEMENT_MS);
        await manager.query(
          `SET LOCAL statement_timeout = ${limit}; SET LOCAL idle_in_transaction_session_timeout = ${limit}`,
        );
        return work(manager);
      });
    } catch (error) {
      if (progress.hasBegun || performance.now() > until) throw error;
      await wait(RECONNECT_MS);
    }
  }
}

function poolOf(dataSource: DataSource): Pool & PoolInternals {
  return (dataSource.driver as unknown as { master: Pool & PoolInternals }).master;
}

function dropIdle(pool: Pool & PoolInternals): void {
  for (const { client } of [...(pool._idle ?? [])]) pool._remove?.(client);
}
