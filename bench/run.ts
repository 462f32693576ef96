import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import { measureBeside } from './beside-jobs.ts';
import { describeMachine } from './machine.ts';
import { measure, type Scale } from './measure.ts';
import { RESULTS, writePage } from './page.ts';
import { renderPlans } from './plan-page.ts';
import type { PlanScale } from './plan-seed.ts';
import { isWithin, measurePlans } from './plans.ts';
import { besideSection } from './report-beside.ts';
import { refusals } from './report-refusals.ts';
import { goals, performanceSections, render, replaceSection } from './report.ts';
import { pinToGeneratorCore } from './server-process.ts';
import { interruption, runProgram } from './terminal.ts';
import { measureFailures } from './timing.ts';

/**
 *     npm run bench              everything, in about a quarter of an hour: writes RESULTS.md
 *     npm run bench -- --timing  the test of refusals alone: renews its section in RESULTS.md
 *     npm run bench -- --plans   what lists, exports and jobs read at a million partners: writes PLANS.md, in about ten
 *                                minutes, and fails when something is above its bound; needs no BENCH_DATABASE_URL
 *     BENCH_QUICK=1 npm run bench   small, in about two minutes: shows the goals, writes nothing
 *
 * BENCH_DATABASE_URL names a PostgreSQL server on which databases may be created and dropped. Needs Linux with taskset.
 */

const FULL: Scale = {
  rounds: 5,
  pace: { kind: 'random', warmUpSeconds: 0.2, seconds: 1.5 },
  compilation: { kind: 'random', warmUpSeconds: 0, seconds: 3 },
  sizes: [1_000, 100_000, 1_000_000],
  starts: 5,
  isQuick: false,
};
const QUICK: Scale = {
  rounds: 2,
  pace: { kind: 'random', warmUpSeconds: 0.2, seconds: 2 },
  compilation: { kind: 'random', warmUpSeconds: 0, seconds: 3 },
  sizes: [1_000],
  starts: 1,
  isQuick: true,
};

const FULL_PLANS: PlanScale = { partners: 1_000_000, signIns: 10_000_000, events: 2_000_000 };
const QUICK_PLANS: PlanScale = { partners: 20_000, signIns: 200_000, events: 40_000 };

const today = (): string => new Date().toISOString().slice(0, 10);

async function runTiming(folder: string): Promise<void> {
  const section = refusals(await measureFailures(folder), today());
  const before = await readFile(path.join(import.meta.dirname, RESULTS), 'utf8').catch(() => render([]));
  await writePage(RESULTS, replaceSection(before, section));
}

async function runPlans(folder: string): Promise<void> {
  const isQuick = process.env['BENCH_QUICK'] === '1';
  const plans = await measurePlans(isQuick ? QUICK_PLANS : FULL_PLANS, folder);
  const page = renderPlans(plans);
  if (isQuick) process.stdout.write(page);
  else await writePage('PLANS.md', page);
  const missed = plans.figures.filter((figure) => !isWithin(figure)).length;
  if (missed > 0) throw new Error(`${String(missed)} of ${String(plans.figures.length)} are above their bounds`);
}

async function runAll(folder: string): Promise<void> {
  const measured = await measure(FULL, folder);
  const { before, after } = performanceSections(measured, await describeMachine());
  // What is measured by now outlives whatever ends the rest.
  await writePage(RESULTS, render([...before, ...after]));
  const sections = [...before];
  const more = [
    async () => besideSection(await measureBeside(1, folder)),
    async () => refusals(await measureFailures(folder), today()),
  ];
  for (const section of more) {
    interruption.throwIfAborted();
    sections.push(await section());
    await writePage(RESULTS, render([...sections, ...after]));
  }
}

async function runQuick(folder: string): Promise<void> {
  const measured = await measure(QUICK, folder);
  process.stdout.write(`${render([goals(measured)])}\n`);
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { timing: { type: 'boolean', default: false }, plans: { type: 'boolean', default: false } },
  });
  // Plans are counted and not timed, and their database is made faster on both cores.
  if (!values.plans) pinToGeneratorCore();
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-bench-'));
  try {
    if (values.plans) await runPlans(folder);
    else if (values.timing) await runTiming(folder);
    else if (process.env['BENCH_QUICK'] === '1') await runQuick(folder);
    else await runAll(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
