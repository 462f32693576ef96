import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SignInRecorderService } from '../../activity/sign-in-log/sign-in-recorder.service.ts';
import { isAnswerable } from '../../platform/http/deadline.ts';
import { SignedTokenService } from '../access-token/signed-token.service.ts';
import type { SignIn } from './sign-in.service.ts';

export interface IssuedToken {
  readonly token: string;
  /** The life of the token, in seconds. */
  readonly expiresIn: number;
  /** Scopes, separated by spaces. */
  readonly scope: string;
}

/** Issues the token of a sign-in, for `/generateToken` and `/oauth2/token` alike. */
@Injectable()
export class TokenIssuerService {
  constructor(
    private readonly tokens: SignedTokenService,
    private readonly activity: SignInRecorderService,
  ) {}

  /** Signs an access token and records the sign-in. Older tokens stay valid. */
  async issue(signIn: SignIn, request: FastifyRequest, reply: FastifyReply): Promise<IssuedToken> {
    const { account, credential, scopes } = signIn;
    const scope = scopes.join(' ');
    const { token } = await this.tokens.sign('partner', account.id, account.tokenTtlSeconds, {
      client_id: account.username,
      cid: credential.id,
      epoch: account.tokenGeneration,
      scope,
    });
    // After the deadline, the token does not reach the client, so it is not recorded.
    if (isAnswerable(reply)) this.#record(signIn, request);
    return { token, expiresIn: account.tokenTtlSeconds, scope };
  }

  #record({ account, credential, fromQuery }: SignIn, request: FastifyRequest): void {
    this.activity.record(request, {
      channelUserId: account.id,
      credentialId: credential.id,
      outcome: 'token',
      errorCode: null,
      reason: fromQuery ? 'legacy_query' : null,
    });
  }
}
