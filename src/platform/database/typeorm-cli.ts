import { glob } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { DataSource } from 'typeorm';
import { loadConfig } from '../config/config.ts';
import { ignorePostgresVariables } from '../config/postgres-variables.ts';
import { dataSourceOptions } from './data-source.ts';
import { loadMigrations } from './migration-folders.ts';

/** The DataSource of `npm run migration:generate`, which compares its schema with the entities. */
async function createDataSource(): Promise<DataSource> {
  ignorePostgresVariables(process.env);
  const { databaseUrl, databaseDirectUrl = databaseUrl } = loadConfig(process.env);
  if (databaseDirectUrl === undefined) throw new Error('Set DATABASE_URL to a database with the newest schema.');
  const entities = await Array.fromAsync(glob(fileURLToPath(new URL('../../**/*.entity.js', import.meta.url))));
  return new DataSource({
    ...dataSourceOptions(databaseDirectUrl, 2, 'none'),
    entities,
    migrations: await loadMigrations(),
  });
}

export default createDataSource();
