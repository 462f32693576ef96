import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { StaffPlane } from '../common/api.ts';
import { Roles } from '../common/security.ts';
import { OverviewDto } from './overview.dto.ts';
import { OverviewService } from './overview.service.ts';

@Controller('admin/overview')
@StaffPlane('Overview')
export class OverviewController {
  constructor(private readonly overview: OverviewService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'getOverview', summary: 'How the partners are, in numbers' })
  @ApiOkResponse({ type: OverviewDto })
  read(): Promise<OverviewDto> {
    return this.overview.read();
  }
}
