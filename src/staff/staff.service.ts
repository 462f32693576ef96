import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { type EntityManager, In, Repository } from 'typeorm';
import { AuditService, type Changes, changesBetween } from '../audit/audit.service.ts';
import { StarterNames } from '../channel-user/credential/starter-names.service.ts';
import { Clock } from '../platform/common/clock.ts';
import { uniqueViolation } from '../platform/common/postgres-errors.ts';
import type { Actor } from '../platform/common/principal.ts';
import { generateStaffPassword, hashPassword } from './staff-password.ts';
import { PasswordLinkService } from './password-link.service.ts';
import { RecoveryCode } from './recovery-code.entity.ts';
import { emailKeyOf, type StaffKey, StaffLock } from './staff-lock.service.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { PasswordLinkDto, StaffDto, UpdateStaffRequest } from './staff.dto.ts';
import { NO_SECOND_FACTOR, Staff } from './staff.entity.ts';
import { EmailTakenError, SignsInAtProviderError, StaffNotFoundError } from './staff.errors.ts';

/** A staff member in the form of the API. */
export function toStaffDto(staff: Staff): StaffDto {
  const { id, email, name, role, createdAt, lastSignInAt, secondFactorAt, oidcIssuer, oidcSubject, breakGlass } = staff;
  const identity = oidcIssuer === null || oidcSubject === null ? null : { issuer: oidcIssuer, subject: oidcSubject };
  return {
    id,
    email,
    name,
    role,
    createdAt,
    lastSignInAt,
    secondFactor: secondFactorAt !== null,
    identity,
    breakGlass,
  };
}

type NewStaff = Pick<Staff, 'email' | 'name' | 'role'>;

@Injectable()
export class StaffService {
  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    private readonly links: PasswordLinkService,
    private readonly lock: StaffLock,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    starterNames: StarterNames,
  ) {
    starterNames.register(async (manager, ids) => {
      const found = await manager.find(Staff, { select: { id: true, name: true }, where: { id: In([...ids]) } });
      return new Map(found.map(({ id, name }) => [id, name]));
    });
    audit.encryptFields(['email', 'name', 'subject']);
    audit.keepAccountsOf((manager, id) => manager.existsBy(Staff, { id }));
  }

  /** All staff, in order of e-mail. */
  async list(): Promise<StaffDto[]> {
    return (await this.staff.find({ order: { emailKey: 'ASC' } })).map(toStaffDto);
  }

  /** @throws StaffNotFoundError */
  async get(id: string): Promise<StaffDto> {
    const member = await this.staff.findOneBy({ id });
    if (!member) throw new StaffNotFoundError();
    return toStaffDto(member);
  }

  /**
   * Creates an account with a generated password.
   *
   * @throws EmailTakenError
   */
  async create(request: NewStaff, actor: Actor): Promise<StaffDto & { password: string }> {
    const password = generateStaffPassword();
    const [member] = await this.#insert(request, password, actor, () => Promise.resolve());
    return { ...toStaffDto(member), password };
  }

  /**
   * Creates an account whose holder chooses the password with a one-time link.
   *
   * @param baseUrl origin of the staff API, as staff reach it
   * @throws EmailTakenError
   */
  async invite(request: NewStaff, baseUrl: string, actor: Actor): Promise<StaffDto & PasswordLinkDto> {
    const [member, link] = await this.#insert(request, generateStaffPassword(), actor, (manager, created) =>
      this.links.create(manager, created, baseUrl, actor),
    );
    return { ...toStaffDto(member), ...link };
  }

  /** @throws EmailTakenError */
  async #insert<T>(
    { email, name, role }: NewStaff,
    password: string,
    actor: Actor,
    deliver: (manager: EntityManager, member: Staff) => Promise<T>,
  ): Promise<[Staff, T]> {
    const member = this.staff.create({
      id: randomUUID(),
      email,
      emailKey: emailKeyOf(email),
      name,
      role,
      passwordHash: await hashPassword(password),
      createdAt: new Date(this.clock.now()),
      lastSignInAt: null,
      oidcIssuer: null,
      oidcSubject: null,
      breakGlass: false,
      ...NO_SECOND_FACTOR,
    });
    try {
      return await this.audit.transaction(async (manager) => {
        await manager.insert(Staff, member);
        this.#record(manager, 'staff.created', member, actor, changesBetween({}, { email, name, role }));
        return [member, await deliver(manager, member)];
      });
    } catch (error) {
      throw uniqueViolation(error) === 'uq_staff_email' ? new EmailTakenError(error) : error;
    }
  }

  /**
   * Changes name or role, or makes an account one for emergencies. A change of role ends the person's sessions, and only
   * admins stay break-glass.
   *
   * @param of the staff member, by id or e-mail
   * @throws StaffNotFoundError, LastAdminError, SignsInAtProviderError, BreakGlassAdminOnlyError, TooManyBreakGlassError
   */
  async update(of: StaffKey, request: UpdateStaffRequest, actor: Actor): Promise<StaffDto> {
    return this.audit.transaction(async (manager) => {
      const locked = await this.lock.lock(manager, of, actor);
      const { member } = locked;
      const { id, name, role, breakGlass } = member;
      const after = { name, role, breakGlass, ...request };
      if (after.role !== 'admin') after.breakGlass = request.breakGlass ?? false;
      const changes = changesBetween({ name, role, breakGlass }, after);
      if (Object.keys(changes).length === 0) return toStaffDto(member);
      if (changes['role']) {
        if (member.oidcSubject !== null) throw new SignsInAtProviderError('role');
        await this.lock.refuseLastAdmin(manager, locked);
        await manager.delete(StaffSession, { staffId: id });
      }
      Object.assign(member, after);
      if (changes['breakGlass']) await this.lock.checkBreakGlass(manager, locked, after.breakGlass);
      await manager.update(Staff, { id }, after);
      this.#record(manager, 'staff.updated', member, actor, changes);
      return toStaffDto(member);
    });
  }

  /** @throws StaffNotFoundError, LastAdminError */
  async delete(id: string, actor: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const locked = await this.lock.lock(manager, { id }, actor);
      await this.lock.refuseLastAdmin(manager, locked);
      await manager.delete(Staff, { id });
      const { member } = locked;
      const { email, name, role } = member;
      this.#record(manager, 'staff.deleted', member, actor, changesBetween({ email, name, role }, {}));
    });
  }

  /**
   * Sets a new generated password, ends the person's sessions and revokes an unused password link.
   *
   * @param of the staff member, by id or e-mail
   * @throws StaffNotFoundError, SignsInAtProviderError
   */
  async resetPassword(of: StaffKey, actor: Actor): Promise<StaffDto & { password: string }> {
    const password = generateStaffPassword();
    const [member] = await this.#reset(of, password, actor, (manager, holder) =>
      this.links.revokeFor(manager, holder, actor),
    );
    return { ...toStaffDto(member), password };
  }

  /**
   * Creates a one-time link for choosing a new password. The old password stops working now, and sessions end.
   *
   * @param baseUrl origin of the staff API, as staff reach it
   * @throws StaffNotFoundError, SignsInAtProviderError
   */
  async sendPasswordLink(of: StaffKey, baseUrl: string, actor: Actor): Promise<StaffDto & PasswordLinkDto> {
    const [member, link] = await this.#reset(of, generateStaffPassword(), actor, (manager, holder) =>
      this.links.create(manager, holder, baseUrl, actor),
    );
    return { ...toStaffDto(member), ...link };
  }

  /** Revokes every unused password link. @returns how many links were revoked */
  revokePasswordLinks(actor: Actor): Promise<number> {
    return this.links.revokeAll(actor);
  }

  /** @throws StaffNotFoundError, SignsInAtProviderError */
  async #reset<T>(
    of: StaffKey,
    password: string,
    actor: Actor,
    deliver: (manager: EntityManager, member: Staff) => Promise<T>,
  ): Promise<[Staff, T]> {
    const passwordHash = await hashPassword(password);
    return this.audit.transaction(async (manager) => {
      const { member } = await this.lock.lock(manager, of, actor);
      if (member.oidcSubject !== null) throw new SignsInAtProviderError('password');
      await manager.update(Staff, { id: member.id }, { passwordHash });
      await manager.delete(StaffSession, { staffId: member.id });
      this.#record(manager, 'staff.password-reset', member, actor, { password: ['', ''] });
      return [member, await deliver(manager, member)];
    });
  }

  /**
   * Removes the second factor of a person who lost it, and ends the person's sessions.
   *
   * @param of the staff member, by id or e-mail
   * @returns false when there was no second factor, and nothing was changed
   * @throws StaffNotFoundError
   */
  async resetSecondFactor(of: StaffKey, actor: Actor): Promise<boolean> {
    return this.audit.transaction(async (manager) => {
      const { member } = await this.lock.lock(manager, of, actor);
      if (!member.secondFactorAt) return false;
      await manager.update(Staff, { id: member.id }, NO_SECOND_FACTOR);
      await manager.delete(RecoveryCode, { staffId: member.id });
      await manager.delete(StaffSession, { staffId: member.id });
      this.#record(manager, 'staff.second-factor-reset', member, actor, { secondFactor: [true, false] });
      return true;
    });
  }

  #record(manager: EntityManager, action: string, member: Staff, actor: Actor, changes: Changes): void {
    this.audit.record(manager, {
      actor,
      action,
      target: { type: 'staff', id: member.id, name: member.name },
      changes,
    });
  }
}
