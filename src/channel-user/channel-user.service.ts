import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, type EntityManager, Repository } from 'typeorm';
import { type Changes, changesBetween, AuditService } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import { UnavailableError } from '../common/errors.ts';
import { uniqueViolation } from '../common/postgres-errors.ts';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, pageOf, isTimestamp, isUuid } from '../common/page.ts';
import type { Actor } from '../common/request-context.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import type {
  ChannelUserDescription,
  ChannelUserDto,
  ChannelUserFilterQuery,
  ChannelUserPageDto,
  CreateChannelUserRequest,
  ListChannelUsersQuery,
  NewChannelUserAnswer,
  PutChannelUserRequest,
  UpdateChannelUserRequest,
} from './channel-user.dto.ts';
import { CSV_HEADER, csvLine } from './channel-user-csv.ts';
import { ChannelUser, type ChannelUserStatus } from './channel-user.entity.ts';
import { changeAccount } from './account-change.ts';
import { ChannelUserNotFoundError, OutdatedVersionError, UsernameTakenError } from './channel-user.errors.ts';
import { CredentialService } from './credential.service.ts';
import { usernameKeyOf } from './username.ts';

export { ChannelUserDescription } from './channel-user.dto.ts';

/** Lists count exactly up to here; counting on would cost as much as reading everything. */
const MAX_TOTAL = 10_000;
const EXPORTED_AT_ONCE = 500;
/** How often somebody may create and delete an account between two statements of a request. */
const PUT_ATTEMPTS = 5;
const DAY_MS = 86_400_000;

/** As one relation, so that the planner may begin with what expires or with the list, whichever is shorter. */
const EXPIRING = `channelUser.id IN (
  SELECT expiry.owner FROM (
    SELECT channel_user_id AS owner, expires_at FROM credential WHERE revoked_at IS NULL AND expires_at IS NOT NULL
    UNION ALL SELECT id, expires_at FROM channel_user WHERE expires_at IS NOT NULL
  ) AS expiry WHERE expiry.expires_at > :now AND expiry.expires_at <= :expiresBy)`;
/** The same, asked of each row on the way: for when so many expire that the way to the next of them is short. */
const EXPIRES = `(COALESCE(channelUser.expiresAt > :now AND channelUser.expiresAt <= :expiresBy, false)
  OR (SELECT true FROM credential WHERE channel_user_id = channelUser.id AND revoked_at IS NULL
    AND expires_at > :now AND expires_at <= :expiresBy LIMIT 1))`;
/** The first says it; the others follow from it, and let each order begin where it may be true. */
const SILENT = `COALESCE(channelUser.lastTokenAt, channelUser.createdAt) < :silentSince
  AND COALESCE(channelUser.lastTokenAt, '-infinity'::timestamptz) < :silentSince
  AND channelUser.createdAt < :silentSince`;
const FAILING = 'channelUser.id IN (SELECT channel_user_id FROM sign_in_failure WHERE last_at > :failedSince)';

/**
 * How each sort reads and compares: the column, and how its value is written in a cursor. A channel user that never
 * obtained a token sorts before all others.
 */
const ORDERS = {
  username: { column: 'channelUser.usernameKey', cast: '', isKey: (text: string) => /^[a-z0-9._@-]{1,64}$/.test(text) },
  createdAt: { column: 'channelUser.createdAt', cast: '::timestamptz', isKey: isTimestamp },
  lastTokenAt: {
    column: `COALESCE(channelUser.lastTokenAt, '-infinity'::timestamptz)`,
    cast: '::timestamptz',
    isKey: (text: string) => text === '-infinity' || isTimestamp(text),
  },
} as const;
type Order = keyof typeof ORDERS;

const sortKey = (order: Order, { usernameKey, createdAt, lastTokenAt }: ChannelUser): string =>
  order === 'username'
    ? usernameKey
    : ((order === 'createdAt' ? createdAt : lastTokenAt)?.toISOString() ?? '-infinity');

/** What search compares: JavaScript writes a sigma differently at the end of a word. */
const fold = (text: string): string => text.toLowerCase().replaceAll('ς', 'σ');

const searchTextOf = ({ username, displayName, contactEmail }: ChannelUser): string =>
  fold([username, displayName, contactEmail ?? ''].join('\n'));

const escapeLike = (text: string): string => text.replace(/[\\%_]/g, '\\$&');

/** What staff change of a channel user, as the audit trail compares it. */
const auditable = ({ displayName, contactEmail, scopes, tokenTtlSeconds, tokensPerMinute, ...rest }: ChannelUser) => ({
  displayName,
  contactEmail,
  scopes,
  tokenTtlSeconds,
  tokensPerMinute,
  allowedIps: rest.allowedIps,
  expiresAt: rest.expiresAt,
  notes: rest.notes,
});

@Injectable()
export class ChannelUserService {
  constructor(
    @InjectRepository(ChannelUser) private readonly channelUsers: Repository<ChannelUser>,
    private readonly dataSource: DataSource,
    private readonly credentials: CredentialService,
    readonly audit: AuditService,
    readonly feed: ChangeFeed,
    private readonly clock: Clock,
  ) {}

  /** The resource as the API shows it. */
  present(channelUser: ChannelUser): ChannelUserDto {
    return {
      id: channelUser.id,
      username: channelUser.username,
      displayName: channelUser.displayName,
      contactEmail: channelUser.contactEmail,
      status: channelUser.statusAt(this.clock.now()),
      scopes: channelUser.scopes,
      tokenTtlSeconds: channelUser.tokenTtlSeconds,
      tokensPerMinute: channelUser.tokensPerMinute,
      allowedIps: channelUser.allowedIps,
      expiresAt: channelUser.expiresAt,
      notes: channelUser.notes,
      createdAt: channelUser.createdAt,
      updatedAt: channelUser.updatedAt,
      lastTokenAt: channelUser.lastTokenAt,
      version: channelUser.version,
    };
  }

  /** A new account as a request describes it, with everything that it leaves open at its default. */
  described(request: ChannelUserDescription): ChannelUser {
    const now = new Date(this.clock.now());
    const channelUser = this.channelUsers.create({
      username: request.username,
      usernameKey: usernameKeyOf(request.username),
      displayName: request.displayName,
      contactEmail: request.contactEmail ?? null,
      suspendedAt: null,
      expiresAt: request.expiresAt == null ? null : new Date(request.expiresAt),
      scopes: request.scopes ?? [],
      tokenTtlSeconds: request.tokenTtlSeconds ?? 3600,
      tokensPerMinute: request.tokensPerMinute ?? 60,
      allowedIps: request.allowedIps ?? [],
      notes: request.notes ?? null,
      epoch: 0,
      version: 1,
      createdAt: now,
      updatedAt: now,
      lastTokenAt: null,
      tokensRevokedAt: null,
    });
    channelUser.searchText = searchTextOf(channelUser);
    return channelUser;
  }

  /** What makes a username unique. */
  keyOf(username: string): string {
    return usernameKeyOf(username);
  }

  /** An account as a row of its table, by the names of the columns. */
  columnsOf(channelUser: Partial<ChannelUser>): Record<string, unknown> {
    const { columns } = this.channelUsers.metadata;
    return Object.fromEntries(columns.map((column) => [column.databaseName, column.getEntityValue(channelUser)]));
  }

  /**
   * Provisions a channel user with its first credential.
   *
   * @returns the resource and the credential with its password, or a link to it, which nobody can read again
   * @throws UsernameTakenError
   */
  async create(request: CreateChannelUserRequest, actor: Actor): Promise<NewChannelUserAnswer> {
    const channelUser = this.described(request);
    try {
      return await this.audit.transaction(async (manager) => {
        await manager.insert(ChannelUser, channelUser);
        const created = await this.credentials.insert(manager, channelUser, { label: 'initial', expiresAt: null });
        this.#record(manager, 'channel-user.created', channelUser, actor, {
          changes: changesBetween({}, { username: channelUser.username, ...auditable(channelUser) }),
        });
        this.credentials.recordCreated(manager, channelUser, created, actor);
        const delivered = await this.credentials.deliver(manager, channelUser, created, request, actor);
        return { channelUser: this.present(channelUser), ...delivered };
      });
    } catch (error) {
      throw uniqueViolation(error) === 'uq_channel_user_username' ? new UsernameTakenError(error) : error;
    }
  }

  /** A page of channel users; the cost does not depend on how far the page lies from the start. */
  async list(query: ListChannelUsersQuery): Promise<ChannelUserPageDto> {
    await this.credentials.writeUses();
    const { sort = 'username', limit = DEFAULT_PAGE, cursor } = query;
    const order = sort.replace('-', '') as Order;
    const descending = sort.startsWith('-');
    const { column, cast, isKey } = ORDERS[order];
    const filtered = this.#filtered(query);
    const total = await this.#count(filtered);
    const { expiringWithinDays, failing } = query;
    const isShort = total !== null && (expiringWithinDays !== undefined || failing !== undefined);
    const page = (isShort ? this.#first(filtered) : this.#filtered(query, EXPIRES))
      .orderBy(column, descending ? 'DESC' : 'ASC')
      .addOrderBy('channelUser.id', descending ? 'DESC' : 'ASC')
      .limit(limit + 1);
    if (cursor !== undefined) {
      const [key, id] = decodeCursor(cursor, sort, [isKey, isUuid]);
      const comparison = descending ? '<' : '>';
      page.andWhere(`(${column}, channelUser.id) ${comparison} (:key${cast}, :id::uuid)`, { key, id });
    }
    const rows = await page.getMany();
    const { items, nextCursor } = pageOf(rows, limit, (row) => encodeCursor(sort, [sortKey(order, row), row.id]));
    return { items: items.map((item) => this.present(item)), total, nextCursor };
  }

  /** All channel users that a filter lets through, by username, as CSV; read as it is sent, page by page. */
  async *csv(filter: ChannelUserFilterQuery): AsyncGenerator<string> {
    await this.credentials.writeUses();
    // One moment for all pages.
    const filtered = this.#filtered(filter).orderBy('channelUser.usernameKey', 'ASC').limit(EXPORTED_AT_ONCE);
    let rows = await filtered.getMany();
    yield CSV_HEADER + this.#csvLines(rows);
    for (let last = rows.at(-1); last && rows.length === EXPORTED_AT_ONCE; last = rows.at(-1)) {
      rows = await filtered.clone().andWhere('channelUser.usernameKey > :after', { after: last.usernameKey }).getMany();
      if (rows.length > 0) yield this.#csvLines(rows);
    }
  }

  /** @throws ChannelUserNotFoundError */
  async get(id: string): Promise<ChannelUser> {
    await this.credentials.writeUses();
    const channelUser = await this.channelUsers.findOneBy({ id });
    if (!channelUser) throw new ChannelUserNotFoundError();
    return channelUser;
  }

  /**
   * Changes what the request names and leaves the rest.
   *
   * @param acceptsVersion what If-Match demands
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
      const { expiresAt, ...rest } = request;
      Object.assign(channelUser, rest);
      if (expiresAt !== undefined) channelUser.expiresAt = expiresAt === null ? null : new Date(expiresAt);
      const changes = changesBetween(before, auditable(channelUser));
      if (Object.keys(changes).length === 0) return;
      await this.#save(manager, channelUser);
      this.#record(manager, 'channel-user.updated', channelUser, actor, { changes });
    });
  }

  /**
   * Creates the channel user of this name, or brings the one that there is to the given state: what the request names
   * is set, what it leaves out stays. Of several at once, one creates and the others update.
   *
   * @param accepts what If-Match demands of the version; of none, where there is no such channel user
   * @returns with the credential if it was created
   * @throws OutdatedVersionError
   */
  async put(
    username: string,
    { deliver, linkTtlSeconds, ...state }: PutChannelUserRequest,
    accepts: (version: number | undefined) => boolean,
    actor: Actor,
  ): Promise<NewChannelUserAnswer | { readonly channelUser: ChannelUserDto }> {
    let last: unknown;
    for (let i = 0; i < PUT_ATTEMPTS; i++) {
      const existing = await this.channelUsers.findOneBy({ usernameKey: usernameKeyOf(username) });
      try {
        if (existing) return { channelUser: this.present(await this.update(existing.id, state, accepts, actor)) };
        if (!accepts(undefined)) throw new OutdatedVersionError();
        const delivery = { ...(deliver && { deliver }), ...(linkTtlSeconds !== undefined && { linkTtlSeconds }) };
        return await this.create({ username, ...state, ...delivery }, actor);
      } catch (error) {
        // Somebody created or deleted it meanwhile.
        if (!(error instanceof UsernameTakenError || error instanceof ChannelUserNotFoundError)) throw error;
        last = error;
      }
    }
    throw new UnavailableError(last);
  }

  /** Deletes the account; its credentials and tokens die with it, its audit trail stays. */
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

  /** Ends a suspension: tokens that have not expired work again. */
  reactivate(id: string, reason: string | undefined, actor: Actor): Promise<ChannelUser> {
    return this.#changeStatus(id, false, reason, actor);
  }

  /** Ends every token issued before this call, for good. */
  async revokeTokens(id: string, reason: string, actor: Actor): Promise<void> {
    await this.#change(id, async (manager, channelUser) => {
      const epoch = channelUser.epoch + 1;
      await manager.update(ChannelUser, { id }, { epoch, tokensRevokedAt: new Date(this.clock.now()) });
      this.#record(manager, 'channel-user.tokens-revoked', channelUser, actor, {
        reason,
        changes: { epoch: [channelUser.epoch, epoch] },
      });
    });
    // Another instance must not generate tokens of the old epoch once this is answered: they would be dead at once.
    await this.feed.settled();
  }

  /**
   * For what else hangs on an account: does something in a transaction that holds its row, and that records.
   *
   * @throws ChannelUserNotFoundError
   */
  holding<T>(id: string, work: (manager: EntityManager, username: string) => Promise<T>): Promise<T> {
    return changeAccount(this, id, (manager, { username }) => work(manager, username));
  }

  /** Found first, and sorted then: the planner likes to go through a million rows in order to find the few. */
  #first(filtered: ReturnType<Repository<ChannelUser>['createQueryBuilder']>) {
    const ids = filtered.clone().select('channelUser.id');
    return this.channelUsers
      .createQueryBuilder('channelUser')
      .where(`channelUser.id = ANY(ARRAY(${ids.getQuery()}))`)
      .setParameters(ids.getParameters());
  }

  #csvLines(channelUsers: ChannelUser[]): string {
    return channelUsers.map((channelUser) => csvLine(this.present(channelUser))).join('');
  }

  #filtered(
    { q, status, scope, expiringWithinDays, silentForDays, failing }: ChannelUserFilterQuery,
    expiring = EXPIRING,
  ) {
    const time = this.clock.now();
    const now = new Date(time);
    const query = this.channelUsers.createQueryBuilder('channelUser').setParameters({ now });
    if (q !== undefined && q.trim() !== '') {
      query.andWhere('channelUser.searchText LIKE :q', { q: `%${escapeLike(fold(q.trim()))}%` });
    }
    const conditions: Record<ChannelUserStatus, string> = {
      suspended: 'channelUser.suspendedAt IS NOT NULL',
      expired: 'channelUser.suspendedAt IS NULL AND channelUser.expiresAt <= :now',
      active: 'channelUser.suspendedAt IS NULL AND (channelUser.expiresAt IS NULL OR channelUser.expiresAt > :now)',
    };
    if (status !== undefined) query.andWhere(conditions[status]);
    if (scope !== undefined) query.andWhere('channelUser.scopes @> :scopes', { scopes: [scope] });
    if (expiringWithinDays !== undefined) {
      query.andWhere(expiring, { expiresBy: new Date(time + expiringWithinDays * DAY_MS) });
    }
    if (silentForDays !== undefined) {
      query.andWhere(SILENT, { silentSince: new Date(time - silentForDays * DAY_MS) });
    }
    if (failing !== undefined) query.andWhere(FAILING, { failedSince: new Date(time - DAY_MS) });
    return query;
  }

  async #count(filtered: ReturnType<Repository<ChannelUser>['createQueryBuilder']>): Promise<number | null> {
    const rows = filtered
      .clone()
      .select('1')
      .limit(MAX_TOTAL + 1);
    const counted = await this.dataSource
      .createQueryBuilder()
      .select('count(*)::int', 'total')
      .from(`(${rows.getQuery()})`, 'rows')
      .setParameters(rows.getParameters())
      .getRawOne<{ total: number }>();
    const total = counted?.total ?? 0;
    return total > MAX_TOTAL ? null : total;
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

  /** Writes what staff may change and counts the version. */
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
