import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { DataSource, IsNull, LessThanOrEqual, MoreThan, Repository } from 'typeorm';
import { Clock } from '../platform/common/clock.ts';
import type { Role } from '../platform/common/principal.ts';
import { DecryptionError, EncryptionService } from '../platform/encryption/encryption.service.ts';
import { Webhook } from './webhook.entity.ts';
import { NIL_UUID } from '../platform/common/uuid.ts';

/** Rows in one statement of {@link WebhookSecretsService.sealUrls}. */
const SEALED_AT_ONCE = 100;

const sealContext = (id: string): string => `webhook:${id}`;
/** Differs from the secret's context, so that a sealed URL and a sealed secret cannot be swapped. */
const urlContext = (id: string): string => `webhook-url:${id}`;

/** A secret in the form of Standard Webhooks. */
export function written(secret: Buffer): string {
  return `whsec_${secret.toString('base64')}`;
}

/** Encrypts and decrypts the signing secrets and the URL of a webhook, under the key encryption key. */
@Injectable()
export class WebhookSecretsService {
  constructor(
    @InjectRepository(Webhook) private readonly webhooks: Repository<Webhook>,
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly clock: Clock,
  ) {}

  sealSecret(id: string, secret: Buffer): Buffer {
    return this.encryption.encrypt(secret, sealContext(id));
  }

  /**
   * The secrets that sign a message to a webhook now, the newest first.
   *
   * @param webhook its id and the columns of its secrets
   */
  secretsOf(
    webhook: Pick<Webhook, 'id' | 'sealedSecret' | 'sealedPreviousSecret' | 'previousSecretUntil'>,
  ): [Buffer, ...Buffer[]] {
    const open = (sealed: Buffer): Buffer => this.encryption.decrypt(sealed, sealContext(webhook.id));
    const { sealedSecret, sealedPreviousSecret, previousSecretUntil } = webhook;
    const overlaps = previousSecretUntil !== null && previousSecretUntil.getTime() > this.clock.now();
    return [open(sealedSecret), ...(overlaps && sealedPreviousSecret ? [open(sealedPreviousSecret)] : [])];
  }

  /**
   * The whole URL of a webhook.
   *
   * @throws DecryptionError
   */
  urlOf({ id, url, sealedUrl }: Pick<Webhook, 'id' | 'url' | 'sealedUrl'>): string {
    return sealedUrl ? this.encryption.decrypt(sealedUrl, urlContext(id)).toString() : url;
  }

  /** Deletes the previous secrets that no longer sign. */
  async wipeSecrets(): Promise<void> {
    await this.webhooks.update(
      { previousSecretUntil: LessThanOrEqual(new Date(this.clock.now())) },
      { sealedPreviousSecret: null, previousSecretUntil: null },
    );
  }

  /**
   * Seals the URLs that the previous version has stored in clear text. A URL that changes between reading and writing
   * keeps its change.
   */
  async sealUrls(): Promise<void> {
    let after = NIL_UUID;
    for (;;) {
      const rows = await this.webhooks.find({
        where: { id: MoreThan(after), sealedUrl: IsNull() },
        order: { id: 'ASC' },
        take: SEALED_AT_ONCE,
      });
      if (rows.length === 0) return;
      const urls = rows.filter(({ url }) => URL.canParse(url));
      const sealed = urls.map(({ id, url }) => this.sealUrl(id, url));
      await this.dataSource.query(
        `UPDATE webhook SET url = change.origin, sealed_url = change.sealed
          FROM unnest($1::uuid[], $2::text[], $3::text[], $4::bytea[]) AS change (id, url, origin, sealed)
          WHERE webhook.id = change.id AND webhook.url = change.url AND sealed_url IS NULL`,
        [
          urls.map(({ id }) => id),
          urls.map(({ url }) => url),
          sealed.map(({ url }) => url),
          sealed.map(({ sealedUrl }) => sealedUrl),
        ],
      );
      const last = rows.at(-1);
      if (!last || rows.length < SEALED_AT_ONCE) return;
      after = last.id;
    }
  }

  /**
   * Re-encrypts secrets and URLs under the newest key encryption key, and seals URLs that are stored in clear text.
   *
   * @returns how many webhooks had a secret or URL under another key encryption key
   */
  async reencrypt(): Promise<number> {
    let after = NIL_UUID;
    let count = 0;
    await this.sealUrls();
    for (;;) {
      const [webhook] = await this.webhooks.find({ where: { id: MoreThan(after) }, order: { id: 'ASC' }, take: 1 });
      if (!webhook) return count;
      after = webhook.id;
      // Locks the row, since a rotation may change its secrets meanwhile.
      const renewed = await this.dataSource.transaction(async (manager) => {
        const held = await manager.findOne(Webhook, {
          where: { id: after },
          lock: { mode: 'for_no_key_update' },
        });
        if (!held) return false;
        const context = sealContext(after);
        const sealedSecret = this.encryption.renewed(held.sealedSecret, context);
        const previous = held.sealedPreviousSecret && this.encryption.renewed(held.sealedPreviousSecret, context);
        const sealedUrl = held.sealedUrl && this.encryption.renewed(held.sealedUrl, urlContext(after));
        if (!sealedSecret && !previous && !sealedUrl) return false;
        await manager.update(
          Webhook,
          { id: after },
          {
            ...(sealedSecret && { sealedSecret }),
            ...(previous && { sealedPreviousSecret: previous }),
            ...(sealedUrl && { sealedUrl }),
          },
        );
        return true;
      });
      if (renewed) count++;
    }
  }

  /** The values of the two columns that store a URL. */
  sealUrl(id: string, url: string): { url: string; sealedUrl: Buffer } {
    return { url: new URL(url).origin, sealedUrl: this.encryption.encrypt(Buffer.from(url), urlContext(id)) };
  }

  /**
   * The whole URL, or its origin if the URL cannot be decrypted, so that admins can still repair or remove the webhook.
   */
  urlOrOrigin(webhook: Webhook): string {
    try {
      return this.urlOf(webhook);
    } catch (error) {
      if (!(error instanceof DecryptionError)) throw error;
      return webhook.url;
    }
  }

  /** The URL as a role may see it: admins, who may change it, see the whole URL, and others its origin. */
  urlFor(role: Role, webhook: Webhook): string {
    return role === 'admin' ? this.urlOrOrigin(webhook) : new URL(webhook.url).origin;
  }
}
