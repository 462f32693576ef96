import { Controller, Delete, HttpCode, Param } from '@nestjs/common';
import { ApiNoContentResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { RevokedTokenService } from '../auth/revoked-token.service.ts';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import { UUID_PATTERN } from '../common/page.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { TokenIdNotFoundError } from './oauth.errors.ts';

@Controller('admin/tokens')
@StaffPlane('Channel users')
export class RevokedTokenController {
  constructor(private readonly revokedTokens: RevokedTokenService) {}

  @Delete(':jti')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({ operationId: 'revokeTokenById', summary: 'End one token, by its jti' })
  @ApiParam({ name: 'jti', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  revoke(@Param('jti') jti: string, @CurrentActor() actor: Actor): Promise<void> {
    // Tokens are kept nowhere: an id that could be one is ended, whether or not there is such a token.
    if (!UUID_PATTERN.test(jti)) throw new TokenIdNotFoundError();
    return this.revokedTokens.revokeById(jti.toLowerCase(), actor);
  }
}
