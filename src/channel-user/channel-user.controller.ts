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
import { ApiProblems, ATTACHMENT, StaffApi } from '../platform/api/openapi.decorators.ts';
import { Clock } from '../platform/common/clock.ts';
import { download } from '../platform/http/download.ts';
import { etagOf, ifMatch } from '../platform/api/if-match.ts';
import type { Actor } from '../platform/common/principal.ts';
import { CurrentActor, OpenToServiceAccounts, Roles } from '../platform/api/security.ts';
import { UuidPipe } from '../platform/api/validation.ts';
import {
  ExistingChannelUserDto,
  ChannelUserDto,
  ChannelUserPageDto,
  CreateChannelUserRequest,
  ExportChannelUsersQuery,
  ListChannelUsersQuery,
  NewChannelUserDto,
  OptionalReasonRequest,
  PutChannelUserRequest,
  ReasonRequest,
  UpdateChannelUserRequest,
} from './channel-user.dto.ts';
import { FORMATS } from './channel-user-export.ts';
import type { ChannelUser } from './model/channel-user.entity.ts';
import { ChannelUserListService } from './channel-user-list.service.ts';
import { UsernamePipe } from './model/channel-user.rules.ts';
import { ChannelUserService } from './channel-user.service.ts';

const ETAG = { ETag: { description: 'The version, in double quotes.', schema: { type: 'string' as const } } };
const CREATED = {
  ...ETAG,
  Location: { description: 'Path of the new resource.', schema: { type: 'string' as const } },
};
const pathOf = ({ id }: { id: string }): string => `/admin/channel-users/${id}`;
const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/channel-users')
@StaffApi('Channel users')
@OpenToServiceAccounts()
export class ChannelUserController {
  constructor(
    private readonly channelUsers: ChannelUserService,
    private readonly lists: ChannelUserListService,
    private readonly clock: Clock,
  ) {}

  @Post()
  @Roles('operator')
  @ApiOperation({
    operationId: 'createChannelUser',
    summary: 'Provision a channel user; the response shows its password, or a link to it, only this once',
  })
  @ApiCreatedResponse({
    type: NewChannelUserDto,
    headers: CREATED,
  })
  @ApiProblems(400, 409, 413, 415)
  async create(
    @Body() request: CreateChannelUserRequest,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewChannelUserDto> {
    const answer = await this.channelUsers.create(request, actor);
    void reply.headers({
      location: pathOf(answer.channelUser),
      etag: etagOf(answer.channelUser.version),
    });
    return answer;
  }

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listChannelUsers', summary: 'List channel users: search, filter and sort' })
  @ApiOkResponse({ type: ChannelUserPageDto })
  @ApiProblems(400)
  list(@Query() query: ListChannelUsersQuery): Promise<ChannelUserPageDto> {
    return this.lists.list(query);
  }

  @Get('export')
  @Roles('viewer')
  @ApiOperation({
    operationId: 'exportChannelUsers',
    summary: 'Export the list as a file, sorted by username',
    description:
      'CSV (RFC 4180) with a header line, or NDJSON with one JSON object a line. An import reads either back ' +
      'exactly. In CSV, entries of a list are separated by spaces, and free text that a spreadsheet would read ' +
      'as a formula starts with an apostrophe. If the connection ends early, the file is incomplete.',
  })
  @ApiProduces('text/csv', 'application/x-ndjson')
  @ApiOkResponse({ schema: { type: 'string' }, headers: ATTACHMENT })
  @ApiProblems(400)
  export(
    @Query() { format = 'csv', ...filter }: ExportChannelUsersQuery,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): AsyncGenerator<string> {
    const day = new Date(this.clock.now()).toISOString().slice(0, 10);
    const file = { name: `channel-users-${day}.${format}`, type: FORMATS[format].type };
    return download(reply, file, this.lists.export(filter, format));
  }

  @Get(':id')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getChannelUser', summary: 'Show one channel user' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: ChannelUserDto, headers: ETAG })
  @ApiProblems(404)
  async get(@Id() id: string, @Res({ passthrough: true }) reply: FastifyReply): Promise<ChannelUserDto> {
    return this.#answer(await this.channelUsers.get(id), reply);
  }

  @Patch(':id')
  @Roles('operator')
  @ApiOperation({ operationId: 'updateChannelUser', summary: 'Change the fields that the body contains' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiHeader({ name: 'If-Match', required: false, description: 'The ETag that the change is based on.' })
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

  @Get('by-username/:username')
  @Roles('viewer')
  @ApiOperation({
    operationId: 'getChannelUserByUsername',
    summary: 'Show the channel user with this username',
    description: 'The counterpart of the PUT, for tools that read back what they have written.',
  })
  @ApiParam({ name: 'username', example: 'blue-channel' })
  @ApiOkResponse({ type: ChannelUserDto, headers: ETAG })
  @ApiProblems(400, 404)
  async getByUsername(
    @Param('username', UsernamePipe) username: string,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<ChannelUserDto> {
    return this.#answer(await this.channelUsers.getByUsername(username), reply);
  }

  @Put('by-username/:username')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'putChannelUser',
    summary: 'Create the channel user with this username, or update it',
    description:
      'Idempotent. For an existing channel user, fields in the body are set and all others keep their values; its ' +
      'passwords stay the same, and `deliver` is ignored. The username is case-insensitive and keeps its first ' +
      'spelling.',
  })
  @ApiParam({ name: 'username', example: 'blue-channel' })
  @ApiHeader({ name: 'If-Match', required: false, description: 'The ETag that the change is based on.' })
  @ApiOkResponse({
    type: ExistingChannelUserDto,
    headers: ETAG,
    description: 'The channel user existed and was updated.',
  })
  @ApiCreatedResponse({ type: NewChannelUserDto, headers: CREATED })
  @ApiProblems(400, 412, 413, 415)
  async put(
    @Param('username', UsernamePipe) username: string,
    @Body() request: PutChannelUserRequest,
    @Headers('if-match') header: string | undefined,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewChannelUserDto | ExistingChannelUserDto> {
    const matches = ifMatch(header);
    // A channel user that does not exist matches no If-Match (RFC 9110 §13.1.1).
    const accepts = (version?: number): boolean => (version === undefined ? header === undefined : matches(version));
    const answer = await this.channelUsers.put(username, request, accepts, actor);
    if ('credential' in answer) void reply.status(201).header('location', pathOf(answer.channelUser));
    void reply.header('etag', etagOf(answer.channelUser.version));
    return answer;
  }

  @Delete(':id')
  @Roles('admin')
  @HttpCode(204)
  @ApiOperation({
    operationId: 'deleteChannelUser',
    summary: 'Delete a channel user; its tokens stop working, its audit trail stays',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  delete(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.channelUsers.delete(id, actor);
  }

  @Post(':id/suspend')
  @Roles('operator')
  @HttpCode(200)
  @ApiOperation({ operationId: 'suspendChannelUser', summary: 'Suspend: refuse sign-ins and tokens from now on' })
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
  @ApiOperation({
    operationId: 'reactivateChannelUser',
    summary: 'End a suspension; tokens that have not expired work again',
  })
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
  @ApiOperation({ operationId: 'revokeTokens', summary: 'Revoke every token issued before this call' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(400, 404, 413, 415)
  revokeTokens(@Id() id: string, @Body() { reason }: ReasonRequest, @CurrentActor() actor: Actor): Promise<void> {
    return this.channelUsers.revokeTokens(id, reason, actor);
  }

  #answer(channelUser: ChannelUser, reply: FastifyReply): ChannelUserDto {
    void reply.header('etag', etagOf(channelUser.version));
    return this.channelUsers.toDto(channelUser);
  }
}
