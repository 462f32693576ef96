import { mkdtemp, rm } from 'node:fs/promises';
import { Agent } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Fleet, type FleetAccount, type Instance, send } from '../test/support/fleet.ts';
import { Nginx } from '../test/support/nginx.ts';
import { describeMachine } from './machine.ts';
import { OwnPostgres, OwnRedis } from './own-servers.ts';
import { writePage } from './page.ts';
import { migrate } from './seed.ts';
import { percentile } from './statistics.ts';
import { interruption, runProgram, tell } from './terminal.ts';

/**
 *     npm run soak                  ten minutes: writes SOAK.md; fails when it finds something
 *     SOAK_MINUTES=2 npm run soak   shorter; too short to say much about memory
 *
 * Three instances behind nginx, as deploy/nginx has it, on a PostgreSQL and a Redis of its own, at 70 % of what they can do, with a
 * fault every minute.
 */

const PAGE = 'SOAK.md';
const MINUTES = Number(process.env['SOAK_MINUTES'] ?? 10);
const MINUTE_MS = 60_000;
const SHARE_OF_CAPACITY = 0.7;
const ACCOUNTS = 50;
/** The search for the capacity: numbers of concurrent requests, and the duration of each step. */
const SEARCH = [8, 16, 32, 64];
const SEARCH_MS = 7_000;
/** Connections, enough for requests that wait for five seconds. */
const WORKERS = 256;
/** When a fault begins within its minute, and how long after its end failures still count as caused by it. */
const FAULT_AT_MS = 15_000;
const RECOVERY_MS = 5_000;
const FREEZE_MS = 2_000;
const SAMPLE_MS = 5_000;
/** The minimum time over which a process's memory is judged, after its first minute. */
const WARM_UP_MS = MINUTE_MS;
const LEAST_MS = 3 * MINUTE_MS;
/** Tolerated growth a minute, as a share of the mean, of resident memory and of the heap after collections. */
const FLAT = { resident: 0.03, heap: 0.02 };

interface Answered {
  readonly begunAt: number;
  readonly endedAt: number;
  readonly isGood: boolean;
}

interface Sample {
  readonly at: number;
  readonly instance: number;
  readonly pid: number;
  readonly residentMiB: number;
  readonly heapMiB: number;
}

interface Window {
  readonly what: string;
  readonly from: number;
  readonly to: number;
}

/** Sends sign-ins and guarded calls with a given concurrency and rate. */
class Traffic {
  answered: Answered[] = [];
  readonly #url: string;
  readonly #fleet: Fleet;
  readonly #accounts: readonly FleetAccount[];
  readonly #tokens: string[];
  #isStopped = false;
  #sent = 0;

  constructor(url: string, fleet: Fleet, accounts: readonly FleetAccount[], tokens: readonly string[]) {
    this.#url = url;
    this.#fleet = fleet;
    this.#accounts = accounts;
    this.#tokens = [...tokens];
  }

  /** @param perSecond Infinity: each worker sends as soon as it has an answer */
  async run(milliseconds: number, workers: number, perSecond: number): Promise<void> {
    const from = performance.now();
    this.#isStopped = false;
    this.#sent = 0;
    const due = (): number => (perSecond === Infinity ? 0 : from + (this.#sent++ / perSecond) * 1000);
    const all = Promise.all(Array.from({ length: workers }, () => this.#work(due)));
    try {
      await sleep(milliseconds, undefined, { signal: interruption });
    } finally {
      this.#isStopped = true;
      await all;
    }
  }

  async #work(due: () => number): Promise<void> {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    while (!this.#isStopped) {
      const wait = due() - performance.now();
      if (wait > 1) await sleep(wait);
      const i = Math.floor(Math.random() * this.#accounts.length);
      const account = this.#accounts[i];
      const isSignIn = Math.random() < 0.4;
      if (!account) throw new Error('There are no accounts');
      const begunAt = performance.now();
      const status = await send(
        this.#url,
        isSignIn ? this.#fleet.signIn(account) : { path: '/me', token: this.#tokens[i] },
        agent,
      ).then(
        (answer) => {
          if (isSignIn && answer.status === 200) this.#tokens[i] = answer.text;
          return answer.status;
        },
        () => 0,
      );
      this.answered.push({ begunAt, endedAt: performance.now(), isGood: status === 200 });
    }
    agent.destroy();
  }
}

/** The throughput that more concurrent requests do not increase. */
async function search(traffic: Traffic): Promise<{ atOnce: number; perSecond: number }[]> {
  const steps: { atOnce: number; perSecond: number }[] = [];
  for (const atOnce of SEARCH) {
    traffic.answered = [];
    const from = performance.now();
    await traffic.run(SEARCH_MS, atOnce, Infinity);
    const good = traffic.answered.filter(({ isGood }) => isGood).length;
    const perSecond = (good / (performance.now() - from)) * 1000;
    tell(`${String(atOnce)} at once: ${perSecond.toFixed(0)} a second`);
    steps.push({ atOnce, perSecond });
  }
  traffic.answered = [];
  return steps;
}

interface Parts {
  readonly fleet: Fleet;
  readonly postgres: OwnPostgres;
  readonly redis: OwnRedis;
}

type Fault = [what: string, inject: (parts: Parts) => Promise<void>];

const ROLLING_RESTART: Fault = [
  'rolling restart',
  async ({ fleet }) => {
    for (const instance of fleet.instances) {
      const { exit, ms } = await instance.stop();
      if (exit !== 0 || ms > 10_000) throw new Error(`An instance ended with ${String(exit)} after ${String(ms)} ms`);
      await instance.start();
    }
  },
];
const KILLED: Fault = [
  'an instance killed and started again',
  async ({ fleet }) => {
    await fleet.instance(1).stop('SIGKILL');
    await fleet.instance(1).start();
  },
];
/** Faults that the instances survive, in order. */
const LIVED_THROUGH: Fault[] = [
  ['PostgreSQL restarted', ({ postgres }) => postgres.restart()],
  ['Redis restarted', ({ redis }) => redis.restart()],
  ['all connections to PostgreSQL ended', ({ postgres }) => postgres.endConnections()],
  [
    'an instance frozen for 2 s',
    async ({ fleet }) => {
      fleet.instance(2).signal('SIGSTOP');
      await sleep(FREEZE_MS);
      fleet.instance(2).signal('SIGCONT');
    },
  ],
  [
    'Redis frozen for 2 s',
    async ({ redis }) => {
      redis.freeze();
      await sleep(FREEZE_MS);
      redis.thaw();
    },
  ],
];

/** Faults that end processes come in the first minutes and in the last one, so that memory can be watched in between. */
function faultOf(minute: number): Fault {
  if (minute === 1) return KILLED;
  const lived = minute > 1 && minute < MINUTES - 1 && LIVED_THROUGH[(minute - 2) % LIVED_THROUGH.length];
  return lived || ROLLING_RESTART;
}

async function sampleOf(instance: Instance, index: number): Promise<Sample | undefined> {
  try {
    const { pid } = instance;
    const answer = await fetch(`${instance.opsUrl}/metrics`, { signal: AbortSignal.timeout(1_000) });
    const text = await answer.text();
    const mib = (name: string): number =>
      Number(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'm').exec(text)?.[1]) / 2 ** 20;
    return {
      at: performance.now(),
      instance: index,
      pid,
      residentMiB: mib('process_resident_memory_bytes'),
      heapMiB: mib('nodejs_heap_size_used_bytes'),
    };
  } catch {
    // This instance is down or frozen.
    return undefined;
  }
}

/** How much a value grows in a minute, by least squares. */
function slopePerMinute(points: readonly { at: number; value: number }[]): number {
  const mean = (of: (point: { at: number; value: number }) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const [at, value] = [mean((point) => point.at), mean((point) => point.value)];
  const covariance = mean((point) => (point.at - at) * (point.value - value));
  return (covariance / mean((point) => (point.at - at) ** 2)) * MINUTE_MS;
}

interface Memory {
  readonly instance: number;
  readonly minutes: number;
  readonly meanMiB: number;
  readonly residentSlope: number;
  readonly heapSlope: number;
  readonly verdict: 'flat' | 'grows' | 'too short to tell';
}

const meanOf = (points: readonly { value: number }[]): number =>
  points.reduce((sum, { value }) => sum + value, 0) / points.length;

/** The longest-running process of each instance. */
function memoryOf(samples: readonly Sample[], instances: number): Memory[] {
  return Array.from({ length: instances }, (_, instance) => {
    const byPid = Map.groupBy(
      samples.filter((sample) => sample.instance === instance),
      ({ pid }) => pid,
    );
    const [longest = []] = [...byPid.values()].sort((a, b) => b.length - a.length);
    const warm = longest.filter(({ at }) => at - (longest[0]?.at ?? 0) > WARM_UP_MS);
    const span = (warm.at(-1)?.at ?? 0) - (warm[0]?.at ?? 0);
    const resident = warm.map(({ at, residentMiB: value }) => ({ at, value }));
    // Memory before a collection says nothing, so the minimum of each minute counts.
    const floors = [...Map.groupBy(warm, ({ at }) => Math.floor(at / MINUTE_MS)).values()].map((samplesOfMinute) => ({
      at: samplesOfMinute[0]?.at ?? 0,
      value: Math.min(...samplesOfMinute.map(({ heapMiB }) => heapMiB)),
    }));
    const meanMiB = meanOf(resident);
    const residentSlope = slopePerMinute(resident);
    const heapSlope = slopePerMinute(floors);
    const isFlat = residentSlope < FLAT.resident * meanMiB && heapSlope < FLAT.heap * meanOf(floors);
    const verdict = span < LEAST_MS ? 'too short to tell' : isFlat ? 'flat' : 'grows';
    return { instance, minutes: span / MINUTE_MS, meanMiB, residentSlope, heapSlope, verdict };
  });
}

interface Soaked {
  readonly steps: { atOnce: number; perSecond: number }[];
  readonly perSecond: number;
  readonly startedAt: number;
  readonly answered: readonly Answered[];
  readonly windows: readonly Window[];
  readonly samples: readonly Sample[];
  readonly memory: readonly Memory[];
}

async function soak(folder: string): Promise<Soaked> {
  await using postgres = await OwnPostgres.start(path.join(folder, 'postgres'));
  await using redis = await OwnRedis.start();
  await migrate(postgres.url);
  const fleet = await Fleet.start(postgres.url, { REDIS_URL: redis.url, LOG_LEVEL: 'warn' });
  const nginx = await Nginx.start(fleet.ports);
  const samples: Sample[] = [];
  const windows: Window[] = [];
  const sampling = setInterval(() => {
    for (const [i, instance] of fleet.instances.entries()) {
      void sampleOf(instance, i).then((sample) => sample && samples.push(sample));
    }
  }, SAMPLE_MS);
  try {
    const accounts: FleetAccount[] = [];
    for (let i = 0; i < ACCOUNTS; i++) accounts.push(await fleet.newAccount());
    const tokens = await Promise.all(accounts.map((account) => fleet.newToken(account)));
    const traffic = new Traffic(nginx.url, fleet, accounts, tokens);
    const steps = await search(traffic);
    const perSecond = Math.floor(SHARE_OF_CAPACITY * Math.max(...steps.map((step) => step.perSecond)));
    tell(`${String(perSecond)} a second for ${String(MINUTES)} minutes`);
    const startedAt = performance.now();
    const running = traffic.run(MINUTES * MINUTE_MS, WORKERS, perSecond);
    // Heard of at the end.
    running.catch(() => undefined);
    for (let minute = 0; minute < MINUTES; minute++) {
      const [what, inject] = faultOf(minute);
      const wait = startedAt + minute * MINUTE_MS + FAULT_AT_MS - performance.now();
      await sleep(Math.max(0, wait), undefined, { signal: interruption });
      const from = performance.now();
      await inject({ fleet, postgres, redis });
      windows.push({ what, from, to: performance.now() + RECOVERY_MS });
      tell(`minute ${String(minute + 1)}: ${what}, ${((performance.now() - from) / 1000).toFixed(1)} s`);
    }
    await running;
    const memory = memoryOf(samples, fleet.instances.length);
    return { steps, perSecond, startedAt, answered: traffic.answered, windows, samples, memory };
  } finally {
    clearInterval(sampling);
    await nginx.remove();
    await fleet.remove();
  }
}

interface Verdict {
  readonly text: string;
  readonly isMet: boolean;
}

function render(soaked: Soaked, machine: [string, string][]): { page: string; verdicts: Verdict[] } {
  const { steps, perSecond, startedAt, answered, windows, samples, memory } = soaked;
  const isInside = ({ begunAt, endedAt }: Answered): boolean =>
    windows.some(({ from, to }) => endedAt >= from && begunAt <= to);
  const minutes = Array.from({ length: MINUTES }, (_, i) => {
    const [from, to] = [startedAt + i * MINUTE_MS, startedAt + (i + 1) * MINUTE_MS];
    const within = answered.filter(({ begunAt }) => begunAt >= from && begunAt < to);
    const quiet = within.filter((each) => !isInside(each));
    const latencies = quiet.map(({ begunAt, endedAt }) => endedAt - begunAt).sort((a, b) => a - b);
    const failed = within.filter(({ isGood }) => !isGood);
    const window = windows.find((each) => each.from >= from && each.from < to);
    const resident = [0, 1, 2].map((instance) =>
      samples.findLast((sample) => sample.instance === instance && sample.at < to)?.residentMiB.toFixed(0),
    );
    return {
      row: [
        String(i + 1),
        window ? `${window.what} (${((window.to - RECOVERY_MS - window.from) / 1000).toFixed(1)} s)` : '',
        String(within.length),
        String(failed.filter(isInside).length),
        String(failed.filter((each) => !isInside(each)).length),
        percentile(latencies, 0.5).toFixed(1),
        percentile(latencies, 0.99).toFixed(1),
        resident.join(' / '),
      ],
    };
  });
  const failed = answered.filter(({ isGood }) => !isGood);
  const outside = failed.filter((each) => !isInside(each)).length;
  const outsideAll = answered.filter((each) => !isInside(each)).length;
  const offered = answered.length / (MINUTES * 60);
  const verdicts: Verdict[] = [
    {
      text: `Of ${String(outsideAll)} requests outside the faults, ${String(outside)} failed.`,
      isMet: outside === 0,
    },
    {
      text: `Of ${String(answered.length - outsideAll)} requests while a fault lasted and ${String(RECOVERY_MS / 1000)} s after it, ${String(failed.length - outside)} failed.`,
      isMet: true,
    },
    {
      text: `${offered.toFixed(0)} requests a second were sent; ${String(perSecond)} were intended.`,
      isMet: offered > 0.95 * perSecond,
    },
    ...memory.map(({ instance, minutes: span, meanMiB, residentSlope, heapSlope, verdict }) => ({
      text:
        `Memory of instance ${String(instance + 1)}: ${verdict}. The process that ran longest was watched for ${span.toFixed(1)} minutes after its first: ` +
        `${meanMiB.toFixed(0)} MiB resident, ${residentSlope.toFixed(2)} MiB a minute; heap after collections ${heapSlope.toFixed(2)} MiB a minute.`,
      isMet: verdict !== 'grows',
    })),
  ];
  const page = `# Soak

Written by \`npm run soak\`: three instances behind nginx (deploy/nginx) with their own PostgreSQL and Redis, at
${String(SHARE_OF_CAPACITY * 100)} % of
the load that this machine can handle, generator included; two fifths sign-ins, three fifths guarded calls, over
${String(WORKERS)} connections;
a fault every minute. A failure is any response other than 200, or none. It counts for a fault if the request was in progress
between the beginning of the fault and ${String(RECOVERY_MS / 1000)} s after its end. Times are those outside the faults.

## Conditions

${machine.map(([name, value]) => `- ${name}: ${value}`).join('\n')}

Capacity: ${steps.map(({ atOnce, perSecond: rate }) => `${rate.toFixed(0)} a second with ${String(atOnce)} at once`).join(', ')}. Sent: ${String(perSecond)} a second.

## Minute by minute

| minute | fault | requests | failed inside | failed outside | p50 ms | p99 ms | resident MiB |
| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |
${minutes.map(({ row }) => `| ${row.join(' | ')} |`).join('\n')}

## Conclusions

${verdicts.map(({ text, isMet }) => `- ${isMet ? '' : '**Not met.** '}${text}`).join('\n')}
`;
  return { page, verdicts };
}

async function main(): Promise<void> {
  const folder = await mkdtemp(path.join(tmpdir(), 'latchkey-soak-'));
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
