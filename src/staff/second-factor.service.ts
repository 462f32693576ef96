import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, LessThan, Not, Repository } from 'typeorm';
import { AuditService, type Changes } from '../audit/audit.service.ts';
import { Clock } from '../platform/common/clock.ts';
import type { Actor, CurrentStaff } from '../platform/common/principal.ts';
import { EncryptionService } from '../platform/encryption/encryption.service.ts';
import { reencryptColumn } from '../platform/encryption/reencryption.ts';
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
 * Wrong codes after which an account's TOTP is locked, from all addresses together (NIST SP 800-63B §3.2.2). Trying a
 * code takes the right password, so outsiders cannot lock anyone out, and recovery codes still work.
 */
const MAX_TOTP_ATTEMPTS = 50;

/** Proof of the second factor. Each proof is good for one sign-in. */
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

  /** Whether all staff must have a second factor. */
  async isRequired(): Promise<boolean> {
    return (await this.settings.get()).secondFactorRequired;
  }

  /**
   * Checks the code of a sign-in whose password was right. {@link use} makes sure that each code is used only once.
   *
   * @param member the staff member, with the TOTP secret
   * @param code a code of the authenticator, or a recovery code
   * @returns the proof for {@link use}, which also looks up a recovery code
   * @throws InvalidCodeError, TotpLockedError
   */
  async verify({ id, totpSecret }: Staff, code: string): Promise<SecondFactorProof> {
    const digits = totpDigits(code);
    if (digits === undefined || !totpSecret) {
      const hash = recoveryCodeHash(code);
      if (hash === undefined) throw new InvalidCodeError();
      return { recoveryCodeHash: hash };
    }
    // Counts the attempt before the check, so that simultaneous attempts cannot exceed the limit.
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
   * Uses up a proof, in the transaction of the sign-in.
   *
   * @returns the changes for the audit trail
   * @throws InvalidCodeError when the code was used before, or is not a recovery code of this person
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
   * Creates a secret for an authenticator. It has no effect until {@link confirm} gets a code of it. Until then, the
   * present second factor stays in use.
   *
   * @throws WrongPasswordError, TooManyAttemptsError, UnavailableError
   */
  async enrol({ currentPassword }: CurrentPasswordRequest, member: CurrentStaff, actor: Actor): Promise<TotpSecretDto> {
    await this.ownPassword.verify(currentPassword, member, actor);
    const secret = generateTotpSecret();
    const pendingTotpSecret = this.encryption.encrypt(Buffer.from(secret), sealContext(member.id));
    await this.staff.update({ id: member.id }, { pendingTotpSecret });
    return { secret, uri: totpUri(secret, member.email) };
  }

  /**
   * Puts the pending secret into use and ends the person's other sessions, which were opened without it.
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
   * Creates new recovery codes. The old ones stop working.
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
   * Turns the second factor off and deletes the recovery codes.
   *
   * @throws WrongPasswordError, TooManyAttemptsError, SecondFactorRequiredError, NoSecondFactorError
   */
  async disable({ currentPassword }: CurrentPasswordRequest, member: CurrentStaff, actor: Actor): Promise<void> {
    await this.ownPassword.verify(currentPassword, member, actor);
    if (member.breakGlass || (await this.isRequired())) throw new SecondFactorRequiredError();
    await this.audit.transaction(async (manager) => {
      await this.#lock(manager, member.id);
      await manager.update(Staff, { id: member.id }, NO_SECOND_FACTOR);
      await manager.delete(RecoveryCode, { staffId: member.id });
      this.#record(manager, 'staff.second-factor-disabled', member, actor, { secondFactor: [true, false] });
    });
  }

  /**
   * Encrypts the secrets again under the newest key encryption key.
   *
   * @returns how many secrets an older key had encrypted
   */
  async reencrypt(): Promise<number> {
    let count = 0;
    for (const column of ['totp_secret', 'pending_totp_secret']) {
      count += await reencryptColumn(this.staff.manager, { table: 'staff', id: 'id', column }, (id, sealed) =>
        this.encryption.renewed(sealed, sealContext(id)),
      );
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
