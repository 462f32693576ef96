import type { Type } from '@nestjs/common';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

/** What an application adds to Latchkey's own modules. One that stands outside of `src` is the default export of a file. */
export interface Application {
  /** Modules, besides those of `app.module.ts`. */
  readonly features?: readonly Type[];
  /** Folders of their migrations, `<timestamp>-<name>.ts`, each ending with a slash. */
  readonly migrations?: readonly URL[];
}

/** There is no application in the file that was named. */
class ApplicationError extends Error {}

/**
 * @param file with an {@link Application} as its default export, as it is after the build; absent: Latchkey alone
 * @throws ApplicationError
 */
export async function loadApplication(file: string | undefined): Promise<Application> {
  if (file === undefined) return {};
  const url = pathToFileURL(path.resolve(file)).href;
  let found: Application | undefined;
  try {
    found = ((await import(url)) as { default?: Application }).default;
  } catch (error) {
    if ((error as { code?: unknown; url?: unknown }).code !== 'ERR_MODULE_NOT_FOUND') throw error;
    if ((error as { url?: unknown }).url !== url) throw error;
    throw new ApplicationError(`There is no ${file}: it is made by the build.`);
  }
  if (typeof found !== 'object' || !(found.features ?? found.migrations)) {
    throw new ApplicationError(`${file} does not export an application as its default.`);
  }
  return found;
}
