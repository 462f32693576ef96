import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { StaffPlane } from '../common/api.ts';
import { Roles } from '../common/security.ts';
import { ScopeListDto } from './scope.dto.ts';
import { ScopeService } from './scope.service.ts';

@Controller('admin/scopes')
@StaffPlane('Channel users')
export class ScopeController {
  constructor(private readonly scopes: ScopeService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listScopes', summary: 'What can be granted: what the application asks for, and more' })
  @ApiOkResponse({ type: ScopeListDto })
  async list(): Promise<ScopeListDto> {
    return { items: await this.scopes.list() };
  }
}
