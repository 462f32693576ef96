import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { SignInRecorderService } from '../../activity/sign-in-log/sign-in-recorder.service.ts';
import type { Account, AccountCredential } from '../../channel-user/account/account.rules.ts';
import { AccountCache } from '../../channel-user/account/account-cache.service.ts';
import { ImportedPasswordService } from '../../channel-user/account/imported-password.service.ts';
import { usernameKeyOf } from '../../channel-user/model/username.rules.ts';
import { Clock } from '../../platform/common/clock.ts';
import { UnavailableError } from '../../platform/common/errors.ts';
import { ThrottleService } from '../../rate-limit/throttle.service.ts';
import { type Refusal, ResponseDelayService } from '../../password/response-delay.service.ts';
import type { ResponseDelay } from '../../password/response-delay.ts';
import { SignInError, type SignInErrorCode } from './sign-in.errors.ts';
import { SlowPasswordService } from './slow-password.service.ts';
import { isPartnerPage, type PresentedCredentials } from './token-request.ts';

/** A channel user that sent matching credentials and may act now. */
export interface Authenticated {
  readonly account: Account;
  readonly credential: AccountCredential;
}

/** An accepted sign-in, which may get a token. */
export interface SignIn extends Authenticated {
  /** The scopes of the token: the requested ones, or all of the account's if none were requested. */
  readonly scopes: readonly string[];
  readonly presented: PresentedCredentials;
  /** Whether a person signed in on the partner's page, see {@link isPartnerPage}. */
  readonly fromPartnerPage: boolean;
}

/** The result of checking credentials. Staff see `reason`; the client may be told less. */
export type Verdict =
  | { readonly kind: 'ok'; readonly credential: AccountCredential }
  | { readonly kind: 'refused'; readonly credential: AccountCredential; readonly code: SignInErrorCode }
  | Failure;

type Failure =
  | { readonly kind: 'mismatch'; readonly credential: AccountCredential | undefined; readonly reason: string }
  /** The password was not checked. */
  | { readonly kind: 'unchecked'; readonly credential: undefined; readonly reason: string };

/** What credentials are checked for. */
export interface Check {
  /** Has the last word on a credential whose password matches. */
  readonly amend: (verdict: Verdict, account: Account) => Verdict;
  /** The code that the client is told, which the activity shows. */
  readonly codeOf: (code: SignInErrorCode) => string;
}

/** One check of credentials. */
interface Attempt {
  readonly request: FastifyRequest;
  readonly delay: ResponseDelay;
  readonly check: Check;
}

const SIGN_IN: Check = { amend: (verdict) => verdict, codeOf: (code) => code };
const WRONG_PASSWORD: Failure = { kind: 'mismatch', credential: undefined, reason: 'wrong_password' };
const UNKNOWN_USERNAME: Failure = { kind: 'mismatch', credential: undefined, reason: 'unknown_username' };
const NOT_CHECKED: Failure = { kind: 'unchecked', credential: undefined, reason: 'not_checked' };

const REFUSAL_CODES = {
  failed: 'invalid_credentials',
  'too-many': 'too_many_requests',
  'no-time': 'service_unavailable',
} as const satisfies Record<Refusal['kind'], SignInErrorCode>;

const isSubset = (scopes: readonly string[], account: Account | undefined): boolean =>
  scopes.every((scope) => account?.scopes.includes(scope));

const retryAfter = (seconds: number | undefined): Record<string, string> =>
  seconds === undefined ? {} : { 'retry-after': String(seconds) };

/** Decides whether a username and password are accepted, for every endpoint that takes them. */
@Injectable()
export class SignInService {
  constructor(
    private readonly accounts: AccountCache,
    private readonly passwords: ImportedPasswordService,
    private readonly slowPasswords: SlowPasswordService,
    private readonly throttle: ThrottleService,
    private readonly responseDelays: ResponseDelayService,
    private readonly activity: SignInRecorderService,
    private readonly clock: Clock,
  ) {}

  /**
   * Decides whether a client gets a token: checks the credentials, the scopes and the issuance limit.
   *
   * @param scopes the requested ones; if absent, the token gets all of the account's
   * @throws SignInError
   */
  async signIn(presented: PresentedCredentials, request: FastifyRequest, scopes?: readonly string[]): Promise<SignIn> {
    const { account, credential } = await this.authenticate(presented, request);
    if (scopes && !isSubset(scopes, account) && !isSubset(scopes, await this.accounts.readById(account.id))) {
      this.#recordRefusal(request, account, credential, 'invalid_scope', 'invalid_scope');
      throw new SignInError('invalid_scope');
    }
    const exceeded = await this.throttle.takeToken(account.id, account.tokensPerMinute);
    if (exceeded) {
      this.#recordRefusal(request, account, credential, 'too_many_requests', 'issuance_limit');
      throw new SignInError('too_many_requests', { ...retryAfter(exceeded.retryAfter), ...exceeded.headers });
    }
    const fromPartnerPage = isPartnerPage(request);
    return {
      account,
      credential,
      scopes: fromPartnerPage ? [] : (scopes ?? account.scopes),
      presented,
      fromPartnerPage,
    };
  }

  /**
   * Refuses a sign-in whose credential or account ended while its first use was being written, as if it had ended
   * before.
   *
   * @throws SignInError; UnavailableError if nothing has ended after all
   */
  async refuseEnded({ presented }: SignIn, request: FastifyRequest): Promise<never> {
    await this.authenticate(presented, request);
    throw new UnavailableError();
  }

  /**
   * Returns the channel user that the credentials belong to, if it may act now. A mismatch reveals nothing about the
   * account and is answered after the common delay (contract §2).
   *
   * @throws SignInError
   */
  async authenticate(
    presented: Pick<PresentedCredentials, 'username' | 'password'>,
    request: FastifyRequest,
    check: Check = SIGN_IN,
  ): Promise<Authenticated> {
    const delay = this.responseDelays.delayFor(request.arrivedAt, this.responseDelays.partnerHashes);
    try {
      return await this.#authenticate(presented, { request, delay, check });
    } finally {
      delay.cancel();
    }
  }

  async #authenticate(
    { username, password }: Pick<PresentedCredentials, 'username' | 'password'>,
    attempt: Attempt,
  ): Promise<Authenticated> {
    const { request, check } = attempt;
    const address = request.clientAddress;
    const hash = this.passwords.fastHash(password);
    let account = this.accounts.peekByUsername(username);
    let verdict = account ? this.#judge(account, hash, address, check) : UNKNOWN_USERNAME;
    if (verdict.kind !== 'ok') {
      // The cached account may be outdated, so the database decides before anything is refused.
      account = await this.#readFresh(username, account !== undefined);
      verdict = account ? this.#judge(account, hash, address, check) : UNKNOWN_USERNAME;
      if (account && verdict === WRONG_PASSWORD) {
        verdict = await this.#trySlowHash(account, password, attempt);
      }
    }
    if (!account) return this.#refuse(UNKNOWN_USERNAME, username, account, attempt);
    if (verdict.kind === 'ok') return { account, credential: verdict.credential };
    if (verdict.kind !== 'refused') return this.#refuse(verdict, username, account, attempt);
    this.#recordRefusal(request, account, verdict.credential, check.codeOf(verdict.code), verdict.code);
    throw new SignInError(verdict.code);
  }

  /** Counts the failure and answers it after the common delay. */
  async #refuse(
    { kind, credential, reason }: Failure,
    username: string,
    account: Account | undefined,
    { request, delay, check }: Attempt,
  ): Promise<never> {
    const refusal = await this.responseDelays.refuse(
      this.throttle.partnerFailures,
      delay,
      request.clientAddress,
      usernameKeyOf(username),
      kind !== 'unchecked',
    );
    const code = REFUSAL_CODES[refusal.kind];
    // An unknown username is not recorded, because it may be a password in the wrong field.
    if (account) this.#recordRefusal(request, account, credential, check.codeOf(code), reason);
    await refusal.wait();
    throw new SignInError(code, retryAfter(refusal.retryAfter));
  }

  /** @param wasRemembered whether the verdict came from the cached account, so that only the database can change it */
  async #readFresh(username: string, wasRemembered: boolean): Promise<Account | undefined> {
    if (!wasRemembered) {
      const { account, fresh } = await this.accounts.findByUsername(username);
      if (fresh) return account;
    }
    return this.accounts.readByUsername(username);
  }

  #judge(account: Account, hash: string, address: string | undefined, { amend }: Check): Verdict {
    const credential = this.passwords.match(account, hash);
    return credential ? amend(this.#judgeMatch(account, credential, address), account) : WRONG_PASSWORD;
  }

  #judgeMatch(account: Account, credential: AccountCredential, address: string | undefined): Verdict {
    const now = this.clock.now();
    const status = credential.statusAt(now);
    if (status === 'revoked') return { kind: 'mismatch', credential, reason: 'revoked_credential' };
    if (!account.allows(address)) return { kind: 'mismatch', credential, reason: 'address_not_allowed' };
    const ofAccount = account.statusAt(now);
    if (ofAccount !== 'active') return { kind: 'refused', credential, code: `account_${ofAccount}` };
    if (status === 'expired') return { kind: 'refused', credential, code: 'credential_expired' };
    return { kind: 'ok', credential };
  }

  /** Queues the check of a password imported from an older system. While the client must wait, skips the check. */
  async #trySlowHash(account: Account, password: string, { request, delay, check }: Attempt): Promise<Verdict> {
    const credential = this.passwords.slowCredential(account);
    if (!credential) return WRONG_PASSWORD;
    const address = request.clientAddress;
    if (!account.allows(address)) return { kind: 'mismatch', credential, reason: 'address_not_allowed' };
    const throttled = await this.throttle.partnerFailures.stateOf(address, account.usernameKey);
    const presented = { account, credential, password, address };
    const matches = await this.slowPasswords.matches(presented, delay, throttled, (isRight) => !isRight);
    if (matches === undefined) return NOT_CHECKED;
    if (!matches) {
      const reason = this.passwords.isBeyondHash(credential, password) ? 'password_too_long' : 'wrong_password';
      return { kind: 'mismatch', credential: undefined, reason };
    }
    const verdict = check.amend(this.#judgeMatch(account, credential, address), account);
    if (verdict.kind === 'ok') {
      this.passwords.recordAccepted(credential, password, address);
      this.passwords.upgrade(account, credential, password);
    }
    return verdict;
  }

  #recordRefusal(
    request: FastifyRequest,
    account: Account,
    credential: AccountCredential | undefined,
    errorCode: string,
    reason: string,
  ): void {
    this.activity.record(request, {
      channelUserId: account.id,
      credentialId: credential?.id ?? null,
      outcome: 'refused',
      errorCode,
      reason,
    });
  }
}
