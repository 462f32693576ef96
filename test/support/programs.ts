import { existsSync } from 'node:fs';

/**
 * `describe` for what needs programs of Debian. In CI they must be there: without them everything in it fails.
 *
 * @param files where they are
 */
export function describeWith(...files: string[]): jest.Describe {
  const missing = files.filter((file) => !existsSync(file));
  if (missing.length === 0 || process.env['CI'] === 'true') return describe;
  process.stdout.write(`What needs ${missing.join(' and ')} is skipped: this machine does not have it\n`);
  return describe.skip;
}
