import { Module } from '@nestjs/common';
import { JwtService } from '@nestjs/jwt';
import { PassportModule } from '@nestjs/passport';
import { TypeOrmModule } from '@nestjs/typeorm';
import { ActivityModule } from '../activity/activity.module.ts';
import { AuditModule } from '../audit/audit.module.ts';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { SigningKeyModule } from '../signing-key/signing-key.module.ts';
import { Es256JwtService } from './es256-jwt.service.ts';
import { GenerateTokenController } from './generate-token.controller.ts';
import { LocalStrategy } from './local.strategy.ts';
import { MeController } from './me.controller.ts';
import { PartnerPlaneService } from './partner-plane.service.ts';
import { RevokedToken } from './revoked-token.entity.ts';
import { RevokedTokenService } from './revoked-token.service.ts';
import { SignInService } from './sign-in.service.ts';
import { TokenService } from './token.service.ts';

/** Username and password in, token out; and what the global guard needs to let a token in. */
@Module({
  imports: [
    TypeOrmModule.forFeature([RevokedToken]),
    ActivityModule,
    AuditModule,
    ChannelUserModule,
    RateLimitModule,
    SigningKeyModule,
    PassportModule,
  ],
  controllers: [GenerateTokenController, MeController],
  providers: [
    { provide: JwtService, useClass: Es256JwtService },
    LocalStrategy,
    SignInService,
    PartnerPlaneService,
    RevokedTokenService,
    TokenService,
  ],
  exports: [TokenService, PartnerPlaneService, RevokedTokenService, SignInService],
})
export class AuthModule {}
