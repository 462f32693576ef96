import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { link, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { errorCode } from './embedded-error.ts';

/** The process that may start and stop the server of a data directory. */
export interface Owner {
  readonly pid: number;
  /** Start of the process. Together with the pid it identifies the process for good, since pids are reused. */
  readonly started: string;
  readonly mode: 'serve' | 'command';
  /** Device and inode of the data directory, so that a copy of a directory in use has no owner. */
  readonly directory: string;
  /** The port of its server; null until the server accepts logins. */
  readonly port: number | null;
}

/** The owner's hold on a data directory. */
export interface Ownership {
  /** Tells other processes the server's port. */
  publish(port: number): Promise<void>;
  /** Releases the directory for the next owner. */
  release(): Promise<void>;
}

/**
 * The start of a process, in a unit of the system that is good only for comparison.
 *
 * @returns undefined when no such process runs; a zombie does not count as running
 */
export async function startOf(pid: number): Promise<string | undefined> {
  if (process.platform !== 'linux') {
    const { stdout } = await promisify(execFile)('ps', ['-o', 'stat=,lstart=', '-p', String(pid)], {
      env: { LC_ALL: 'C', TZ: 'UTC', PATH: '/bin:/usr/bin' },
    }).catch(() => ({ stdout: '' }));
    const line = stdout.trim();
    return line === '' || line.startsWith('Z') ? undefined : line.replace(/^\S+\s+/, '');
  }
  try {
    // Splits after the name, which may hold parentheses. State is field 3, start in clock ticks is field 22 (proc(5)).
    const fields = (await readFile(`/proc/${String(pid)}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    // Ticks count from the boot, and after another boot the same pid may start at the same tick.
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()}/${String(fields[19])}`;
  } catch {
    return undefined;
  }
}

/**
 * Takes a data directory, unless a live process owns it.
 *
 * The `owner-<n>.json` with the highest n names the owner. `link` creates such a file complete, and only if the name is
 * free. The highest file is never removed. So when several processes find the owner dead, exactly one creates n+1.
 * Removing and creating the file again would leave a moment in which two processes succeed.
 *
 * @param dataDir an existing directory
 * @returns the ownership, or the live owner
 * @throws Error when the system does not list this process; the errors of the file system
 */
export async function acquire(dataDir: string, mode: Owner['mode']): Promise<Ownership | Owner> {
  const directory = await identityOf(dataDir);
  const started = await startOf(process.pid);
  if (started === undefined) throw new Error('this process is not listed by the system (is /proc mounted?)');
  const self: Owner = { pid: process.pid, started, mode, directory, port: null };
  for (;;) {
    const { generation, owner } = await readNewest(dataDir);
    if (owner?.directory === directory && (await startOf(owner.pid)) === owner.started) return owner;
    const name = fileName(generation + 1);
    const draft = await writeDraft(dataDir, name, self);
    try {
      await link(draft, path.join(dataDir, name));
    } catch (error) {
      // Another process was faster, and may already have removed this draft.
      if (errorCode(error) === 'EEXIST' || errorCode(error) === 'ENOENT') continue;
      throw error;
    } finally {
      await rm(draft, { force: true });
    }
    const files = (await readdir(dataDir)).filter((file) => file.startsWith('owner-'));
    if (files.some((file) => generationOf(file) > generation + 1)) {
      // This file filled a gap that a later owner left when it removed old files.
      await rm(path.join(dataDir, name), { force: true });
      continue;
    }
    await Promise.all(
      files.filter((file) => file !== name).map((file) => rm(path.join(dataDir, file), { force: true })),
    );
    return ownership(dataDir, name, self);
  }
}

function ownership(dataDir: string, name: string, self: Owner): Ownership {
  const replace = async (content: Partial<Owner>): Promise<void> => {
    await rename(await writeDraft(dataDir, name, content), path.join(dataDir, name));
  };
  return {
    publish: (port) => replace({ ...self, port }),
    release: () =>
      replace({}).catch((error: unknown) => {
        // A test may have removed the whole directory.
        if (errorCode(error) !== 'ENOENT') throw error;
      }),
  };
}

const fileName = (generation: number): string => `owner-${String(generation)}.json`;

/** 0 for a file that does not name an owner. */
const generationOf = (file: string): number => Number(/^owner-(\d+)\.json$/.exec(file)?.[1] ?? 0);

async function readNewest(dataDir: string): Promise<{ generation: number; owner: Owner | undefined }> {
  for (;;) {
    const generation = Math.max(0, ...(await readdir(dataDir)).map(generationOf));
    if (generation === 0) return { generation, owner: undefined };
    try {
      return { generation, owner: parse(await readFile(path.join(dataDir, fileName(generation)), 'utf8')) };
    } catch (error) {
      // A newer owner removed the file between the two calls.
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
}

/** @returns undefined for a released directory, and for a file that a power failure left incomplete */
function parse(text: string): Owner | undefined {
  try {
    const owner = JSON.parse(text) as Partial<Owner> | null;
    return typeof owner?.pid === 'number' ? (owner as Owner) : undefined;
  } catch {
    return undefined;
  }
}

async function writeDraft(dataDir: string, name: string, content: Partial<Owner>): Promise<string> {
  const draft = path.join(dataDir, `${name}.${randomBytes(6).toString('hex')}`);
  await writeFile(draft, `${JSON.stringify(content)}\n`, { flag: 'wx', mode: 0o600 });
  return draft;
}

/** Identifies a directory by device and inode, whatever its path. A copy differs, and a renamed directory does not. */
export async function identityOf(directory: string): Promise<string> {
  const { dev, ino } = await stat(directory, { bigint: true });
  return `${String(dev)}:${String(ino)}`;
}
