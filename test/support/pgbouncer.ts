import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ForeignProcess, give, removeFolder, serverFolder } from './foreign-process.ts';
import { freePort } from './ports.ts';

const PROGRAM = '/usr/sbin/pgbouncer';

/** Debian's PgBouncer, with transaction pooling. */
export class PgBouncer {
  readonly #target: URL;
  readonly #port: number;
  readonly #folder: string;
  #process: ForeignProcess | undefined;

  private constructor(target: URL, port: number, folder: string) {
    this.#target = target;
    this.#port = port;
    this.#folder = folder;
  }

  /**
   * @param databaseUrl the database to which PgBouncer connects
   * @param serverConnections the limit of connections to the database. Few, so that clients share them
   */
  static async start(databaseUrl: string, serverConnections: number): Promise<PgBouncer> {
    const bouncer = new PgBouncer(new URL(databaseUrl), await freePort(), await serverFolder('pgbouncer'));
    try {
      await bouncer.#configure(serverConnections);
      await bouncer.run();
      return bouncer;
    } catch (error) {
      await bouncer.remove();
      throw error;
    }
  }

  /** The URL of the database through PgBouncer. */
  get url(): string {
    const url = new URL(this.#target);
    url.host = `127.0.0.1:${String(this.#port)}`;
    return url.href;
  }

  async run(): Promise<void> {
    this.#process = await ForeignProcess.start(PROGRAM, [this.#settings], this.#port);
  }

  /** Kills the process, which breaks its clients' connections. */
  async kill(): Promise<void> {
    await this.#process?.stop('SIGKILL');
  }

  /** Starts another process at the same port. The old one finishes its transactions and ends. */
  async replace(): Promise<void> {
    const before = this.#process;
    await this.run();
    await before?.stop('SIGINT');
  }

  async remove(): Promise<void> {
    await this.#process?.stop('SIGKILL');
    await removeFolder(this.#folder);
  }

  get #settings(): string {
    return path.join(this.#folder, 'pgbouncer.ini');
  }

  async #configure(serverConnections: number): Promise<void> {
    const { hostname, port, username, password, pathname } = this.#target;
    const users = path.join(this.#folder, 'users.txt');
    const user = decodeURIComponent(username);
    await writeFile(users, `"${user}" "${decodeURIComponent(password)}"\n`);
    await writeFile(
      this.#settings,
      `[databases]
${pathname.slice(1)} = host=${hostname} port=${port || '5432'}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${String(this.#port)}
so_reuseport = 1
unix_socket_dir =
auth_type = trust
auth_file = ${users}
admin_users = ${user}
pool_mode = transaction
default_pool_size = ${String(serverConnections)}
max_client_conn = 200
query_wait_timeout = 3
`,
    );
    for (const file of [users, this.#settings]) await give(file);
  }
}
