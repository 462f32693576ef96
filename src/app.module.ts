import { type DynamicModule, Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { SignInLogModule } from './activity/sign-in-log/sign-in-log.module.ts';
import type { Application } from './application.ts';
import { CallsModule } from './activity/calls/calls.module.ts';
import { AuditModule } from './audit/audit.module.ts';
import { AccessTokenModule } from './auth/access-token/access-token.module.ts';
import { AuthModule } from './auth/auth.module.ts';
import { JwtGuard } from './auth/jwt.guard.ts';
import { ChannelUserModule } from './channel-user/channel-user.module.ts';
import { CommonModule } from './platform/common/common.module.ts';
import type { ProcessRole } from './platform/common/lifecycle.ts';
import type { Config } from './platform/config/config.ts';
import { ConfigModule } from './platform/config/config.module.ts';
import { ConsoleModule } from './console/console.module.ts';
import { DatabaseModule } from './platform/database/database.module.ts';
import { EncryptionModule } from './platform/encryption/encryption.module.ts';
import { GrantGuard } from './channel-user/grant/grant.guard.ts';
import { GrantModule } from './channel-user/grant/grant.module.ts';
import { HandoverModule } from './channel-user/handover/handover.module.ts';
import { HealthModule } from './operations/health/health.module.ts';
import { MetricsModule } from './operations/metrics/metrics.module.ts';
import { NoticeModule } from './notice/notice.module.ts';
import { ImportModule } from './channel-user/import/import.module.ts';
import { OAuthModule } from './auth/oauth/oauth.module.ts';
import { OwnCredentialModule } from './auth/own-credential/own-credential.module.ts';
import { OidcModule } from './staff/oidc/oidc.module.ts';
import { OverviewModule } from './activity/overview/overview.module.ts';
import { PartnerPageModule } from './partner-page/partner-page.module.ts';
import { QuickstartModule } from './quickstart/quickstart.module.ts';
import { ScopeModule } from './auth/scope/scope.module.ts';
import { ServiceAccountModule } from './staff/service-account/service-account.module.ts';
import { SettingsModule } from './settings/settings.module.ts';
import { SignInModule } from './auth/sign-in/sign-in.module.ts';
import { SigningKeyModule } from './auth/signing-key/signing-key.module.ts';
import { StaffModule } from './staff/staff.module.ts';
import { UsageModule } from './activity/usage/usage.module.ts';

/** The table of contents. A new feature is one line in `features`. */
const features = [
  SignInLogModule,
  SignInModule,
  AuthModule,
  ChannelUserModule,
  GrantModule,
  HandoverModule,
  ImportModule,
  StaffModule,
  ServiceAccountModule,
  OidcModule,
  SettingsModule,
  AuditModule,
  NoticeModule,
  OverviewModule,
  ScopeModule,
  UsageModule,
  CallsModule,
  SigningKeyModule,
  OAuthModule,
  OwnCredentialModule,
  AccessTokenModule,
  QuickstartModule,
  ConsoleModule,
  HealthModule,
  MetricsModule,
];

@Module({})
export class AppModule {
  /** @param application modules and migrations outside of `src` */
  static for(
    config: Config,
    { features: more = [], migrations = [] }: Application = {},
    role: ProcessRole = 'server',
  ): DynamicModule {
    return {
      module: AppModule,
      imports: [
        ConfigModule.for(config),
        CommonModule.for(role),
        DatabaseModule.for(migrations),
        EncryptionModule,
        ...features,
        ...(config.partnerPage ? [PartnerPageModule] : []),
        ...more,
      ],
      // Routes are closed by default. Only @Public() opens one.
      providers: [
        { provide: APP_GUARD, useClass: JwtGuard },
        { provide: APP_GUARD, useClass: GrantGuard },
      ],
    };
  }
}
