import { Module } from '@nestjs/common';
import { PassportModule } from '@nestjs/passport';
import { SignInLogModule } from '../../activity/sign-in-log/sign-in-log.module.ts';
import { ChannelUserModule } from '../../channel-user/channel-user.module.ts';
import { PasswordModule } from '../../password/password.module.ts';
import { RateLimitModule } from '../../rate-limit/rate-limit.module.ts';
import { AccessTokenModule } from '../access-token/access-token.module.ts';
import { GenerateTokenController } from './generate-token.controller.ts';
import { LeakReportController } from './leak-report.controller.ts';
import { LeakReportService } from './leak-report.service.ts';
import { LocalStrategy } from './local-auth.guard.ts';
import { PasswordProofService } from './password-proof.service.ts';
import { SignInService } from './sign-in.service.ts';
import { SlowPasswordService } from './slow-password.service.ts';
import { TokenIssuerService } from './token-issuer.service.ts';

/** Exchanges a username and password for a token, and ends leaked passwords. */
@Module({
  imports: [SignInLogModule, ChannelUserModule, PasswordModule, RateLimitModule, PassportModule, AccessTokenModule],
  controllers: [GenerateTokenController, LeakReportController],
  providers: [
    LocalStrategy,
    SignInService,
    SlowPasswordService,
    PasswordProofService,
    LeakReportService,
    TokenIssuerService,
  ],
  exports: [SignInService, PasswordProofService, TokenIssuerService],
})
export class SignInModule {}
