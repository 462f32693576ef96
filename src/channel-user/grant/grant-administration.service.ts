import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, In, Repository } from 'typeorm';
import { AuditService, type Changes } from '../../audit/audit.service.ts';
import { ChannelUserService } from '../channel-user.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, pageOf } from '../../platform/api/page.ts';
import { isUuid } from '../../platform/common/uuid.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { RESOURCE_TYPE } from '../../platform/api/security.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import {
  asKept,
  type GrantDto,
  type GrantedDto,
  type GranteePageDto,
  type GrantPageDto,
  type GrantRequest,
  type GrantTerms,
  type ListGranteesQuery,
  type ListGrantsQuery,
} from './grant.dto.ts';
import { Grant } from './grant.entity.ts';
import { GrantNotFoundError } from './grant.errors.ts';
import { GRANT_TOPIC } from './grant.service.ts';

/** The fields of a grant that the audit trail compares. */
const termsOf = ({ permissions, expiresAt }: Grant): object => ({ permissions, expiresAt });

const fieldOf = ({ resourceType, resourceId }: Pick<Grant, 'resourceType' | 'resourceId'>): string =>
  `${resourceType}/${resourceId}`;

const toDto = ({ resourceType, resourceId, permissions, grantedBy, grantedAt, expiresAt }: Grant): GrantDto => ({
  resourceType,
  resourceId,
  permissions,
  grantedBy,
  grantedAt,
  expiresAt,
});

/** Lists, gives and withdraws grants for staff. */
@Injectable()
export class GrantAdministrationService {
  constructor(
    @InjectRepository(Grant) private readonly grants: Repository<Grant>,
    private readonly channelUsers: ChannelUserService,
    private readonly audit: AuditService,
    private readonly feed: ChangeFeed,
    private readonly clock: Clock,
  ) {}

  /**
   * The grants of a channel user, including expired ones, in order of type and id.
   *
   * @throws ChannelUserNotFoundError
   */
  async list(channelUserId: string, query: ListGrantsQuery): Promise<GrantPageDto> {
    await this.channelUsers.get(channelUserId);
    const { resourceType, limit = DEFAULT_PAGE, cursor } = query;
    const page = this.grants
      .createQueryBuilder('grant')
      .where('grant.channelUserId = :channelUserId', { channelUserId })
      .orderBy('grant.resourceType', 'ASC')
      .addOrderBy('grant.resourceId', 'ASC')
      .limit(limit + 1);
    if (resourceType !== undefined) page.andWhere('grant.resourceType = :resourceType', { resourceType });
    if (cursor !== undefined) {
      const [type, id] = decodeCursor(cursor, 'resource', [(text) => RESOURCE_TYPE.test(text), () => true]);
      page.andWhere('(grant.resourceType, grant.resourceId) > (:type, :id)', { type, id });
    }
    const { items, nextCursor } = pageOf(await page.getMany(), limit, (grant) =>
      encodeCursor('resource', [grant.resourceType, grant.resourceId]),
    );
    return { items: items.map(toDto), nextCursor };
  }

  /** The channel users that a resource is granted to. Empty for an unknown resource. */
  async grantees(query: ListGranteesQuery): Promise<GranteePageDto> {
    const { resourceType, limit = DEFAULT_PAGE, cursor } = query;
    const resourceId = asKept(query.resourceId);
    const page = this.grants
      .createQueryBuilder('grant')
      .innerJoinAndSelect('grant.channelUser', 'channelUser')
      .where('grant.resourceType = :resourceType AND grant.resourceId = :resourceId', { resourceType, resourceId })
      .orderBy('grant.channelUserId', 'ASC')
      .limit(limit + 1);
    if (cursor !== undefined) {
      const [after] = decodeCursor(cursor, 'grantee', [isUuid]);
      page.andWhere('grant.channelUserId > :after', { after });
    }
    const { items, nextCursor } = pageOf(await page.getMany(), limit, ({ channelUserId }) =>
      encodeCursor('grantee', [channelUserId]),
    );
    return {
      items: items.map((grant) => ({
        ...toDto(grant),
        channelUserId: grant.channelUserId,
        username: grant.channelUser?.username ?? '',
        displayName: grant.channelUser?.displayName ?? '',
      })),
      nextCursor,
    };
  }

  /**
   * Gives grants, and changes existing ones to these terms. Doing it twice changes nothing.
   *
   * @throws ChannelUserNotFoundError
   */
  give(channelUserId: string, request: GrantRequest, actor: Actor): Promise<GrantedDto> {
    return this.#change(channelUserId, async (manager, username) => {
      const { resourceType } = request;
      const resourceIds = [...new Set(request.resourceIds.map(asKept))];
      const before = await this.#known(manager, channelUserId, resourceType, resourceIds);
      const after = resourceIds.map((resourceId) =>
        this.#grant(channelUserId, resourceType, resourceId, request, actor),
      );
      const changes: Changes = {};
      const differing = after.filter((grant) => {
        const known = before.get(grant.resourceId);
        if (known && JSON.stringify(termsOf(known)) === JSON.stringify(termsOf(grant))) return false;
        changes[fieldOf(grant)] = [known ? termsOf(known) : null, termsOf(grant)];
        return true;
      });
      const given = differing.filter(({ resourceId }) => !before.has(resourceId)).length;
      if (differing.length > 0) {
        await manager.upsert(Grant, differing, ['channelUserId', 'resourceType', 'resourceId']);
        this.audit.record(manager, {
          actor,
          action: given > 0 ? 'grant.given' : 'grant.changed',
          target: { type: 'channel-user', id: channelUserId, name: username },
          changes,
        });
      }
      return { given, changed: differing.length - given };
    });
  }

  /**
   * Gives one grant, or changes an existing one to these terms.
   *
   * @returns the grant as it is now, and whether it is new
   * @throws ChannelUserNotFoundError; GrantNotFoundError when it was withdrawn in the meantime
   */
  async put(
    channelUserId: string,
    resourceType: string,
    resourceId: string,
    terms: GrantTerms,
    actor: Actor,
  ): Promise<{ grant: GrantDto; isNew: boolean }> {
    const request = { ...terms, resourceType, resourceIds: [resourceId] };
    const { given } = await this.give(channelUserId, request, actor);
    const grant = await this.grants.findOneBy({ channelUserId, resourceType, resourceId });
    // Someone withdrew the grant in the meantime.
    if (!grant) throw new GrantNotFoundError();
    return { grant: toDto(grant), isNew: given > 0 };
  }

  /** @throws ChannelUserNotFoundError, GrantNotFoundError */
  withdraw(channelUserId: string, resourceType: string, resourceId: string, actor: Actor): Promise<void> {
    return this.#change(channelUserId, async (manager, username) => {
      const key = { channelUserId, resourceType, resourceId };
      const known = await manager.findOneBy(Grant, key);
      if (!known) throw new GrantNotFoundError();
      await manager.delete(Grant, key);
      this.audit.record(manager, {
        actor,
        action: 'grant.withdrawn',
        target: { type: 'channel-user', id: channelUserId, name: username },
        changes: { [fieldOf(known)]: [termsOf(known), null] },
      });
    });
  }

  #grant(channelUserId: string, resourceType: string, resourceId: string, terms: GrantTerms, actor: Actor): Grant {
    return this.grants.create({
      channelUserId,
      resourceType,
      resourceId,
      permissions: [...(terms.permissions ?? [])].sort(),
      grantedBy: actor.id,
      grantedAt: new Date(this.clock.now()),
      expiresAt: terms.expiresAt == null ? null : new Date(terms.expiresAt),
    });
  }

  async #known(
    manager: EntityManager,
    channelUserId: string,
    resourceType: string,
    resourceIds: string[],
  ): Promise<Map<string, Grant>> {
    const rows = await manager.findBy(Grant, { channelUserId, resourceType, resourceId: In(resourceIds) });
    return new Map(rows.map((grant) => [grant.resourceId, grant]));
  }

  async #change<T>(channelUserId: string, work: (manager: EntityManager, username: string) => Promise<T>): Promise<T> {
    try {
      return await this.channelUsers.withLock(channelUserId, work);
    } finally {
      // Also after an error, since the transaction may have been committed although its answer was lost.
      this.feed.announce(GRANT_TOPIC, channelUserId);
    }
  }
}
