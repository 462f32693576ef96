import { Module } from '@nestjs/common';
import { TypeOrmModule } from '@nestjs/typeorm';
import { AuditModule } from '../audit/audit.module.ts';
import { AuthModule } from '../auth/auth.module.ts';
import { StaffPlane } from '../auth/staff-plane.service.ts';
import { RateLimitModule } from '../rate-limit/rate-limit.module.ts';
import { SessionController } from './session.controller.ts';
import { SessionService } from './session.service.ts';
import { StaffSession } from './staff-session.entity.ts';
import { StaffController } from './staff.controller.ts';
import { Staff } from './staff.entity.ts';
import { StaffService } from './staff.service.ts';

/** The people who provision, and their sessions. */
@Module({
  imports: [TypeOrmModule.forFeature([Staff, StaffSession]), AuthModule, AuditModule, RateLimitModule],
  controllers: [SessionController, StaffController],
  providers: [StaffService, SessionService, { provide: StaffPlane, useExisting: SessionService }],
  exports: [StaffService, StaffPlane],
})
export class StaffModule {}
