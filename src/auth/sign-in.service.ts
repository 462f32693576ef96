import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { ActivityService } from '../activity/activity.service.ts';
import { type Account, type AccountCredential, Directory, usernameKeyOf } from '../channel-user/directory.service.ts';
import { PasswordService } from '../channel-user/password.service.ts';
import { Clock } from '../common/clock.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { type Moment, WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import { SignInError, type SignInErrorCode } from './auth.errors.ts';
import type { PresentedCredentials } from './token-request.ts';

export type { PresentedCredentials };

/** Somebody whose credentials match, and who may act. */
export interface Authenticated {
  readonly account: Account;
  readonly credential: AccountCredential;
}

/** A sign-in that may have a token. */
export interface SignIn extends Authenticated {
  /** What the token may have: the account's scopes, or those of them that were asked for. */
  readonly scopes: readonly string[];
  /** The credentials came in the URL. */
  readonly fromQuery: boolean;
}

/** What the credentials are worth; `reason` is the true one, for staff. */
type Verdict =
  | { readonly kind: 'ok'; readonly credential: AccountCredential }
  | { readonly kind: 'refused'; readonly credential: AccountCredential; readonly code: SignInErrorCode }
  | { readonly kind: 'mismatch'; readonly credential: AccountCredential | undefined; readonly reason: string };

const WRONG_PASSWORD: Verdict = { kind: 'mismatch', credential: undefined, reason: 'wrong_password' };
const UNKNOWN_USERNAME: Verdict = { kind: 'mismatch', credential: undefined, reason: 'unknown_username' };

const isSubset = (scopes: readonly string[], account: Account | undefined): boolean =>
  scopes.every((scope) => account?.scopes.includes(scope));

const retryAfter = (seconds: number | undefined): Record<string, string> =>
  seconds === undefined ? {} : { 'retry-after': String(seconds) };

/** Decides about a username and password, for every endpoint that takes them. */
@Injectable()
export class SignInService {
  constructor(
    private readonly directory: Directory,
    private readonly passwords: PasswordService,
    private readonly throttle: ThrottleService,
    private readonly waitingRoom: WaitingRoom,
    private readonly activity: ActivityService,
    private readonly clock: Clock,
  ) {}

  /**
   * For a token: the credentials, the scopes and the issuance limit.
   *
   * @param scopes those asked for; absent: all that the account has
   * @throws SignInError
   */
  async signIn(presented: PresentedCredentials, request: FastifyRequest, scopes?: readonly string[]): Promise<SignIn> {
    const { account, credential } = await this.authenticate(presented, request);
    if (scopes && !isSubset(scopes, account) && !isSubset(scopes, await this.directory.readById(account.id))) {
      this.#noteRefusal(request, account, credential, 'invalid_scope', 'invalid_scope');
      throw new SignInError('invalid_scope');
    }
    const exceeded = await this.throttle.takeToken(account.id, account.tokensPerMinute);
    if (exceeded) {
      this.#noteRefusal(request, account, credential, 'too_many_requests', 'issuance_limit');
      throw new SignInError('too_many_requests', { ...retryAfter(exceeded.retryAfter), ...exceeded.headers });
    }
    return { account, credential, scopes: scopes ?? account.scopes, fromQuery: presented.fromQuery };
  }

  /**
   * Who presents the credentials, if they may act now. The order is the contract's: what is not a match tells nothing
   * else about the account, and leaves at the common moment.
   *
   * @throws SignInError
   */
  async authenticate(presented: PresentedCredentials, request: FastifyRequest): Promise<Authenticated> {
    const moment = this.waitingRoom.momentFor(request.arrivedAt, this.waitingRoom.partnerHashes);
    try {
      return await this.#authenticate(presented, request, moment);
    } finally {
      moment.cancel();
    }
  }

  /** Notes that a sign-in obtained a token. */
  noteToken({ account, credential, fromQuery }: SignIn, request: FastifyRequest): void {
    this.activity.record(request, {
      channelUserId: account.id,
      credentialId: credential.id,
      outcome: 'token',
      errorCode: null,
      reason: fromQuery ? 'legacy_query' : null,
    });
  }

  async #authenticate(
    { username, password }: PresentedCredentials,
    request: FastifyRequest,
    moment: Moment,
  ): Promise<Authenticated> {
    const address = request.clientAddress;
    const hash = this.passwords.fastHash(password);
    let account = this.directory.peekByUsername(username);
    let verdict = account ? this.#judge(account, hash, address) : UNKNOWN_USERNAME;
    if (verdict.kind !== 'ok') {
      // No refusal rests on memory.
      account = await this.#readFresh(username, account !== undefined);
      verdict = account ? this.#judge(account, hash, address) : UNKNOWN_USERNAME;
      if (account && verdict === WRONG_PASSWORD) {
        verdict = await this.#trySlowHash(account, password, request, moment);
      }
    }
    if (!account || verdict.kind === 'mismatch') {
      const refusal = await this.waitingRoom.refuse(
        this.throttle.partnerFailures,
        moment,
        address,
        usernameKeyOf(username),
      );
      const code = refusal.retryAfter === undefined ? 'invalid_credentials' : 'too_many_requests';
      // An unknown username is nobody's activity, and may be a mistyped password.
      if (account && verdict.kind === 'mismatch')
        this.#noteRefusal(request, account, verdict.credential, code, verdict.reason);
      await refusal.wait();
      throw new SignInError(code, retryAfter(refusal.retryAfter));
    }
    if (verdict.kind === 'refused') {
      this.#noteRefusal(request, account, verdict.credential, verdict.code, verdict.code);
      throw new SignInError(verdict.code);
    }
    return { account, credential: verdict.credential };
  }

  /** @param wasRemembered whether memory had the account: then it must not be asked again */
  async #readFresh(username: string, wasRemembered: boolean): Promise<Account | undefined> {
    if (!wasRemembered) {
      const { account, fresh } = await this.directory.findByUsername(username);
      if (fresh) return account;
    }
    return this.directory.readByUsername(username);
  }

  #judge(account: Account, hash: string, address: string | undefined): Verdict {
    const credential = this.passwords.match(account, hash);
    return credential ? this.#judgeMatch(account, credential, address) : WRONG_PASSWORD;
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

  /** A password that came from an older system: verified in a queue, and not at all while a wait is on. */
  async #trySlowHash(account: Account, password: string, request: FastifyRequest, moment: Moment): Promise<Verdict> {
    const credential = this.passwords.slowCredential(account);
    if (!credential) return WRONG_PASSWORD;
    const address = request.clientAddress;
    if (!account.allows(address)) return { kind: 'mismatch', credential, reason: 'address_not_allowed' };
    const standing = await this.throttle.partnerFailures.standing(address, account.usernameKey);
    // Once failures count, from known addresses only: others could guess on without waiting.
    const maySkip = !standing.limited || this.passwords.wasUsedFrom(credential, address);
    if (!maySkip || !this.passwords.isLastAccepted(credential, password)) {
      if (standing.waitMs > 0) return WRONG_PASSWORD;
      moment.needsHash();
      const verification = this.passwords.verifySlow(account, credential, password, moment.lastMinute);
      if (!(await this.waitingRoom.inTime(verification, moment))) return WRONG_PASSWORD;
    }
    const verdict = this.#judgeMatch(account, credential, address);
    if (verdict.kind === 'ok') {
      this.passwords.noteAccepted(credential, address);
      this.passwords.upgrade(account, credential, password);
    }
    return verdict;
  }

  #noteRefusal(
    request: FastifyRequest,
    account: Account,
    credential: AccountCredential | undefined,
    errorCode: SignInErrorCode,
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
