import { Injectable, Logger, ServiceUnavailableException } from '@nestjs/common';
import {
  HealthCheckService,
  type HealthCheckResult,
  type HealthIndicatorResult,
  HealthIndicatorService,
} from '@nestjs/terminus';
import { LRUCache } from 'lru-cache';
import { DataSource } from 'typeorm';
import { Lifecycle } from '../../platform/common/lifecycle.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { loadMigrations, MigrationFolders } from '../../platform/database/migration-folders.ts';
import { LimiterStore } from '../../rate-limit/limiter-store.service.ts';

/** How long a probe waits for PostgreSQL. Must stay below the usual probe timeout of one second. */
const PATIENCE_MS = 800;
/** How long a state of the database is reused, so that many probes cost few queries. */
const KEEP_MS = 500;
/** SQLSTATE undefined_table. */
const UNDEFINED_TABLE = '42P01';

const QUERY = `SELECT current_setting('transaction_read_only') = 'on' AS "readOnly",
  (SELECT json_agg(name) FROM migration) AS migrations`;

/** The state of the database, read with one query. */
interface DatabaseState {
  /** `no-answer`: too late, or never. `read-only`: a standby, or a primary that was set to read-only. */
  readonly database: 'answers' | 'read-only' | 'no-answer';
  /** `newer`: a later version of Latchkey has migrated the schema; this version still works with it. */
  readonly migrations: 'current' | 'newer' | 'pending' | 'unknown';
}

const NO_ANSWER: DatabaseState = { database: 'no-answer', migrations: 'unknown' };

/** Decides whether this instance should get requests, and gives the reasons. */
@Injectable()
export class HealthService {
  readonly #logger = new Logger(HealthService.name);
  /** Probes at the same time share one query. */
  readonly #cache = new LRUCache<'database', DatabaseState>({
    max: 1,
    ttl: KEEP_MS,
    fetchMethod: () => this.#askInTime(),
  });
  #asking: Promise<DatabaseState> | undefined;
  /** The names of the migrations that this build knows. */
  #known: Promise<string[]> | undefined;
  /** The readiness that was last logged. */
  #lastLogged = '';

  constructor(
    private readonly checks: HealthCheckService,
    private readonly indicator: HealthIndicatorService,
    private readonly dataSource: DataSource,
    private readonly feed: ChangeFeed,
    private readonly limiterStore: LimiterStore,
    private readonly lifecycle: Lifecycle,
    private readonly folders: MigrationFolders,
  ) {}

  /**
   * Whether this instance can answer requests. A part that works with restrictions is `degraded`, and the instance stays
   * ready: limits that each instance counts for itself, bypassed caches, or a read-only database.
   */
  async readiness(): Promise<HealthCheckResult> {
    // Comes first and uses no connection, since an instance that is stopping may have closed them.
    if (this.lifecycle.state !== 'serving') return this.#notServing(this.lifecycle.state);
    const state = await this.database();
    const result = await this.#check([
      () => this.indicator.check('process').up({ state: 'serving' }),
      () => this.#ofDatabase(state),
      () => this.#ofMigrations(state),
      () => this.#ofListener(),
      () => this.#ofLimiterStore(),
    ]);
    this.#logChange(result);
    return result;
  }

  /** The state of the database, at most half a second old. Resolves within a second. */
  database(): Promise<DatabaseState> {
    return this.#cache.forceFetch('database');
  }

  async #check(indicators: (() => HealthIndicatorResult)[]): Promise<HealthCheckResult> {
    try {
      return await this.checks.check(indicators);
    } catch (error) {
      if (error instanceof ServiceUnavailableException) return error.getResponse() as HealthCheckResult;
      throw error;
    }
  }

  #notServing(state: 'starting' | 'shutting-down'): HealthCheckResult {
    const details = this.indicator.check('process').down({ state });
    return { status: state === 'starting' ? 'error' : 'shutting_down', info: {}, error: details, details };
  }

  #ofDatabase({ database }: DatabaseState): HealthIndicatorResult {
    const indicator = this.indicator.check('database');
    if (database === 'no-answer') return indicator.down({ state: database });
    return database === 'answers' ? indicator.up({ state: database }) : indicator.degraded({ state: database });
  }

  #ofMigrations({ migrations }: DatabaseState): HealthIndicatorResult {
    const indicator = this.indicator.check('migrations');
    if (migrations === 'pending') return indicator.down({ state: migrations });
    return migrations === 'unknown' ? indicator.degraded({ state: migrations }) : indicator.up({ state: migrations });
  }

  #ofListener(): HealthIndicatorResult {
    const indicator = this.indicator.check('listener');
    if (this.feed.trusted) return indicator.up({ state: 'trusted' });
    return indicator.degraded({ state: this.feed.connected ? 'silent' : 'disconnected' });
  }

  #ofLimiterStore(): HealthIndicatorResult {
    const { state } = this.limiterStore;
    const indicator = this.indicator.check('limiterStore');
    return state === 'redis-away' ? indicator.degraded({ state }) : indicator.up({ state });
  }

  /** Logs each change of readiness once, since probes come all the time. */
  #logChange({ status, details }: HealthCheckResult): void {
    const states = Object.entries(details).map(([name, { state }]) => `${name} ${String(state)}`);
    const readiness = `${status} (${states.join(', ')})`;
    if (readiness === this.#lastLogged) return;
    if (this.#lastLogged !== '' || status !== 'ok') this.#logger.warn(`Readiness: ${readiness}`);
    this.#lastLogged = readiness;
  }

  /** Waits `PATIENCE_MS` at most. All probes share an unanswered query until the driver gives it up. */
  async #askInTime(): Promise<DatabaseState> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
    });
    let timer: NodeJS.Timeout | undefined;
    const tooLate = new Promise<DatabaseState>((resolve) => {
      timer = setTimeout(resolve, PATIENCE_MS, NO_ANSWER);
    });
    try {
      return await Promise.race([this.#asking, tooLate]);
    } finally {
      clearTimeout(timer);
    }
  }

  async #ask(): Promise<DatabaseState> {
    try {
      const [row] = await this.dataSource.query<{ readOnly: boolean; migrations: string[] | null }[]>(QUERY);
      if (!row) return NO_ANSWER;
      const migrations = await this.#compare(row.migrations ?? []);
      return { database: row.readOnly ? 'read-only' : 'answers', migrations };
    } catch (error) {
      const { code } = error as { code?: unknown };
      return code === UNDEFINED_TABLE ? { database: 'answers', migrations: 'pending' } : NO_ANSWER;
    }
  }

  async #compare(run: readonly string[]): Promise<DatabaseState['migrations']> {
    this.#known ??= this.folders
      .all()
      .then(loadMigrations)
      .then((classes) => classes.map((migration) => new migration().name ?? migration.name))
      .catch((error: unknown) => {
        // The error may pass, such as too many open files, so the next probe reads the folders again.
        this.#known = undefined;
        throw error;
      });
    const known = await this.#known;
    if (known.some((name) => !run.includes(name))) return 'pending';
    return run.length > known.length ? 'newer' : 'current';
  }
}
