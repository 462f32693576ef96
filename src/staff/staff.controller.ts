import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Req, Res } from '@nestjs/common';
import { ApiCreatedResponse, ApiNoContentResponse, ApiOkResponse, ApiOperation, ApiParam } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiProblems, StaffApi } from '../platform/api/openapi.decorators.ts';
import type { Actor } from '../platform/common/principal.ts';
import { CurrentActor, Roles } from '../platform/api/security.ts';
import { UuidPipe } from '../platform/api/validation.ts';
import { SessionCookieService } from './session-cookie.service.ts';
import {
  CreateStaffRequest,
  NewStaffDto,
  ResetPasswordRequest,
  StaffDto,
  StaffFailureListDto,
  StaffListDto,
  UpdateStaffRequest,
} from './staff.dto.ts';
import { StaffFailureService } from './staff-failure.service.ts';
import { StaffService } from './staff.service.ts';

const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/staff')
@Roles('admin')
@StaffApi('Staff')
export class StaffController {
  constructor(
    private readonly staff: StaffService,
    private readonly cookie: SessionCookieService,
    private readonly failures: StaffFailureService,
  ) {}

  @Get()
  @ApiOperation({ operationId: 'listStaff', summary: 'List staff, sorted by e-mail' })
  @ApiOkResponse({ type: StaffListDto })
  async list(): Promise<StaffListDto> {
    return { items: await this.staff.list() };
  }

  @Post()
  @ApiOperation({
    operationId: 'createStaff',
    summary: 'Create a staff account; the response shows its password or a one-time link, only this once',
  })
  @ApiCreatedResponse({
    type: NewStaffDto,
    headers: { Location: { description: 'Path of the new resource.', schema: { type: 'string' } } },
  })
  @ApiProblems(400, 409, 413, 415)
  async create(
    @Body() { deliver, ...member }: CreateStaffRequest,
    @CurrentActor() actor: Actor,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewStaffDto> {
    const created =
      deliver === 'link'
        ? await this.staff.invite(member, this.cookie.baseUrlFor(request), actor)
        : await this.staff.create(member, actor);
    void reply.header('location', `/admin/staff/${created.id}`);
    return created;
  }

  @Get('sign-in-failures')
  @ApiOperation({
    operationId: 'listStaffSignInFailures',
    summary: 'List failed sign-ins to staff accounts, newest first',
    description:
      'Sign-ins with an unknown e-mail are not recorded. Nor are those refused without a check during a wait.',
  })
  @ApiOkResponse({ type: StaffFailureListDto })
  async listFailures(): Promise<StaffFailureListDto> {
    return { items: await this.failures.list() };
  }

  @Get(':id')
  @ApiOperation({ operationId: 'getStaff', summary: 'Show one staff member' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: StaffDto })
  @ApiProblems(404)
  get(@Id() id: string): Promise<StaffDto> {
    return this.staff.get(id);
  }

  @Patch(':id')
  @ApiOperation({
    operationId: 'updateStaff',
    summary: 'Change name, role or break-glass; a new role ends all sessions',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: StaffDto })
  @ApiProblems(400, 404, 409, 413, 415)
  update(@Id() id: string, @Body() request: UpdateStaffRequest, @CurrentActor() actor: Actor): Promise<StaffDto> {
    return this.staff.update({ id }, request, actor);
  }

  @Post(':id/reset-password')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'resetStaffPassword',
    summary: 'Reset the password; the response shows a new one or a one-time link, only this once. Ends all sessions',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: NewStaffDto })
  @ApiProblems(400, 404, 413, 415)
  resetPassword(
    @Id() id: string,
    @Body() { deliver }: ResetPasswordRequest,
    @CurrentActor() actor: Actor,
    @Req() request: FastifyRequest,
  ): Promise<NewStaffDto> {
    return deliver === 'link'
      ? this.staff.sendPasswordLink({ id }, this.cookie.baseUrlFor(request), actor)
      : this.staff.resetPassword({ id }, actor);
  }

  @Delete(':id/second-factor')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'resetStaffSecondFactor',
    summary: 'Remove the second factor of a person who lost it; ends all sessions',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  async resetSecondFactor(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    await this.staff.resetSecondFactor({ id }, actor);
  }

  @Delete(':id')
  @HttpCode(204)
  @ApiOperation({ operationId: 'deleteStaff', summary: 'Remove a staff member; the last admin cannot be removed' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404, 409)
  delete(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.staff.delete(id, actor);
  }
}
