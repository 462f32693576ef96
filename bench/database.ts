import pg from 'pg';

const DEFAULT_SERVER = 'postgres://postgres@127.0.0.1:5432/postgres';

/** A database for the benchmark. */
export interface BenchDatabase extends AsyncDisposable {
  readonly url: string;
}

/** Not DATABASE_URL, because databases are created and dropped on this server. */
const serverUrl = (): string => process.env['BENCH_DATABASE_URL'] ?? DEFAULT_SERVER;

/** Runs work on a connection that is closed after it. */
export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** @returns the version of the PostgreSQL server */
export function postgresVersion(): Promise<string> {
  return withClient(serverUrl(), async (client) => {
    const { rows } = await client.query<{ server_version: string }>('SHOW server_version');
    return rows[0]?.server_version ?? 'unknown';
  });
}

/** Creates an empty database that is dropped on disposal. @param label lower-case letters and digits */
export async function createDatabase(label: string): Promise<BenchDatabase> {
  const name = `latchkey_bench_${String(process.pid)}_${label}`;
  await withClient(serverUrl(), (client) => client.query(`CREATE DATABASE "${name}"`));
  const url = new URL(serverUrl());
  url.pathname = `/${name}`;
  return {
    url: url.href,
    [Symbol.asyncDispose]: async () => {
      await withClient(serverUrl(), (client) => client.query(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`));
    },
  };
}
