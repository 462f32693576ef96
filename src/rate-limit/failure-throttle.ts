import { createHmac } from 'node:crypto';
import type { RateLimiterAbstract } from 'rate-limiter-flexible';
import { networkOf } from '../common/client-address.ts';
import type { LimiterStore } from './limiter-store.service.ts';

const WINDOW_SECONDS = 15 * 60;
const FREE_PER_PAIR = 10;
const FREE_PER_ADDRESS = 100;
const FIRST_WAIT_SECONDS = 15;

/** What earlier failures mean for an attempt. */
export interface Standing {
  /** The free failures are used up: the next is answered with 429. */
  readonly limited: boolean;
  /** How long nothing more is looked at, in milliseconds from now: only a match on a fast hash gets through. */
  readonly waitMs: number;
}

/** How a limiter has decided since the start. */
export interface Decisions {
  readonly allowed: number;
  readonly refused: number;
}

const FREE: Standing = { limited: false, waitMs: 0 };

/** Grows with each failure beyond the free ones, up to the window. */
const waitSeconds = (beyond: number): number =>
  Math.min(WINDOW_SECONDS, FIRST_WAIT_SECONDS * 2 ** Math.min(beyond, 10));

/**
 * Counts failed sign-ins per (address, name) and per address. It decides whether a failure is answered with 401 or 429,
 * and when slow hashes are worth verifying; what else it may refuse, the caller says.
 */
export class FailureThrottle {
  readonly #pairs: RateLimiterAbstract;
  readonly #addresses: RateLimiterAbstract;
  readonly #waits: RateLimiterAbstract;
  #allowed = 0;
  #refused = 0;

  /**
   * @param plane names its counters
   * @param key an unknown name may be a mistyped password: counters are kept under an HMAC with this key
   */
  constructor(
    store: LimiterStore,
    plane: 'partner' | 'staff' | 'handover',
    private readonly key: Buffer,
  ) {
    const limiter = (name: string, points: number): RateLimiterAbstract =>
      store.create({ name: `${plane}:${name}`, points, durationSeconds: WINDOW_SECONDS });
    this.#pairs = limiter('failures', FREE_PER_PAIR);
    this.#addresses = limiter('address-failures', FREE_PER_ADDRESS);
    this.#waits = limiter('waits', 1);
  }

  /** Failures since the start: those among the free ones, and those that were answered with 429. */
  get decisions(): Decisions {
    return { allowed: this.#allowed, refused: this.#refused };
  }

  /** Counts an attempt that was answered with 429 since a wait is on. */
  noteRefusal(): void {
    this.#refused++;
  }

  /** How an attempt stands before it is made. */
  async standing(address: string | undefined, name: string): Promise<Standing> {
    const [pairKey, addressKey] = this.#keys(address, name);
    const [pair, ofAddress] = await Promise.all([this.#pairs.get(pairKey), this.#addresses.get(addressKey)]);
    const limited =
      (pair?.consumedPoints ?? 0) >= FREE_PER_PAIR || (ofAddress?.consumedPoints ?? 0) >= FREE_PER_ADDRESS;
    return limited ? { limited, waitMs: await this.#waitMs(pairKey, addressKey) } : FREE;
  }

  /**
   * Counts a failure.
   *
   * @returns whether it was beyond the free ones, and how long the client should wait now
   */
  async fail(address: string | undefined, name: string): Promise<Standing> {
    const [pairKey, addressKey] = this.#keys(address, name);
    const ofAddress = (await this.#addresses.penalty(addressKey)).consumedPoints;
    // Beyond its own limit an address makes no more counters, however many names it tries.
    const ofPair = ofAddress > FREE_PER_ADDRESS ? 0 : (await this.#pairs.penalty(pairKey)).consumedPoints;
    const waits = [
      { key: pairKey, beyond: ofPair - FREE_PER_PAIR },
      { key: addressKey, beyond: ofAddress - FREE_PER_ADDRESS },
    ].filter(({ beyond }) => beyond >= 0);
    const beyond = Math.max(-1, ...waits.map((wait) => wait.beyond));
    if (beyond > 0) this.#refused++;
    else this.#allowed++;
    if (waits.length === 0) return FREE;
    await Promise.all(waits.map((wait) => this.#waits.set(wait.key, 1, waitSeconds(wait.beyond))));
    return { limited: beyond > 0, waitMs: waitSeconds(beyond) * 1000 };
  }

  async #waitMs(...keys: string[]): Promise<number> {
    const waits = await Promise.all(keys.map((key) => this.#waits.get(key)));
    return Math.max(0, ...waits.map((wait) => wait?.msBeforeNext ?? 0));
  }

  #keys(address: string | undefined, name: string): [pair: string, address: string] {
    const network = address === undefined ? 'unknown' : networkOf(address);
    const hash = (text: string): string => createHmac('sha256', this.key).update(text).digest('base64url').slice(0, 22);
    return [hash(`${network}\n${name}`), hash(network)];
  }
}
