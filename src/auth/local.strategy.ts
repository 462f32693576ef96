import { Injectable } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import type { FastifyRequest } from 'fastify';
import { Strategy } from 'passport-local';
import { type SignIn, SignInService } from './sign-in.service.ts';
import type { PresentedCredentials } from './token-request.ts';

/** What passport-local sees: the checked credentials as `body`, and nothing in `query`, which it would read too. */
export interface CheckedRequest {
  readonly body: PresentedCredentials;
  readonly request: FastifyRequest;
  user?: SignIn;
}

@Injectable()
export class LocalStrategy extends PassportStrategy(Strategy) {
  constructor(private readonly signIns: SignInService) {
    super({ passReqToCallback: true });
  }

  validate({ body, request }: CheckedRequest): Promise<SignIn> {
    return this.signIns.signIn(body, request.clientAddress);
  }
}
