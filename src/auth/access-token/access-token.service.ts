import { Injectable } from '@nestjs/common';
import { Clock } from '../../platform/common/clock.ts';
import type { CurrentChannelUser } from '../../platform/common/principal.ts';
import type { TokenRefusalReason } from '../../platform/common/token-refusal.ts';
import { type Account, type AccountCredential, sharedScopes } from '../../channel-user/account/account.rules.ts';
import { AccountCache } from '../../channel-user/account/account-cache.service.ts';
import { InvalidTokenError } from './access-token.errors.ts';
import { RevokedTokenService } from './revoked-token.service.ts';
import type { VerifiedToken } from './signed-token.service.ts';

const ANYWHERE = Symbol('anywhere');
type Address = string | undefined | typeof ANYWHERE;
const NO_LONGER_VALID = 'The token is no longer valid.';

/** The principal, or why there is none. */
type Admission = CurrentChannelUser | TokenRefusalReason;

const principalOf = (admission: Admission | undefined): CurrentChannelUser | undefined =>
  typeof admission === 'string' ? undefined : admission;

const refused = ({ sub }: VerifiedToken, reason: TokenRefusalReason | undefined): InvalidTokenError =>
  new InvalidTokenError(NO_LONGER_VALID, undefined, reason && { channelUserId: sub, reason });

export const hasScopes = (principal: CurrentChannelUser, scopes: readonly string[]): boolean =>
  scopes.every((scope) => principal.scopes.includes(scope));

function newPrincipal(token: VerifiedToken, account: Account, credential: AccountCredential): CurrentChannelUser {
  const { id, label, expiresAt } = credential;
  return {
    id: account.id,
    username: account.username,
    displayName: account.displayName,
    scopes: token.scopes,
    expiresAt: account.expiresAt,
    selfService: account.selfService,
    token: { id: token.jti, issuedAt: new Date(token.iat * 1000), expiresAt: new Date(token.exp * 1000) },
    credential: { id, label, expiresAt: expiresAt === null ? null : new Date(expiresAt) },
  };
}

/** Says which channel user an access token belongs to, and whether that user may still use it. */
@Injectable()
export class AccessTokenService {
  constructor(
    private readonly accounts: AccountCache,
    private readonly revokedTokens: RevokedTokenService,
    private readonly clock: Clock,
  ) {}

  /**
   * Checks a verified token against the current state of its account. Before this method refuses a token because of its
   * account, it reads the account from the database.
   *
   * @param address where the request came from
   * @param scopes that the route needs. If the cached account lacks one, the account is read again; if it still lacks
   *   one, the caller decides
   * @throws InvalidTokenError
   */
  authenticate(
    token: VerifiedToken,
    address: string | undefined,
    scopes: readonly string[],
  ): CurrentChannelUser | Promise<CurrentChannelUser> {
    const account = this.accounts.peekById(token.sub);
    const principal = principalOf(account && this.#admit(token, account, address));
    if (principal && hasScopes(principal, scopes)) {
      const isRevoked = this.revokedTokens.peek(token.jti);
      if (isRevoked === false) return principal;
      if (isRevoked === undefined) return this.#unlessRevoked(token, principal);
    }
    return this.#authenticate(token, address, scopes, !account);
  }

  /**
   * Finds the channel user of a token for introspection. Works as {@link authenticate}, but ignores the address.
   *
   * @returns nothing when the token is no longer valid
   */
  async channelUserOf(token: VerifiedToken): Promise<CurrentChannelUser | undefined> {
    return principalOf(await this.#readAndAdmit(token, ANYWHERE, [], true));
  }

  /** Asks the database whether the token was revoked, since the deny-list in memory is incomplete or outdated. */
  async #unlessRevoked(token: VerifiedToken, principal: CurrentChannelUser): Promise<CurrentChannelUser> {
    if (await this.revokedTokens.has(token.jti)) throw refused(token, 'token_revoked');
    return principal;
  }

  async #authenticate(
    token: VerifiedToken,
    address: Address,
    scopes: readonly string[],
    mayShare: boolean,
  ): Promise<CurrentChannelUser> {
    const admission = await this.#readAndAdmit(token, address, scopes, mayShare);
    if (admission === undefined || typeof admission === 'string') throw refused(token, admission);
    return admission;
  }

  /** @returns nothing if the account does not exist */
  async #readAndAdmit(
    token: VerifiedToken,
    address: Address,
    scopes: readonly string[],
    mayShare: boolean,
  ): Promise<Admission | undefined> {
    const { sub, jti } = token;
    if (await this.revokedTokens.has(jti)) return 'token_revoked';
    if (mayShare) {
      const { account, fresh } = await this.accounts.findById(sub);
      const admission = account && this.#admit(token, account, address);
      const principal = principalOf(admission);
      if (fresh || (principal && hasScopes(principal, scopes))) return admission;
    }
    const account = await this.accounts.readById(sub);
    return account && this.#admit(token, account, address);
  }

  #admit(token: VerifiedToken, account: Account, address: Address): Admission {
    const status = account.statusAt(this.clock.now());
    if (status !== 'active') return status === 'suspended' ? 'account_suspended' : 'account_expired';
    if (address !== ANYWHERE && !account.allows(address)) return 'address_not_allowed';
    const credential = account.credential(token.cid);
    // Revoking a credential ends its tokens. The expiry of a credential does not.
    if (credential?.revoked !== false) return 'revoked_credential';
    if (account.tokenGeneration !== token.epoch) return 'token_revoked';
    // Account objects are immutable, so the same account object gives the same scopes.
    if (token.account !== account) {
      const granted = new Set(token.scope?.split(' '));
      token.accept(account, credential, sharedScopes(account.scopes.filter((scope) => granted.has(scope))));
    }
    return newPrincipal(token, account, credential);
  }
}
