import { Injectable } from '@nestjs/common';
import { hkdfSync } from 'node:crypto';
import { Config } from '../platform/config/config.ts';
import { type Decisions, FailureThrottle } from './failure-throttle.ts';
import { type Limiter, LimiterStore } from './limiter-store.service.ts';

/** The window of `tokensPerMinute`. */
const ISSUANCE_SECONDS = 60;

/** A channel user has used up its `tokensPerMinute`. */
export interface IssuanceExceeded {
  /** Whole seconds until the next token. */
  readonly retryAfter: number;
  /** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). */
  readonly headers: Record<string, string>;
}

/** The limits on signing in and on hand-over links: failures, and tokens per channel user. */
@Injectable()
export class ThrottleService {
  readonly partnerFailures: FailureThrottle;
  readonly staffFailures: FailureThrottle;
  /** Failed attempts with a secret that nobody can guess: links, and keys of service accounts. */
  readonly handoverFailures: FailureThrottle;
  readonly #issuance: Limiter;
  #tokensAllowed = 0;
  #tokensRefused = 0;

  constructor(store: LimiterStore, config: Config) {
    const key = Buffer.from(hkdfSync('sha256', config.keyEncryptionKeys[0], '', 'latchkey limiter keys', 32));
    this.partnerFailures = new FailureThrottle(store, 'partner', key);
    this.staffFailures = new FailureThrottle(store, 'staff', key);
    this.handoverFailures = new FailureThrottle(store, 'handover', key);
    this.#issuance = store.createUnbounded({ name: 'issuance', durationSeconds: ISSUANCE_SECONDS });
  }

  /** How each limiter has decided since the start. */
  get decisions(): Record<'partner_failures' | 'staff_failures' | 'handover_failures' | 'issuance', Decisions> {
    return {
      partner_failures: this.partnerFailures.decisions,
      staff_failures: this.staffFailures.decisions,
      handover_failures: this.handoverFailures.decisions,
      issuance: { allowed: this.#tokensAllowed, refused: this.#tokensRefused },
    };
  }

  /**
   * Counts one token against a channel user's `tokensPerMinute`.
   *
   * @returns undefined while the limit allows the token
   */
  async takeToken(channelUserId: string, tokensPerMinute: number): Promise<IssuanceExceeded | undefined> {
    const { consumedPoints, msBeforeNext } = await this.#issuance.use(channelUserId);
    if (consumedPoints <= tokensPerMinute) {
      this.#tokensAllowed++;
      return undefined;
    }
    this.#tokensRefused++;
    const retryAfter = Math.max(1, Math.ceil(msBeforeNext / 1000));
    return {
      retryAfter,
      headers: {
        'ratelimit-policy': `"tokens";q=${String(tokensPerMinute)};w=${String(ISSUANCE_SECONDS)}`,
        ratelimit: `"tokens";r=0;t=${String(retryAfter)}`,
      },
    };
  }
}
