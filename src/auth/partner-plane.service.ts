import { Injectable } from '@nestjs/common';
import { Clock } from '../common/clock.ts';
import type { CurrentChannelUser } from '../common/request-context.ts';
import { type Account, Directory } from '../channel-user/directory.service.ts';
import { InvalidTokenError } from './auth.errors.ts';
import { RevokedTokenService } from './revoked-token.service.ts';
import type { SignIn } from './sign-in.service.ts';
import { TokenService, type VerifiedToken } from './token.service.ts';

/** What a successful sign-in gets. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresIn: number;
  readonly scope: string;
}

const ANYWHERE = Symbol('anywhere');
type Address = string | undefined | typeof ANYWHERE;
const NO_LONGER_VALID = 'The token is no longer valid.';

export const hasScopes = (principal: CurrentChannelUser, scopes: readonly string[]): boolean =>
  scopes.every((scope) => principal.scopes.includes(scope));

/** Partners' tokens: what stands in them, and whether their holder may still use them. */
@Injectable()
export class PartnerPlaneService {
  constructor(
    private readonly tokens: TokenService,
    private readonly directory: Directory,
    private readonly revokedTokens: RevokedTokenService,
    private readonly clock: Clock,
  ) {}

  /** Issues a token with the scopes that were asked for, or all of the account. It ends no older one. */
  async issue({ account, credential, scopes }: SignIn): Promise<IssuedToken> {
    const scope = scopes.join(' ');
    const { token } = await this.tokens.sign('partner', account.id, account.tokenTtlSeconds, {
      client_id: account.username,
      cid: credential.id,
      epoch: account.epoch,
      scope,
    });
    return { token, expiresIn: account.tokenTtlSeconds, scope };
  }

  /**
   * Holds a verified token against the state of its account now.
   *
   * @param address where the request came from
   * @param scopes what the route asks for: one that memory does not have is looked for in the database, and whether it
   *   is there is up to the caller
   * @throws InvalidTokenError, never on account of what only memory says
   */
  authenticate(
    token: VerifiedToken,
    address: string | undefined,
    scopes: readonly string[],
  ): CurrentChannelUser | Promise<CurrentChannelUser> {
    const account = this.directory.peekById(token.claims.sub);
    const principal = account && this.#admit(token, account, address);
    if (principal && hasScopes(principal, scopes) && this.revokedTokens.peek(token.claims.jti) === false) {
      return principal;
    }
    return this.#authenticate(token, address, scopes, !account);
  }

  /**
   * Who a token belongs to, for somebody else who asks: as {@link authenticate}, wherever it is used from.
   *
   * @returns nothing when it is of no use any more
   */
  holderOf(token: VerifiedToken): Promise<CurrentChannelUser | undefined> {
    return this.#readAndAdmit(token, ANYWHERE, [], true);
  }

  async #authenticate(
    token: VerifiedToken,
    address: Address,
    scopes: readonly string[],
    mayShare: boolean,
  ): Promise<CurrentChannelUser> {
    const principal = await this.#readAndAdmit(token, address, scopes, mayShare);
    if (!principal) throw new InvalidTokenError(NO_LONGER_VALID);
    return principal;
  }

  async #readAndAdmit(
    token: VerifiedToken,
    address: Address,
    scopes: readonly string[],
    mayShare: boolean,
  ): Promise<CurrentChannelUser | undefined> {
    const { sub, jti } = token.claims;
    if (await this.revokedTokens.has(jti)) return undefined;
    if (mayShare) {
      const { account, fresh } = await this.directory.findById(sub);
      const principal = account && this.#admit(token, account, address);
      if (fresh || (principal && hasScopes(principal, scopes))) return principal;
    }
    const account = await this.directory.readById(sub);
    return account && this.#admit(token, account, address);
  }

  #admit(token: VerifiedToken, account: Account, address: Address): CurrentChannelUser | undefined {
    if (account.statusAt(this.clock.now()) !== 'active') return undefined;
    if (address !== ANYWHERE && !account.allows(address)) return undefined;
    // Accounts are immutable: what was worked out for this one still holds.
    if (token.memo?.account === account) return token.memo.principal;
    const { claims } = token;
    const credential = account.credential(claims['cid']);
    // A token outlives the expiry of its credential, not its revocation.
    if (credential?.revoked !== false || account.epoch !== claims['epoch']) return undefined;
    const granted = new Set(typeof claims['scope'] === 'string' ? claims['scope'].split(' ') : []);
    const principal: CurrentChannelUser = {
      id: account.id,
      username: account.username,
      displayName: account.displayName,
      scopes: account.scopes.filter((scope) => granted.has(scope)),
      token: { id: claims.jti, issuedAt: new Date(claims.iat * 1000), expiresAt: new Date(claims.exp * 1000) },
      credential: {
        id: credential.id,
        label: credential.label,
        expiresAt: credential.expiresAt === null ? null : new Date(credential.expiresAt),
      },
    };
    token.memo = { account, principal };
    return principal;
  }
}
