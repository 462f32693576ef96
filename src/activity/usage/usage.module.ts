import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { SignInLogModule } from '../sign-in-log/sign-in-log.module.ts';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { CredentialUsage } from './credential-usage.entity.ts';
import { UsageController } from './usage.controller.ts';
import { UsageService } from './usage.service.ts';

/** How much partners use their credentials. */
@Module({
  imports: [TypeOrmModule.forFeature([CredentialUsage]), SignInLogModule, ChannelUserModule],
  controllers: [UsageController],
  providers: [UsageService],
  exports: [UsageService],
})
export class UsageModule {}
