import { applyDecorators, Controller, HttpCode, Post, Req, Res } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiBasicAuth, ApiBody, ApiConsumes, ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { PartnerPlaneService } from '../auth/partner-plane.service.ts';
import { RevokedTokenService } from '../auth/revoked-token.service.ts';
import { SignInService } from '../auth/sign-in.service.ts';
import { TokenService } from '../auth/token.service.ts';
import { CLIENT_SECRET, headersOf } from '../common/api.ts';
import type { RouteSettings } from '../common/request-context.ts';
import { INTROSPECT_SCOPE, Public } from '../common/security.ts';
import { AccessTokenAnswer, IntrospectionAnswer, OAuthErrorDto, TokenForm, TokenReferenceForm } from './oauth.dto.ts';
import { OAuthError, renderOAuthError } from './oauth.errors.ts';
import {
  checkOAuthRequest,
  readClientCredentials,
  readParameters,
  readScopes,
  requiredParameter,
} from './oauth-request.ts';

const settings: RouteSettings = { body: 'form', beforeBody: checkOAuthRequest, renderError: renderOAuthError };
const INACTIVE: IntrospectionAnswer = { active: false };

/** An endpoint that clients authenticate at by themselves: the guard lets them through. */
function ClientEndpoint(form: new () => object): MethodDecorator {
  return applyDecorators(
    Public(),
    HttpCode(200),
    RouteConfig(settings),
    ApiBasicAuth(CLIENT_SECRET),
    ApiConsumes('application/x-www-form-urlencoded'),
    ApiBody({ type: form }),
    ...[400, 401, 413, 429, 503].map((status) =>
      ApiResponse({ status, description: 'See `error`.', headers: headersOf(status), type: OAuthErrorDto }),
    ),
  );
}

/** For OAuth clients and resource servers: what `/generateToken` does, in the words of the RFCs. */
@Controller('oauth2')
@ApiTags('OAuth 2.0')
export class OAuthController {
  constructor(
    private readonly signIns: SignInService,
    private readonly partners: PartnerPlaneService,
    private readonly tokens: TokenService,
    private readonly revokedTokens: RevokedTokenService,
  ) {}

  @Post('token')
  @ClientEndpoint(TokenForm)
  @ApiOperation({ operationId: 'oauthToken', summary: 'Client credentials grant (RFC 6749 §4.4)' })
  @ApiOkResponse({ type: AccessTokenAnswer })
  async token(
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<AccessTokenAnswer> {
    const parameters = readParameters(request);
    if (requiredParameter(parameters, 'grant_type') !== 'client_credentials') {
      throw new OAuthError('unsupported_grant_type', 'The only grant here is client_credentials.');
    }
    const signIn = await this.signIns.signIn(
      readClientCredentials(request, parameters),
      request,
      readScopes(parameters),
    );
    const { token, expiresIn, scope } = await this.partners.issue(signIn);
    this.signIns.noteToken(signIn, request);
    // RFC 6749 §5.1; no-store is everywhere.
    void reply.header('pragma', 'no-cache');
    return { access_token: token, token_type: 'Bearer', expires_in: expiresIn, scope };
  }

  @Post('introspect')
  @ClientEndpoint(TokenReferenceForm)
  @ApiOperation({
    operationId: 'introspectToken',
    summary: 'What a token is worth now (RFC 7662)',
    description: `Its holder may ask, and whoever has the scope \`${INTROSPECT_SCOPE}\`.`,
  })
  @ApiOkResponse({ type: IntrospectionAnswer })
  async introspect(@Req() request: FastifyRequest): Promise<IntrospectionAnswer> {
    const parameters = readParameters(request);
    const token = await this.tokens.verified(requiredParameter(parameters, 'token'));
    const { account: caller } = await this.signIns.authenticate(readClientCredentials(request, parameters), request);
    if (token?.plane !== 'partner') return INACTIVE;
    if (token.claims.sub !== caller.id && !caller.scopes.includes(INTROSPECT_SCOPE)) return INACTIVE;
    const holder = await this.partners.holderOf(token);
    if (!holder) return INACTIVE;
    const { sub, jti, iat, exp, iss, aud } = token.claims;
    return {
      active: true,
      scope: holder.scopes.join(' '),
      client_id: holder.username,
      username: holder.username,
      token_type: 'Bearer',
      exp,
      iat,
      sub,
      aud: String(aud),
      iss: String(iss),
      jti,
    };
  }

  @Post('revoke')
  @ClientEndpoint(TokenReferenceForm)
  @ApiOperation({ operationId: 'revokeToken', summary: 'End one of your own tokens (RFC 7009)' })
  @ApiResponse({ status: 200, description: 'It is ended, or was none.' })
  async revoke(@Req() request: FastifyRequest): Promise<void> {
    const parameters = readParameters(request);
    const token = await this.tokens.verified(requiredParameter(parameters, 'token'));
    const { account } = await this.signIns.authenticate(readClientCredentials(request, parameters), request);
    if (token?.plane !== 'partner') return;
    // RFC 7009 §2.1: whether it was issued to this client.
    if (token.claims.sub !== account.id) throw new OAuthError('invalid_request', 'This is not one of your tokens.');
    await this.revokedTokens.revoke(token.claims.jti, new Date(token.claims.exp * 1000));
  }
}
