import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { UuidPipe } from '../common/validation.ts';
import { CreateStaffRequest, NewStaffDto, StaffDto, StaffListDto, UpdateStaffRequest } from './staff.dto.ts';
import { StaffService } from './staff.service.ts';

const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/staff')
@Roles('admin')
@StaffPlane('Staff')
export class StaffController {
  constructor(private readonly staff: StaffService) {}

  @Get()
  @ApiOperation({ operationId: 'listStaff', summary: 'Everybody, by e-mail' })
  @ApiOkResponse({ type: StaffListDto })
  async list(): Promise<StaffListDto> {
    return { items: await this.staff.list() };
  }

  @Post()
  @ApiOperation({ operationId: 'createStaff', summary: 'Create an account; shows its password this once' })
  @ApiCreatedResponse({
    type: NewStaffDto,
    headers: { Location: { description: 'Path of the resource.', schema: { type: 'string' } } },
  })
  @ApiProblems(400, 409, 413, 415)
  async create(
    @Body() request: CreateStaffRequest,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewStaffDto> {
    const created = await this.staff.create(request, actor);
    void reply.header('location', `/admin/staff/${created.id}`);
    return created;
  }

  @Get(':id')
  @ApiOperation({ operationId: 'getStaff', summary: 'Read one' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: StaffDto })
  @ApiProblems(404)
  get(@Id() id: string): Promise<StaffDto> {
    return this.staff.get(id);
  }

  @Patch(':id')
  @ApiOperation({ operationId: 'updateStaff', summary: 'Change name or role; another role ends the sessions' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: StaffDto })
  @ApiProblems(400, 404, 409, 413, 415)
  update(@Id() id: string, @Body() request: UpdateStaffRequest, @CurrentActor() actor: Actor): Promise<StaffDto> {
    return this.staff.update(id, request, actor);
  }

  @Post(':id/reset-password')
  @HttpCode(200)
  @ApiOperation({ operationId: 'resetStaffPassword', summary: 'A new password, shown this once; ends the sessions' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: NewStaffDto })
  @ApiProblems(404)
  resetPassword(@Id() id: string, @CurrentActor() actor: Actor): Promise<NewStaffDto> {
    return this.staff.resetPassword({ id }, actor);
  }

  @Delete(':id/second-factor')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'resetStaffSecondFactor',
    summary: 'Take the second factor of somebody who lost it away; ends the sessions',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  async resetSecondFactor(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    await this.staff.resetSecondFactor({ id }, actor);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ operationId: 'deleteStaff', summary: 'Remove; the last admin stays' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404, 409)
  delete(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.staff.delete(id, actor);
  }
}
