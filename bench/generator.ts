import autocannon from 'autocannon';
import { readFileSync, writeFileSync } from 'node:fs';
import { json } from 'node:stream/consumers';
import { CONNECTIONS, type LoadPlan, type LoadResult, type RequestSet } from './load.ts';
import { coreSeconds, cpuSeconds, residentMiB } from './proc.ts';
import { SERVER_CORE } from './server-process.ts';
import { percentile } from './statistics.ts';

/**
 * Requests that each connection draws before the load and then sends in a circle: building one costs more than
 * sending it.
 */
const DRAWN_PER_CONNECTION = 1500;
const MEMORY_SAMPLE_MS = 200;
/** The interval in which autocannon checks whether to stop. */
const TICK_MS = 100;

type Request = autocannon.Request;

function requestOf({ method, path, part }: RequestSet, line: string): Request {
  return part === 'form'
    ? { method, path, headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: line }
    : { method, path, headers: { authorization: `Bearer ${line}` } };
}

/** Each connection draws its own requests, all equally likely. */
function drawn(set: RequestSet, lines: string[]): Request[] {
  return Array.from({ length: DRAWN_PER_CONNECTION }, () =>
    requestOf(set, lines[Math.floor(Math.random() * lines.length)] ?? ''),
  );
}

/** Distributes all requests among the connections as evenly as possible, the larger shares first. */
function dealt(set: RequestSet, lines: string[], connections: number, answers: string[]): Request[][] {
  const hands = Array.from({ length: connections }, (): Request[] => []);
  lines.forEach((line, index) => {
    const onResponse = (_status: number, body: string): void => {
      answers[index] = body;
    };
    hands[index % connections]?.push({ ...requestOf(set, line), onResponse });
  });
  return hands;
}

const monotonicMicroseconds = (): number => Number(process.hrtime.bigint() / 1000n);

/** Measures the server, the cores and this process from its creation until it is read. */
class Gauge {
  readonly #server: number;
  readonly #from = monotonicMicroseconds();
  readonly #serverCpu: number;
  readonly #generatorCpu = process.cpuUsage();
  readonly #core = coreSeconds(SERVER_CORE);
  readonly #memory: NodeJS.Timeout;
  #residentMiB: number;

  constructor(server: number) {
    this.#server = server;
    this.#serverCpu = cpuSeconds(server);
    this.#residentMiB = residentMiB(server);
    this.#memory = setInterval(() => {
      this.#residentMiB = Math.max(this.#residentMiB, residentMiB(server));
    }, MEMORY_SAMPLE_MS);
  }

  read(latenciesMs: number[]): LoadResult {
    clearInterval(this.#memory);
    const to = monotonicMicroseconds();
    const seconds = (to - this.#from) / 1e6;
    const { user, system } = process.cpuUsage(this.#generatorCpu);
    const server = cpuSeconds(this.#server) - this.#serverCpu;
    latenciesMs.sort((a, b) => a - b);
    return {
      answers: latenciesMs.length,
      window: { from: this.#from, to },
      seconds,
      perSecond: latenciesMs.length / seconds,
      p50Ms: percentile(latenciesMs, 0.5),
      p99Ms: percentile(latenciesMs, 0.99),
      cpuMicroseconds: (server * 1e6) / latenciesMs.length,
      serverBusy: server / seconds,
      generatorBusy: (user + system) / 1e6 / seconds,
      othersBusy: Math.max(0, coreSeconds(SERVER_CORE) - this.#core - server) / seconds,
      residentMiB: this.#residentMiB,
    };
  }
}

async function main(): Promise<void> {
  const { origin, serverPid, requests, pace } = (await json(process.stdin)) as LoadPlan;
  const lines = readFileSync(requests.file, 'utf8').trimEnd().split('\n');
  const connections = pace.kind === 'once' ? Math.min(CONNECTIONS, lines.length) : CONNECTIONS;
  const answers: string[] = [];
  const hands =
    pace.kind === 'once'
      ? dealt(requests, lines, connections, answers)
      : Array.from({ length: connections }, () => drawn(requests, lines));

  let gauge: Gauge | undefined;
  let result: LoadResult | undefined;
  const latenciesMs: number[] = [];
  const options: autocannon.Options = {
    url: origin,
    connections,
    sampleInt: TICK_MS,
    setupClient: (client) => {
      client.setRequests(hands.shift() ?? []);
    },
    ...(pace.kind === 'once'
      ? { amount: lines.length }
      : { duration: Math.ceil(pace.warmUpSeconds + pace.seconds) + 60 }),
  };
  const outcome = await new Promise<autocannon.Result>((resolve, reject) => {
    const instance = autocannon(options, (error: Error | null, done) => {
      if (error) reject(error);
      else resolve(done);
    });
    instance.on('response', (_client, _status, _bytes, milliseconds) => {
      if (gauge && !result) latenciesMs.push(milliseconds);
      if (pace.kind === 'once' && latenciesMs.length === lines.length) result = gauge?.read(latenciesMs);
    });
    if (pace.kind === 'once') {
      gauge = new Gauge(serverPid);
      return;
    }
    setTimeout(() => {
      gauge = new Gauge(serverPid);
      setTimeout(() => {
        result = gauge?.read(latenciesMs);
        instance.stop();
      }, pace.seconds * 1000);
    }, pace.warmUpSeconds * 1000);
  });

  const { non2xx, errors, statusCodeStats } = outcome;
  if (non2xx > 0 || errors > 0 || !result) {
    throw new Error(
      `${requests.path}: ${String(non2xx)} answers that are not 2xx, ${String(errors)} errors: ${JSON.stringify(statusCodeStats)}`,
    );
  }
  if (result.answers === 0) throw new Error(`${requests.path}: no answer in ${String(result.seconds)} s`);
  if (pace.kind === 'once' && pace.answersFile !== undefined) {
    writeFileSync(pace.answersFile, `${answers.join('\n')}\n`);
  }
  process.stdout.write(JSON.stringify(result));
}

await main();
