import { type CanActivate, type ExecutionContext, Injectable } from '@nestjs/common';
import { Reflector } from '@nestjs/core';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Clock } from '../platform/common/clock.ts';
import { PersonRequiredError } from '../platform/common/errors.ts';
import {
  type CurrentChannelUser,
  type CurrentServiceAccount,
  type CurrentStaff,
  type Role,
  ROLES,
} from '../platform/common/principal.ts';
import { KEY_PREFIX } from '../platform/common/service-account-key.ts';
import { BEFORE_ENROLMENT, PUBLIC, ROLE, SCOPES, SERVICE_ACCOUNTS } from '../platform/api/security.ts';
import { UsageService } from '../activity/usage/usage.service.ts';
import { InsufficientScopeError, InvalidTokenError, NoTokenError } from './access-token/access-token.errors.ts';
import { AccessTokenService, hasScopes } from './access-token/access-token.service.ts';
import {
  SignedTokenService,
  type TokenApi,
  type TokenClaims,
  type VerifiedToken,
} from './access-token/signed-token.service.ts';
import { EnrolmentRequiredError, InsufficientRoleError, WrongApiError } from './auth.errors.ts';
import { ServiceAccountAuthenticator } from './service-account-authenticator.service.ts';
import { StaffAuthenticator } from './staff-authenticator.service.ts';

interface AccessRules {
  readonly isPublic: boolean;
  readonly scopes: readonly string[];
  readonly role: Role | undefined;
  readonly beforeEnrolment: boolean;
  readonly serviceAccounts: boolean;
}

const SCHEME = 'bearer ';

/**
 * The token of an Authorization header. Another scheme counts as no token (RFC 6750 §2.1). Uses no regular expression,
 * because the header may be long.
 */
function bearerToken(authorization: string | undefined): string | undefined {
  if (authorization === undefined) return undefined;
  const scheme = authorization.slice(0, SCHEME.length).toLowerCase();
  if (scheme !== SCHEME && scheme !== SCHEME.trimEnd()) return undefined;
  return authorization.slice(SCHEME.length).trim();
}

/** Whose tokens a route takes. Only partners and staff have tokens, so every other route takes partners' tokens. */
const tokenApiOf = (request: FastifyRequest): TokenApi =>
  request.routeOptions.config.api === 'staff' ? 'staff' : 'partner';

/** Closes every route that is not `@Public()`, and enforces the scopes or the role that a route needs. */
@Injectable()
export class JwtGuard implements CanActivate {
  /** Rules by controller and handler, since controllers that inherit the same handler may have different rules. */
  readonly #rules = new WeakMap<object, Map<object, AccessRules>>();

  constructor(
    private readonly reflector: Reflector,
    private readonly tokens: SignedTokenService,
    private readonly accessTokens: AccessTokenService,
    private readonly staff: StaffAuthenticator,
    private readonly serviceAccounts: ServiceAccountAuthenticator,
    private readonly usage: UsageService,
    private readonly clock: Clock,
  ) {}

  canActivate(context: ExecutionContext): boolean | Promise<boolean> {
    const rules = this.#rulesOf(context);
    if (rules.isPublic) return true;
    const http = context.switchToHttp();
    const request = http.getRequest<FastifyRequest>();
    const reply = http.getResponse<FastifyReply>();
    try {
      const entered = this.#check(request, reply, rules);
      return entered instanceof Promise ? entered.catch((error: unknown) => this.#keepCaller(error, request)) : entered;
    } catch (error) {
      return this.#keepCaller(error, request);
    }
  }

  /** Keeps whose token was refused and why, for the records of that channel user, and throws the error on. */
  #keepCaller(error: unknown, request: FastifyRequest): never {
    if (error instanceof InvalidTokenError) {
      request.channelUserId = error.refusal?.channelUserId;
      request.tokenRefusal = error.refusal?.reason;
    } else if (request.channelUserId === undefined) {
      // Without the database, not even a known token can be verified again.
      const token = bearerToken(request.headers.authorization);
      const known = token === undefined ? undefined : this.tokens.peek(token);
      if (known?.api === 'partner') request.channelUserId = known.sub;
    }
    throw error;
  }

  #check(request: FastifyRequest, reply: FastifyReply, rules: AccessRules): boolean | Promise<boolean> {
    const api = tokenApiOf(request);
    const { authorization } = request.headers;
    const bearer = bearerToken(authorization);
    // A proxy may add its own `Authorization: Basic`. The console's cookie counts all the same.
    const cookie = api === 'staff' && bearer === undefined ? this.staff.cookieOf(request) : undefined;
    const token = bearer ?? cookie;
    if (token === undefined) throw new NoTokenError();
    if (bearer?.startsWith(KEY_PREFIX) === true) return this.#enterServiceAccount(bearer, request, api, rules);

    // Nearly every call is decided from memory, which needs no promise.
    const verified = this.tokens.verify(token);
    if (verified instanceof Promise || verified.api === 'staff') {
      return this.#enter(verified, cookie !== undefined, request, reply, api, rules);
    }
    request.channelUserId = verified.sub;
    const channelUser = this.accessTokens.authenticate(verified, request.clientAddress, rules.scopes);
    if (channelUser instanceof Promise) {
      return channelUser.then((principal) => this.#admit(verified, principal, request, reply, api, rules));
    }
    return this.#admit(verified, channelUser, request, reply, api, rules);
  }

  async #enter(
    verification: VerifiedToken | Promise<VerifiedToken>,
    byCookie: boolean,
    request: FastifyRequest,
    reply: FastifyReply,
    api: TokenApi,
    rules: AccessRules,
  ): Promise<boolean> {
    const verified = await verification;
    if (verified.api === 'partner') {
      request.channelUserId = verified.sub;
      const channelUser = await this.accessTokens.authenticate(verified, request.clientAddress, rules.scopes);
      this.#admit(verified, channelUser, request, reply, api, rules);
    } else {
      await this.#enterStaff(verified, request, api, rules);
    }
    if (byCookie) this.staff.refuseCrossSite(request);
    return true;
  }

  #admit(
    { iat, exp }: VerifiedToken,
    channelUser: CurrentChannelUser,
    request: FastifyRequest,
    reply: FastifyReply,
    api: TokenApi,
    { scopes }: AccessRules,
  ): true {
    if (api !== 'partner') throw new WrongApiError(api);
    request.channelUser = channelUser;
    const now = this.clock.now();
    const left = exp - Math.floor(now / 1000);
    void reply.header('token-expires-in', String(left));
    if (left * 10 <= exp - iat) void reply.header('token-refresh-due', 'true');
    if (!hasScopes(channelUser, scopes)) throw new InsufficientScopeError(scopes);
    this.usage.recordCall(channelUser.credential.id, now);
    return true;
  }

  async #enterStaff(claims: TokenClaims, request: FastifyRequest, api: TokenApi, rules: AccessRules): Promise<void> {
    const member = await this.staff.authenticate(claims);
    if (!member) throw this.staff.sessionEnded();
    if (api !== 'staff') throw new WrongApiError(api);
    request.staff = member;
    this.#refuseStaff(member, rules);
    request.confirmStaff = async () => {
      const now = await this.staff.authenticate(claims);
      if (!now) throw this.staff.sessionEnded();
      this.#refuseStaff(now, rules);
    };
  }

  async #enterServiceAccount(
    key: string,
    request: FastifyRequest,
    api: TokenApi,
    rules: AccessRules,
  ): Promise<boolean> {
    const account = await this.serviceAccounts.authenticate(key, request);
    if (api !== 'staff') throw new WrongApiError(api);
    this.#refuseServiceAccount(account, rules);
    await this.serviceAccounts.recordUse(account, request);
    request.confirmStaff = async () => {
      this.#refuseServiceAccount(await this.serviceAccounts.authenticate(key, request), rules);
    };
    return true;
  }

  /** @throws PersonRequiredError, InsufficientRoleError */
  #refuseServiceAccount({ role }: CurrentServiceAccount, rules: AccessRules): void {
    if (!rules.serviceAccounts) throw new PersonRequiredError();
    this.#refuseRole(role, rules);
  }

  /** @throws EnrolmentRequiredError, InsufficientRoleError */
  #refuseStaff(member: CurrentStaff, rules: AccessRules): void {
    if (member.enrolmentRequired && !rules.beforeEnrolment) throw new EnrolmentRequiredError();
    this.#refuseRole(member.role, rules);
  }

  /** @throws InsufficientRoleError */
  #refuseRole(role: Role, { role: least }: AccessRules): void {
    // A route without @Roles() is closed to everybody.
    if (least === undefined) throw new InsufficientRoleError('(none declared)');
    if (ROLES.indexOf(role) < ROLES.indexOf(least)) throw new InsufficientRoleError(least);
  }

  #rulesOf(context: ExecutionContext): AccessRules {
    const handler = context.getHandler();
    const controller = context.getClass();
    let ofController = this.#rules.get(controller);
    if (!ofController) this.#rules.set(controller, (ofController = new Map<object, AccessRules>()));
    let rules = ofController.get(handler);
    if (!rules) {
      const targets = [handler, controller];
      rules = {
        isPublic: this.reflector.getAllAndOverride<boolean | undefined>(PUBLIC, targets) === true,
        scopes: this.reflector.getAllAndMerge<string[]>(SCOPES, targets),
        role: this.reflector.getAllAndOverride<Role | undefined>(ROLE, targets),
        beforeEnrolment: this.reflector.getAllAndOverride<boolean | undefined>(BEFORE_ENROLMENT, targets) === true,
        serviceAccounts: this.reflector.getAllAndOverride<boolean | undefined>(SERVICE_ACCOUNTS, targets) === true,
      };
      ofController.set(handler, rules);
    }
    return rules;
  }
}
