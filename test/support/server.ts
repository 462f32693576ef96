import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import path from 'node:path';

export interface ServerOptions {
  /** The command to run, by default the built server. */
  command?: string[];
  /** The whole environment except PATH and HOME. */
  env: Record<string, string>;
  cwd?: string;
}

/** Where the processes of the tests keep compiled modules for one another. */
const CACHE = path.resolve('node_modules/.cache/latchkey-tests');

/** A process of Latchkey, started as from a terminal. */
export class ServerProcess {
  stdout = '';
  stderr = '';
  readonly #child: ChildProcess;
  readonly exited: Promise<number | NodeJS.Signals>;

  constructor({ command = [process.execPath, 'dist/src/main.js'], env, cwd }: ServerOptions) {
    const [file = '', ...args] = command;
    // The process gets its own group, like a job of a shell, so that Ctrl-C reaches the whole group.
    this.#child = spawn(file, args, {
      env: {
        PATH: process.env['PATH'] ?? '',
        HOME: process.env['HOME'] ?? '',
        NODE_COMPILE_CACHE: CACHE,
        ...env,
      },
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: true,
      ...(cwd !== undefined && { cwd }),
    });
    this.#child.stdout?.on('data', (chunk: Buffer) => (this.stdout += chunk.toString()));
    this.#child.stderr?.on('data', (chunk: Buffer) => (this.stderr += chunk.toString()));
    this.exited = once(this.#child, 'close').then(([code, signal]) => (code ?? signal) as number | NodeJS.Signals);
  }

  get pid(): number {
    if (this.#child.pid === undefined) throw new Error('The process did not start');
    return this.#child.pid;
  }

  /** The lines of standard output without the log. */
  get lines(): string[] {
    return this.stdout.split('\n').filter((line) => line !== '' && !line.startsWith('{'));
  }

  /** The rest of the only line that starts with a text. */
  line(start: string): string {
    const found = this.lines.filter((line) => line.startsWith(start));
    if (found.length !== 1) throw new Error(`${String(found.length)} lines start with "${start}"`);
    return found[0]?.slice(start.length) ?? '';
  }

  /** Waits until the server serves. @returns its URL */
  async listening(timeoutMs = 60_000): Promise<string> {
    const end = Date.now() + timeoutMs;
    while (Date.now() < end) {
      const url = /^Listening on (\S+)$/m.exec(this.stdout)?.[1];
      if (url !== undefined) return url;
      if (this.#child.exitCode !== null || this.#child.signalCode !== null) break;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`The server does not serve:\n${this.stdout}\n${this.stderr}`);
  }

  /** Stops reading standard output, which closes the pipe. */
  closeStdout(): void {
    this.#child.stdout?.destroy();
  }

  /** Sends SIGINT to the whole group, as Ctrl-C does. @returns the exit code */
  async interrupt(): Promise<number | NodeJS.Signals> {
    process.kill(-this.pid, 'SIGINT');
    return this.exited;
  }

  async kill(signal: NodeJS.Signals): Promise<number | NodeJS.Signals> {
    process.kill(this.pid, signal);
    return this.exited;
  }
}

/** Whether a process runs. A zombie, which has ended and was not waited for, does not. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/\) [ZX] /.test(readFileSync(`/proc/${String(pid)}/stat`, 'utf8'));
  } catch (error) {
    // Only Linux has /proc. Elsewhere, a process that takes the signal counts as running.
    return (error as NodeJS.ErrnoException).code === 'ENOENT' && process.platform !== 'linux';
  }
}
