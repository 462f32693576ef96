import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ChannelUserService } from '../../channel-user/channel-user.service.ts';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import { CallErrorPageDto, CallsDto, ListCallErrorsQuery, ReadCallsQuery } from './calls.dto.ts';
import { CallsService } from './calls.service.ts';

/** What staff see of a channel user's calls: the same as the channel user itself. */
@Controller('admin/channel-users/:id')
@Roles('viewer')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class CallsController {
  constructor(
    private readonly calls: CallsService,
    private readonly channelUsers: ChannelUserService,
  ) {}

  @Get('calls')
  @ApiOperation({
    operationId: 'readCalls',
    summary: 'Count the calls of this channel user by hour, route and class of the status',
    description: 'Every call with a token of the channel user counts, refused ones included. Kept for 8 days.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: CallsDto })
  @ApiProblems(400, 404)
  async read(@Param('id', UuidPipe) id: string, @Query() query: ReadCallsQuery): Promise<CallsDto> {
    await this.channelUsers.get(id);
    return this.calls.calls(id, query);
  }

  @Get('errors')
  @ApiOperation({
    operationId: 'listCallErrors',
    summary: 'List the refused and failed calls of this channel user, newest first',
    description: 'Calls with a token of the channel user, with the true reason for a refusal. Kept for 14 days.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: CallErrorPageDto })
  @ApiProblems(400, 404)
  async listErrors(@Param('id', UuidPipe) id: string, @Query() query: ListCallErrorsQuery): Promise<CallErrorPageDto> {
    await this.channelUsers.get(id);
    return this.calls.listErrors(id, query);
  }
}
