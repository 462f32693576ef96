import { existsSync } from 'node:fs';

/**
 * `describe` for tests that need Debian's programs. Without the programs, skips the tests, but lets them fail in CI.
 *
 * @param files the paths of the programs
 */
export function describeWith(...files: string[]): jest.Describe {
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length === 0 || process.env['CI'] === 'true') return describe;
  process.stdout.write(`What needs ${missing.join(' and ')} is skipped: this machine does not have it\n`);
  return describe.skip;
}
