import {
  Injectable,
  Logger,
  type OnApplicationBootstrap,
  type OnApplicationShutdown,
  type OnModuleDestroy,
} from '@nestjs/common';
import { createHmac } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { DataSource } from 'typeorm';
import { Clock } from '../platform/common/clock.ts';
import { Lifecycle } from '../platform/common/lifecycle.ts';
import { Scheduler } from '../platform/common/scheduler.ts';
import { ChangeFeed } from '../platform/database/change-feed.service.ts';
import { DecryptionError } from '../platform/encryption/encryption.service.ts';
import type { DeliveryError, DeliveryState } from './notice-delivery.entity.ts';
import { CLAIM, type Claimed, COUNT, FINISH, GIVE_BACK } from './delivery-statements.ts';
import { deliveryErrorOf, post } from './post.ts';
import { TargetRefused, TargetService } from './target.service.ts';
import { WebhookService } from './webhook.service.ts';
import { WebhookSecretsService } from './webhook-secrets.service.ts';

/** Milliseconds between an instance's searches for due deliveries. The change feed announces new ones at once. */
const POLL_MS = 1_000;
/** Concurrent attempts of an instance to one webhook, so that a slow receiver does not delay other webhooks. */
const AT_ONCE = 4;
/** Milliseconds for an attempt, from resolving the name to the status. */
const TIMEOUT_MS = 10_000;
/**
 * Milliseconds after which another instance may take over a claimed delivery. Longer than an attempt plus a minute by
 * which the clocks of two instances may differ.
 */
const LEASE_MS = 90_000;
/** Milliseconds for which attempts may go on after a shutdown begins. Then they are aborted and given back. */
const DRAIN_MS = 3_000;
/** Milliseconds between two counts of the waiting deliveries, at least. */
const COUNT_MS = 5_000;
/** Seconds to wait after the first attempt, the second, …, as in Standard Webhooks: about three days in all. */
const RETRY_SECONDS = [5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
/** Up to this share is added to a wait, so that deliveries that failed together are not retried together. */
const JITTER = 0.2;

interface Outcome {
  readonly status: number | null;
  /** `null`: it was delivered. */
  readonly error: DeliveryError | null;
}

/**
 * Sends each notice to its webhooks at least once, signed as Standard Webhooks says. Deliveries wait in the database,
 * where every instance claims as many as it has places for. Those of a dead instance can be claimed again.
 */
@Injectable()
export class DeliveryService implements OnApplicationBootstrap, OnModuleDestroy, OnApplicationShutdown {
  readonly #logger = new Logger(DeliveryService.name);
  /** The number of running attempts, by webhook. */
  readonly #taken = new Map<string, number>();
  readonly #running = new Set<Promise<void>>();
  readonly #cut = new AbortController();
  readonly #outcomes = { delivered: 0, retried: 0, failed: 0 };
  #claiming: Promise<void> | undefined;
  #wokenMeanwhile = false;
  #isFailing = false;
  #waiting = 0;
  #countedAt = -Infinity;
  /** True from the start of a server to its shutdown. */
  #isRunning = false;
  #drain: NodeJS.Timeout | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly webhooks: WebhookService,
    private readonly secrets: WebhookSecretsService,
    private readonly targets: TargetService,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
    private readonly scheduler: Scheduler,
    feed: ChangeFeed,
  ) {
    const wake = (): void => {
      this.wake();
    };
    feed.subscribe('notice_delivery', { changed: wake, reset: wake });
  }

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    this.#isRunning = true;
    const run = (): void => {
      this.wake();
    };
    this.scheduler.schedule({ name: 'Looking for due deliveries', everyMs: POLL_MS, run });
  }

  /** Begins no more attempts. */
  onModuleDestroy(): void {
    this.#isRunning = false;
    this.#drain = setTimeout(() => {
      this.#cut.abort();
    }, DRAIN_MS);
  }

  /** Waits until each running attempt has ended or was given back, before the database connections are closed. */
  async onApplicationShutdown(): Promise<void> {
    await this.#claiming;
    await Promise.all(this.#running);
    clearTimeout(this.#drain);
  }

  /**
   * The attempts of this instance since its start, by outcome: `delivered`, `retried` (another follows) and `failed`
   * (given up). `waiting` counts the waiting deliveries of all instances, as of a few seconds ago.
   */
  get stats(): { delivered: number; retried: number; failed: number; waiting: number } {
    return { ...this.#outcomes, waiting: this.#waiting };
  }

  /** Starts a search for due deliveries. Neither waits nor throws. */
  wake(): void {
    if (!this.#isRunning) return;
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
      if (this.#isFailing) this.#logger.warn('Delivering notices works again');
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

  /** Logs the first of several failures in a row. The next search tries again. */
  #complain(error: unknown): void {
    if (!this.#isFailing) this.#logger.warn(`Delivering notices failed, retrying: ${(error as Error).message}`);
    this.#isFailing = true;
  }

  #begin(delivery: Claimed): void {
    const { webhookId } = delivery;
    this.#taken.set(webhookId, (this.#taken.get(webhookId) ?? 0) + 1);
    const running = this.#deliver(delivery)
      // Nothing releases the claim: another attempt follows when its lease ends.
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
    const outcome = this.#isRunning ? await this.#attempt(delivery) : undefined;
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
        `Gave up delivering notice ${noticeId} to webhook ${webhookId} after ${String(attempts)} attempts: ` +
          String(error),
      );
    }
    if (error === 'gone') await this.webhooks.disableGone(delivery.webhookId, this.#urlOf(delivery));
  }

  /** @returns nothing if the shutdown aborted the attempt, which then does not count */
  async #attempt(delivery: Claimed): Promise<Outcome | undefined> {
    const signal = AbortSignal.any([this.#cut.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    try {
      const status = await this.#send(delivery, signal);
      return { status, error: errorOfStatus(status) };
    } catch (error) {
      if (this.#cut.signal.aborted) return undefined;
      if (error instanceof TargetRefused) {
        const { noticeId, webhookId } = delivery;
        this.#logger.warn(`Notice ${noticeId} was not sent to webhook ${webhookId}: its URL ${error.message}`);
        return { status: null, error: error.reason };
      }
      return { status: null, error: error instanceof DecryptionError ? 'not_signed' : deliveryErrorOf(error) };
    }
  }

  /** @throws DecryptionError */
  #urlOf(delivery: Claimed): string {
    return this.secrets.urlOf({ ...delivery, id: delivery.webhookId });
  }

  async #send(delivery: Claimed, signal: AbortSignal): Promise<number> {
    const { noticeId: id, type, createdAt, data } = delivery;
    const target = this.#urlOf(delivery);
    const body = JSON.stringify({ type, timestamp: createdAt.toISOString(), data });
    // The time of this attempt, since receivers refuse messages that are some minutes old.
    const at = String(Math.floor(this.clock.now() / 1000));
    const signatures = this.secrets
      .secretsOf({ ...delivery, id: delivery.webhookId })
      .map((secret) => `v1,${createHmac('sha256', secret).update(`${id}.${at}.${body}`).digest('base64')}`);
    const { promise: ended, reject } = Promise.withResolvers<never>();
    const end = (): void => {
      reject(signal.reason as Error);
    };
    signal.addEventListener('abort', end, { once: true });
    try {
      const { url, addresses } = await Promise.race([this.targets.find(target), ended]);
      return await post(url, {
        addresses,
        headers: {
          'content-type': 'application/json',
          'user-agent': 'Latchkey',
          'webhook-id': id,
          'webhook-timestamp': at,
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
