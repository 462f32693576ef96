import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Clock } from '../common/clock.ts';
import { type CurrentChannelUser, type Role, ROLES } from '../common/request-context.ts';
import { BEFORE_ENROLMENT, PUBLIC, ROLE, SCOPES } from '../common/security.ts';
import { UsageService } from '../usage/usage.service.ts';
import {
  EnrolmentRequiredError,
  InsufficientRoleError,
  InsufficientScopeError,
  InvalidTokenError,
  NoTokenError,
  WrongPlaneError,
} from './auth.errors.ts';
import { hasScopes, PartnerPlaneService } from './partner-plane.service.ts';
import { StaffPlane } from './staff-plane.service.ts';
import { type Plane, type TokenClaims, TokenService, type VerifiedToken } from './token.service.ts';

interface RouteRules {
  readonly isPublic: boolean;
  readonly scopes: readonly string[];
  readonly role: Role | undefined;
  readonly beforeEnrolment: boolean;
}

const SCHEME = 'bearer ';

/**
 * The token of an Authorization header. Another scheme counts as no token (RFC 6750 §2.1); no expression runs over
 * the header, whose length a client chooses.
 */
function bearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return undefined;
  const scheme = authorization.slice(0, SCHEME.length).toLowerCase();
  if (scheme !== SCHEME && scheme !== SCHEME.trimEnd()) return undefined;
  return authorization.slice(SCHEME.length).trim();
}

/** The plane of a route: `/admin/*` is the staff's, everything else the partners'. */
function planeOf(request: FastifyRequest): Plane {
  const { url = '' } = request.routeOptions;
  return url === '/admin' || url.startsWith('/admin/') ? 'staff' : 'partner';
}

/** Closes every route that does not say `@Public()`, and holds callers to the route's scopes or role. */
@Injectable()
export class JwtGuard implements CanActivate {
  /** By class and handler: controllers may inherit a handler and say different rules. */
  readonly #rules = new WeakMap<object, Map<object, RouteRules>>();

  constructor(
    private readonly reflector: Reflector,
    private readonly tokens: TokenService,
    private readonly partners: PartnerPlaneService,
    private readonly staff: StaffPlane,
    private readonly usage: UsageService,
    private readonly clock: Clock,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const rules = this.#rulesOf(context);
    if (rules.isPublic) return true;
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    const plane = planeOf(request);
    const { authorization } = request.headers;
    const cookie = plane === 'staff' && authorization === undefined ? this.staff.cookieOf(request) : undefined;
    const token = bearerToken(authorization) ?? cookie;
    if (token === undefined) throw new NoTokenError();

    // Without a promise where memory knows everything: this is the way of nearly every call.
    const verified = this.tokens.verify(token);
    if (verified instanceof Promise || verified.plane === 'staff') {
      return this.#enter(verified, cookie !== undefined, request, reply, plane, rules);
    }
    const channelUser = this.partners.authenticate(verified, request.clientAddress, rules.scopes);
    if (channelUser instanceof Promise) {
      return channelUser.then((principal) => this.#admit(verified, principal, request, reply, plane, rules));
    }
    return this.#admit(verified, channelUser, request, reply, plane, rules);
  }

  async #enter(
    verification: VerifiedToken | Promise<VerifiedToken>,
    byCookie: boolean,
    request: FastifyRequest,
    reply: FastifyReply,
    plane: Plane,
    rules: RouteRules,
  ): Promise<boolean> {
    const verified = await verification;
    if (verified.plane === 'partner') {
      const channelUser = await this.partners.authenticate(verified, request.clientAddress, rules.scopes);
      this.#admit(verified, channelUser, request, reply, plane, rules);
    } else {
      await this.#enterStaff(verified.claims, request, plane, rules);
    }
    if (byCookie) this.staff.refuseCrossSite(request);
    return true;
  }

  #admit(
    { claims }: VerifiedToken,
    channelUser: CurrentChannelUser,
    request: FastifyRequest,
    reply: FastifyReply,
    plane: Plane,
    { scopes }: RouteRules,
  ): true {
    if (plane !== 'partner') throw new WrongPlaneError(plane);
    request.channelUser = channelUser;
    const now = this.clock.now();
    const left = claims.exp - Math.floor(now / 1000);
    void reply.header('token-expires-in', String(left));
    if (left * 10 <= claims.exp - claims.iat) void reply.header('token-refresh-due', 'true');
    if (!hasScopes(channelUser, scopes)) throw new InsufficientScopeError(scopes);
    this.usage.noteCall(channelUser.credential.id, now);
    return true;
  }

  async #enterStaff(
    claims: TokenClaims,
    request: FastifyRequest,
    plane: Plane,
    { role, beforeEnrolment }: RouteRules,
  ): Promise<void> {
    const member = await this.staff.authenticate(claims);
    if (!member) throw new InvalidTokenError('The session has ended.');
    if (plane !== 'staff') throw new WrongPlaneError(plane);
    request.staff = member;
    if (member.enrolmentRequired && !beforeEnrolment) throw new EnrolmentRequiredError();
    // A route that forgot to say its role is closed to everybody.
    if (role === undefined) throw new InsufficientRoleError('(none declared)');
    if (ROLES.indexOf(member.role) < ROLES.indexOf(role)) throw new InsufficientRoleError(role);
  }

  #rulesOf(context: ExecutionContext): RouteRules {
    const handler = context.getHandler();
    const controller = context.getClass();
    let ofController = this.#rules.get(controller);
    if (!ofController) this.#rules.set(controller, (ofController = new Map<object, RouteRules>()));
    let rules = ofController.get(handler);
    if (!rules) {
      const targets = [handler, controller];
      rules = {
        isPublic: this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, targets) === true,
        scopes: this.reflector.getAllAndMerge<string[]>(SCOPES, targets),
        role: this.reflector.getAllAndOverride<Role | undefined>(ROLE, targets),
        beforeEnrolment: this.reflector.getAllAndOverride<boolean | undefined>(BEFORE_ENROLMENT, targets) === true,
      };
      ofController.set(handler, rules);
    }
    return rules;
  }
}
