import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { HandoverController } from './handover.controller.ts';
import { Handover } from './handover.entity.ts';
import { HandoverLinkController } from './handover-link.controller.ts';
import { HandoverPageController } from './handover-page.controller.ts';
import { HandoverService } from './handover.service.ts';

/** Links that show a new password once, to the partner and not to staff. */
@Module({
  imports: [TypeOrmModule.forFeature([Handover]), AuditModule, RateLimitModule],
  controllers: [HandoverController, HandoverLinkController, HandoverPageController],
  providers: [HandoverService],
  exports: [HandoverService],
})
export class HandoverModule {}
