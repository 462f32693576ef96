import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { In, Repository } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { AuditService } from '../audit/audit.service.ts';
import { Clock } from '../platform/common/clock.ts';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, pageOf } from '../platform/api/page.ts';
import { isUuid } from '../platform/common/uuid.ts';
import type { Actor } from '../platform/common/principal.ts';
import { DeliveryService } from './delivery.service.ts';
import type { ListNoticesQuery, NoticeDeliveryDto, NoticeDto, NoticePageDto } from './notice.dto.ts';
import { Notice } from './notice.entity.ts';
import { DeliveryNotFoundError, WebhookDisabledError, WebhookNotFoundError } from './notice.errors.ts';
import { NoticeDelivery } from './notice-delivery.entity.ts';
import { Webhook } from './webhook.entity.ts';
import { WebhookService } from './webhook.service.ts';

const NOT_ALLOWED = 'The URL leads to an address that WEBHOOK_ALLOWED_NETWORKS of the sending instance does not allow.';

const presentDelivery = (delivery: NoticeDelivery): NoticeDeliveryDto => ({
  id: delivery.id,
  webhookId: delivery.webhookId,
  state: delivery.state,
  attempts: delivery.attempts,
  nextAttemptAt: delivery.nextAttemptAt,
  lastAttemptAt: delivery.lastAttemptAt,
  lastStatus: delivery.lastStatus,
  lastError: delivery.lastError,
  lastErrorDetail: delivery.lastError === 'address_not_allowed' ? NOT_ALLOWED : null,
  lastDurationMs: delivery.lastDurationMs,
  deliveredAt: delivery.deliveredAt,
});

const toDto = (notice: Notice, deliveries: NoticeDelivery[]): NoticeDto => ({
  id: notice.id,
  type: notice.type,
  at: notice.createdAt,
  data: notice.data,
  deliveries: deliveries.map(presentDelivery),
});

/** Lists notices, and sends them again on request. */
@Injectable()
export class NoticeService {
  constructor(
    @InjectRepository(Notice) private readonly notices: Repository<Notice>,
    @InjectRepository(NoticeDelivery) private readonly deliveries: Repository<NoticeDelivery>,
    private readonly audit: AuditService,
    private readonly webhooks: WebhookService,
    private readonly sender: DeliveryService,
    private readonly clock: Clock,
  ) {}

  /** A page of the notices, newest first, each with its deliveries. */
  async list({ type, state, webhook, limit = DEFAULT_PAGE, cursor }: ListNoticesQuery): Promise<NoticePageDto> {
    const query = this.notices
      .createQueryBuilder('notice')
      .orderBy('notice.id', 'DESC')
      .limit(limit + 1);
    if (type !== undefined) query.where('notice.type = :type', { type });
    if (state !== undefined || webhook !== undefined) {
      const delivery = query
        .subQuery()
        .select('1')
        .from(NoticeDelivery, 'delivery')
        .where('notice.id = delivery.noticeId');
      if (state !== undefined) delivery.andWhere('delivery.state = :state', { state });
      if (webhook !== undefined) delivery.andWhere('delivery.webhookId = :webhook', { webhook });
      query.andWhere(`EXISTS ${delivery.getQuery()}`, delivery.getParameters());
    }
    if (cursor !== undefined) {
      const [id] = decodeCursor(cursor, 'id', [isUuid]);
      query.andWhere('notice.id < :id', { id });
    }
    const page = pageOf(await query.getMany(), limit, ({ id }) => encodeCursor('id', [id]));
    const deliveries = await this.deliveries.find({
      where: { noticeId: In(page.items.map(({ id }) => id)) },
      order: { webhookId: 'ASC' },
    });
    const ofNotice = Map.groupBy(deliveries, ({ noticeId }) => noticeId);
    return {
      items: page.items.map((notice) => toDto(notice, ofNotice.get(notice.id) ?? [])),
      nextCursor: page.nextCursor,
    };
  }

  /**
   * Sends a `webhook.test` to a webhook, whatever types the webhook asks for.
   *
   * @throws WebhookNotFoundError, WebhookDisabledError
   */
  async test(webhookId: string, actor: Actor): Promise<NoticeDto> {
    const now = this.clock.now();
    const id = uuidv7({ msecs: now });
    const made = await this.audit.transaction(async (manager) => {
      const webhook = this.#enabled(await manager.findOneBy(Webhook, { id: webhookId }));
      const notice = this.notices.create({
        id,
        type: 'webhook.test',
        once: `webhook.test:${id}`,
        channelUserId: null,
        data: { webhook: { id: webhookId } },
        createdAt: new Date(now),
      });
      await manager.insert(Notice, notice);
      await manager.insert(NoticeDelivery, { noticeId: id, webhookId, nextAttemptAt: new Date(now) });
      this.webhooks.recordSending(manager, 'webhook.tested', webhook, id, actor);
      return toDto(notice, await manager.findBy(NoticeDelivery, { noticeId: id }));
    });
    this.sender.wake();
    return made;
  }

  /**
   * Sends a notice to a webhook again, now. Its attempts are counted from zero again.
   *
   * @throws DeliveryNotFoundError, WebhookDisabledError
   */
  async retry(noticeId: string, id: string, actor: Actor): Promise<NoticeDeliveryDto> {
    const asked = await this.audit.transaction(async (manager) => {
      const now = new Date(this.clock.now());
      const where = { id, noticeId };
      const delivery = await manager.findOne(NoticeDelivery, { where, lock: { mode: 'pessimistic_write' } });
      if (!delivery) throw new DeliveryNotFoundError();
      const webhook = this.#enabled(await manager.findOneBy(Webhook, { id: delivery.webhookId }));
      const isBeingMade = delivery.claim !== null && delivery.nextAttemptAt !== null && delivery.nextAttemptAt > now;
      if (isBeingMade) return delivery;
      await manager.update(NoticeDelivery, { id }, { state: 'pending', attempts: 0, nextAttemptAt: now, claim: null });
      this.webhooks.recordSending(manager, 'webhook.delivery-retried', webhook, noticeId, actor);
      return manager.findOneByOrFail(NoticeDelivery, { id });
    });
    this.sender.wake();
    return presentDelivery(asked);
  }

  #enabled(webhook: Webhook | null): Webhook {
    if (!webhook) throw new WebhookNotFoundError();
    if (!webhook.enabled) throw new WebhookDisabledError();
    return webhook;
  }
}
