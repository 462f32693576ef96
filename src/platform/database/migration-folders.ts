import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type { MigrationInterface } from 'typeorm';

/** Latchkey's own migrations. */
export const CORE_MIGRATIONS = new URL('../../../migrations/', import.meta.url);
const SRC = new URL('../../', import.meta.url);

type MigrationClass = new () => MigrationInterface;

/** The folders with the application's migrations: `migrations/`, those of modules in `src`, and further ones. */
export class MigrationFolders {
  readonly #more: readonly URL[];

  /** @param more folders outside of `src` */
  constructor(more: readonly URL[] = []) {
    this.#more = more;
  }

  /** All folders: Latchkey's own, those of modules, and further ones. */
  async all(): Promise<URL[]> {
    const entries = await readdir(SRC, { withFileTypes: true, recursive: true });
    const found = entries
      .filter((entry) => entry.isDirectory() && entry.name === 'migrations')
      .map(({ parentPath, name }) => pathToFileURL(`${path.join(parentPath, name)}${path.sep}`));
    return [CORE_MIGRATIONS, ...found, ...this.#more];
  }
}

const FILE = /^(\d{13})-.*(?<!\.d)\.[jt]s$/;

/**
 * Loads every migration of some folders, in the order of their timestamps.
 *
 * @param folders default: `migrations/` and those of the modules in `src`
 * @throws Error when two migrations have the same timestamp, which would leave their order undefined
 */
export async function loadMigrations(folders?: readonly URL[]): Promise<MigrationClass[]> {
  const files = await Promise.all(
    (folders ?? (await new MigrationFolders().all())).map(async (folder) =>
      (await readdir(folder)).flatMap((file) => {
        const timestamp = FILE.exec(file)?.[1];
        return timestamp === undefined ? [] : [{ timestamp, file, url: new URL(file, folder).href }];
      }),
    ),
  );
  const ordered = files.flat().sort((a, b) => a.timestamp.localeCompare(b.timestamp));
  for (const [i, { timestamp, file }] of ordered.entries()) {
    const other = ordered[i + 1];
    if (other?.timestamp === timestamp) throw new Error(`Two migrations have one timestamp: ${file}, ${other.file}`);
  }
  const modules = await Promise.all(ordered.map(({ url }) => import(url) as Promise<Record<string, MigrationClass>>));
  return modules.flatMap((module) => Object.values(module));
}
