import { Module } from '@nestjs/common';
import { TerminusModule } from '@nestjs/terminus';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { HealthController } from './health.controller.ts';
import { HealthService } from './health.service.ts';

/** What an orchestrator asks, on `OPS_PORT`. */
@Module({
  // A state is logged once, by whoever finds it, and not with each probe.
  imports: [TerminusModule.forRoot({ logger: false }), RateLimitModule],
  controllers: [HealthController],
  providers: [HealthService],
  exports: [HealthService],
})
export class HealthModule {}
