import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const SCRIPT = path.resolve(import.meta.dirname, '../../scripts/commit-subjects.js');

let folder: string;
let repository: string;

const git = (...args: string[]): string =>
  execFileSync('git', ['-c', 'user.name=Test', '-c', 'user.email=test@latchkey.local', ...args], {
    cwd: repository,
    encoding: 'utf8',
    stdio: 'pipe',
  });
const commit = (subject: string): string => git('commit', '--quiet', '--allow-empty', '-m', subject);

function check(checkout = repository): { code: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, ['scripts/commit-subjects.js'], {
    cwd: checkout,
    encoding: 'utf8',
  });
  return { code: status, stdout, stderr };
}

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), 'latchkey-commits-'));
  repository = path.join(folder, 'repository');
  mkdirSync(path.join(repository, 'scripts'), { recursive: true });
  git('init', '--quiet');
  commit('changed things before the rule.');
  cpSync(SCRIPT, path.join(repository, 'scripts/commit-subjects.js'));
  git('add', '.');
  commit('Check the subjects of commits');
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

describe('the subjects of commits', () => {
  it('are accepted as imperatives, and are not checked before the rule existed', () => {
    commit('Bring the list up to date');
    expect(check()).toEqual({ code: 0, stdout: '', stderr: '' });
  });

  it.each([
    ['x'.padStart(73, 'Add '), 'has 73 characters, at most 72 fit'],
    ['add a table', 'does not begin with a capital'],
    ['Add a table.', 'ends with a full stop'],
    ['Added a table', 'begins with "Added" instead of an imperative'],
    ['Adding a table', 'begins with "Adding" instead of an imperative'],
  ])('are refused as "%s"', (subject, problem) => {
    commit(subject);
    commit('Remove a table');
    const { code, stderr } = check();
    expect([code, stderr.trim().split('\n')]).toEqual([1, [expect.stringContaining(`"${subject}" ${problem}`)]]);
  });

  it('are skipped with a message in a shallow checkout and without git', () => {
    commit('added a table.');
    const skipped = { code: 0, stdout: expect.stringContaining('were not checked') as string, stderr: '' };
    git('clone', '--quiet', '--depth', '1', `file://${repository}`, path.join(folder, 'shallow'));
    expect(check(path.join(folder, 'shallow'))).toEqual(skipped);
    rmSync(path.join(repository, '.git'), { recursive: true });
    expect(check()).toEqual(skipped);
  });
});
