import { globSync, readFileSync } from 'node:fs';
import path from 'node:path';

/** The tests of a file that has no folder of its own with them, as patterns of paths, by the pattern of the file. */
const RULES: readonly [RegExp, readonly string[] | 'all'][] = [
  [/^(package(-lock)?\.json|tsconfig\.json|nest-cli\.json|test\/(jest\.config\.js|run\.ts|tsconfig\.json))$/, 'all'],
  [/^src\/(platform\/|server\/|[^/]+$)/, ['src/server/', 'test/platform/']],
  [/^migrations\//, ['test/platform/(migrations|restore|environment|list-plans)']],
  [/^src\/partner-page\//, ['test/console/']],
  [/^(console|openapi\.json)/, ['test/console/', 'src/console/', 'src/server/openapi']],
  [/^examples\//, ['examples/', 'test/platform/application']],
  [/^clients\//, ['test/packaging/client']],
  [
    /^(docs|deploy|scripts|bench)\/|^[^/]+$/,
    ['test/packaging/', 'test/security/security-page', 'src/platform/config/'],
  ],
];
const TEST = /\.(spec|e2e)\.ts$/;
/** More than this share of all test files is not worth telling apart. */
const MANY = 0.4;

/**
 * The tests of changed files: those that changed themselves, those in the folder of a changed source file, and those
 * that import a changed file of `test/support`.
 *
 * @param files paths relative to the root of the repository
 * @returns Jest's patterns of paths; `all` when most tests are concerned
 */
export function testsOf(files: readonly string[]): string[] | 'all' {
  const patterns = new Set<string>();
  for (const file of files) {
    const found = patternsOf(file);
    if (found === 'all') return 'all';
    for (const pattern of found) patterns.add(pattern);
  }
  return [...patterns];
}

function patternsOf(file: string): readonly string[] | 'all' {
  if (TEST.test(file)) return [escaped(file)];
  if (/^test\/(support|runner)\//.test(file)) return importersOf(path.basename(file));
  const rules = RULES.filter(([pattern]) => pattern.test(file)).map(([, tests]) => tests);
  if (rules.includes('all')) return 'all';
  const own = file.startsWith('src/') && path.dirname(file) !== 'src' ? [`${escaped(path.dirname(file))}/`] : [];
  return [...own, ...rules.flat()];
}

/** The test files that import a file of `test/support`, straight from it. */
function importersOf(name: string): string[] | 'all' {
  const tests = globSync(['src/**/*.{spec,e2e}.ts', 'test/**/*.{spec,e2e}.ts']);
  const importers = tests.filter((test) => readFileSync(test, 'utf8').includes(`/${name}'`));
  return importers.length > MANY * tests.length ? 'all' : importers.map(escaped);
}

const escaped = (file: string): string => RegExp.escape(file).replaceAll('\\/', '/');
