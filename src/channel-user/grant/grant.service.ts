import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { DataSource } from 'typeorm';
import { Clock } from '../../platform/common/clock.ts';
import { ResourceNotFoundError } from '../../platform/common/errors.ts';
import { Batch, ReadBatcher } from '../../platform/database/read-batcher.ts';
import { ChangeFeed, type ChangeListener } from '../../platform/database/change-feed.service.ts';
import { asKept } from './grant.dto.ts';

/** The topic of the trigger on `resource_grant`; the key is the channel user's id. */
export const GRANT_TOPIC = 'resource_grant';

/** Cached grants of all channel users together. */
const MAX_REMEMBERED = 500_000;

const QUERY = `
  SELECT g.channel_user_id, g.resource_type, g.resource_id, g.permissions,
    (extract(epoch FROM g.expires_at) * 1000)::float8 AS expires_at
  FROM unnest($1::uuid[], $2::text[], $3::text[]) AS asked(channel_user_id, resource_type, resource_id)
  JOIN resource_grant g USING (channel_user_id, resource_type, resource_id)`;

interface GrantRow {
  readonly channel_user_id: string;
  readonly resource_type: string;
  readonly resource_id: string;
  readonly permissions: readonly string[];
  /** Milliseconds since the epoch. */
  readonly expires_at: number | null;
}

/** The fields of a grant that decide about a request. */
type Terms = Pick<GrantRow, 'permissions' | 'expires_at'>;

/** The resource whose grants also cover the resources below it. */
interface Parent {
  readonly type: string;
  /** @returns the parent's id; `undefined` when the resource does not exist */
  readonly idOf: (id: string) => Promise<string | undefined>;
}

/** Matches no resource, since an id has at least one character. */
const NOTHING = '';

/** A unique key, since types have no colon. */
const resourceKey = (type: string, id: string): string => `${type}:${id}`;

/** Grants that are read in one query. Their owners are the channel users. */
class GrantBatch extends Batch {
  readonly asked = new Map<string, { channelUserId: string; type: string; id: string }>();
  readonly found = new Map<string, Terms>();

  get size(): number {
    return this.asked.size;
  }
}

/**
 * Decides what channel users may see and do, for the guard of `@Granted()` and for modules.
 *
 * Grants that were used are cached, and the cache is used while the change feed is trusted. A refusal never rests on
 * the cache: the row is read once more, in batches.
 */
@Injectable()
export class GrantService implements ChangeListener {
  /** Channel user → resource → terms. */
  readonly #remembered = new LRUCache<string, Map<string, Terms>>({
    maxSize: MAX_REMEMBERED,
    sizeCalculation: ({ size }) => size + 1,
  });
  readonly #batches: ReadBatcher<GrantBatch>;
  readonly #parents = new Map<string, Parent>();

  constructor(
    private readonly dataSource: DataSource,
    private readonly feed: ChangeFeed,
    private readonly clock: Clock,
  ) {
    this.#batches = new ReadBatcher(
      feed,
      () => new GrantBatch(),
      (batch) => this.#readBatch(batch),
    );
    feed.subscribe(GRANT_TOPIC, this);
  }

  /**
   * Declares that resources of a type are granted with their parent, as rooms are with their property. Grants of the
   * type itself no longer count. Must be called before requests arrive: in a constructor or in `onModuleInit()`.
   *
   * @param type the type of the resource, such as `room`
   * @param other the type of the parent, such as `property`
   * @param idOf finds the parent's id for any text that a request names; `undefined` when the resource does not exist
   * @throws Error when the type has a parent already
   */
  viaParent(type: string, other: string, idOf: (id: string) => Promise<string | undefined>): void {
    if (this.#parents.has(type)) throw new Error(`viaParent() was called twice for the type "${type}"`);
    this.#parents.set(type, { type: other, idOf });
  }

  /** The type whose grants count for resources of a type: the type itself, unless {@link viaParent} set a parent. */
  grantedType(type: string): string {
    const parent = this.#parents.get(type);
    return parent ? this.grantedType(parent.type) : type;
  }

  /**
   * Whether a channel user may see a resource and, if a permission is given, has that permission. Synchronous when the
   * cache has the answer.
   *
   * @param channelUserId id of the channel user, as in `@CurrentChannelUser()`
   * @param type type of the resource
   * @param named id of the resource, as the request names it
   * @param permission a permission of the grant; seeing needs none
   */
  isGranted(channelUserId: string, type: string, named: string, permission?: string): boolean | Promise<boolean> {
    const id = asKept(named);
    const parent = this.#parents.get(type);
    if (parent) return this.#isGrantedViaParent(parent, channelUserId, id, permission);
    if (this.feed.trusted) {
      const terms = this.#remembered.get(channelUserId)?.get(resourceKey(type, id));
      if (terms && this.#allows(terms, permission)) return true;
    }
    return this.#read(channelUserId, type, id).then((terms) => terms !== undefined && this.#allows(terms, permission));
  }

  /** Whether {@link isGranted} holds for all of some resources. */
  permitsAll(
    channelUserId: string,
    type: string,
    ids: ReadonlySet<string>,
    permission?: string,
  ): boolean | Promise<boolean> {
    // One by one, since the module looks up each parent with a query, and one request must not take all connections.
    if (this.#parents.has(type)) return this.#areGrantedOneByOne(channelUserId, type, ids, permission);
    const asked: Promise<boolean>[] = [];
    for (const id of ids) {
      const permitted = this.isGranted(channelUserId, type, id, permission);
      if (permitted !== true) asked.push(Promise.resolve(permitted));
    }
    return asked.length === 0 || Promise.all(asked).then((answers) => answers.every(Boolean));
  }

  /**
   * Refuses a resource that is not granted, see {@link isGranted}.
   *
   * @throws ResourceNotFoundError, the same error as for a resource that does not exist
   */
  async require(channelUserId: string, type: string, id: string, permission?: string): Promise<void> {
    if (!(await this.isGranted(channelUserId, type, id, permission))) throw new ResourceNotFoundError(type);
  }

  /**
   * The resources of one type that are granted to a channel user now, read from PostgreSQL.
   *
   * @returns their ids, in no particular order
   */
  async resourcesOf(channelUserId: string, type: string): Promise<string[]> {
    const rows = await this.dataSource.query<{ resource_id: string }[]>(
      `SELECT resource_id FROM resource_grant
         WHERE channel_user_id = $1 AND resource_type = $2 AND (expires_at IS NULL OR expires_at > $3)`,
      [channelUserId, type, new Date(this.clock.now())],
    );
    return rows.map(({ resource_id }) => resource_id);
  }

  changed(channelUserId: string): void {
    this.#remembered.delete(channelUserId);
    this.#batches.changed(channelUserId);
  }

  reset(): void {
    this.#remembered.clear();
    this.#batches.reset();
  }

  async #areGrantedOneByOne(
    channelUserId: string,
    type: string,
    ids: ReadonlySet<string>,
    permission: string | undefined,
  ): Promise<boolean> {
    for (const id of ids) if (!(await this.isGranted(channelUserId, type, id, permission))) return false;
    return true;
  }

  async #isGrantedViaParent(
    { type, idOf }: Parent,
    channelUserId: string,
    id: string,
    permission: string | undefined,
  ): Promise<boolean> {
    const parentId = await idOf(id);
    // Reads grants even if the resource does not exist, so that it takes as long as one that is not granted.
    return this.isGranted(channelUserId, type, parentId ?? NOTHING, permission);
  }

  #allows({ permissions, expires_at }: Terms, permission: string | undefined): boolean {
    if (expires_at !== null && expires_at <= this.clock.now()) return false;
    return permission === undefined || permissions.includes(permission);
  }

  /** Reads a grant with a query that starts after this call. */
  async #read(channelUserId: string, type: string, id: string): Promise<Terms | undefined> {
    const key = `${channelUserId}:${resourceKey(type, id)}`;
    const batch = this.#batches.open();
    batch.asked.set(key, { channelUserId, type, id });
    await batch.done;
    return batch.found.get(key);
  }

  async #readBatch(batch: GrantBatch): Promise<void> {
    const asked = [...batch.asked.values()];
    const rows = await this.dataSource.query<GrantRow[]>(QUERY, [
      asked.map(({ channelUserId }) => channelUserId),
      asked.map(({ type }) => type),
      asked.map(({ id }) => id),
    ]);
    for (const row of rows) {
      const { channel_user_id: owner, resource_type, resource_id, permissions, expires_at } = row;
      const terms = { permissions, expires_at };
      const key = resourceKey(resource_type, resource_id);
      batch.found.set(`${owner}:${key}`, terms);
      if (!batch.mayRemember || batch.changed.has(owner)) continue;
      const known = this.#remembered.get(owner) ?? new Map<string, Terms>();
      known.set(key, terms);
      // Deletes first, since the cache does not measure a value again that it already holds.
      this.#remembered.delete(owner);
      this.#remembered.set(owner, known);
    }
  }
}
