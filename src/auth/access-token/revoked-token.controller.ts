import { Controller, Delete, HttpCode, Param } from '@nestjs/common';
import { ApiNoContentResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { RevokedTokenService } from './revoked-token.service.ts';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { UUID_PATTERN } from '../../platform/common/uuid.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { CurrentActor, OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { TokenIdNotFoundError } from './access-token.errors.ts';

@Controller('admin/tokens')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class RevokedTokenController {
  constructor(private readonly revokedTokens: RevokedTokenService) {}

  @Delete(':jti')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({ operationId: 'revokeTokenById', summary: 'Revoke one token by its jti' })
  @ApiParam({ name: 'jti', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  revoke(@Param('jti') jti: string, @CurrentActor() actor: Actor): Promise<void> {
    // Latchkey does not store tokens. It therefore accepts any UUID, without knowing whether a token has it.
    if (!UUID_PATTERN.test(jti)) throw new TokenIdNotFoundError();
    return this.revokedTokens.revokeById(jti.toLowerCase(), actor);
  }
}
