import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { CallCount } from './call-count.entity.ts';
import { CallCounterService } from './call-counter.service.ts';
import { CallErrorRecorderService } from './call-error-recorder.service.ts';
import { CallError } from './call-error.entity.ts';
import { CallsController } from './calls.controller.ts';
import { CallsService } from './calls.service.ts';
import { OwnCallsController } from './own-calls.controller.ts';

/** What partners call with their tokens, and which calls are refused or fail. */
@Module({
  imports: [TypeOrmModule.forFeature([CallCount, CallError]), ChannelUserModule],
  controllers: [CallsController, OwnCallsController],
  providers: [CallsService, CallCounterService, CallErrorRecorderService],
  exports: [CallCounterService, CallErrorRecorderService],
})
export class CallsModule {}
