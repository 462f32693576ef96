import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import {
  RevokeSigningKeyRequest,
  RotateSigningKeyRequest,
  SigningKeyDto,
  SigningKeyListDto,
} from './signing-key.dto.ts';
import { SigningKeyService } from './signing-key.service.ts';

@Controller('admin/signing-keys')
@Roles('admin')
@StaffPlane('Signing keys')
export class SigningKeyController {
  constructor(private readonly keys: SigningKeyService) {}

  @Get()
  @ApiOperation({ operationId: 'listSigningKeys', summary: 'Every key there was, newest first; never a private one' })
  @ApiOkResponse({ type: SigningKeyListDto })
  list(): Promise<SigningKeyListDto> {
    return this.keys.list();
  }

  @Post('rotate')
  @HttpCode(200)
  @ApiOperation({ operationId: 'rotateSigningKey', summary: 'The standby signs from now on; no token is refused' })
  @ApiOkResponse({ type: SigningKeyListDto })
  @ApiProblems(400, 413, 415)
  async rotate(
    @Body() { purpose = 'partner', reason }: RotateSigningKeyRequest,
    @CurrentActor() actor: Actor,
  ): Promise<SigningKeyListDto> {
    await this.keys.rotate(purpose, reason, actor);
    return this.keys.list();
  }

  @Post(':kid/revoke')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'revokeSigningKey',
    summary: 'A key is compromised: refuse every token it signed, and sign with the standby',
  })
  @ApiParam({ name: 'kid' })
  @ApiOkResponse({ type: SigningKeyDto })
  @ApiProblems(400, 404, 413, 415)
  revoke(
    @Param('kid') kid: string,
    @Body() { reason }: RevokeSigningKeyRequest,
    @CurrentActor() actor: Actor,
  ): Promise<SigningKeyDto> {
    return this.keys.revoke(kid, reason, actor);
  }
}
