import { Injectable } from '@nestjs/common';
import type { Account, AccountCredential } from '../../channel-user/account/account.rules.ts';
import { ImportedPasswordService } from '../../channel-user/account/imported-password.service.ts';
import type { ResponseDelay } from '../../password/response-delay.ts';
import type { ThrottleState } from '../../rate-limit/failure-throttle.ts';
import { ThrottleService } from '../../rate-limit/throttle.service.ts';

/** A password that a client sent for an account, and the address it came from. */
interface Presented {
  readonly account: Account;
  readonly credential: AccountCredential;
  readonly password: string;
  readonly address: string | undefined;
}

/** Checks passwords that were imported from an older system. */
@Injectable()
export class SlowPasswordService {
  constructor(
    private readonly passwords: ImportedPasswordService,
    private readonly throttle: ThrottleService,
  ) {}

  /**
   * Whether a password matches a slow hash. Queues the check, and skips it while the client must wait.
   *
   * @param throttled how earlier failures throttle this attempt
   * @param countsLate whether a result that comes too late to be answered counts as a failure
   * @returns nothing when the password was not checked, or not in time
   */
  async matches(
    presented: Presented,
    delay: ResponseDelay,
    throttled: ThrottleState,
    countsLate: (isRight: boolean) => boolean,
  ): Promise<boolean | undefined> {
    const { credential, password, address } = presented;
    // Once failures are limited, only known addresses may skip the check. Others could guess without waiting.
    const maySkip = !throttled.isLimited || this.passwords.wasUsedFrom(credential, address);
    if (maySkip && this.passwords.isLastAccepted(credential, password)) return true;
    return throttled.retryAfterMs > 0 ? undefined : this.#check(presented, delay, countsLate);
  }

  async #check(
    { account, credential, password, address }: Presented,
    delay: ResponseDelay,
    countsLate: (isRight: boolean) => boolean,
  ): Promise<boolean | undefined> {
    this.passwords.expect(credential.secretHash);
    const check = this.passwords.verifySlow(account, credential, password, delay.deadline);
    const matches = await delay.result(check);
    if (matches === undefined) {
      check
        .then(async (isRight) => {
          if (countsLate(isRight)) await this.throttle.partnerFailures.fail(address, account.usernameKey);
        })
        // When the queue is full or the counters are unreachable, nothing is counted.
        .catch(() => undefined);
    }
    return matches;
  }
}
