import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');
const page = readFileSync(path.join(ROOT, 'docs/threat-model.md'), 'utf8');
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

/** Every test, by the name of its file. */
const testFiles = new Map(
  ['test', 'src', 'examples'].flatMap((folder) =>
    readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
      .filter((file) => /\.(e2e|spec)\.ts$/.test(file))
      .map((file) => [path.basename(file), path.join(ROOT, folder, file)] as const),
  ),
);

/** Whether a file has a test, or a group of tests, of this title: a first argument of describe(), it() or it.each()(). */
function isThere(file: string, title: string): boolean {
  const found = testFiles.get(path.basename(file));
  if (found === undefined) return false;
  const source = readFileSync(found, 'utf8');
  return ['describe(', 'it(', 'it(\n', '])(', ')('].some((call) =>
    new RegExp(`(?<!skip)(?<!only)${escape(call)}\\s*'${escape(title)}',`).test(source),
  );
}

describe('docs/threat-model.md', () => {
  it('has an asset, a threat, a defence and a test in every row', () => {
    expect(rows.length).toBeGreaterThan(40);
    expect(rows.filter((cells) => cells.length !== 4 || cells.includes(''))).toEqual([]);
    expect(new Set(rows.map(([asset, threat]) => `${asset ?? ''} ${threat ?? ''}`)).size).toBe(rows.length);
  });

  it('names existing tests', () => {
    const missing = rows.filter(([, , , test = '']) => {
      const [, file = '', title = ''] = /^`([\w/-]+\.(?:e2e|spec)\.ts)` › `(.+)`$/.exec(test) ?? [];
      return !isThere(file, title);
    });
    expect(missing.map(([asset, threat, , test]) => [asset, threat, test])).toEqual([]);
  });
});

describe('docs/resource-servers.md', () => {
  it('names existing tests by RFC', () => {
    const servers = readFileSync(path.join(ROOT, 'docs/resource-servers.md'), 'utf8');
    const named = [...servers.matchAll(/^\| (RFC \d+ §\S+(?:, §\d+)?) +\| `([\w-]+)` +\| (.+?) +\|$/gm)];
    expect(named.length).toBeGreaterThan(20);
    const missing = named.filter(([, , file = '', titles = '']) =>
      titles.split(' › ').some((title) => !isThere(`${file}.e2e.ts`, title)),
    );
    expect(missing.map(([, section, file, titles]) => [section, file, titles])).toEqual([]);
  });
});

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
