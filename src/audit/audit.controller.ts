import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { StaffPlane } from '../common/api.ts';
import { Roles } from '../common/security.ts';
import { AuditEventPageDto, ListAuditEventsQuery } from './audit.dto.ts';
import { AuditService } from './audit.service.ts';

@Controller('admin/audit-events')
@StaffPlane('Audit', 400)
export class AuditController {
  constructor(private readonly audit: AuditService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listAuditEvents', summary: 'Who changed what, newest first' })
  @ApiOkResponse({ type: AuditEventPageDto })
  list(@Query() query: ListAuditEventsQuery): Promise<AuditEventPageDto> {
    const { from, to, limit = 50, ...filter } = query;
    return this.audit.list({
      ...filter,
      limit,
      ...(from !== undefined && { from: new Date(from) }),
      ...(to !== undefined && { to: new Date(to) }),
    });
  }
}
