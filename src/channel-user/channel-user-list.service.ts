import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { Any, Repository } from 'typeorm';
import { decodeCursor, DEFAULT_PAGE, encodeCursor } from '../platform/api/page.ts';
import { Clock } from '../platform/common/clock.ts';
import { isUuid } from '../platform/common/uuid.ts';
import type { ChannelUserFilterQuery, ChannelUserPageDto, ListChannelUsersQuery } from './channel-user.dto.ts';
import { ChannelUser } from './model/channel-user.entity.ts';
import { type ExportFormat, FORMATS } from './channel-user-export.ts';
import { toDto } from './channel-user-fields.ts';
import { LastUseService } from './credential/last-use.service.ts';
import {
  ChannelUserSearch,
  MAX_TOTAL,
  type Order,
  ORDERS,
  type PagePlace,
  type Wanted,
} from './channel-user-search.service.ts';

/** Rows of a page of an export. Reading and writing a page blocks the event loop. */
const EXPORTED_AT_ONCE = 100;
const sortKey = (order: Order, { usernameKey, createdAt, lastTokenAt }: ChannelUser): string =>
  order === 'username'
    ? usernameKey
    : ((order === 'createdAt' ? createdAt : lastTokenAt)?.toISOString() ?? '-infinity');

/** Lists and exports of channel users. */
@Injectable()
export class ChannelUserListService {
  constructor(
    @InjectRepository(ChannelUser) private readonly channelUsers: Repository<ChannelUser>,
    private readonly clock: Clock,
    private readonly lastUses: LastUseService,
    private readonly search: ChannelUserSearch,
  ) {}

  /** Reads a page of channel users. Its cost depends neither on its distance from the start nor on the filter. */
  async list(query: ListChannelUsersQuery): Promise<ChannelUserPageDto> {
    await this.lastUses.settle();
    const { sort = 'username', limit = DEFAULT_PAGE, cursor } = query;
    const order = sort.replace('-', '') as Order;
    const seen = cursor === undefined ? undefined : decodeCursor(cursor, sort, [ORDERS[order].isKey, isUuid]);
    const page = { order, descending: sort.startsWith('-'), seen, limit: limit + 1 };
    const time = this.clock.now();
    const wanted = await this.search.plan(query, order, time);
    const found = await this.search.find(wanted, page);
    const ids = found.ids ?? (await this.#pageOfMany(wanted, page));
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
      const text = header + FORMATS[format].lines(rows.map((row) => toDto(row, this.clock.now())));
      if (text !== '') yield text;
      header = '';
    }
  }

  /** The pages of an export. There is always one, which may be empty. */
  async *#pages(filter: ChannelUserFilterQuery): AsyncGenerator<ChannelUser[]> {
    const page: PagePlace = { order: 'username', descending: false, seen: undefined, limit: MAX_TOTAL };
    // All pages use the same time.
    const wanted = await this.search.plan(filter, page.order, this.clock.now());
    const { ids } = await this.search.find(wanted, page);
    if (ids) {
      let i = 0;
      do yield await this.#read(ids.slice(i, i + EXPORTED_AT_ONCE));
      while ((i += EXPORTED_AT_ONCE) < ids.length);
      return;
    }
    let seen: string[] | undefined;
    do {
      const { ids: next, end } = await this.search.walk(wanted, { ...page, seen, limit: EXPORTED_AT_ONCE });
      const rows = await this.#read(next);
      yield rows;
      const last = next.length === EXPORTED_AT_ONCE ? rows.at(-1) : undefined;
      seen = last ? [last.usernameKey, last.id] : end;
    } while (seen);
  }

  /** A page of so many matches that the next ones are probably near. They may all be at the end of the sort. */
  async #pageOfMany(wanted: Wanted, page: PagePlace): Promise<string[]> {
    const { ids, end } = await this.search.walk(wanted, page);
    return ids.length === page.limit || end === undefined ? ids : this.search.findAmongAll(wanted, page);
  }

  /** Reads channel users in the order of the ids. Those deleted in the meantime are left out. */
  async #read(ids: readonly string[]): Promise<ChannelUser[]> {
    if (ids.length === 0) return [];
    const found = await this.channelUsers.findBy({ id: Any([...ids]) });
    const byId = new Map(found.map((channelUser) => [channelUser.id, channelUser]));
    return ids.flatMap((id) => byId.get(id) ?? []);
  }
}
