import { Controller, Get, Query, Req, Res } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiProblems } from '../../platform/api/openapi.decorators.ts';
import { Public } from '../../platform/api/security.ts';
import type { RouteSettings } from '../../platform/http/fastify-types.ts';
import { SettingsService } from '../../settings/settings.service.ts';
import { SessionCookieService } from '../session-cookie.service.ts';
import { FlowService } from './flow.service.ts';
import { IdentityProviderService } from './identity-provider.service.ts';
import { BeginSignInQuery, SignInMethodsDto } from './oidc.dto.ts';
import { OidcSignInService } from './oidc-sign-in.service.ts';
import { renderRefusal } from './refusal-page.ts';
import { SIGNED_IN_PATH } from './signed-in-page.controller.ts';

const PAGE: RouteSettings = { renderError: renderRefusal };
/** Where a browser begins a sign-in. */
const PATH = '/admin/session/oidc';
const START = '/console/';
/** Keeps the URLs of a sign-in from leaving with the next request. */
const NO_REFERRER = { 'referrer-policy': 'no-referrer' };

const redirected = (description: string) =>
  ApiResponse({
    status: 302,
    description,
    headers: {
      Location: { description: 'Where the browser goes.', schema: { type: 'string' } },
      'Set-Cookie': { description: 'The sign-in in progress, or the session.', schema: { type: 'string' } },
    },
  });

/** Characters of the longest path that is kept. With more, a browser might not keep the cookie (RFC 6265 §6.1). */
const MAX_PATH = 1_500;

/** The requested page of the console, or its start for anything that leads elsewhere. */
function pageOf(from: string | undefined, consoleUrl: string): string {
  if (from?.startsWith(START) !== true || /[\\\s]/.test(from)) return START;
  const url = new URL(from, consoleUrl);
  // Encoded again, since a Location header holds ASCII only.
  const path = url.pathname + url.search + url.hash;
  const isOurs = url.origin === new URL(consoleUrl).origin && url.pathname.startsWith(START);
  return isOurs && path.length <= MAX_PATH ? path : START;
}

/** Signs staff in at the identity provider: the authorization code flow of OpenID Connect, with PKCE. */
@Controller('admin/session')
@ApiTags('Session')
export class OidcController {
  constructor(
    private readonly provider: IdentityProviderService,
    private readonly flows: FlowService,
    private readonly signIns: OidcSignInService,
    private readonly settings: SettingsService,
    private readonly cookie: SessionCookieService,
  ) {}

  @Get('methods')
  @Public()
  @ApiOperation({ operationId: 'listSignInMethods', summary: 'Show how staff can sign in', security: [] })
  @ApiOkResponse({ type: SignInMethodsDto })
  @ApiProblems(400, 503)
  async methods(): Promise<SignInMethodsDto> {
    const { name } = this.provider;
    const { localSignIn } = await this.settings.get();
    const url = this.provider.consoleUrl + PATH;
    return { singleSignOn: name === undefined ? null : { name, path: PATH, url }, localSignIn };
  }

  @Get('oidc')
  @Public()
  @RouteConfig(PAGE)
  @ApiOperation({
    operationId: 'beginSingleSignOn',
    summary: 'Send the browser to the identity provider',
    description: 'For browsers, which get refusals as a page. Other clients get a problem document.',
    security: [],
  })
  @redirected('To the identity provider.')
  @ApiProblems(400, 404, 503)
  async begin(@Query() { from, popUp }: BeginSignInQuery, @Res() reply: FastifyReply): Promise<void> {
    const { consoleUrl, settings } = this.provider;
    const flow = this.flows.begin(settings.issuer, popUp === 'true' ? 'pop-up' : 'page', pageOf(from, consoleUrl));
    const url = await this.provider.authorizationUrl(flow);
    await reply.headers({ ...NO_REFERRER, 'set-cookie': this.flows.cookieOf(flow) }).redirect(url, 302);
  }

  @Get('oidc/callback')
  @Public()
  @RouteConfig(PAGE)
  @ApiOperation({
    operationId: 'completeSingleSignOn',
    summary: 'Take the answer of the identity provider and open a session',
    description:
      'Only the identity provider sends browsers here, with a code that works once and only together with the cookie ' +
      'of the browser that began the sign-in.',
    security: [],
  })
  @redirected('To the console.')
  @ApiProblems(400, 403, 404, 409, 503)
  async complete(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { consoleUrl } = this.provider;
    // Whatever comes of it, this sign-in is not continued.
    void reply.headers({ ...NO_REFERRER, 'set-cookie': this.flows.ended });
    const flow = this.flows.resume(request, this.provider.settings.issuer);
    const { url } = request;
    const signedIn = await this.provider.signIn(url.includes('?') ? url.slice(url.indexOf('?')) : '', flow);
    const session = await this.signIns.signIn(signedIn, request);
    const path = flow.purpose === 'pop-up' ? `/${SIGNED_IN_PATH}` : flow.from;
    await reply.header('set-cookie', this.cookie.header(session)).redirect(`${consoleUrl}${path}`, 302);
  }
}
