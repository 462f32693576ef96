import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, LessThan, Not, Repository } from 'typeorm';
import { AuditService, type Changes } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import type { Actor, CurrentStaff } from '../common/request-context.ts';
import { EncryptionService } from '../encryption/encryption.service.ts';
import { SettingsService } from '../settings/settings.service.ts';
import { OwnPasswordService } from './own-password.service.ts';
import { RecoveryCode } from './recovery-code.entity.ts';
import {
  generateRecoveryCodes,
  generateTotpSecret,
  recoveryCodeHash,
  totpDigits,
  totpStepOf,
  totpUri,
} from './second-factor-code.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { ConfirmTotpRequest, CurrentPasswordRequest, RecoveryCodesDto, TotpSecretDto } from './staff.dto.ts';
import { NO_SECOND_FACTOR, Staff } from './staff.entity.ts';
import {
  InvalidCodeError,
  NoPendingSecondFactorError,
  NoSecondFactorError,
  SecondFactorRequiredError,
  TotpLockedError,
  WrongCodeError,
} from './staff.errors.ts';

/**
 * NIST SP 800-63B §3.2.2: how often one account may be guessed at, from wherever. Whoever does it knows the password
 * already, so that nobody else can use the lock to keep a person out; recovery codes still open it.
 */
const MAX_TOTP_ATTEMPTS = 50;

/** What somebody proved to have besides the password. Each is good for one sign-in. */
export type SecondFactorProof = { readonly totpStep: number } | { readonly recoveryCodeHash: string };

const sealContext = (staffId: string): string => `totp:${staffId}`;

/** The second factor of staff: TOTP (RFC 6238), and recovery codes for when the authenticator is lost. */
@Injectable()
export class SecondFactorService {
  constructor(
    @InjectRepository(Staff) private readonly staff: Repository<Staff>,
    private readonly ownPassword: OwnPasswordService,
    private readonly settings: SettingsService,
    private readonly encryption: EncryptionService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  /** Whether all staff must have one. */
  async isRequired(): Promise<boolean> {
    return (await this.settings.get()).secondFactorRequired;
  }

  /**
   * Looks at the code of a sign-in whose password was right. That it is used once, {@link use} sees to.
   *
   * @param member with the secret
   * @param code of the authenticator, or a recovery code
   * @throws InvalidCodeError, TotpLockedError
   */
  async verify({ id, totpSecret }: Staff, code: string): Promise<SecondFactorProof> {
    const digits = totpDigits(code);
    if (digits === undefined || !totpSecret) {
      const hash = recoveryCodeHash(code);
      if (hash === undefined) throw new InvalidCodeError();
      return { recoveryCodeHash: hash };
    }
    // Counted before it is looked at: of many at once no more get through.
    const { affected } = await this.staff.update(
      { id, totpAttempts: LessThan(MAX_TOTP_ATTEMPTS) },
      { totpAttempts: () => 'totp_attempts + 1' },
    );
    if (affected !== 1) throw new TotpLockedError();
    const totpStep = totpStepOf(this.#open(id, totpSecret), digits, this.clock.now());
    if (totpStep === undefined) throw new InvalidCodeError();
    return { totpStep };
  }

  /**
   * Uses a proof up, in the transaction of what it is for.
   *
   * @returns what the audit trail should know
   * @throws InvalidCodeError when it was used before, or is none of this person's
   */
  async use(manager: EntityManager, staffId: string, proof: SecondFactorProof): Promise<Changes> {
    if ('totpStep' in proof) {
      const { totpStep } = proof;
      const { affected } = await manager.update(
        Staff,
        { id: staffId, lastTotpStep: LessThan(totpStep) },
        { lastTotpStep: totpStep, totpAttempts: 0 },
      );
      if (affected !== 1) throw new InvalidCodeError();
      return {};
    }
    const { affected } = await manager.delete(RecoveryCode, { staffId, codeHash: proof.recoveryCodeHash });
    if (affected !== 1) throw new InvalidCodeError();
    await manager.update(Staff, { id: staffId }, { totpAttempts: 0 });
    const left = await manager.countBy(RecoveryCode, { staffId });
    return { recoveryCodesLeft: [left + 1, left] };
  }

  /**
   * Makes a secret for an authenticator. It counts for nothing until a code of it confirms that it has arrived; one
   * that is in use stays so until then.
   *
   * @throws WrongPasswordError, TooManyAttemptsError
   */
  async enrol({ currentPassword }: CurrentPasswordRequest, member: CurrentStaff, actor: Actor): Promise<TotpSecretDto> {
    await this.ownPassword.verify(currentPassword, member, actor);
    const secret = generateTotpSecret();
    const pendingTotpSecret = this.encryption.encrypt(Buffer.from(secret), sealContext(member.id));
    await this.staff.update({ id: member.id }, { pendingTotpSecret });
    return { secret, uri: totpUri(secret, member.email) };
  }

  /**
   * Puts the pending secret to use and ends the person's other sessions, which were opened without it.
   *
   * @throws NoPendingSecondFactorError, WrongCodeError, TooManyAttemptsError
   */
  async confirm({ code }: ConfirmTotpRequest, member: CurrentStaff, actor: Actor): Promise<RecoveryCodesDto> {
    const { id } = member;
    const { step, totpSecret } = await this.ownPassword.attempt(`code of ${id}`, actor, WrongCodeError, async () => {
      const stored = await this.staff.findOne({ where: { id }, select: { id: true, pendingTotpSecret: true } });
      const pending = stored?.pendingTotpSecret;
      if (!pending) throw new NoPendingSecondFactorError();
      const digits = totpDigits(code);
      const found = digits && totpStepOf(this.#open(id, pending), digits, this.clock.now());
      return found ? { step: found, totpSecret: pending } : undefined;
    });
    const secondFactorAt = new Date(this.clock.now());
    return this.audit.transaction(async (manager) => {
      const { affected } = await manager.update(
        Staff,
        { id, pendingTotpSecret: totpSecret },
        { secondFactorAt, totpSecret, pendingTotpSecret: null, lastTotpStep: step, totpAttempts: 0 },
      );
      if (affected !== 1) throw new NoPendingSecondFactorError();
      await manager.delete(StaffSession, { staffId: id, id: Not(member.session.id) });
      const recoveryCodes = await this.#replaceRecoveryCodes(manager, id);
      this.#record(
        manager,
        member.secondFactor ? 'staff.second-factor-replaced' : 'staff.second-factor-enabled',
        member,
        actor,
        {
          secondFactor: [member.secondFactor, true],
        },
      );
      return { recoveryCodes };
    });
  }

  /**
   * Makes new recovery codes; the old ones are dead.
   *
   * @throws WrongPasswordError, TooManyAttemptsError, NoSecondFactorError
   */
  async renewRecoveryCodes(
    { currentPassword }: CurrentPasswordRequest,
    member: CurrentStaff,
    actor: Actor,
  ): Promise<RecoveryCodesDto> {
    await this.ownPassword.verify(currentPassword, member, actor);
    return this.audit.transaction(async (manager) => {
      await this.#lock(manager, member.id);
      const recoveryCodes = await this.#replaceRecoveryCodes(manager, member.id);
      this.#record(manager, 'staff.recovery-codes-renewed', member, actor);
      return { recoveryCodes };
    });
  }

  /**
   * @throws WrongPasswordError, TooManyAttemptsError, SecondFactorRequiredError, NoSecondFactorError
   */
  async disable({ currentPassword }: CurrentPasswordRequest, member: CurrentStaff, actor: Actor): Promise<void> {
    await this.ownPassword.verify(currentPassword, member, actor);
    if (await this.isRequired()) throw new SecondFactorRequiredError();
    await this.audit.transaction(async (manager) => {
      await this.#lock(manager, member.id);
      await manager.update(Staff, { id: member.id }, NO_SECOND_FACTOR);
      await manager.delete(RecoveryCode, { staffId: member.id });
      this.#record(manager, 'staff.second-factor-disabled', member, actor, { secondFactor: [true, false] });
    });
  }

  /**
   * Encrypts the secrets anew under the newest key encryption key.
   *
   * @returns of how many people
   */
  async reencrypt(): Promise<number> {
    const members = await this.staff.find({ select: { id: true, totpSecret: true, pendingTotpSecret: true } });
    let count = 0;
    for (const { id, totpSecret, pendingTotpSecret } of members) {
      const anew = [
        ['totpSecret', totpSecret],
        ['pendingTotpSecret', pendingTotpSecret],
      ] as const;
      let isOutdated = false;
      for (const [column, sealed] of anew) {
        const resealed = sealed && this.encryption.renewed(sealed, sealContext(id));
        if (!resealed) continue;
        // Only what was read: it may have been replaced or removed meanwhile.
        await this.staff.update({ id, [column]: sealed }, { [column]: resealed });
        isOutdated = true;
      }
      if (isOutdated) count++;
    }
    return count;
  }

  #open(staffId: string, sealed: Buffer): string {
    return this.encryption.decrypt(sealed, sealContext(staffId)).toString();
  }

  /** @throws NoSecondFactorError */
  async #lock(manager: EntityManager, id: string): Promise<void> {
    const member = await manager.findOne(Staff, { where: { id }, lock: { mode: 'pessimistic_write' } });
    if (!member?.secondFactorAt) throw new NoSecondFactorError();
  }

  async #replaceRecoveryCodes(manager: EntityManager, staffId: string): Promise<string[]> {
    const codes = generateRecoveryCodes();
    await manager.delete(RecoveryCode, { staffId });
    await manager.insert(
      RecoveryCode,
      codes.map(({ hash }) => ({ staffId, codeHash: hash })),
    );
    return codes.map(({ code }) => code);
  }

  #record(
    manager: EntityManager,
    action: string,
    { id, name }: CurrentStaff,
    actor: Actor,
    changes: Changes = {},
  ): void {
    this.audit.record(manager, { actor, action, target: { type: 'staff', id, name }, changes });
  }
}
