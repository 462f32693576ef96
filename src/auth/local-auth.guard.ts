import { type ExecutionContext, Injectable } from '@nestjs/common';
import { AuthGuard } from '@nestjs/passport';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { CheckedRequest } from './local.strategy.ts';
import type { SignIn } from './sign-in.service.ts';
import { type PresentedCredentials, readCredentials } from './token-request.ts';

declare module 'fastify' {
  interface FastifyRequest {
    signIn?: SignIn;
    presented?: PresentedCredentials;
  }
}

/**
 * Checks the request before passport-local sees it: guards run before pipes, so no DTO could. The strategy gets a
 * request of its own with nothing but the checked credentials.
 */
@Injectable()
export class LocalAuthGuard extends AuthGuard('local') {
  override async canActivate(context: ExecutionContext): Promise<boolean> {
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const presented = readCredentials(request);
    request.presented = presented;
    if (presented.fromQuery) {
      // RFC 9745: deprecated since the day Latchkey was first released.
      void http.getResponse<FastifyReply>().header('deprecation', '@1767225600');
    }
    return (await super.canActivate(context)) as boolean;
  }

  override getRequest(context: ExecutionContext): CheckedRequest {
    const request = context.switchToHttp().getRequest<FastifyRequest>();
    const body = request.presented;
    if (!body) throw new Error('The credentials have not been checked');
    const checked: CheckedRequest = { body, request };
    return checked;
  }

  override handleRequest<T = SignIn>(error: unknown, signIn: T | false, _info: unknown, context: ExecutionContext): T {
    if (error instanceof Error) throw error;
    if (!signIn) throw new Error('passport-local gave neither a user nor an error', { cause: error });
    context.switchToHttp().getRequest<FastifyRequest>().signIn = signIn as unknown as SignIn;
    return signIn;
  }
}
