import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { OptionalReasonRequest, ReasonRequest } from '../../channel-user/channel-user.dto.ts';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { CurrentActor, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import type { Actor } from '../../platform/common/principal.ts';
import {
  CreateServiceAccountRequest,
  NewServiceAccountDto,
  RotateServiceAccountRequest,
  ServiceAccountDto,
  ServiceAccountListDto,
  UpdateServiceAccountRequest,
} from './service-account.dto.ts';
import { ServiceAccountKeyService } from './service-account-key.service.ts';
import { ServiceAccountService } from './service-account.service.ts';

const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/service-accounts')
@Roles('admin')
@StaffApi('Service accounts')
export class ServiceAccountController {
  constructor(
    private readonly accounts: ServiceAccountService,
    private readonly keys: ServiceAccountKeyService,
  ) {}

  @Get()
  @ApiOperation({
    operationId: 'listServiceAccounts',
    summary: 'List service accounts with their keys, sorted by name',
  })
  @ApiOkResponse({ type: ServiceAccountListDto })
  async list(): Promise<ServiceAccountListDto> {
    return { items: await this.accounts.list() };
  }

  @Post()
  @ApiOperation({
    operationId: 'createServiceAccount',
    summary: 'Create the identity of a script; the response shows its key, only this once',
    description:
      'The script sends the key as `Authorization: Bearer <key>` to the routes that its role opens. Staff, service ' +
      'accounts, settings, signing keys and own sessions are for people: 403 `session.person-required`.',
  })
  @ApiCreatedResponse({
    type: NewServiceAccountDto,
    headers: { Location: { description: 'Path of the new resource.', schema: { type: 'string' } } },
  })
  @ApiProblems(400, 409, 413, 415)
  async create(
    @Body() request: CreateServiceAccountRequest,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewServiceAccountDto> {
    const created = await this.accounts.create(request, actor);
    void reply.header('location', `/admin/service-accounts/${created.id}`);
    return created;
  }

  @Get(':id')
  @ApiOperation({ operationId: 'getServiceAccount', summary: 'Show one service account with its keys' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ServiceAccountDto })
  @ApiProblems(404)
  get(@Id() id: string): Promise<ServiceAccountDto> {
    return this.accounts.get(id);
  }

  @Patch(':id')
  @ApiOperation({ operationId: 'updateServiceAccount', summary: 'Change the fields that the body contains' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ServiceAccountDto })
  @ApiProblems(400, 404, 409, 413, 415)
  update(
    @Id() id: string,
    @Body() request: UpdateServiceAccountRequest,
    @CurrentActor() actor: Actor,
  ): Promise<ServiceAccountDto> {
    return this.accounts.update(id, request, actor);
  }

  @Post(':id/suspend')
  @HttpCode(200)
  @ApiOperation({ operationId: 'suspendServiceAccount', summary: 'Suspend: refuse its keys until it is reactivated' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ServiceAccountDto })
  @ApiProblems(400, 404, 409, 413, 415)
  suspend(
    @Id() id: string,
    @Body() { reason }: ReasonRequest,
    @CurrentActor() actor: Actor,
  ): Promise<ServiceAccountDto> {
    return this.accounts.suspend(id, reason, actor);
  }

  @Post(':id/reactivate')
  @HttpCode(200)
  @ApiOperation({ operationId: 'reactivateServiceAccount', summary: 'Let the keys of a suspended account work again' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ServiceAccountDto })
  @ApiProblems(400, 404, 409, 413, 415)
  reactivate(
    @Id() id: string,
    @Body() { reason }: OptionalReasonRequest,
    @CurrentActor() actor: Actor,
  ): Promise<ServiceAccountDto> {
    return this.accounts.reactivate(id, reason, actor);
  }

  @Post(':id/rotate')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'rotateServiceAccount',
    summary: 'Create a new key, shown only this once; the other keys go on until the script has used it',
    description:
      'While a new key waits for its first use, another rotation is 409 `service-account.rotation-pending`; the ' +
      'problem has its `keyId`, `pendingSince` and how to `withdraw` it. With `replaces` or `after: "now"`, the pending ' +
      'one is withdrawn.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: NewServiceAccountDto })
  @ApiProblems(400, 404, 409, 413, 415)
  rotate(
    @Id() id: string,
    @Body() request: RotateServiceAccountRequest,
    @CurrentActor() actor: Actor,
  ): Promise<NewServiceAccountDto> {
    return this.accounts.rotate(id, request, actor);
  }

  @Post(':id/revoke')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'revokeServiceAccount',
    summary: 'Revoke: end all its keys for good; the account stays in the list until it is deleted',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ServiceAccountDto })
  @ApiProblems(400, 404, 413, 415)
  revoke(
    @Id() id: string,
    @Body() { reason }: ReasonRequest,
    @CurrentActor() actor: Actor,
  ): Promise<ServiceAccountDto> {
    return this.accounts.revoke({ id }, reason, actor);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'deleteServiceAccount',
    summary: 'Delete a service account; its keys stop working, its audit trail stays',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  delete(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.accounts.delete(id, actor);
  }

  @Post(':id/keys/:keyId/withdraw')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'withdrawServiceAccountKey',
    summary: 'Withdraw a pending key; the other keys go on',
    description: 'A key that is not pending is 409 `service-account.key-not-pending`.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'keyId', format: 'uuid' })
  @ApiOkResponse({ type: ServiceAccountDto })
  @ApiProblems(404, 409)
  withdrawKey(
    @Id() id: string,
    @Param('keyId', UuidPipe) keyId: string,
    @CurrentActor() actor: Actor,
  ): Promise<ServiceAccountDto> {
    return this.accounts.withdrawKey(id, keyId, actor);
  }

  @Delete(':id/keys/:keyId')
  @HttpCode(204)
  @ApiOperation({ operationId: 'revokeServiceAccountKey', summary: 'Revoke one key, at once' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'keyId', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  revokeKey(@Id() id: string, @Param('keyId', UuidPipe) keyId: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.keys.revoke(id, keyId, actor);
  }
}
