import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { type EntityManager, IsNull, LessThan, MoreThan, Repository } from 'typeorm';
import { AuditService, type Changes } from '../audit/audit.service.ts';
import { Clock } from '../platform/common/clock.ts';
import type { Actor } from '../platform/common/principal.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { OwnPasswordService } from './own-password.service.ts';
import { PasswordLink } from './password-link.entity.ts';
import { hashPassword } from './staff-password.ts';
import { StaffSession } from './staff-session.entity.ts';
import type { PasswordLinkDto, UsePasswordLinkRequest, UsedPasswordLinkDto } from './staff.dto.ts';
import { Staff } from './staff.entity.ts';
import { PasswordLinkGoneError, TooManyLinksTriedError } from './staff.errors.ts';

/** Path of the page, relative to the origin of the staff API. */
export const PASSWORD_LINK_PATH = 'console/password-link';

/** How long a link works: three days. */
const TTL_MS = 72 * 3_600_000;
const SECRET_BYTES = 32;
/** Audited attempts per ended link. Further ones leave no event, so that nobody can fill the audit trail. */
const RECORDED_REFUSALS = 10;
/** The name under which failed attempts count, separate from those on hand-over links. */
const COUNTED_AS = 'password-link';

/** The staff member whose password a link sets. */
type Holder = Pick<Staff, 'id' | 'name'>;

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

/**
 * One-time links with which staff choose their own password, so that no admin ever knows it.
 *
 * Creating, using or revoking a link locks the row of its staff member, so that simultaneous changes happen one after
 * the other.
 */
@Injectable()
export class PasswordLinkService {
  constructor(
    @InjectRepository(PasswordLink) private readonly links: Repository<PasswordLink>,
    private readonly ownPassword: OwnPasswordService,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly clock: Clock,
  ) {}

  /**
   * Creates a link and revokes the unused one before it, in the transaction that sets a password that nobody knows.
   *
   * @param baseUrl origin of the staff API, as staff reach it
   */
  async create(manager: EntityManager, holder: Holder, baseUrl: string, actor: Actor): Promise<PasswordLinkDto> {
    await this.revokeFor(manager, holder, actor);
    const id = randomUUID();
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const now = this.clock.now();
    const expiresAt = new Date(now + TTL_MS);
    await manager.insert(PasswordLink, {
      id,
      staffId: holder.id,
      secretHash: hashOf(secret),
      createdAt: new Date(now),
      createdBy: actor.id,
      expiresAt,
    });
    this.#record(manager, 'password-link.created', holder, actor, { linkId: [null, id], expiresAt: [null, expiresAt] });
    // Browsers do not send the fragment, so no server, proxy or log sees the secret.
    return { link: `${baseUrl}/${PASSWORD_LINK_PATH}#${secret}`, linkExpiresAt: expiresAt };
  }

  /** Revokes a staff member's unused link, in a transaction that has locked the staff member. */
  async revokeFor(manager: EntityManager, holder: Holder, actor: Actor): Promise<void> {
    const now = new Date(this.clock.now());
    const where = { staffId: holder.id, usedAt: IsNull(), revokedAt: IsNull(), expiresAt: MoreThan(now) };
    for (const { id } of await manager.find(PasswordLink, { where })) {
      await manager.update(PasswordLink, { id }, { revokedAt: now });
      this.#record(manager, 'password-link.revoked', holder, actor, {
        linkId: [id, id],
        status: ['waiting', 'revoked'],
      });
    }
  }

  /**
   * Revokes every unused link. Run after a restore to an earlier time, which makes used links work again.
   *
   * @returns how many links were revoked
   */
  async revokeAll(actor: Actor): Promise<number> {
    const now = new Date(this.clock.now());
    const where = { usedAt: IsNull(), revokedAt: IsNull(), expiresAt: MoreThan(now) };
    const waiting = await this.links.find({ where, relations: { staff: true } });
    for (const { staff } of waiting) {
      if (!staff) continue;
      await this.audit.transaction(async (manager) => {
        await this.#lock(manager, staff.id);
        await this.revokeFor(manager, staff, actor);
      });
    }
    return waiting.length;
  }

  /**
   * Uses up a link: sets its holder's password and ends the holder's sessions. Failures are throttled by address, but a
   * working link is never refused, since its secret cannot be guessed.
   *
   * @throws PasswordLinkGoneError, the same for any broken link; TooManyLinksTriedError; UnavailableError
   */
  async use({ secret, newPassword }: UsePasswordLinkRequest, caller: Actor): Promise<UsedPasswordLinkDto> {
    const known = await this.links.findOneBy({ secretHash: hashOf(secret) });
    const isWaiting = known?.statusAt(this.clock.now()) === 'waiting';
    const used = isWaiting ? await this.#use(known, newPassword, caller) : undefined;
    if (used) return used;
    const { handoverFailures } = this.throttle;
    const address = caller.address ?? undefined;
    const { retryAfterMs } = await handoverFailures.stateOf(address, COUNTED_AS);
    if (retryAfterMs > 0) {
      handoverFailures.recordRefusal();
      throw new TooManyLinksTriedError(Math.ceil(retryAfterMs / 1000));
    }
    const after = await handoverFailures.fail(address, COUNTED_AS);
    if (known && known.refusals < RECORDED_REFUSALS) await this.#recordRefusal(known.id, caller);
    throw after.isLimited
      ? new TooManyLinksTriedError(Math.ceil(after.retryAfterMs / 1000))
      : new PasswordLinkGoneError();
  }

  /** @returns undefined when the link has stopped working in the meantime */
  async #use(
    { id, staffId }: PasswordLink,
    newPassword: string,
    caller: Actor,
  ): Promise<UsedPasswordLinkDto | undefined> {
    const passwordHash = await this.ownPassword.inTurn(staffId, () => hashPassword(newPassword));
    return this.audit.transaction(async (manager) => {
      const holder = await this.#lock(manager, staffId);
      const link = await manager.findOneBy(PasswordLink, { id });
      const now = this.clock.now();
      if (!holder || link?.statusAt(now) !== 'waiting') return undefined;
      await manager.update(PasswordLink, { id }, { usedAt: new Date(now) });
      await manager.update(Staff, { id: staffId }, { passwordHash });
      await manager.delete(StaffSession, { staffId });
      this.#record(manager, 'password-link.used', holder, caller, {
        linkId: [id, id],
        status: ['waiting', 'used'],
        password: ['', ''],
      });
      return { email: holder.email };
    });
  }

  /** Audits an attempt to use an ended link, up to `RECORDED_REFUSALS` times. */
  async #recordRefusal(id: string, caller: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const where = { id, refusals: LessThan(RECORDED_REFUSALS) };
      const { affected } = await manager.update(PasswordLink, where, { refusals: () => 'refusals + 1' });
      const link = await manager.findOne(PasswordLink, { where: { id }, relations: { staff: true } });
      if (affected !== 1 || !link?.staff) return;
      const status = link.statusAt(this.clock.now());
      this.#record(manager, 'password-link.refused', link.staff, caller, {
        linkId: [id, id],
        status: [status, status],
      });
    });
  }

  #lock(manager: EntityManager, id: string): Promise<Staff | null> {
    return manager.findOne(Staff, { where: { id }, lock: { mode: 'pessimistic_write' } });
  }

  #record(manager: EntityManager, action: string, { id, name }: Holder, actor: Actor, changes: Changes): void {
    this.audit.record(manager, { actor, action, target: { type: 'staff', id, name }, changes });
  }
}
