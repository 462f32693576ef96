import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { installPrograms, type PostgresPackage } from './embedded-binaries.ts';

const MINUTE_MS = 60_000;
const PROGRAM = '#!/bin/sh\nexit 0\n';

let folder: string;
let source: PostgresPackage;

/** A package whose links npm has not made, so that its programs run only from a copy. */
beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'latchkey-programs-'));
  source = { native: path.join(folder, 'package/native'), version: '18.0.0', major: '18' };
  await mkdir(path.join(source.native, 'bin'), { recursive: true });
  for (const name of ['initdb', 'postgres']) {
    await writeFile(path.join(source.native, 'bin', name), PROGRAM, { mode: 0o755 });
  }
  await writeFile(path.join(source.native, 'libpq.so.5.18'), '');
  const link = { source: 'native/libpq.so.5.18', target: 'native/libpq.so' };
  await writeFile(path.join(source.native, 'pg-symlinks.json'), JSON.stringify([link]));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

it('removes the copies of killed starts, and leaves those that may not be finished yet', async () => {
  const dataDir = path.join(folder, 'data');
  const programs = path.join(dataDir, 'postgresql-18.0.0');
  for (const [name, minutes] of [
    ['killed', 11],
    ['unfinished', 9],
  ] as const) {
    const draft = `${programs}.${name}`;
    await mkdir(draft, { recursive: true });
    const changed = new Date(Date.now() - minutes * MINUTE_MS);
    await utimes(draft, changed, changed);
  }
  await expect(installPrograms(source, dataDir, undefined)).resolves.toBe(path.join(programs, 'bin'));
  await expect(readdir(dataDir)).resolves.toEqual(['postgresql-18.0.0', 'postgresql-18.0.0.unfinished']);
  await expect(readdir(programs)).resolves.toEqual(expect.arrayContaining(['bin', 'libpq.so', 'libpq.so.5.18']));
});
