import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { StaffRequestRecordDto } from './request-lookup.dto.ts';
import { RequestLookupService } from './request-lookup.service.ts';

@Controller('admin/requests/:requestId')
@Roles('viewer')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class RequestLookupController {
  constructor(private readonly requests: RequestLookupService) {}

  @Get()
  @ApiOperation({
    operationId: 'getRequest',
    summary: 'Show what became of a request: what was asked, what was answered, why, and what to do',
    description:
      'Finds sign-ins of channel users, their refused and failed calls, and changes, whoever made them. Other ' +
      'successful calls are only counted, so the answer to their ids is 404, as it is once a record is no longer kept.',
  })
  @ApiParam({ name: 'requestId', format: 'uuid', description: 'The X-Request-Id of an answer.' })
  @ApiOkResponse({ type: StaffRequestRecordDto })
  @ApiProblems(400, 404)
  get(@Param('requestId') requestId: string): Promise<StaffRequestRecordDto> {
    return this.requests.any(requestId);
  }
}
