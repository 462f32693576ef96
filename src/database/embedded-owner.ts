import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { link, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { errorCode } from './embedded-error.ts';

/** Who may start and stop the server of a data directory. */
export interface Owner {
  readonly pid: number;
  /** With the pid, names the process for ever: a pid alone is given to another process sooner or later. */
  readonly started: string;
  readonly mode: 'serve' | 'command';
  /** Device and inode of the data directory: a copy of a directory in use is nobody's. */
  readonly directory: string;
  /** Where its server listens; null until it answers. */
  readonly port: number | null;
}

/** Held by the owner. */
export interface Ownership {
  /** Tells others where the server listens. */
  publish(port: number): Promise<void>;
  /** Leaves the directory to the next one. */
  release(): Promise<void>;
}

/**
 * When a process was started, in whatever unit the system has: only good for comparing.
 *
 * @returns undefined when no such process runs; one that has ended but was not waited for (a zombie) does not
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
    // After the name, which may hold anything, parentheses too: state is field 3, the start in clock ticks field 22.
    const fields = (await readFile(`/proc/${String(pid)}/stat`, 'utf8')).replace(/^.*\) /s, '').split(' ');
    if (fields[0] === 'Z' || fields[0] === 'X') return undefined;
    // The ticks count from the boot, and machines that boot alike start the same pid at the same tick.
    const boot = await readFile('/proc/sys/kernel/random/boot_id', 'utf8');
    return `${boot.trim()}/${String(fields[19])}`;
  } catch {
    return undefined;
  }
}

/**
 * Takes a data directory, unless a live process has it.
 *
 * The owner is the one named in the `owner-<n>.json` of the highest n. A file appears with its content complete
 * (link), only where none was, and the highest one is never removed: thus of any number of processes that find the
 * owner dead, or find none, exactly one creates the file n+1. Removing a dead owner's file and creating one anew
 * could not be had without a moment in which two succeed.
 *
 * @param dataDir an existing directory
 * @returns the ownership, or the live owner that stands in the way
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
      // Somebody was faster, and may already have tidied up our draft.
      if (errorCode(error) === 'EEXIST' || errorCode(error) === 'ENOENT') continue;
      throw error;
    } finally {
      await rm(draft, { force: true });
    }
    const files = (await readdir(dataDir)).filter((file) => file.startsWith('owner-'));
    if (files.some((file) => generationOf(file) > generation + 1)) {
      // We filled a gap that a later owner had left on tidying up.
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
        // The whole directory may be gone, after a test.
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
      // Superseded between the two calls.
      if (errorCode(error) !== 'ENOENT') throw error;
    }
  }
}

/** @returns undefined for what was released, and for what a power cut left of a file */
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

/** Names a directory however it is spelt: a copy has another identity, a renamed directory keeps it. */
export async function identityOf(directory: string): Promise<string> {
  const { dev, ino } = await stat(directory, { bigint: true });
  return `${String(dev)}:${String(ino)}`;
}
