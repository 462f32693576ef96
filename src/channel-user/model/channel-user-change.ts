import type { EntityManager } from 'typeorm';
import type { AuditService } from '../../audit/audit.service.ts';
import type { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { ChannelUser } from './channel-user.entity.ts';
import { ChannelUserNotFoundError } from './channel-user.errors.ts';

/** The topic of the triggers on `channel_user` and `credential`; the key is the channel user's id. */
export const CHANNEL_USER_TOPIC = 'channel_user';

/** Locks the row of an account until the transaction ends, as every change of its credentials does. */
export async function lockChannelUser(manager: EntityManager, id: string): Promise<void> {
  await manager.query('SELECT FROM channel_user WHERE id = $1 FOR UPDATE', [id]);
}

/**
 * Changes an account or its credentials in a transaction that locks the account's row, so that concurrent changes wait
 * for each other. The next request on this instance sees the result even if the database's notification is lost.
 *
 * @throws ChannelUserNotFoundError
 */
export async function changeAccount<T>(
  { audit, feed }: { audit: AuditService; feed: ChangeFeed },
  id: string,
  work: (manager: EntityManager, channelUser: ChannelUser) => Promise<T>,
): Promise<T> {
  try {
    return await audit.transaction(async (manager) => {
      const channelUser = await manager.findOne(ChannelUser, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!channelUser) throw new ChannelUserNotFoundError();
      return work(manager, channelUser);
    });
  } finally {
    // Announced after an error too, because the commit may have succeeded although its answer was lost.
    feed.announce(CHANNEL_USER_TOPIC, id);
  }
}
