import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { CurrentActor, OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import { GrantAdministrationService } from './grant-administration.service.ts';
import {
  asKept,
  GrantDto,
  GrantedDto,
  GranteePageDto,
  GrantPageDto,
  GrantRequest,
  GrantTerms,
  ListGranteesQuery,
  ListGrantsQuery,
  WithdrawGrantQuery,
} from './grant.dto.ts';
import { NewResourceIdPipe, ResourceIdPipe, ResourceTypePipe } from './grant.pipes.ts';

@Controller('admin')
@StaffApi('Grants')
@OpenToServiceAccounts()
export class GrantController {
  constructor(private readonly grants: GrantAdministrationService) {}

  @Get('grants')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listGrantees', summary: 'List the channel users that a resource is granted to' })
  @ApiOkResponse({ type: GranteePageDto })
  @ApiProblems(400)
  grantees(@Query() query: ListGranteesQuery): Promise<GranteePageDto> {
    return this.grants.grantees(query);
  }

  @Get('channel-users/:id/grants')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listGrants', summary: 'List the grants of a channel user, expired ones included' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: GrantPageDto })
  @ApiProblems(400, 404)
  list(@Param('id', UuidPipe) id: string, @Query() query: ListGrantsQuery): Promise<GrantPageDto> {
    return this.grants.list(id, query);
  }

  @Post('channel-users/:id/grants')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'giveGrants',
    summary: 'Grant several resources of one type on the same terms',
    description: 'Grants all or none. Existing grants get these terms. Idempotent.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: GrantedDto })
  @ApiProblems(400, 404, 413, 415)
  give(
    @Param('id', UuidPipe) id: string,
    @Body() request: GrantRequest,
    @CurrentActor() actor: Actor,
  ): Promise<GrantedDto> {
    return this.grants.give(id, request, actor);
  }

  @Put('channel-users/:id/grants/:resourceType/:resourceId')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({ operationId: 'putGrant', summary: 'Grant a resource on these terms' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'resourceType', example: 'property' })
  @ApiParam({ name: 'resourceId', example: '7' })
  @ApiOkResponse({ type: GrantDto, description: 'The grant existed and now has these terms.' })
  @ApiCreatedResponse({ type: GrantDto })
  @ApiProblems(400, 404, 413, 415)
  async put(
    @Param('id', UuidPipe) id: string,
    @Param('resourceType', ResourceTypePipe) resourceType: string,
    @Param('resourceId', NewResourceIdPipe) resourceId: string,
    @Body() terms: GrantTerms,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<GrantDto> {
    const { grant, isNew } = await this.grants.put(id, resourceType, resourceId, terms, actor);
    if (isNew) void reply.status(201);
    return grant;
  }

  @Delete('channel-users/:id/grants')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'withdrawGrantByQuery',
    summary: 'Withdraw a grant named in the query, for ids that cannot be part of a path',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(400, 404)
  withdrawByQuery(
    @Param('id', UuidPipe) id: string,
    @Query() { resourceType, resourceId }: WithdrawGrantQuery,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.grants.withdraw(id, resourceType, asKept(resourceId), actor);
  }

  @Delete('channel-users/:id/grants/:resourceType/:resourceId')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({ operationId: 'withdrawGrant', summary: 'Withdraw a grant; it takes effect on the next call' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'resourceType', example: 'property' })
  @ApiParam({ name: 'resourceId', example: '7' })
  @ApiNoContentResponse()
  @ApiProblems(400, 404)
  withdraw(
    @Param('id', UuidPipe) id: string,
    @Param('resourceType', ResourceTypePipe) resourceType: string,
    @Param('resourceId', ResourceIdPipe) resourceId: string,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.grants.withdraw(id, resourceType, resourceId, actor);
  }
}
