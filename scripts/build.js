/**
 * Builds the server and, unless `--server` is given, the console, where something has changed since the last time. Plain
 * JavaScript: it runs on any Node that npm may have, and says in one sentence why it cannot build.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE = 24;
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const stamp = path.join(root, 'dist/.inputs');

const say = (line) => process.stderr.write(`${line}\n`);

/** Why nothing can be built here, as a sentence; nothing when it can. */
function obstacle() {
  const character = /[#?%*:;!|<>"`$()[\]{}]/.exec(process.platform === 'win32' ? '' : root)?.[0];
  if (character !== undefined) {
    return `The path of this folder (${root}) has a ${character} in it, which the build tools cannot handle. Move the folder to another path.`;
  }
  const has = (name) => existsSync(path.join(root, 'node_modules', name));
  if (!has('fastify')) return 'The packages are not installed. Run npm ci first.';
  if (!has('@nestjs/cli') || !has('vite')) {
    return 'The packages for the build are not installed. Run npm ci --include=dev.';
  }
  if (Number.parseInt(process.versions.node, 10) < NODE) {
    return `This is Node ${process.version}, and Latchkey brings Node ${String(NODE)}, which was installed without its install script: run npm ci --ignore-scripts=false.`;
  }
  return undefined;
}

/** A digest of everything that the compiler reads. */
function digest() {
  const hash = createHash('sha256');
  const files = ['src', 'migrations', 'examples'].flatMap((folder) =>
    readdirSync(path.join(root, folder), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map(({ parentPath, name }) => path.join(parentPath, name)),
  );
  const settings = ['tsconfig.json', 'nest-cli.json', 'package-lock.json'].map((name) => path.join(root, name));
  for (const file of [...files, ...settings].sort()) {
    hash.update(path.relative(root, file)).update('\0').update(readFileSync(file)).update('\0');
  }
  return hash.digest('hex');
}

/** Standard output is for what was asked for. */
function run(...args) {
  const { status } = spawnSync(process.execPath, args, { cwd: root, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}

function build() {
  const problem = obstacle();
  if (problem !== undefined) {
    say(`Latchkey was not built. ${problem}`);
    process.exit(1);
  }
  const inputs = digest();
  const isBuilt = existsSync(stamp) && existsSync(path.join(root, 'dist/src/main.js'));
  if (!isBuilt || readFileSync(stamp, 'utf8') !== inputs) {
    say('Building Latchkey. This takes about half a minute, and only after a change.');
    // A build that is interrupted is none.
    rmSync(stamp, { force: true });
    run('node_modules/@nestjs/cli/bin/nest.js', 'build');
    writeFileSync(stamp, inputs);
  }
  if (!process.argv.includes('--server')) run('console/build.ts');
  if (process.argv.includes('--start')) say('Starting Latchkey.');
}

build();
