import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, Repository, type SelectQueryBuilder } from 'typeorm';
import { isTimestamp } from '../platform/api/page.ts';
import type { ChannelUserFilterQuery } from './channel-user.dto.ts';
import { FIELD_FILTERS } from './channel-user-fields.ts';
import {
  daysAfter,
  EXPIRES,
  EXPIRIES,
  EXPIRING,
  filterBy,
  isExpiring,
  type Search,
  SILENT,
} from './channel-user-filter.ts';
import { ListFilters, REGISTERED_FILTERS } from './list-filter.service.ts';
import { ChannelUser } from './model/channel-user.entity.ts';
import { LastUse } from './model/last-use.entity.ts';

/** Lists count exactly up to this many rows. Counting on would cost as much as reading the whole table. */
export const MAX_TOTAL = 10_000;
/** Six for each account that lists count: its own expiry and those of up to five live credentials. */
const MAX_EXPIRIES = 6 * (MAX_TOTAL + 1);
/** Sorts before every other id. */
const LOWEST_ID = '00000000-0000-0000-0000-000000000000';

/**
 * The sorts: the columns of the sort's index, all its entries, the name of its key in the query of a search, how many
 * channel users a walk looks at for each row that it should find, and the form of the key in a cursor. A channel user
 * that never obtained a token sorts before all others.
 */
export const ORDERS = {
  username: {
    column: 'channelUser.usernameKey',
    id: 'channelUser.id',
    index: 'SELECT username_key AS key, id FROM channel_user',
    found: 'key',
    walkedPerRow: 100,
    cast: '',
    isKey: (text: string) => /^[a-z0-9._@-]{1,64}$/.test(text),
  },
  createdAt: {
    column: 'channelUser.createdAt',
    id: 'channelUser.id',
    index: 'SELECT created_at AS key, id FROM channel_user',
    found: 'key',
    walkedPerRow: 100,
    cast: '::timestamptz',
    isKey: isTimestamp,
  },
  lastTokenAt: {
    column: 'lastUse.lastTokenAt',
    id: 'lastUse.channelUserId',
    index: 'SELECT last_token_at AS key, channel_user_id AS id FROM channel_user_use',
    found: 'channel_user_use.last_token_at',
    // Each costs a look-up in another table.
    walkedPerRow: 20,
    cast: '::timestamptz',
    isKey: (text: string) => text === '-infinity' || isTimestamp(text),
  },
} as const;
export type Order = keyof typeof ORDERS;

/** The sort of a list, and where in it a page begins and ends. */
export interface PagePlace {
  readonly order: Order;
  readonly descending: boolean;
  /** Sort key and id of the last channel user before the page. */
  readonly seen: string[] | undefined;
  readonly limit: number;
}

/** What is listed, at one time, and how to search for it. */
export interface Wanted {
  readonly filter: ChannelUserFilterQuery;
  readonly time: number;
  /** For a query that finds all matches of the filter. */
  readonly search: Search;
  /** For a query that goes through channel users in order. */
  readonly walk: Search;
  /** Whether more match for certain than lists count. */
  readonly isUncountable: boolean;
}

/** A part of a walk. */
export interface Walked {
  readonly ids: string[];
  /** Sort key and id of the last channel user that the walk looked at; nothing if it looked as far as it had to. */
  readonly end: string[] | undefined;
}

const FILTERS = [
  'q',
  'status',
  'expiringWithinDays',
  'silentForDays',
  ...REGISTERED_FILTERS,
  ...FIELD_FILTERS.map(({ parameter }) => parameter),
] as const;

const countOfFilters = (filter: ChannelUserFilterQuery): number =>
  FILTERS.filter((parameter) => String(filter[parameter] ?? '').trim() !== '').length;

/** Whether a filter has no other part. */
const isAlone = (filter: ChannelUserFilterQuery): boolean => countOfFilters(filter) === 1;

const directionOf = ({ descending }: PagePlace) => (descending ? (['DESC', '<'] as const) : (['ASC', '>'] as const));

/** Where a walk from the newest begins: behind those that are too new to be silent. */
function firstOf({ filter: { silentForDays }, time }: Wanted, { order, descending }: PagePlace): string[] | undefined {
  if (silentForDays === undefined || !descending || order === 'username') return undefined;
  return [daysAfter(time, -silentForDays).toISOString(), LOWEST_ID];
}

/**
 * Finds channel users for lists. A search finds all matches of a filter and sorts them. A walk goes through channel users
 * in the order of the list, for filters that match many. Neither costs more than its bound, however many there are.
 */
@Injectable()
export class ChannelUserSearch {
  constructor(
    @InjectRepository(ChannelUser) private readonly channelUsers: Repository<ChannelUser>,
    private readonly dataSource: DataSource,
    private readonly filters: ListFilters,
  ) {}

  /** Chooses conditions that begin a search with the fewer rows. */
  async plan(filter: ChannelUserFilterQuery, order: Order, time: number): Promise<Wanted> {
    const { expiringWithinDays, silentForDays } = filter;
    const plain = { search: EXPIRING, walk: EXPIRING, isUncountable: false };
    const areManySilent = silentForDays !== undefined && (await this.#areManySilent(daysAfter(time, -silentForDays)));
    const expiring =
      expiringWithinDays === undefined
        ? plain
        : await this.#expiring(filter, expiringWithinDays, order, time, !areManySilent);
    return {
      filter,
      time,
      search: { expiring: expiring.search, beginsWithSilent: !areManySilent },
      walk: { expiring: expiring.walk, beginsWithSilent: false },
      isUncountable: expiring.isUncountable || (areManySilent && isAlone(filter)),
    };
  }

  /**
   * Counts the matches of a filter. If an exact count is possible, also finds the page among the matches. Otherwise the
   * planner might go through a million rows in order to find a few.
   */
  async find(wanted: Wanted, page: PagePlace): Promise<{ total: number | null; ids?: string[] }> {
    return wanted.isUncountable ? { total: null } : this.#search(wanted, page, MAX_TOTAL);
  }

  /** Finds a page among all matches, however many. Costs what the matches cost. */
  async findAmongAll(wanted: Wanted, page: PagePlace): Promise<string[]> {
    const search = { expiring: isExpiring('channelUser.id'), beginsWithSilent: true };
    const { ids = [] } = await this.#search({ ...wanted, search }, page, undefined);
    return ids;
  }

  /** Finds matches among the next channel users in order. */
  async walk(wanted: Wanted, start: PagePlace): Promise<Walked> {
    const page = { ...start, seen: start.seen ?? firstOf(wanted, start) };
    const { order, seen, limit } = page;
    const { column, id, cast } = ORDERS[order];
    const [direction, comparison] = directionOf(page);
    // Without a filter, the next channel users are the page.
    const end = countOfFilters(wanted.filter) === 0 ? undefined : await this.#endOfWalk(page);
    const query = this.#filtered(wanted, wanted.walk).select('channelUser.id', 'id');
    if (order === 'lastTokenAt') query.innerJoin(LastUse, 'lastUse', 'lastUse.channelUserId = channelUser.id');
    query.orderBy(column, direction).addOrderBy(id, direction).limit(limit);
    if (seen) {
      const [key, lastId] = seen;
      query.andWhere(`(${column}, ${id}) ${comparison} (:key${cast}, :lastId::uuid)`, { key, lastId });
    }
    if (end) {
      const [endKey, endId] = end;
      const upTo = page.descending ? '>=' : '<=';
      query.andWhere(`(${column}, ${id}) ${upTo} (:endKey${cast}, :endId::uuid)`, { endKey, endId });
    }
    const rows = await query.getRawMany<{ id: string }>();
    return { ids: rows.map((row) => row.id), end };
  }

  async #endOfWalk(page: PagePlace): Promise<string[] | undefined> {
    const { index, cast, walkedPerRow } = ORDERS[page.order];
    const [direction, comparison] = directionOf(page);
    const behind = page.seen ? `WHERE (key, id) ${comparison} ($1${cast}, $2::uuid)` : '';
    const [end] = await this.dataSource.query<{ key: string; id: string }[]>(
      `SELECT key::text, id FROM (${index}) AS entry ${behind}
       ORDER BY entry.key ${direction}, id ${direction} OFFSET ${String(walkedPerRow * page.limit - 1)} LIMIT 1`,
      page.seen,
    );
    return end && [end.key, end.id];
  }

  #filtered({ filter, time }: Pick<Wanted, 'filter' | 'time'>, search: Search): SelectQueryBuilder<ChannelUser> {
    return filterBy(this.channelUsers.createQueryBuilder('channelUser'), filter, time, search, this.filters);
  }

  /** @param most stops counting behind this number, and finds no page then */
  async #search(
    wanted: Wanted,
    page: PagePlace,
    most: number | undefined,
  ): Promise<{ total: number | null; ids?: string[] }> {
    const { order, seen, limit } = page;
    const { found: key, cast } = ORDERS[order];
    const filtered = this.#filtered(wanted, wanted.search).select('channelUser.id', 'id');
    if (order !== 'lastTokenAt') filtered.addSelect(ORDERS[order].column, 'key');
    if (most !== undefined) filtered.limit(most + 1);
    const [text, parameters] = filtered.getQueryAndParameters() as [string, unknown[]];
    const [direction, comparison] = directionOf(page);
    const place = (index: number): string => `$${String(parameters.length + index)}`;
    const behind = seen ? `AND (${key}, id) ${comparison} (${place(1)}${cast}, ${place(2)}::uuid)` : '';
    const isCounted = most === undefined ? 'true' : `(SELECT total FROM counted) <= ${String(most)}`;
    const [found] = await this.dataSource.query<{ total: number; ids: string[] }[]>(
      `WITH found AS MATERIALIZED (${text}), counted AS (SELECT count(*)::int AS total FROM found)
       SELECT total, ARRAY(
         SELECT id FROM found ${order === 'lastTokenAt' ? 'JOIN channel_user_use ON channel_user_id = id' : ''}
         WHERE ${isCounted} ${behind}
         ORDER BY ${key} ${direction}, id ${direction} LIMIT ${String(limit)}) AS ids
       FROM counted`,
      [...parameters, ...(seen ?? [])],
    );
    return found && found.total <= (most ?? Infinity) ? found : { total: null };
  }

  async #expiring(
    filter: ChannelUserFilterQuery,
    days: number,
    order: Order,
    time: number,
    beginsWithSilent: boolean,
  ): Promise<{ search: string; walk: string; isUncountable: boolean }> {
    const { expiries, owners } = await this.#expiries(new Date(time), daysAfter(time, days));
    const isUncountable = isAlone(filter) && (expiries === MAX_EXPIRIES || owners > MAX_TOTAL);
    if (expiries === MAX_EXPIRIES) return { search: EXPIRES, walk: EXPIRES, isUncountable };
    const walk = isExpiring(ORDERS[order].id);
    if (isAlone(filter)) return { search: EXPIRING, walk, isUncountable };
    const others = { filter: { ...filter, expiringWithinDays: undefined }, time };
    const [text, parameters] = this.#filtered(others, { expiring: '', beginsWithSilent })
      .select('1')
      .getQueryAndParameters() as [string, unknown[]];
    const isMost = (await this.#countTo(expiries, text, parameters)) === expiries;
    return { search: isMost ? EXPIRING : isExpiring('channelUser.id'), walk, isUncountable: false };
  }

  async #expiries(now: Date, expiresBy: Date): Promise<{ expiries: number; owners: number }> {
    const rows = EXPIRIES.replaceAll(':now', '$1').replaceAll(':expiresBy', '$2');
    const [counted = { expiries: 0, owners: 0 }] = await this.dataSource.query<{ expiries: number; owners: number }[]>(
      `SELECT count(*)::int AS expiries, count(DISTINCT owner)::int AS owners
       FROM (${rows} LIMIT ${String(MAX_EXPIRIES)}) AS expiry`,
      [now, expiresBy],
    );
    return counted;
  }

  /** Whether more are silent than lists count. */
  async #areManySilent(since: Date): Promise<boolean> {
    const silent = await this.#countTo(MAX_TOTAL + 1, SILENT.replaceAll(':silentSince', '$1'), [since]);
    return silent > MAX_TOTAL;
  }

  async #countTo(limit: number, rows: string, parameters: unknown[]): Promise<number> {
    const [counted] = await this.dataSource.query<{ n: number }[]>(
      `SELECT count(*)::int AS n FROM (${rows} LIMIT ${String(limit)}) AS counted`,
      parameters,
    );
    return counted?.n ?? 0;
  }
}
