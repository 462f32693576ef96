import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, PartnerApi } from '../../platform/api/openapi.decorators.ts';
import { AnyPartner, CurrentChannelUser } from '../../platform/api/security.ts';
import type { CurrentChannelUser as ChannelUserPrincipal } from '../../platform/common/principal.ts';
import { RequestRecordDto } from './request-lookup.dto.ts';
import { RequestLookupService } from './request-lookup.service.ts';

@Controller('me/requests/:requestId')
@AnyPartner()
@PartnerApi('Own account')
export class OwnRequestController {
  constructor(private readonly requests: RequestLookupService) {}

  @Get()
  @ApiOperation({
    operationId: 'getOwnRequest',
    summary: 'Show what became of one of your requests: what was asked, what was answered, why, and what to do',
    description:
      'Finds your sign-ins and your refused and failed calls. Successful calls are only counted, so the answer to ' +
      'their ids is 404, as it is once a record is no longer kept.',
  })
  @ApiParam({ name: 'requestId', format: 'uuid', description: 'The X-Request-Id of an answer.' })
  @ApiOkResponse({ type: RequestRecordDto })
  @ApiProblems(400, 404)
  get(
    @CurrentChannelUser() { id }: ChannelUserPrincipal,
    @Param('requestId') requestId: string,
  ): Promise<RequestRecordDto> {
    return this.requests.own(requestId, id);
  }
}
