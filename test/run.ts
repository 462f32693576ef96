/**
/**
 * `npm test`: every test, or those that the arguments choose, which are Jest's. Faults, several instances and what needs
 * the browser come by themselves, after all others: some of them measure what a machine does under a load of their own
 * making.
 */
import { spawnSync } from 'node:child_process';

const FLEET_AND_FAULTS = 'test/(faults|fleet)/';
const BROWSER = 'console-(story|list)';

function jest(...args: string[]): boolean {
  const command = ['node_modules/jest/bin/jest.js', '--config', 'test/jest.config.js', ...args];
  return spawnSync(process.execPath, command, { stdio: 'inherit' }).status === 0;
}

const chosen = process.argv.slice(2);
const passed =
  chosen.length > 0
    ? [jest(...chosen)]
    : [
        jest('--testPathIgnorePatterns', FLEET_AND_FAULTS, BROWSER, '/node_modules/'),
        jest('--runInBand', FLEET_AND_FAULTS),
        jest(BROWSER),
      ];
process.exitCode = passed.every(Boolean) ? 0 : 1;
