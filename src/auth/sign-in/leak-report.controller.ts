import { Body, Controller, HttpCode, Post, Req } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { ApiProblems } from '../../platform/api/openapi.decorators.ts';
import { Public } from '../../platform/api/security.ts';
import { LeakReportRequest } from './leak-report.dto.ts';
import { LeakReportService } from './leak-report.service.ts';

@Controller('credentials')
@ApiTags('Own account')
export class LeakReportController {
  constructor(private readonly reports: LeakReportService) {}

  @Post('report-leaked')
  @Public()
  @HttpCode(202)
  @ApiOperation({
    operationId: 'reportLeakedPassword',
    summary: 'End a leaked password at once, with everything that was created with it',
    description:
      'Ends the password, all passwords created with it, directly or indirectly, and the tokens of all of them, and ' +
      'tells staff. Works from any address, in any state of the account, and for the last password too: the account ' +
      'then has no access until staff create a new one. The response is the same whether or not username and ' +
      'password are right. A 429 or 503 means that you should report again, after Retry-After seconds.',
    security: [],
  })
  @ApiAcceptedResponse({ description: 'The report was received. If the password was right, it has ended.' })
  @ApiProblems(400, 413, 415, 429, 503)
  report(@Body() body: LeakReportRequest, @Req() request: FastifyRequest): Promise<void> {
    return this.reports.report(body, request);
  }
}
