import { Body, Controller, Get, Patch } from '@nestjs/common';
import { ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { SettingsDto, UpdateSettingsRequest } from './settings.dto.ts';
import { SettingsService } from './settings.service.ts';

@Controller('admin/settings')
@StaffPlane('Settings')
export class SettingsController {
  constructor(private readonly settings: SettingsService) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'getSettings', summary: 'What holds for the whole deployment' })
  @ApiOkResponse({ type: SettingsDto })
  get(): Promise<SettingsDto> {
    return this.settings.get();
  }

  @Patch()
  @Roles('admin')
  @ApiOperation({ operationId: 'updateSettings', summary: 'Change what holds for the whole deployment' })
  @ApiOkResponse({ type: SettingsDto })
  @ApiProblems(400, 413, 415)
  update(@Body() request: UpdateSettingsRequest, @CurrentActor() actor: Actor): Promise<SettingsDto> {
    return this.settings.update(request, actor);
  }
}
