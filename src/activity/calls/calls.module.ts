import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { SignInLogModule } from '../sign-in-log/sign-in-log.module.ts';
import { CallCount } from './call-count.entity.ts';
import { CallCounterService } from './call-counter.service.ts';
import { CallErrorRecorderService } from './call-error-recorder.service.ts';
import { CallError } from './call-error.entity.ts';
import { CallsController } from './calls.controller.ts';
import { CallsService } from './calls.service.ts';
import { OwnCallsController } from './own-calls.controller.ts';
import { OwnRequestController } from './own-request.controller.ts';
import { RequestLookupController } from './request-lookup.controller.ts';
import { RequestLookupService } from './request-lookup.service.ts';

/** What partners call with their tokens, which calls are refused or fail, and what became of a request. */
@Module({
  imports: [TypeOrmModule.forFeature([CallCount, CallError]), ChannelUserModule, SignInLogModule, AuditModule],
  controllers: [CallsController, OwnCallsController, RequestLookupController, OwnRequestController],
  providers: [CallsService, CallCounterService, CallErrorRecorderService, RequestLookupService],
  exports: [CallCounterService, CallErrorRecorderService],
})
export class CallsModule {}
