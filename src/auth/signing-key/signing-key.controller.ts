import { Body, Controller, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { CurrentActor, Roles } from '../../platform/api/security.ts';
import { KeyRotationService } from './key-rotation.service.ts';
import {
  RevokeSigningKeyRequest,
  RotateSigningKeyRequest,
  SigningKeyDto,
  SigningKeyListDto,
} from './signing-key.dto.ts';
import { SigningKeyService } from './signing-key.service.ts';

@Controller('admin/signing-keys')
@Roles('admin')
@StaffApi('Signing keys')
export class SigningKeyController {
  constructor(
    private readonly keys: SigningKeyService,
    private readonly rotation: KeyRotationService,
  ) {}

  @Get()
  @ApiOperation({ operationId: 'listSigningKeys', summary: 'List all signing keys, past ones included, newest first' })
  @ApiOkResponse({ type: SigningKeyListDto })
  list(): Promise<SigningKeyListDto> {
    return this.keys.list();
  }

  @Post('rotate')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'rotateSigningKey',
    summary: 'Rotate: the standby key signs from now on, existing tokens stay valid',
    description:
      'A second rotation of the partner key within five minutes gets 409 `signing-key.standby-too-new`, because ' +
      'verifiers may not have fetched the new standby yet. `emergency: true` rotates anyway.',
  })
  @ApiOkResponse({ type: SigningKeyListDto })
  @ApiProblems(400, 409, 413, 415)
  async rotate(
    @Body() { purpose = 'partner', reason, emergency = false }: RotateSigningKeyRequest,
    @CurrentActor() actor: Actor,
  ): Promise<SigningKeyListDto> {
    await this.rotation.rotate(purpose, reason, actor, { emergency });
    return this.keys.list();
  }

  @Post(':kid/revoke')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'revokeSigningKey',
    summary: 'Revoke a compromised key: refuse every token it signed, and sign with the standby key',
  })
  @ApiParam({ name: 'kid' })
  @ApiOkResponse({ type: SigningKeyDto })
  @ApiProblems(400, 404, 413, 415)
  revoke(
    @Param('kid') kid: string,
    @Body() { reason }: RevokeSigningKeyRequest,
    @CurrentActor() actor: Actor,
  ): Promise<SigningKeyDto> {
    return this.rotation.revoke(kid, reason, actor);
  }
}
