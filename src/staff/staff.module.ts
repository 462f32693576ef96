import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { AccessTokenModule } from '../auth/access-token/access-token.module.ts';
import { StaffAuthenticator } from '../auth/staff-authenticator.service.ts';
import { ChannelUserModule } from '../channel-user/channel-user.module.ts';
import { NoticeModule } from '../notice/notice.module.ts';
import { PasswordModule } from '../password/password.module.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { SettingsModule } from '../settings/settings.module.ts';
import { OwnPasswordService } from './own-password.service.ts';
import { MangledPasswordLinkController } from './mangled-password-link.controller.ts';
import { PasswordLinkController } from './password-link.controller.ts';
import { PasswordLink } from './password-link.entity.ts';
import { PasswordLinkPageController } from './password-link-page.controller.ts';
import { PasswordLinkService } from './password-link.service.ts';
import { RecoveryCode } from './recovery-code.entity.ts';
import { SecondFactorController } from './second-factor.controller.ts';
import { SecondFactorService } from './second-factor.service.ts';
import { SessionController } from './session.controller.ts';
import { SessionCookieService } from './session-cookie.service.ts';
import { SessionOpener } from './session-opener.service.ts';
import { SessionService } from './session.service.ts';
import { StaffFailure } from './staff-failure.entity.ts';
import { StaffFailureService } from './staff-failure.service.ts';
import { StaffSession } from './staff-session.entity.ts';
import { StaffIdentityService } from './staff-identity.service.ts';
import { StaffLock } from './staff-lock.service.ts';
import { StaffController } from './staff.controller.ts';
import { Staff } from './staff.entity.ts';
import { StaffService } from './staff.service.ts';

/** The people who provision, and their sessions. */
@Module({
  imports: [
    TypeOrmModule.forFeature([Staff, StaffSession, RecoveryCode, PasswordLink, StaffFailure]),
    AccessTokenModule,
    AuditModule,
    ChannelUserModule,
    NoticeModule,
    PasswordModule,
    RateLimitModule,
    SettingsModule,
  ],
  controllers: [
    SessionController,
    SecondFactorController,
    StaffController,
    PasswordLinkController,
    PasswordLinkPageController,
    MangledPasswordLinkController,
  ],
  providers: [
    StaffService,
    StaffLock,
    StaffIdentityService,
    SessionService,
    SessionCookieService,
    SessionOpener,
    OwnPasswordService,
    PasswordLinkService,
    StaffFailureService,
    SecondFactorService,
    { provide: StaffAuthenticator, useExisting: SessionService },
  ],
  exports: [
    StaffService,
    StaffIdentityService,
    StaffAuthenticator,
    SessionCookieService,
    SessionOpener,
    SessionService,
  ],
})
export class StaffModule {}
