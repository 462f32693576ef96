import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet } from '../test/support/fleet.ts';
import { Nginx } from '../test/support/nginx.ts';
import { describeMachine } from './machine.ts';
import { heapOptions } from './memory-group.ts';
import { OwnPostgres, OwnRedis } from './own-servers.ts';
import { writePage } from './page.ts';
import { migrate, seedChannelUsers } from './seed.ts';
import { faultOf } from './soak-faults.ts';
import { memoryOf, type Sample, sampleOf } from './soak-memory.ts';
import { RECOVERY_MS, render, type Soaked, type Window } from './soak-page.ts';
import { search, Traffic } from './soak-traffic.ts';
import { interruption, runProgram, tell } from './terminal.ts';

/**
 *     npm run soak                      ten minutes: writes SOAK.md; fails when it finds something
 *     SOAK_MINUTES=60 npm run soak      longer; two minutes are too short to say much about memory
 *     SOAK_PER_SECOND=500 npm run soak  at this rate, instead of 70 % of what the machine can handle
 *
 * Three instances behind nginx, as deploy/nginx has it, on a PostgreSQL and a Redis of their own, with a fault every minute.
 */

const PAGE = 'SOAK.md';
const MINUTES = Number(process.env['SOAK_MINUTES'] ?? 10);
const PER_SECOND = process.env['SOAK_PER_SECOND'];
const MINUTE_MS = 60_000;
const SHARE_OF_CAPACITY = 0.7;
const PARTNERS = 100_000;
const MEMORY_MIB = 512;
/** Connections, enough for requests that wait for five seconds. */
const WORKERS = 256;
/** When a fault begins within its minute. */
const FAULT_AT_MS = 15_000;
const SAMPLE_MS = 5_000;
/** From the start of a process until its memory is judged: until most partners are in use, in a run of an hour. */
const WARM_UP_MS = Math.max(1, MINUTES / 6) * MINUTE_MS;

async function rateOf(traffic: Traffic): Promise<{ perSecond: number; rate: string }> {
  if (PER_SECOND !== undefined) {
    return { perSecond: Number(PER_SECOND), rate: `Sent: ${PER_SECOND} a second, a rate given by hand.` };
  }
  const steps = await search(traffic);
  const perSecond = Math.floor(SHARE_OF_CAPACITY * Math.max(...steps.map((step) => step.perSecond)));
  const capacity = steps.map((step) => `${step.perSecond.toFixed(0)} a second with ${String(step.atOnce)} at once`);
  return {
    perSecond,
    rate: `Capacity: ${capacity.join(', ')}. Sent: ${String(perSecond)} a second, ${String(SHARE_OF_CAPACITY * 100)} % of it.`,
  };
}

async function soak(folder: string): Promise<Soaked> {
  await using postgres = await OwnPostgres.start(path.join(folder, 'postgres'));
  await using redis = await OwnRedis.start();
  await migrate(postgres.url);
  await seedChannelUsers(postgres.url, PARTNERS);
  const nodeOptions = heapOptions(MEMORY_MIB);
  const settings = { REDIS_URL: redis.url, LOG_LEVEL: 'warn', NODE_OPTIONS: nodeOptions };
  const fleet = await Fleet.start(postgres.url, settings);
  const nginx = await Nginx.start(fleet.ports);
  const samples: Sample[] = [];
  const windows: Window[] = [];
  const sampling = setInterval(() => {
    for (const [i, instance] of fleet.instances.entries()) {
      void sampleOf(instance, i).then((sample) => sample && samples.push(sample));
    }
  }, SAMPLE_MS);
  try {
    const traffic = new Traffic(nginx.url, PARTNERS);
    const { perSecond, rate } = await rateOf(traffic);
    tell(`${String(perSecond)} a second for ${String(MINUTES)} minutes`);
    const startedAt = performance.now();
    const running = traffic.run(MINUTES * MINUTE_MS, WORKERS, perSecond);
    // Heard of at the end.
    running.catch(() => undefined);
    for (let minute = 0; minute < MINUTES; minute++) {
      const [what, inject] = faultOf(minute, MINUTES);
      const wait = startedAt + minute * MINUTE_MS + FAULT_AT_MS - performance.now();
      await sleep(Math.max(0, wait), undefined, { signal: interruption });
      const from = performance.now();
      await inject({ fleet, postgres, redis });
      windows.push({ what, from, to: performance.now() + RECOVERY_MS });
      tell(`minute ${String(minute + 1)}: ${what}, ${((performance.now() - from) / 1000).toFixed(1)} s`);
    }
    await running;
    const memory = memoryOf(samples, fleet.instances.length, WARM_UP_MS);
    const { answered } = traffic;
    return {
      minutes: MINUTES,
      partners: PARTNERS,
      nodeOptions,
      rate,
      perSecond,
      startedAt,
      answered,
      windows,
      samples,
      memory,
    };
  } finally {
    clearInterval(sampling);
    await nginx.remove();
    await fleet.remove();
  }
}

async function main(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-soak-'));
  // Where the fleet notes its secrets, as in tests.
  process.env['LATCHKEY_TEST_DIR'] = folder;
  try {
    const soaked = await soak(folder);
    const { page, verdicts } = render(soaked, await describeMachine());
    await writePage(PAGE, page);
    for (const { text } of verdicts) tell(text);
    if (!verdicts.every(({ isMet }) => isMet)) process.exitCode = 1;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

await runProgram(main);
