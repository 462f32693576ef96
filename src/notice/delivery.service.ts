import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import { Webhook as Signer } from 'standardwebhooks';
import { DataSource } from 'typeorm';
import { Clock } from '../common/clock.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import { DecryptionError } from '../encryption/encryption.service.ts';
import type { DeliveryError, DeliveryState } from './notice-delivery.entity.ts';
import type { NoticeType } from './notice.entity.ts';
import { deliveryErrorOf, post } from './post.ts';
import { TargetRefused, TargetService } from './target.service.ts';
import { WebhookService } from './webhook.service.ts';

/** How often an instance looks for what is due; what is made meanwhile is announced by the change feed. */
const POLL_MS = 1_000;
/** At once to one webhook, from one instance: a slow receiver takes its own places and no others. */
const AT_ONCE = 4;
/** From looking the name up to the status. */
const TIMEOUT_MS = 10_000;
/** After so long an instance that took a delivery is taken for dead. Longer than an attempt and a clock that is a minute off. */
const LEASE_MS = 90_000;
/** On shutdown attempts may go on for so long; then they are given back. */
const DRAIN_MS = 3_000;
const COUNT_MS = 5_000;
const MAX_COUNT = 100_000;
/** Waits after the first attempt, the second, …, in seconds: those of Standard Webhooks, about three days together. */
const RETRY_SECONDS = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/** Up to this share is added, so that what failed together does not come back together. */
const JITTER = 0.2;

/** A delivery that this instance took. */
interface Claimed {
  readonly id: string;
  readonly claim: string;
  readonly attempts: number;
  readonly noticeId: string;
  readonly type: NoticeType;
  readonly createdAt: Date;
  readonly data: object;
  readonly webhookId: string;
  readonly url: string;
  readonly sealedSecret: Buffer;
  readonly sealedPreviousSecret: Buffer | null;
  readonly previousSecretUntil: Date | null;
}

interface Outcome {
  readonly status: number | null;
  /** `null`: it was delivered. */
  readonly error: DeliveryError | null;
}

/**
 * Takes what is due: of each webhook as many as this instance has free places for it ($2: those that are taken). What
 * another instance takes at the same moment is skipped. Until the lease ends ($4) nobody else takes it.
 */
const CLAIM = `
  WITH due AS MATERIALIZED (
    SELECT waiting.id FROM webhook CROSS JOIN LATERAL (
      SELECT id FROM notice_delivery
      WHERE webhook_id = webhook.id AND next_attempt_at <= $1
      ORDER BY next_attempt_at, id
      LIMIT $3::int - COALESCE(($2::jsonb ->> webhook.id::text)::int, 0)
      FOR UPDATE SKIP LOCKED
    ) AS waiting WHERE webhook.enabled
  ), claimed AS (
    UPDATE notice_delivery AS delivery
    SET claim = gen_random_uuid(), next_attempt_at = $4, attempts = delivery.attempts + 1, last_attempt_at = $1
    FROM due WHERE delivery.id = due.id
    RETURNING delivery.id, delivery.claim, delivery.attempts, delivery.notice_id, delivery.webhook_id
  )
  SELECT claimed.id, claim, attempts, notice_id AS "noticeId", type, notice.created_at AS "createdAt", data,
    webhook_id AS "webhookId", url, sealed_secret AS "sealedSecret",
    sealed_previous_secret AS "sealedPreviousSecret", previous_secret_until AS "previousSecretUntil"
  FROM claimed JOIN notice ON notice.id = notice_id JOIN webhook ON webhook.id = webhook_id`;

/** Only of the attempt that has the claim: what was late, and taken over, says nothing any more. */
const FINISH = `
  UPDATE notice_delivery SET state = $3, next_attempt_at = $4, claim = NULL, last_status = $5, last_error = $6,
    last_duration_ms = $7, delivered_at = COALESCE($8, delivered_at)
  WHERE id = $1 AND claim = $2`;

const GIVE_BACK = `
  UPDATE notice_delivery SET claim = NULL, next_attempt_at = $3, attempts = attempts - 1 WHERE id = $1 AND claim = $2`;

const COUNT = `
  SELECT count(*)::int AS waiting FROM (
    SELECT FROM notice_delivery WHERE next_attempt_at IS NOT NULL LIMIT ${String(MAX_COUNT)}
  ) AS waiting`;

/**
 * Sends notices to webhooks, signed as Standard Webhooks says, at least once each. The deliveries stand in the
 * database; every instance takes what it has places for, and what a dead one had taken is taken again.
 */
@Injectable()
export class DeliveryService implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly #logger = new Logger(DeliveryService.name);
  /** Places taken, by webhook. */
  readonly #taken = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  readonly #cut = new AbortController();
  readonly #outcomes = { delivered: 0, retried: 0, failed: 0 };
  #claiming: Promise<void> | undefined;
  #wokenMeanwhile = false;
  #isFailing = false;
  #waiting = 0;
  #countedAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #drain: NodeJS.Timeout | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly webhooks: WebhookService,
    private readonly targets: TargetService,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
    feed: ChangeFeed,
  ) {
    const wake = (): void => {
      this.wake();
    };
    feed.subscribe('notice_delivery', { changed: wake, reset: wake });
  }

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    this.#timer = setInterval(() => {
      this.wake();
    }, POLL_MS).unref();
  }

  /** Nothing is begun any more. */
  onModuleDestroy(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#drain = setTimeout(() => {
      this.#cut.abort();
    }, DRAIN_MS);
  }

  /** What has begun ends or is given back, before the connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    await this.#claiming;
    await Promise.all(this.#running);
    clearTimeout(this.#drain);
  }

  /**
   * Attempts of this instance since its start, by how they ended: `delivered`, `retried` (there will be another) and
   * `failed` (given up); and how many deliveries of all instances wait, some seconds old at most.
   */
  get stats(): { delivered: number; retried: number; failed: number; waiting: number } {
    return { ...this.#outcomes, waiting: this.#waiting };
  }

  /** Looks for what is due, soon. Does not wait, does not throw. */
  wake(): void {
    if (this.#timer === undefined) return;
    this.#wokenMeanwhile = true;
    this.#claiming ??= this.#claim().finally(() => {
      this.#claiming = undefined;
    });
  }

  async #claim(): Promise<void> {
    try {
      while (this.#wokenMeanwhile) {
        this.#wokenMeanwhile = false;
        const now = this.clock.now();
        const taken = JSON.stringify(Object.fromEntries(this.#taken));
        const lease = new Date(now + LEASE_MS);
        const claimed = await this.dataSource.query<Claimed[]>(CLAIM, [new Date(now), taken, AT_ONCE, lease]);
        for (const delivery of claimed) this.#begin(delivery);
        await this.#count();
      }
      if (this.#isFailing) this.#logger.warn('Notices are delivered again');
      this.#isFailing = false;
    } catch (error) {
      this.#complain(error);
    }
  }

  async #count(): Promise<void> {
    const now = performance.now();
    if (now - this.#countedAt < COUNT_MS) return;
    this.#countedAt = now;
    const [row] = await this.dataSource.query<{ waiting: number }[]>(COUNT);
    this.#waiting = row?.waiting ?? 0;
  }

  /** Once, until it works again: the next look tries anew. */
  #complain(error: unknown): void {
    if (!this.#isFailing) this.#logger.warn(`Notices wait to be delivered: ${(error as Error).message}`);
    this.#isFailing = true;
  }

  #begin(delivery: Claimed): void {
    const { webhookId } = delivery;
    this.#taken.set(webhookId, (this.#taken.get(webhookId) ?? 0) + 1);
    const running = this.#deliver(delivery)
      // The lease ends by itself.
      .catch((error: unknown) => {
        this.#complain(error);
      })
      .finally(() => {
        const left = (this.#taken.get(webhookId) ?? 1) - 1;
        if (left === 0) this.#taken.delete(webhookId);
        else this.#taken.set(webhookId, left);
        this.#running.delete(running);
        this.wake();
      });
    this.#running.add(running);
  }

  async #deliver(delivery: Claimed): Promise<void> {
    const started = performance.now();
    const outcome = this.#timer === undefined ? undefined : await this.#attempt(delivery);
    if (!outcome) {
      await this.dataSource.query(GIVE_BACK, [delivery.id, delivery.claim, new Date(this.clock.now())]);
      return;
    }
    const { status, error } = outcome;
    const now = this.clock.now();
    const seconds = error === 'gone' ? undefined : RETRY_SECONDS[delivery.attempts - 1];
    const state: DeliveryState = error === null ? 'delivered' : seconds === undefined ? 'given-up' : 'failed';
    const wait = (seconds ?? 0) * (1 + Math.random() * JITTER) * 1000;
    await this.dataSource.query(FINISH, [
      delivery.id,
      delivery.claim,
      state,
      state === 'failed' ? new Date(now + wait) : null,
      status,
      error,
      Math.round(performance.now() - started),
      error === null ? new Date(now) : null,
    ]);
    this.#outcomes[state === 'failed' ? 'retried' : state === 'delivered' ? 'delivered' : 'failed']++;
    if (state === 'given-up') {
      const { noticeId, webhookId, attempts } = delivery;
      this.#logger.warn(
        `Notice ${noticeId} was given up for webhook ${webhookId} after ${String(attempts)} attempts: ${String(error)}`,
      );
    }
    if (error === 'gone') await this.webhooks.disableGone(delivery.webhookId, delivery.url);
  }

  /** @returns nothing when it was cut off by the shutdown, so that it does not count */
  async #attempt(delivery: Claimed): Promise<Outcome | undefined> {
    const signal = AbortSignal.any([this.#cut.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    try {
      const status = await this.#send(delivery, signal);
      return { status, error: errorOfStatus(status) };
    } catch (error) {
      if (this.#cut.signal.aborted) return undefined;
      if (error instanceof TargetRefused) return { status: null, error: error.reason };
      return { status: null, error: error instanceof DecryptionError ? 'not_signed' : deliveryErrorOf(error) };
    }
  }

  async #send(delivery: Claimed, signal: AbortSignal): Promise<number> {
    const { noticeId: id, type, createdAt, data } = delivery;
    const body = JSON.stringify({ type, timestamp: createdAt.toISOString(), data });
    // Of this attempt: receivers refuse what is older than some minutes.
    const at = new Date(this.clock.now());
    const signatures = this.webhooks
      .secretsOf({ ...delivery, id: delivery.webhookId })
      .map((secret) => new Signer(secret).sign(id, at, body));
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const end = (): void => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', end, { once: true });
    try {
      const { url, addresses } = await Promise.race([this.targets.find(delivery.url), ended]);
      return await post(url, {
        addresses,
        headers: {
          'content-type': 'application/json',
          'user-agent': 'Latchkey',
          'webhook-id': id,
          'webhook-timestamp': String(Math.floor(at.getTime() / 1000)),
          'webhook-signature': signatures.join(' '),
        },
        body,
        signal,
      });
    } finally {
      signal.removeEventListener('abort', end);
    }
  }
}

function errorOfStatus(status: number): DeliveryError | null {
  if (status >= 200 && status < 300) return null;
  if (status === 410) return 'gone';
  return status >= 300 && status < 400 ? 'redirect' : 'status';
}
