import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { type EntityManager, Repository } from 'typeorm';
import { AuditService, type Changes, changesBetween } from '../audit/audit.service.ts';
import { Clock } from '../platform/common/clock.ts';
import { InvalidInputError } from '../platform/common/errors.ts';
import { type Actor, type Role, SYSTEM } from '../platform/common/principal.ts';
import { ADVISORY_LOCKS, lockUntilCommit } from '../platform/database/advisory-locks.ts';
import { TooManyWebhooksError, WebhookNotFoundError } from './notice.errors.ts';
import { NoticeDelivery } from './notice-delivery.entity.ts';
import { TargetRefused, TargetService } from './target.service.ts';
import type { CreateWebhookRequest, NewWebhookDto, UpdateWebhookRequest, WebhookDto } from './webhook.dto.ts';
import { Webhook } from './webhook.entity.ts';
import { WebhookSecretsService, written } from './webhook-secrets.service.ts';

/** Webhooks of the installation. Bounds the connections of an instance, which opens a few for each webhook. */
const MAX_WEBHOOKS = 20;
/** Bytes of a new secret. Standard Webhooks allows 24 to 64. */
const SECRET_BYTES = 32;
const DEFAULT_OVERLAP_SECONDS = 86_400;

/**
 * Replaces the path and query of a URL by their hash, which still shows that they changed. They are often all that
 * somebody needs to post to the receiver.
 */
function urlInTrail(text: string): string {
  const { origin, pathname, search, hash } = new URL(text);
  const rest = pathname + search + hash;
  if (rest === '/') return `${origin}/`;
  return `${origin}/[sha256:${createHash('sha256').update(rest).digest('hex').slice(0, 8)}]`;
}

/** The fields of a webhook that staff may change. @param url the whole URL */
const auditable = ({ description, events, enabled }: Webhook, url: string) => ({ url, description, events, enabled });

const toDto = (webhook: Webhook, url: string): WebhookDto => ({
  id: webhook.id,
  url,
  description: webhook.description,
  events: webhook.events,
  enabled: webhook.enabled,
  disabledReason: webhook.disabledReason,
  previousSecretUntil: webhook.previousSecretUntil,
  createdAt: webhook.createdAt,
  updatedAt: webhook.updatedAt,
});

/** Whether a name can be in DNS: it has a dot, and is not reserved for the machine itself (RFC 6761 §6.3). */
const isPublicName = (name: string): boolean => {
  const labels = name.split('.').filter((label) => label !== '');
  return labels.length > 1 && labels.at(-1) !== 'localhost';
};

/** Adds, changes and removes webhooks, on behalf of admins. */
@Injectable()
export class WebhookService {
  constructor(
    @InjectRepository(Webhook) private readonly webhooks: Repository<Webhook>,
    private readonly targets: TargetService,
    private readonly secrets: WebhookSecretsService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  /** All webhooks, the oldest first. @param role of the reader: admins see whole URLs, others only origins */
  async list(role: Role): Promise<WebhookDto[]> {
    const webhooks = await this.webhooks.find({ order: { createdAt: 'ASC', id: 'ASC' } });
    return webhooks.map((webhook) => toDto(webhook, this.secrets.urlFor(role, webhook)));
  }

  /** @param role see {@link list} @throws WebhookNotFoundError */
  async get(id: string, role: Role): Promise<WebhookDto> {
    const webhook = await this.webhooks.findOneBy({ id });
    if (!webhook) throw new WebhookNotFoundError();
    return toDto(webhook, this.secrets.urlFor(role, webhook));
  }

  /**
   * @returns the webhook with its secret, which nobody can read again
   * @throws InvalidInputError for a URL that Latchkey does not send to; TooManyWebhooksError
   */
  async create(request: CreateWebhookRequest, actor: Actor): Promise<NewWebhookDto> {
    const url = await this.#checked(request.url);
    const id = randomUUID();
    const secret = randomBytes(SECRET_BYTES);
    const now = new Date(this.clock.now());
    const webhook = this.webhooks.create({
      id,
      ...this.secrets.sealUrl(id, url),
      description: request.description ?? null,
      events: request.events ?? [],
      enabled: request.enabled ?? true,
      disabledReason: null,
      sealedSecret: this.secrets.sealSecret(id, secret),
      sealedPreviousSecret: null,
      previousSecretUntil: null,
      createdAt: now,
      updatedAt: now,
    });
    await this.audit.transaction(async (manager) => {
      await lockUntilCommit(manager, ADVISORY_LOCKS.webhookCount);
      if ((await manager.count(Webhook)) >= MAX_WEBHOOKS) throw new TooManyWebhooksError(MAX_WEBHOOKS);
      await manager.insert(Webhook, webhook);
      this.#record(manager, 'webhook.created', webhook, actor, changesBetween({}, auditable(webhook, url)));
    });
    return { ...toDto(webhook, url), secret: written(secret) };
  }

  /**
   * Changes only the fields that the request names.
   *
   * @throws WebhookNotFoundError, InvalidInputError
   */
  async update(id: string, { url, ...rest }: UpdateWebhookRequest, actor: Actor): Promise<WebhookDto> {
    const checked = url === undefined ? undefined : await this.#checked(url);
    return this.#change(id, async (manager, webhook) => {
      const current = this.secrets.urlOrOrigin(webhook);
      const before = auditable(webhook, current);
      Object.assign(webhook, rest);
      const changes = changesBetween(before, auditable(webhook, checked ?? current));
      if (Object.keys(changes).length === 0) return;
      if (changes['enabled']) webhook.disabledReason = null;
      const sealed = checked !== undefined && changes['url'] ? this.secrets.sealUrl(id, checked) : {};
      Object.assign(webhook, sealed, { updatedAt: new Date(this.clock.now()) });
      const { disabledReason, updatedAt } = webhook;
      await manager.update(Webhook, { id }, { ...rest, ...sealed, disabledReason, updatedAt });
      this.#record(manager, 'webhook.updated', webhook, actor, changes);
    });
  }

  /** Removes a webhook with its deliveries. Attempts that have begun still go out. @throws WebhookNotFoundError */
  async delete(id: string, actor: Actor): Promise<void> {
    await this.#change(id, async (manager, webhook) => {
      await manager.delete(Webhook, { id });
      await manager.delete(NoticeDelivery, { webhookId: id });
      this.#record(
        manager,
        'webhook.deleted',
        webhook,
        actor,
        changesBetween(auditable(webhook, this.secrets.urlOrOrigin(webhook)), {}),
      );
    });
  }

  /**
   * Makes a new secret. The present one also signs for a while, so that the receiver can change over.
   *
   * @returns the webhook with its new secret, which nobody can read again
   * @throws WebhookNotFoundError
   */
  async rotateSecret(id: string, overlapSeconds = DEFAULT_OVERLAP_SECONDS, actor: Actor): Promise<NewWebhookDto> {
    const secret = randomBytes(SECRET_BYTES);
    const rotated = await this.#change(id, async (manager, webhook) => {
      const now = this.clock.now();
      const overlaps = overlapSeconds > 0;
      webhook.sealedPreviousSecret = overlaps ? webhook.sealedSecret : null;
      webhook.previousSecretUntil = overlaps ? new Date(now + overlapSeconds * 1000) : null;
      webhook.sealedSecret = this.secrets.sealSecret(id, secret);
      webhook.updatedAt = new Date(now);
      const { sealedSecret, sealedPreviousSecret, previousSecretUntil, updatedAt } = webhook;
      await manager.update(Webhook, { id }, { sealedSecret, sealedPreviousSecret, previousSecretUntil, updatedAt });
      this.#record(manager, 'webhook.secret-rotated', webhook, actor, {
        secret: [true, true],
        previousSecretUntil: [null, previousSecretUntil],
      });
    });
    return { ...rotated, secret: written(secret) };
  }

  /** Disables a webhook whose receiver has answered 410 Gone. Nothing is sent until an admin enables it again. */
  async disableGone(id: string, url: string): Promise<void> {
    await this.#change(id, async (manager, webhook) => {
      // An admin may have changed the URL meanwhile.
      if (!webhook.enabled || this.secrets.urlOrOrigin(webhook) !== url) return;
      const updatedAt = new Date(this.clock.now());
      await manager.update(Webhook, { id }, { enabled: false, disabledReason: 'gone', updatedAt });
      this.#record(manager, 'webhook.disabled', webhook, SYSTEM, {
        enabled: [true, false],
        disabledReason: [null, 'gone'],
      });
    });
  }

  /** Records, in the caller's transaction, that somebody had a notice sent to a webhook. */
  recordSending(
    manager: EntityManager,
    action: 'webhook.tested' | 'webhook.delivery-retried',
    webhook: Pick<Webhook, 'id' | 'url'>,
    noticeId: string,
    actor: Actor,
  ): void {
    this.#record(manager, action, webhook, actor, { noticeId: [noticeId, noticeId] });
  }

  async #checked(url: string): Promise<string> {
    try {
      return (await this.targets.find(url)).url.href;
    } catch (error) {
      if (!(error instanceof TargetRefused)) throw error;
      // The receiver's name may not be in DNS yet. Every delivery resolves it again and checks its addresses.
      const pending = error.reason === 'name_not_resolved' ? URL.parse(url) : null;
      if (pending?.protocol === 'https:' && pending.port === '' && isPublicName(pending.hostname)) return pending.href;
      throw new InvalidInputError([{ field: 'url', messages: [error.message] }]);
    }
  }

  #hold(manager: EntityManager, id: string): Promise<Webhook | null> {
    return manager.findOne(Webhook, { where: { id }, lock: { mode: 'for_no_key_update' } });
  }

  #change(id: string, work: (manager: EntityManager, webhook: Webhook) => Promise<void>): Promise<WebhookDto> {
    return this.audit.transaction(async (manager) => {
      const webhook = await this.#hold(manager, id);
      if (!webhook) throw new WebhookNotFoundError();
      await work(manager, webhook);
      return toDto(webhook, this.secrets.urlOrOrigin(webhook));
    });
  }

  #record(
    manager: EntityManager,
    action: string,
    { id, url }: Pick<Webhook, 'id' | 'url'>,
    actor: Actor,
    changes: Changes,
  ): void {
    const masked = (value: unknown): unknown => (typeof value === 'string' ? urlInTrail(value) : value);
    const { url: ofUrl, ...rest } = changes;
    this.audit.record(manager, {
      actor,
      action,
      target: { type: 'webhook', id, name: new URL(url).host },
      changes: { ...rest, ...(ofUrl && { url: [masked(ofUrl[0]), masked(ofUrl[1])] }) },
    });
  }
}
