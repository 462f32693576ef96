import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { filesOfRepository } from '../support/manuals.ts';

const ROOT = path.resolve(import.meta.dirname, '../..');
const read = (file: string): string => readFileSync(path.join(ROOT, file), 'utf8');

/** Where a link leads, without code blocks: what stands in those is no link. */
const linksOf = (page: string): string[] =>
  [...page.replaceAll(/^ *```.*?^ *```$/gms, '').matchAll(/\]\(([^()\s]+)\)/g)].map(([, target = '']) => target);

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(page: string): Set<string> {
  const anchors = new Set<string>();
  for (const [, heading = ''] of page.replaceAll(/^ *```.*?^ *```$/gms, '').matchAll(/^#+ (.+)$/gm)) {
    const text = heading.toLowerCase().replaceAll(/[^\p{L}\p{N} _-]/gu, '');
    const anchor = text.replaceAll(' ', '-');
    let unique = anchor;
    for (let n = 1; anchors.has(unique); n++) unique = `${anchor}-${String(n)}`;
    anchors.add(unique);
  }
  return anchors;
}

/** Why a target leads nowhere; nothing when it leads somewhere. */
function problemOf(file: string, anchor: string | undefined): string | undefined {
  if (!existsSync(path.join(ROOT, file))) return 'no such file';
  if (anchor === undefined || !file.endsWith('.md')) return undefined;
  return anchorsOf(read(file)).has(anchor) ? undefined : 'no such heading';
}

it('checks that every relative link of every document leads to a file and a heading', async () => {
  const pages = (await filesOfRepository('*.md')).filter((file) => existsSync(path.join(ROOT, file)));
  expect(pages.length).toBeGreaterThan(10);
  const broken = pages.flatMap((page) =>
    linksOf(read(page))
      .filter((target) => !/^[a-z]+:/.test(target))
      .map((target) => {
        const [file = '', anchor] = target.split('#');
        return [page, target, problemOf(file === '' ? page : path.join(path.dirname(page), file), anchor)];
      })
      .filter(([, , problem]) => problem !== undefined),
  );
  expect(broken).toEqual([]);
});

it('checks that every document named by another file exists with its heading', async () => {
  const files = (
    await filesOfRepository('src', 'migrations', 'test', 'deploy', 'scripts', '.env.example', '*.md')
  ).filter((file) => existsSync(path.join(ROOT, file)) && /\.(?:ts|js|cjs|json|ya?ml|conf|md|example)$/.test(file));
  const broken = files.flatMap((file) =>
    [...read(file).matchAll(/(?<![\w/.-])(docs\/[\w-]+\.md)(?:#([\w-]+))?/g)]
      .map(([target, page = '', anchor]) => [file, target, problemOf(page, anchor)])
      .filter(([, , problem]) => problem !== undefined),
  );
  expect(broken).toEqual([]);
});
