import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { ChannelUserModule } from '../channel-user.module.ts';
import { HandoverModule } from '../handover/handover.module.ts';
import { ImportController } from './import.controller.ts';
import { ChannelUserImport, ChannelUserImportRow } from './import.entity.ts';
import { ImportLimits } from './import-limits.ts';
import { ImportLog } from './import-log.service.ts';
import { ImportService } from './import.service.ts';

/** Imports partners in bulk, with the passwords of an older system. */
@Module({
  imports: [
    TypeOrmModule.forFeature([ChannelUserImport, ChannelUserImportRow]),
    AuditModule,
    ChannelUserModule,
    HandoverModule,
  ],
  controllers: [ImportController],
  providers: [ImportService, ImportLimits, ImportLog],
})
export class ImportModule {}
