import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { DataSource, type EntityManager, LessThanOrEqual, MoreThan, Repository } from 'typeorm';
import { AuditService, type Changes, changesBetween } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import { InvalidInputError } from '../common/errors.ts';
import type { Actor } from '../common/request-context.ts';
import { EncryptionService } from '../encryption/encryption.service.ts';
import { TooManyWebhooksError, WebhookNotFoundError } from './notice.errors.ts';
import { NoticeDelivery } from './notice-delivery.entity.ts';
import { TargetRefused, TargetService } from './target.service.ts';
import type { CreateWebhookRequest, NewWebhookDto, UpdateWebhookRequest, WebhookDto } from './webhook.dto.ts';
import { Webhook } from './webhook.entity.ts';

/** Each has its own share of the connections of an instance: so many make all of them. */
const MAX_WEBHOOKS = 20;
/** Held while one is added, so that two that come at once are counted. */
const COUNT_LOCK = 7_236_021;
/** Standard Webhooks: between 24 and 64 bytes. */
const SECRET_BYTES = 32;
const DEFAULT_OVERLAP_SECONDS = 86_400;

const SYSTEM: Actor = { type: 'system', id: null, name: 'system', address: null, requestId: null };

const sealContext = (id: string): string => `webhook:${id}`;

/** Whoever has the whole URL may often post there, by its path or query: of those a hash, which tells that they changed. */
function urlInTrail(text: string): string {
  const { origin, pathname, search, hash } = new URL(text);
  const rest = pathname + search + hash;
  if (rest === '/') return `${origin}/`;
  return `${origin}/[sha256:${createHash('sha256').update(rest).digest('hex').slice(0, 8)}]`;
}

/** What staff change of a webhook. */
const auditable = ({ url, description, events, enabled }: Webhook) => ({ url, description, events, enabled });

const present = (webhook: Webhook): WebhookDto => ({
  id: webhook.id,
  url: webhook.url,
  description: webhook.description,
  events: webhook.events,
  enabled: webhook.enabled,
  disabledReason: webhook.disabledReason,
  previousSecretUntil: webhook.previousSecretUntil,
  createdAt: webhook.createdAt,
  updatedAt: webhook.updatedAt,
});

/** The webhooks: added, changed and removed by admins. */
@Injectable()
export class WebhookService {
  constructor(
    @InjectRepository(Webhook) private readonly webhooks: Repository<Webhook>,
    private readonly dataSource: DataSource,
    private readonly targets: TargetService,
    private readonly encryption: EncryptionService,
    private readonly audit: AuditService,
    private readonly clock: Clock,
  ) {}

  /** All of them, the oldest first. */
  async list(): Promise<WebhookDto[]> {
    return (await this.webhooks.find({ order: { createdAt: 'ASC', id: 'ASC' } })).map(present);
  }

  /** @throws WebhookNotFoundError */
  async get(id: string): Promise<WebhookDto> {
    const webhook = await this.webhooks.findOneBy({ id });
    if (!webhook) throw new WebhookNotFoundError();
    return present(webhook);
  }

  /**
   * @returns the webhook with its secret, which nobody can read again
   * @throws InvalidInputError for a URL that nothing is sent to; TooManyWebhooksError
   */
  async create(request: CreateWebhookRequest, actor: Actor): Promise<NewWebhookDto> {
    const url = await this.#checked(request.url);
    const id = randomUUID();
    const secret = randomBytes(SECRET_BYTES);
    const now = new Date(this.clock.now());
    const webhook = this.webhooks.create({
      id,
      url,
      description: request.description ?? null,
      events: request.events ?? [],
      enabled: request.enabled ?? true,
      disabledReason: null,
      sealedSecret: this.encryption.encrypt(secret, sealContext(id)),
      sealedPreviousSecret: null,
      previousSecretUntil: null,
      createdAt: now,
      updatedAt: now,
    });
    await this.audit.transaction(async (manager) => {
      await manager.query('SELECT pg_advisory_xact_lock($1)', [COUNT_LOCK]);
      if ((await manager.count(Webhook)) >= MAX_WEBHOOKS) throw new TooManyWebhooksError(MAX_WEBHOOKS);
      await manager.insert(Webhook, webhook);
      this.#record(manager, 'webhook.created', webhook, actor, changesBetween({}, auditable(webhook)));
    });
    return { ...present(webhook), secret: written(secret) };
  }

  /**
   * Changes what the request names and leaves the rest.
   *
   * @throws WebhookNotFoundError, InvalidInputError
   */
  async update(id: string, { url, ...rest }: UpdateWebhookRequest, actor: Actor): Promise<WebhookDto> {
    const checked = url === undefined ? {} : { url: await this.#checked(url) };
    return this.#change(id, async (manager, webhook) => {
      const before = auditable(webhook);
      Object.assign(webhook, rest, checked);
      const changes = changesBetween(before, auditable(webhook));
      if (Object.keys(changes).length === 0) return;
      if (changes['enabled']) webhook.disabledReason = null;
      webhook.updatedAt = new Date(this.clock.now());
      const { disabledReason, updatedAt } = webhook;
      await manager.update(Webhook, { id }, { ...auditable(webhook), disabledReason, updatedAt });
      this.#record(manager, 'webhook.updated', webhook, actor, changes);
    });
  }

  /** Removes it with its deliveries; what has begun to leave arrives. @throws WebhookNotFoundError */
  async delete(id: string, actor: Actor): Promise<void> {
    await this.#change(id, async (manager, webhook) => {
      await manager.delete(Webhook, { id });
      await manager.delete(NoticeDelivery, { webhookId: id });
      this.#record(manager, 'webhook.deleted', webhook, actor, changesBetween(auditable(webhook), {}));
    });
  }

  /**
   * Makes a new secret; the present one signs beside it for a while, so that the receiver can change over.
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
      webhook.sealedSecret = this.encryption.encrypt(secret, sealContext(id));
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

  /**
   * What signs a message to a webhook now, in the form of Standard Webhooks: the newest first.
   *
   * @param webhook its id and what its row says of the secrets
   */
  secretsOf(
    webhook: Pick<Webhook, 'id' | 'sealedSecret' | 'sealedPreviousSecret' | 'previousSecretUntil'>,
  ): [string, ...string[]] {
    const open = (sealed: Buffer): string => written(this.encryption.decrypt(sealed, sealContext(webhook.id)));
    const { sealedSecret, sealedPreviousSecret, previousSecretUntil } = webhook;
    const overlaps = previousSecretUntil !== null && previousSecretUntil.getTime() > this.clock.now();
    return [open(sealedSecret), ...(overlaps && sealedPreviousSecret ? [open(sealedPreviousSecret)] : [])];
  }

  /** The receiver has said that it is gone: nothing more is sent there until somebody enables it again. */
  async disableGone(id: string, url: string): Promise<void> {
    await this.#change(id, async (manager, webhook) => {
      // It may have been led elsewhere meanwhile.
      if (!webhook.enabled || webhook.url !== url) return;
      const updatedAt = new Date(this.clock.now());
      await manager.update(Webhook, { id }, { enabled: false, disabledReason: 'gone', updatedAt });
      this.#record(manager, 'webhook.disabled', webhook, SYSTEM, {
        enabled: [true, false],
        disabledReason: [null, 'gone'],
      });
    });
  }

  /** Notes, in its transaction, that somebody had something sent to a webhook. */
  recordSending(
    manager: EntityManager,
    action: 'webhook.tested' | 'webhook.delivery-retried',
    webhook: Pick<Webhook, 'id' | 'url'>,
    noticeId: string,
    actor: Actor,
  ): void {
    this.#record(manager, action, webhook, actor, { noticeId: [noticeId, noticeId] });
  }

  /** Wipes the secrets that sign no longer. */
  async wipeSecrets(): Promise<void> {
    await this.webhooks.update(
      { previousSecretUntil: LessThanOrEqual(new Date(this.clock.now())) },
      { sealedPreviousSecret: null, previousSecretUntil: null },
    );
  }

  /**
   * Encrypts the secrets anew under the newest key encryption key.
   *
   * @returns how many webhooks had one under another
   */
  async reencrypt(): Promise<number> {
    let after = '00000000-0000-0000-0000-000000000000';
    let count = 0;
    for (;;) {
      const [webhook] = await this.webhooks.find({ where: { id: MoreThan(after) }, order: { id: 'ASC' }, take: 1 });
      if (!webhook) return count;
      after = webhook.id;
      // Held: it may be rotated meanwhile.
      const renewed = await this.dataSource.transaction(async (manager) => {
        const held = await this.#hold(manager, after);
        if (!held) return false;
        const context = sealContext(after);
        const sealedSecret = this.encryption.renewed(held.sealedSecret, context);
        const previous = held.sealedPreviousSecret && this.encryption.renewed(held.sealedPreviousSecret, context);
        if (!sealedSecret && !previous) return false;
        await manager.update(
          Webhook,
          { id: after },
          { ...(sealedSecret && { sealedSecret }), ...(previous && { sealedPreviousSecret: previous }) },
        );
        return true;
      });
      if (renewed) count++;
    }
  }

  async #checked(url: string): Promise<string> {
    try {
      return (await this.targets.find(url)).url.href;
    } catch (error) {
      if (!(error instanceof TargetRefused)) throw error;
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
      return present(webhook);
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

/** As Standard Webhooks writes secrets. */
function written(secret: Buffer): string {
  return `whsec_${secret.toString('base64')}`;
}
