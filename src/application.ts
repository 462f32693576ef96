import type { Type } from '@nestjs/common';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { OperatorError } from './platform/common/operator-error.ts';
import type { Demo } from './quickstart/demo.ts';

/** What an application adds to Latchkey's own modules. One outside of `src` is the default export of a file. */
export interface Application {
  /** Modules, besides those of `app.module.ts`. */
  readonly features?: readonly Type[];
  /** Folders of the modules' migrations, `<timestamp>-<name>.ts`. Each URL ends with a slash. */
  readonly migrations?: readonly URL[];
  /** A provider of one of the modules. It says what the quickstart's demo partner can try. */
  readonly demo?: Type<Demo>;
}

/** The named file contains no application. */
class ApplicationError extends OperatorError {}

/**
 * @param file a built file with an {@link Application} as its default export. If absent, Latchkey runs alone
 * @throws ApplicationError
 */
export async function loadApplication(file: string | undefined): Promise<Application> {
  if (file === undefined) return {};
  const url = pathToFileURL(path.resolve(file)).href;
  let found: Application | undefined;
  try {
    found = ((await import(url)) as { default?: Application }).default;
  } catch (error) {
    const { code, url: missing, message } = error as { code?: unknown; url?: unknown; message: string };
    if (code !== 'ERR_MODULE_NOT_FOUND') throw error;
    throw new ApplicationError(
      missing === url
        ? `There is no ${file}. Build it first: npm run build.`
        : `${file} cannot be loaded: ${message}. A module may import Latchkey only from src/extend.ts, by a ` +
            'relative path, and everything else from npm packages.',
    );
  }
  if (typeof found !== 'object' || !(found.features ?? found.migrations)) {
    throw new ApplicationError(
      `${file} must have an application as its default export: an object with features or migrations.`,
    );
  }
  return found;
}
