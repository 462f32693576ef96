import { Module } from '@nestjs/common';
import { DiscoveryModule } from '@nestjs/core';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { ChannelUserModule } from '../channel-user.module.ts';
import { GrantAdministrationService } from './grant-administration.service.ts';
import { GrantController } from './grant.controller.ts';
import { Grant } from './grant.entity.ts';
import { GrantService } from './grant.service.ts';
import { ResourceTypeController } from './resource-type.controller.ts';
import { ResourceTypeService } from './resource-type.service.ts';

/** Grants: which resources of modules each channel user may see. Modules import this one for `GrantService`. */
@Module({
  imports: [TypeOrmModule.forFeature([Grant]), AuditModule, ChannelUserModule, DiscoveryModule],
  controllers: [GrantController, ResourceTypeController],
  providers: [GrantService, GrantAdministrationService, ResourceTypeService],
  exports: [GrantService, GrantAdministrationService],
})
export class GrantModule {}
