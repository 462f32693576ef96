import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir, totalmem } from 'node:os';
import path from 'node:path';

const ROOT = path.resolve(import.meta.dirname, '../..');

interface Package {
  name?: string;
  version?: string;
  license?: string;
  integrity?: string;
  resolved?: string;
  link?: boolean;
  hasInstallScript?: boolean;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
  optionalDependencies?: Record<string, string>;
  peerDependencies?: Record<string, string>;
}
const readJson = <T>(file: string): T => JSON.parse(readFileSync(path.join(ROOT, file), 'utf8')) as T;
const manifest = readJson<Package & { allowScripts: Record<string, boolean> }>('package.json');
const lock = readJson<{ lockfileVersion: number; packages: Record<string, Package> }>('package-lock.json');
const entries = Object.entries(lock.packages).filter(
  ([location, { link }]) => location.includes('node_modules/') && !link,
);
const nameOf = (location: string): string =>
  location.slice(location.lastIndexOf('node_modules/') + 'node_modules/'.length);

/** Where Node finds `name` from a package at `location`; nothing for an optional one that is not there. */
function resolve(location: string, name: string): string | undefined {
  for (let folder = location; ; folder = folder.slice(0, folder.lastIndexOf('node_modules/')).replace(/\/$/, '')) {
    const candidate = `${folder === '' ? '' : `${folder}/`}node_modules/${name}`;
    if (candidate in lock.packages) return candidate;
    if (!folder.includes('node_modules/')) return folder === '' ? undefined : resolve('', name);
  }
}

/** Everything that comes with the given packages. */
function closure(names: string[], from: string): Set<string> {
  const found = new Set<string>();
  const visit = (location: string | undefined): void => {
    if (location === undefined || found.has(location)) return;
    found.add(location);
    const { dependencies, optionalDependencies, peerDependencies } = lock.packages[location] ?? {};
    for (const name of Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies })) {
      visit(resolve(location, name));
    }
  };
  for (const name of names) {
    const location = resolve(from, name);
    if (location === undefined) throw new Error(`${name} is not in the lockfile`);
    visit(location);
  }
  return found;
}

/** Vite puts these into the browser's files; the rest of the console's packages builds and checks them. */
const CONSOLE_TOOLS = /^@types\/|^vite$|^@vitejs\/|^openapi-typescript$/;
const server = closure(Object.keys(manifest.dependencies ?? {}), '');
const browser = closure(
  Object.keys(readJson<Package>('console/package.json').devDependencies ?? {}).filter(
    (name) => !CONSOLE_TOOLS.test(name),
  ),
  'console',
);

/** Licences that ask for no more than to be named. */
const ALLOWED = new Set([
  '0BSD',
  'Apache-2.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'BlueOak-1.0.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'PostgreSQL',
  'Python-2.0',
  'Unlicense',
]);
/** Packages whose manifest names none that SPDX knows, and where it stands. */
const READ_BY_HAND: Record<string, string> = {
  'css-mediaquery': 'BSD-3-Clause', // LICENSE
  pause: 'MIT', // Readme.md
};

function licenceOf(location: string): string {
  const readByHand = READ_BY_HAND[nameOf(location)];
  if (readByHand !== undefined) return readByHand;
  const locked = lock.packages[location]?.license;
  if (locked !== undefined) return locked;
  // Older manifests have a list, which the lockfile leaves out.
  const { licenses = [] } = readJson<{ licenses?: { type: string }[] }>(`${location}/package.json`);
  return licenses.length > 0
    ? licenses.map(({ type }) => type).join(' OR ')
    : (READ_BY_HAND[nameOf(location)] ?? 'none');
}

/** SPDX expressions, as far as npm packages use them: no AND beside OR. */
const isAllowed = (licence: string): boolean => {
  const terms = licence.replace(/^\(|\)$/g, '');
  return terms.includes(' AND ')
    ? terms.split(' AND ').every((term) => ALLOWED.has(term))
    : terms.split(' OR ').some((term) => ALLOWED.has(term));
};

describe('the licences', () => {
  it('of the server and the browser require only attribution', () => {
    // The walk itself: packages that must be there, directly, through others, and nested.
    for (const name of ['typeorm', 'fastify', '@nestjs/core', 'pg-protocol', 'pause']) {
      expect([...server].map(nameOf)).toContain(name);
    }
    for (const name of ['react', 'react-admin', 'ra-core', '@mui/material'])
      expect([...browser].map(nameOf)).toContain(name);
    expect([...server, ...browser].map(nameOf)).not.toContain('jest');

    const refused = [...new Set([...server, ...browser])]
      .map((location) => `${nameOf(location)}: ${licenceOf(location)}`)
      .filter((line) => !isAllowed(line.slice(line.indexOf(': ') + 2)));
    expect(refused).toEqual([]);
  });

  it('that were read by hand belong to existing packages and are not already allowed', () => {
    for (const name of Object.keys(READ_BY_HAND)) {
      const { license = 'none' } = readJson<{ license?: string }>(`node_modules/${name}/package.json`);
      expect([name, isAllowed(license)]).toEqual([name, false]);
    }
  });
});

describe('the lockfile', () => {
  it('fixes the content of every package', () => {
    expect(lock.lockfileVersion).toBe(3);
    expect(entries.length).toBeGreaterThan(500);
    expect(entries.filter(([, { integrity = '' }]) => !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity))).toEqual([]);
  });

  it('names no registry', () => {
    const links = Object.values(lock.packages).filter(({ link }) => link);
    expect(links.map(({ resolved }) => resolved)).toEqual(['clients/typescript', 'console']);
    expect(entries.filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
    expect(readFileSync(path.join(ROOT, '.npmrc'), 'utf8')).toMatch(/^omit-lockfile-registry-resolved=true$/m);
    expect(readFileSync(path.join(ROOT, '.npmrc'), 'utf8')).not.toMatch(/registry *=|_auth/);
  });

  it('matches the manifests', () => {
    for (const [location, file] of [
      ['', 'package.json'],
      ['console', 'console/package.json'],
    ] as const) {
      const { dependencies, devDependencies } = readJson<Package>(file);
      const locked = lock.packages[location];
      expect({ ...locked?.dependencies, ...locked?.devDependencies }).toEqual({ ...dependencies, ...devDependencies });
    }
  });

  it('uses packages of a registry only: no git, no file, no URL', () => {
    const asked = entries.flatMap(([location, { dependencies, optionalDependencies }]) =>
      Object.entries({ ...dependencies, ...optionalDependencies }).map(([name, range]) => [location, name, range]),
    );
    const { dependencies, devDependencies } = manifest;
    const own = Object.entries({ ...dependencies, ...devDependencies }).map(([name, range]) => ['', name, range]);
    expect([...asked, ...own].filter(([, , range = '']) => /:(?!.*@)|\//.test(range.replace(/^npm:/, '')))).toEqual([]);
  });
});

describe('the install scripts', () => {
  it('are only those that somebody has read, and a new npm is told to refuse others', () => {
    const scripted = new Set(
      entries.filter(([, { hasInstallScript }]) => hasInstallScript).map(([location]) => nameOf(location)),
    );
    expect(Object.keys(manifest.allowScripts).sort()).toEqual([...scripted].sort());
    expect(readFileSync(path.join(ROOT, '.npmrc'), 'utf8')).toMatch(/^strict-allow-scripts=true$/m);
  });

  it('do not run when the image is built', () => {
    const dockerfile = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8');
    const installs = dockerfile.match(/npm (?:ci|i|install)\b.*/g) ?? [];
    expect(installs).toHaveLength(2);
    for (const install of installs) expect(install).toMatch(/^npm ci .*--ignore-scripts/);
  });
});

describe('the image', () => {
  const dockerfile = readFileSync(path.join(ROOT, 'Dockerfile'), 'utf8');

  it('uses one base version with a name', () => {
    const images = [...dockerfile.matchAll(/^FROM (\S+)/gm)].map(([, image]) => image);
    expect(images.length).toBeGreaterThan(0);
    expect(new Set(images).size).toBe(1);
    // Node of the image is Node of the tests.
    expect(images[0]).toBe(`node:${lock.packages['node_modules/node']?.version ?? ''}-bookworm-slim`);
  });

  it('gives the heap 55 % of the memory, with a small young generation', () => {
    const options = /^ENV NODE_OPTIONS="(.*)"$/m.exec(dockerfile)?.[1] ?? '';
    const heap = execFileSync(process.execPath, ['-p', 'v8.getHeapStatistics().heap_size_limit'], {
      env: { NODE_OPTIONS: options },
      encoding: 'utf8',
    });
    const memory = Math.min(totalmem(), process.constrainedMemory());
    const share = Number(heap) / memory;
    expect(share).toBeGreaterThan(0.54);
    // The limit also covers the young generation: three semi-spaces.
    expect(Number(heap) - 0.55 * memory).toBeLessThan(3 * 5 * 2 ** 20);
  });

  it('leaves out what no program reads', () => {
    // A shell and this file stand in for the builder.
    const folder = mkdtempSync(path.join(tmpdir(), 'latchkey-image-'));
    try {
      const names = [
        'a.js',
        'a.js.map',
        'a.d.ts',
        'a.d.mts',
        'a.ts',
        'a.mjs',
        'a.cjs',
        'a.json',
        'a.node',
        'README.md',
      ];
      mkdirSync(path.join(folder, 'node_modules/some'), { recursive: true });
      for (const name of [...names, 'LICENSE']) writeFileSync(path.join(folder, 'node_modules/some', name), '');
      const find = /&& (find node_modules .*-delete)$/m.exec(dockerfile)?.[1] ?? 'false';
      execFileSync('sh', ['-c', find], { cwd: folder });
      const left = ['LICENSE', 'a.cjs', 'a.js', 'a.json', 'a.mjs', 'a.node'];
      expect(readdirSync(path.join(folder, 'node_modules/some')).sort()).toEqual(left);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('has labels and contains a list of its contents', () => {
    const final = dockerfile.slice(dockerfile.lastIndexOf('\nFROM '));
    expect(final).toMatch(/^COPY --from=dependencies \/app\/sbom\.cdx\.json /m);
    expect(final).toMatch(/^COPY --from=build \/app\/sbom-console\.cdx\.json /m);
    expect(final).toContain(`org.opencontainers.image.version="${manifest.version ?? ''}"`);
    expect(final).toContain(`org.opencontainers.image.licenses="${manifest.license ?? ''}"`);
    expect(final).toMatch(/^USER node$/m);
  });
});
