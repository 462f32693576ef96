import { Controller, Delete, Get, HttpCode, Param } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { UuidPipe } from '../common/validation.ts';
import { HandoverListDto } from './handover.dto.ts';
import { HandoverService } from './handover.service.ts';

@Controller('admin/channel-users/:id/handovers')
@StaffPlane('Channel users')
export class HandoverLinkController {
  constructor(private readonly handovers: HandoverService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listHandovers', summary: 'Its hand-over links, newest first; never a link again' })
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
    summary: 'The link shows nothing from now on',
    description: 'The credential stays: nobody knows its password then, so it is best revoked too.',
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
