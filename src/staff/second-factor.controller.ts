import { Body, Controller, Delete, HttpCode, Post } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../platform/api/openapi.decorators.ts';
import type { Actor, CurrentStaff as StaffPrincipal } from '../platform/common/principal.ts';
import { BeforeEnrolment, CurrentActor, CurrentStaff, Roles } from '../platform/api/security.ts';
import { SecondFactorService } from './second-factor.service.ts';
import { ConfirmTotpRequest, CurrentPasswordRequest, RecoveryCodesDto, TotpSecretDto } from './staff.dto.ts';

@Controller('admin/session')
@Roles('viewer')
@BeforeEnrolment()
@StaffApi('Session')
export class SecondFactorController {
  constructor(private readonly secondFactor: SecondFactorService) {}

  @Post('totp')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'enrolTotp',
    summary: 'Create a secret for your authenticator; it takes effect once you confirm it',
  })
  @ApiOkResponse({ type: TotpSecretDto })
  @ApiProblems(400, 413, 415, 429)
  enrol(
    @Body() request: CurrentPasswordRequest,
    @CurrentStaff() staff: StaffPrincipal,
    @CurrentActor() actor: Actor,
  ): Promise<TotpSecretDto> {
    return this.secondFactor.enrol(request, staff, actor);
  }

  @Post('totp/confirm')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'confirmTotp',
    summary:
      'Turn on or replace your second factor; ends your other sessions and shows the recovery codes, only this once',
  })
  @ApiOkResponse({ type: RecoveryCodesDto })
  @ApiProblems(400, 409, 413, 415, 429)
  confirm(
    @Body() request: ConfirmTotpRequest,
    @CurrentStaff() staff: StaffPrincipal,
    @CurrentActor() actor: Actor,
  ): Promise<RecoveryCodesDto> {
    return this.secondFactor.confirm(request, staff, actor);
  }

  @Delete('totp')
  @HttpCode(204)
  @ApiOperation({ operationId: 'disableTotp', summary: 'Turn your second factor off' })
  @ApiNoContentResponse()
  @ApiProblems(400, 409, 413, 415, 429)
  disable(
    @Body() request: CurrentPasswordRequest,
    @CurrentStaff() staff: StaffPrincipal,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.secondFactor.disable(request, staff, actor);
  }

  @Post('recovery-codes')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'renewRecoveryCodes',
    summary: 'Create new recovery codes, shown only this once; the old ones stop working',
  })
  @ApiOkResponse({ type: RecoveryCodesDto })
  @ApiProblems(400, 409, 413, 415, 429)
  renewRecoveryCodes(
    @Body() request: CurrentPasswordRequest,
    @CurrentStaff() staff: StaffPrincipal,
    @CurrentActor() actor: Actor,
  ): Promise<RecoveryCodesDto> {
    return this.secondFactor.renewRecoveryCodes(request, staff, actor);
  }
}
