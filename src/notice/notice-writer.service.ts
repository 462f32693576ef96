import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { Clock } from '../platform/common/clock.ts';
import { type EventType, Notice } from './notice.entity.ts';

/** Writes notices for the features above, of what neither a trigger nor a scan finds. */
@Injectable()
export class NoticeWriter {
  constructor(private readonly clock: Clock) {}

  /**
   * Writes a notice in the transaction of what it tells. Its deliveries come with it.
   *
   * @param data ids and times; nothing secret, and no names of people
   */
  async write(manager: EntityManager, type: EventType, data: object): Promise<void> {
    const now = this.clock.now();
    const id = uuidv7({ msecs: now });
    await manager.insert(Notice, {
      id,
      type,
      once: `${type}:${id}`,
      channelUserId: null,
      data,
      createdAt: new Date(now),
    });
  }
}
