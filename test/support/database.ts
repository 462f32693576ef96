import pg from 'pg';

const required = (name: string): string => {
  const value = process.env[name];
  if (value === undefined) throw new Error(`${name} is set by the global setup`);
  return value;
};

/** The URL of a database on the server that the tests use. */
export function databaseUrl(name: string): string {
  const url = new URL(required('LATCHKEY_TEST_SERVER'));
  url.pathname = `/${name}`;
  return url.href;
}

/** Runs `work` on a connection of its own, which sees only committed rows. */
export async function onDatabase<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** Runs statements on the server's own database. */
export async function administer(...statements: string[]): Promise<void> {
  await onDatabase(required('LATCHKEY_TEST_SERVER'), async (client) => {
    for (const statement of statements) await client.query(statement);
  });
}

/** Creates a separate database, by default a copy of the migrated template. */
export async function createDatabase({ migrated = true } = {}): Promise<{ url: string; drop: () => Promise<void> }> {
  const template = required('LATCHKEY_TEST_TEMPLATE');
  const name = `${template}_${Math.random().toString(36).slice(2, 10)}`;
  await administer(`CREATE DATABASE "${name}" TEMPLATE "${migrated ? template : 'template0'}"`);
  return { url: databaseUrl(name), drop: () => administer(`DROP DATABASE IF EXISTS "${name}" WITH (FORCE)`) };
}
