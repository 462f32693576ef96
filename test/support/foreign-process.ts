import { type ChildProcess, execFileSync, spawn, type SpawnOptions } from 'node:child_process';
import { once } from 'node:events';
import { chown, mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';

/** The unprivileged user for third-party servers. Nothing if the tests do not run as root. */
function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const id = (flag: string): number => Number(execFileSync('id', [flag, 'nobody'], { encoding: 'utf8' }));
  return { uid: id('-u'), gid: id('-g') };
}

/** Creates a folder in which such a server can write. */
export async function serverFolder(name: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), `latchkey-${name}-`));
  await give(folder);
  return folder;
}

/** Makes the server the owner of a file or folder. */
export async function give(file: string): Promise<void> {
  const user = unprivileged();
  if (user) await chown(file, user.uid, user.gid);
}

async function accepts(port: number): Promise<boolean> {
  const socket = net.connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A third-party server, which runs in the foreground and without privileges. */
export class ForeignProcess {
  readonly #name: string;
  readonly #child: ChildProcess;
  #output = '';
  readonly exited: Promise<unknown>;

  private constructor(name: string, file: string, args: string[], options: SpawnOptions) {
    this.#name = name;
    this.#child = spawn(file, args, {
      env: { PATH: process.env['PATH'], LC_ALL: 'C' },
      stdio: ['ignore', 'pipe', 'pipe'],
      ...unprivileged(),
      ...options,
    });
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.#output = (this.#output + chunk.toString()).slice(-8_000)));
    }
    this.exited = once(this.#child, 'close').catch(() => undefined);
  }

  /** @returns once it accepts connections at the port */
  static async start(
    file: string,
    args: string[],
    port: number,
    options: Pick<SpawnOptions, 'cwd' | 'env' | 'uid' | 'gid'> = {},
  ): Promise<ForeignProcess> {
    const started = new ForeignProcess(path.basename(file), file, args, options);
    for (const end = Date.now() + 30_000; Date.now() < end;) {
      if (started.#hasEnded) break;
      if (await accepts(port)) return started;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    await started.stop('SIGKILL');
    throw new Error(`${started.#name} does not serve: ${started.#output}`);
  }

  get #hasEnded(): boolean {
    return this.#child.exitCode !== null || this.#child.signalCode !== null || this.#child.pid === undefined;
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (!this.#hasEnded) this.#child.kill(signal);
    await this.exited;
  }
}

export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });
