import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { StaffApi } from '../../platform/api/openapi.decorators.ts';
import { OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { OverviewDto } from './overview.dto.ts';
import { OverviewService } from './overview.service.ts';

@Controller('admin/overview')
@StaffApi('Overview')
@OpenToServiceAccounts()
export class OverviewController {
  constructor(private readonly overview: OverviewService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'getOverview', summary: 'Show the state of all partners in numbers' })
  @ApiOkResponse({ type: OverviewDto })
  read(): Promise<OverviewDto> {
    return this.overview.read();
  }
}
