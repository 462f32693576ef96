import { performance } from 'node:perf_hooks';
import { readFileSync } from 'node:fs';
import { BlockList } from 'node:net';
import path from 'node:path';
import type { Answer, TestApp } from './app.ts';

/** Trusts this machine as a proxy, so that a test can set a request's address with `X-Forwarded-For`. */
export const LOOPBACK_PROXIES = new BlockList();
LOOPBACK_PROXIES.addSubnet('127.0.0.0', 8, 'ipv4');

interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** Asks for a token from an address. The application needs {@link LOOPBACK_PROXIES}. */
export const signInFrom = (
  app: TestApp,
  address: string,
  { username, password }: Credentials,
  headers: Record<string, string> = {},
): Promise<Answer> =>
  app.request('POST', '/generateToken', {
    form: { Username: username, Password: password },
    headers: { 'x-forwarded-for': address, ...headers },
  });

let lastAddress = 0;

/** An IPv4 address of RFC 2544's network that was not returned before. */
export function newAddress(): string {
  lastAddress++;
  return `198.${String(18 + (lastAddress >> 16))}.${String((lastAddress >> 8) & 255)}.${String(lastAddress & 255)}`;
}

/** Runs numbered work with `atOnce` in parallel. After a failure, begins no more and waits for the work in progress. */
export async function inParallel<T>(count: number, atOnce: number, work: (i: number) => Promise<T>): Promise<T[]> {
  const results = new Array<T>(count);
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let i = next++; i < count; i = next++) {
      try {
        results[i] = await work(i);
      } catch (error) {
        next = count;
        throw error;
      }
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: Math.min(atOnce, count) }, worker));
  const failure = ends.find((end) => end.status === 'rejected');
  if (failure) throw failure.reason;
  return results;
}

/** How often each status occurs. */
export function tally(answers: readonly { readonly status: number }[]): Record<number, number> {
  const counts: Record<number, number> = {};
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1;
  return counts;
}

/** Milliseconds for what happens within one second on an idle machine. */
const PATIENCE_MS = 60_000;

/** Repeats `ask` until it returns a value, and once after the time is up, so that a slow machine does not run out of it. */
export async function eventually<T>(
  ask: () => T | undefined | Promise<T | undefined>,
  what: string,
  withinMs = PATIENCE_MS,
): Promise<T> {
  const end = performance.now() + withinMs;
  for (;;) {
    const isLast = performance.now() > end;
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (isLast) throw new Error(`Not within ${String(withinMs)} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Repeats `isSo` until it holds. */
export async function until(
  isSo: () => boolean | Promise<boolean>,
  what: string,
  withinMs = PATIENCE_MS,
): Promise<void> {
  await eventually(async () => ((await isSo()) ? true : undefined), what, withinMs);
}

/**
 * Repeats a request that is answered 503, as a client does: on a busy machine, simultaneous changes of one account may
 * not get their turn in time. Such an answer has changed nothing.
 */
export function unlessBusy<Answered extends { readonly status: number }>(
  ask: () => Promise<Answered>,
): Promise<Answered> {
  return eventually(async () => {
    const answer = await ask();
    return answer.status === 503 ? undefined : answer;
  }, 'the server has time for the request');
}

/** Gives a partner a password as an import stores it. @returns the credential's id */
export async function importPassword(app: TestApp, channelUserId: string, secretHash: string): Promise<string> {
  const rows = await app.dataSource.query<{ id: string }[]>(
    `INSERT INTO credential (channel_user_id, label, fingerprint, secret_hash) VALUES ($1, 'imported', NULL, $2)
      RETURNING id`,
    [channelUserId, secretHash],
  );
  if (!rows[0]) throw new Error('The credential was not inserted');
  return rows[0].id;
}

/** The log lines of all applications of this test process. */
export function logLines(): Record<string, unknown>[] {
  const file = path.join(process.env['LATCHKEY_TEST_DIR'] ?? '', `output-${String(process.pid)}`);
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Record<string, unknown>);
}

/** The log line of a request. */
export function requestLine(answer: Answer): Record<string, unknown> {
  const id = answer.headers.get('x-request-id');
  const line = logLines().find(({ requestId, msg }) => requestId === id && msg === 'request');
  if (!line) throw new Error(`No line tells of the request ${String(id)}`);
  return line;
}
