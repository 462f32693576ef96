import { spawn } from 'node:child_process';
import { once } from 'node:events';
import path from 'node:path';
import { text } from 'node:stream/consumers';
import { interruption } from './terminal.ts';

/** Keep-alive connections, each with one request under way. */
export const CONNECTIONS = 32;

/** Requests that differ in one part only, which stands in a file, a line for each. */
export interface RequestSet {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly part: 'form' | 'bearer';
  readonly file: string;
}

/** A load of requests chosen at random, for a fixed time. */
export interface RandomPace {
  readonly kind: 'random';
  /** Not counted. */
  readonly warmUpSeconds: number;
  readonly seconds: number;
}

/** Every request once, as fast as the server answers. */
interface OncePace {
  readonly kind: 'once';
  /** Where the bodies of the answers go, a line for each request. */
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
  /** When it was counted: microseconds of the machine's monotonic clock. */
  readonly window: { readonly from: number; readonly to: number };
  readonly seconds: number;
  readonly perSecond: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The share of its core's time that the server used, 0 to 1. */
  readonly serverBusy: number;
  /** The share of its core's time that the generator used: near 1, the generator was the limit and not the server. */
  readonly generatorBusy: number;
  /** The share of the server's core that other programs used, PostgreSQL above all. */
  readonly othersBusy: number;
  /** The most resident memory that the server had, in MiB. */
  readonly residentMiB: number;
}

const OVERTIME_MS = 300_000;

/**
 * Runs one load in a process of its own.
 *
 * @throws Error when any answer was not 2xx, a connection failed, or the run is interrupted
 */
export async function runLoad(plan: LoadPlan): Promise<LoadResult> {
  const seconds = plan.pace.kind === 'random' ? plan.pace.warmUpSeconds + plan.pace.seconds : 0;
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'generator.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
    timeout: seconds * 1000 + OVERTIME_MS,
    signal: interruption,
  });
  child.stdin.end(JSON.stringify(plan));
  const [output, [code]] = await Promise.all([
    text(child.stdout),
    once(child, 'close') as Promise<[code: number | null]>,
  ]);
  if (code !== 0) throw new Error(`The load on ${plan.origin}${plan.requests.path} failed, see above`);
  return JSON.parse(output) as LoadResult;
}
