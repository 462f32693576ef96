import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, In, Repository } from 'typeorm';
import { v7 as uuidv7 } from 'uuid';
import { AuditService } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { every } from '../common/every.ts';
import { decodeCursor, DEFAULT_PAGE, encodeCursor, isUuid, pageOf } from '../common/page.ts';
import type { Actor } from '../common/request-context.ts';
import { Config } from '../config/config.ts';
import { DeliveryService } from './delivery.service.ts';
import type { ListNoticesQuery, NoticeDeliveryDto, NoticeDto, NoticePageDto } from './notice.dto.ts';
import { Notice } from './notice.entity.ts';
import { DeliveryNotFoundError, WebhookDisabledError, WebhookNotFoundError } from './notice.errors.ts';
import { NoticeDelivery } from './notice-delivery.entity.ts';
import { Webhook } from './webhook.entity.ts';
import { WebhookService } from './webhook.service.ts';

const SCAN_MS = 60_000;
const FIRST_SCAN_MS = 10_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Any number will do, as long as every instance takes the same. */
const SCAN_LOCK = 7_236_020;
const SCANNED_AT_ONCE = 500;
const PRUNED_AT_ONCE = 1_000;
/** What expires is told so many days before, the nearest of these that has begun. */
const FIRST_THRESHOLD_DAYS = 30;
/** So many refusals without a token in between. A misspelt password and a second look make fewer. */
const FAILING_REFUSALS = 10;
/** A notice says that something was told: it must outlive what would be told again. */
const LEAST_RETENTION_DAYS = FIRST_THRESHOLD_DAYS + 5;
const NIL_UUID = '00000000-0000-0000-0000-000000000000';

const CHANNEL_USER = `'channelUser',
  jsonb_build_object('id', account.id, 'username', account.username, 'displayName', account.display_name)`;
const MILLISECONDS = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::bigint`;

/**
 * Makes notices of what expires, from a position ($2, $3, $4) on, by the index of expiries alone. $1 is now.
 *
 * @param columns expiry, owner and id, as that index has them
 */
const expiring = (type: string, from: string, columns: [string, string, string], details: string): string => `
  WITH due AS MATERIALIZED (
    SELECT ${columns.join(', ')} FROM ${from}
    WHERE (${columns.join(', ')}) > ($2::timestamptz, $3::uuid, $4::uuid)
      AND expires_at <= $1::timestamptz + interval '${String(FIRST_THRESHOLD_DAYS)} days'
    ORDER BY ${columns.join(', ')} LIMIT ${String(SCANNED_AT_ONCE)}
  ), near AS (
    SELECT due.*, CASE WHEN expires_at <= $1::timestamptz + interval '1 day' THEN 1
      WHEN expires_at <= $1::timestamptz + interval '7 days' THEN 7
      ELSE ${String(FIRST_THRESHOLD_DAYS)} END AS days FROM due
  ), made AS (
    INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
    SELECT notice_id($1::timestamptz), '${type}',
      concat_ws(':', '${type}', near.id, near.days, ${MILLISECONDS('near.expires_at')}), account.id,
      jsonb_build_object(${CHANNEL_USER}, ${details}, 'withinDays', near.days), $1::timestamptz
    FROM near JOIN channel_user AS account ON account.id = near.owner
    WHERE account.expires_at IS NULL OR account.expires_at > $1::timestamptz
    ON CONFLICT (once) DO NOTHING
  )
  SELECT expires_at AS "expiresAt", owner, id, count(*) OVER ()::int AS count FROM due
  ORDER BY expires_at DESC, owner DESC, id DESC LIMIT 1`;

const EXPIRING = [
  expiring(
    'credential.expiring',
    `(SELECT expires_at, channel_user_id AS owner, id FROM credential
      WHERE revoked_at IS NULL AND expires_at IS NOT NULL) AS credential`,
    ['expires_at', 'owner', 'id'],
    `'credential', (SELECT jsonb_build_object('id', id, 'fingerprint', fingerprint, 'expiresAt', notice_time(expires_at))
      FROM credential WHERE id = near.id)`,
  ),
  expiring(
    'channel_user.expiring',
    '(SELECT expires_at, id AS owner, id FROM channel_user WHERE expires_at IS NOT NULL) AS account',
    ['expires_at', 'owner', 'id'],
    `'expiresAt', notice_time(near.expires_at)`,
  ),
];

/**
 * Who is refused again and again, once until the next token: the beginning of a row may move back when another
 * instance writes what it had recorded, so that more than the key is asked. A suspended account is meant to fail.
 */
const FAILING = `
  INSERT INTO notice (id, type, once, channel_user_id, data, created_at)
  SELECT notice_id($1::timestamptz), 'sign_in.failing',
    concat_ws(':', 'sign_in.failing', account.id, ${MILLISECONDS('failure.since')}), account.id,
    jsonb_build_object(${CHANNEL_USER}, 'since', notice_time(failure.since), 'lastAt', notice_time(failure.last_at),
      'reason', failure.reason, 'refusals', failure.refusals), $1::timestamptz
  FROM sign_in_failure AS failure JOIN channel_user AS account ON account.id = failure.channel_user_id
  WHERE failure.last_at > $2 AND failure.refusals >= ${String(FAILING_REFUSALS)} AND account.suspended_at IS NULL
    AND NOT EXISTS (
      SELECT FROM notice WHERE notice.channel_user_id = account.id AND notice.type = 'sign_in.failing'
        AND notice.created_at >= failure.since)
  LIMIT ${String(SCANNED_AT_ONCE)}
  ON CONFLICT (once) DO NOTHING`;

const PRUNE = `
  WITH old AS (
    DELETE FROM notice WHERE id IN (
      SELECT id FROM notice WHERE created_at < $1 ORDER BY created_at LIMIT ${String(PRUNED_AT_ONCE)}
      FOR UPDATE SKIP LOCKED)
    RETURNING 1
  )
  SELECT count(*)::int AS count FROM old`;

const PRUNE_ORPHANS = `
  DELETE FROM notice_delivery WHERE next_attempt_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM webhook WHERE webhook.id = notice_delivery.webhook_id)`;

const presentDelivery = (delivery: NoticeDelivery): NoticeDeliveryDto => ({
  id: delivery.id,
  webhookId: delivery.webhookId,
  state: delivery.state,
  attempts: delivery.attempts,
  nextAttemptAt: delivery.nextAttemptAt,
  lastAttemptAt: delivery.lastAttemptAt,
  lastStatus: delivery.lastStatus,
  lastError: delivery.lastError,
  lastDurationMs: delivery.lastDurationMs,
  deliveredAt: delivery.deliveredAt,
});

const present = (notice: Notice, deliveries: NoticeDelivery[]): NoticeDto => ({
  id: notice.id,
  type: notice.type,
  at: notice.createdAt,
  data: notice.data,
  deliveries: deliveries.map(presentDelivery),
});

/** The notices: made by scans where no change makes them, listed, sent again, pruned. */
@Injectable()
export class NoticeService implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger(NoticeService.name);
  #first: NodeJS.Timeout | undefined;
  #timer: NodeJS.Timeout | undefined;
  #hourlyAt = -Infinity;
  #isStopping = false;

  constructor(
    @InjectRepository(Notice) private readonly notices: Repository<Notice>,
    @InjectRepository(NoticeDelivery) private readonly deliveries: Repository<NoticeDelivery>,
    private readonly dataSource: DataSource,
    private readonly audit: AuditService,
    private readonly webhooks: WebhookService,
    private readonly sender: DeliveryService,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
  ) {}

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    const failed = (reason: string): void => {
      if (!this.#isStopping) this.#logger.warn(`Nobody has looked for what should be noticed: ${reason}`);
    };
    // Soon: whoever deploys more often than every hour is told of what expires, too.
    this.#first = setTimeout(() => {
      this.#scan().catch((error: unknown) => {
        failed((error as Error).message);
      });
    }, FIRST_SCAN_MS).unref();
    this.#timer = every(SCAN_MS, () => this.#scan(), failed);
  }

  onModuleDestroy(): void {
    this.#isStopping = true;
    clearTimeout(this.#first);
    clearInterval(this.#timer);
  }

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
      items: page.items.map((notice) => present(notice, ofNotice.get(notice.id) ?? [])),
      nextCursor: page.nextCursor,
    };
  }

  /**
   * Sends a webhook a `webhook.test`, whatever types it asks for.
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
      return present(notice, await manager.findBy(NoticeDelivery, { noticeId: id }));
    });
    this.sender.wake();
    return made;
  }

  /**
   * Sends a notice to a webhook again, now, with all attempts before it.
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

  /** Makes notices of the credentials and accounts that expire soon. */
  async scanExpiring(): Promise<void> {
    const now = new Date(this.clock.now());
    for (const statement of EXPIRING) {
      let after: [Date, string, string] | undefined = [now, NIL_UUID, NIL_UUID];
      while (after) after = await this.#scanFrom(statement, now, after);
    }
  }

  /** Makes notices of the channel users that are refused again and again. */
  async scanFailing(): Promise<void> {
    const now = this.clock.now();
    await this.#alone((query) => query(FAILING, [new Date(now), new Date(now - HOUR_MS)]));
  }

  /** Forgets old notices, with their deliveries, and deliveries that were made while their webhook was removed. */
  async prune(): Promise<void> {
    await this.dataSource.query(PRUNE_ORPHANS);
    const days = Math.max(this.config.activityRetentionDays, LEAST_RETENTION_DAYS);
    const before = new Date(this.clock.now() - days * DAY_MS);
    let count: number;
    do {
      const [row] = await this.dataSource.query<{ count: number }[]>(PRUNE, [before]);
      count = row?.count ?? 0;
    } while (count === PRUNED_AT_ONCE);
  }

  async #scan(): Promise<void> {
    await this.scanFailing();
    const now = this.clock.now();
    if (now - this.#hourlyAt < HOUR_MS) return;
    await this.scanExpiring();
    await this.prune();
    await this.webhooks.wipeSecrets();
    this.#hourlyAt = now;
  }

  /** @returns where to go on; nothing at the end, or when another instance is at it */
  async #scanFrom(
    statement: string,
    now: Date,
    after: [Date, string, string],
  ): Promise<[Date, string, string] | undefined> {
    const rows = await this.#alone((query) => query(statement, [now, ...after]));
    const [last] = rows as { expiresAt: Date; owner: string; id: string; count: number }[];
    return last?.count === SCANNED_AT_ONCE ? [last.expiresAt, last.owner, last.id] : undefined;
  }

  /** In a transaction that no other instance has at the same time; of several, the others do nothing. */
  #alone(work: (query: (sql: string, parameters: unknown[]) => Promise<unknown[]>) => Promise<unknown[]>) {
    return this.dataSource.transaction(async (manager) => {
      const taken = 'SELECT pg_try_advisory_xact_lock($1) AS taken';
      const [lock] = await manager.query<{ taken: boolean }[]>(taken, [SCAN_LOCK]);
      return lock?.taken === true ? work((sql, parameters) => manager.query<unknown[]>(sql, parameters)) : [];
    });
  }

  #enabled(webhook: Webhook | null): Webhook {
    if (!webhook) throw new WebhookNotFoundError();
    if (!webhook.enabled) throw new WebhookDisabledError();
    return webhook;
  }
}
