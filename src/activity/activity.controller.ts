import { Controller, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ChannelUserService } from '../channel-user/channel-user.service.ts';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import { Roles } from '../common/security.ts';
import { UuidPipe } from '../common/validation.ts';
import { ActivityPageDto, ListActivityQuery } from './activity.dto.ts';
import { ActivityService } from './activity.service.ts';

@Controller('admin/channel-users/:id/activity')
@StaffPlane('Channel users')
export class ActivityController {
  constructor(
    private readonly activity: ActivityService,
    private readonly channelUsers: ChannelUserService,
  ) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listActivity', summary: 'Its sign-in attempts, newest first, with their true reasons' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ActivityPageDto })
  @ApiProblems(400, 404)
  async list(@Param('id', UuidPipe) id: string, @Query() query: ListActivityQuery): Promise<ActivityPageDto> {
    await this.channelUsers.get(id);
    return this.activity.list(id, query);
  }
}
