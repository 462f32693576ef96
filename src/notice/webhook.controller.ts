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
import { ApiProblems, StaffPlane } from '../common/api.ts';
import type { Actor } from '../common/request-context.ts';
import { CurrentActor, Roles } from '../common/security.ts';
import { UuidPipe } from '../common/validation.ts';
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
@StaffPlane('Notices')
export class WebhookController {
  constructor(
    private readonly webhooks: WebhookService,
    private readonly notices: NoticeService,
  ) {}

  @Get()
  @Roles('viewer')
  @ApiOperation({ operationId: 'listWebhooks', summary: 'Where notices are sent; never a secret again' })
  @ApiOkResponse({ type: WebhookListDto })
  async list(): Promise<WebhookListDto> {
    return { items: await this.webhooks.list() };
  }

  @Post()
  @Roles('admin')
  @ApiOperation({ operationId: 'createWebhook', summary: 'Send notices to a URL; shows the secret this once' })
  @ApiCreatedResponse({
    type: NewWebhookDto,
    headers: { Location: { description: 'Path of the resource.', schema: { type: 'string' } } },
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
  @ApiOperation({ operationId: 'getWebhook', summary: 'Read one' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: WebhookDto })
  @ApiProblems(404)
  get(@Id() id: string): Promise<WebhookDto> {
    return this.webhooks.get(id);
  }

  @Patch(':id')
  @Roles('admin')
  @ApiOperation({ operationId: 'updateWebhook', summary: 'Change what the request names' })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiOkResponse({ type: WebhookDto })
  @ApiProblems(400, 404, 413, 415)
  update(@Id() id: string, @Body() request: UpdateWebhookRequest, @CurrentActor() actor: Actor): Promise<WebhookDto> {
    return this.webhooks.update(id, request, actor);
  }

  @Delete(':id')
  @Roles('admin')
  @HttpCode(204)
  @ApiOperation({ operationId: 'deleteWebhook', summary: 'Remove it, and what waits for it' })
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
    summary: 'A new secret, shown this once; both sign for a while',
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
    summary: 'Send it a `webhook.test`',
    description: 'What became of it is in the notices, as for every other.',
  })
  @ApiParam({ name: 'id', format: 'uuid' })
  @ApiAcceptedResponse({ type: NoticeDto })
  @ApiProblems(404, 409)
  test(@Id() id: string, @CurrentActor() actor: Actor): Promise<NoticeDto> {
    return this.notices.test(id, actor);
  }
}
