import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { SignInRecorderService } from '../../activity/sign-in-log/sign-in-recorder.service.ts';
import { RotationService } from '../../channel-user/credential/rotation.service.ts';
import { isAnswerable } from '../../platform/http/deadline.ts';
import { SignedTokenService } from '../access-token/signed-token.service.ts';
import { type SignIn, SignInService } from './sign-in.service.ts';

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
    private readonly signIns: SignInService,
    private readonly tokens: SignedTokenService,
    private readonly rotations: RotationService,
    private readonly activity: SignInRecorderService,
  ) {}

  /**
   * Signs an access token and records the sign-in. Older tokens stay valid. The first token of a pending credential
   * makes it active, before the token is answered.
   *
   * @throws SignInError when the credential or its account has just ended
   */
  async issue(signIn: SignIn, request: FastifyRequest, reply: FastifyReply): Promise<IssuedToken> {
    const { account, credential, scopes } = signIn;
    const scope = scopes.join(' ');
    const { token } = await this.tokens.sign('partner', account.id, account.tokenTtlSeconds, {
      client_id: account.username,
      cid: credential.id,
      epoch: account.tokenGeneration,
      scope,
    });
    if (credential.pending && !signIn.fromPartnerPage && isAnswerable(reply)) {
      const isActive = await this.rotations.activate(account.id, credential.id, request);
      if (!isActive) await this.signIns.refuseEnded(signIn, request);
    }
    // After the deadline, the token does not reach the client, so it is not recorded.
    if (isAnswerable(reply)) this.#record(signIn, request);
    return { token, expiresIn: account.tokenTtlSeconds, scope };
  }

  #record({ account, credential, presented, fromPartnerPage }: SignIn, request: FastifyRequest): void {
    this.activity.record(request, {
      channelUserId: account.id,
      credentialId: credential.id,
      outcome: 'token',
      errorCode: null,
      reason: presented.fromQuery ? 'legacy_query' : fromPartnerPage ? 'partner_page' : null,
    });
  }
}
