import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { GrantModule } from '../channel-user/grant/grant.module.ts';
import { StaffModule } from '../staff/staff.module.ts';
import { Quickstart } from './quickstart.entity.ts';
import { QuickstartService } from './quickstart.service.ts';

@Module({
  imports: [TypeOrmModule.forFeature([Quickstart]), StaffModule, ChannelUserModule, GrantModule],
  providers: [QuickstartService],
  exports: [QuickstartService],
})
export class QuickstartModule {}
