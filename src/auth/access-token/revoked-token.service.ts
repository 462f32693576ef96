import { Injectable, Logger, type OnApplicationBootstrap, type OnModuleDestroy } from '@nestjs/common';
import { DataSource, type EntityManager } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { Scheduler } from '../../platform/common/scheduler.ts';
import type { Actor } from '../../platform/common/principal.ts';
import { Turns } from '../../platform/common/turns.ts';
import { NIL_UUID } from '../../platform/common/uuid.ts';
import { Batch, ReadBatcher } from '../../platform/database/read-batcher.ts';
import { ChangeFeed, type ChangeListener } from '../../platform/database/change-feed.service.ts';
import { RevokedToken } from './revoked-token.entity.ts';

/** The topic of the triggers on `revoked_token`. Its keys are `<jti>@<expiry in ms>`, and `*` after a manual change. */
const TOPIC = 'revoked_token';
const PRUNE_MS = 3_600_000;
/** Rows that one statement deletes. Deleting so few takes far less time than `statement_timeout`. */
const PRUNED_AT_ONCE = 5_000;
/** Rows that one query loads. Parsing that many blocks the event loop for about a millisecond. */
const LOADED_AT_ONCE = 1_000;
const RETRY_MS = 1_000;
/** Milliseconds of the longest life of a token: the expiry of one that staff revoke, since they know only its id. */
const LONGEST_TOKEN_MS = 86_400_000;

const LOAD = `
  SELECT jti, (extract(epoch FROM expires_at) * 1000)::float8 AS expires_at FROM revoked_token
  WHERE expires_at >= $1 AND (expires_at, jti) > ($1, $2) ORDER BY expires_at, jti LIMIT ${String(LOADED_AT_ONCE)}`;

const PRUNE = `
  WITH pruned AS (
    DELETE FROM revoked_token WHERE jti IN (
      SELECT jti FROM revoked_token WHERE expires_at < $1 LIMIT ${String(PRUNED_AT_ONCE)} FOR UPDATE SKIP LOCKED
    ) RETURNING jti
  ) SELECT count(*)::int AS count FROM pruned`;

interface RevokedRow {
  readonly jti: string;
  readonly expires_at: number;
}

/** The tokens that one query looks up. */
class TokenBatch extends Batch {
  readonly asked = new Set<string>();
  readonly revoked = new Set<string>();

  get size(): number {
    return this.asked.size;
  }
}

/**
 * The deny-list: tokens that were revoked before they expired, in PostgreSQL and in the memory of every instance.
 *
 * An instance loads the list in pages while it serves. Later revocations arrive through the change feed. Until the list
 * is complete, and while the change feed cannot be trusted, the instance asks the database about each token.
 */
@Injectable()
export class RevokedTokenService implements ChangeListener, OnApplicationBootstrap, OnModuleDestroy {
  readonly #logger = new Logger(RevokedTokenService.name);
  /** `jti` → when the token expires, in milliseconds since the epoch. Each load of the list makes a new map. */
  #expiries = new Map<string, number>();
  #isComplete = false;
  readonly #lookups: ReadBatcher<TokenBatch>;
  #retry: NodeJS.Timeout | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly audit: AuditService,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
    private readonly feed: ChangeFeed,
  ) {
    this.#lookups = new ReadBatcher(
      feed,
      () => new TokenBatch(),
      (batch) => this.#lookUp(batch),
    );
    feed.subscribe(TOPIC, this);
  }

  onApplicationBootstrap(): void {
    this.scheduler.schedule({ name: 'Deleting expired revocations', everyMs: PRUNE_MS, run: () => this.prune() });
  }

  onModuleDestroy(): void {
    clearTimeout(this.#retry);
    // A load in progress stops once this field holds another map.
    this.#expiries = new Map();
    this.#isComplete = false;
  }

  /** Whether a token was revoked, from memory alone. @returns nothing when memory cannot tell */
  peek(jti: string): boolean | undefined {
    return this.#isComplete && this.feed.trusted ? this.#expiries.has(jti) : undefined;
  }

  /** Whether a token was revoked. When memory cannot tell, a query that starts after this call does. */
  async has(jti: string): Promise<boolean> {
    const known = this.peek(jti);
    if (known !== undefined) return known;
    const batch = this.#lookups.open();
    batch.asked.add(jti);
    await batch.done;
    return batch.revoked.has(jti);
  }

  /** Revokes a token that its holder presented. Revoking twice changes nothing. */
  async revoke(jti: string, expiresAt: Date): Promise<void> {
    if (await this.has(jti)) return;
    await this.#add(this.dataSource.manager, jti, expiresAt);
    this.#expiries.set(jti, expiresAt.getTime());
  }

  /** Revokes a token by its id, whether or not such a token exists. */
  async revokeById(jti: string, actor: Actor): Promise<void> {
    const expiresAt = new Date(this.clock.now() + LONGEST_TOKEN_MS);
    await this.audit.transaction(async (manager) => {
      await this.#add(manager, jti, expiresAt);
      this.audit.record(manager, {
        actor,
        action: 'token.revoked',
        target: { type: 'token', id: jti, name: jti },
      });
    });
    this.#expiries.set(jti, expiresAt.getTime());
  }

  /** Removes tokens that have expired, from memory and from the database. */
  async prune(): Promise<void> {
    const now = this.clock.now();
    const turns = new Turns();
    for (const [jti, expiresAt] of this.#expiries) {
      if (expiresAt < now) this.#expiries.delete(jti);
      if (turns.isOver) await turns.next();
    }
    let pruned: number;
    do {
      const [row] = await this.dataSource.query<{ count: number }[]>(PRUNE, [new Date(now)]);
      pruned = row?.count ?? 0;
    } while (pruned === PRUNED_AT_ONCE);
  }

  /** @param key of the notification, `<jti>@<expiry in ms>` */
  changed(key: string): void {
    const [jti = '', expiresAt] = key.split('@');
    this.#expiries.set(jti, Number(expiresAt));
  }

  /** Loads the list again, since notifications may have been missed. */
  reset(): void {
    clearTimeout(this.#retry);
    this.#isComplete = false;
    this.#expiries = new Map();
    void this.#load(this.#expiries);
  }

  /** Misses no revocation during the load: the change feed listens before the first page is read. */
  async #load(expiries: Map<string, number>): Promise<void> {
    try {
      // Pages are ordered by expiry and begin now, so the load skips expired rows that are not pruned yet.
      let last: RevokedRow = { jti: NIL_UUID, expires_at: this.clock.now() };
      let rows: RevokedRow[];
      do {
        rows = await this.dataSource.query<RevokedRow[]>(LOAD, [new Date(last.expires_at), last.jti]);
        if (expiries !== this.#expiries) return;
        for (const { jti, expires_at } of rows) expiries.set(jti, expires_at);
        last = rows.at(-1) ?? last;
      } while (rows.length === LOADED_AT_ONCE);
      this.#isComplete = true;
    } catch (error) {
      if (expiries !== this.#expiries) return;
      this.#logger.warn(
        `Loading the list of revoked tokens failed (${(error as Error).message}), retrying. Until it succeeds, ` +
          'each token is looked up in the database',
      );
      this.#retry = setTimeout(() => {
        this.reset();
      }, RETRY_MS).unref();
    }
  }

  async #lookUp(batch: TokenBatch): Promise<void> {
    const rows = await this.dataSource.query<{ jti: string }[]>(
      'SELECT jti FROM revoked_token WHERE jti = ANY($1::uuid[])',
      [[...batch.asked]],
    );
    for (const { jti } of rows) batch.revoked.add(jti);
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
