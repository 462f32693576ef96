import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditChainHead } from './audit-chain.entity.ts';
import { AuditChain } from './audit-chain.service.ts';
import { AuditEvent } from './audit-event.entity.ts';
import { AuditProof } from './audit-proof.service.ts';
import { AuditController } from './audit.controller.ts';
import { AuditService } from './audit.service.ts';
import { PersonalKey } from './personal-key.entity.ts';

/** The append-only trail. A module that changes something imports this and records in its transaction. */
@Module({
  imports: [TypeOrmModule.forFeature([AuditEvent, AuditChainHead, PersonalKey])],
  controllers: [AuditController],
  providers: [AuditService, AuditChain, AuditProof],
  exports: [AuditService, AuditChain, AuditProof],
})
export class AuditModule {}
