import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ChannelUserService } from '../../channel-user/channel-user.service.ts';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import { ActivityPageDto, ListActivityQuery } from './sign-in-log.dto.ts';
import { SignInLogService } from './sign-in-log.service.ts';

@Controller('admin/channel-users/:id/activity')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class SignInLogController {
  constructor(
    private readonly log: SignInLogService,
    private readonly channelUsers: ChannelUserService,
  ) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({
    operationId: 'listActivity',
    summary: 'List sign-in attempts with the true reasons for refusals, newest first',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ActivityPageDto })
  @ApiProblems(400, 404)
  async list(@Param('id', UuidPipe) id: string, @Query() query: ListActivityQuery): Promise<ActivityPageDto> {
    await this.channelUsers.get(id);
    return this.log.list(id, query);
  }
}
