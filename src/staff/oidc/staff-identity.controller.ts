import { Body, Controller, Delete, Param, Put } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../../platform/api/openapi.decorators.ts';
import { CurrentActor, Roles } from '../../platform/api/security.ts';
import { UuidPipe } from '../../platform/api/validation.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { StaffDto } from '../staff.dto.ts';
import { AttachIdentityRequest } from '../staff-identity.dto.ts';
import { StaffIdentityService } from '../staff-identity.service.ts';
import { IdentityProviderService } from './identity-provider.service.ts';

const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/staff/:id/identity')
@Roles('admin')
@StaffApi('Staff')
export class StaffIdentityController {
  constructor(
    private readonly identities: StaffIdentityService,
    private readonly provider: IdentityProviderService,
  ) {}

  @Put()
  @ApiOperation({
    operationId: 'attachStaffIdentity',
    summary: 'Let a person sign in at the identity provider; ends the password, the second factor and all sessions',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: StaffDto })
  @ApiProblems(400, 404, 409, 413, 415)
  attach(
    @Id() id: string,
    @Body() { subject }: AttachIdentityRequest,
    @CurrentActor() actor: Actor,
  ): Promise<StaffDto> {
    return this.identities.attach({ id }, { issuer: this.provider.settings.issuer, subject }, actor);
  }

  @Delete()
  @ApiOperation({
    operationId: 'detachStaffIdentity',
    summary: 'Let a person sign in with a password again, which you then reset; ends all sessions',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: StaffDto })
  @ApiProblems(404, 409)
  detach(@Id() id: string, @CurrentActor() actor: Actor): Promise<StaffDto> {
    return this.identities.detach({ id }, actor);
  }
}
