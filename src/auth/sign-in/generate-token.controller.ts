import { Controller, HttpCode, Post, Req, Res, UseGuards } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import {
  ApiBody,
  ApiConsumes,
  ApiExtraModels,
  ApiHeader,
  ApiOkResponse,
  ApiOperation,
  ApiResponse,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { prefersJson } from '../../platform/http/content-negotiation.ts';
import { RETRY_AFTER } from '../../platform/api/openapi.decorators.ts';
import type { RouteSettings } from '../../platform/http/fastify-types.ts';
import { Public } from '../../platform/api/security.ts';
import { LocalAuthGuard } from './local-auth.guard.ts';
import { GenerateTokenForm, SignInErrorDto, TokenDto } from './sign-in.dto.ts';
import { renderSignInError } from './sign-in.errors.ts';
import { TokenIssuerService } from './token-issuer.service.ts';
import { checkTokenRequest, PARTNER_PAGE } from './token-request.ts';

const settings: RouteSettings = { body: 'form', beforeBody: checkTokenRequest, renderError: renderSignInError };

const text = (example: string): object => ({ schema: { type: 'string', example } });
const header = (description: string): object => ({ description, schema: { type: 'string' } });

const CLIENT = {
  name: 'Latchkey-Client',
  required: false,
  enum: [PARTNER_PAGE],
  description:
    '`partner-page`: a person signs in on the partner’s page. The token has no scopes, and a password that waits for ' +
    'its first use goes on waiting. Software does not send this header.',
};

/** Documents one row of the contract's table. */
function Refusal(status: number, body: string, codes: string[], headers: Record<string, object> = {}): MethodDecorator {
  return ApiResponse({
    status,
    description: `\`${body}\``,
    headers: {
      'Error-Code': { description: codes.join(', '), schema: { type: 'string', enum: codes } },
      'X-Request-Id': header('Identifies the request in the log.'),
      ...headers,
    },
    content: {
      'text/plain': text(body),
      'application/json': { schema: { $ref: getSchemaPath(SignInErrorDto) } },
    },
  });
}

@Controller()
@ApiTags('Tokens')
@ApiExtraModels(TokenDto, SignInErrorDto)
export class GenerateTokenController {
  constructor(private readonly issuer: TokenIssuerService) {}

  @Post('generateToken')
  @Public()
  @HttpCode(200)
  @RouteConfig(settings)
  @UseGuards(LocalAuthGuard)
  @ApiOperation({
    operationId: 'generateToken',
    summary: 'Exchange username and password for a bearer token',
    description: 'The response is plain text unless the client accepts JSON and not text. Older tokens stay valid.',
    security: [],
  })
  @ApiHeader(CLIENT)
  @ApiConsumes('application/x-www-form-urlencoded')
  @ApiBody({ type: GenerateTokenForm })
  @ApiOkResponse({
    description: 'The token alone.',
    headers: {
      'Token-Expires-In': { description: 'In seconds.', schema: { type: 'integer' } },
      'Cache-Control': header('`no-store`'),
      'X-Request-Id': header('Identifies the request in the log.'),
      Deprecation: header('RFC 9745. Present only if the credentials were sent in the URL.'),
    },
    content: {
      'text/plain': text('eyJhbGciOiJFUzI1NiIsInR5cCI6ImF0K2p3dCJ9.eyJzdWIiOiI…'),
      'application/json': { schema: { $ref: getSchemaPath(TokenDto) } },
    },
  })
  @Refusal(400, 'invalid username or password', ['malformed_request', 'credentials_in_url'])
  @Refusal(401, 'invalid username or password', ['invalid_credentials'])
  @Refusal(403, 'token expired', ['account_suspended', 'account_expired', 'credential_expired'])
  @Refusal(405, 'method not allowed', ['method_not_allowed'], { Allow: header('`POST`') })
  @Refusal(413, 'request too large', ['request_too_large'])
  @Refusal(415, 'unsupported content type', ['unsupported_content_type'])
  @Refusal(429, 'too many requests', ['too_many_requests'], {
    ...RETRY_AFTER,
    RateLimit: header(
      'draft-ietf-httpapi-ratelimit-headers. Present when the channel user has used up its tokens for this ' +
        'minute.',
    ),
    'RateLimit-Policy': header('The limit: tokens per number of seconds.'),
  })
  @Refusal(503, 'service unavailable', ['service_unavailable'], RETRY_AFTER)
  async generateToken(@Req() request: FastifyRequest, @Res() reply: FastifyReply): Promise<void> {
    const { signIn } = request;
    if (!signIn) throw new Error('The guard let a request through without a sign-in');
    const { token, expiresIn, scope } = await this.issuer.issue(signIn, request, reply);
    void reply.header('token-expires-in', String(expiresIn));
    if (prefersJson(request.headers.accept)) {
      const body: TokenDto = { access_token: token, token_type: 'Bearer', expires_in: expiresIn, scope };
      void reply.type('application/json; charset=utf-8').send(JSON.stringify(body));
    } else {
      void reply.type('text/plain; charset=utf-8').send(token);
    }
  }
}
