import { Body, Controller, Delete, Get, HttpCode, Param, Post } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { CurrentActor, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { CreateCredentialRequest, CredentialListDto, IssuedCredentialDto } from './credential.dto.ts';
import { CredentialService } from './credential.service.ts';

const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/channel-users')
@StaffApi('Channel users')
export class CredentialController {
  constructor(private readonly credentials: CredentialService) {}

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
    summary: 'Rotate: create a new password, shown once here or behind a link, and let the others expire',
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

  @Delete(':id/credentials/:credentialId')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({ operationId: 'revokeCredential', summary: 'Revoke a credential and the tokens it obtained, at once' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'credentialId', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  revokeCredential(
    @Id() id: string,
    @Param('credentialId', UuidPipe) credentialId: string,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.credentials.revoke(id, credentialId, actor);
  }
}
