import { Body, Controller, Delete, Get, HttpCode, Patch, Post, Req, Res } from '@nestjs/common';
import { ApiNoContentResponse, ApiOkResponse, ApiOperation } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { ApiProblems, StaffApi } from '../platform/api/openapi.decorators.ts';
import type { Actor, CurrentStaff as StaffPrincipal } from '../platform/common/principal.ts';
import { BeforeEnrolment, CurrentActor, CurrentStaff, Public, Roles } from '../platform/api/security.ts';
import { OwnPasswordService } from './own-password.service.ts';
import { SessionCookieService } from './session-cookie.service.ts';
import { SessionService } from './session.service.ts';
import { ChangePasswordRequest, CurrentSessionDto, SessionDto, SignInRequest } from './staff.dto.ts';
import { SignedOutDto } from './staff-identity.dto.ts';

@Controller('admin/session')
@Roles('viewer')
@BeforeEnrolment()
@StaffApi('Session')
export class SessionController {
  constructor(
    private readonly sessions: SessionService,
    private readonly cookie: SessionCookieService,
    private readonly ownPassword: OwnPasswordService,
  ) {}

  @Post()
  @Public()
  @HttpCode(200)
  @ApiOperation({ operationId: 'createSession', summary: 'Sign in', security: [] })
  @ApiOkResponse({
    type: SessionDto,
    headers: { 'Set-Cookie': { description: 'Set with `cookie: true`.', schema: { type: 'string' } } },
  })
  @ApiProblems(400, 413, 415, 429)
  async create(
    @Body() body: SignInRequest,
    @Req() request: FastifyRequest,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<SessionDto> {
    if (body.cookie === true) this.cookie.refuseCrossSite(request);
    const session = await this.sessions.signIn(body, request);
    const { id, email, name, role } = session.staff;
    const answer = { tokenType: 'Bearer' as const, expiresIn: session.expiresIn, staff: { id, email, name, role } };
    if (session.idleSeconds === null) return { accessToken: session.token, ...answer };
    void reply.header('set-cookie', this.cookie.header(session));
    return { ...answer, idleSeconds: session.idleSeconds };
  }

  @Get()
  @ApiOperation({ operationId: 'getSession', summary: 'Show who is signed in, and for how long' })
  @ApiOkResponse({ type: CurrentSessionDto })
  get(@CurrentStaff() { session: { expiresAt, idleSeconds }, ...member }: StaffPrincipal): CurrentSessionDto {
    return { ...member, session: { expiresAt, idleSeconds } };
  }

  @Delete()
  @HttpCode(204)
  @ApiOperation({ operationId: 'deleteSession', summary: 'Sign out' })
  @ApiNoContentResponse()
  @ApiOkResponse({
    type: SignedOutDto,
    description: 'The session has ended. The person can sign out at the identity provider as well.',
  })
  async delete(
    @CurrentStaff() staff: StaffPrincipal,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<SignedOutDto | undefined> {
    const endSessionUrl = await this.sessions.signOut(staff, actor);
    void reply.header('set-cookie', this.cookie.header(undefined));
    if (endSessionUrl === undefined) return undefined;
    void reply.status(200);
    return { endSessionUrl };
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
    return this.ownPassword.change(request, staff, actor);
  }
}
