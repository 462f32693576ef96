import { stat } from 'node:fs/promises';
import path from 'node:path';
import {
  findPackage,
  installPrograms,
  SERVER_ENVIRONMENT,
} from '../src/platform/embedded-postgres/embedded-binaries.ts';
import { startEmbeddedPostgres } from '../src/platform/embedded-postgres/embedded-postgres.ts';
import { ForeignProcess } from '../test/support/foreign-process.ts';
import { freePort } from '../test/support/ports.ts';
import { withClient } from './database.ts';

/** A Redis for the benchmark, without persistence. */
export class OwnRedis implements AsyncDisposable {
  readonly port: number;
  #process: ForeignProcess;

  private constructor(port: number, process: ForeignProcess) {
    this.port = port;
    this.#process = process;
  }

  static async start(): Promise<OwnRedis> {
    const port = await freePort();
    return new OwnRedis(port, await OwnRedis.#spawn(port));
  }

  static #spawn(port: number): Promise<ForeignProcess> {
    const args = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--dir', '/tmp'];
    return ForeignProcess.start('redis-server', args, port);
  }

  get url(): string {
    return `redis://127.0.0.1:${String(this.port)}`;
  }

  /** Like a crash, which loses the counters. */
  async restart(): Promise<void> {
    await this.#process.stop('SIGKILL');
    this.#process = await OwnRedis.#spawn(this.port);
  }

  freeze(): void {
    this.#process.signal('SIGSTOP');
  }

  thaw(): void {
    this.#process.signal('SIGCONT');
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop('SIGKILL');
  }
}

/** A cluster of the packaged PostgreSQL for the benchmark, always at the same port. */
export class OwnPostgres implements AsyncDisposable {
  readonly url: string;
  readonly #start: () => Promise<ForeignProcess>;
  #process: ForeignProcess;

  private constructor(url: string, start: () => Promise<ForeignProcess>, process: ForeignProcess) {
    this.url = url;
    this.#start = start;
    this.#process = process;
  }

  /**
   * @param folder empty; it keeps the data
   * @param more settings of PostgreSQL
   */
  static async start(folder: string, more: Readonly<Record<string, string>> = {}): Promise<OwnPostgres> {
    // The quickstart's code creates the cluster, also as root. The server that it starts is stopped again.
    const made = await startEmbeddedPostgres({ dataDir: folder, mode: 'serve' });
    await made.stop();
    const data = path.join(folder, 'postgres');
    const { uid, gid } = await stat(data);
    const user = process.getuid?.() === 0 ? { uid, gid } : undefined;
    const programs = await installPrograms(await findPackage(), folder, user);
    const port = await freePort();
    const url = new URL(made.url);
    url.port = String(port);
    const settings = {
      port: String(port),
      listen_addresses: '127.0.0.1',
      unix_socket_directories: '',
      shared_buffers: '256MB',
      io_method: 'sync',
      ...more,
    };
    // The other user cannot read root's folder, so the data goes where the quickstart puts it.
    const args = [
      '-D',
      '/proc/self/cwd',
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ];
    const start = (): Promise<ForeignProcess> =>
      ForeignProcess.start(path.join(programs, 'postgres'), args, port, {
        cwd: data,
        env: SERVER_ENVIRONMENT,
        ...user,
      });
    return new OwnPostgres(url.href, start, await start());
  }

  /** Like an administrator's restart, which ends sessions in progress. */
  async restart(): Promise<void> {
    await this.#process.stop('SIGINT');
    this.#process = await this.#start();
  }

  /** Ends every connection of the application, including those that listen. */
  async endConnections(): Promise<void> {
    await withClient(this.url, (client) =>
      client.query('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1', [
        'latchkey%',
      ]),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#process.stop('SIGINT');
  }
}
