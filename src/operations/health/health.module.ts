import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { RateLimitModule } from '../../rate-limit/rate-limit.module.ts';
import { HealthController } from './health.controller.ts';
import { HealthService } from './health.service.ts';

/** Probes for an orchestrator, on `OPS_PORT`. */
@Module({
  // Terminus would log each failed probe. HealthService logs each change of state instead.
  imports: [TerminusModule.forRoot({ logger: false }), RateLimitModule],
  controllers: [HealthController],
  providers: [HealthService],
  exports: [HealthService],
})
export class HealthModule {}
