import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { interruption } from './terminal.ts';

/** The core of the measured server, exclusive as far as the machine allows. */
export const SERVER_CORE = 0;
/** The core of the load generator and the rest of the benchmark. PostgreSQL is pinned to neither core. */
export const GENERATOR_CORE = 1;

export const ROOT = path.join(import.meta.dirname, '..');

const START_TIMEOUT_MS = 60_000;
const STOP_TIMEOUT_MS = 15_000;
const POLL_MS = 2;

/** Moves this process and its future children to the generator's core. */
export function pinToGeneratorCore(): void {
  execFileSync('taskset', ['-a', '-c', '-p', String(GENERATOR_CORE), String(process.pid)], { stdio: 'ignore' });
}

/** How a server is started. It must print `Listening on <origin>` once it serves. */
export interface ServerDefinition {
  readonly name: string;
  /** Node's arguments, from the root of the repository. */
  readonly args: readonly string[];
  /** The whole environment, except PATH, HOST, PORT and NODE_ENV. */
  readonly env: Readonly<Record<string, string>>;
  /** The folder of a control group in which it runs from its first instruction on. */
  readonly controlGroup?: string | undefined;
}

/** A shell script that enters a control group and becomes the program of the other arguments. */
const ENTER = 'echo $$ > "$0/cgroup.procs" && exec "$@"';

/** A server on its own core, in production mode, logging to a file as it would to a collector. */
export class ServerProcess implements AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  readonly #child: ChildProcess;
  readonly #logFile: string;
  readonly #startedAt: number;
  #origin = '';
  #startMs = 0;

  private constructor({ name, args, env, controlGroup }: ServerDefinition, folder: string) {
    this.name = name;
    this.#logFile = path.join(folder, `${name.replaceAll(/\W+/g, '-')}-${String(Date.now())}.log`);
    const log = openSync(this.#logFile, 'a');
    this.#startedAt = performance.now();
    const pinned = ['taskset', '-c', String(SERVER_CORE), process.execPath, ...args];
    const [program = '', ...rest] = controlGroup === undefined ? pinned : ['sh', '-c', ENTER, controlGroup, ...pinned];
    // Each replaces itself with the next, so this process id is the server's.
    this.#child = spawn(program, rest, {
      cwd: ROOT,
      env: { PATH: process.env['PATH'], HOST: '127.0.0.1', PORT: '0', NODE_ENV: 'production', ...env },
      stdio: ['ignore', log, log],
      // Ctrl-C reaches every process of a group. The server ends when the benchmark has read what it needs.
      detached: true,
    });
    closeSync(log);
    if (this.#child.pid === undefined) throw new Error(`${name} was not started: is taskset installed?`);
    this.pid = this.#child.pid;
  }

  /**
   * Starts a server and waits until it serves.
   *
   * @param folder where its log goes
   * @throws Error with the end of its log when it does not come up
   */
  static async start(definition: ServerDefinition, folder: string): Promise<ServerProcess> {
    const server = new ServerProcess(definition, folder);
    try {
      await server.#waitUntilItServes();
      return server;
    } catch (error) {
      await server.#stop();
      throw error;
    }
  }

  /** The server's origin: scheme, address and port. */
  get origin(): string {
    return this.#origin;
  }

  /** Milliseconds from the start of the process until it served. */
  get startMs(): number {
    return this.#startMs;
  }

  /** Milliseconds since the start of the process. */
  get ageMs(): number {
    return performance.now() - this.#startedAt;
  }

  async #waitUntilItServes(): Promise<void> {
    while (this.ageMs < START_TIMEOUT_MS) {
      interruption.throwIfAborted();
      const origin = /^Listening on (\S+)$/m.exec(readFileSync(this.#logFile, 'utf8'))?.[1];
      if (origin !== undefined) {
        this.#startMs = this.ageMs;
        this.#origin = origin;
        return;
      }
      if (this.#hasEnded) break;
      await sleep(POLL_MS);
    }
    throw new Error(`${this.name} does not serve:\n${this.#endOfLog}`);
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null;
  }

  get #endOfLog(): string {
    return readFileSync(this.#logFile, 'utf8').slice(-4000);
  }

  /** Stops the server. @throws Error with the end of its log if it had exited already, or did not exit cleanly */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#stop();
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== 0 && signalCode !== 'SIGTERM') {
      throw new Error(`${this.name} ended with ${String(exitCode ?? signalCode)}:\n${this.#endOfLog}`);
    }
  }

  /** Kills the server if it does not exit by itself. */
  async #stop(): Promise<void> {
    if (this.#hasEnded) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGTERM');
    const kill = setTimeout(() => this.#child.kill('SIGKILL'), STOP_TIMEOUT_MS);
    await exited;
    clearTimeout(kill);
  }
}
