import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Res } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiCreatedResponse,
  ApiNoContentResponse,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
} from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { ApiProblems, StaffApi } from '../platform/api/openapi.decorators.ts';
import type { Actor, Role } from '../platform/common/principal.ts';
import { CallerRole, CurrentActor, OpenToServiceAccounts, Roles } from '../platform/api/security.ts';
import { UuidPipe } from '../platform/api/validation.ts';
import { NoticeDto } from './notice.dto.ts';
import { NoticeService } from './notice.service.ts';
import {
  CreateWebhookRequest,
  NewWebhookDto,
  RotateWebhookSecretRequest,
  UpdateWebhookRequest,
  WebhookDto,
  WebhookListDto,
} from './webhook.dto.ts';
import { WebhookService } from './webhook.service.ts';

const Id = (): ParameterDecorator => Param('id', UuidPipe);

@Controller('admin/webhooks')
@StaffApi('Notices')
@OpenToServiceAccounts()
export class WebhookController {
  constructor(
    private readonly webhooks: WebhookService,
    private readonly notices: NoticeService,
  ) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listWebhooks', summary: 'List the webhooks, without their secrets' })
  @ApiOkResponse({ type: WebhookListDto })
  async list(@CallerRole() role: Role): Promise<WebhookListDto> {
    return { items: await this.webhooks.list(role) };
  }

  @Post()
  @Roles('admin')
  @ApiOperation({
    operationId: 'createWebhook',
    summary: 'Create a webhook; the response shows its secret, only this once',
  })
  @ApiCreatedResponse({
    type: NewWebhookDto,
    headers: { Location: { description: 'Path of the new resource.', schema: { type: 'string' } } },
  })
  @ApiProblems(400, 409, 413, 415)
  async create(
    @Body() request: CreateWebhookRequest,
    @CurrentActor() actor: Actor,
    @Res({ passthrough: true }) reply: FastifyReply,
  ): Promise<NewWebhookDto> {
    const created = await this.webhooks.create(request, actor);
    void reply.header('location', `/admin/webhooks/${created.id}`);
    return created;
  }

  @Get(':id')
  @Roles('viewer')
  @ApiOperation({ operationId: 'getWebhook', summary: 'Show one webhook' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: WebhookDto })
  @ApiProblems(404)
  get(@Id() id: string, @CallerRole() role: Role): Promise<WebhookDto> {
    return this.webhooks.get(id, role);
  }

  @Patch(':id')
  @Roles('admin')
  @ApiOperation({ operationId: 'updateWebhook', summary: 'Change the fields that the body contains' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: WebhookDto })
  @ApiProblems(400, 404, 413, 415)
  update(@Id() id: string, @Body() request: UpdateWebhookRequest, @CurrentActor() actor: Actor): Promise<WebhookDto> {
    return this.webhooks.update(id, request, actor);
  }

  @Delete(':id')
  @Roles('admin')
  @HttpCode(204)
  @ApiOperation({ operationId: 'deleteWebhook', summary: 'Delete a webhook and its pending deliveries' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiNoContentResponse()
  @ApiProblems(404)
  delete(@Id() id: string, @CurrentActor() actor: Actor): Promise<void> {
    return this.webhooks.delete(id, actor);
  }

  @Post(':id/rotate-secret')
  @Roles('admin')
  @HttpCode(200)
  @ApiOperation({
    operationId: 'rotateWebhookSecret',
    summary: 'Create a new secret, shown only this once; both secrets sign during the overlap',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: NewWebhookDto })
  @ApiProblems(400, 404, 413, 415)
  rotateSecret(
    @Id() id: string,
    @Body() { overlapSeconds }: RotateWebhookSecretRequest,
    @CurrentActor() actor: Actor,
  ): Promise<NewWebhookDto> {
    return this.webhooks.rotateSecret(id, overlapSeconds, actor);
  }

  @Post(':id/test')
  @Roles('admin')
  @HttpCode(202)
  @ApiOperation({
    operationId: 'testWebhook',
    summary: 'Send a `webhook.test` notice',
    description: 'The list of notices shows the result, as for any other notice.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiAcceptedResponse({ type: NoticeDto })
  @ApiProblems(404, 409)
  test(@Id() id: string, @CurrentActor() actor: Actor): Promise<NoticeDto> {
    return this.notices.test(id, actor);
  }
}
