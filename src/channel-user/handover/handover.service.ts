import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { randomBytes, randomUUID } from 'node:crypto';
import { type EntityManager, IsNull, Repository } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { Config } from '../../platform/config/config.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { EncryptionService } from '../../platform/encryption/encryption.service.ts';
import { ChannelUser } from '../model/channel-user.entity.ts';
import { ChannelUserNotFoundError } from '../model/channel-user.errors.ts';
import { CHANNEL_USER_TOPIC } from '../model/channel-user-change.ts';
import { withdrawCredential } from '../model/rotation.ts';
import type { HandoverDto } from './handover.dto.ts';
import { Handover } from './handover.entity.ts';
import { AlreadyRevealedError, HandoverNotFoundError } from './handover.errors.ts';
import { hashOf, lockHandover, recordHandover, sealContext } from './handover-row.ts';

/** A link for the partner. Staff get it once, in place of the password. */
export interface HandoverLink {
  /** The secret is in the fragment, which browsers do not send. */
  readonly handoverUrl: string;
  readonly handover: { readonly id: string; readonly expiresAt: Date };
}

/** The account and the credential that a link is for. */
export interface HandoverSubject {
  readonly channelUser: { readonly id: string; readonly username: string };
  readonly credential: { readonly id: string; readonly expiresAt: Date | null };
}

/** One of many links that are created at once. */
export interface BulkLink {
  readonly channelUserId: string;
  readonly credentialId: string;
  readonly password: string;
  readonly secret: string;
}

/** How long a link works unless staff say otherwise: three days. */
const DEFAULT_TTL_SECONDS = 72 * 3600;
const SECRET_BYTES = 32;
/**
 * Creates, lists and revokes links that show a password once. The password is stored encrypted, and wiped when the link
 * was revealed, revoked or has expired.
 */
@Injectable()
export class HandoverService {
  constructor(
    @InjectRepository(Handover) private readonly handovers: Repository<Handover>,
    private readonly encryption: EncryptionService,
    private readonly audit: AuditService,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly feed: ChangeFeed,
  ) {}

  /**
   * Creates a link for a new password, in the transaction that creates the credential.
   *
   * @param options `ttlSeconds`: how long the link works; it never outlives the credential
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
    recordHandover(this.audit, manager, 'handover.created', channelUser, actor, {
      handoverId: [null, id],
      credentialId: [null, credential.id],
      expiresAt: [null, expiresAt],
    });
    return { handoverUrl: this.urlOf(secret), handover: { id, expiresAt } };
  }

  /**
   * Creates links for many new passwords, in the transaction that creates their accounts. The caller audits them.
   *
   * @param links the links; each secret has 256 random bits in base64url, for {@link urlOf}
   * @returns when the links expire
   */
  async createMany(
    manager: EntityManager,
    links: readonly BulkLink[],
    actor: Actor,
    ttlSeconds = DEFAULT_TTL_SECONDS,
  ): Promise<Date> {
    const createdAt = new Date(this.clock.now());
    const expiresAt = new Date(createdAt.getTime() + ttlSeconds * 1000);
    const rows = links.map(({ channelUserId, credentialId, password, secret }) => {
      const id = randomUUID();
      const sealedPassword = this.encryption.encrypt(Buffer.from(password), sealContext(id));
      const secretHash = hashOf(secret);
      return { id, channelUserId, credentialId, secretHash, sealedPassword, createdAt, createdBy: actor.id, expiresAt };
    });
    if (rows.length > 0) await manager.insert(Handover, rows);
    return expiresAt;
  }

  /** The link with a secret, which goes into the fragment that browsers do not send. */
  urlOf(secret: string): string {
    return `${this.config.publicUrl}/handover#${secret}`;
  }

  /** All links of a channel user, including ended ones, newest first. @throws ChannelUserNotFoundError */
  async list(channelUserId: string): Promise<HandoverDto[]> {
    const found = await this.handovers.find({
      where: { channelUserId },
      relations: { credential: true },
      order: { createdAt: 'DESC', id: 'DESC' },
    });
    if (found.length === 0 && !(await this.handovers.manager.existsBy(ChannelUser, { id: channelUserId }))) {
      throw new ChannelUserNotFoundError();
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
   * Revokes a link and wipes its password. A pending credential is withdrawn with it, since nobody knows its password;
   * any other stays. Revoking twice changes nothing.
   *
   * @throws HandoverNotFoundError, AlreadyRevealedError
   */
  async revoke(channelUserId: string, id: string, actor: Actor): Promise<void> {
    try {
      await this.audit.transaction(async (manager) => {
        const handover = await lockHandover(manager, { id, channelUserId });
        if (!handover?.channelUser) throw new HandoverNotFoundError();
        if (handover.revealedAt !== null) throw new AlreadyRevealedError();
        if (handover.revokedAt !== null) return;
        const { channelUser, credential } = handover;
        await this.#revoke(manager, handover, channelUser, actor);
        const now = this.clock.now();
        if (credential?.statusAt(now) !== 'pending') return;
        await withdrawCredential(this.audit, manager, channelUser, credential, { at: new Date(now), actor });
      });
    } finally {
      this.feed.announce(CHANNEL_USER_TOPIC, channelUserId);
    }
  }

  /**
   * Revokes the unused links of a credential, in the transaction that has locked the account and revokes the
   * credential.
   */
  async revokeFor(manager: EntityManager, { channelUser, credential }: HandoverSubject, actor: Actor): Promise<void> {
    const waiting = await manager.find(Handover, {
      where: { credentialId: credential.id, revealedAt: IsNull(), revokedAt: IsNull() },
      relations: { credential: true },
    });
    for (const handover of waiting) await this.#revoke(manager, handover, channelUser, actor);
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
    recordHandover(this.audit, manager, 'handover.revoked', channelUser, actor, {
      handoverId: [id, id],
      credentialId: [credentialId, credentialId],
      status: [handover.statusAt(now), 'revoked'],
    });
  }
}
