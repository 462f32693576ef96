import { Module } from '@nestjs/common';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { ResponseDelayService } from './response-delay.service.ts';

/** Password hashing that a flood cannot exhaust, and the delay that makes refusals indistinguishable. */
@Module({ imports: [RateLimitModule], providers: [ResponseDelayService], exports: [ResponseDelayService] })
export class PasswordModule {}
