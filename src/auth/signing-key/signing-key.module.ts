import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { KeyRotationService } from './key-rotation.service.ts';
import { SigningKeyController } from './signing-key.controller.ts';
import { SigningKey } from './signing-key.entity.ts';
import { SigningKeyService } from './signing-key.service.ts';

/** Stores, rotates and revokes the keys that sign tokens. */
@Module({
  imports: [TypeOrmModule.forFeature([SigningKey]), AuditModule],
  controllers: [SigningKeyController],
  providers: [SigningKeyService, KeyRotationService],
  exports: [SigningKeyService, KeyRotationService],
})
export class SigningKeyModule {}
