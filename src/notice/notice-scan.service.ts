import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Clock } from '../platform/common/clock.ts';
import { Scheduler } from '../platform/common/scheduler.ts';
import { Config } from '../platform/config/config.ts';
import { ADVISORY_LOCKS, ifUnlocked } from '../platform/database/advisory-locks.ts';
import { WebhookSecretsService } from './webhook-secrets.service.ts';
import { NIL_UUID } from '../platform/common/uuid.ts';
import {
  expiryScan,
  FIRST_THRESHOLD_DAYS,
  occurrenceScan,
  SCANNED_AT_ONCE,
  type ScanSource,
  stateScan,
} from './scan-source.ts';

const SCAN_MS = 60_000;
const FIRST_SCAN_MS = 10_000;
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const PRUNED_AT_ONCE = 1_000;
/** Days that notices are kept at least. A scan would make a deleted notice again while its expiry is ahead. */
const LEAST_RETENTION_DAYS = FIRST_THRESHOLD_DAYS + 5;

const PRUNE = `
  WITH old AS (
    DELETE FROM notice WHERE id IN (
      SELECT id FROM notice WHERE created_at < $1 ORDER BY created_at LIMIT ${String(PRUNED_AT_ONCE)}
      FOR UPDATE SKIP LOCKED)
    RETURNING 1
  )
  SELECT count(*)::int AS count FROM old`;

const PRUNE_ORPHANS = `
  DELETE FROM notice_delivery WHERE next_attempt_at IS NOT NULL
    AND NOT EXISTS (SELECT FROM webhook WHERE webhook.id = notice_delivery.webhook_id)`;

/** The position that a scan of expiries has reached, and how many rows it read. */
interface ScannedUpTo {
  readonly expiresAt: Date;
  readonly owner: string;
  readonly id: string;
  readonly count: number;
}

/** Makes the notices of what features have registered, and deletes old notices. */
@Injectable()
export class NoticeScanService implements OnApplicationBootstrap {
  readonly #expiryScans: string[] = [];
  /** Scans of states and occurrences. */
  readonly #stateScans: string[] = [];
  #hourlyAt = -Infinity;

  constructor(
    private readonly dataSource: DataSource,
    private readonly secrets: WebhookSecretsService,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    // The first scan comes soon, so that an installation that is restarted often is scanned too.
    this.scheduler.schedule({
      name: 'Scanning for notices',
      everyMs: SCAN_MS,
      firstAfterMs: FIRST_SCAN_MS,
      run: () => this.#scan(),
    });
  }

  /** Scans a table of another feature from now on: expiries every hour, states and occurrences every minute. */
  register(source: ScanSource): void {
    if ('expiries' in source) this.#expiryScans.push(expiryScan(source));
    else this.#stateScans.push('states' in source ? stateScan(source) : occurrenceScan(source));
  }

  /** Makes notices of what expires soon. @returns false if another scan was under way, so that not all were made */
  async scanExpiring(): Promise<boolean> {
    const now = new Date(this.clock.now());
    for (const statement of this.#expiryScans) {
      let after: [Date, string, string] | undefined = [now, NIL_UUID, NIL_UUID];
      while (after) {
        const rows: ScannedUpTo[] | undefined = await this.#runAlone<ScannedUpTo>(statement, [now, ...after]);
        if (!rows) return false;
        const last: ScannedUpTo | undefined = rows[0];
        after = last?.count === SCANNED_AT_ONCE ? [last.expiresAt, last.owner, last.id] : undefined;
      }
    }
    return true;
  }

  /** Makes notices of states that last and of occurrences. @returns as {@link scanExpiring} does */
  async scanStates(): Promise<boolean> {
    for (const statement of this.#stateScans) {
      // If two instances went on past a statement that the other one runs, both could skip the same later one.
      if (!(await this.#runAlone(statement, [new Date(this.clock.now())]))) return false;
    }
    return true;
  }

  /** Deletes old notices with their deliveries, and deliveries that were made while their webhook was removed. */
  async prune(): Promise<void> {
    await this.dataSource.query(PRUNE_ORPHANS);
    const days = Math.max(this.config.activityRetentionDays, LEAST_RETENTION_DAYS);
    const before = new Date(this.clock.now() - days * DAY_MS);
    let count: number;
    do {
      const [row] = await this.dataSource.query<{ count: number }[]>(PRUNE, [before]);
      count = row?.count ?? 0;
    } while (count === PRUNED_AT_ONCE);
  }

  async #scan(): Promise<void> {
    await this.secrets.sealUrls();
    if (!(await this.scanStates())) return;
    const now = this.clock.now();
    if (now - this.#hourlyAt < HOUR_MS) return;
    // The other scan may be one of states, so the next run tries again.
    if (!(await this.scanExpiring())) return;
    await this.prune();
    await this.secrets.wipeSecrets();
    this.#hourlyAt = now;
  }

  /** Runs a statement, or returns nothing when another scan is under way. */
  #runAlone<T>(statement: string, parameters: unknown[]): Promise<T[] | undefined> {
    return ifUnlocked(this.dataSource, ADVISORY_LOCKS.noticeScan, (manager) =>
      manager.query<T[]>(statement, parameters),
    );
  }
}
