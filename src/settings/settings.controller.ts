import { Body, Controller, Get, Patch } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ApiProblems, StaffApi } from '../platform/api/openapi.decorators.ts';
import type { Actor } from '../platform/common/principal.ts';
import { CurrentActor, Roles } from '../platform/api/security.ts';
import { SettingsDto, UpdateSettingsRequest } from './settings.dto.ts';
import { SettingsService } from './settings.service.ts';

@Controller('admin/settings')
@StaffApi('Settings')
export class SettingsController {
  constructor(private readonly settings: SettingsService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'getSettings', summary: 'Show the settings of the whole deployment' })
  @ApiOkResponse({ type: SettingsDto })
  get(): Promise<SettingsDto> {
    return this.settings.get();
  }

  @Patch()
  @Roles('admin')
  @ApiOperation({ operationId: 'updateSettings', summary: 'Change the settings of the whole deployment' })
  @ApiOkResponse({ type: SettingsDto })
  @ApiProblems(400, 409, 413, 415)
  update(@Body() request: UpdateSettingsRequest, @CurrentActor() actor: Actor): Promise<SettingsDto> {
    return this.settings.update(request, actor);
  }
}
