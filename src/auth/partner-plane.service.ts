import { Injectable } from '@nestjs/common';
import { Clock } from '../common/clock.ts';
import type { CurrentChannelUser } from '../common/request-context.ts';
import { type Account, Directory } from '../channel-user/directory.service.ts';
import { InvalidTokenError } from './auth.errors.ts';
import type { SignIn } from './sign-in.service.ts';
import { TokenService, type VerifiedToken } from './token.service.ts';

/** What a successful sign-in gets. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresIn: number;
  readonly scope: string;
}

const NO_LONGER_VALID = 'The token is no longer valid.';

export const hasScopes = (principal: CurrentChannelUser, scopes: readonly string[]): boolean =>
  scopes.every((scope) => principal.scopes.includes(scope));

/** Partners' tokens: what stands in them, and whether their holder may still use them. */
@Injectable()
export class PartnerPlaneService {
  constructor(
    private readonly tokens: TokenService,
    private readonly directory: Directory,
    private readonly clock: Clock,
  ) {}

  /** Issues a token with every scope of the account. It ends no older one. */
  async issue({ account, credential }: SignIn): Promise<IssuedToken> {
    const scope = account.scopes.join(' ');
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
    return principal && hasScopes(principal, scopes) ? principal : this.#readAndAdmit(token, address, scopes, !account);
  }

  async #readAndAdmit(
    token: VerifiedToken,
    address: string | undefined,
    scopes: readonly string[],
    mayShare: boolean,
  ): Promise<CurrentChannelUser> {
    const { sub } = token.claims;
    const reading = mayShare ? await this.directory.findById(sub) : undefined;
    let principal = reading?.account && this.#admit(token, reading.account, address);
    if (reading?.fresh !== true && !(principal && hasScopes(principal, scopes))) {
      const account = await this.directory.readById(sub);
      principal = account && this.#admit(token, account, address);
    }
    if (!principal) throw new InvalidTokenError(NO_LONGER_VALID);
    return principal;
  }

  #admit(token: VerifiedToken, account: Account, address: string | undefined): CurrentChannelUser | undefined {
    if (account.statusAt(this.clock.now()) !== 'active' || !account.allows(address)) return undefined;
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
