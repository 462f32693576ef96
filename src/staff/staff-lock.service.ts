import { Injectable } from '@nestjs/common';
import { type EntityManager, Not } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import type { Actor } from '../platform/common/principal.ts';
import { SettingsService } from '../settings/settings.service.ts';
import { Staff } from './staff.entity.ts';
import {
  BreakGlassAdminOnlyError,
  LastAdminError,
  LocalSignInNeedsSsoError,
  NoBreakGlassError,
  StaffNotFoundError,
  TooManyBreakGlassError,
} from './staff.errors.ts';

/** Identifies a staff member: by id in the API, by e-mail on the command line. */
export type StaffKey = { readonly id: string } | { readonly email: string };

/** Accounts for emergencies. Each is a way around the identity provider, so they are few. */
const MAX_BREAK_GLASS = 3;

export const emailKeyOf = (email: string): string => email.toLowerCase();

/** The rows that a change of an account has locked. */
export interface LockedStaff {
  readonly admins: readonly Staff[];
  readonly member: Staff;
}

/** Locks the accounts that a change concerns, and keeps an admin who can sign in without the identity provider. */
@Injectable()
export class StaffLock {
  constructor(
    private readonly audit: AuditService,
    private readonly settings: SettingsService,
  ) {
    settings.checkRestrictionsWith((manager, actor) => this.#checkRestriction(manager, actor));
  }

  /**
   * Locks all admins, and then the staff member whose account changes. With this order, two admins cannot remove each
   * other at the same time or deadlock. Confirms the actor here, since the change may end the actor's own session.
   *
   * @throws StaffNotFoundError, AppError 401
   */
  async lock(manager: EntityManager, of: StaffKey, actor: Actor): Promise<LockedStaff> {
    const admins = await this.lockAdmins(manager);
    const where = 'id' in of ? of : { emailKey: emailKeyOf(of.email) };
    const member = await manager.findOne(Staff, { where, lock: { mode: 'pessimistic_write' } });
    await this.audit.confirm(manager, actor);
    if (!member) throw new StaffNotFoundError();
    return { admins, member };
  }

  /** Locks all admins in the order of their ids. */
  lockAdmins(manager: EntityManager): Promise<Staff[]> {
    return manager.find(Staff, { where: { role: 'admin' }, order: { id: 'ASC' }, lock: { mode: 'pessimistic_write' } });
  }

  /**
   * Refuses a change after which no admin could sign in without the identity provider.
   *
   * @throws LastAdminError
   */
  async refuseLastAdmin(manager: EntityManager, locked: LockedStaff): Promise<void> {
    const onlyBreakGlass = (await this.settings.localSignIn(manager)) === 'break-glass';
    refuseLastOf(locked, ({ oidcSubject, breakGlass }) => oidcSubject === null && (breakGlass || !onlyBreakGlass));
  }

  /**
   * Refuses that an account becomes or stops to be one for emergencies where it must not.
   *
   * @param wanted whether it shall be one
   * @throws BreakGlassAdminOnlyError, TooManyBreakGlassError, LastAdminError
   */
  async checkBreakGlass(manager: EntityManager, locked: LockedStaff, wanted: boolean): Promise<void> {
    const { member } = locked;
    if (!wanted) {
      if ((await this.settings.localSignIn(manager)) === 'break-glass') refuseLastOf(locked, (each) => each.breakGlass);
      return;
    }
    if (member.role !== 'admin' || member.oidcSubject !== null) throw new BreakGlassAdminOnlyError();
    // Counted after the admins are locked, since another change may have made somebody an admin while this one waited.
    const others = await manager.countBy(Staff, { breakGlass: true, id: Not(member.id) });
    if (others >= MAX_BREAK_GLASS) throw new TooManyBreakGlassError(MAX_BREAK_GLASS);
  }

  /**
   * Refuses to restrict passwords to break-glass accounts unless the identity provider is known to work and there is a
   * way around it.
   *
   * @throws LocalSignInNeedsSsoError, NoBreakGlassError
   */
  async #checkRestriction(manager: EntityManager, actor: Actor): Promise<void> {
    const admins = await this.lockAdmins(manager);
    const own = admins.find(({ id }) => id === actor.id);
    if (actor.type !== 'staff' || (own?.oidcSubject ?? null) === null) throw new LocalSignInNeedsSsoError();
    if (!admins.some(({ breakGlass, secondFactorAt }) => breakGlass && secondFactorAt !== null)) {
      throw new NoBreakGlassError();
    }
  }
}

/** @throws LastAdminError when the account that changes is the only admin who is able */
function refuseLastOf({ admins, member }: LockedStaff, isAble: (admin: Staff) => boolean): void {
  const able = admins.filter(isAble);
  if (able.length === 1 && able[0]?.id === member.id) throw new LastAdminError();
}
