import { Module } from '@nestjs/common';
import { LimiterStore } from './limiter-store.service.ts';
import { ThrottleService } from './throttle.service.ts';

/** What keeps guessing slow and floods cheap, without keeping anybody out who has the right password. */
@Module({
  providers: [LimiterStore, ThrottleService],
  exports: [LimiterStore, ThrottleService],
})
export class RateLimitModule {}
