import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Resolver } from 'node:dns/promises';
import { AuditModule } from '../audit/audit.module.ts';
import { AllowedNetworksService } from './allowed-networks.service.ts';
import { DeliveryService } from './delivery.service.ts';
import { NoticeController } from './notice.controller.ts';
import { Notice } from './notice.entity.ts';
import { NoticeScanService } from './notice-scan.service.ts';
import { NoticeService } from './notice.service.ts';
import { NoticeWriter } from './notice-writer.service.ts';
import { NoticeDelivery } from './notice-delivery.entity.ts';
import { TargetService } from './target.service.ts';
import { WebhookController } from './webhook.controller.ts';
import { Webhook } from './webhook.entity.ts';
import { WebhookService } from './webhook.service.ts';
import { WebhookSecretsService } from './webhook-secrets.service.ts';

/** Milliseconds. A name server that does not answer must not use up a request's deadline. */
const RESOLVER_OPTIONS = { timeout: 1_500, tries: 2, maxTimeout: 1_500 };

/** Tells staff and their systems what they should know, by signed webhooks (Standard Webhooks). */
@Module({
  imports: [TypeOrmModule.forFeature([Notice, NoticeDelivery, Webhook]), AuditModule],
  controllers: [WebhookController, NoticeController],
  providers: [
    NoticeService,
    NoticeScanService,
    NoticeWriter,
    WebhookService,
    WebhookSecretsService,
    DeliveryService,
    TargetService,
    AllowedNetworksService,
    { provide: Resolver, useFactory: () => new Resolver(RESOLVER_OPTIONS) },
  ],
  exports: [WebhookSecretsService, DeliveryService, NoticeScanService, NoticeWriter],
})
export class NoticeModule {}
