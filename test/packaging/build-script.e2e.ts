import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, realpathSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';

const OLD = `data:text/javascript,Object.defineProperty(process,'version',{value:'v20.20.2'});Object.defineProperty(process,'versions',{value:{node:'20.20.2'}})`;

let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(path.join(tmpdir(), 'latchkey-build-')));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

function build(script: string, ...flags: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...flags, script, '--server'], { encoding: 'utf8' });
}

/** A checkout that holds no more than the script looks at. */
function checkout(name: string, packages: readonly string[]): string {
  const root = path.join(folder, name);
  cpSync('scripts', path.join(root, 'scripts'), { recursive: true });
  for (const each of packages) mkdirSync(path.join(root, 'node_modules', each), { recursive: true });
  return path.join(root, 'scripts/build.js');
}

it.each([
  ['in a folder whose path has a #', 'a#b', ['fastify', '@nestjs/cli', 'vite'], [], 'has a # in it'],
  ['in a folder whose path has a ?', 'a?b', ['fastify', '@nestjs/cli', 'vite'], [], 'has a ? in it'],
  ['in a folder whose path has a %', 'a%20b', ['fastify', '@nestjs/cli', 'vite'], [], 'has a % in it'],
  ['in a folder whose path has a bracket', 'a (copy)', ['fastify', '@nestjs/cli', 'vite'], [], 'has a ( in it'],
  ['without packages', 'a', [], [], 'Run npm ci first'],
  ['without development packages', 'a', ['fastify'], [], 'Run npm ci --include=dev'],
  [
    'on an older Node, for want of install scripts',
    'a',
    ['fastify', '@nestjs/cli', 'vite'],
    ['--import', OLD],
    'run npm ci --ignore-scripts=false',
  ],
] as const)('is refused in one sentence before the build: %s', (_, name, packages, flags, message) => {
  const { status, stdout, stderr } = build(checkout(name, packages), ...flags);
  expect([status, stdout]).toEqual([1, '']);
  expect(stderr).toMatch(/^Latchkey was not built\. .+\.\n$/);
  expect(stderr).toContain(message);
});

it('works in a folder whose path has spaces and non-Latin letters', () => {
  const { stderr } = build(checkout("a b é 日本 & ~,@='", ['fastify', '@nestjs/cli', 'vite']));
  expect(stderr).not.toContain('Latchkey was not built');
});

it('builds nothing and prints nothing without a change', () => {
  expect(build('scripts/build.js')).toMatchObject({ status: 0, stdout: '' });
  const builtAt = statSync('dist/src/main.js').mtimeMs;
  expect(build('scripts/build.js')).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect(statSync('dist/src/main.js').mtimeMs).toBe(builtAt);
});

it('needs only packages that npm installs with NODE_ENV=production too', () => {
  // What npm was told by whoever runs this test is not the checkout's.
  const inherited = Object.entries(process.env).filter(([name]) => !/^npm_config_/i.test(name));
  const { status, stdout } = spawnSync('npm', ['config', 'get', 'omit'], {
    encoding: 'utf8',
    env: { ...Object.fromEntries(inherited), NODE_ENV: 'production' },
  });
  expect([status, stdout.trim()]).toEqual([0, '']);
});
