import { type DynamicModule, Module } from '@nestjs/common';
import { APP_GUARD } from '@nestjs/core';
import { ActivityModule } from './activity/activity.module.ts';
import type { Application } from './application.ts';
import { AuditModule } from './audit/audit.module.ts';
import { AuthModule } from './auth/auth.module.ts';
import { JwtGuard } from './auth/jwt.guard.ts';
import { ChannelUserModule } from './channel-user/channel-user.module.ts';
import { CommonModule } from './common/common.module.ts';
import type { ProcessRole } from './common/lifecycle.ts';
import type { Config } from './config/config.ts';
import { ConfigModule } from './config/config.module.ts';
import { ConsoleModule } from './console/console.module.ts';
import { DatabaseModule } from './database/database.module.ts';
import { EncryptionModule } from './encryption/encryption.module.ts';
import { GrantGuard } from './grant/grant.guard.ts';
import { GrantModule } from './grant/grant.module.ts';
import { HandoverModule } from './handover/handover.module.ts';
import { HealthModule } from './health/health.module.ts';
import { MetricsModule } from './metrics/metrics.module.ts';
import { NoticeModule } from './notice/notice.module.ts';
import { ImportModule } from './import/import.module.ts';
import { OAuthModule } from './oauth/oauth.module.ts';
import { OverviewModule } from './overview/overview.module.ts';
import { QuickstartModule } from './quickstart/quickstart.module.ts';
import { ScopeModule } from './scope/scope.module.ts';
import { SettingsModule } from './settings/settings.module.ts';
import { SigningKeyModule } from './signing-key/signing-key.module.ts';
import { StaffModule } from './staff/staff.module.ts';
import { UsageModule } from './usage/usage.module.ts';

/** The table of contents. A new feature is one line in `features`. */
const features = [
  ActivityModule,
  AuthModule,
  ChannelUserModule,
  GrantModule,
  HandoverModule,
  ImportModule,
  StaffModule,
  SettingsModule,
  AuditModule,
  NoticeModule,
  OverviewModule,
  ScopeModule,
  UsageModule,
  SigningKeyModule,
  OAuthModule,
  QuickstartModule,
  ConsoleModule,
  HealthModule,
  MetricsModule,
];

@Module({})
export class AppModule {
  /** @param application what stands outside of this folder */
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
        ...more,
      ],
      // Closed by default: only @Public() opens a route.
      providers: [
        { provide: APP_GUARD, useClass: JwtGuard },
        { provide: APP_GUARD, useClass: GrantGuard },
      ],
    };
  }
}
