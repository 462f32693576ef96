import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { DataSource, type EntityManager, IsNull, MoreThan, Not, Repository } from 'typeorm';
import { AuditService, type Changes } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { every } from '../common/every.ts';
import type { Actor } from '../common/request-context.ts';
import { Config } from '../config/config.ts';
import { EncryptionService } from '../encryption/encryption.service.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import type { HandoverDto, RevealedDto } from './handover.dto.ts';
import { Handover } from './handover.entity.ts';
import {
  AlreadyRevealedError,
  HandoverGoneError,
  HandoverNotFoundError,
  HandoverOfNobodyError,
  TooManyRevealsError,
} from './handover.errors.ts';

/** A link for the partner in place of the password: what staff are told, this once. */
export interface HandoverLink {
  /** The secret stands in the fragment, which browsers keep to themselves. */
  readonly handoverUrl: string;
  readonly handover: { readonly id: string; readonly expiresAt: Date };
}

/** The account and the credential that a link is for. */
export interface HandoverSubject {
  readonly channelUser: { readonly id: string; readonly username: string };
  readonly credential: { readonly id: string; readonly expiresAt: Date | null };
}

/** Who asks for a password. */
interface Caller {
  readonly requestId: string;
  readonly address: string | undefined;
}

const DEFAULT_TTL_SECONDS = 72 * 3600;
const SECRET_BYTES = 32;
const WIPE_MS = 600_000;
/** Any number will do, as long as every instance takes the same. */
const WIPE_LOCK = 7_236_010;
const REENCRYPTED_AT_ONCE = 500;

const hashOf = (secret: string): Buffer => createHash('sha256').update(secret).digest();

const sealContext = (id: string): string => `handover:${id}`;

/**
 * Links that show a password once. Until then it is kept encrypted; after that, and when the link has expired or was
 * revoked, it is wiped.
 *
 * Whatever ends a link holds the row of its channel user, as everything does that ends a credential: of two that come
 * at once, the second sees what the first did.
 */
@Injectable()
export class HandoverService implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger(HandoverService.name);
  #timer: NodeJS.Timeout | undefined;

  constructor(
    @InjectRepository(Handover) private readonly handovers: Repository<Handover>,
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly audit: AuditService,
    private readonly throttle: ThrottleService,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    this.#timer = every(
      WIPE_MS,
      () => this.wipe(),
      (reason) => {
        this.#logger.warn(`The passwords of expired links stay for now: ${reason}`);
      },
    );
  }

  onModuleDestroy(): void {
    clearInterval(this.#timer);
  }

  /**
   * Makes a link for a new password, in the transaction that makes the credential.
   *
   * @param options `ttlSeconds`: how long the link works, at most as long as the credential
   */
  async create(
    manager: EntityManager,
    { channelUser, credential }: HandoverSubject,
    { password, ttlSeconds = DEFAULT_TTL_SECONDS }: { password: string; ttlSeconds?: number | undefined },
    actor: Actor,
  ): Promise<HandoverLink> {
    const id = randomUUID();
    const secret = randomBytes(SECRET_BYTES).toString('base64url');
    const now = this.clock.now();
    const expiresAt = new Date(Math.min(now + ttlSeconds * 1000, credential.expiresAt?.getTime() ?? Infinity));
    await manager.insert(Handover, {
      id,
      channelUserId: channelUser.id,
      credentialId: credential.id,
      secretHash: hashOf(secret),
      sealedPassword: this.encryption.encrypt(Buffer.from(password), sealContext(id)),
      createdAt: new Date(now),
      createdBy: actor.id,
      expiresAt,
    });
    this.#record(manager, 'handover.created', channelUser, actor, {
      handoverId: [null, id],
      credentialId: [null, credential.id],
      expiresAt: [null, expiresAt],
    });
    return { handoverUrl: `${this.config.publicUrl}/handover#${secret}`, handover: { id, expiresAt } };
  }

  /**
   * Shows a password, this once, and wipes it. Failures are counted by address; a link that works is never refused for
   * them, since nobody finds one by guessing.
   *
   * @param secret what follows the # of the link
   * @throws HandoverGoneError, the same whatever is wrong; TooManyRevealsError
   */
  async reveal(secret: string, caller: Caller): Promise<RevealedDto> {
    const known = await this.handovers.findOneBy({ secretHash: hashOf(secret) });
    const revealed = known && (await this.#reveal(known, caller));
    if (revealed) return revealed;
    const { handoverFailures } = this.throttle;
    const { waitMs } = await handoverFailures.standing(caller.address, '');
    if (waitMs > 0) {
      handoverFailures.noteRefusal();
      throw new TooManyRevealsError(Math.ceil(waitMs / 1000));
    }
    const after = await handoverFailures.fail(caller.address, '');
    if (known) await this.#noteRefusal(known.id, caller);
    throw after.limited ? new TooManyRevealsError(Math.ceil(after.waitMs / 1000)) : new HandoverGoneError();
  }

  /** Every link there ever was, newest first. @throws HandoverOfNobodyError */
  async list(channelUserId: string): Promise<HandoverDto[]> {
    const found = await this.handovers.find({
      where: { channelUserId },
      relations: { credential: true },
      order: { createdAt: 'DESC', id: 'DESC' },
    });
    if (found.length === 0) {
      const query = 'SELECT EXISTS (SELECT FROM channel_user WHERE id = $1) AS "exists"';
      const [row] = await this.dataSource.query<{ exists: boolean }[]>(query, [channelUserId]);
      if (row?.exists !== true) throw new HandoverOfNobodyError();
    }
    const now = this.clock.now();
    return found.map((handover) => ({
      id: handover.id,
      credentialId: handover.credentialId,
      status: handover.statusAt(now),
      createdAt: handover.createdAt,
      expiresAt: handover.expiresAt,
      revealedAt: handover.revealedAt,
      revealedAddress: handover.revealedAddress,
    }));
  }

  /**
   * Ends a link and wipes its password; the credential stays. Revoking twice changes nothing.
   *
   * @throws HandoverNotFoundError, AlreadyRevealedError
   */
  async revoke(channelUserId: string, id: string, actor: Actor): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const handover = await this.#hold(manager, { id, channelUserId });
      if (!handover?.channelUser) throw new HandoverNotFoundError();
      if (handover.revealedAt !== null) throw new AlreadyRevealedError();
      if (handover.revokedAt !== null) return;
      await this.#revoke(manager, handover, handover.channelUser, actor);
    });
  }

  /**
   * Ends the links that wait to show the password of a credential, in the transaction that revokes the credential and
   * holds its account.
   */
  async revokeFor(manager: EntityManager, { channelUser, credential }: HandoverSubject, actor: Actor): Promise<void> {
    const waiting = await manager.find(Handover, {
      where: { credentialId: credential.id, revealedAt: IsNull(), revokedAt: IsNull() },
      relations: { credential: true },
    });
    for (const handover of waiting) await this.#revoke(manager, handover, channelUser, actor);
  }

  /** Wipes the passwords of links that have expired. Of several instances one does it. */
  async wipe(): Promise<void> {
    await this.dataSource.transaction(async (manager) => {
      const [lock] = await manager.query<{ taken: boolean }[]>('SELECT pg_try_advisory_xact_lock($1) AS taken', [
        WIPE_LOCK,
      ]);
      if (lock?.taken !== true) return;
      await manager.query(
        `UPDATE handover SET sealed_password = NULL FROM credential
           WHERE credential.id = handover.credential_id AND handover.sealed_password IS NOT NULL
             AND LEAST(handover.expires_at, credential.expires_at, credential.revoked_at) <= $1`,
        [new Date(this.clock.now())],
      );
    });
  }

  /**
   * Encrypts the passwords that wait anew under the newest key encryption key, in steps that can be interrupted.
   *
   * @returns how many were under another one
   */
  async reencrypt(): Promise<number> {
    let after = '00000000-0000-0000-0000-000000000000';
    let count = 0;
    for (;;) {
      const rows = await this.handovers.find({
        select: { id: true, sealedPassword: true },
        where: { id: MoreThan(after), sealedPassword: Not(IsNull()) },
        order: { id: 'ASC' },
        take: REENCRYPTED_AT_ONCE,
      });
      for (const { id, sealedPassword } of rows) {
        after = id;
        const resealed = sealedPassword && this.encryption.renewed(sealedPassword, sealContext(id));
        if (!resealed) continue;
        // Only what was read: it may have been revealed or wiped meanwhile.
        await this.handovers.update({ id, sealedPassword }, { sealedPassword: resealed });
        count++;
      }
      if (rows.length < REENCRYPTED_AT_ONCE) return count;
    }
  }

  /** @returns nothing when the link does not work any more */
  #reveal({ id, channelUserId }: Handover, caller: Caller): Promise<RevealedDto | undefined> {
    return this.audit.transaction(async (manager) => {
      const handover = await this.#hold(manager, { id, channelUserId });
      const now = this.clock.now();
      const { channelUser, credential, sealedPassword } = handover ?? {};
      if (!channelUser || !credential || !sealedPassword || handover?.statusAt(now) !== 'waiting') return undefined;
      const password = this.encryption.decrypt(sealedPassword, sealContext(id)).toString();
      await manager.update(
        Handover,
        { id },
        { sealedPassword: null, revealedAt: new Date(now), revealedAddress: caller.address ?? null },
      );
      this.#record(manager, 'handover.revealed', channelUser, byAnybody(caller), {
        handoverId: [id, id],
        credentialId: [credential.id, credential.id],
        status: ['waiting', 'revealed'],
      });
      return {
        username: channelUser.username,
        password,
        displayName: channelUser.displayName,
        tokenEndpoint: `${this.config.publicUrl}/generateToken`,
        fingerprint: credential.fingerprint,
      };
    });
  }

  /** That somebody tried a link that had worked once: staff should know, it may not be the one who revealed it. */
  async #noteRefusal(id: string, caller: Caller): Promise<void> {
    await this.audit.transaction(async (manager) => {
      const handover = await manager.findOne(Handover, {
        where: { id },
        relations: { channelUser: true, credential: true },
      });
      if (!handover?.channelUser) return;
      const status = handover.statusAt(this.clock.now());
      this.#record(manager, 'handover.refused', handover.channelUser, byAnybody(caller), {
        handoverId: [id, id],
        credentialId: [handover.credentialId, handover.credentialId],
        status: [status, status],
      });
    });
  }

  /** Reads a link as it is once its channel user's row is held; with its password, its account and its credential. */
  async #hold(manager: EntityManager, { id, channelUserId }: Pick<Handover, 'id' | 'channelUserId'>) {
    // A statement of its own: one that waits for a lock sees everything else as it was before.
    await manager.query('SELECT FROM channel_user WHERE id = $1 FOR UPDATE', [channelUserId]);
    return manager
      .createQueryBuilder(Handover, 'handover')
      .addSelect('handover.sealedPassword')
      .innerJoinAndSelect('handover.channelUser', 'channelUser')
      .innerJoinAndSelect('handover.credential', 'credential')
      .where('handover.id = :id AND handover.channelUserId = :channelUserId', { id, channelUserId })
      .getOne();
  }

  async #revoke(
    manager: EntityManager,
    handover: Handover,
    channelUser: HandoverSubject['channelUser'],
    actor: Actor,
  ): Promise<void> {
    const { id, credentialId } = handover;
    const now = this.clock.now();
    await manager.update(Handover, { id }, { sealedPassword: null, revokedAt: new Date(now) });
    this.#record(manager, 'handover.revoked', channelUser, actor, {
      handoverId: [id, id],
      credentialId: [credentialId, credentialId],
      status: [handover.statusAt(now), 'revoked'],
    });
  }

  #record(
    manager: EntityManager,
    action: string,
    { id, username }: HandoverSubject['channelUser'],
    actor: Actor,
    changes: Changes,
  ): void {
    this.audit.record(manager, { actor, action, target: { type: 'channel-user', id, name: username }, changes });
  }
}

/** Whoever has the link: Latchkey cannot know who that is, only where from. */
function byAnybody({ requestId, address }: Caller): Actor {
  return { type: 'system', id: null, name: 'system', address: address ?? null, requestId };
}
