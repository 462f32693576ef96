import { Controller, Get, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { OpenToServiceAccounts, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import { CredentialImpactDto } from './usage.dto.ts';
import { UsageService } from './usage.service.ts';

@Controller('admin/channel-users/:id/credentials/:credentialId/impact')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class UsageController {
  constructor(private readonly usage: UsageService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'getCredentialImpact', summary: 'Show what revoking this credential would end' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'credentialId', format: 'uuid' })
  @ApiOkResponse({ type: CredentialImpactDto })
  @ApiProblems(404)
  impact(
    @Param('id', UuidPipe) id: string,
    @Param('credentialId', UuidPipe) credentialId: string,
  ): Promise<CredentialImpactDto> {
    return this.usage.impact(id, credentialId);
  }
}
