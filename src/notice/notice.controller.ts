import { Controller, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../platform/api/openapi.decorators.ts';
import type { Actor } from '../platform/common/principal.ts';
import { CurrentActor, OpenToServiceAccounts, Roles } from '../platform/api/security.ts';
import { UuidPipe } from '../platform/api/validation.ts';
import { ListNoticesQuery, NoticeDeliveryDto, NoticePageDto } from './notice.dto.ts';
import { NoticeService } from './notice.service.ts';

@Controller('admin/notices')
@StaffApi('Notices')
@OpenToServiceAccounts()
export class NoticeController {
  constructor(private readonly notices: NoticeService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listNotices', summary: 'List notices and their deliveries, newest first' })
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
    summary: 'Deliver a notice to a webhook now, even if it was delivered or given up before',
    description: 'Keeps the `webhook-id` and starts a new series of attempts. An attempt in progress is not repeated.',
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
