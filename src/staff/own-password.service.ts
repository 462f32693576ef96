import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Not, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import type { AppError } from '../common/errors.ts';
import type { Actor, CurrentStaff } from '../common/request-context.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { NotRunError, WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import { hashPassword, verifyPassword } from './staff-password.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { ChangePasswordRequest } from './staff.dto.ts';
import { Staff } from './staff.entity.ts';
import { TooManyAttemptsError, WrongPasswordError } from './staff.errors.ts';

/** What a session alone is not enough for: the person proves again to know the password. */
@Injectable()
export class OwnPasswordService {
  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly waitingRoom: WaitingRoom,
  ) {}

  /**
   * Verifies the password of somebody who is signed in.
   *
   * @returns the hash it was verified against
   * @throws WrongPasswordError, TooManyAttemptsError
   */
  verify(currentPassword: string, { id }: CurrentStaff, actor: Actor): Promise<string> {
    return this.attempt(`password of ${id}`, actor, WrongPasswordError, async () => {
      const stored = await this.staff.findOne({ where: { id }, select: { id: true, passwordHash: true } });
      if (!stored) return undefined;
      const { passwordHash } = stored;
      return (await this.#inTurn(id, () => verifyPassword(currentPassword, passwordHash))) ? passwordHash : undefined;
    });
  }

  /**
   * Slow hashes take their turn with those of sign-ins, a few of one person at once.
   *
   * @throws TooManyAttemptsError
   */
  async #inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    try {
      return await this.waitingRoom.staffHashes.queue.run(id, work, () => false);
    } catch (error) {
      throw error instanceof NotRunError ? new TooManyAttemptsError(1) : error;
    }
  }

  /**
   * Lets somebody who is signed in try a secret. A stolen session must not be of use for guessing: failures have a count
   * of their own, and that of the address is the one for signing in.
   *
   * @param name names the count
   * @param wrong what a wrong secret is answered with
   * @param tried what the right secret gives, nothing for a wrong one; what it throws is not counted
   * @throws TooManyAttemptsError
   */
  async attempt<T>(
    name: string,
    { address }: Actor,
    wrong: new () => AppError,
    tried: () => Promise<T | undefined>,
  ): Promise<T> {
    const { staffFailures } = this.throttle;
    const { waitMs } = await staffFailures.standing(address ?? undefined, name);
    if (waitMs > 0) {
      staffFailures.noteRefusal();
      throw new TooManyAttemptsError(Math.ceil(waitMs / 1000));
    }
    const result = await tried();
    if (result !== undefined) return result;
    const after = await staffFailures.fail(address ?? undefined, name);
    throw after.limited ? new TooManyAttemptsError(Math.ceil(after.waitMs / 1000)) : new wrong();
  }

  /**
   * Changes one's own password and ends one's other sessions.
   *
   * @throws WrongPasswordError, TooManyAttemptsError
   */
  async change(
    { currentPassword, newPassword }: ChangePasswordRequest,
    member: CurrentStaff,
    actor: Actor,
  ): Promise<void> {
    const verifiedHash = await this.verify(currentPassword, member, actor);
    const passwordHash = await this.#inTurn(member.id, () => hashPassword(newPassword));
    await this.audit.transaction(async (manager) => {
      const { affected } = await manager.update(Staff, { id: member.id, passwordHash: verifiedHash }, { passwordHash });
      if (affected !== 1) throw new WrongPasswordError();
      await manager.delete(StaffSession, { staffId: member.id, id: Not(member.session.id) });
      this.audit.record(manager, {
        actor,
        action: 'staff.password-changed',
        target: { type: 'staff', id: member.id, name: member.name },
        changes: { password: ['', ''] },
      });
    });
  }
}
