import type { FastifyReply, FastifyRequest } from 'fastify';
import { AppError } from '../common/errors.ts';
import type { UnknownRoute } from './fastify-types.ts';
import type { Apis } from './listeners.ts';
import { pathOf } from './route-table.ts';

/** Whether somebody opened the root address in a browser. The operators' port has no page. */
function isFrontPage({ method, url }: FastifyRequest, apis: Apis): boolean {
  return pathOf(url) === '/' && ['GET', 'HEAD'].includes(method) && apis.some((api) => api !== 'ops');
}

/** Whether the path is a common misspelling of `/generateToken`. */
const isNearlyGenerateToken = (path: string): boolean =>
  path
    .split('/')
    .filter((part) => part !== '')
    .join('/')
    .toLowerCase() === 'generatetoken';

/** Answers a CORS preflight of a public document, which pages of any origin may read. */
function answerPreflight(reply: FastifyReply, methods: readonly string[]): void {
  const allowed = methods.join(', ');
  void reply
    .status(204)
    .headers({
      allow: `${allowed}, OPTIONS`,
      'access-control-allow-origin': '*',
      'access-control-allow-methods': allowed,
      'access-control-allow-headers': '*',
      'access-control-max-age': '86400',
    })
    .send();
}

class MethodNotAllowedError extends AppError {
  constructor(methods: readonly string[]) {
    const allow = methods.join(', ');
    super({
      status: 405,
      code: 'route.method-not-allowed',
      detail: `This path supports only ${allow}.`,
      headers: { allow },
    });
  }
}

class RouteNotFoundError extends AppError {
  /** @param isNear whether the path is a misspelling of `/generateToken` */
  constructor(isNear: boolean) {
    const hint = ' Partners sign in at /generateToken, in exactly this spelling and without a trailing slash.';
    super({
      status: 404,
      code: 'route.not-found',
      detail: `There is nothing at this path.${isNear ? hint : ''}`,
      ...(isNear && { headers: { 'error-code': 'unknown_path' } }),
    });
  }
}

/**
 * Answers a request without a route, before authentication and before its body is read.
 *
 * @param apis the APIs of the listener at which the request arrived
 * @throws AppError 405 if the path exists under another method, else 404
 */
export function answerUnknownRoute(
  request: FastifyRequest,
  reply: FastifyReply,
  { methods, settings }: UnknownRoute,
  apis: Apis,
): void {
  if (settings.isDocument && request.method === 'OPTIONS') answerPreflight(reply, methods);
  else if (methods.length > 0) throw new MethodNotAllowedError(methods);
  else if (isFrontPage(request, apis)) void reply.redirect(apis.includes('staff') ? '/console' : '/docs');
  else throw new RouteNotFoundError(apis.includes('partner') && isNearlyGenerateToken(pathOf(request.url)));
}
