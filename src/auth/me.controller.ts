import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { PartnerPlane } from '../common/api.ts';
import type { CurrentChannelUser as ChannelUserPrincipal } from '../common/request-context.ts';
import { CurrentChannelUser } from '../common/security.ts';
import { MeDto } from './auth.dto.ts';

@Controller('me')
@PartnerPlane('Tokens')
export class MeController {
  @Get()
  @ApiOperation({ operationId: 'getMe', summary: 'Who this token belongs to' })
  @ApiOkResponse({
    type: MeDto,
    headers: {
      'Token-Expires-In': { description: 'Seconds until the token expires.', schema: { type: 'integer' } },
      'Token-Refresh-Due': {
        description: '`true` in the last tenth of the life of the token.',
        schema: { type: 'string', enum: ['true'] },
      },
    },
  })
  me(@CurrentChannelUser() { id, username, displayName, scopes, token, credential }: ChannelUserPrincipal): MeDto {
    return { id, username, displayName, status: 'active', scopes, token, credential };
  }
}
