import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { NoticeModule } from '../../notice/notice.module.ts';
import { FailingChannelUsersService } from './failing-channel-users.service.ts';
import { OwnActivityController } from './own-activity.controller.ts';
import { SignInLogController } from './sign-in-log.controller.ts';
import { SignInAttempt } from './sign-in-attempt.entity.ts';
import { SignInLogService } from './sign-in-log.service.ts';
import { SignInRecorderService } from './sign-in-recorder.service.ts';
import { SignInFailure } from './sign-in-failure.entity.ts';
import { SignInHour } from './sign-in-hour.entity.ts';

/** Partners' sign-in attempts, with the true reasons of refusals. */
@Module({
  imports: [TypeOrmModule.forFeature([SignInAttempt, SignInFailure, SignInHour]), ChannelUserModule, NoticeModule],
  controllers: [SignInLogController, OwnActivityController],
  providers: [SignInLogService, SignInRecorderService, FailingChannelUsersService],
  exports: [SignInLogService, SignInRecorderService],
})
export class SignInLogModule {}
