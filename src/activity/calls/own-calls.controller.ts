import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ApiProblems, PartnerApi } from '../../platform/api/openapi.decorators.ts';
import { AnyPartner, CurrentChannelUser } from '../../platform/api/security.ts';
import type { CurrentChannelUser as ChannelUserPrincipal } from '../../platform/common/principal.ts';
import { CallErrorPageDto, CallsDto, ListCallErrorsQuery, ReadCallsQuery } from './calls.dto.ts';
import { CallsService } from './calls.service.ts';

@Controller('me')
@AnyPartner()
@PartnerApi('Own account')
export class OwnCallsController {
  constructor(private readonly calls: CallsService) {}

  @Get('usage')
  @ApiOperation({
    operationId: 'readOwnUsage',
    summary: 'Count your calls by hour, route and class of the status',
    description: 'Every call with one of your tokens counts, refused ones included. Kept for 8 days.',
  })
  @ApiOkResponse({ type: CallsDto })
  @ApiProblems(400)
  read(@CurrentChannelUser() { id }: ChannelUserPrincipal, @Query() query: ReadCallsQuery): Promise<CallsDto> {
    return this.calls.calls(id, query);
  }

  @Get('errors')
  @ApiOperation({
    operationId: 'listOwnErrors',
    summary: 'List your refused and failed calls, newest first',
    description:
      'Calls with one of your tokens. A call whose token is forged or missing belongs to nobody and is not listed; ' +
      'neither is one that was refused before its token was read, such as one to an unknown path. Kept for 14 days.',
  })
  @ApiOkResponse({ type: CallErrorPageDto })
  @ApiProblems(400)
  listErrors(
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
    @Query() query: ListCallErrorsQuery,
  ): Promise<CallErrorPageDto> {
    return this.calls.listErrors(id, query);
  }
}
