import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { PartnerApi } from '../platform/api/openapi.decorators.ts';
import type { CurrentChannelUser as ChannelUserPrincipal } from '../platform/common/principal.ts';
import { AnyPartner, CurrentChannelUser } from '../platform/api/security.ts';
import { MeDto } from './me.dto.ts';

@Controller('me')
@AnyPartner()
@PartnerApi('Tokens')
export class MeController {
  @Get()
  @ApiOperation({ operationId: 'getMe', summary: 'Show whom this token belongs to' })
  @ApiOkResponse({
    type: MeDto,
    headers: {
      'Token-Expires-In': { description: 'Seconds until the token expires.', schema: { type: 'integer' } },
      'Token-Refresh-Due': {
        description: "`true` during the last 10 % of the token's life.",
        schema: { type: 'string', enum: ['true'] },
      },
    },
  })
  me(@CurrentChannelUser() channelUser: ChannelUserPrincipal): MeDto {
    const { id, username, displayName, expiresAt, scopes, selfService, token, credential } = channelUser;
    return {
      id,
      username,
      displayName,
      status: 'active',
      expiresAt: expiresAt === null ? null : new Date(expiresAt),
      scopes,
      selfService,
      token,
      credential,
    };
  }
}
