/**
 * Checks the subjects of commits: imperative, a capital first, at most 72 characters, no full stop. The rule holds from
 * the commit that added this file on.
 */
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const MAX_LENGTH = 72;
/** Imperatives that end like a past tense or a gerund. */
const IMPERATIVES = new Set(['Bring', 'Embed', 'Exceed', 'Feed', 'Need', 'Ping', 'Proceed', 'Seed', 'Shed', 'Speed']);
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');

const git = (...args) =>
  execFileSync('git', args, { cwd: root, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();

/** What is wrong with a subject, as a phrase; nothing when it is right. */
function problemOf(subject) {
  if (subject.length > MAX_LENGTH) return `has ${String(subject.length)} characters, at most ${String(MAX_LENGTH)} fit`;
  if (!/^\p{Lu}/u.test(subject)) return 'does not begin with a capital';
  if (subject.endsWith('.')) return 'ends with a full stop';
  const [first = ''] = subject.split(' ');
  return /(?:ed|ing)$/.test(first) && !IMPERATIVES.has(first)
    ? `begins with "${first}" instead of an imperative such as "Add" or "Fix"`
    : undefined;
}

/** The commits to check, as lines of hash and subject; nothing where the history does not reach back far enough. */
function commits() {
  try {
    if (path.resolve(git('rev-parse', '--show-toplevel')) !== path.resolve(root)) return undefined;
    if (git('rev-parse', '--is-shallow-repository') === 'true') return undefined;
    const added = git('log', '--diff-filter=A', '--format=%H', '--', 'scripts/commit-subjects.js').split('\n').at(-1);
    if (!added) return [];
    return git('log', '--format=%h %s', 'HEAD', '--not', `${added}^@`).split('\n');
  } catch {
    return undefined;
  }
}

const found = commits();
if (found === undefined) {
  process.stdout.write('Commit subjects were not checked: this is no checkout with its whole history.\n');
} else {
  const wrong = found.flatMap((line) => {
    const [hash = ''] = line.split(' ', 1);
    const subject = line.slice(hash.length + 1);
    const problem = problemOf(subject);
    return problem === undefined ? [] : [`${hash} "${subject}" ${problem}.\n`];
  });
  process.stderr.write(wrong.join(''));
  process.exitCode = wrong.length > 0 ? 1 : 0;
}
