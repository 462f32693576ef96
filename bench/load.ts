import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { interruption } from './terminal.ts';

/** Keep-alive connections, each with one request in progress. */
export const CONNECTIONS = 32;

/** Requests that differ only in one part, which is read from a file with one line for each. */
export interface RequestSet {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly part: 'form' | 'bearer';
  readonly file: string;
}

/** A load of requests chosen at random, for a fixed time. */
export interface RandomPace {
  readonly kind: 'random';
  /** Seconds that are not counted. */
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

/** Sends every request once, as fast as the server responds. */
export interface OncePace {
  readonly kind: 'once';
  /** The file for the bodies of the responses, with one line for each request. */
  readonly answersFile?: string;
}

export interface LoadPlan {
  readonly origin: string;
  readonly serverPid: number;
  readonly requests: RequestSet;
  readonly pace: RandomPace | OncePace;
}

export interface LoadResult {
  readonly answers: number;
  /** The time of counting, in microseconds of the monotonic clock. */
  readonly window: { readonly from: number; readonly to: number };
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** Processor time of the server for each answer, user and system time of all its threads, in microseconds. */
  readonly cpuMicroseconds: number;
  /** The share of its core's time that the server used, 0 to 1. */
  readonly serverBusy: number;
  /** The share of its core's time that the generator used: near 1, the generator was the limit and not the server. */
  readonly generatorBusy: number;
  /** The share of the server's core that other programs used, mainly PostgreSQL. */
  readonly othersBusy: number;
  /** The maximum resident memory of the server, in MiB. */
  readonly residentMiB: number;
}

const OVERTIME_MS = 300_000;

/**
 * Runs one load in a separate process.
 *
 * @throws Error when any answer was not 2xx, a connection failed, or the run is interrupted
 */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const seconds = plan.pace.kind === 'random' ? plan.pace.warmUpSeconds + plan.pace.seconds : 0;
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'generator.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: seconds * 1000 + OVERTIME_MS,
    signal: interruption,
    // Ctrl-C must reach the benchmark first, which then ends this process.
    detached: true,
  });
  child.stdin.end(JSON.stringify(plan));
  const [output, [code]] = await Promise.all([
    text(child.stdout),
    once(child, 'close') as Promise<[code: number | null]>,
  ]);
  if (code !== 0) throw new Error(`The load on ${plan.origin}${plan.requests.path} failed, see above`);
  return JSON.parse(output) as LoadResult;
}
