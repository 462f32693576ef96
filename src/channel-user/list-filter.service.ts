import { Injectable } from '@nestjs/common';
import type { ChannelUserFilterQuery } from './channel-user.dto.ts';

/** The filters by tables of other features. */
export const REGISTERED_FILTERS = ['failing'] as const satisfies (keyof ChannelUserFilterQuery)[];
type RegisteredFilter = (typeof REGISTERED_FILTERS)[number];

/** A filter of lists and exports by a table of another feature, which registers the filter. */
export interface ListFilter {
  /** The query parameter. */
  readonly parameter: RegisteredFilter;
  /** SQL on the alias `channelUser`. */
  readonly condition: string;
  /** The values that the condition names. */
  readonly values: (now: number) => Record<string, unknown>;
}

/** Where features register their {@link ListFilter}s, since this one cannot import them. */
@Injectable()
export class ListFilters {
  readonly #filters = new Map<RegisteredFilter, ListFilter>();

  register(filter: ListFilter): void {
    this.#filters.set(filter.parameter, filter);
  }

  /** Throws if nothing registered the filter, because a list without it would show too much. */
  get(parameter: RegisteredFilter): ListFilter {
    const filter = this.#filters.get(parameter);
    if (!filter) throw new Error(`Nothing registered the filter "${parameter}"`);
    return filter;
  }
}
