import { Injectable } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import type { FastifyRequest } from 'fastify';
import { Strategy } from 'passport-local';
import { type SignIn, SignInService } from './sign-in.service.ts';
import type { PresentedCredentials } from './token-request.ts';

/** What passport-local sees: the checked credentials as `body`, and no query. */
export interface CheckedRequest {
  readonly body: PresentedCredentials;
  readonly request: FastifyRequest;
}

/** What Passport adds to a strategy for one attempt. */
interface Attempt {
  success: (signIn: SignIn) => void;
  fail: (challenge: unknown) => void;
  error: (error: Error) => void;
  authenticate: (request: CheckedRequest) => void;
}

@Injectable()
export class LocalStrategy extends PassportStrategy(Strategy) {
  constructor(private readonly signIns: SignInService) {
    super({ passReqToCallback: true });
  }

  validate({ body, request }: CheckedRequest): Promise<SignIn> {
    return this.signIns.signIn(body, request);
  }

  /**
   * Runs the strategy for one request, as `passport.authenticate()` would: on this very instance. Passport's own
   * registry is one for the process, where a second application replaces the strategy of the first.
   *
   * @throws SignInError
   */
  attempt(request: CheckedRequest): Promise<SignIn> {
    return new Promise((resolve, reject) => {
      const attempt = Object.create(this) as Attempt;
      attempt.success = resolve;
      attempt.error = reject;
      attempt.fail = () => {
        reject(new Error('passport-local refused credentials that had been checked'));
      };
      attempt.authenticate(request);
    });
  }
}
