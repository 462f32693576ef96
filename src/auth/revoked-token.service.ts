import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { DataSource, type EntityManager, LessThan } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { every } from '../common/every.ts';
import type { Actor } from '../common/request-context.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import { Replica } from '../database/replica.ts';
import { RevokedToken } from './revoked-token.entity.ts';

/** The topic of the trigger on `revoked_token`. */
const TOPIC = 'revoked_token';
const PRUNE_MS = 3_600_000;
/** The longest life of a token: staff know its id, not when it expires. */
const LONGEST_TOKEN_MS = 86_400_000;

/** The tokens that were ended before their time: in PostgreSQL, and in the memory of every instance. */
@Injectable()
export class RevokedTokenService implements OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger(RevokedTokenService.name);
  readonly #jtis: Replica<ReadonlySet<string>>;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditService,
    private readonly feed: ChangeFeed,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
  ) {
    this.#jtis = new Replica<ReadonlySet<string>>(feed, TOPIC, async () => {
      const rows = await this.dataSource.manager.find(RevokedToken, { select: { jti: true } });
      return new Set(rows.map(({ jti }) => jti));
    });
  }

  onApplicationBootstrap(): void {
    if (!this.lifecycle.doesBackgroundWork) return;
    this.#timer = every(
      PRUNE_MS,
      () => this.prune(),
      (reason) => {
        this.#logger.warn(`Expired entries of the deny-list stay for now: ${reason}`);
      },
    );
  }

  onModuleDestroy(): void {
    clearInterval(this.#timer);
  }

  /** Whether a token was ended, if memory may be believed. */
  peek(jti: string): boolean | undefined {
    return this.#jtis.peek()?.has(jti);
  }

  async has(jti: string): Promise<boolean> {
    return (await this.#jtis.current()).has(jti);
  }

  /** Ends a token that its holder presented. Ending it twice changes nothing. */
  async revoke(jti: string, expiresAt: Date): Promise<void> {
    // Every instance reads the list anew for what is announced: nobody can make them do it again and again with one token.
    if (await this.has(jti)) return;
    await this.#add(this.dataSource.manager, jti, expiresAt);
    this.feed.announce(TOPIC, jti);
  }

  /** Ends a token by its id, whether or not there is one. */
  async revokeById(jti: string, actor: Actor): Promise<void> {
    try {
      await this.audit.transaction(async (manager) => {
        await this.#add(manager, jti, new Date(this.clock.now() + LONGEST_TOKEN_MS));
        this.audit.record(manager, {
          actor,
          action: 'token.revoked',
          target: { type: 'token', id: jti, name: jti },
        });
      });
    } finally {
      this.feed.announce(TOPIC, jti);
    }
  }

  /** Forgets the tokens that would have expired by now. */
  async prune(): Promise<void> {
    await this.dataSource.manager.delete(RevokedToken, { expiresAt: LessThan(new Date(this.clock.now())) });
  }

  async #add(manager: EntityManager, jti: string, expiresAt: Date): Promise<void> {
    const revokedAt = new Date(this.clock.now());
    await manager
      .createQueryBuilder()
      .insert()
      .into(RevokedToken)
      .values({ jti, expiresAt, revokedAt })
      .orIgnore()
      .execute();
  }
}
