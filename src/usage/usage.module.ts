import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ActivityModule } from '../activity/activity.module.ts';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { CredentialUsage } from './credential-usage.entity.ts';
import { UsageController } from './usage.controller.ts';
import { UsageService } from './usage.service.ts';

/** How much partners use what they were given. */
@Module({
  imports: [TypeOrmModule.forFeature([CredentialUsage]), ActivityModule, ChannelUserModule],
  controllers: [UsageController],
  providers: [UsageService],
  exports: [UsageService],
})
export class UsageModule {}
