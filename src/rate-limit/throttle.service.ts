import { Injectable } from '@nestjs/common';
import { hkdfSync } from 'node:crypto';
import { Config } from '../config/config.ts';
import { type Decisions, FailureThrottle } from './failure-throttle.ts';
import { LimiterStore } from './limiter-store.service.ts';

/** The period that `tokensPerMinute` counts in. */
const ISSUANCE_SECONDS = 60;

/** That a channel user had more tokens than its minute holds. */
export interface IssuanceExceeded {
  /** Until the next token, in whole seconds. */
  readonly retryAfter: number;
  /** `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers). */
  readonly headers: Record<string, string>;
}

/** The limits on signing in and on hand-over links: failures, and tokens per channel user. */
@Injectable()
export class ThrottleService {
  readonly partnerFailures: FailureThrottle;
  readonly staffFailures: FailureThrottle;
  /** Of links that do not work. */
  readonly handoverFailures: FailureThrottle;
  readonly #countToken: ReturnType<LimiterStore['counter']>;
  #tokensAllowed = 0;
  #tokensRefused = 0;

  constructor(store: LimiterStore, config: Config) {
    const key = Buffer.from(hkdfSync('sha256', config.keyEncryptionKeys[0], '', 'latchkey limiter keys', 32));
    this.partnerFailures = new FailureThrottle(store, 'partner', key);
    this.staffFailures = new FailureThrottle(store, 'staff', key);
    this.handoverFailures = new FailureThrottle(store, 'handover', key);
    this.#countToken = store.counter('issuance', ISSUANCE_SECONDS);
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
   * Takes a token out of a channel user's bucket, which starts full.
   *
   * @returns nothing when there was one
   */
  async takeToken(channelUserId: string, tokensPerMinute: number): Promise<IssuanceExceeded | undefined> {
    const { consumedPoints, msBeforeNext } = await this.#countToken(channelUserId);
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
