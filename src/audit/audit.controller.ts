import { Controller, Get, HttpCode, Post, Query, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiProduces } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ATTACHMENT, StaffApi } from '../platform/api/openapi.decorators.ts';
import { Clock } from '../platform/common/clock.ts';
import { download } from '../platform/http/download.ts';
import { DEFAULT_PAGE } from '../platform/api/page.ts';
import { OpenToServiceAccounts, Roles } from '../platform/api/security.ts';
import { ChainVerification } from './chain/chain-verification.service.ts';
import {
  AuditActionsDto,
  AuditChainDto,
  AuditEventPageDto,
  type AuditFilterQuery,
  ExportAuditEventsQuery,
  ListAuditEventsQuery,
} from './audit.dto.ts';
import { type AuditFilter, AuditQueryService } from './audit-query.service.ts';

const filterOf = ({ actor, action, target, from, to }: AuditFilterQuery): AuditFilter => ({
  ...(actor !== undefined && { actor }),
  ...(action !== undefined && { action }),
  ...(target !== undefined && { target }),
  ...(from !== undefined && { from: new Date(from) }),
  ...(to !== undefined && { to: new Date(to) }),
});

@Controller('admin/audit-events')
@Roles('viewer')
@StaffApi('Audit', 400)
@OpenToServiceAccounts()
export class AuditController {
  constructor(
    private readonly audit: AuditQueryService,
    private readonly verification: ChainVerification,
    private readonly clock: Clock,
  ) {}

  @Get()
  @ApiOperation({ operationId: 'listAuditEvents', summary: 'List changes with their authors, newest first' })
  @ApiOkResponse({ type: AuditEventPageDto })
  list(@Query() query: ListAuditEventsQuery): Promise<AuditEventPageDto> {
    const { limit = DEFAULT_PAGE, cursor } = query;
    return this.audit.list(filterOf(query), { limit, cursor });
  }

  @Get('export')
  @ApiOperation({
    operationId: 'exportAuditEvents',
    summary: 'Export the whole trail as a file, oldest first',
    description:
      'NDJSON has one event a line, as in the list, plus its `sequence` and `mac` in the chain. CSV (RFC 4180) ' +
      'has a header line and `changes` as JSON; cells that a spreadsheet would read as a formula start with an ' +
      'apostrophe. If the connection ends early, the file is incomplete.',
  })
  @ApiProduces('application/x-ndjson', 'text/csv')
  @ApiOkResponse({ schema: { type: 'string' }, headers: ATTACHMENT })
  export(
    @Query() { format = 'ndjson', ...query }: ExportAuditEventsQuery,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): AsyncGenerator<string> {
    const name = `audit-events-${new Date(this.clock.now()).toISOString().slice(0, 10)}.${format}`;
    const filter = filterOf(query);
    return format === 'csv'
      ? download(reply, { name, type: 'text/csv; charset=utf-8' }, this.audit.csv(filter))
      : download(reply, { name, type: 'application/x-ndjson' }, this.audit.ndjson(filter));
  }

  @Get('actions')
  @ApiOperation({ operationId: 'listAuditActions', summary: 'List the actions that occur in the trail' })
  @ApiOkResponse({ type: AuditActionsDto })
  async actions(): Promise<AuditActionsDto> {
    return { items: await this.audit.actions() };
  }

  @Get('chain')
  @ApiOperation({
    operationId: 'readAuditChain',
    summary: 'Show where the chain of the trail ends and whether it is intact',
  })
  @ApiOkResponse({ type: AuditChainDto })
  async readChain(): Promise<AuditChainDto> {
    const { head, ...state } = await this.verification.state();
    return { head: { ...head, mac: head.mac.toString('hex') }, ...state };
  }

  @Post('chain/verify')
  @Roles('admin')
  @HttpCode(202)
  @ApiOperation({
    operationId: 'verifyAuditChain',
    summary: 'Verify the whole trail in the background',
    description:
      'Poll `GET /admin/audit-events/chain` until `verifying` is false, then read the result in `verified`. If ' +
      'another instance is verifying already, its result counts. If no instance can verify, `verifying` is false ' +
      'at once.',
  })
  @ApiAcceptedResponse({ type: AuditChainDto })
  async verifyChain(): Promise<AuditChainDto> {
    const isHere = await this.verification.verifyInBackground();
    const state = await this.readChain();
    // Says so even if the verification has ended by now: the caller then asks again and reads its result.
    return isHere ? { ...state, verifying: true } : state;
  }
}
