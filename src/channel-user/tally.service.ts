import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { DataSource } from 'typeorm';
import { Scheduler } from '../platform/common/scheduler.ts';

const FOLD_MS = 600_000;
/** Rows that one statement folds. */
const FOLDED_AT_ONCE = 5_000;

const READ = `
  SELECT scope, sum(accounts)::float8 AS accounts FROM channel_user_tally GROUP BY scope HAVING sum(accounts) <> 0`;

/** One statement, so that every reader sees the rows either as they were or folded. */
const FOLD = `
  WITH folded AS (
    DELETE FROM channel_user_tally WHERE id IN (
      SELECT id FROM channel_user_tally ORDER BY id LIMIT ${String(FOLDED_AT_ONCE)} FOR UPDATE SKIP LOCKED
    ) RETURNING scope, accounts
  ), kept AS (
    INSERT INTO channel_user_tally (scope, accounts)
    SELECT scope, sum(accounts) FROM folded GROUP BY scope HAVING sum(accounts) <> 0
  )
  SELECT count(*)::int AS rows, count(DISTINCT COALESCE(scope, ''))::int AS kinds FROM folded`;

/** Counts the accounts, and those with each scope, without reading the accounts. */
@Injectable()
export class TallyService implements OnApplicationBootstrap {
  constructor(
    private readonly dataSource: DataSource,
    private readonly scheduler: Scheduler,
  ) {}

  onApplicationBootstrap(): void {
    this.scheduler.schedule({ name: 'Merging the counts of channel users', everyMs: FOLD_MS, run: () => this.fold() });
  }

  /** Adds the rows up to the number of accounts, and of accounts with each scope. */
  async read(): Promise<{ accounts: number; byScope: ReadonlyMap<string, number> }> {
    const rows = await this.dataSource.query<{ scope: string | null; accounts: number }[]>(READ);
    const byScope = rows.flatMap(({ scope, accounts }) => (scope === null ? [] : [[scope, accounts] as const]));
    return { accounts: rows.find(({ scope }) => scope === null)?.accounts ?? 0, byScope: new Map(byScope) };
  }

  /** Replaces rows by their sums, so that there are few to read. */
  async fold(): Promise<void> {
    let folded: { rows: number; kinds: number } | undefined;
    do [folded] = await this.dataSource.query<{ rows: number; kinds: number }[]>(FOLD);
    while (folded?.rows === FOLDED_AT_ONCE && folded.kinds < FOLDED_AT_ONCE / 2);
  }
}
