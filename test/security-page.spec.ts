import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '..');
const page = readFileSync(path.join(ROOT, 'SECURITY.md'), 'utf8');
const rows = page
  .slice(page.indexOf('## Threats'))
  .split('\n')
  .filter((line) => line.startsWith('| ') && !/^\| (asset|-+) /.test(line))
  .map((line) =>
    line
      .slice(2, -2)
      .split(' | ')
      .map((cell) => cell.trim()),
  );
const FOLDERS = ['test', 'src/config', 'src/common'];

describe('SECURITY.md', () => {
  it('has an asset, a threat, a defence and a test in every row', () => {
    expect(rows.length).toBeGreaterThan(40);
    expect(rows.filter((cells) => cells.length !== 4 || cells.includes(''))).toEqual([]);
    expect(new Set(rows.map(([asset, threat]) => `${asset ?? ''} ${threat ?? ''}`)).size).toBe(rows.length);
  });

  it('names tests that there are', () => {
    const missing = rows.filter(([, , , test = '']) => {
      const [, file = '', title = ''] = /^`([\w/-]+\.(?:e2e|spec)\.ts)` › `(.+)`$/.exec(test) ?? [];
      const found = FOLDERS.map((folder) => path.join(ROOT, folder, file)).find(
        (name) => file !== '' && existsSync(name),
      );
      if (found === undefined) return true;
      // As the first argument of describe(), it() or it.each()(), and not of one that is skipped.
      const source = readFileSync(found, 'utf8');
      return !['describe(', 'it(', 'it(\n', '])(', ')('].some((call) =>
        new RegExp(`(?<!skip)(?<!only)${escape(call)}\\s*'${escape(title)}',`).test(source),
      );
    });
    expect(missing.map(([asset, threat, , test]) => [asset, threat, test])).toEqual([]);
  });
});

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
