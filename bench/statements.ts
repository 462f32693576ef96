import pg from 'pg';

/** The library must be loaded by the server: `shared_preload_libraries=pg_stat_statements`. */
export const STATEMENTS_LIBRARY = 'pg_stat_statements';

/** All executions of a statement since the last reset. */
export interface Statement {
  readonly text: string;
  readonly calls: number;
  /** Pages of 8 kB that were looked at, in memory or not, triggers included. */
  readonly buffers: number;
  readonly rows: number;
  readonly milliseconds: number;
}

/** Leaves out the benchmark's own questions and the heartbeat of each instance, which it sends at any time. */
const READ = `
  SELECT query AS text, calls::float8, (shared_blks_hit + shared_blks_read)::float8 AS buffers, rows::float8,
    total_exec_time AS milliseconds
  FROM pg_stat_statements
  WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND query NOT LIKE '%pg_stat%' AND query NOT LIKE 'SHOW transaction_read_only%'
  ORDER BY shared_blks_hit + shared_blks_read DESC`;

/** What PostgreSQL counts of the statements that reach a database. */
export class Statements implements AsyncDisposable {
  readonly #client: pg.Client;

  private constructor(client: pg.Client) {
    this.#client = client;
  }

  static async open(url: string): Promise<Statements> {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    await client.query(`CREATE EXTENSION IF NOT EXISTS ${STATEMENTS_LIBRARY}`);
    return new Statements(client);
  }

  async reset(): Promise<void> {
    await this.#client.query('SELECT pg_stat_statements_reset()');
  }

  /** The statements since the last reset, those with the most buffers first. */
  async read(): Promise<Statement[]> {
    return (await this.#client.query<Statement>(READ)).rows;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#client.end();
  }
}
