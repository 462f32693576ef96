import type { DataSource, EntityManager } from 'typeorm';

/**
 * The advisory locks that instances of one database take against each other. A number must not change: during an upgrade,
 * instances of both versions run side by side.
 */
export const ADVISORY_LOCKS = {
  /** Migrations are run by one process at a time. */
  migration: 7_236_001,
  /** The activity's partitions are made and dropped by one instance at a time. The SQL function takes it itself. */
  activityPartitions: 7_236_002,
  /** Signing keys are made, rotated and revoked by one instance at a time. */
  signingKeys: 7_236_003,
  /** Passwords of expired handover links are wiped by one instance at a time. */
  handoverWipe: 7_236_010,
  /** Notices of what expires or fails are made by one instance at a time. */
  noticeScan: 7_236_020,
  /** Webhooks are counted and added by one request at a time, so that their limit holds. */
  webhookCount: 7_236_021,
  /** The audit chain is verified by one instance at a time. */
  chainVerification: 7_236_030,
} as const;

/** Waits for a lock and keeps it until the transaction ends. */
export async function lockUntilCommit(manager: EntityManager, lock: number): Promise<void> {
  await manager.query('SELECT pg_advisory_xact_lock($1)', [lock]);
}

/**
 * Does something in a transaction that holds a lock, unless another transaction holds it.
 *
 * @returns what `work` returns, or `undefined` when the lock is taken
 */
export function ifUnlocked<T>(
  dataSource: DataSource,
  lock: number,
  work: (manager: EntityManager) => Promise<T>,
): Promise<T | undefined> {
  return dataSource.transaction(async (manager) => {
    const [row] = await manager.query<{ taken: boolean }[]>('SELECT pg_try_advisory_xact_lock($1) AS taken', [lock]);
    return row?.taken === true ? work(manager) : undefined;
  });
}
