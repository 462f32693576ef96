import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { AuthModule } from '../auth/auth.module.ts';
import { StaffPlane } from '../auth/staff-plane.service.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { SettingsModule } from '../settings/settings.module.ts';
import { OwnPasswordService } from './own-password.service.ts';
import { RecoveryCode } from './recovery-code.entity.ts';
import { SecondFactorController } from './second-factor.controller.ts';
import { SecondFactorService } from './second-factor.service.ts';
import { SessionController } from './session.controller.ts';
import { SessionService } from './session.service.ts';
import { StaffSession } from './staff-session.entity.ts';
import { StaffController } from './staff.controller.ts';
import { Staff } from './staff.entity.ts';
import { StaffService } from './staff.service.ts';

/** The people who provision, and their sessions. */
@Module({
  imports: [
    TypeOrmModule.forFeature([Staff, StaffSession, RecoveryCode]),
    AuthModule,
    AuditModule,
    RateLimitModule,
    SettingsModule,
  ],
  controllers: [SessionController, SecondFactorController, StaffController],
  providers: [
    StaffService,
    SessionService,
    OwnPasswordService,
    SecondFactorService,
    { provide: StaffPlane, useExisting: SessionService },
  ],
  exports: [StaffService, StaffPlane],
})
export class StaffModule {}
