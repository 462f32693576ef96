import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { LRUCache } from 'lru-cache';
import { DataSource, type EntityManager, Repository } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import type { Actor } from '../common/request-context.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import { HandoverService } from '../handover/handover.service.ts';
import { changeAccount } from './account-change.ts';
import type { CreateCredentialRequest, CredentialDto, Delivery, NewCredentialAnswer } from './channel-user.dto.ts';
import { ChannelUser } from './channel-user.entity.ts';
import { ChannelUserNotFoundError, CredentialNotFoundError, TooManyCredentialsError } from './channel-user.errors.ts';
import { Credential } from './credential.entity.ts';
import { generatePassword } from './secret-hash.ts';

const MAX_LIVE = 5;
const DEFAULT_OVERLAP_SECONDS = 86_400;
/** `lastTokenAt` and `lastUsedAt` are exact to this, so that a busy partner does not make a hot row. */
const USE_RESOLUTION_MS = 60_000;
const MAX_NOTED_USES = 100_000;

/** That a credential obtained a token. */
export interface CredentialUse {
  readonly channelUserId: string;
  readonly credentialId: string;
  readonly at: Date;
  readonly address: string | null;
  readonly userAgent: string | null;
}

/** A credential as it was made: what {@link CredentialService.deliver} makes an answer of. */
interface NewCredential extends CredentialDto {
  readonly password: string;
}

/** Takes a JSON list of [id, time, address, user agent]. */
const noteUseStatement = (table: 'channel_user' | 'credential', column: string, more = ''): string => `
  WITH due AS (
    SELECT noted.id, (use ->> 1)::timestamptz AS at, use FROM jsonb_array_elements($1::jsonb) AS use
      JOIN ${table} AS noted ON noted.id = (use ->> 0)::uuid
      WHERE noted.${column} IS NULL OR noted.${column} < (use ->> 1)::timestamptz
      ORDER BY noted.id FOR NO KEY UPDATE OF noted
  )
  UPDATE ${table} SET ${column} = due.at${more} FROM due WHERE ${table}.id = due.id`;

const NOTE_ACCOUNTS = noteUseStatement('channel_user', 'last_token_at');
const NOTE_CREDENTIALS = noteUseStatement(
  'credential',
  'last_used_at',
  ', last_used_address = use ->> 2, last_used_user_agent = use ->> 3',
);

/** The passwords of a channel user: added, retired and revoked; never read. */
@Injectable()
export class CredentialService {
  /** Not written yet, by credential. */
  readonly #uses = new Map<string, CredentialUse>();
  #writtenUses = Promise.resolve();
  #isWritingUses = false;
  readonly #notedUses = new LRUCache<string, number>({ max: MAX_NOTED_USES });

  constructor(
    @InjectRepository(Credential) private readonly credentials: Repository<Credential>,
    private readonly dataSource: DataSource,
    readonly audit: AuditService,
    private readonly handovers: HandoverService,
    readonly feed: ChangeFeed,
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
      lastUsedAddress: credential.lastUsedAddress,
      lastUsedUserAgent: credential.lastUsedUserAgent,
    };
  }

  /** Every credential there ever was, newest first. @throws ChannelUserNotFoundError */
  async list(channelUserId: string): Promise<CredentialDto[]> {
    await this.writeUses();
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

  /** @throws CredentialNotFoundError */
  async get(channelUserId: string, id: string): Promise<Credential> {
    await this.writeUses();
    const credential = await this.credentials.findOneBy({ id, channelUserId });
    if (!credential) throw new CredentialNotFoundError();
    return credential;
  }

  /**
   * Adds a credential and lets the other live ones expire.
   *
   * @throws ChannelUserNotFoundError, TooManyCredentialsError
   */
  create(channelUserId: string, request: CreateCredentialRequest, actor: Actor): Promise<NewCredentialAnswer> {
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
        await this.#retire(manager, channelUser, live, new Date(now + retireIn * 1000), actor);
      }
      return this.deliver(manager, channelUser, created, request, actor);
    });
  }

  /** Ends a credential now, and the tokens it obtained. Revoking twice changes nothing. */
  async revoke(channelUserId: string, id: string, actor: Actor): Promise<void> {
    await changeAccount(this, channelUserId, async (manager, channelUser) => {
      const credential = await manager.findOneBy(Credential, { id, channelUserId });
      if (!credential) throw new CredentialNotFoundError();
      if (credential.revokedAt !== null) return;
      const now = this.clock.now();
      const before = credential.statusAt(now);
      await this.handovers.revokeFor(manager, { channelUser, credential }, actor);
      await manager.update(Credential, { id }, { revokedAt: new Date(now) });
      this.#record(manager, 'credential.revoked', channelUser, actor, {
        credentialId: [id, id],
        label: [credential.label, credential.label],
        status: [before, 'revoked'],
      });
    });
  }

  /** Remembers that a credential obtained a token, until {@link writeUses}. */
  noteUse(use: CredentialUse): void {
    const noted = this.#notedUses.get(use.credentialId);
    if (noted !== undefined && use.at.getTime() - noted < USE_RESOLUTION_MS) return;
    this.#notedUses.set(use.credentialId, use.at.getTime());
    this.#uses.set(use.credentialId, use);
  }

  get hasUses(): boolean {
    return this.#uses.size > 0;
  }

  /** Writes everything that {@link noteUse} was told before this call. */
  writeUses(): Promise<void> {
    if (this.#uses.size > 0 || this.#isWritingUses) {
      this.#writtenUses = this.#writtenUses.catch(() => undefined).then(() => this.#writeUses());
    }
    return this.#writtenUses;
  }

  /** Times only move forward; rows are locked in one order, so that two instances cannot wait for each other. */
  async #writeUses(): Promise<void> {
    const uses = [...this.#uses.values()];
    if (uses.length === 0) return;
    this.#uses.clear();
    this.#isWritingUses = true;
    try {
      const accounts = Map.groupBy(uses, ({ channelUserId }) => channelUserId);
      const latest = [...accounts].map(([id, ofOne]) => [id, ofOne.map(({ at }) => at).sort((a, b) => +b - +a)[0]]);
      await this.dataSource.query(NOTE_ACCOUNTS, [JSON.stringify(latest)]);
      const credentials = uses.map(({ credentialId, at, address, userAgent }) => [
        credentialId,
        at,
        address,
        userAgent,
      ]);
      await this.dataSource.query(NOTE_CREDENTIALS, [JSON.stringify(credentials)]);
    } catch (error) {
      for (const use of uses) if (!this.#uses.has(use.credentialId)) this.#uses.set(use.credentialId, use);
      throw error;
    } finally {
      this.#isWritingUses = false;
    }
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
      revokedAt: null,
      lastUsedAt: null,
      lastUsedAddress: null,
      lastUsedUserAgent: null,
    });
    await manager.insert(Credential, credential);
    return { ...this.present(credential), password };
  }

  /** What staff are told of a new credential: its password, or a link that shows it to the partner. */
  async deliver(
    manager: EntityManager,
    channelUser: ChannelUser,
    { password, ...credential }: NewCredential,
    { deliver, linkTtlSeconds }: Delivery,
    actor: Actor,
  ): Promise<NewCredentialAnswer> {
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
      this.#record(manager, 'credential.retired', channelUser, actor, {
        credentialId: [id, id],
        label: [label, label],
        expiresAt: [expiresAt, at],
      });
    }
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
