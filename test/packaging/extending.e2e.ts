import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { copyOfRepository } from '../support/manuals.ts';

const run = promisify(execFile);

const ROOT = path.resolve(import.meta.dirname, '../..');
const PAGE = 'docs/extending.md';
/** Everything in it takes half a minute on a quiet machine. */
const PATIENCE_MS = 1_200_000;

interface Block {
  readonly language: string;
  readonly file: string | undefined;
  readonly text: string;
}

const blocksOf = (page: string): Block[] =>
  [...page.matchAll(/^```(\w*)(?: (\S+))?\n(.*?)^```$/gms)].map(([, language = '', file, text = '']) => ({
    language,
    file,
    text,
  }));

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

/** Applies a block of lines to keep and lines to add, with `…` where it leaves some out. */
function patched(text: string, diff: string): string {
  const lines = text.split('\n');
  let at = 0;
  for (const line of diff.trimEnd().split('\n')) {
    if (line.startsWith('+')) lines.splice(at++, 0, line.slice(1));
    else if (line !== ' …') {
      const found = lines.indexOf(line.slice(1), at);
      if (found === -1) throw new Error(`There is no line "${line.slice(1)}"`);
      // An addition stands where the page shows it: right before or after a line that is there.
      at = found + 1;
    }
  }
  return lines.join('\n');
}

let page: string;
let copy: string;
/** Made of the page, and new. */
const made: string[] = [];

const bin = (name: string): string => path.join(ROOT, 'node_modules/.bin', name);

/** Runs a program in the copy, with nothing of this environment but what finds it. @throws with all its output */
async function inCopy(file: string, ...args: string[]): Promise<void> {
  const { PATH = '', HOME = '', LATCHKEY_TEST_SERVER = '' } = process.env;
  try {
    await run(file, args, {
      cwd: copy,
      env: { PATH: `${path.join(ROOT, 'node_modules/.bin')}:${PATH}`, HOME, TEST_DATABASE_URL: LATCHKEY_TEST_SERVER },
      maxBuffer: 2 ** 26,
      timeout: PATIENCE_MS,
    });
  } catch (error) {
    const { stdout = '', stderr = '' } = error as { stdout?: string; stderr?: string };
    throw new Error(`${path.basename(file)} ${args.join(' ')} failed:\n${stdout}\n${stderr}`, { cause: error });
  }
}

/**
 * What a command of the page does, without what has nothing to do with modules: the console, other tests. The tests that
 * hold every route, the reference and the schema to their rules are among those that run.
 */
const COMMANDS: Record<string, () => Promise<void>> = {
  'npm run openapi': async () => {
    await inCopy(process.execPath, 'scripts/build.js', '--server');
    await inCopy(process.execPath, 'dist/src/cli.js', 'openapi');
  },
  'npm test -- message': () => inCopy(process.execPath, 'test/run.ts', 'src/message'),
  'npm run check': async () => {
    await inCopy(process.execPath, 'console/api-types.ts');
    await inCopy(bin('tsc'), '-p', 'test/tsconfig.json');
    await inCopy(bin('eslint'), '--max-warnings', '0', ...made, 'src/app.module.ts');
    await inCopy(bin('prettier'), '--check', ...made, 'src/app.module.ts');
    await inCopy(bin('depcruise'), 'src', 'migrations', 'examples', 'test');
    await inCopy(bin('knip'));
    await inCopy(process.execPath, 'test/run.ts', '(guard|openapi-document|migrations)\\.e2e');
  },
};

beforeAll(async () => {
  page = await readFile(path.join(ROOT, PAGE), 'utf8');
  copy = await copyOfRepository();
}, PATIENCE_MS);
afterAll(() => rm(copy, { recursive: true, force: true }));

it(
  'leads from nothing to a tested, documented, guarded endpoint',
  async () => {
    const ran: string[] = [];
    const changed: string[] = [];
    for (const { language, file, text } of blocksOf(page)) {
      if (language === 'sh' && file === undefined) {
        for (const command of text.trimEnd().split('\n')) {
          const work = COMMANDS[command];
          if (!work) throw new Error(`The page says "${command}", which is not tried`);
          await work();
          ran.push(command);
        }
        continue;
      }
      if (file === undefined) throw new Error(`A block of the page is not used: ${text}`);
      const there = path.join(copy, file);
      if (language === 'diff') {
        await writeFile(there, patched(await readFile(there, 'utf8'), text));
        changed.push(file);
      } else if (!made.includes(file) && (await exists(there))) {
        // An excerpt, as it stands there.
        expect(await readFile(there, 'utf8')).toContain(text);
      } else {
        await mkdir(path.dirname(there), { recursive: true });
        await writeFile(there, text, { flag: 'wx' });
        made.push(file);
      }
    }
    expect(ran).toEqual(Object.keys(COMMANDS));
    expect(changed).toEqual(['src/app.module.ts']);
    expect(made.length).toBeGreaterThanOrEqual(8);

    // One existing file, in which nothing but lines are added.
    const before = (await readFile(path.join(ROOT, 'src/app.module.ts'), 'utf8')).split('\n');
    const after = (await readFile(path.join(copy, 'src/app.module.ts'), 'utf8')).split('\n');
    expect(after.filter((line) => !line.includes('MessageModule'))).toEqual(before);
    expect(after).toHaveLength(before.length + 2);
    // The module is in the reference that the page says to make.
    expect(await readFile(path.join(copy, 'openapi.json'), 'utf8')).toContain('"/properties/{propertyId}/messages"');
    // Whoever imports from elsewhere is told where to import from.
    const errors = path.join(copy, 'src/message/message.errors.ts');
    const right = await readFile(errors, 'utf8');
    for (const wrong of ['../common/error.ts', '../channel-user/username.ts', '../app.ts']) {
      await writeFile(errors, right.replace('../extend.ts', wrong));
      const boundaries = inCopy(bin('depcruise'), 'src', '--output-type', 'err-long');
      await expect(boundaries).rejects.toThrow(/message\.errors\.ts[^]*src\/extend\.ts/);
    }
  },
  PATIENCE_MS,
);

it('explains everything that modules and their tests may use', async () => {
  for (const file of ['src/extend.ts', 'test/kit.ts']) {
    const source = await readFile(path.join(ROOT, file), 'utf8');
    const exported = [...source.matchAll(/export (?:type )?\{([^}]*)\}/g)]
      .flatMap(([, names = '']) => names.split(','))
      .map((name) =>
        name
          .trim()
          .replace(/^type /, '')
          .replace(/^\w+ as /, ''),
      )
      .concat([...source.matchAll(/export function (\w+)/g)].map(([, name = '']) => name))
      .filter(Boolean);
    expect(exported.length).toBeGreaterThan(8);
    expect(exported.filter((name) => !new RegExp(`\`[^\`]*\\b${name}\\b[^\`]*\``).test(page))).toEqual([]);
  }
});
