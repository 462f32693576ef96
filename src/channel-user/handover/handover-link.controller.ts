import { Controller, Delete, Get, HttpCode, Param } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { CurrentActor, OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import { HandoverListDto } from './handover.dto.ts';
import { HandoverService } from './handover.service.ts';

@Controller('admin/channel-users/:id/handovers')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class HandoverLinkController {
  constructor(private readonly handovers: HandoverService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({
    operationId: 'listHandovers',
    summary: 'List the hand-over links of a channel user, without their secrets, newest first',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: HandoverListDto })
  @ApiProblems(404)
  async list(@Param('id', UuidPipe) id: string): Promise<HandoverListDto> {
    return { items: await this.handovers.list(id) };
  }

  @Delete(':handoverId')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'revokeHandover',
    summary: 'Revoke a hand-over link, which then shows nothing',
    description:
      'A pending credential is withdrawn with its link. Any other stays, although nobody knows its password. Revoke ' +
      'it too.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'handoverId', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404, 409)
  revoke(
    @Param('id', UuidPipe) id: string,
    @Param('handoverId', UuidPipe) handoverId: string,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.handovers.revoke(id, handoverId, actor);
  }
}
