import { spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
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
  ['in a folder whose path has a #', 'a#b', ['fastify', 'typescript', 'vite'], [], 'has a # in it'],
  ['in a folder whose path has a ?', 'a?b', ['fastify', 'typescript', 'vite'], [], 'has a ? in it'],
  ['in a folder whose path has a %', 'a%20b', ['fastify', 'typescript', 'vite'], [], 'has a % in it'],
  ['in a folder whose path has a bracket', 'a (copy)', ['fastify', 'typescript', 'vite'], [], 'has a ( in it'],
  ['without packages', 'a', [], [], 'Run npm ci first'],
  ['without development packages', 'a', ['fastify'], [], 'Run npm ci --include=dev'],
  [
    'on an older Node, for want of install scripts',
    'a',
    ['fastify', 'typescript', 'vite'],
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
  const { stderr } = build(checkout("a b é 日本 & ~,@='", ['fastify', 'typescript', 'vite']));
  expect(stderr).not.toContain('Latchkey was not built');
});

it('builds nothing and prints nothing without a change', () => {
  expect(build('scripts/build.js')).toMatchObject({ status: 0, stdout: '' });
  const builtAt = statSync('dist/src/main.js').mtimeMs;
  expect(build('scripts/build.js')).toMatchObject({ status: 0, stdout: '', stderr: '' });
  expect(statSync('dist/src/main.js').mtimeMs).toBe(builtAt);
});

describe('of a small server', () => {
  const COMPILER = 'node_modules/typescript';
  let script: string;
  const at = (file: string): string => path.join(folder, 'small', file);
  const write = (file: string, text: string): void => {
    mkdirSync(path.dirname(at(file)), { recursive: true });
    writeFileSync(at(file), text);
  };
  const built = (file: string): string | undefined =>
    existsSync(at(`dist/${file}`)) ? readFileSync(at(`dist/${file}`), 'utf8') : undefined;
  const say = (text: string): string => `export const said = '${text}';\n`;
  const succeed = (): void => {
    expect(build(script)).toMatchObject({ status: 0, stdout: '' });
  };

  beforeEach(() => {
    script = checkout('small', ['fastify', 'vite']);
    symlinkSync(path.resolve(COMPILER), at(COMPILER));
    cpSync('nest-cli.json', at('nest-cli.json'));
    const { compilerOptions, ...rest } = JSON.parse(readFileSync('tsconfig.json', 'utf8')) as {
      compilerOptions: object;
    };
    // Compiles in a fraction of the time.
    const small = { ...compilerOptions, lib: ['es5'], types: [] };
    write('tsconfig.json', JSON.stringify({ ...rest, compilerOptions: small }));
    write('package.json', '{ "type": "module" }');
    write('src/main.ts', say('one'));
    write('src/staff/page/page.html', '<p>one</p>');
    succeed();
  });

  /** Replaces the compiler by one that makes a file of its own, and is then killed with the whole build. */
  function interruptedBuild(): void {
    unlinkSync(at(COMPILER));
    write(
      `${COMPILER}/bin/tsc`,
      `require('node:fs').writeFileSync('dist/src/main.js', 'half'); process.kill(process.ppid, 'SIGKILL');`,
    );
    expect(build(script).status).toBeNull();
    rmSync(at(COMPILER), { recursive: true });
    symlinkSync(path.resolve(COMPILER), at(COMPILER));
  }

  it('contains each source and each page', () => {
    expect(built('src/main.js')).toContain("'one'");
    expect(built('src/staff/page/page.html')).toBe('<p>one</p>');
    write('src/main.ts', say('two'));
    write('src/staff/page/page.html', '<p>two</p>');
    succeed();
    expect(built('src/main.js')).toContain("'two'");
    expect(built('src/staff/page/page.html')).toBe('<p>two</p>');
  });

  it('contains nothing of deleted sources and pages', () => {
    write('migrations/1-first.ts', say('first'));
    write('src/staff/page/old.css', 'p {}');
    succeed();
    expect(built('migrations/1-first.js')).toContain("'first'");
    expect(built('src/staff/page/old.css')).toBe('p {}');
    unlinkSync(at('migrations/1-first.ts'));
    unlinkSync(at('src/staff/page/old.css'));
    succeed();
    for (const file of ['migrations/1-first.js', 'migrations/1-first.js.map', 'src/staff/page/old.css']) {
      expect([file, built(file)]).toEqual([file, undefined]);
    }
  });

  it('is repaired after an interrupted build, even if the sources are again what they were before it', () => {
    write('src/main.ts', say('two'));
    interruptedBuild();
    expect(built('src/main.js')).toBe('half');
    write('src/main.ts', say('one'));
    succeed();
    expect(built('src/main.js')).toContain("'one'");
  });

  it('is repaired if an output is missing, was changed, or is of no source', () => {
    write('src/other.ts', say('other'));
    succeed();
    unlinkSync(at('dist/src/other.js'));
    write('dist/src/main.js', 'changed');
    write('dist/migrations/2-foreign.js', 'foreign');
    succeed();
    expect(built('src/other.js')).toContain("'other'");
    expect(built('src/main.js')).toContain("'one'");
    expect(built('migrations/2-foreign.js')).toBeUndefined();
  });

  it('fails as long as a source has an error', () => {
    write('src/main.ts', 'export const said: number = "two";\n');
    for (const _ of [1, 2]) {
      const { status, stderr } = build(script);
      expect(status).toBe(1);
      expect(stderr).toContain('src/main.ts(1,14): error TS2322');
    }
    write('src/main.ts', say('two'));
    succeed();
    expect(built('src/main.js')).toContain("'two'");
  });

  it('does not begin for a change of a test', () => {
    write('src/main.spec.ts', say('test'));
    expect(build(script)).toEqual(expect.objectContaining({ status: 0, stderr: '' }));
  });
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
