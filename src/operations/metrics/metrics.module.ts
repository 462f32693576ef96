import { Module } from '@nestjs/common';
import { CallsModule } from '../../activity/calls/calls.module.ts';
import { SignInLogModule } from '../../activity/sign-in-log/sign-in-log.module.ts';
import { AuditModule } from '../../audit/audit.module.ts';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { HealthModule } from '../health/health.module.ts';
import { NoticeModule } from '../../notice/notice.module.ts';
import { PasswordModule } from '../../password/password.module.ts';
import { RateLimitModule } from '../../rate-limit/rate-limit.module.ts';
import { SigningKeyModule } from '../../auth/signing-key/signing-key.module.ts';
import { UsageModule } from '../../activity/usage/usage.module.ts';
import { MetricsController } from './metrics.controller.ts';
import { MetricsService } from './metrics.service.ts';

/**
 * Metrics for Prometheus, on `OPS_PORT`. The services count for themselves and do not know this module. The Nest
 * modules for prom-client would add only a registry, and share it among all applications of a process.
 */
@Module({
  imports: [
    SignInLogModule,
    AuditModule,
    ChannelUserModule,
    HealthModule,
    NoticeModule,
    PasswordModule,
    RateLimitModule,
    SigningKeyModule,
    UsageModule,
    CallsModule,
  ],
  controllers: [MetricsController],
  providers: [MetricsService],
})
export class MetricsModule {}
