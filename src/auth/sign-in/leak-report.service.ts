import { Injectable, Logger } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import type { Account, AccountCredential } from '../../channel-user/account/account.rules.ts';
import { AccountCache } from '../../channel-user/account/account-cache.service.ts';
import { ImportedPasswordService } from '../../channel-user/account/imported-password.service.ts';
import { CredentialEndService } from '../../channel-user/credential/credential-end.service.ts';
import { usernameKeyOf } from '../../channel-user/model/username.rules.ts';
import { ResponseDelayService } from '../../password/response-delay.service.ts';
import type { ResponseDelay } from '../../password/response-delay.ts';
import { UnavailableError } from '../../platform/common/errors.ts';
import type { ThrottleState } from '../../rate-limit/failure-throttle.ts';
import { ThrottleService } from '../../rate-limit/throttle.service.ts';
import type { LeakReportRequest } from './leak-report.dto.ts';
import { TooManyLeakReportsError } from './leak-report.errors.ts';
import { SlowPasswordService } from './slow-password.service.ts';

/**
 * Takes reports of leaked passwords. Neither the answer, nor its time, nor the counters tell whether a username or a
 * password exists.
 */
@Injectable()
export class LeakReportService {
  readonly #logger = new Logger(LeakReportService.name);

  constructor(
    private readonly accounts: AccountCache,
    private readonly passwords: ImportedPasswordService,
    private readonly slowPasswords: SlowPasswordService,
    private readonly ends: CredentialEndService,
    private readonly throttle: ThrottleService,
    private readonly responseDelays: ResponseDelayService,
  ) {}

  /**
   * Ends a password, if it is right. Every report counts like a failed sign-in, before its result is known. When the
   * ending is not written in time, that counts as a check that was not made in time: then every concurrent report and
   * refused sign-in is answered 503, whatever its name.
   *
   * @throws TooManyLeakReportsError; UnavailableError if the password may be right but has not ended
   */
  async report({ username, password }: LeakReportRequest, request: FastifyRequest): Promise<void> {
    const { arrivedAt, clientAddress } = request;
    const delay = this.responseDelays.delayFor(arrivedAt, this.responseDelays.partnerHashes);
    try {
      const attempt = await this.responseDelays.count(
        this.throttle.partnerFailures,
        delay,
        clientAddress,
        usernameKeyOf(username),
      );
      const account = await this.accounts.readByUsername(username);
      const credential = account && (await this.#find(account, password, clientAddress, delay, attempt.before));
      if (credential) {
        const ended = this.#end(account.id, credential, request);
        // While a wait is on, the ending is no part of the answer: a 429 leaves as soon as that of any other name.
        if (attempt.before.retryAfterMs === 0) await delay.result(ended);
      }
      const refusal = await attempt.refusal();
      await refusal.wait();
      if (refusal.kind === 'too-many') throw new TooManyLeakReportsError(refusal.retryAfter ?? 1);
      if (refusal.kind === 'no-time') throw new UnavailableError(undefined, refusal.retryAfter);
    } finally {
      delay.cancel();
    }
  }

  /** The account's credential that has a password, if the password could be checked. */
  async #find(
    account: Account,
    password: string,
    address: string | undefined,
    delay: ResponseDelay,
    throttled: ThrottleState,
  ): Promise<AccountCredential | undefined> {
    const generated = this.passwords.match(account, this.passwords.fastHash(password));
    if (generated) return generated;
    const credential = this.passwords.slowCredential(account);
    if (!credential) return undefined;
    const presented = { account, credential, password, address };
    // A result that comes too late is not counted, since the report has been.
    const matches = await this.slowPasswords.matches(presented, delay, throttled, () => false);
    return matches === true ? credential : undefined;
  }

  /** @returns nothing when it could not be written */
  async #end(channelUserId: string, { id }: AccountCredential, request: FastifyRequest): Promise<true | undefined> {
    try {
      await this.ends.report(channelUserId, id, { address: request.clientAddress, requestId: request.id });
      return true;
    } catch (error) {
      this.#logger.warn(`Ending a leaked password failed, it still works: ${(error as Error).message}`);
      return undefined;
    }
  }
}
