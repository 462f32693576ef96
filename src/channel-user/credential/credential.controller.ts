import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { CurrentActor, OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { CreateCredentialRequest, CredentialDto, CredentialListDto, IssuedCredentialDto } from './credential.dto.ts';
import { RevokeCredentialQuery } from './credential-end.dto.ts';
import { CredentialEndService } from './credential-end.service.ts';
import { CredentialService } from './credential.service.ts';

const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/channel-users')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class CredentialController {
  constructor(
    private readonly credentials: CredentialService,
    private readonly ends: CredentialEndService,
  ) {}

  @Get(':id/credentials')
  @Roles('viewer')
  @ApiOperation({
    operationId: 'listCredentials',
    summary: 'List the credentials of a channel user, without passwords, newest first',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: CredentialListDto })
  @ApiProblems(404)
  async listCredentials(@Id() id: string): Promise<CredentialListDto> {
    return { items: await this.credentials.list(id) };
  }

  @Post(':id/credentials')
  @Roles('operator')
  @ApiOperation({
    operationId: 'createCredential',
    summary: 'Rotate: create a new password, shown once here or behind a link',
    description:
      'The other passwords go on until the partner has used the new one. While a new password waits for its first ' +
      'use, another rotation is 409 `credential.rotation-pending`; the problem has its `credentialId`, `pendingSince`, ' +
      '`startedBy` and how to `withdraw` it. With `replaces` or `after: "now"`, the pending one is withdrawn.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiCreatedResponse({ type: IssuedCredentialDto })
  @ApiProblems(400, 404, 409, 413, 415)
  async createCredential(
    @Id() id: string,
    @Body() request: CreateCredentialRequest,
    @CurrentActor() actor: Actor,
  ): Promise<IssuedCredentialDto> {
    return this.credentials.create(id, request, actor);
  }

  @Post(':id/credentials/:credentialId/withdraw')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'withdrawCredential',
    summary: 'Withdraw a pending credential and its link; the other passwords go on',
    description: 'A credential that is not pending is 409 `credential.not-pending`.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'credentialId', format: 'uuid' })
  @ApiOkResponse({ type: CredentialDto })
  @ApiProblems(404, 409)
  withdrawCredential(
    @Id() id: string,
    @Param('credentialId', UuidPipe) credentialId: string,
    @CurrentActor() actor: Actor,
  ): Promise<CredentialDto> {
    return this.credentials.withdraw(id, credentialId, actor);
  }

  @Delete(':id/credentials/:credentialId')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'revokeCredential',
    summary: 'Revoke a credential and the tokens it obtained, at once',
    description:
      'The credentials that were created with it end too, unless `includeDescendants` is `false`; a pending one is ' +
      'withdrawn. `…/impact` lists them.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'credentialId', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(400, 404)
  revokeCredential(
    @Id() id: string,
    @Param('credentialId', UuidPipe) credentialId: string,
    @Query() { includeDescendants = 'true' }: RevokeCredentialQuery,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.ends.revoke(id, credentialId, actor, { includeDescendants: includeDescendants === 'true' });
  }
}
