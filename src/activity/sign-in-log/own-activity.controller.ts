import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ApiProblems, PartnerApi } from '../../platform/api/openapi.decorators.ts';
import { AnyPartner, CurrentChannelUser } from '../../platform/api/security.ts';
import type { CurrentChannelUser as ChannelUserPrincipal } from '../../platform/common/principal.ts';
import { OwnActivityPageDto, ListActivityQuery } from './sign-in-log.dto.ts';
import { SignInLogService } from './sign-in-log.service.ts';
import { toOwnDto } from './sign-in-words.ts';

@Controller('me/activity')
@AnyPartner()
@PartnerApi('Own account')
export class OwnActivityController {
  constructor(private readonly log: SignInLogService) {}

  @Get()
  @ApiOperation({
    operationId: 'listOwnActivity',
    summary: 'List your sign-ins, newest first, with the reasons for refusals and what to do about them',
    description: 'Attempts with your username, whoever made them.',
  })
  @ApiOkResponse({ type: OwnActivityPageDto })
  @ApiProblems(400)
  async list(
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
    @Query() query: ListActivityQuery,
  ): Promise<OwnActivityPageDto> {
    const { items, nextCursor } = await this.log.list(id, query);
    return { items: items.map(toOwnDto), nextCursor };
  }
}
