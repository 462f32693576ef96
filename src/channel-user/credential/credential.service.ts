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
import type { DescendantDto } from './credential-end.dto.ts';
import { Credential, PENDING_DAYS } from '../model/credential.entity.ts';
import { ONE_DAY } from '../model/channel-user.rules.ts';
import { descendantsOf } from '../model/descendants.ts';
import { beginnerOf, recordCredential, retireCredentials } from '../model/rotation.ts';
import { CredentialNotFoundError, TooManyCredentialsError } from './credential.errors.ts';
import { LastUseService } from './last-use.service.ts';
import { type Permit, RotationService } from './rotation.service.ts';
import { startedByOf, StarterNames } from './starter-names.service.ts';
import { generatePassword } from '../../password/secret-hash.ts';

const MAX_LIVE = 5;
const DEFAULT_OVERLAP_SECONDS = ONE_DAY;
const REVOKE_ONE = 'Revoke one, or retire the others at once.';
const END_ONE = 'End one that you no longer use.';

/** When the other credentials end; `seconds: null` leaves them as they are. */
interface Retirement {
  readonly after: 'first-use' | 'now';
  readonly seconds: number | null;
}

function retirementOf({ retireOthers, retireOthersInSeconds }: CreateCredentialRequest): Retirement {
  if (retireOthersInSeconds !== undefined) return { after: 'now', seconds: retireOthersInSeconds };
  const { after = 'first-use', seconds = DEFAULT_OVERLAP_SECONDS } = retireOthers ?? {};
  return { after, seconds };
}

/** What a new credential is made of. */
interface CredentialFields {
  readonly label: string;
  readonly expiresAt: Date | null;
  /** If given, the credential is pending, and the others end so many seconds after its first use. */
  readonly retireSeconds?: number | undefined;
  /** The credential whose password proved that the channel user itself creates this one. */
  readonly provedBy?: string | undefined;
}

/** A rotation by the channel user itself. */
interface OwnRotation {
  readonly provedBy: string;
  readonly permit: Permit;
}

/** A created credential with its password, from which {@link CredentialService.deliver} makes the answer. */
interface NewCredential extends CredentialDto {
  readonly password: string;
}

/** Adds and retires the passwords of a channel user. A stored password can never be read. */
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
    private readonly rotations: RotationService,
    private readonly names: StarterNames,
  ) {
    audit.encryptFields(['label']);
  }

  /** @param names of the staff who created credentials, by id */
  #toDto(credential: Credential, names: ReadonlyMap<string, string>): CredentialDto {
    const status = credential.statusAt(this.clock.now());
    const { createdAt, expiresAt, retireSeconds } = credential;
    const isPending = status === 'pending';
    const lastDay = createdAt.getTime() + PENDING_DAYS * ONE_DAY * 1000;
    return {
      id: credential.id,
      label: credential.label,
      fingerprint: credential.fingerprint,
      status,
      createdAt,
      expiresAt,
      revokedAt: credential.revokedAt,
      reportedLeakedAt: credential.reportedLeakedAt,
      pendingSince: isPending ? createdAt : null,
      pendingUntil: isPending ? new Date(Math.min(lastDay, expiresAt?.getTime() ?? Infinity)) : null,
      retireOthers: isPending && retireSeconds !== null ? { after: 'first-use', seconds: retireSeconds } : null,
      activatedAt: credential.activatedAt,
      startedBy: startedByOf(credential, names),
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
    const ids = found.map(({ begunById }) => begunById);
    const names = await this.names.of(this.credentials.manager, ids);
    return found.map((credential) => this.#toDto(credential, names));
  }

  /**
   * What was created with the password of a credential, and is neither revoked nor withdrawn, oldest first.
   *
   * @throws CredentialNotFoundError
   */
  async descendants(channelUserId: string, id: string): Promise<DescendantDto[]> {
    const all = await this.credentials.findBy({ channelUserId });
    if (!all.some((credential) => credential.id === id)) throw new CredentialNotFoundError();
    return descendantsOf(all, id)
      .filter(({ revokedAt }) => revokedAt === null)
      .map((credential) => ({
        id: credential.id,
        label: credential.label,
        fingerprint: credential.fingerprint,
        status: credential.statusAt(this.clock.now()),
        createdAt: credential.createdAt,
        lastUsedAt: credential.lastUsedAt,
      }));
  }

  /** @throws CredentialNotFoundError */
  async get(channelUserId: string, id: string): Promise<Credential> {
    await this.lastUses.settle();
    const credential = await this.credentials.findOneBy({ id, channelUserId });
    if (!credential) throw new CredentialNotFoundError();
    return credential;
  }

  /**
   * Adds a credential. If others are live, it is pending until its first token unless the request says otherwise, and
   * the others expire after that.
   *
   * @param own if the channel user itself rotates
   * @throws ChannelUserNotFoundError, TooManyCredentialsError, RotationPendingError, OwnRotationPendingError,
   *   NotPendingError, and what `own.permit` throws
   */
  create(
    channelUserId: string,
    request: CreateCredentialRequest,
    actor: Actor,
    own?: OwnRotation,
  ): Promise<IssuedCredentialDto> {
    const { after, seconds } = retirementOf(request);
    const { replaces } = request;
    return changeAccount(this, channelUserId, async (manager, channelUser) => {
      const now = this.clock.now();
      const all = await manager.findBy(Credential, { channelUserId });
      own?.permit(channelUser, all);
      const others = await this.rotations.makeWay(manager, channelUser, all, { replaces, after }, actor);
      const live = others.filter((credential) => credential.isLiveAt(now));
      const kept = after === 'now' && seconds === 0 ? 0 : live.length;
      if (kept + 1 > MAX_LIVE) throw new TooManyCredentialsError(MAX_LIVE, own ? END_ONE : REVOKE_ONE);
      const waits = after === 'first-use' && live.length > 0;
      const fields: CredentialFields = {
        label: request.label ?? new Date(now).toISOString().slice(0, 10),
        expiresAt: request.expiresAt == null ? null : new Date(request.expiresAt),
        retireSeconds: waits ? (seconds ?? DEFAULT_OVERLAP_SECONDS) : undefined,
        provedBy: own?.provedBy,
      };
      const created = await this.insert(manager, channelUser, fields, actor);
      this.recordCreated(manager, channelUser, created, actor, { replaces, provedBy: own?.provedBy });
      if (!waits && seconds !== null) {
        const at = new Date(now + seconds * 1000);
        await retireCredentials(this.audit, manager, channelUser, { live, next: created }, { at, actor });
      }
      return this.deliver(manager, channelUser, created, request, actor);
    });
  }

  /**
   * Ends a pending credential. The others go on.
   *
   * @throws ChannelUserNotFoundError, CredentialNotFoundError, NotPendingError, and what `permit` throws
   */
  async withdraw(channelUserId: string, id: string, actor: Actor, permit?: Permit): Promise<CredentialDto> {
    const withdrawn = await this.rotations.withdraw(channelUserId, id, actor, permit);
    return this.#toDto(withdrawn, await this.names.of(this.credentials.manager, [withdrawn.begunById]));
  }

  /** Inserts a generated credential in the caller's transaction. */
  async insert(
    manager: EntityManager,
    { id: channelUserId }: ChannelUser,
    { label, expiresAt, retireSeconds, provedBy }: CredentialFields,
    actor: Actor,
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
      pending: retireSeconds !== undefined,
      activatedAt: null,
      withdrawnAt: null,
      retireSeconds: retireSeconds ?? null,
      begunBy: beginnerOf(actor),
      begunById: actor.type === 'channel-user' ? null : actor.id,
      provedBy: provedBy ?? null,
      reportedLeakedAt: null,
      lastUsedAt: null,
      lastUsedAddress: null,
      lastUsedUserAgent: null,
    });
    await manager.insert(Credential, credential);
    const names = new Map(actor.id === null ? [] : [[actor.id, actor.name]]);
    return { ...this.#toDto(credential, names), password };
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

  /** @param more `replaces`: the id of the pending credential that the new one replaces */
  recordCreated(
    manager: EntityManager,
    channelUser: ChannelUser,
    { id, label, fingerprint, expiresAt, status, retireOthers }: CredentialDto,
    actor: Actor,
    { replaces, provedBy }: { replaces?: string | undefined; provedBy?: string | undefined } = {},
  ): void {
    recordCredential(this.audit, manager, 'credential.created', channelUser, actor, {
      changes: {
        credentialId: [null, id],
        label: [null, label],
        fingerprint: [null, fingerprint],
        expiresAt: [null, expiresAt],
        ...(status === 'pending' && { status: [null, status], retireOthers: [null, retireOthers] }),
        ...(replaces !== undefined && { replaces: [null, replaces] }),
        ...(provedBy !== undefined && { provedBy: [null, provedBy] }),
      },
    });
  }
}
