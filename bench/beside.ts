import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { measureBeside } from './beside-jobs.ts';
import { RESULTS, writePage } from './page.ts';
import { besideSection } from './report-beside.ts';
import { render, replaceSection } from './report.ts';
import { pinToGeneratorCore } from './server-process.ts';
import { runProgram } from './terminal.ts';

/**
 * Measures guarded calls beside other work in three rounds, where `npm run bench` has one:
 *
 *     node scripts/build.js --server && node bench/beside.ts   renews the section in RESULTS.md, in about four minutes
 */
const ROUNDS = 3;

async function main(): Promise<void> {
  pinToGeneratorCore();
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-beside-'));
  try {
    const section = besideSection(await measureBeside(ROUNDS, folder));
    const before = await readFile(path.join(import.meta.dirname, RESULTS), 'utf8').catch(() => render([]));
    await writePage(RESULTS, replaceSection(before, section));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
