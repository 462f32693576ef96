import { readFileSync } from 'node:fs';
import { open, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { EmbeddedPostgresError } from './embedded-error.ts';

export type Mode = 'serve' | 'command';

interface OwnerFile {
  readonly pid: number;
  /** Kernel ticks since boot: tells a process from a later one with the same pid. */
  readonly startTime: string | null;
  readonly mode: Mode;
  /** Of the server, once it answers. */
  readonly port: number | null;
}

/** How long a start waits for a command to finish, or a command for a server to come up. */
const PATIENCE_MS = 15_000;
/** Taking over from a dead owner takes milliseconds; a marker older than this was left by a crash. */
const TAKEOVER_MS = 5_000;

/** Whether a process exists; one of another user counts. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function startTimeOf(pid: number): string | null {
  try {
    const fields = readFileSync(`/proc/${String(pid)}/stat`, 'utf8');
    // The command may contain spaces and parentheses; the 22nd field is the 20th after it.
    return fields.slice(fields.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** A lock file that says which live process runs the server of a data directory. */
export class Ownership {
  readonly #file: string;
  readonly #mode: Mode;

  private constructor(file: string, mode: Mode) {
    this.#file = file;
    this.#mode = mode;
  }

  /**
   * Becomes the owner of a data directory, or finds the one there is.
   *
   * @returns the ownership, or the port of the server that another live process owns (only for `command`)
   * @throws EmbeddedPostgresError when another process owns it
   */
  static async acquire(dataDir: string, mode: Mode): Promise<Ownership | number> {
    const file = path.join(dataDir, 'owner.json');
    const end = Date.now() + PATIENCE_MS;
    for (;;) {
      const ownership = new Ownership(file, mode);
      if (await ownership.#create()) return ownership;
      const owner = await read(file);
      if (owner === undefined || !isOwnerAlive(owner)) {
        await takeOver(file);
        continue;
      }
      if (mode === 'command' && owner.port !== null) return owner.port;
      if ((mode === 'serve' && owner.mode === 'serve') || Date.now() > end) {
        throw new EmbeddedPostgresError(
          `Another Latchkey (process ${String(owner.pid)}) already runs the database in ${dataDir}. Stop it, or give this one another LATCHKEY_DATA_DIR.`,
        );
      }
      await delay(100);
    }
  }

  /** Tells commands where the server is. */
  async announce(port: number): Promise<void> {
    const temporary = `${this.#file}.${String(process.pid)}`;
    await writeFile(temporary, this.#content(port), { mode: 0o600 });
    await rename(temporary, this.#file);
  }

  async release(): Promise<void> {
    await rm(this.#file, { force: true });
  }

  async #create(): Promise<boolean> {
    try {
      const handle = await open(this.#file, 'wx', 0o600);
      try {
        await handle.writeFile(this.#content(null));
      } finally {
        await handle.close();
      }
      return true;
    } catch (error) {
      if (codeOf(error) === 'EEXIST') return false;
      throw error;
    }
  }

  #content(port: number | null): string {
    const owner: OwnerFile = { pid: process.pid, startTime: startTimeOf(process.pid), mode: this.#mode, port };
    return `${JSON.stringify(owner)}\n`;
  }
}

function isOwnerAlive({ pid, startTime }: OwnerFile): boolean {
  return isAlive(pid) && (startTime === null || startTime === startTimeOf(pid));
}

async function read(file: string): Promise<OwnerFile | undefined> {
  // Another process may be between creating the file and writing it.
  for (let attempt = 0; attempt < 10; attempt++) {
    try {
      return JSON.parse(await readFile(file, 'utf8')) as OwnerFile;
    } catch {
      await delay(20);
    }
  }
  return undefined;
}

/** Removes a dead owner's file; a marker keeps two processes from removing each other's new one. */
async function takeOver(file: string): Promise<void> {
  const marker = `${file}.takeover`;
  try {
    await (await open(marker, 'wx', 0o600)).close();
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error;
    const age = await stat(marker).then(
      ({ mtimeMs }) => Date.now() - mtimeMs,
      () => 0,
    );
    if (age > TAKEOVER_MS) await rm(marker, { force: true });
    await delay(50);
    return;
  }
  try {
    const owner = await read(file);
    if (owner === undefined || !isOwnerAlive(owner)) await rm(file, { force: true });
  } finally {
    await rm(marker, { force: true });
  }
}
