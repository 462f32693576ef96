import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { SigningKeyController } from './signing-key.controller.ts';
import { SigningKey } from './signing-key.entity.ts';
import { SigningKeyService } from './signing-key.service.ts';

/** The keys that sign tokens: published, used, retired, revoked. */
@Module({
  imports: [TypeOrmModule.forFeature([SigningKey]), AuditModule],
  controllers: [SigningKeyController],
  providers: [SigningKeyService],
  exports: [SigningKeyService],
})
export class SigningKeyModule {}
