import type { MigrationInterface, QueryRunner } from 'typeorm';

/**
 * Seals the URLs of webhooks: `sealed_url` has the whole URL, encrypted under the key encryption key, and `url` keeps the
 * origin. The migration has no key, so the servers seal the rows that are there.
 *
 * The version before cannot open a sealed URL and must not send to the origin. A trigger keeps it from claiming
 * deliveries of sealed webhooks, which wait for an instance of this version: it fails closed. It claims with a UUID of
 * version 4, this version with one of version 7. A later release drops the triggers and makes `sealed_url` NOT NULL.
 */
const UP = [
  'ALTER TABLE "webhook" ADD COLUMN "sealed_url" bytea',
  // The version before changes `url` alone: what was sealed is outdated then.
  `CREATE FUNCTION webhook_url_changed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      NEW.sealed_url := NULL;
      RETURN NEW;
    END
  $$`,
  `CREATE TRIGGER "tr_webhook_url_changed" BEFORE UPDATE OF url ON "webhook" FOR EACH ROW
    WHEN (NEW.url <> OLD.url AND NEW.sealed_url IS NOT DISTINCT FROM OLD.sealed_url)
    EXECUTE FUNCTION webhook_url_changed()`,
  `CREATE FUNCTION notice_delivery_sealed() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF EXISTS (SELECT FROM webhook WHERE id = NEW.webhook_id AND sealed_url IS NOT NULL) THEN RETURN NULL; END IF;
      RETURN NEW;
    END
  $$`,
  `CREATE TRIGGER "tr_notice_delivery_sealed" BEFORE UPDATE OF claim ON "notice_delivery" FOR EACH ROW
    WHEN (NEW.claim IS NOT NULL AND substr(NEW.claim::text, 15, 1) = '4')
    EXECUTE FUNCTION notice_delivery_sealed()`,
];

/** What follows the origin is lost: such a webhook is disabled, so that nothing is sent to the origin. */
const DOWN = [
  `DROP TRIGGER "tr_notice_delivery_sealed" ON "notice_delivery"`,
  'DROP FUNCTION notice_delivery_sealed()',
  `DROP TRIGGER "tr_webhook_url_changed" ON "webhook"`,
  'DROP FUNCTION webhook_url_changed()',
  `UPDATE "webhook" SET "enabled" = false WHERE "sealed_url" IS NOT NULL`,
  'ALTER TABLE "webhook" DROP COLUMN "sealed_url"',
];

export class WebhookUrl1796610000000 implements MigrationInterface {
  name = 'WebhookUrl1796610000000';

  async up(queryRunner: QueryRunner): Promise<void> {
    for (const statement of UP) await queryRunner.query(statement);
  }

  async down(queryRunner: QueryRunner): Promise<void> {
    for (const statement of DOWN) await queryRunner.query(statement);
  }
}
