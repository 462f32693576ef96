import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { ImportController } from './import.controller.ts';
import { ChannelUserImport, ChannelUserImportRow } from './import.entity.ts';
import { ImportLog } from './import-log.service.ts';
import { ImportService } from './import.service.ts';

/** Partners in bulk, with the passwords that an older system gave them. */
@Module({
  imports: [TypeOrmModule.forFeature([ChannelUserImport, ChannelUserImportRow]), AuditModule, ChannelUserModule],
  controllers: [ImportController],
  providers: [ImportService, ImportLog],
})
export class ImportModule {}
