import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { measureCapacity } from './capacity-measure.ts';
import { type Rates, renderCapacity } from './capacity-page.ts';
import { RESULTS, writePage } from './page.ts';
import { runProgram } from './terminal.ts';

/**
 *     npm run build && node bench/capacity.ts   writes CAPACITY.md, in about two minutes
 *
 * What PostgreSQL, Redis and the network see of a token and of a guarded call, and what that comes to in a large
 * deployment. One instance on a PostgreSQL and a Redis of its own, each request sent once.
 */

/** The median of the answers a second of an instance with 100,000 channel users, by a section of RESULTS.md. */
function rateIn(results: string, section: string): number {
  const text = results.split(/^## /m).find((part) => part.startsWith(section)) ?? '';
  const cells = (start: RegExp): string[] =>
    (text.split('\n').find((line) => start.test(line)) ?? '').split('|').map((cell) => cell.trim());
  const column = cells(/^\| variant /).indexOf('answers a second');
  const rate = Number(/^[\d,]+/.exec(cells(/^\| Latchkey, 100,000 /)[column] ?? '')?.[0].replaceAll(',', ''));
  if (!(rate > 0)) throw new Error(`${RESULTS} has no figure in "${section}": run npm run bench first`);
  return rate;
}

async function ratesOfBenchmark(): Promise<Rates> {
  const results = await readFile(path.join(import.meta.dirname, RESULTS), 'utf8');
  return { tokens: rateIn(results, 'Generating a token'), calls: rateIn(results, 'Using a token') };
}

async function main(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-capacity-'));
  try {
    await writePage('CAPACITY.md', renderCapacity(await measureCapacity(folder), await ratesOfBenchmark()));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
