import { Controller, Get, Headers, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiResponse, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { createHash } from 'node:crypto';
import { ApiProblems } from '../../platform/api/openapi.decorators.ts';
import { Public } from '../../platform/api/security.ts';
import { Config } from '../../platform/config/config.ts';
import { JWKS_MAX_AGE_S, SigningKeyService } from '../signing-key/signing-key.service.ts';
import { JwksDto, ServerMetadataDto } from './oauth.dto.ts';

const METADATA_MAX_AGE = 3_600;
const CLIENT_AUTHENTICATION = ['client_secret_basic', 'client_secret_post'];

/** Whether an If-None-Match header matches, by weak comparison (RFC 9110 §13.1.2). */
const matches = (header: string, etag: string): boolean =>
  header.trim() === '*' || header.split(',').some((tag) => tag.trim().replace(/^W\//, '') === etag);

/** The public documents of this authorization server, readable from any origin. */
@Controller('.well-known')
@Public()
@ApiTags('OAuth 2.0')
export class WellKnownController {
  constructor(
    private readonly keys: SigningKeyService,
    private readonly config: Config,
  ) {}

  @Get('oauth-authorization-server')
  @ApiOperation({ operationId: 'getServerMetadata', summary: 'Show the server metadata (RFC 8414)', security: [] })
  @ApiOkResponse({ type: ServerMetadataDto })
  @ApiResponse({ status: 304, description: 'Not modified since the ETag in If-None-Match.' })
  @ApiProblems(503)
  metadata(@Headers('if-none-match') ifNoneMatch: string | undefined, @Res() reply: FastifyReply): void {
    const { publicUrl } = this.config;
    const document: ServerMetadataDto = {
      issuer: publicUrl,
      token_endpoint: `${publicUrl}/oauth2/token`,
      jwks_uri: `${publicUrl}/.well-known/jwks.json`,
      introspection_endpoint: `${publicUrl}/oauth2/introspect`,
      revocation_endpoint: `${publicUrl}/oauth2/revoke`,
      grant_types_supported: ['client_credentials'],
      response_types_supported: [],
      token_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
      introspection_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
      revocation_endpoint_auth_methods_supported: CLIENT_AUTHENTICATION,
      service_documentation: `${publicUrl}/docs`,
    };
    this.#publish(reply, ifNoneMatch, document, METADATA_MAX_AGE);
  }

  @Get('jwks.json')
  @ApiOperation({ operationId: 'getJwks', summary: 'List the public keys that verify tokens (RFC 7517)', security: [] })
  @ApiOkResponse({ type: JwksDto })
  @ApiResponse({ status: 304, description: 'Not modified since the ETag in If-None-Match.' })
  @ApiProblems(503)
  async jwks(@Headers('if-none-match') ifNoneMatch: string | undefined, @Res() reply: FastifyReply): Promise<void> {
    this.#publish(reply, ifNoneMatch, { keys: await this.keys.jwks() }, JWKS_MAX_AGE_S);
  }

  #publish(reply: FastifyReply, ifNoneMatch: string | undefined, document: object, maxAge: number): void {
    const body = JSON.stringify(document);
    const etag = `"${createHash('sha256').update(body).digest('base64url').slice(0, 22)}"`;
    void reply.headers({
      'cache-control': `public, max-age=${String(maxAge)}`,
      etag,
      'access-control-allow-origin': '*',
      'access-control-expose-headers': 'ETag',
    });
    if (ifNoneMatch !== undefined && matches(ifNoneMatch, etag)) void reply.status(304).send();
    else void reply.type('application/json; charset=utf-8').send(body);
  }
}
