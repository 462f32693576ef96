import { Module } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../../audit/audit.module.ts';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { SigningKeyModule } from '../signing-key/signing-key.module.ts';
import { AccessTokenService } from './access-token.service.ts';
import { Es256JwtService } from './es256-jwt.service.ts';
import { RevokedTokenController } from './revoked-token.controller.ts';
import { RevokedToken } from './revoked-token.entity.ts';
import { RevokedTokenService } from './revoked-token.service.ts';
import { SignedTokenService } from './signed-token.service.ts';

/** Signs, verifies and revokes tokens. */
@Module({
  imports: [TypeOrmModule.forFeature([RevokedToken]), AuditModule, ChannelUserModule, SigningKeyModule],
  controllers: [RevokedTokenController],
  providers: [
    { provide: JwtService, useClass: Es256JwtService },
    SignedTokenService,
    AccessTokenService,
    RevokedTokenService,
  ],
  exports: [SignedTokenService, AccessTokenService, RevokedTokenService],
})
export class AccessTokenModule {}
