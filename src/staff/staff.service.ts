import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomUUID } from 'node:crypto';
import { type EntityManager, Repository } from 'typeorm';
import { AuditService, type Changes, changesBetween } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import { uniqueViolation } from '../common/postgres-errors.ts';
import type { Actor } from '../common/request-context.ts';
import { generateStaffPassword, hashPassword } from './staff-password.ts';
import { RecoveryCode } from './recovery-code.entity.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { CreateStaffRequest, NewStaffDto, StaffDto, UpdateStaffRequest } from './staff.dto.ts';
import { NO_SECOND_FACTOR, Staff } from './staff.entity.ts';
import { EmailTakenError, LastAdminError, StaffNotFoundError } from './staff.errors.ts';

export const emailKeyOf = (email: string): string => email.toLowerCase();

/** The resource as the API shows it. */
export function presentStaff({ id, email, name, role, createdAt, lastSignInAt, secondFactorAt }: Staff): StaffDto {
  return { id, email, name, role, createdAt, lastSignInAt, secondFactor: secondFactorAt !== null };
}

function refuseLastAdmin(admins: Staff[], id: string): void {
  if (admins.length === 1 && admins[0]?.id === id) throw new LastAdminError();
}

@Injectable()
export class StaffService {
  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  /** Everybody, by e-mail. */
  async list(): Promise<StaffDto[]> {
    return (await this.staff.find({ order: { emailKey: 'ASC' } })).map(presentStaff);
  }

  /** @throws StaffNotFoundError */
  async get(id: string): Promise<StaffDto> {
    const member = await this.staff.findOneBy({ id });
    if (!member) throw new StaffNotFoundError();
    return presentStaff(member);
  }

  /**
   * Creates an account with a generated password.
   *
   * @throws EmailTakenError
   */
  async create({ email, name, role }: CreateStaffRequest, actor: Actor): Promise<NewStaffDto> {
    const password = generateStaffPassword();
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
      await this.audit.transaction(async (manager) => {
        await manager.insert(Staff, member);
        this.#record(manager, 'staff.created', member, actor, changesBetween({}, { email, name, role }));
      });
    } catch (error) {
      throw uniqueViolation(error) === 'uq_staff_email' ? new EmailTakenError(error) : error;
    }
    return { ...presentStaff(member), password };
  }

  /**
   * Changes name or role. Another role ends the sessions of that person.
   *
   * @throws StaffNotFoundError, LastAdminError
   */
  async update(id: string, request: UpdateStaffRequest, actor: Actor): Promise<StaffDto> {
    return this.audit.transaction(async (manager) => {
      const admins = await this.#lockAdmins(manager);
      const member = await this.#lock(manager, { id });
      const { name, role } = member;
      const changes = changesBetween({ name, role }, { name, role, ...request });
      if (Object.keys(changes).length === 0) return presentStaff(member);
      if (changes['role']) {
        refuseLastAdmin(admins, id);
        await manager.delete(StaffSession, { staffId: id });
      }
      Object.assign(member, request);
      await manager.update(Staff, { id }, { name: member.name, role: member.role });
      this.#record(manager, 'staff.updated', member, actor, changes);
      return presentStaff(member);
    });
  }

  /** @throws StaffNotFoundError, LastAdminError */
  async delete(id: string, actor: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const admins = await this.#lockAdmins(manager);
      const member = await this.#lock(manager, { id });
      refuseLastAdmin(admins, id);
      await manager.delete(Staff, { id });
      const { email, name, role } = member;
      this.#record(manager, 'staff.deleted', member, actor, changesBetween({ email, name, role }, {}));
    });
  }

  /**
   * Gives somebody a new generated password and ends their sessions.
   *
   * @param of whose, by id or e-mail
   * @throws StaffNotFoundError
   */
  async resetPassword(of: { id: string } | { email: string }, actor: Actor): Promise<NewStaffDto> {
    const password = generateStaffPassword();
    const passwordHash = await hashPassword(password);
    return this.audit.transaction(async (manager) => {
      const member = await this.#lock(manager, 'id' in of ? of : { emailKey: emailKeyOf(of.email) });
      await manager.update(Staff, { id: member.id }, { passwordHash });
      await manager.delete(StaffSession, { staffId: member.id });
      this.#record(manager, 'staff.password-reset', member, actor, { password: ['', ''] });
      return { ...presentStaff(member), password };
    });
  }

  /**
   * Takes the second factor of somebody who lost it away and ends their sessions.
   *
   * @param of whose, by id or e-mail
   * @returns false when there was none: nothing is changed then
   * @throws StaffNotFoundError
   */
  async resetSecondFactor(of: { id: string } | { email: string }, actor: Actor): Promise<boolean> {
    return this.audit.transaction(async (manager) => {
      const member = await this.#lock(manager, 'id' in of ? of : { emailKey: emailKeyOf(of.email) });
      if (!member.secondFactorAt) return false;
      await manager.update(Staff, { id: member.id }, NO_SECOND_FACTOR);
      await manager.delete(RecoveryCode, { staffId: member.id });
      await manager.delete(StaffSession, { staffId: member.id });
      this.#record(manager, 'staff.second-factor-reset', member, actor, { secondFactor: [true, false] });
      return true;
    });
  }

  async #lock(manager: EntityManager, where: { id: string } | { emailKey: string }): Promise<Staff> {
    const member = await manager.findOne(Staff, { where, lock: { mode: 'pessimistic_write' } });
    if (!member) throw new StaffNotFoundError();
    return member;
  }

  /**
   * Locks every admin, always before anybody else and in one order: two admins can neither remove each other at the
   * same moment nor wait for each other.
   */
  #lockAdmins(manager: EntityManager): Promise<Staff[]> {
    return manager.find(Staff, { where: { role: 'admin' }, order: { id: 'ASC' }, lock: { mode: 'pessimistic_write' } });
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
