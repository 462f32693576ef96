import { readdir } from 'node:fs/promises';
import type { MigrationInterface } from 'typeorm';

/** The schema of Latchkey's own modules. */
export const CORE_MIGRATIONS = new URL('../../migrations/', import.meta.url);
const FEATURES = new URL('../', import.meta.url);

type MigrationClass = new () => MigrationInterface;

/** Where the migrations of the running application are: in `migrations/`, in the folders of its modules, and elsewhere. */
export class MigrationFolders {
  readonly #more: readonly URL[];

  /** @param more folders outside of `src` */
  constructor(more: readonly URL[] = []) {
    this.#more = more;
  }

  /** Every folder. */
  async all(): Promise<URL[]> {
    const features = await readdir(FEATURES, { withFileTypes: true });
    const found = await Promise.all(
      features
        .filter((entry) => entry.isDirectory())
        .map(async ({ name }) => {
          const entries = await readdir(new URL(`${name}/`, FEATURES), { withFileTypes: true });
          const has = entries.some((entry) => entry.isDirectory() && entry.name === 'migrations');
          return has ? [new URL(`${name}/migrations/`, FEATURES)] : [];
        }),
    );
    return [CORE_MIGRATIONS, ...found.flat(), ...this.#more];
  }
}

const FILE = /^(\d{13})-.*(?<!\.d)\.[jt]s$/;

/**
 * Every migration of some folders, in the order of their timestamps.
 *
 * @param folders those of `migrations/` and of the modules unless said otherwise
 * @throws Error where two have the same timestamp: their order would be an accident
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
