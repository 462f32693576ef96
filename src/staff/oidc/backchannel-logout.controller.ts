import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import { ApiBody, ApiConsumes, ApiOkResponse, ApiOperation, ApiProperty, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ApiProblems } from '../../platform/api/openapi.decorators.ts';
import { Public } from '../../platform/api/security.ts';
import { SYSTEM } from '../../platform/common/principal.ts';
import { requireForm } from '../../platform/http/body-types.ts';
import type { RouteSettings } from '../../platform/http/fastify-types.ts';
import { parseForm } from '../../platform/http/form-body.ts';
import { BackchannelLogoutService } from './backchannel-logout.service.ts';
import { LogoutTokenError } from './oidc.errors.ts';

const FORM: RouteSettings = { body: 'form', beforeBody: requireForm };

class LogoutForm {
  @ApiProperty({ description: 'A logout token, signed by the identity provider.' })
  logout_token!: string;
}

/** @throws LogoutTokenError */
function tokenOf(body: unknown): string {
  const fields = Buffer.isBuffer(body) ? parseForm(body) : [];
  const [token, ...more] = fields.filter(([name]) => name === 'logout_token').map(([, value]) => value);
  if (token === undefined || token === '' || more.length > 0) throw new LogoutTokenError('must be sent once');
  return token;
}

@Controller('admin/session/oidc/backchannel-logout')
@ApiTags('Session')
export class BackchannelLogoutController {
  constructor(private readonly logouts: BackchannelLogoutService) {}

  @Post()
  @Public()
  @HttpCode(200)
  @RouteConfig(FORM)
  @ApiOperation({
    operationId: 'backchannelLogout',
    summary: 'End the sessions of a person who signed out at the identity provider',
    description: 'Called by the identity provider (OpenID Connect Back-Channel Logout 1.0).',
    security: [],
  })
  @ApiConsumes('application/x-www-form-urlencoded')
  @ApiBody({ type: LogoutForm })
  @ApiOkResponse({ description: 'The sessions have ended, if there were any.' })
  @ApiProblems(400, 404, 413, 415, 503)
  logout(@Body() body: unknown, @Req() { id, clientAddress }: FastifyRequest): Promise<void> {
    return this.logouts.logout(tokenOf(body), { ...SYSTEM, address: clientAddress ?? null, requestId: id });
  }
}
