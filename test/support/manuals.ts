import { execFile } from 'node:child_process';
import { cp, mkdtemp, readFile, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const ROOT = path.resolve(import.meta.dirname, '../..');

/** A command that a manual tells its reader to type: inline code, or a block that one shell runs. */
export interface ManualCommand {
  readonly file: string;
  readonly text: string;
}

const PROGRAM =
  /^(?:npm|npx|node|curl|psql|pg_dump|pg_restore|openssl|kubectl|docker|jq|promtool|printf|pip|composer|python3?)(?= \S)/;
const BLOCK = /^( *)```(\w*)[^\n]*\n(.*?)^ *```$/gms;
const SHELL = new Set(['', 'sh', 'bash', 'console']);

export const filesOfRepository = async (...args: string[]): Promise<string[]> => {
  const { stdout } = await run('git', ['ls-files', '-coz', '--exclude-standard', ...args], {
    cwd: ROOT,
    maxBuffer: 2 ** 24,
  });
  // If node_modules is a symbolic link, git lists it as a file.
  return stdout.split('\0').filter((file) => file !== '' && path.basename(file) !== 'node_modules');
};

/** Every command of every manual, as printed there. A manual's repeated command counts once. */
export async function manualCommands(): Promise<ManualCommand[]> {
  const found = new Map<string, ManualCommand>();
  for (const file of await filesOfRepository('*.md')) {
    const page = await readFile(path.join(ROOT, file), 'utf8');
    const prose = page.replaceAll(BLOCK, '');
    const blocks = [...page.matchAll(BLOCK)].filter(([, , language = '']) => SHELL.has(language));
    const texts = [
      ...blocks.map(([, , , text = '']) => text.trimEnd()),
      ...[...prose.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text.replaceAll(/\s+/g, ' ')),
      ...[...prose.matchAll(/^ {4}(\S.*)$/gm)].map(([, text = '']) => text),
    ].filter((text, i) => i < blocks.length || PROGRAM.test(text));
    for (const text of texts) found.set(`${file}\n${text}`, { file, text });
  }
  return [...found.values()];
}

const exists = (file: string): Promise<boolean> =>
  stat(file).then(
    () => true,
    () => false,
  );

/** Copies the repository, with uncommitted files, its packages and its build. */
export async function copyOfRepository(): Promise<string> {
  const copy = await mkdtemp(path.join(tmpdir(), 'latchkey-copy-'));
  for (const file of await filesOfRepository()) {
    // A file whose deletion is not committed yet is still listed.
    if (await exists(path.join(ROOT, file))) await cp(path.join(ROOT, file), path.join(copy, file));
  }
  // With the build's files, a build in the copy skips what has not changed.
  if (await exists(path.join(ROOT, 'dist')))
    await cp(path.join(ROOT, 'dist'), path.join(copy, 'dist'), { recursive: true });
  for (const folder of ['.', 'console', 'clients/typescript']) {
    const packages = path.join(ROOT, folder, 'node_modules');
    if (await exists(packages)) await symlink(packages, path.join(copy, folder, 'node_modules'));
  }
  return copy;
}
