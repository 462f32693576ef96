import { Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { UuidPipe } from '../common/validation.ts';
import { ListNoticesQuery, NoticeDeliveryDto, NoticePageDto } from './notice.dto.ts';
import { NoticeService } from './notice.service.ts';

@Controller('admin/notices')
@StaffPlane('Notices')
export class NoticeController {
  constructor(private readonly notices: NoticeService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listNotices', summary: 'What there was to notice, newest first, and who was told' })
  @ApiOkResponse({ type: NoticePageDto })
  @ApiProblems(400)
  list(@Query() query: ListNoticesQuery): Promise<NoticePageDto> {
    return this.notices.list(query);
  }

  @Post(':id/deliveries/:deliveryId/retry')
  @Roles('operator')
  @HttpCode(202)
  @ApiOperation({
    operationId: 'retryNoticeDelivery',
    summary: 'Send it now, also when it was delivered or given up',
    description: 'With the same `webhook-id`, and all attempts before it. One that is being made is left alone.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'deliveryId', format: 'uuid' })
  @ApiAcceptedResponse({ type: NoticeDeliveryDto })
  @ApiProblems(404, 409)
  retry(
    @Param('id', UuidPipe) id: string,
    @Param('deliveryId', UuidPipe) deliveryId: string,
    @CurrentActor() actor: Actor,
  ): Promise<NoticeDeliveryDto> {
    return this.notices.retry(id, deliveryId, actor);
  }
}
