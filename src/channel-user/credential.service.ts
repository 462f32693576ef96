import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, type EntityManager, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import type { Actor } from '../common/request-context.ts';
import type { CreateCredentialRequest, CredentialDto, NewCredentialDto } from './channel-user.dto.ts';
import { ChannelUser } from './channel-user.entity.ts';
import { ChannelUserNotFoundError, CredentialNotFoundError, TooManyCredentialsError } from './channel-user.errors.ts';
import { Credential } from './credential.entity.ts';
import { generatePassword, passwordMatches } from './secret-hash.ts';

const MAX_LIVE = 5;
const DEFAULT_OVERLAP_SECONDS = 86_400;
/** `lastTokenAt` and `lastUsedAt` are exact to this, so that a busy partner does not make a hot row. */
const USE_RESOLUTION_MS = 60_000;

/** The passwords of a channel user: added, retired and revoked; never read. */
@Injectable()
export class CredentialService {
  constructor(
    @InjectRepository(Credential) private readonly credentials: Repository<Credential>,
    private readonly dataSource: DataSource,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  present(credential: Credential): CredentialDto {
    return {
      id: credential.id,
      label: credential.label,
      fingerprint: credential.fingerprint,
      status: credential.statusAt(this.clock.now()),
      createdAt: credential.createdAt,
      expiresAt: credential.expiresAt,
      revokedAt: credential.revokedAt,
      lastUsedAt: credential.lastUsedAt,
    };
  }

  /** Every credential there ever was, newest first. @throws ChannelUserNotFoundError */
  async list(channelUserId: string): Promise<CredentialDto[]> {
    const found = await this.credentials.find({
      where: { channelUserId },
      order: { createdAt: 'DESC', id: 'DESC' },
    });
    // A channel user always has credentials: only when there are none is it worth asking why.
    if (found.length === 0 && !(await this.dataSource.manager.existsBy(ChannelUser, { id: channelUserId }))) {
      throw new ChannelUserNotFoundError();
    }
    return found.map((credential) => this.present(credential));
  }

  /**
   * Adds a credential and lets the other live ones expire.
   *
   * @throws ChannelUserNotFoundError, TooManyCredentialsError
   */
  create(channelUserId: string, request: CreateCredentialRequest, actor: Actor): Promise<NewCredentialDto> {
    const retireIn =
      request.retireOthersInSeconds === undefined ? DEFAULT_OVERLAP_SECONDS : request.retireOthersInSeconds;
    return this.dataSource.transaction(async (manager) => {
      const channelUser = await this.#lockOwner(manager, channelUserId);
      const now = this.clock.now();
      const all = await manager.findBy(Credential, { channelUserId });
      const live = all.filter((credential) => credential.statusAt(now) === 'active');
      if ((retireIn === 0 ? 0 : live.length) + 1 > MAX_LIVE) throw new TooManyCredentialsError(MAX_LIVE);
      const created = await this.insert(manager, channelUser, {
        label: request.label ?? new Date(now).toISOString().slice(0, 10),
        expiresAt: request.expiresAt == null ? null : new Date(request.expiresAt),
      });
      await this.recordCreated(manager, channelUser, created, actor);
      if (retireIn !== null) {
        await this.#retire(manager, channelUser, live, new Date(now + retireIn * 1000), actor);
      }
      return created;
    });
  }

  /** Ends a credential now, and the tokens it obtained. Revoking twice changes nothing. */
  async revoke(channelUserId: string, id: string, actor: Actor): Promise<void> {
    await this.dataSource.transaction(async (manager) => {
      const channelUser = await this.#lockOwner(manager, channelUserId);
      const credential = await manager.findOneBy(Credential, { id, channelUserId });
      if (!credential) throw new CredentialNotFoundError();
      if (credential.revokedAt !== null) return;
      const now = this.clock.now();
      const before = credential.statusAt(now);
      await manager.update(Credential, { id }, { revokedAt: new Date(now) });
      await this.#record(manager, 'credential.revoked', channelUser, actor, {
        credentialId: [id, id],
        label: [credential.label, credential.label],
        status: [before, 'revoked'],
      });
    });
  }

  /**
   * Finds the credential a password belongs to; a live one first, should several have the same.
   *
   * @param candidates with their hashes, as {@link ChannelUserService.findForSignIn} reads them
   */
  match(candidates: Credential[], password: string): Credential | undefined {
    const now = this.clock.now();
    const rank = { active: 0, expired: 1, revoked: 2 };
    return candidates
      .filter(({ secretHash }) => passwordMatches(password, secretHash))
      .sort((a, b) => rank[a.statusAt(now)] - rank[b.statusAt(now)])[0];
  }

  /** Notes that a credential obtained a token, at most once a minute. */
  async noteUse(channelUser: ChannelUser, credential: Credential): Promise<void> {
    const now = this.clock.now();
    const isNoted = (at: Date | null): boolean => at !== null && now - at.getTime() < USE_RESOLUTION_MS;
    const at = new Date(now);
    if (!isNoted(channelUser.lastTokenAt)) {
      await this.dataSource.manager.update(ChannelUser, { id: channelUser.id }, { lastTokenAt: at });
    }
    if (!isNoted(credential.lastUsedAt)) await this.credentials.update({ id: credential.id }, { lastUsedAt: at });
  }

  /** Inserts a generated credential in the caller's transaction. */
  async insert(
    manager: EntityManager,
    { id: channelUserId }: ChannelUser,
    { label, expiresAt }: { label: string; expiresAt: Date | null },
  ): Promise<NewCredentialDto> {
    const { password, fingerprint, secretHash } = generatePassword();
    const credential = manager.create(Credential, {
      channelUserId,
      label,
      fingerprint,
      secretHash,
      createdAt: new Date(this.clock.now()),
      expiresAt,
      revokedAt: null,
      lastUsedAt: null,
    });
    await manager.insert(Credential, credential);
    return { ...this.present(credential), password };
  }

  recordCreated(
    manager: EntityManager,
    channelUser: ChannelUser,
    { id, label, fingerprint, expiresAt }: CredentialDto,
    actor: Actor,
  ): Promise<void> {
    return this.#record(manager, 'credential.created', channelUser, actor, {
      credentialId: [null, id],
      label: [null, label],
      fingerprint: [null, fingerprint],
      expiresAt: [null, expiresAt],
    });
  }

  /** Moves expiries forward, never back. */
  async #retire(
    manager: EntityManager,
    channelUser: ChannelUser,
    live: Credential[],
    at: Date,
    actor: Actor,
  ): Promise<void> {
    for (const { id, label, expiresAt } of live) {
      if (expiresAt !== null && expiresAt <= at) continue;
      await manager.update(Credential, { id }, { expiresAt: at });
      await this.#record(manager, 'credential.retired', channelUser, actor, {
        credentialId: [id, id],
        label: [label, label],
        expiresAt: [expiresAt, at],
      });
    }
  }

  /** Changes of one account's credentials happen one after the other. */
  async #lockOwner(manager: EntityManager, id: string): Promise<ChannelUser> {
    const channelUser = await manager.findOne(ChannelUser, { where: { id }, lock: { mode: 'pessimistic_write' } });
    if (!channelUser) throw new ChannelUserNotFoundError();
    return channelUser;
  }

  #record(
    manager: EntityManager,
    action: string,
    { id, username }: ChannelUser,
    actor: Actor,
    changes: Record<string, [unknown, unknown]>,
  ): Promise<void> {
    return this.audit.record(manager, { actor, action, target: { type: 'channel-user', id, name: username }, changes });
  }
}
