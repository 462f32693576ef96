/**
 * Builds the server and, unless `--server` is given, the console, each only if something that goes into it has changed, or
 * if what came out of it is no longer complete. Plain JavaScript: it runs on any Node that npm may have, and says in one
 * sentence why it cannot build.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
// A named import of a function that an older Node does not have would fail before the sentence is printed.
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const NODE = 24;
const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const at = (file) => path.join(root, file);

const say = (line) => process.stderr.write(`${line}\n`);

/** Why nothing can be built here, as a sentence; nothing when it can. */
function obstacle() {
  const character = /[#?%*:;!|<>"`$()[\]{}]/.exec(process.platform === 'win32' ? '' : root)?.[0];
  if (character !== undefined) {
    return `The path of this folder (${root}) has a ${character} in it, which the build tools cannot handle. Move the folder to another path.`;
  }
  const has = (name) => fs.existsSync(at(`node_modules/${name}`));
  if (!has('fastify')) return 'The packages are not installed. Run npm ci first.';
  if (!has('typescript') || !has('vite')) {
    return 'The packages for the build are not installed. Run npm ci --include=dev.';
  }
  if (Number.parseInt(process.versions.node, 10) < NODE) {
    return `This is Node ${process.version}, and Latchkey brings Node ${String(NODE)}, which was installed without its install script: run npm ci --ignore-scripts=false.`;
  }
  return undefined;
}

/** The files of these files and folders, in order, as paths from the root. Those that do not exist are left out. */
function filesOf(names) {
  const files = names.flatMap((name) => {
    const stats = fs.statSync(at(name), { throwIfNoEntry: false });
    if (!stats?.isDirectory()) return stats ? [name] : [];
    return fs
      .readdirSync(at(name), { recursive: true, withFileTypes: true })
      .filter((entry) => !entry.isDirectory())
      .map((entry) => path.relative(root, path.join(entry.parentPath, entry.name)).replaceAll(path.sep, '/'));
  });
  return files.sort();
}

function digest(files) {
  const hash = createHash('sha256');
  for (const file of files) {
    const content = fs.readFileSync(at(file));
    hash.update(`${file}\0${String(content.length)}\0`).update(content);
  }
  return hash.digest('hex');
}

/** Runs a tool with its output on standard error: standard output is for what was asked for. @returns if it succeeded */
function run(...args) {
  const options = { cwd: root, stdio: ['ignore', 2, 2], env: { ...process.env, NODE_ENV: 'production' } };
  const { status } = spawnSync(process.execPath, args, options);
  // A tool that was killed leaves its work half done, as an interrupted build does.
  if (status === null) process.exit(1);
  return status === 0;
}

const SETTINGS = ['package-lock.json', 'scripts/build.js'];
const BUILD_INFO = 'dist/.tsbuildinfo';

const server = {
  stamp: 'dist/.server.json',
  inputs: () => [
    ...filesOf(['src', 'migrations', 'examples']).filter((file) => !/\.(spec|e2e)\.ts$/.test(file)),
    ...filesOf(['tsconfig.json', 'nest-cli.json', ...SETTINGS]),
  ],
  outputs: () => filesOf(['dist/src', 'dist/migrations', 'dist/examples', BUILD_INFO]),
  make(isIntact) {
    if (!isIntact) fs.rmSync(at(BUILD_INFO), { force: true });
    // A folder of src with a configuration of its own holds scripts for browsers.
    const configurations = ['tsconfig.json', ...fs.globSync('src/*/tsconfig.json', { cwd: root })];
    const compile = (file) => run('node_modules/typescript/bin/tsc', '-p', file);
    const isCompiled = configurations.map(compile).every(Boolean);
    const { sourceRoot, compilerOptions } = JSON.parse(fs.readFileSync(at('nest-cli.json'), 'utf8'));
    const assets = fs.globSync(compilerOptions.assets, { cwd: at(sourceRoot) }).map((file) => `${sourceRoot}/${file}`);
    for (const file of assets) fs.cpSync(at(file), at(`dist/${file}`));
    // The compiler leaves what it made of a source that is gone.
    const made = new Set([BUILD_INFO, ...assets.map((file) => `dist/${file.replaceAll(path.sep, '/')}`)]);
    for (const file of this.inputs().filter((input) => input.endsWith('.ts'))) {
      const output = `dist/${file.slice(0, -'.ts'.length)}.js`;
      made.add(output).add(`${output}.map`);
    }
    for (const file of this.outputs()) if (!made.has(file)) fs.rmSync(at(file));
    return isCompiled;
  },
};

const staffConsole = {
  stamp: 'dist/.console.json',
  inputs: () =>
    filesOf(['console', ...SETTINGS]).filter((file) => !/^console\/(node_modules\/|src\/openapi\.ts$)/.test(file)),
  outputs: () => filesOf(['dist/console']),
  // Vite empties the folder first.
  make: () => run('node_modules/vite/bin/vite.js', 'build', '--config', 'console/vite.config.ts', '--logLevel', 'warn'),
};

/** What the last build left in its stamp; nothing if there was none, or none that a build finished writing. */
function read(stamp) {
  try {
    return JSON.parse(fs.readFileSync(at(stamp), 'utf8'));
  } catch {
    return {};
  }
}

function write(stamp, content) {
  fs.mkdirSync(at('dist'), { recursive: true });
  fs.writeFileSync(at(stamp), JSON.stringify(content));
}

/** @returns whether the part is built */
function update(part) {
  const inputs = digest(part.inputs());
  const last = read(part.stamp);
  const isIntact = last.outputs === digest(part.outputs());
  if (isIntact && last.inputs === inputs) return true;
  announce();
  // Until the build has ended, its outputs count as damaged: an interrupted build is followed by a complete one.
  const id = `${String(process.pid)} ${String(Date.now())}`;
  write(part.stamp, { id });
  const isMade = part.make(isIntact);
  // If another build has begun meanwhile, the outputs may be a mixture, and the stamp stays without a digest of them.
  if (read(part.stamp).id === id) {
    write(part.stamp, { inputs: isMade ? inputs : undefined, outputs: digest(part.outputs()) });
  }
  return isMade;
}

let isAnnounced = false;
function announce() {
  if (!isAnnounced) say('Building Latchkey. This takes up to half a minute, and only after a change.');
  isAnnounced = true;
}

function build() {
  const problem = obstacle();
  if (problem !== undefined) {
    say(`Latchkey was not built. ${problem}`);
    process.exit(1);
  }
  const parts = process.argv.includes('--server') ? [server] : [server, staffConsole];
  if (!parts.every(update)) process.exit(1);
  if (process.argv.includes('--start')) say('Starting Latchkey.');
}

build();
