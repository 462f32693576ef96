import { Body, Controller, Delete, Get, HttpCode, Param, Post, Put, Query, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { UuidPipe } from '../common/validation.ts';
import { GrantAdministrationService } from './grant-administration.service.ts';
import {
  GrantDto,
  GrantedDto,
  GranteePageDto,
  GrantPageDto,
  GrantRequest,
  GrantTerms,
  ListGranteesQuery,
  ListGrantsQuery,
} from './grant.dto.ts';
import { ResourceIdPipe, ResourceTypePipe } from './grant.pipes.ts';

@Controller('admin')
@StaffPlane('Grants')
export class GrantController {
  constructor(private readonly grants: GrantAdministrationService) {}

  @Get('grants')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listGrantees', summary: 'To whom a resource is granted' })
  @ApiOkResponse({ type: GranteePageDto })
  @ApiProblems(400)
  grantees(@Query() query: ListGranteesQuery): Promise<GranteePageDto> {
    return this.grants.grantees(query);
  }

  @Get('channel-users/:id/grants')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listGrants', summary: 'What is granted to it, expired grants too' })
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
    summary: 'Grant many resources of one type on the same terms',
    description: 'All or none. Those it has are brought to these terms; doing it twice changes nothing.',
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
  @ApiOkResponse({ type: GrantDto, description: 'It had the grant.' })
  @ApiCreatedResponse({ type: GrantDto })
  @ApiProblems(400, 404, 413, 415)
  async put(
    @Param('id', UuidPipe) id: string,
    @Param('resourceType', ResourceTypePipe) resourceType: string,
    @Param('resourceId', ResourceIdPipe) resourceId: string,
    @Body() terms: GrantTerms,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<GrantDto> {
    const { grant, isNew } = await this.grants.put(id, resourceType, resourceId, terms, actor);
    if (isNew) void reply.status(201);
    return grant;
  }

  @Delete('channel-users/:id/grants/:resourceType/:resourceId')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({ operationId: 'withdrawGrant', summary: 'Withdraw a grant; the next call is refused' })
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
