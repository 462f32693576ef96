/**
 * Runs tests with Jest.
 *
 * - `npm test`: the tests to run before a commit.
 * - `npm test -- --rest`: everything else, which CI runs too, in two parts at once: `--slow` and `--faults`.
 * - `npm test -- import handover`: the files whose path matches one of the words. Other arguments are Jest's.
 * - `npm test -- --changed`: the tests of what differs from the last commit.
 * - `npm test -- --server`: those whose result depends on PostgreSQL's version, on the server of `TEST_DATABASE_URL`.
 */
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { testsOf } from './runner/changed.ts';

/** Several instances, and faults of what they need. These tests make a load of their own: one at a time. */
const FLEET_AND_FAULTS = 'test/(faults|fleet)/';
/**
 * Slow tests that few changes concern: more of the browser, packaging, telemetry, data of older versions, and what is
 * tried on processes of the built server.
 */
const SLOW = [
  'test/console/console-(story|story-leak|story-older-system|story-rotation|story-single-sign-on|story-staff|import|forms|list|visits)\\.',
  'test/console/partner-page',
  'test/packaging/(build-script|client|extending|interop|manuals)\\.',
  'test/platform/(application|connections|environment|list-plans|migrations-data|observability|ports|restore|telemetry)\\.',
  'src/(quickstart|cli|server)/.*e2e',
  'src/channel-user/import/import-server\\.',
  'src/channel-user/credential/rotation-model\\.',
  'src/rate-limit/throttling-redis\\.',
];
/**
 * Tests of what the version of PostgreSQL may change: migrations, roles, triggers, partitions, plans, locks, LISTEN,
 * and the statements of each feature. The rest of the features' tests, and throttling, hashing, HTTP, commands,
 * documents, pages and telemetry, are the same with every PostgreSQL.
 */
const ON_SERVER = [
  'test/platform/(migrations|migrations-data|list-plans|locked-rows|names|restore)\\.',
  'test/security/database-roles\\.',
  'src/(activity|audit)/.*e2e',
  'src/channel-user/(channel-user.*|derived-rows|credential/.*|grant/.*|handover/.*|import/import)\\.e2e',
  'src/auth/(access-token/deny-list|oauth/oauth|sign-in/generate-token)\\.e2e',
  'src/staff/(staff|password-link)\\.e2e',
  'examples/',
];
const MODULES = '/node_modules/';
/** Fewer and larger collections of garbage, for workers that keep the application loaded. */
const RUNTIME = ['--max-semi-space-size=64'];

/** @returns whether all passed */
async function jest(...args: string[]): Promise<boolean> {
  const command = [...RUNTIME, 'node_modules/jest/bin/jest.js', '--config', 'test/jest.config.js', ...args];
  const [code] = (await once(spawn(process.execPath, command, { stdio: 'inherit' }), 'exit')) as [number | null];
  return code === 0;
}

const allBut = (...patterns: string[]): Promise<boolean> => jest('--testPathIgnorePatterns', MODULES, ...patterns);

async function changed(): Promise<boolean> {
  const git = (...args: string[]): string[] =>
    execFileSync('git', args, { encoding: 'utf8' })
      .split('\0')
      .filter((file) => file !== '');
  const files = [...git('diff', '-z', '--name-only', 'HEAD'), ...git('ls-files', '-z', '-o', '--exclude-standard')];
  const patterns = testsOf(files);
  if (patterns === 'all') return allBut(FLEET_AND_FAULTS, ...SLOW);
  if (patterns.length > 0) return jest(...patterns);
  process.stdout.write('Nothing that has a test differs from the last commit.\n');
  return true;
}

// Each leaves a core idle for half of the time, so that two of them take little longer than one.
const slow = (): Promise<boolean> => jest('--maxWorkers=2', ...SLOW);
const faults = (): Promise<boolean> => jest('--runInBand', FLEET_AND_FAULTS);
const onServer = (): Promise<boolean> => jest('--maxWorkers=2', ...ON_SERVER);
const PARTS: Record<string, () => Promise<boolean>> = { '--slow': slow, '--faults': faults, '--server': onServer };

async function run(args: string[]): Promise<boolean> {
  const [first] = args;
  if (first === undefined) return allBut(FLEET_AND_FAULTS, ...SLOW);
  if (first === '--changed') return changed();
  const part = PARTS[first];
  if (part) return part();
  if (first !== '--rest') return jest(...args);
  const passed = await Promise.all([slow(), faults()]);
  return passed.every(Boolean);
}

process.exitCode = (await run(process.argv.slice(2))) ? 0 : 1;
