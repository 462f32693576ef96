import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, Repository } from 'typeorm';
import { type Changes, changesBetween, AuditService } from '../audit/audit.service.ts';
import { Clock } from '../platform/common/clock.ts';
import { UnavailableError } from '../platform/common/errors.ts';
import { uniqueViolation } from '../platform/common/postgres-errors.ts';
import type { Actor } from '../platform/common/principal.ts';
import { ChangeFeed } from '../platform/database/change-feed.service.ts';
import type {
  ChannelUserDescription,
  ChannelUserDto,
  CreateChannelUserRequest,
  NewChannelUserDto,
  PutChannelUserRequest,
  UpdateChannelUserRequest,
} from './channel-user.dto.ts';
import { ChannelUser } from './model/channel-user.entity.ts';
import { changeAccount } from './model/channel-user-change.ts';
import { auditable, newFields, PERSONAL_FIELDS, requestedFields, searchTextOf, toDto } from './channel-user-fields.ts';
import { ChannelUserNotFoundError, OutdatedVersionError, UsernameTakenError } from './model/channel-user.errors.ts';
import { CredentialService } from './credential/credential.service.ts';
import { LastUseService } from './credential/last-use.service.ts';
import { usernameKeyOf } from './model/username.rules.ts';

/** Attempts of a PUT. One fails when another request creates or deletes the account after the PUT has looked for it. */
const PUT_ATTEMPTS = 5;

@Injectable()
export class ChannelUserService {
  constructor(
    @InjectRepository(ChannelUser) private readonly channelUsers: Repository<ChannelUser>,
    private readonly credentials: CredentialService,
    readonly audit: AuditService,
    readonly feed: ChangeFeed,
    private readonly clock: Clock,
    private readonly lastUses: LastUseService,
  ) {
    audit.encryptFields(PERSONAL_FIELDS);
    audit.keepAccountsOf((manager, id) => manager.existsBy(ChannelUser, { id }));
  }

  /** The resource as the API shows it. */
  toDto(channelUser: ChannelUser): ChannelUserDto {
    return toDto(channelUser, this.clock.now());
  }

  /** Builds a new account from a request. Fields that the request leaves out get their initial values. */
  fromRequest(request: ChannelUserDescription): ChannelUser {
    const now = new Date(this.clock.now());
    const channelUser = this.channelUsers.create({
      username: request.username,
      usernameKey: usernameKeyOf(request.username),
      ...newFields(request),
      suspendedAt: null,
      tokenGeneration: 0,
      version: 1,
      createdAt: now,
      updatedAt: now,
      lastTokenAt: null,
      tokensRevokedAt: null,
    });
    channelUser.searchText = searchTextOf(channelUser);
    return channelUser;
  }

  /** The key by which a username is unique. */
  keyOf(username: string): string {
    return usernameKeyOf(username);
  }

  /** The values of an account by the names of the table's columns. */
  columnsOf(channelUser: Partial<ChannelUser>): Record<string, unknown> {
    const columns = this.channelUsers.metadata.columns.filter(({ isVirtualProperty }) => !isVirtualProperty);
    return Object.fromEntries(columns.map((column) => [column.databaseName, column.getEntityValue(channelUser)]));
  }

  /**
   * Provisions a channel user with its first credential.
   *
   * @returns the resource and the credential, with its password or a link to it. Neither can be read again
   * @throws UsernameTakenError
   */
  async create(request: CreateChannelUserRequest, actor: Actor): Promise<NewChannelUserDto> {
    const channelUser = this.fromRequest(request);
    try {
      return await this.audit.transaction(async (manager) => {
        await manager.insert(ChannelUser, channelUser);
        const created = await this.credentials.insert(
          manager,
          channelUser,
          { label: 'initial', expiresAt: null },
          actor,
        );
        this.#record(manager, 'channel-user.created', channelUser, actor, {
          changes: changesBetween({}, { username: channelUser.username, ...auditable(channelUser) }),
        });
        this.credentials.recordCreated(manager, channelUser, created, actor);
        const delivered = await this.credentials.deliver(manager, channelUser, created, request, actor);
        return { channelUser: this.toDto(channelUser), ...delivered };
      });
    } catch (error) {
      throw uniqueViolation(error) === 'uq_channel_user_username' ? new UsernameTakenError(error) : error;
    }
  }

  /** @throws ChannelUserNotFoundError */
  get(id: string): Promise<ChannelUser> {
    return this.#read({ id });
  }

  /** @param username in any case. @throws ChannelUserNotFoundError */
  getByUsername(username: string): Promise<ChannelUser> {
    return this.#read({ usernameKey: usernameKeyOf(username) });
  }

  /**
   * Changes the fields that the request names.
   *
   * @param acceptsVersion whether If-Match allows a change of this version
   * @throws ChannelUserNotFoundError, OutdatedVersionError
   */
  update(
    id: string,
    request: UpdateChannelUserRequest,
    acceptsVersion: (version: number) => boolean,
    actor: Actor,
  ): Promise<ChannelUser> {
    return this.#change(id, async (manager, channelUser) => {
      if (!acceptsVersion(channelUser.version)) throw new OutdatedVersionError();
      const before = auditable(channelUser);
      Object.assign(channelUser, requestedFields(request));
      const changes = changesBetween(before, auditable(channelUser));
      if (Object.keys(changes).length === 0) return;
      await this.#save(manager, channelUser);
      this.#record(manager, 'channel-user.updated', channelUser, actor, { changes });
    });
  }

  /**
   * Creates the channel user of this name, or sets the named fields of the existing one. Of several concurrent
   * requests, one creates the channel user and the others update it.
   *
   * @param accepts whether If-Match allows a change of this version, or the creation if there is no version
   * @returns the resource, and the credential if the channel user was created
   * @throws OutdatedVersionError
   */
  async put(
    username: string,
    { deliver, linkTtlSeconds, ...state }: PutChannelUserRequest,
    accepts: (version: number | undefined) => boolean,
    actor: Actor,
  ): Promise<NewChannelUserDto | { readonly channelUser: ChannelUserDto }> {
    let last: unknown;
    for (let i = 0; i < PUT_ATTEMPTS; i++) {
      const existing = await this.channelUsers.findOneBy({ usernameKey: usernameKeyOf(username) });
      try {
        if (existing) return { channelUser: this.toDto(await this.update(existing.id, state, accepts, actor)) };
        if (!accepts(undefined)) throw new OutdatedVersionError();
        const delivery = { ...(deliver && { deliver }), ...(linkTtlSeconds !== undefined && { linkTtlSeconds }) };
        return await this.create({ username, ...state, ...delivery }, actor);
      } catch (error) {
        // Another request created or deleted the channel user in the meantime.
        if (!(error instanceof UsernameTakenError || error instanceof ChannelUserNotFoundError)) throw error;
        last = error;
      }
    }
    throw new UnavailableError(last);
  }

  async #read(where: { id: string } | { usernameKey: string }): Promise<ChannelUser> {
    await this.lastUses.settle();
    const channelUser = await this.channelUsers.findOneBy(where);
    if (!channelUser) throw new ChannelUserNotFoundError();
    return channelUser;
  }

  /** Deletes the account with its credentials, which ends its tokens. Its audit trail stays. */
  async delete(id: string, actor: Actor): Promise<void> {
    await this.#change(id, async (manager, channelUser) => {
      await manager.delete(ChannelUser, { id });
      this.#record(manager, 'channel-user.deleted', channelUser, actor, {
        changes: changesBetween({ username: channelUser.username, ...auditable(channelUser) }, {}),
      });
    });
  }

  /** Refuses sign-ins and tokens from now on. Suspending twice changes nothing. */
  suspend(id: string, reason: string, actor: Actor): Promise<ChannelUser> {
    return this.#changeStatus(id, true, reason, actor);
  }

  /** Ends a suspension. Tokens that have not expired work again. */
  reactivate(id: string, reason: string | undefined, actor: Actor): Promise<ChannelUser> {
    return this.#changeStatus(id, false, reason, actor);
  }

  /** Ends every token issued before this call, for good. */
  async revokeTokens(id: string, reason: string, actor: Actor): Promise<void> {
    await this.#change(id, async (manager, channelUser) => {
      const tokenGeneration = channelUser.tokenGeneration + 1;
      await manager.update(ChannelUser, { id }, { tokenGeneration, tokensRevokedAt: new Date(this.clock.now()) });
      this.#record(manager, 'channel-user.tokens-revoked', channelUser, actor, {
        reason,
        changes: { epoch: [channelUser.tokenGeneration, tokenGeneration] },
      });
    });
    // An instance that has not heard of the change would issue tokens that are already invalid, so the answer waits.
    await this.feed.settled();
  }

  /**
   * Runs `work` in an audited transaction that locks the account's row. For other features' data on an account.
   *
   * @throws ChannelUserNotFoundError
   */
  withLock<T>(id: string, work: (manager: EntityManager, username: string) => Promise<T>): Promise<T> {
    return changeAccount(this, id, (manager, { username }) => work(manager, username));
  }

  #changeStatus(id: string, suspend: boolean, reason: string | undefined, actor: Actor): Promise<ChannelUser> {
    return this.#change(id, async (manager, channelUser) => {
      if ((channelUser.suspendedAt !== null) === suspend) return;
      const now = this.clock.now();
      const before = channelUser.statusAt(now);
      channelUser.suspendedAt = suspend ? new Date(now) : null;
      await this.#save(manager, channelUser);
      this.#record(manager, suspend ? 'channel-user.suspended' : 'channel-user.reactivated', channelUser, actor, {
        reason,
        changes: { status: [before, channelUser.statusAt(now)] },
      });
    });
  }

  #change(id: string, work: (manager: EntityManager, channelUser: ChannelUser) => Promise<void>): Promise<ChannelUser> {
    return changeAccount(this, id, async (manager, channelUser) => {
      await work(manager, channelUser);
      return channelUser;
    });
  }

  /** Writes the fields that staff may change and raises the version. */
  async #save(manager: EntityManager, channelUser: ChannelUser): Promise<void> {
    channelUser.version += 1;
    channelUser.updatedAt = new Date(this.clock.now());
    channelUser.searchText = searchTextOf(channelUser);
    const { suspendedAt, version, updatedAt, searchText } = channelUser;
    await manager.update(
      ChannelUser,
      { id: channelUser.id },
      { ...auditable(channelUser), suspendedAt, version, updatedAt, searchText },
    );
  }

  #record(
    manager: EntityManager,
    action: string,
    { id, username }: ChannelUser,
    actor: Actor,
    details: { changes: Changes; reason?: string | undefined },
  ): void {
    this.audit.record(manager, {
      actor,
      action,
      target: { type: 'channel-user', id, name: username },
      ...details,
    });
  }
}
