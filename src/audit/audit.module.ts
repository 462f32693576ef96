import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditEvent } from './audit-event.entity.ts';
import { AuditController } from './audit.controller.ts';
import { AuditService } from './audit.service.ts';
import { PersonalKey } from './personal-key.entity.ts';

/** The append-only trail. A module that changes something imports this and records in its transaction. */
@Module({
  imports: [TypeOrmModule.forFeature([AuditEvent, PersonalKey])],
  controllers: [AuditController],
  providers: [AuditService],
  exports: [AuditService],
})
export class AuditModule {}
