import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { SigningKey } from './signing-key.entity.ts';
import { SigningKeyService } from './signing-key.service.ts';

@Module({
  imports: [TypeOrmModule.forFeature([SigningKey])],
  providers: [SigningKeyService],
  exports: [SigningKeyService],
})
export class SigningKeyModule {}
