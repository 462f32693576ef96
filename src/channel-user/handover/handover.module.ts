import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { RateLimitModule } from '../../rate-limit/rate-limit.module.ts';
import { HandoverController } from './handover.controller.ts';
import { Handover } from './handover.entity.ts';
import { HandoverLinkController } from './handover-link.controller.ts';
import { HandoverPageController } from './handover-page.controller.ts';
import { HandoverRevealService } from './handover-reveal.service.ts';
import { HandoverService } from './handover.service.ts';
import { HandoverWipeService } from './handover-wipe.service.ts';
import { MangledHandoverController } from './mangled-handover.controller.ts';

/** Links that show a new password once, to the partner instead of staff. */
@Module({
  imports: [TypeOrmModule.forFeature([Handover]), AuditModule, RateLimitModule],
  controllers: [HandoverController, HandoverLinkController, HandoverPageController, MangledHandoverController],
  providers: [HandoverService, HandoverRevealService, HandoverWipeService],
  exports: [HandoverService, HandoverWipeService],
})
export class HandoverModule {}
