import { Injectable } from '@nestjs/common';
import { LRUCache } from 'lru-cache';
import { DataSource } from 'typeorm';
import { Clock } from '../common/clock.ts';
import { ResourceNotFoundError } from '../common/errors.ts';
import { Batch, BatchedReads } from '../database/batched-reads.ts';
import { ChangeFeed, type ChangeListener } from '../database/change-feed.service.ts';
import { asKept } from './grant.dto.ts';

/** The topic of the trigger on `resource_grant`; the key is the channel user's id. */
export const GRANT_TOPIC = 'resource_grant';

/** Grants kept in memory, of all channel users together. */
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

/** What of a grant decides. */
type Terms = Pick<GrantRow, 'permissions' | 'expires_at'>;

/** With which other resource one is granted. */
interface Through {
  readonly type: string;
  /** @returns the id of the other; `undefined` when there is no such resource */
  readonly idOf: (id: string) => Promise<string | undefined>;
}

/** Names nothing: ids have a character at least. */
const NOTHING = '';

/** Types have no colon. */
const resourceKey = (type: string, id: string): string => `${type}:${id}`;

/** A read of several grants in one query; their owners are the channel users. */
class GrantBatch extends Batch {
  readonly asked = new Map<string, { channelUserId: string; type: string; id: string }>();
  readonly found = new Map<string, Terms>();

  get size(): number {
    return this.asked.size;
  }
}

/**
 * What channel users may see and do: for the guard of `@Granted()`, and for modules whose resources are granted with
 * another one, as rooms are with their property.
 *
 * Grants that were used are remembered, and believed as the directory's accounts are: as long as notifications are
 * known to arrive. No refusal rests on memory: the row is read once more, in batches.
 */
@Injectable()
export class GrantService implements ChangeListener {
  /** Channel user → resource → terms. */
  readonly #remembered = new LRUCache<string, Map<string, Terms>>({
    maxSize: MAX_REMEMBERED,
    sizeCalculation: ({ size }) => size + 1,
  });
  readonly #batches: BatchedReads<GrantBatch>;
  readonly #through = new Map<string, Through>();

  constructor(
    private readonly dataSource: DataSource,
    private readonly feed: ChangeFeed,
    private readonly clock: Clock,
  ) {
    this.#batches = new BatchedReads(
      feed,
      () => new GrantBatch(),
      (batch) => this.#readBatch(batch),
    );
    feed.subscribe(GRANT_TOPIC, this);
  }

  /**
   * Says that resources of a type are granted with those of another, as rooms are with their property. Grants of the type
   * itself count for nothing from then on. To be said before requests come: in a constructor or in `onModuleInit()`.
   *
   * @param type such as `room`
   * @param other such as `property`
   * @param idOf finds the other one's id for whatever text a request names; `undefined` when there is no such resource
   */
  through(type: string, other: string, idOf: (id: string) => Promise<string | undefined>): void {
    if (this.#through.has(type)) throw new Error(`It was said before with what "${type}" is granted`);
    this.#through.set(type, { type: other, idOf });
  }

  /**
   * Whether a channel user may see a resource, and has a permission for it where one is asked for. Without a promise
   * where memory knows.
   *
   * @param channelUserId as in `@CurrentChannelUser()`
   * @param permission one of the grant's; seeing needs none
   */
  permits(channelUserId: string, type: string, named: string, permission?: string): boolean | Promise<boolean> {
    const id = asKept(named);
    const through = this.#through.get(type);
    if (through) return this.#permitsThrough(through, channelUserId, id, permission);
    if (this.feed.trusted) {
      const terms = this.#remembered.get(channelUserId)?.get(resourceKey(type, id));
      if (terms && this.#allows(terms, permission)) return true;
    }
    return this.#read(channelUserId, type, id).then((terms) => terms !== undefined && this.#allows(terms, permission));
  }

  /** As {@link permits}, of all of some resources. */
  permitsAll(
    channelUserId: string,
    type: string,
    ids: ReadonlySet<string>,
    permission?: string,
  ): boolean | Promise<boolean> {
    // The module looks for each with queries of its own: no request may have all connections for that.
    if (this.#through.has(type)) return this.#permitsOneByOne(channelUserId, type, ids, permission);
    const asked: Promise<boolean>[] = [];
    for (const id of ids) {
      const permitted = this.permits(channelUserId, type, id, permission);
      if (permitted !== true) asked.push(Promise.resolve(permitted));
    }
    return asked.length === 0 || Promise.all(asked).then((answers) => answers.every(Boolean));
  }

  /**
   * As {@link permits}.
   *
   * @throws ResourceNotFoundError, the same as for a resource that does not exist
   */
  async require(channelUserId: string, type: string, id: string, permission?: string): Promise<void> {
    if (!(await this.permits(channelUserId, type, id, permission))) throw new ResourceNotFoundError(type);
  }

  /**
   * What of one type is granted to a channel user now, read from PostgreSQL.
   *
   * @returns the ids, in no particular order
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

  async #permitsOneByOne(
    channelUserId: string,
    type: string,
    ids: ReadonlySet<string>,
    permission: string | undefined,
  ): Promise<boolean> {
    for (const id of ids) if (!(await this.permits(channelUserId, type, id, permission))) return false;
    return true;
  }

  async #permitsThrough(
    { type, idOf }: Through,
    channelUserId: string,
    id: string,
    permission: string | undefined,
  ): Promise<boolean> {
    const other = await idOf(id);
    // What does not exist is asked for as well: it takes as long as what is not granted.
    return this.permits(channelUserId, type, other ?? NOTHING, permission);
  }

  #allows({ permissions, expires_at }: Terms, permission: string | undefined): boolean {
    if (expires_at !== null && expires_at <= this.clock.now()) return false;
    return permission === undefined || permissions.includes(permission);
  }

  /** By a query that starts after this call. */
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
      // Anew, for its size: the cache takes no new one of a value that it has.
      this.#remembered.delete(owner);
      this.#remembered.set(owner, known);
    }
  }
}
