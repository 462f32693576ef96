import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { LocalStrategy } from './local.strategy.ts';
import type { SignIn } from './sign-in.service.ts';
import { readCredentials } from './token-request.ts';

declare module 'fastify' {
  interface FastifyRequest {
    signIn?: SignIn;
  }
}

/** RFC 9745: when credentials in the URL were deprecated, 2026-01-01. */
const DEPRECATED_SINCE = '@1767225600';

/**
 * Checks the request before passport-local sees it: guards run before pipes, so no DTO could. The strategy gets a
 * request of its own with nothing but the checked credentials; it would read the query string too.
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
