import { Agent, type IncomingHttpHeaders, request } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import { createDatabase } from './database.ts';
import { migrate } from './seed.ts';
import { ServerProcess } from './server-process.ts';
import { mannWhitney, type MannWhitney, median, percentile } from './statistics.ts';
import { interruption, tell } from './terminal.ts';
import { type Case, type Comparison, partnerCases, type Probe, reportCases, staffCases } from './timing-cases.ts';
import { latchkey } from './variants.ts';

/**
 * The test that a refused sign-in tells nothing about the reason, and the answer to a report of a leaked password
 * nothing about its result: the times until the first byte of the answer are compared with those for an unknown user.
 */

const SAMPLES = 100;
/** Connections, each with one probe in progress. */
const PARALLEL = 24;
/** Maximum random wait before each probe, which keeps the connections out of step. */
const MAX_PAUSE_MS = 20;
/** Probes that are not counted, during which the engine compiles code. */
const DISCARDED = 64;
const WARM_UP_ATTEMPTS = 3;
/** The probability that a run reports a difference although there is none. */
const FAMILY_ERROR = 0.01;
/** Headers that differ in every response. */
const OWN_HEADERS = ['date', 'x-request-id'];

/** The times of one case, in milliseconds. */
interface Times {
  readonly name: string;
  readonly median: number;
  /** The quartiles: half of all times lie between them. */
  readonly quartiles: readonly [lower: number, upper: number];
}

interface TimingRow extends Times {
  readonly isControl: boolean;
  /** Compared with the reference. */
  readonly medianDifferenceMicroseconds: number;
  readonly test: MannWhitney;
  /** With the Bonferroni correction. */
  readonly p: number;
  readonly differs: boolean;
}

export interface TimingResult {
  readonly title: string;
  readonly samples: number;
  readonly reference: Times;
  readonly rows: readonly TimingRow[];
  /** The number of different responses, ignoring date and request id. It is 1 if they reveal nothing. */
  readonly answers: number;
  readonly familyError: number;
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
  /** The time from writing the request to the first byte of the response. */
  readonly milliseconds: number;
}

function send(origin: string, agent: Agent, { path, contentType, body, address }: Probe): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const headers = {
      'content-type': contentType,
      'content-length': Buffer.byteLength(body),
      'x-forwarded-for': address,
    };
    const outgoing = request(`${origin}${path}`, { method: 'POST', agent, headers });
    outgoing.on('error', reject);
    outgoing.on('response', (response) => {
      const milliseconds = Number(process.hrtime.bigint() - sentAt) / 1e6;
      text(response).then((answer) => {
        resolve({ status: response.statusCode ?? 0, headers: response.headers, body: answer, milliseconds });
      }, reject);
    });
    const sentAt = process.hrtime.bigint();
    outgoing.end(body);
  });
}

/** Works through a list over several connections. */
async function inParallel<T>(items: readonly T[], work: (item: T, agent: Agent) => Promise<void>): Promise<void> {
  const left = items.values();
  const worker = async (): Promise<void> => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    for (const item of left) await work(item, agent);
    agent.destroy();
  };
  await Promise.all(Array.from({ length: PARALLEL }, worker));
}

/** Each call returns a different address of 10.0.0.0/8. */
function addresses(): () => string {
  let count = 0;
  return () => {
    count += 1;
    return `10.${String((count >> 16) & 255)}.${String((count >> 8) & 255)}.${String(count & 255)}`;
  };
}

function shuffle<T>(items: T[]): T[] {
  for (let last = items.length - 1; last > 0; last -= 1) {
    const other = Math.floor(Math.random() * (last + 1));
    [items[last], items[other]] = [items[other] as T, items[last] as T];
  }
  return items;
}

const withoutOwn = ({ status, headers, body }: Answer): string =>
  JSON.stringify([
    status,
    Object.entries(headers)
      .filter(([name]) => !OWN_HEADERS.includes(name))
      .sort(),
    body,
  ]);

/** The request id in the problem document does not count as a difference. */
const anonymous = (answer: Answer): string => {
  const id = answer.headers['x-request-id'];
  return typeof id === 'string' ? withoutOwn(answer).replaceAll(id, '') : withoutOwn(answer);
};

const isSuccess = (status: number): boolean => status >= 200 && status < 300;

function summarize({ name }: Case, times: readonly number[]): Times {
  const sorted = times.toSorted((a, b) => a - b);
  return { name, median: median(sorted), quartiles: [percentile(sorted, 0.25), percentile(sorted, 0.75)] };
}

async function compare(
  { title, status: expectedStatus, reference, cases, warmUp }: Comparison,
  { origin, nextAddress }: { origin: string; nextAddress: () => string },
): Promise<TimingResult> {
  // One by one, and again if the machine is busy, since a slow hash that is not verified in time counts as a non-match.
  const alone = new Agent({ keepAlive: true, maxSockets: 1 });
  for (const probe of warmUp) {
    let status = 0;
    for (let attempt = 0; attempt < WARM_UP_ATTEMPTS && !isSuccess(status); attempt += 1) {
      ({ status } = await send(origin, alone, probe));
    }
    if (!isSuccess(status)) throw new Error(`${title}: a request to warm up was answered with ${String(status)}`);
  }
  alone.destroy();

  const times = new Map<Case, number[]>([reference, ...cases].map((each) => [each, []]));
  const answers = new Set<string>();
  const samples = [...times.keys()].flatMap((each) =>
    Array.from({ length: SAMPLES }, (_, sample) => ({ each, sample })),
  );
  const take = async (probe: Probe, agent: Agent, name: string): Promise<number> => {
    interruption.throwIfAborted();
    await sleep(Math.random() * MAX_PAUSE_MS);
    const answer = await send(origin, agent, probe);
    if (answer.status !== expectedStatus)
      throw new Error(`${title}, ${name}: answered with ${String(answer.status)}, not ${String(expectedStatus)}`);
    answers.add(anonymous(answer));
    return answer.milliseconds;
  };

  const discarded = Array.from({ length: DISCARDED }, (_, sample) => sample);
  await inParallel(discarded, async (sample, agent) => {
    await take(reference.probe(sample, nextAddress()), agent, reference.name);
  });
  await inParallel(shuffle(samples), async ({ each, sample }, agent) => {
    times.get(each)?.push(await take(each.probe(sample, nextAddress()), agent, each.name));
  });

  const expected = times.get(reference) ?? [];
  return {
    title,
    samples: SAMPLES,
    reference: summarize(reference, expected),
    rows: cases.map((each) => {
      const taken = times.get(each) ?? [];
      const test = mannWhitney(taken, expected);
      const p = Math.min(1, test.p * cases.length);
      return {
        ...summarize(each, taken),
        isControl: each.isControl ?? false,
        medianDifferenceMicroseconds: (median(taken) - median(expected)) * 1000,
        test,
        p,
        differs: p < FAMILY_ERROR,
      };
    }),
    answers: answers.size,
    familyError: FAMILY_ERROR,
  };
}

/** Takes all samples on a separate database and server, in about three minutes. @param folder the folder for the log */
export async function measureFailures(folder: string): Promise<TimingResult[]> {
  await using database = await createDatabase('timing');
  await migrate(database.url);
  const partners = await partnerCases(database.url, SAMPLES);
  const staff = await staffCases(database.url);
  const reports = await reportCases(database.url, SAMPLES);
  const definition = latchkey('timing', database.url);
  // Each probe claims a different address, so that no address reaches the limit of failures.
  const trusting = { ...definition, env: { ...definition.env, TRUSTED_PROXIES: '127.0.0.0/8' } };
  await using server = await ServerProcess.start(trusting, folder);
  const around = { origin: server.origin, nextAddress: addresses() };
  const results: TimingResult[] = [];
  for (const comparison of [partners, staff, reports]) {
    tell(`timing of refusals: ${comparison.title}`);
    results.push(await compare(comparison, around));
  }
  return results;
}
