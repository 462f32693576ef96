import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { StaffApi } from '../../platform/api/openapi.decorators.ts';
import { OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { ResourceTypeListDto } from './grant.dto.ts';
import { ResourceTypeService } from './resource-type.service.ts';

@Controller('admin/resource-types')
@StaffApi('Grants')
@OpenToServiceAccounts()
export class ResourceTypeController {
  constructor(private readonly resourceTypes: ResourceTypeService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({
    operationId: 'listResourceTypes',
    summary: 'List the resource types that need a grant',
  })
  @ApiOkResponse({ type: ResourceTypeListDto })
  list(): ResourceTypeListDto {
    return { items: this.resourceTypes.list() };
  }
}
