import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Any, DataSource, Repository, type SelectQueryBuilder } from 'typeorm';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, isTimestamp } from '../platform/api/page.ts';
import { Clock } from '../platform/common/clock.ts';
import { isUuid } from '../platform/common/uuid.ts';
import type { ChannelUserFilterQuery, ChannelUserPageDto, ListChannelUsersQuery } from './channel-user.dto.ts';
import { ChannelUser } from './model/channel-user.entity.ts';
import { type ExportFormat, FORMATS } from './channel-user-export.ts';
import { FIELD_FILTERS, toDto } from './channel-user-fields.ts';
import { daysAfter, EXPIRES, EXPIRIES, EXPIRING, filterBy, isExpiring } from './channel-user-filter.ts';
import { LastUse } from './model/last-use.entity.ts';
import { LastUseService } from './credential/last-use.service.ts';
import { ListFilters } from './list-filter.service.ts';

/** Lists count exactly up to this many rows. Counting on would cost as much as reading the whole table. */
const MAX_TOTAL = 10_000;
/** Rows of a page of an export. Reading and writing a page blocks the event loop. */
const EXPORTED_AT_ONCE = 100;
/** Six for each account that lists count: its own expiry and those of up to five live credentials. */
const MAX_EXPIRIES = 6 * (MAX_TOTAL + 1);

/**
 * The sorts: the columns of the sort's index, the name of its key in the query of a search, and the form of the
 * key in a cursor. A channel user that never obtained a token sorts before all others.
 */
const ORDERS = {
  username: {
    column: 'channelUser.usernameKey',
    id: 'channelUser.id',
    found: 'key',
    cast: '',
    isKey: (text: string) => /^[a-z0-9._@-]{1,64}$/.test(text),
  },
  createdAt: {
    column: 'channelUser.createdAt',
    id: 'channelUser.id',
    found: 'key',
    cast: '::timestamptz',
    isKey: isTimestamp,
  },
  lastTokenAt: {
    column: 'lastUse.lastTokenAt',
    id: 'lastUse.channelUserId',
    found: 'channel_user_use.last_token_at',
    cast: '::timestamptz',
    isKey: (text: string) => text === '-infinity' || isTimestamp(text),
  },
} as const;
type Order = keyof typeof ORDERS;

/** SQL conditions for `expiringWithinDays`. */
interface Expiring {
  /** For a query that finds all matches of a filter. */
  readonly search: string;
  /** For a query that goes through all channel users in order. */
  readonly walk: string;
  readonly isUncountable: boolean;
}

/** The sort of a list, and where in it a page begins and ends. */
interface PagePlace {
  readonly order: Order;
  readonly descending: boolean;
  /** Sort key and id of the last channel user before the page. */
  readonly seen: string[] | undefined;
  readonly limit: number;
}

const sortKey = (order: Order, { usernameKey, createdAt, lastTokenAt }: ChannelUser): string =>
  order === 'username'
    ? usernameKey
    : ((order === 'createdAt' ? createdAt : lastTokenAt)?.toISOString() ?? '-infinity');

/** Lists and exports of channel users. */
@Injectable()
export class ChannelUserListService {
  constructor(
    @InjectRepository(ChannelUser) private readonly channelUsers: Repository<ChannelUser>,
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
    private readonly lastUses: LastUseService,
    private readonly filters: ListFilters,
  ) {}

  /** Reads a page of channel users. Its cost depends neither on its distance from the start nor on the filter. */
  async list(query: ListChannelUsersQuery): Promise<ChannelUserPageDto> {
    await this.lastUses.settle();
    const { sort = 'username', limit = DEFAULT_PAGE, cursor } = query;
    const order = sort.replace('-', '') as Order;
    const seen = cursor === undefined ? undefined : decodeCursor(cursor, sort, [ORDERS[order].isKey, isUuid]);
    const page = { order, descending: sort.startsWith('-'), seen, limit: limit + 1 };
    const time = this.clock.now();
    const expiring = await this.#expiring(query, order, time);
    const found = await this.#find(query, page, time, expiring);
    const ids = found.ids ?? (await this.#walk(query, page, time, expiring));
    const items = await this.#read(ids.slice(0, limit));
    const last = items.at(-1);
    return {
      items: items.map((item) => toDto(item, time)),
      total: found.total,
      nextCursor: ids.length > limit && last ? encodeCursor(sort, [sortKey(order, last), last.id]) : null,
    };
  }

  /** Writes all matching channel users to a file, by username. Reads each page when the client has taken the last. */
  async *export(filter: ChannelUserFilterQuery, format: ExportFormat): AsyncGenerator<string> {
    await this.lastUses.settle();
    let { header } = FORMATS[format];
    for await (const rows of this.#pages(filter)) {
      yield header + FORMATS[format].lines(rows.map((row) => toDto(row, this.clock.now())));
      header = '';
    }
  }

  /** The pages of an export. There is always one, which may be empty. */
  async *#pages(filter: ChannelUserFilterQuery): AsyncGenerator<ChannelUser[]> {
    // All pages use the same time.
    const time = this.clock.now();
    const page: PagePlace = { order: 'username', descending: false, seen: undefined, limit: MAX_TOTAL };
    const expiring = await this.#expiring(filter, page.order, time);
    const { ids } = await this.#find(filter, page, time, expiring);
    if (ids) {
      let i = 0;
      do yield await this.#read(ids.slice(i, i + EXPORTED_AT_ONCE));
      while ((i += EXPORTED_AT_ONCE) < ids.length);
      return;
    }
    let seen: string[] | undefined;
    do {
      const next = await this.#walk(filter, { ...page, seen, limit: EXPORTED_AT_ONCE }, time, expiring);
      const rows = await this.#read(next);
      yield rows;
      const last = next.length === EXPORTED_AT_ONCE ? rows.at(-1) : undefined;
      seen = last && [last.usernameKey, last.id];
    } while (seen);
  }

  #filtered(filter: ChannelUserFilterQuery, time: number, expiring: string): SelectQueryBuilder<ChannelUser> {
    return filterBy(this.channelUsers.createQueryBuilder('channelUser'), filter, time, expiring, this.filters);
  }

  /**
   * Counts the matches of a filter. If an exact count is possible, also finds the page among the matches. Otherwise the
   * planner might go through a million rows in order to find a few.
   */
  async #find(
    filter: ChannelUserFilterQuery,
    { order, descending, seen, limit }: PagePlace,
    time: number,
    expiring: Expiring,
  ): Promise<{ total: number | null; ids?: string[] }> {
    if (expiring.isUncountable) return { total: null };
    const { found: key, cast } = ORDERS[order];
    const filtered = this.#filtered(filter, time, expiring.search).select('channelUser.id', 'id');
    if (order !== 'lastTokenAt') filtered.addSelect(ORDERS[order].column, 'key');
    const [text, parameters] = filtered.limit(MAX_TOTAL + 1).getQueryAndParameters() as [string, unknown[]];
    const [direction, comparison] = descending ? ['DESC', '<'] : ['ASC', '>'];
    const place = (index: number): string => `$${String(parameters.length + index)}`;
    const behind = seen ? `AND (${key}, id) ${comparison} (${place(1)}${cast}, ${place(2)}::uuid)` : '';
    const [found] = await this.dataSource.query<{ total: number; ids: string[] }[]>(
      `WITH found AS MATERIALIZED (${text}), counted AS (SELECT count(*)::int AS total FROM found)
       SELECT total, ARRAY(
         SELECT id FROM found ${order === 'lastTokenAt' ? 'JOIN channel_user_use ON channel_user_id = id' : ''}
         WHERE (SELECT total FROM counted) <= ${String(MAX_TOTAL)} ${behind}
         ORDER BY ${key} ${direction}, id ${direction} LIMIT ${String(limit)}) AS ids
       FROM counted`,
      [...parameters, ...(seen ?? [])],
    );
    return found && found.total <= MAX_TOTAL ? found : { total: null };
  }

  /** Chooses conditions that begin a search with the fewer rows: what expires, or what the other filters match. */
  async #expiring(filter: ChannelUserFilterQuery, order: Order, time: number): Promise<Expiring> {
    const { expiringWithinDays: days, ...others } = filter;
    if (days === undefined) return { search: EXPIRING, walk: EXPIRING, isUncountable: false };
    const { q, status, silentForDays, failing } = others;
    const fields = FIELD_FILTERS.map(({ parameter }) => filter[parameter]);
    const isAlone = [q?.trim(), status, silentForDays, failing, ...fields].every((value) => (value ?? '') === '');
    const expiries = await this.#countTo(
      MAX_EXPIRIES,
      EXPIRIES.replaceAll(':now', '$1').replaceAll(':expiresBy', '$2'),
      [new Date(time), daysAfter(time, days)],
    );
    if (expiries === MAX_EXPIRIES) return { search: EXPIRES, walk: EXPIRES, isUncountable: isAlone };
    const walk = isExpiring(ORDERS[order].id);
    if (isAlone) return { search: EXPIRING, walk, isUncountable: false };
    const [text, parameters] = this.#filtered(others, time, '').select('1').getQueryAndParameters() as [
      string,
      unknown[],
    ];
    const isMost = (await this.#countTo(expiries, text, parameters)) === expiries;
    return { search: isMost ? EXPIRING : isExpiring('channelUser.id'), walk, isUncountable: false };
  }

  async #countTo(limit: number, rows: string, parameters: unknown[]): Promise<number> {
    const [counted] = await this.dataSource.query<{ n: number }[]>(
      `SELECT count(*)::int AS n FROM (${rows} LIMIT ${String(limit)}) AS counted`,
      parameters,
    );
    return counted?.n ?? 0;
  }

  /** Finds a page by going through all channel users in order. */
  async #walk(
    filter: ChannelUserFilterQuery,
    { order, descending, seen, limit }: PagePlace,
    time: number,
    expiring: Expiring,
  ): Promise<string[]> {
    const { column, id, cast } = ORDERS[order];
    const [direction, comparison] = descending ? (['DESC', '<'] as const) : (['ASC', '>'] as const);
    const query = this.#filtered(filter, time, expiring.walk).select('channelUser.id', 'id');
    if (order === 'lastTokenAt') query.innerJoin(LastUse, 'lastUse', 'lastUse.channelUserId = channelUser.id');
    query.orderBy(column, direction).addOrderBy(id, direction).limit(limit);
    if (seen) {
      const [key, lastId] = seen;
      query.andWhere(`(${column}, ${id}) ${comparison} (:key${cast}, :lastId::uuid)`, { key, lastId });
    }
    const rows = await query.getRawMany<{ id: string }>();
    return rows.map((row) => row.id);
  }

  /** Reads channel users in the order of the ids. Those deleted in the meantime are left out. */
  async #read(ids: readonly string[]): Promise<ChannelUser[]> {
    if (ids.length === 0) return [];
    const found = await this.channelUsers.findBy({ id: Any([...ids]) });
    const byId = new Map(found.map((channelUser) => [channelUser.id, channelUser]));
    return ids.flatMap((id) => byId.get(id) ?? []);
  }
}
