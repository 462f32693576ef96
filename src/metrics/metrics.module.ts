import { Module } from '@nestjs/common';
import { ActivityModule } from '../activity/activity.module.ts';
import { AuditModule } from '../audit/audit.module.ts';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { HealthModule } from '../health/health.module.ts';
import { NoticeModule } from '../notice/notice.module.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { SigningKeyModule } from '../signing-key/signing-key.module.ts';
import { UsageModule } from '../usage/usage.module.ts';
import { MetricsController } from './metrics.controller.ts';
import { MetricsService } from './metrics.service.ts';

/**
 * What Prometheus scrapes, on `OPS_PORT`. The services count by themselves and know nothing of it. The Nest modules for
 * prom-client would only wrap a registry, and theirs is one for the whole process.
 */
@Module({
  imports: [
    ActivityModule,
    AuditModule,
    ChannelUserModule,
    HealthModule,
    NoticeModule,
    RateLimitModule,
    SigningKeyModule,
    UsageModule,
  ],
  controllers: [MetricsController],
  providers: [MetricsService],
})
export class MetricsModule {}
