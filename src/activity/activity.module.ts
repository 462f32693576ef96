import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { ActivityController } from './activity.controller.ts';
import { Activity } from './activity.entity.ts';
import { ActivityService } from './activity.service.ts';
import { SignInHour } from './sign-in-hour.entity.ts';

/** Partners' sign-in attempts, with the reasons that only staff see. */
@Module({
  imports: [TypeOrmModule.forFeature([Activity, SignInHour]), ChannelUserModule],
  controllers: [ActivityController],
  providers: [ActivityService],
  exports: [ActivityService],
})
export class ActivityModule {}
