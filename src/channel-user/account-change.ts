import type { EntityManager } from 'typeorm';
import type { AuditService } from '../audit/audit.service.ts';
import type { ChangeFeed } from '../database/change-feed.service.ts';
import { ChannelUser } from './channel-user.entity.ts';
import { ChannelUserNotFoundError } from './channel-user.errors.ts';
import { CHANNEL_USER_TOPIC } from './directory.service.ts';

/**
 * Changes an account or its credentials in a transaction that holds the account's row, so that two changes happen one
 * after the other. The next request on this instance sees the result, whatever became of the notification.
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
    // After an error, too: a commit whose answer was lost may have happened.
    feed.announce(CHANNEL_USER_TOPIC, id);
  }
}
