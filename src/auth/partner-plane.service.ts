import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { Clock } from '../common/clock.ts';
import type { CurrentChannelUser } from '../common/request-context.ts';
import { ChannelUserService } from '../channel-user/channel-user.service.ts';
import { InvalidTokenError } from './auth.errors.ts';
import { isAllowedAddress, type SignIn } from './sign-in.service.ts';
import { type TokenClaims, TokenService } from './token.service.ts';

/** What a successful sign-in gets. */
export interface IssuedToken {
  readonly token: string;
  readonly expiresIn: number;
  readonly scope: string;
}

const NO_LONGER_VALID = 'The token is no longer valid.';

/** Partners' tokens: what stands in them, and whether their holder may still use them. */
@Injectable()
export class PartnerPlaneService {
  constructor(
    private readonly tokens: TokenService,
    private readonly channelUsers: ChannelUserService,
    private readonly clock: Clock,
  ) {}

  /** Issues a token with every scope of the account. It ends no older one. */
  issue({ channelUser, credential }: SignIn): IssuedToken {
    const scope = channelUser.scopes.join(' ');
    const { token } = this.tokens.sign('partner', channelUser.id, channelUser.tokenTtlSeconds, {
      client_id: channelUser.username,
      cid: credential.id,
      epoch: channelUser.epoch,
      scope,
    });
    return { token, expiresIn: channelUser.tokenTtlSeconds, scope };
  }

  /**
   * Reads the account behind a verified token and holds the token against its state now.
   *
   * @throws InvalidTokenError
   */
  async authenticate(claims: TokenClaims, request: FastifyRequest): Promise<CurrentChannelUser> {
    const now = this.clock.now();
    const channelUser = await this.channelUsers.findForToken(claims.sub);
    const credential = channelUser?.credentials?.find(({ id }) => id === claims['cid']);
    if (
      !channelUser ||
      // A token outlives the expiry of its credential, not its revocation.
      credential?.revokedAt !== null ||
      channelUser.epoch !== claims['epoch'] ||
      channelUser.statusAt(now) !== 'active' ||
      !isAllowedAddress(channelUser, request.clientAddress)
    ) {
      throw new InvalidTokenError(NO_LONGER_VALID);
    }
    const granted = new Set(typeof claims['scope'] === 'string' ? claims['scope'].split(' ') : []);
    return {
      id: channelUser.id,
      username: channelUser.username,
      displayName: channelUser.displayName,
      scopes: channelUser.scopes.filter((scope) => granted.has(scope)),
      token: { id: claims.jti, issuedAt: new Date(claims.iat * 1000), expiresAt: new Date(claims.exp * 1000) },
      credential: { id: credential.id, label: credential.label, expiresAt: credential.expiresAt },
    };
  }
}
