import { Config } from '../../platform/config/config.ts';
import { applyDecorators, Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiBasicAuth, ApiBody, ApiConsumes, ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AccessTokenService } from '../access-token/access-token.service.ts';
import { RevokedTokenService } from '../access-token/revoked-token.service.ts';
import { SignedTokenService } from '../access-token/signed-token.service.ts';
import { SignInService } from '../sign-in/sign-in.service.ts';
import { TokenIssuerService } from '../sign-in/token-issuer.service.ts';
import { CLIENT_SECRET, headersOf } from '../../platform/api/openapi.decorators.ts';
import type { RouteSettings } from '../../platform/http/fastify-types.ts';
import { INTROSPECT_SCOPE, Public } from '../../platform/api/security.ts';
import { AccessTokenDto, IntrospectionDto, OAuthErrorDto, TokenForm, TokenReferenceForm } from './oauth.dto.ts';
import { OAuthError, renderOAuthError } from './oauth.errors.ts';
import {
  checkOAuthRequest,
  readClientCredentials,
  readParameters,
  readScopes,
  requiredParameter,
} from './oauth-request.ts';

const settings: RouteSettings = { body: 'form', beforeBody: checkOAuthRequest, renderError: renderOAuthError };
const INACTIVE: IntrospectionDto = { active: false };

/** An endpoint that authenticates its clients itself, so the global guard lets every request through. */
function ClientEndpoint(form: new () => object): MethodDecorator {
  return applyDecorators(
    Public(),
    HttpCode(200),
    RouteConfig(settings),
    ApiBasicAuth(CLIENT_SECRET),
    ApiConsumes('application/x-www-form-urlencoded'),
    ApiBody({ type: form }),
    ...[400, 401, 413, 429, 503].map((status) =>
      ApiResponse({
        status,
        description: 'The request was refused; `error` says why.',
        headers: headersOf(status),
        type: OAuthErrorDto,
      }),
    ),
  );
}

/** Sign-in, introspection and revocation as the OAuth RFCs define them. */
@Controller('oauth2')
@ApiTags('OAuth 2.0')
export class OAuthController {
  constructor(
    private readonly signIns: SignInService,
    private readonly issuer: TokenIssuerService,
    private readonly tokens: SignedTokenService,
    private readonly accessTokens: AccessTokenService,
    private readonly revokedTokens: RevokedTokenService,
    private readonly config: Config,
  ) {}

  @Post('token')
  @ClientEndpoint(TokenForm)
  @ApiOperation({
    operationId: 'oauthToken',
    summary: 'Obtain a token with the client credentials grant (RFC 6749 §4.4)',
  })
  @ApiOkResponse({ type: AccessTokenDto })
  async token(
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AccessTokenDto> {
    const parameters = readParameters(request);
    if (requiredParameter(parameters, 'grant_type') !== 'client_credentials') {
      throw new OAuthError('unsupported_grant_type', 'The only supported grant_type is client_credentials.');
    }
    const signIn = await this.signIns.signIn(
      readClientCredentials(request, parameters),
      request,
      readScopes(parameters),
    );
    const { token, expiresIn, scope } = await this.issuer.issue(signIn, request, reply);
    // RFC 6749 §5.1 also requires `Cache-Control: no-store`, which every answer of this server has.
    void reply.header('pragma', 'no-cache');
    return { access_token: token, token_type: 'Bearer', expires_in: expiresIn, scope };
  }

  @Post('introspect')
  @ClientEndpoint(TokenReferenceForm)
  @ApiOperation({
    operationId: 'introspectToken',
    summary: 'Look up the current state of a token (RFC 7662)',
    description:
      'Open to the channel user that the token belongs to, and to those with the scope ' + `\`${INTROSPECT_SCOPE}\`.`,
  })
  @ApiOkResponse({ type: IntrospectionDto })
  async introspect(@Req() request: FastifyRequest): Promise<IntrospectionDto> {
    const parameters = readParameters(request);
    const token = await this.tokens.verified(requiredParameter(parameters, 'token'));
    const { account: caller } = await this.signIns.authenticate(readClientCredentials(request, parameters), request);
    if (token?.api !== 'partner') return INACTIVE;
    if (token.sub !== caller.id && !caller.scopes.includes(INTROSPECT_SCOPE)) return INACTIVE;
    const channelUser = await this.accessTokens.channelUserOf(token);
    if (!channelUser) return INACTIVE;
    const { sub, jti, iat, exp } = token;
    return {
      active: true,
      scope: channelUser.scopes.join(' '),
      client_id: channelUser.username,
      username: channelUser.username,
      token_type: 'Bearer',
      exp,
      iat,
      sub,
      aud: this.config.tokenAudience,
      iss: this.config.publicUrl,
      jti,
    };
  }

  @Post('revoke')
  @ClientEndpoint(TokenReferenceForm)
  @ApiOperation({ operationId: 'revokeToken', summary: 'Revoke one of your own tokens (RFC 7009)' })
  @ApiResponse({ status: 200, description: 'The token is revoked, or was not valid anyway.' })
  async revoke(@Req() request: FastifyRequest): Promise<void> {
    const parameters = readParameters(request);
    const token = await this.tokens.verified(requiredParameter(parameters, 'token'));
    const { account } = await this.signIns.authenticate(readClientCredentials(request, parameters), request);
    if (token?.api !== 'partner') return;
    // RFC 7009 §2.1: a client may revoke only its own tokens.
    if (token.sub !== account.id)
      throw new OAuthError('invalid_request', 'This token belongs to another client. You can revoke only your own.');
    await this.revokedTokens.revoke(token.jti, new Date(token.exp * 1000));
  }
}
