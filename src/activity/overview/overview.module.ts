import { Module } from '@nestjs/common';
import { SignInLogModule } from '../sign-in-log/sign-in-log.module.ts';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { OverviewController } from './overview.controller.ts';
import { OverviewService } from './overview.service.ts';

/** Numbers about all partners, which staff see first. */
@Module({
  imports: [SignInLogModule, ChannelUserModule],
  controllers: [OverviewController],
  providers: [OverviewService],
})
export class OverviewModule {}
