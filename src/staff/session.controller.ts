import { Body, Controller, Delete, Get, HttpCode, Patch, Post, Req, Res } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor, CurrentStaff as StaffPrincipal } from '../common/request-context.ts';
import { CurrentActor, CurrentStaff, Public, Roles } from '../common/security.ts';
import { SessionService } from './session.service.ts';
import { ChangePasswordRequest, SessionAnswer, SignInRequest, StaffDto } from './staff.dto.ts';

@Controller('admin/session')
@Roles('viewer')
@StaffPlane('Session')
export class SessionController {
  constructor(private readonly sessions: SessionService) {}

  @Post()
  @Public()
  @HttpCode(200)
  @ApiOperation({ operationId: 'createSession', summary: 'Sign in', security: [] })
  @ApiOkResponse({
    type: SessionAnswer,
    headers: { 'Set-Cookie': { description: 'With `cookie: true`.', schema: { type: 'string' } } },
  })
  @ApiProblems(400, 413, 415, 429)
  async create(
    @Body() body: SignInRequest,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<SessionAnswer> {
    if (body.cookie === true) this.sessions.refuseCrossSite(request);
    const session = await this.sessions.signIn(body, request);
    const { id, email, name, role } = session.staff;
    const answer = { tokenType: 'Bearer' as const, expiresIn: session.expiresIn, staff: { id, email, name, role } };
    if (body.cookie !== true) return { accessToken: session.token, ...answer };
    void reply.header('set-cookie', this.sessions.cookieHeader(session));
    return answer;
  }

  @Get()
  @ApiOperation({ operationId: 'getSession', summary: 'Who is signed in' })
  @ApiOkResponse({ type: StaffDto })
  get(@CurrentStaff() { id, email, name, role, createdAt, lastSignInAt }: StaffPrincipal): StaffDto {
    return { id, email, name, role, createdAt, lastSignInAt };
  }

  @Delete()
  @HttpCode(204)
  @ApiOperation({ operationId: 'deleteSession', summary: 'Sign out' })
  @ApiNoContentResponse()
  async delete(
    @CurrentStaff() staff: StaffPrincipal,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<void> {
    await this.sessions.signOut(staff, actor);
    void reply.header('set-cookie', this.sessions.cookieHeader(undefined));
  }

  @Patch('password')
  @HttpCode(204)
  @ApiOperation({ operationId: 'changePassword', summary: 'Change your own password; ends your other sessions' })
  @ApiNoContentResponse()
  @ApiProblems(400, 413, 415, 429)
  changePassword(
    @Body() request: ChangePasswordRequest,
    @CurrentStaff() staff: StaffPrincipal,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.sessions.changePassword(request, staff, actor);
  }
}
