import { createHmac } from 'node:crypto';
import { networkOf } from '../platform/http/client-address.ts';
import type { Limiter, LimiterStore } from './limiter-store.service.ts';

/** Failures are counted in windows of this length, which is also the longest wait. */
const WINDOW_SECONDS = 15 * 60;
const FREE_PER_PAIR = 10;
const FREE_PER_ADDRESS = 100;
const FIRST_WAIT_SECONDS = 15;

/** How earlier failures throttle an attempt. */
export interface ThrottleState {
  /** The free failures are used up, so the next failure is answered 429. */
  readonly isLimited: boolean;
  /** Milliseconds until attempts are checked again. Until then, only a match on a fast hash is let through. */
  readonly retryAfterMs: number;
}

/** How often a limiter has allowed and refused since the start. */
export interface Decisions {
  readonly allowed: number;
  readonly refused: number;
}

const FREE: ThrottleState = { isLimited: false, retryAfterMs: 0 };

/** The wait doubles with each failure beyond the free ones, up to the window. */
const waitSeconds = (beyond: number): number =>
  Math.min(WINDOW_SECONDS, FIRST_WAIT_SECONDS * 2 ** Math.min(beyond, 10));

/**
 * Counts failed sign-ins per (address, name) and per address. It decides whether a failure is answered 401 or 429. The
 * caller decides whether a wait also refuses right passwords.
 */
export class FailureThrottle {
  readonly #pairs: Limiter;
  readonly #addresses: Limiter;
  readonly #waits: Limiter;
  #allowed = 0;
  #refused = 0;

  /**
   * @param kind prefix of the limiters' names
   * @param key counters are kept under an HMAC with this key, since an unknown name may be a mistyped password
   */
  constructor(
    store: LimiterStore,
    kind: 'partner' | 'staff' | 'handover',
    private readonly key: Buffer,
  ) {
    const limiter = (name: string): Limiter =>
      store.create({ name: `${kind}:${name}`, durationSeconds: WINDOW_SECONDS });
    this.#pairs = limiter('failures');
    this.#addresses = limiter('address-failures');
    this.#waits = limiter('waits');
  }

  /** Failures since the start: free ones (`allowed`), and those answered 429 (`refused`). */
  get decisions(): Decisions {
    return { allowed: this.#allowed, refused: this.#refused };
  }

  /** Adds an attempt that was answered 429 during a wait to {@link decisions}. It does not lengthen the wait. */
  recordRefusal(): void {
    this.#refused++;
  }

  /** How the next attempt is throttled. Counts nothing. */
  async stateOf(address: string | undefined, name: string): Promise<ThrottleState> {
    const [pairKey, addressKey] = this.#keys(address, name);
    const [pair, ofAddress] = await Promise.all([this.#pairs.get(pairKey), this.#addresses.get(addressKey)]);
    const limited =
      (pair?.consumedPoints ?? 0) >= FREE_PER_PAIR || (ofAddress?.consumedPoints ?? 0) >= FREE_PER_ADDRESS;
    return limited ? { isLimited: limited, retryAfterMs: await this.#waitMs(pairKey, addressKey) } : FREE;
  }

  /**
   * Counts a failure.
   *
   * @returns whether this failure was beyond the free ones, and how long the client has to wait now
   */
  async fail(address: string | undefined, name: string): Promise<ThrottleState> {
    const [pairKey, addressKey] = this.#keys(address, name);
    const ofAddress = (await this.#addresses.use(addressKey)).consumedPoints;
    // An address beyond its own limit creates no more counters, however many names it tries.
    const ofPair = ofAddress > FREE_PER_ADDRESS ? 0 : (await this.#pairs.use(pairKey)).consumedPoints;
    const waits = [
      { key: pairKey, beyond: ofPair - FREE_PER_PAIR },
      { key: addressKey, beyond: ofAddress - FREE_PER_ADDRESS },
    ].filter(({ beyond }) => beyond >= 0);
    const beyond = Math.max(-1, ...waits.map((wait) => wait.beyond));
    if (beyond > 0) this.#refused++;
    else this.#allowed++;
    if (waits.length === 0) return FREE;
    await Promise.all(waits.map((wait) => this.#waits.set(wait.key, 1, waitSeconds(wait.beyond))));
    return { isLimited: beyond > 0, retryAfterMs: waitSeconds(beyond) * 1000 };
  }

  async #waitMs(...keys: string[]): Promise<number> {
    const waits = await Promise.all(keys.map((key) => this.#waits.get(key)));
    return Math.max(0, ...waits.map((wait) => wait?.msBeforeNext ?? 0));
  }

  #keys(address: string | undefined, name: string): [pair: string, address: string] {
    const network = address === undefined ? 'unknown' : networkOf(address);
    const hash = (text: string): string =>
      // Encodes 16 bytes, since a slice of the longer string would keep all of it in memory.
      createHmac('sha256', this.key).update(text).digest().toString('base64url', 0, 16);
    return [hash(`${network}\n${name}`), hash(network)];
  }
}
