import { Controller, Get, HttpCode, Post, Query, Res } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiProduces } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ATTACHMENT, StaffPlane } from '../common/api.ts';
import { Clock } from '../common/clock.ts';
import { download } from '../common/download.ts';
import { DEFAULT_PAGE } from '../common/page.ts';
import { Roles } from '../common/security.ts';
import { AuditChain } from './audit-chain.service.ts';
import {
  AuditActionsDto,
  AuditChainDto,
  AuditEventPageDto,
  AuditFilterQuery,
  ListAuditEventsQuery,
} from './audit.dto.ts';
import { type AuditFilter, AuditService } from './audit.service.ts';

const filterOf = ({ actor, action, target, from, to }: AuditFilterQuery): AuditFilter => ({
  ...(actor !== undefined && { actor }),
  ...(action !== undefined && { action }),
  ...(target !== undefined && { target }),
  ...(from !== undefined && { from: new Date(from) }),
  ...(to !== undefined && { to: new Date(to) }),
});

@Controller('admin/audit-events')
@Roles('viewer')
@StaffPlane('Audit', 400)
export class AuditController {
  constructor(
    private readonly audit: AuditService,
    private readonly chain: AuditChain,
    private readonly clock: Clock,
  ) {}

  @Get()
  @ApiOperation({ operationId: 'listAuditEvents', summary: 'Who changed what, newest first' })
  @ApiOkResponse({ type: AuditEventPageDto })
  list(@Query() query: ListAuditEventsQuery): Promise<AuditEventPageDto> {
    const { limit = DEFAULT_PAGE, cursor } = query;
    return this.audit.list(filterOf(query), { limit, cursor });
  }

  @Get('export')
  @ApiOperation({
    operationId: 'exportAuditEvents',
    summary: 'The whole trail as a file, oldest first',
    description:
      'One event a line, as in the list, with its `sequence` and `mac` in the chain (NDJSON). A connection that ends early means that the file is not complete.',
  })
  @ApiProduces('application/x-ndjson')
  @ApiOkResponse({ schema: { type: 'string' }, headers: ATTACHMENT })
  export(@Query() query: AuditFilterQuery, @Res({ passthrough: true }) reply: FastifyReply): AsyncGenerator<string> {
    const day = new Date(this.clock.now()).toISOString().slice(0, 10);
    const file = { name: `audit-events-${day}.ndjson`, type: 'application/x-ndjson' };
    return download(reply, file, this.audit.ndjson(filterOf(query)));
  }

  @Get('actions')
  @ApiOperation({ operationId: 'listAuditActions', summary: 'Every action that the trail tells of' })
  @ApiOkResponse({ type: AuditActionsDto })
  async actions(): Promise<AuditActionsDto> {
    return { items: await this.audit.actions() };
  }

  @Get('chain')
  @ApiOperation({
    operationId: 'readAuditChain',
    summary: 'Where the chain of the trail ends, and whether it is intact',
  })
  @ApiOkResponse({ type: AuditChainDto })
  async readChain(): Promise<AuditChainDto> {
    const { head, ...state } = await this.chain.state();
    return { head: { ...head, mac: head.mac.toString('hex') }, ...state };
  }

  @Post('chain/verify')
  @Roles('admin')
  @HttpCode(202)
  @ApiOperation({
    operationId: 'verifyAuditChain',
    summary: 'Verify the whole trail in the background',
    description:
      'What was found is `verified` of `GET /admin/audit-events/chain` once `verifying` is false. Where another instance verifies already, that is what is waited for; where none can, `verifying` is false at once.',
  })
  @ApiAcceptedResponse({ type: AuditChainDto })
  async verifyChain(): Promise<AuditChainDto> {
    const isHere = await this.chain.verifyInBackground();
    const state = await this.readChain();
    // Even if it has ended by now: whoever asked reads the result next.
    return isHere ? { ...state, verifying: true } : state;
  }
}
