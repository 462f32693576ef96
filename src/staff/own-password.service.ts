import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Not, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { type AppError, UnavailableError } from '../platform/common/errors.ts';
import type { Actor, CurrentStaff } from '../platform/common/principal.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { NotRunError } from '../password/fair-queue.ts';
import { ResponseDelayService } from '../password/response-delay.service.ts';
import { hashPassword, PASSWORD_HASH_KIB, verifyPassword } from './staff-password.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { ChangePasswordRequest } from './staff.dto.ts';
import { Staff } from './staff.entity.ts';
import { SignsInAtProviderError, TooManyAttemptsError, WrongPasswordError } from './staff.errors.ts';

/** Slow hashes of one person that may wait or run at once. More are probably guesses. */
const MAX_AT_ONCE = 5;

/** Verifies the password again, for changes for which a session is not enough. */
@Injectable()
export class OwnPasswordService {
  /** Number of hashes that wait or run, by id of the staff member. */
  readonly #underWay = new Map<string, number>();

  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly responseDelays: ResponseDelayService,
  ) {}

  /**
   * Verifies the password of a signed-in staff member.
   *
   * @returns the stored hash that the password matched
   * @throws WrongPasswordError, TooManyAttemptsError, UnavailableError, SignsInAtProviderError
   */
  verify(currentPassword: string, { id, identity }: CurrentStaff, actor: Actor): Promise<string> {
    if (identity) return Promise.reject(new SignsInAtProviderError('password and the second factor'));
    return this.attempt(`password of ${id}`, actor, WrongPasswordError, async () => {
      const stored = await this.staff.findOne({ where: { id }, select: { id: true, passwordHash: true } });
      if (!stored) return undefined;
      const { passwordHash } = stored;
      return (await this.inTurn(id, () => verifyPassword(currentPassword, passwordHash))) ? passwordHash : undefined;
    });
  }

  /**
   * Runs a slow hash in the queue of staff sign-ins, with at most `MAX_AT_ONCE` of one person.
   *
   * @throws TooManyAttemptsError, UnavailableError when the queue is full; the hash was not computed then
   */
  async inTurn<T>(id: string, work: () => Promise<T>): Promise<T> {
    const { staffHashes } = this.responseDelays;
    const underWay = this.#underWay.get(id) ?? 0;
    if (underWay >= MAX_AT_ONCE) throw new TooManyAttemptsError(1);
    this.#underWay.set(id, underWay + 1);
    try {
      return await staffHashes.queue.run(id, work, () => false, PASSWORD_HASH_KIB);
    } catch (error) {
      throw error instanceof NotRunError ? new UnavailableError(error, staffHashes.retryAfter) : error;
    } finally {
      const left = (this.#underWay.get(id) ?? 1) - 1;
      if (left === 0) this.#underWay.delete(id);
      else this.#underWay.set(id, left);
    }
  }

  /**
   * Lets a signed-in staff member try a secret, and throttles failures so that a stolen session cannot guess it. They
   * count under a name of their own, and for the address together with failed sign-ins.
   *
   * @param name the name to count failures under
   * @param wrong the error for a wrong secret
   * @param tried checks the secret; undefined means that it is wrong. An error that it throws is not counted.
   * @returns the result of `tried`
   * @throws TooManyAttemptsError, `wrong`, and whatever `tried` throws
   */
  async attempt<T>(
    name: string,
    { address }: Actor,
    wrong: new () => AppError,
    tried: () => Promise<T | undefined>,
  ): Promise<T> {
    const { staffFailures } = this.throttle;
    const { retryAfterMs } = await staffFailures.stateOf(address ?? undefined, name);
    if (retryAfterMs > 0) {
      staffFailures.recordRefusal();
      throw new TooManyAttemptsError(Math.ceil(retryAfterMs / 1000));
    }
    const result = await tried();
    if (result !== undefined) return result;
    const after = await staffFailures.fail(address ?? undefined, name);
    throw after.isLimited ? new TooManyAttemptsError(Math.ceil(after.retryAfterMs / 1000)) : new wrong();
  }

  /**
   * Changes one's own password and ends one's other sessions.
   *
   * @throws WrongPasswordError, TooManyAttemptsError, UnavailableError
   */
  async change(
    { currentPassword, newPassword }: ChangePasswordRequest,
    member: CurrentStaff,
    actor: Actor,
  ): Promise<void> {
    const verifiedHash = await this.verify(currentPassword, member, actor);
    const passwordHash = await this.inTurn(member.id, () => hashPassword(newPassword));
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
