import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditChainHead } from './chain/audit-chain.entity.ts';
import { AuditChain } from './chain/audit-chain.service.ts';
import { AuditEvent } from './chain/audit-event.entity.ts';
import { ChainVerification } from './chain/chain-verification.service.ts';
import { AuditProof } from './audit-proof.service.ts';
import { AuditController } from './audit.controller.ts';
import { AuditQueryService } from './audit-query.service.ts';
import { AuditService } from './audit.service.ts';
import { PersonalKey } from './chain/personal-key.entity.ts';

/** The append-only audit trail. A module that changes something records it in `AuditService.transaction()`. */
@Module({
  imports: [TypeOrmModule.forFeature([AuditEvent, AuditChainHead, PersonalKey])],
  controllers: [AuditController],
  providers: [AuditService, AuditQueryService, AuditChain, ChainVerification, AuditProof],
  exports: [AuditService, AuditQueryService, AuditChain, ChainVerification, AuditProof],
})
export class AuditModule {}
