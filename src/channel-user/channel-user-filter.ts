import type { SelectQueryBuilder } from 'typeorm';
import type { ChannelUserFilterQuery } from './channel-user.dto.ts';
import type { ChannelUser, ChannelUserStatus } from './model/channel-user.entity.ts';
import { FIELD_FILTERS } from './channel-user-fields.ts';
import { type ListFilters, REGISTERED_FILTERS } from './list-filter.service.ts';
import { fold } from './search-text.ts';

const DAY_MS = 86_400_000;

export const daysAfter = (time: number, days: number): Date => new Date(time + days * DAY_MS);

export const EXPIRIES = `
  SELECT channel_user_id AS owner FROM credential
    WHERE revoked_at IS NULL AND expires_at IS NOT NULL AND expires_at > :now AND expires_at <= :expiresBy
      AND NOT superseded
  UNION ALL SELECT id FROM channel_user
    WHERE expires_at IS NOT NULL AND expires_at > :now AND expires_at <= :expiresBy`;
/** The condition for a search that should begin with what expires. */
export const EXPIRING = `channelUser.id IN (SELECT expiry.owner FROM (${EXPIRIES}) AS expiry)`;
/** For a search that begins elsewhere: reads what expires once, then looks up each row. IS TRUE prevents a join. */
export const isExpiring = (id: string): string =>
  `(${id} IN (SELECT expiry.owner FROM (${EXPIRIES}) AS expiry)) IS TRUE`;
/** Checks each row by itself. So much expires here that reading all of it takes long, and the next match is near. */
export const EXPIRES = `(COALESCE(channelUser.expiresAt > :now AND channelUser.expiresAt <= :expiresBy, false)
  OR (SELECT bool_or(COALESCE(revoked_at IS NULL AND expires_at > :now AND expires_at <= :expiresBy AND NOT superseded,
    false)) FROM credential WHERE channel_user_id = channelUser.id))`;
/** The silent channel users: two index ranges, which hold no other rows. */
export const SILENT = `
  SELECT channel_user_id FROM channel_user_use WHERE last_token_at > '-infinity' AND last_token_at < :silentSince
  UNION ALL
  SELECT channel_user_id FROM channel_user_use WHERE last_token_at = '-infinity' AND created_at < :silentSince`;
/** Checks each row by itself, when too many are silent to begin with them. LIMIT prevents a join. */
const IS_SILENT = `(SELECT CASE WHEN last_token_at = '-infinity' THEN created_at ELSE last_token_at END
  FROM channel_user_use WHERE channel_user_id = channelUser.id LIMIT 1) < :silentSince`;

const STATUS_CONDITIONS: Record<ChannelUserStatus, string> = {
  suspended: 'channelUser.suspendedAt IS NOT NULL',
  expired: 'channelUser.suspendedAt IS NULL AND channelUser.expiresAt <= :now',
  active: 'channelUser.suspendedAt IS NULL AND (channelUser.expiresAt IS NULL OR channelUser.expiresAt > :now)',
};

/** The trigram index needs three letters or digits in a row. Shorter text is searched as the start of a username. */
const SEARCHABLE = /[\p{L}\p{N}]{3}/u;

const escapeLike = (text: string): string => text.replace(/[\\%_]/g, '\\$&');

/** How a query looks for the two filters that have tables of their own. */
export interface Search {
  /** The SQL condition for `expiringWithinDays`. */
  readonly expiring: string;
  /** Whether a query with `silentForDays` begins with the silent channel users, or checks those that it finds. */
  readonly beginsWithSilent: boolean;
}

/**
 * Restricts a query on channel users (alias `channelUser`) to those that match all given filters.
 *
 * @param registered the filters by tables of other features
 */
export function filterBy(
  query: SelectQueryBuilder<ChannelUser>,
  filter: ChannelUserFilterQuery,
  time: number,
  search: Search,
  registered: ListFilters,
): SelectQueryBuilder<ChannelUser> {
  const { q, status, expiringWithinDays, silentForDays } = filter;
  query.setParameters({ now: new Date(time) });
  const text = fold(q?.trim() ?? '');
  if (SEARCHABLE.test(text)) {
    query.andWhere('channelUser.searchText LIKE :q', { q: `%${escapeLike(text)}%` });
  } else if (text !== '') query.andWhere('channelUser.usernameKey LIKE :q', { q: `${escapeLike(text)}%` });
  if (status !== undefined) query.andWhere(STATUS_CONDITIONS[status]);
  for (const { parameter, condition } of FIELD_FILTERS) {
    if (filter[parameter] !== undefined) query.andWhere(condition, { [parameter]: filter[parameter] });
  }
  if (expiringWithinDays !== undefined)
    query.andWhere(search.expiring, { expiresBy: daysAfter(time, expiringWithinDays) });
  if (silentForDays !== undefined) {
    const silentSince = daysAfter(time, -silentForDays);
    query.setParameters({ silentSince });
    if (search.beginsWithSilent) query.innerJoin(`(${SILENT})`, 'silent', 'silent.channel_user_id = channelUser.id');
    else query.andWhere(IS_SILENT);
    // Every silent channel user is this old. The condition lets a walk by `createdAt` skip the newer ones.
    query.andWhere('channelUser.createdAt < :silentSince');
  }
  for (const parameter of REGISTERED_FILTERS) {
    if (filter[parameter] === undefined) continue;
    const { condition, values } = registered.get(parameter);
    query.andWhere(condition, values(time));
  }
  return query;
}
