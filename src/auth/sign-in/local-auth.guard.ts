import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { PassportStrategy } from '@nestjs/passport';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Strategy } from 'passport-local';
import { type SignIn, SignInService } from './sign-in.service.ts';
import { type PresentedCredentials, readCredentials } from './token-request.ts';

declare module 'fastify' {
  interface FastifyRequest {
    signIn?: SignIn;
  }
}

/** Credentials in the URL are deprecated since 2026-01-01 (RFC 9745). */
const DEPRECATED_SINCE = '@1767225600';

/** The request that passport-local sees: the checked credentials as `body`, and no query. */
interface CheckedRequest {
  readonly body: PresentedCredentials;
  readonly request: FastifyRequest;
}

/** A strategy with the callbacks that Passport adds for one attempt. */
interface Attempt {
  success: (signIn: SignIn) => void;
  fail: (challenge: unknown) => void;
  error: (error: Error) => void;
  authenticate: (request: CheckedRequest) => void;
}

/** passport-local with {@link SignInService} as its verify callback. */
@Injectable()
export class LocalStrategy extends PassportStrategy(Strategy) {
  constructor(private readonly signIns: SignInService) {
    super({ passReqToCallback: true });
  }

  validate({ body, request }: CheckedRequest): Promise<SignIn> {
    return this.signIns.signIn(body, request);
  }

  /**
   * Runs this strategy for one request, as `passport.authenticate()` would. Passport has one registry per process, in
   * which a second application would replace the strategy of the first.
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

/**
 * Reads the credentials and hands them to passport-local. The strategy gets a request that holds only the checked
 * credentials, because it would also look for credentials in the query string.
 */
@Injectable()
export class LocalAuthGuard implements CanActivate {
  constructor(private readonly strategy: LocalStrategy) {}

  async canActivate(context: ExecutionContext): Promise<boolean> {
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const presented = readCredentials(request);
    if (presented.fromQuery) void http.getResponse<FastifyReply>().header('deprecation', DEPRECATED_SINCE);
    request.signIn = await this.strategy.attempt({ body: presented, request });
    return true;
  }
}
