import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chown, cp, mkdtemp, open, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import pg from 'pg';
import {
  findPackage,
  installPrograms,
  SERVER_ENVIRONMENT,
  type ServerUser,
} from '../../src/platform/embedded-postgres/embedded-binaries.ts';
import { startEmbeddedPostgres } from '../../src/platform/embedded-postgres/embedded-postgres.ts';
import { freePort } from './ports.ts';
import { isRunning } from './server.ts';
import { eventually, until } from './sign-ins.ts';

/** The superuser of an embedded cluster. */
const SUPERUSER = 'latchkey';
/** The role of the server under test. It owns its database and has no other rights. */
const ROLE = 'partner_service';
const DATABASE = 'faults';

/**
 * A PostgreSQL that a test may stop, kill, freeze and fail over. It comes from the embedded server's package, so that
 * these tests need no installation.
 */
export class PostgresCluster {
  #postmaster: ChildProcess | undefined;

  private constructor(
    private readonly folder: string,
    private readonly data: string,
    private readonly programs: string,
    private readonly user: ServerUser | undefined,
    private readonly password: string,
    readonly port: number,
    private readonly settings: Record<string, string>,
  ) {}

  /** Creates and starts a new cluster with an empty database. */
  static async start(settings: Record<string, string> = {}): Promise<PostgresCluster> {
    const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-postgres-'));
    try {
      // The quickstart's code creates the cluster, which also works as root. Its server is stopped again.
      const made = await startEmbeddedPostgres({ dataDir: folder, mode: 'serve' });
      await made.stop();
      const data = path.join(folder, 'postgres');
      const { uid, gid } = await stat(data);
      const user = process.getuid?.() === 0 ? { uid, gid } : undefined;
      const programs = await installPrograms(await findPackage(), folder, user);
      const { password } = new URL(made.url);
      const cluster = new PostgresCluster(folder, data, programs, user, password, await freePort(), settings);
      await cluster.run();
      await cluster.as(
        SUPERUSER,
        `CREATE ROLE ${ROLE} LOGIN PASSWORD '${password}'`,
        `GRANT ${ROLE} TO ${SUPERUSER}`,
        `CREATE DATABASE ${DATABASE} OWNER ${ROLE}`,
      );
      return cluster;
    } catch (error) {
      await rm(folder, { recursive: true, force: true });
      throw error;
    }
  }

  /** The database URL for the server under test. */
  get url(): string {
    return `postgres://${ROLE}:${this.password}@127.0.0.1:${String(this.port)}/${DATABASE}`;
  }

  /** Creates a standby of this cluster on another port. It is read-only until it is promoted. */
  async standby(): Promise<PostgresCluster> {
    const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-standby-'));
    const data = path.join(folder, 'postgres');
    const standby = new PostgresCluster(
      folder,
      data,
      this.programs,
      this.user,
      this.password,
      await freePort(),
      this.settings,
    );
    await using client = await this.connect(SUPERUSER);
    // Makes a base backup by hand, because the package has no pg_basebackup.
    await client.query(`SELECT pg_backup_start('standby', true)`);
    await cp(this.data, data, {
      recursive: true,
      filter: (file) => !/postmaster\.(pid|opts)$/.test(file),
    });
    const { rows } = await client.query<{ labelfile: string }>('SELECT labelfile FROM pg_backup_stop(false)');
    await writeFile(path.join(data, 'backup_label'), rows[0]?.labelfile ?? '');
    await writeFile(path.join(data, 'standby.signal'), '');
    const primary = `host=127.0.0.1 port=${String(this.port)} user=${SUPERUSER} password=${this.password}`;
    await appendFile(path.join(data, 'postgresql.auto.conf'), `primary_conninfo = '${primary}'\n`);
    if (this.user) await giveAll(folder, this.user);
    await standby.run();
    await eventually(
      async () => (await this.ask("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")) || undefined,
      'the standby follows',
    );
    return standby;
  }

  /** Waits until this standby has all commits of the primary. A primary that has stopped sent them before it ended. */
  async caughtUpWith(primary: PostgresCluster): Promise<void> {
    if (!primary.isRunning) return;
    const end = String(await primary.ask('SELECT pg_current_wal_lsn()'));
    await until(
      async () => (await this.ask(`SELECT pg_last_wal_replay_lsn() >= '${end}'`)) === true,
      'the standby has everything',
    );
  }

  async promote(): Promise<void> {
    await this.as(SUPERUSER, 'SELECT pg_promote(true, 30)');
  }

  /** Starts the server, and waits until it accepts queries. */
  async run(): Promise<void> {
    const settings = Object.entries({
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      shared_buffers: '32MB',
      io_method: 'sync',
      fsync: 'off',
      port: String(this.port),
      ...this.settings,
    }).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const log = await open(path.join(this.folder, 'postgres.log'), 'a');
    try {
      // The other user may have no access to root's directories, so the server starts inside its data folder.
      this.#postmaster = spawn(path.join(this.programs, 'postgres'), ['-D', '/proc/self/cwd', ...settings], {
        cwd: this.data,
        env: SERVER_ENVIRONMENT,
        stdio: ['ignore', log.fd, log.fd],
        ...this.user,
      });
      await once(this.#postmaster, 'spawn');
    } finally {
      await log.close();
    }
    try {
      await eventually(() => this.ask('SELECT 1 AS value').catch(() => undefined), 'PostgreSQL answers', 60_000);
    } catch (error) {
      throw new Error(await readFile(path.join(this.folder, 'postgres.log'), 'utf8'), { cause: error });
    }
  }

  /** Stops the server. `immediate` acts like a power failure, after which the next start replays the log. */
  async stop(mode: 'fast' | 'immediate' = 'fast'): Promise<void> {
    const postmaster = this.#postmaster;
    if (!this.isRunning || !postmaster) return;
    const ended = once(postmaster, 'exit');
    postmaster.kill(mode === 'fast' ? 'SIGINT' : 'SIGQUIT');
    await ended;
  }

  /** Stops all processes where they are. Their sockets stay open, and the kernel still buffers what arrives. */
  async freeze(): Promise<void> {
    for (const pid of await this.#processes()) process.kill(pid, 'SIGSTOP');
  }

  async thaw(): Promise<void> {
    for (const pid of (await this.#processes()).reverse()) process.kill(pid, 'SIGCONT');
  }

  /** Makes the cluster usable again after a failed test. */
  async mend(): Promise<void> {
    if (this.isRunning) {
      await this.thaw();
      await this.administer(
        'SET default_transaction_read_only = off',
        'ALTER SYSTEM RESET default_transaction_read_only',
        'SELECT pg_reload_conf()',
      );
    } else await this.run();
  }

  get isRunning(): boolean {
    return this.#postmaster?.pid !== undefined && isRunning(this.#postmaster.pid);
  }

  /** Runs statements as the superuser in the database of the server under test. */
  async administer(...statements: string[]): Promise<void> {
    await this.as(SUPERUSER, ...statements);
  }

  /** Runs a query. @returns the only value of the only row, if there is one */
  async ask(query: string): Promise<unknown> {
    await using client = await this.connect(SUPERUSER);
    const { rows } = await client.query<Record<string, unknown>>(query);
    return rows[0] && Object.values(rows[0])[0];
  }

  /** Opens a connection that closes at the end of its scope. */
  async connect(role: typeof SUPERUSER | typeof ROLE): Promise<pg.Client & AsyncDisposable> {
    const url = new URL(this.url);
    url.username = role;
    if (role === SUPERUSER && !(await this.#hasDatabase())) url.pathname = '/latchkey';
    return connectTo(url.href);
  }

  async remove(): Promise<void> {
    if (this.isRunning) {
      await this.thaw();
      await this.stop('immediate');
    }
    await rm(this.folder, { recursive: true, force: true });
  }

  #known = false;

  async #hasDatabase(): Promise<boolean> {
    if (this.#known) return true;
    const url = new URL(this.url);
    url.username = SUPERUSER;
    url.pathname = '/latchkey';
    await using client = await connectTo(url.href);
    const { rowCount } = await client.query('SELECT FROM pg_database WHERE datname = $1', [DATABASE]);
    this.#known = rowCount === 1;
    return this.#known;
  }

  private async as(role: typeof SUPERUSER | typeof ROLE, ...statements: string[]): Promise<void> {
    await using client = await this.connect(role);
    for (const statement of statements) await client.query(statement);
  }

  /** The process ids, with the postmaster first, so that it starts no other process while its children are stopped. */
  async #processes(): Promise<number[]> {
    const { pid } = this.#postmaster ?? {};
    if (pid === undefined || !this.isRunning) return [];
    const children: number[] = [];
    for (const name of await readdir('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      const text = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
      // The line has the form `pid (name) state ppid`.
      if (text.slice(text.lastIndexOf(')') + 2).split(' ')[1] === String(pid)) children.push(Number(name));
    }
    return [pid, ...children];
  }
}

async function connectTo(connectionString: string): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({ connectionString, connectionTimeoutMillis: 5_000 });
  // A test may kill this connection.
  client.on('error', () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end().catch(() => undefined) });
}

async function giveAll(directory: string, { uid, gid }: ServerUser): Promise<void> {
  for (const entry of await readdir(directory, { recursive: true })) await chown(path.join(directory, entry), uid, gid);
  await chown(directory, uid, gid);
}
