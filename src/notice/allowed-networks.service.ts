import { Injectable, Logger } from '@nestjs/common';
import { createHash } from 'node:crypto';
import { Lifecycle } from '../platform/common/lifecycle.ts';
import { Config } from '../platform/config/config.ts';
import { ChangeFeed } from '../platform/database/change-feed.service.ts';

/** An instance that begins to listen announces its networks. An instance with other networks answers. */
const ANNOUNCED = 'webhook_networks_announced';
const ANSWERED = 'webhook_networks_answered';

/**
 * Warns when the instances on one database allow webhooks into different networks. Any instance may deliver to a URL
 * that another one has accepted.
 */
@Injectable()
export class AllowedNetworksService {
  readonly #logger = new Logger(AllowedNetworksService.name);
  readonly #own: string;
  /** Lists of other instances that a warning was logged for. */
  readonly #others = new Set<string>();

  constructor(
    private readonly lifecycle: Lifecycle,
    private readonly feed: ChangeFeed,
    config: Config,
  ) {
    const rules = [...new Set(config.webhookAllowedNetworks.rules)].sort();
    this.#own = createHash('sha256').update(rules.join('\n')).digest('hex').slice(0, 16);
    feed.subscribe(ANNOUNCED, {
      changed: (other) => {
        if (this.#differs(other)) this.#tell(ANSWERED);
      },
      reset: () => {
        this.#tell(ANNOUNCED);
      },
    });
    feed.subscribe(ANSWERED, { changed: (other) => this.#differs(other), reset: () => undefined });
  }

  #differs(other: string): boolean {
    if (!this.lifecycle.doesBackgroundWork || other === this.#own) return false;
    if (!this.#others.has(other)) {
      this.#logger.warn(
        'WEBHOOK_ALLOWED_NETWORKS differs between instances: one may accept a webhook that another refuses to ' +
          'deliver to. Set the same value on all instances.',
      );
    }
    this.#others.add(other);
    return true;
  }

  /** Publishes nothing from a CLI command, which has the settings of a shell and delivers nothing. */
  #tell(topic: string): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    // While the database is away the message is lost. The next connection of the change feed announces again.
    this.feed.publish(topic, this.#own).catch(() => undefined);
  }
}
