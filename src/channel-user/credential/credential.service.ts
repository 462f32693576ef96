import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, type EntityManager, Repository } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { HandoverService } from '../handover/handover.service.ts';
import { changeAccount } from '../model/channel-user-change.ts';
import { ChannelUser } from '../model/channel-user.entity.ts';
import { ChannelUserNotFoundError } from '../model/channel-user.errors.ts';
import type { CreateCredentialRequest, CredentialDto, Delivery, IssuedCredentialDto } from './credential.dto.ts';
import { Credential } from '../model/credential.entity.ts';
import { CredentialNotFoundError, TooManyCredentialsError } from './credential.errors.ts';
import { LastUseService } from './last-use.service.ts';
import { generatePassword } from '../../password/secret-hash.ts';

const MAX_LIVE = 5;
const DEFAULT_OVERLAP_SECONDS = 86_400;
/** A created credential with its password, from which {@link CredentialService.deliver} makes the answer. */
interface NewCredential extends CredentialDto {
  readonly password: string;
}

/** Adds, retires and revokes the passwords of a channel user. A stored password can never be read. */
@Injectable()
export class CredentialService {
  constructor(
    @InjectRepository(Credential) private readonly credentials: Repository<Credential>,
    private readonly dataSource: DataSource,
    readonly audit: AuditService,
    private readonly handovers: HandoverService,
    readonly feed: ChangeFeed,
    private readonly clock: Clock,
    private readonly lastUses: LastUseService,
  ) {
    audit.encryptFields(['label']);
  }

  toDto(credential: Credential): CredentialDto {
    return {
      id: credential.id,
      label: credential.label,
      fingerprint: credential.fingerprint,
      status: credential.statusAt(this.clock.now()),
      createdAt: credential.createdAt,
      expiresAt: credential.expiresAt,
      revokedAt: credential.revokedAt,
      lastUsedAt: credential.lastUsedAt,
      lastUsedAddress: credential.lastUsedAddress,
      lastUsedUserAgent: credential.lastUsedUserAgent,
    };
  }

  /** Every credential there ever was, newest first. @throws ChannelUserNotFoundError */
  async list(channelUserId: string): Promise<CredentialDto[]> {
    await this.lastUses.settle();
    const found = await this.credentials.find({
      where: { channelUserId },
      order: { createdAt: 'DESC', id: 'DESC' },
    });
    // A channel user usually has credentials, so only an empty list makes it necessary to look for the channel user.
    if (found.length === 0 && !(await this.dataSource.manager.existsBy(ChannelUser, { id: channelUserId }))) {
      throw new ChannelUserNotFoundError();
    }
    return found.map((credential) => this.toDto(credential));
  }

  /** @throws CredentialNotFoundError */
  async get(channelUserId: string, id: string): Promise<Credential> {
    await this.lastUses.settle();
    const credential = await this.credentials.findOneBy({ id, channelUserId });
    if (!credential) throw new CredentialNotFoundError();
    return credential;
  }

  /**
   * Adds a credential and lets the other live ones expire.
   *
   * @throws ChannelUserNotFoundError, TooManyCredentialsError
   */
  create(channelUserId: string, request: CreateCredentialRequest, actor: Actor): Promise<IssuedCredentialDto> {
    const retireIn =
      request.retireOthersInSeconds === undefined ? DEFAULT_OVERLAP_SECONDS : request.retireOthersInSeconds;
    return changeAccount(this, channelUserId, async (manager, channelUser) => {
      const now = this.clock.now();
      const all = await manager.findBy(Credential, { channelUserId });
      const live = all.filter((credential) => credential.statusAt(now) === 'active');
      if ((retireIn === 0 ? 0 : live.length) + 1 > MAX_LIVE) throw new TooManyCredentialsError(MAX_LIVE);
      const created = await this.insert(manager, channelUser, {
        label: request.label ?? new Date(now).toISOString().slice(0, 10),
        expiresAt: request.expiresAt == null ? null : new Date(request.expiresAt),
      });
      this.recordCreated(manager, channelUser, created, actor);
      if (retireIn !== null) {
        await this.#retire(manager, channelUser, { live, created }, new Date(now + retireIn * 1000), actor);
      }
      return this.deliver(manager, channelUser, created, request, actor);
    });
  }

  /** Ends a credential and the tokens that it obtained, now. Revoking twice changes nothing. */
  async revoke(channelUserId: string, id: string, actor: Actor): Promise<void> {
    await changeAccount(this, channelUserId, async (manager, channelUser) => {
      const credential = await manager.findOneBy(Credential, { id, channelUserId });
      if (!credential) throw new CredentialNotFoundError();
      if (credential.revokedAt !== null) return;
      const now = this.clock.now();
      const before = credential.statusAt(now);
      await this.handovers.revokeFor(manager, { channelUser, credential }, actor);
      await manager.update(Credential, { id }, { revokedAt: new Date(now), keyedHash: null });
      if (!credential.superseded) await this.#reinstate(manager, channelUserId, now);
      this.#record(manager, 'credential.revoked', channelUser, actor, {
        credentialId: [id, id],
        label: [credential.label, credential.label],
        status: [before, 'revoked'],
      });
    });
  }

  /** Inserts a generated credential in the caller's transaction. */
  async insert(
    manager: EntityManager,
    { id: channelUserId }: ChannelUser,
    { label, expiresAt }: { label: string; expiresAt: Date | null },
  ): Promise<NewCredential> {
    const { password, fingerprint, secretHash } = generatePassword();
    const credential = manager.create(Credential, {
      channelUserId,
      label,
      fingerprint,
      secretHash,
      createdAt: new Date(this.clock.now()),
      expiresAt,
      superseded: false,
      revokedAt: null,
      keyedHash: null,
      lastUsedAt: null,
      lastUsedAddress: null,
      lastUsedUserAgent: null,
    });
    await manager.insert(Credential, credential);
    return { ...this.toDto(credential), password };
  }

  /** The answer to staff: the new password, or a link that shows it to the partner. */
  async deliver(
    manager: EntityManager,
    channelUser: ChannelUser,
    { password, ...credential }: NewCredential,
    { deliver, linkTtlSeconds }: Delivery,
    actor: Actor,
  ): Promise<IssuedCredentialDto> {
    if (deliver !== 'link') return { credential: { ...credential, password } };
    const subject = { channelUser, credential };
    const link = await this.handovers.create(manager, subject, { password, ttlSeconds: linkTtlSeconds }, actor);
    return { credential, ...link };
  }

  recordCreated(
    manager: EntityManager,
    channelUser: ChannelUser,
    { id, label, fingerprint, expiresAt }: CredentialDto,
    actor: Actor,
  ): void {
    this.#record(manager, 'credential.created', channelUser, actor, {
      credentialId: [null, id],
      label: [null, label],
      fingerprint: [null, fingerprint],
      expiresAt: [null, expiresAt],
    });
  }

  /** Lets live credentials expire at `at` unless they do so earlier, and marks those that the new one supersedes. */
  async #retire(
    manager: EntityManager,
    channelUser: ChannelUser,
    { live, created }: { live: Credential[]; created: NewCredential },
    at: Date,
    actor: Actor,
  ): Promise<void> {
    for (const { id, label, expiresAt } of live) {
      const end = expiresAt !== null && expiresAt <= at ? expiresAt : at;
      const superseded = created.expiresAt === null || created.expiresAt >= end;
      await manager.update(Credential, { id }, { expiresAt: end, ...(superseded && { superseded }) });
      if (end === expiresAt) continue;
      this.#record(manager, 'credential.retired', channelUser, actor, {
        credentialId: [id, id],
        label: [label, label],
        expiresAt: [expiresAt, at],
      });
    }
  }

  /** If all remaining live credentials are superseded, makes the newest the partner's current one again. */
  async #reinstate(manager: EntityManager, channelUserId: string, now: number): Promise<void> {
    const order = { createdAt: 'DESC', id: 'DESC' } as const;
    const all = await manager.find(Credential, { where: { channelUserId }, order });
    const live = all.filter((credential) => credential.statusAt(now) === 'active');
    const [newest] = live;
    if (!newest || live.some(({ superseded }) => !superseded)) return;
    await manager.update(Credential, { id: newest.id }, { superseded: false });
  }

  #record(
    manager: EntityManager,
    action: string,
    { id, username }: ChannelUser,
    actor: Actor,
    changes: Record<string, [unknown, unknown]>,
  ): void {
    this.audit.record(manager, { actor, action, target: { type: 'channel-user', id, name: username }, changes });
  }
}
