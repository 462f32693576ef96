import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { GrantAdministrationService } from './grant-administration.service.ts';
import { GrantController } from './grant.controller.ts';
import { Grant } from './grant.entity.ts';
import { GrantService } from './grant.service.ts';

/** What of the modules' resources each channel user may see. Modules import this one for `GrantService`. */
@Module({
  imports: [TypeOrmModule.forFeature([Grant]), AuditModule, ChannelUserModule],
  controllers: [GrantController],
  providers: [GrantService, GrantAdministrationService],
  exports: [GrantService],
})
export class GrantModule {}
