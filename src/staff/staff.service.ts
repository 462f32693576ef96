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
import { StaffSession } from './staff-session.entity.ts';
import type { PasswordLinkDto, StaffDto, UpdateStaffRequest } from './staff.dto.ts';
import { NO_SECOND_FACTOR, Staff } from './staff.entity.ts';
import { EmailTakenError, LastAdminError, StaffNotFoundError } from './staff.errors.ts';

export const emailKeyOf = (email: string): string => email.toLowerCase();

/** A staff member in the form of the API. */
export function toStaffDto({ id, email, name, role, createdAt, lastSignInAt, secondFactorAt }: Staff): StaffDto {
  return { id, email, name, role, createdAt, lastSignInAt, secondFactor: secondFactorAt !== null };
}

type NewStaff = Pick<Staff, 'email' | 'name' | 'role'>;

/** Identifies a staff member: by id in the API, by e-mail on the command line. */
type StaffKey = { readonly id: string } | { readonly email: string };

function refuseLastAdmin(admins: Staff[], id: string): void {
  if (admins.length === 1 && admins[0]?.id === id) throw new LastAdminError();
}

@Injectable()
export class StaffService {
  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    private readonly links: PasswordLinkService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    starterNames: StarterNames,
  ) {
    starterNames.register(async (manager, ids) => {
      const found = await manager.find(Staff, { select: { id: true, name: true }, where: { id: In([...ids]) } });
      return new Map(found.map(({ id, name }) => [id, name]));
    });
    audit.encryptFields(['email', 'name']);
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
   * Changes name or role. A change of role ends the person's sessions.
   *
   * @throws StaffNotFoundError, LastAdminError
   */
  async update(id: string, request: UpdateStaffRequest, actor: Actor): Promise<StaffDto> {
    return this.audit.transaction(async (manager) => {
      const { admins, member } = await this.#lockStaff(manager, { id }, actor);
      const { name, role } = member;
      const changes = changesBetween({ name, role }, { name, role, ...request });
      if (Object.keys(changes).length === 0) return toStaffDto(member);
      if (changes['role']) {
        refuseLastAdmin(admins, id);
        await manager.delete(StaffSession, { staffId: id });
      }
      Object.assign(member, request);
      await manager.update(Staff, { id }, { name: member.name, role: member.role });
      this.#record(manager, 'staff.updated', member, actor, changes);
      return toStaffDto(member);
    });
  }

  /** @throws StaffNotFoundError, LastAdminError */
  async delete(id: string, actor: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const { admins, member } = await this.#lockStaff(manager, { id }, actor);
      refuseLastAdmin(admins, id);
      await manager.delete(Staff, { id });
      const { email, name, role } = member;
      this.#record(manager, 'staff.deleted', member, actor, changesBetween({ email, name, role }, {}));
    });
  }

  /**
   * Sets a new generated password, ends the person's sessions and revokes an unused password link.
   *
   * @param of the staff member, by id or e-mail
   * @throws StaffNotFoundError
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
   * @throws StaffNotFoundError
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

  /** @throws StaffNotFoundError */
  async #reset<T>(
    of: StaffKey,
    password: string,
    actor: Actor,
    deliver: (manager: EntityManager, member: Staff) => Promise<T>,
  ): Promise<[Staff, T]> {
    const passwordHash = await hashPassword(password);
    return this.audit.transaction(async (manager) => {
      const { member } = await this.#lockStaff(manager, of, actor);
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
      const { member } = await this.#lockStaff(manager, of, actor);
      if (!member.secondFactorAt) return false;
      await manager.update(Staff, { id: member.id }, NO_SECOND_FACTOR);
      await manager.delete(RecoveryCode, { staffId: member.id });
      await manager.delete(StaffSession, { staffId: member.id });
      this.#record(manager, 'staff.second-factor-reset', member, actor, { secondFactor: [true, false] });
      return true;
    });
  }

  /**
   * Locks all admins, and then the staff member whose account changes. With this order, two admins cannot remove each
   * other at the same time or deadlock. Confirms the actor here, since the change may end the actor's own session.
   *
   * @throws StaffNotFoundError, AppError 401
   */
  async #lockStaff(
    manager: EntityManager,
    of: StaffKey,
    actor: Actor,
  ): Promise<{ readonly admins: Staff[]; readonly member: Staff }> {
    const lock = { mode: 'pessimistic_write' } as const;
    const admins = await manager.find(Staff, { where: { role: 'admin' }, order: { id: 'ASC' }, lock });
    const where = 'id' in of ? of : { emailKey: emailKeyOf(of.email) };
    const member = await manager.findOne(Staff, { where, lock });
    await this.audit.confirm(manager, actor);
    if (!member) throw new StaffNotFoundError();
    return { admins, member };
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
