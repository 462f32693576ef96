/**
 * Runs test files as Node runs any module, instead of in a `vm` context with modules of its own for each file. A worker
 * then loads the application once, not once a file, which is most of what a short test file costs. Mocks of modules,
 * which the tests do not use, are not possible this way.
 */
import JestRuntime from 'jest-runtime';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';
import { sourceMaps } from './typescript.mjs';

const require = createRequire(import.meta.url);

// Nothing is open any more. A worker that takes its heap apart misses the half second after which Jest ends it.
const { exit } = process;
process.once('beforeExit', () => exit.call(process));

export default class NativeRuntime extends JestRuntime {
  /** Jest's test framework, anew for each file since it keeps the tests and hooks that a file has declared. */
  requireInternalModule(from) {
    delete require.cache[from];
    return require(from);
  }

  unstable_shouldLoadAsEsm() {
    return true;
  }

  unstable_importModule(from) {
    return import(pathToFileURL(from).href);
  }

  /** Files with the source map of each module, by the module's URL. */
  getSourceMaps() {
    return sourceMaps;
  }
}
