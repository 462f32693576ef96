import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { AuditService, type Changes } from '../audit/audit.service.ts';
import { uniqueViolation } from '../platform/common/postgres-errors.ts';
import type { Actor } from '../platform/common/principal.ts';
import { PasswordLinkService } from './password-link.service.ts';
import { RecoveryCode } from './recovery-code.entity.ts';
import { type StaffKey, StaffLock } from './staff-lock.service.ts';
import { generateStaffPassword, hashPassword } from './staff-password.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { StaffDto } from './staff.dto.ts';
import type { StaffIdentityDto } from './staff-identity.dto.ts';
import { NO_SECOND_FACTOR, Staff } from './staff.entity.ts';
import { IdentityTakenError, NoIdentityError } from './staff.errors.ts';
import { toStaffDto } from './staff.service.ts';

/** Decides whether an account signs in at the identity provider or with a password of Latchkey. */
@Injectable()
export class StaffIdentityService {
  constructor(
    private readonly lock: StaffLock,
    private readonly links: PasswordLinkService,
    private readonly audit: AuditService,
  ) {}

  /**
   * Makes an account sign in with an identity of the provider from now on. Its password, its second factor and its
   * sessions end.
   *
   * @throws StaffNotFoundError, LastAdminError, IdentityTakenError
   */
  async attach(of: StaffKey, { issuer, subject }: StaffIdentityDto, actor: Actor): Promise<StaffDto> {
    const passwordHash = await hashPassword(generateStaffPassword());
    try {
      return await this.audit.transaction(async (manager) => {
        const locked = await this.lock.lock(manager, of, actor);
        const { member } = locked;
        if (member.oidcIssuer === issuer && member.oidcSubject === subject) return toStaffDto(member);
        await this.lock.refuseLastAdmin(manager, locked);
        const before = member.oidcSubject;
        await this.#change(manager, member, {
          ...NO_SECOND_FACTOR,
          passwordHash,
          breakGlass: false,
          oidcIssuer: issuer,
          oidcSubject: subject,
        });
        await manager.delete(RecoveryCode, { staffId: member.id });
        await this.links.revokeFor(manager, member, actor);
        this.#record(manager, 'staff.identity-attached', member, actor, {
          issuer: [null, issuer],
          subject: [before, subject],
        });
        return toStaffDto(member);
      });
    } catch (error) {
      throw uniqueViolation(error) === 'uq_staff_identity' ? new IdentityTakenError(error) : error;
    }
  }

  /**
   * Makes an account sign in with a password again, which has to be set afterwards. Its sessions end.
   *
   * @throws StaffNotFoundError, NoIdentityError
   */
  async detach(of: StaffKey, actor: Actor): Promise<StaffDto> {
    return this.audit.transaction(async (manager) => {
      const { member } = await this.lock.lock(manager, of, actor);
      const { oidcIssuer, oidcSubject } = member;
      if (oidcSubject === null) throw new NoIdentityError();
      await this.#change(manager, member, { oidcIssuer: null, oidcSubject: null });
      this.#record(manager, 'staff.identity-detached', member, actor, {
        issuer: [oidcIssuer, null],
        subject: [oidcSubject, null],
      });
      return toStaffDto(member);
    });
  }

  async #change(manager: EntityManager, member: Staff, values: Partial<Staff>): Promise<void> {
    await manager.update(Staff, { id: member.id }, values);
    await manager.delete(StaffSession, { staffId: member.id });
    Object.assign(member, values);
  }

  #record(manager: EntityManager, action: string, { id, name }: Staff, actor: Actor, changes: Changes): void {
    this.audit.record(manager, { actor, action, target: { type: 'staff', id, name }, changes });
  }
}
