import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { StaffApi } from '../../platform/api/openapi.decorators.ts';
import { OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { ScopeListDto } from './scope.dto.ts';
import { ScopeService } from './scope.service.ts';

@Controller('admin/scopes')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class ScopeController {
  constructor(private readonly scopes: ScopeService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({
    operationId: 'listScopes',
    summary: 'List the scopes that can be granted, declared by the application or already in use',
  })
  @ApiOkResponse({ type: ScopeListDto })
  async list(): Promise<ScopeListDto> {
    return { items: await this.scopes.list() };
  }
}
