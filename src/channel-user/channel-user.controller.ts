import { Body, Controller, Delete, Get, Headers, HttpCode, Param, Patch, Post, Put, Query, Res } from '@nestjs/common';
import {
  ApiCreatedResponse,
  ApiHeader,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiProduces,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ApiProblems, ATTACHMENT, StaffPlane } from '../common/api.ts';
import { Clock } from '../common/clock.ts';
import { download } from '../common/download.ts';
import { etagOf, ifMatch } from '../common/if-match.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { UuidPipe } from '../common/validation.ts';
import {
  ChannelUserAnswer,
  ChannelUserDto,
  ChannelUserFilterQuery,
  ChannelUserPageDto,
  CreateChannelUserRequest,
  CreateCredentialRequest,
  CredentialListDto,
  ListChannelUsersQuery,
  NewChannelUserAnswer,
  NewCredentialAnswer,
  OptionalReasonRequest,
  PutChannelUserRequest,
  ReasonRequest,
  UpdateChannelUserRequest,
  UsernamePipe,
} from './channel-user.dto.ts';
import type { ChannelUser } from './channel-user.entity.ts';
import { ChannelUserService } from './channel-user.service.ts';
import { CredentialService } from './credential.service.ts';

const ETAG = { ETag: { description: 'The version, in quotes.', schema: { type: 'string' as const } } };
const CREATED = { ...ETAG, Location: { description: 'Path of the resource.', schema: { type: 'string' as const } } };
const pathOf = ({ id }: { id: string }): string => `/admin/channel-users/${id}`;
const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/channel-users')
@StaffPlane('Channel users')
export class ChannelUserController {
  constructor(
    private readonly channelUsers: ChannelUserService,
    private readonly credentials: CredentialService,
    private readonly clock: Clock,
  ) {}

  @Post()
  @Roles('operator')
  @ApiOperation({
    operationId: 'createChannelUser',
    summary: 'Provision a channel user; shows its password this once, or gives a link that does',
  })
  @ApiCreatedResponse({
    type: NewChannelUserAnswer,
    headers: CREATED,
  })
  @ApiProblems(400, 409, 413, 415)
  async create(
    @Body() request: CreateChannelUserRequest,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewChannelUserAnswer> {
    const answer = await this.channelUsers.create(request, actor);
    void reply.headers({
      location: pathOf(answer.channelUser),
      etag: etagOf(answer.channelUser.version),
    });
    return answer;
  }

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listChannelUsers', summary: 'Search, filter and sort' })
  @ApiOkResponse({ type: ChannelUserPageDto })
  @ApiProblems(400)
  list(@Query() query: ListChannelUsersQuery): Promise<ChannelUserPageDto> {
    return this.channelUsers.list(query);
  }

  @Get('export')
  @Roles('viewer')
  @ApiOperation({
    operationId: 'exportChannelUsers',
    summary: 'The whole list as a file, by username',
    description:
      'CSV (RFC 4180) with a line of names. Lists are separated by spaces. A cell that a spreadsheet would take for a ' +
      'formula starts with an apostrophe. A connection that ends early means that the file is not complete.',
  })
  @ApiProduces('text/csv')
  @ApiOkResponse({ schema: { type: 'string' }, headers: ATTACHMENT })
  @ApiProblems(400)
  export(
    @Query() query: ChannelUserFilterQuery,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): AsyncGenerator<string> {
    const day = new Date(this.clock.now()).toISOString().slice(0, 10);
    const file = { name: `channel-users-${day}.csv`, type: 'text/csv; charset=utf-8' };
    return download(reply, file, this.channelUsers.csv(query));
  }

  @Get(':id')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getChannelUser', summary: 'Read one' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ChannelUserDto, headers: ETAG })
  @ApiProblems(404)
  async get(@Id() id: string, @Res({ passthrough: true }) reply: FastifyReply): Promise<ChannelUserDto> {
    return this.#answer(await this.channelUsers.get(id), reply);
  }

  @Patch(':id')
  @Roles('operator')
  @ApiOperation({ operationId: 'updateChannelUser', summary: 'Change what the body names' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiHeader({ name: 'If-Match', required: false, description: 'The ETag the change is based on.' })
  @ApiOkResponse({ type: ChannelUserDto, headers: ETAG })
  @ApiProblems(400, 404, 412, 413, 415)
  async update(
    @Id() id: string,
    @Body() request: UpdateChannelUserRequest,
    @Headers('if-match') header: string | undefined,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ChannelUserDto> {
    return this.#answer(await this.channelUsers.update(id, request, ifMatch(header), actor), reply);
  }

  @Put('by-username/:username')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'putChannelUser',
    summary: 'Create the channel user of this name, or bring it to the given state',
    description:
      'Doing it twice changes nothing. Of an existing channel user, fields that the body names are set and those that ' +
      'it leaves out stay as they are; so do its passwords, and `deliver` says nothing. Case makes no difference to ' +
      'the name, and the spelling of the first time stays.',
  })
  @ApiParam({ name: 'username', example: 'blue-channel' })
  @ApiHeader({ name: 'If-Match', required: false, description: 'The ETag the change is based on.' })
  @ApiOkResponse({ type: ChannelUserAnswer, headers: ETAG, description: 'It existed.' })
  @ApiCreatedResponse({ type: NewChannelUserAnswer, headers: CREATED })
  @ApiProblems(400, 412, 413, 415)
  async put(
    @Param('username', UsernamePipe) username: string,
    @Body() request: PutChannelUserRequest,
    @Headers('if-match') header: string | undefined,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewChannelUserAnswer | ChannelUserAnswer> {
    const matches = ifMatch(header);
    // RFC 9110 §13.1.1: what does not exist matches nothing.
    const accepts = (version?: number): boolean => (version === undefined ? header === undefined : matches(version));
    const answer = await this.channelUsers.put(username, request, accepts, actor);
    if ('credential' in answer) void reply.status(201).header('location', pathOf(answer.channelUser));
    void reply.header('etag', etagOf(answer.channelUser.version));
    return answer;
  }

  @Delete(':id')
  @Roles('admin')
  @HttpCode(204)
  @ApiOperation({ operationId: 'deleteChannelUser', summary: 'Delete; its tokens die, its audit trail stays' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  delete(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.channelUsers.delete(id, actor);
  }

  @Post(':id/suspend')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({ operationId: 'suspendChannelUser', summary: 'Refuse its sign-ins and tokens from now on' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ChannelUserDto, headers: ETAG })
  @ApiProblems(400, 404, 413, 415)
  async suspend(
    @Id() id: string,
    @Body() { reason }: ReasonRequest,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ChannelUserDto> {
    return this.#answer(await this.channelUsers.suspend(id, reason, actor), reply);
  }

  @Post(':id/reactivate')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({ operationId: 'reactivateChannelUser', summary: 'End a suspension; unexpired tokens work again' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ChannelUserDto, headers: ETAG })
  @ApiProblems(400, 404, 413, 415)
  async reactivate(
    @Id() id: string,
    @Body() { reason }: OptionalReasonRequest,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ChannelUserDto> {
    return this.#answer(await this.channelUsers.reactivate(id, reason, actor), reply);
  }

  @Post(':id/revoke-tokens')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({ operationId: 'revokeTokens', summary: 'End every token issued before this call' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(400, 404, 413, 415)
  revokeTokens(@Id() id: string, @Body() { reason }: ReasonRequest, @CurrentActor() actor: Actor): Promise<void> {
    return this.channelUsers.revokeTokens(id, reason, actor);
  }

  @Get(':id/credentials')
  @Roles('viewer')
  @ApiOperation({ operationId: 'listCredentials', summary: 'Its credentials, newest first; never a password' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: CredentialListDto })
  @ApiProblems(404)
  async listCredentials(@Id() id: string): Promise<CredentialListDto> {
    return { items: await this.credentials.list(id) };
  }

  @Post(':id/credentials')
  @Roles('operator')
  @ApiOperation({
    operationId: 'createCredential',
    summary: 'Rotate: a new password, shown this once or by a link, while the others expire',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiCreatedResponse({ type: NewCredentialAnswer })
  @ApiProblems(400, 404, 409, 413, 415)
  async createCredential(
    @Id() id: string,
    @Body() request: CreateCredentialRequest,
    @CurrentActor() actor: Actor,
  ): Promise<NewCredentialAnswer> {
    return this.credentials.create(id, request, actor);
  }

  @Delete(':id/credentials/:credentialId')
  @Roles('operator')
  @HttpCode(204)
  @ApiOperation({ operationId: 'revokeCredential', summary: 'Revoke now, the tokens it obtained too' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiParam({ name: 'credentialId', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  revokeCredential(
    @Id() id: string,
    @Param('credentialId', UuidPipe) credentialId: string,
    @CurrentActor() actor: Actor,
  ): Promise<void> {
    return this.credentials.revoke(id, credentialId, actor);
  }

  #answer(channelUser: ChannelUser, reply: FastifyReply): ChannelUserDto {
    void reply.header('etag', etagOf(channelUser.version));
    return this.channelUsers.present(channelUser);
  }
}
