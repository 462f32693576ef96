import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { SettingsController } from './settings.controller.ts';
import { Settings } from './settings.entity.ts';
import { SettingsService } from './settings.service.ts';

@Module({
  imports: [TypeOrmModule.forFeature([Settings]), AuditModule],
  controllers: [SettingsController],
  providers: [SettingsService],
  exports: [SettingsService],
})
export class SettingsModule {}
