import { Agent } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import { send, type Sent } from '../test/support/fleet.ts';
import { passwordOf, usernameOf } from './accounts.ts';
import { interruption, tell } from './terminal.ts';

export interface Answered {
  readonly begunAt: number;
  readonly endedAt: number;
  readonly isGood: boolean;
}

/** The search for the capacity: numbers of concurrent requests, and the duration of each step. */
const SEARCH = [8, 16, 32, 64];
const SEARCH_MS = 7_000;
const SHARE_OF_SIGN_INS = 0.4;

const signIn = (n: number): Sent => ({
  method: 'POST',
  path: '/generateToken',
  form: { Username: usernameOf(n), Password: passwordOf(n) },
});

/**
 * Sends sign-ins and guarded calls of partners drawn at random, with a given concurrency and rate. A partner without a
 * token signs in first.
 */
export class Traffic {
  answered: Answered[] = [];
  readonly #url: string;
  readonly #partners: number;
  readonly #tokens = new Map<number, string>();
  #isStopped = false;
  #sent = 0;

  constructor(url: string, partners: number) {
    this.#url = url;
    this.#partners = partners;
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
      const n = 1 + Math.floor(Math.random() * this.#partners);
      const token = Math.random() < SHARE_OF_SIGN_INS ? undefined : this.#tokens.get(n);
      const begunAt = performance.now();
      const status = await send(this.#url, token === undefined ? signIn(n) : { path: '/me', token }, agent).then(
        (answer) => {
          if (token === undefined && answer.status === 200) this.#tokens.set(n, answer.text);
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
export async function search(traffic: Traffic): Promise<{ atOnce: number; perSecond: number }[]> {
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
