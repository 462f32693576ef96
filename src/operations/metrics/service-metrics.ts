import type { Pool } from 'pg';
import type { DataSource } from 'typeorm';
import type { CallCounterService } from '../../activity/calls/call-counter.service.ts';
import type { CallErrorRecorderService } from '../../activity/calls/call-error-recorder.service.ts';
import type { SignInRecorderService } from '../../activity/sign-in-log/sign-in-recorder.service.ts';
import type { AuditService } from '../../audit/audit.service.ts';
import type { AccountCache } from '../../channel-user/account/account-cache.service.ts';
import type { Lifecycle } from '../../platform/common/lifecycle.ts';
import type { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import type { HealthService } from '../health/health.service.ts';
import type { DeliveryService } from '../../notice/delivery.service.ts';
import type { LimiterStore } from '../../rate-limit/limiter-store.service.ts';
import type { ThrottleService } from '../../rate-limit/throttle.service.ts';
import type { ResponseDelayService } from '../../password/response-delay.service.ts';
import type { SigningKeyService } from '../../auth/signing-key/signing-key.service.ts';
import type { UsageService } from '../../activity/usage/usage.service.ts';
import { counter, type Definition, gauge, type Sample } from './metric.ts';

const flag = (is: boolean): number => (is ? 1 : 0);

export const processMetrics = (lifecycle: Lifecycle, version: string): Definition[] => [
  gauge('shutting_down', '1 from the shutdown signal on, else 0.', [], () => flag(lifecycle.state === 'shutting-down')),
  gauge('build_info', 'Always 1; the version is a label.', ['version'], () => [[{ version }, 1]]),
];

export const limiterMetrics = (throttle: ThrottleService, store: LimiterStore): Definition[] => [
  counter(
    'limiter_decisions_total',
    'Decisions of the limiters: allowed within the limit, refused beyond it.',
    ['limiter', 'decision'],
    () =>
      Object.entries(throttle.decisions).flatMap(([limiter, { allowed, refused }]): Sample[] => [
        [{ limiter, decision: 'allowed' }, allowed],
        [{ limiter, decision: 'refused' }, refused],
      ]),
  ),
  gauge('limiter_store_up', '0 while Redis is configured but unreachable, else 1.', [], () =>
    flag(store.state !== 'redis-away'),
  ),
];

export const accountCacheMetrics = (accounts: AccountCache): Definition[] => [
  counter(
    'directory_reads_total',
    'Account reads: hit (from the cache), miss (not cached), bypass (cache not trusted).',
    ['result'],
    () => {
      const { hits, misses, bypasses } = accounts.stats;
      return [
        [{ result: 'hit' }, hits],
        [{ result: 'miss' }, misses],
        [{ result: 'bypass' }, bypasses],
      ];
    },
  ),
  gauge('directory_accounts', 'Accounts in the cache.', [], () => accounts.stats.accounts),
];

export const feedMetrics = (feed: ChangeFeed): Definition[] => [
  gauge('change_feed_up', '1 while change notifications arrive and the caches are trusted.', [], () =>
    flag(feed.trusted),
  ),
  gauge('change_feed_lag_seconds', 'Seconds since the last heartbeat arrived.', [], () => feed.lagMs / 1000),
];

export function databaseMetrics(health: HealthService, dataSource: DataSource, poolMax: number): Definition[] {
  const none = { totalCount: 0, idleCount: 0, waitingCount: 0 };
  // During shutdown, scrapes go on after the pool has ended.
  const pool = (): typeof none => (dataSource.driver as unknown as { master?: Pool }).master ?? none;
  return [
    gauge('database_up', '1 while PostgreSQL answers, else 0.', [], async () =>
      flag((await health.database()).database !== 'no-answer'),
    ),
    gauge('database_pool_connections', 'Connections in the pool.', ['state'], () => {
      const { totalCount, idleCount } = pool();
      return [
        [{ state: 'active' }, totalCount - idleCount],
        [{ state: 'idle' }, idleCount],
      ];
    }),
    gauge('database_pool_waiting', 'Queries waiting for a connection.', [], () => pool().waitingCount),
    gauge('database_pool_max', 'Maximum number of connections in the pool.', [], () => poolMax),
  ];
}

export const slowHashMetrics = ({ partnerHashes, staffHashes }: ResponseDelayService): Definition[] => {
  const queues = [partnerHashes.queue, staffHashes.queue];
  return [
    counter('slow_hashes_total', 'Slow hashes verified.', [], () =>
      queues.reduce((sum, { completed }) => sum + completed, 0),
    ),
    gauge('slow_hash_running', 'Slow hashes being verified.', [], () =>
      queues.reduce((sum, { running }) => sum + running, 0),
    ),
  ];
};

/** Depths and losses of the queues. A new queue needs one line here. */
export const queueMetrics = (queues: {
  activity: SignInRecorderService;
  usage: UsageService;
  calls: CallCounterService;
  callErrors: CallErrorRecorderService;
  responseDelays: ResponseDelayService;
  notices: DeliveryService;
}): Definition[] => {
  const { activity, usage, calls, callErrors, responseDelays, notices } = queues;
  const depths: Record<string, () => number> = {
    activity: () => activity.stats.queued,
    usage: () => usage.stats.queued,
    calls: () => calls.stats.queued,
    call_errors: () => callErrors.stats.queued,
    slow_hash: () => responseDelays.partnerHashes.queue.length + responseDelays.staffHashes.queue.length,
    waiting_room: () => responseDelays.waiting,
    notices: () => notices.stats.waiting,
  };
  const losses: Record<string, () => number> = {
    activity: () => activity.stats.lost,
    usage: () => usage.stats.lost,
    calls: () => calls.stats.lost,
    call_errors: () => callErrors.stats.lost,
  };
  const samples = (of: Record<string, () => number>): Sample[] =>
    Object.entries(of).map(([queue, read]) => [{ queue }, read()]);
  return [
    gauge('queue_depth', 'Entries waiting in memory; for notices, in the database.', ['queue'], () => samples(depths)),
    counter(
      'records_lost_total',
      'Records lost because the database was unavailable too long or refused them.',
      ['queue'],
      () => samples(losses),
    ),
  ];
};

export const auditMetrics = (audit: AuditService): Definition[] => [
  counter('audit_events_total', 'Events that this instance appended to the audit trail.', [], () => audit.stats.events),
  gauge(
    'audit_chain_sequence',
    'Sequence of the last event in the chain that this instance knows.',
    [],
    () => audit.stats.sequence,
  ),
];

export const noticeMetrics = (notices: DeliveryService): Definition[] => [
  counter(
    'notice_deliveries_total',
    'Attempts to deliver a notice: delivered, retried, or failed for good.',
    ['outcome'],
    () => {
      const { delivered, retried, failed } = notices.stats;
      return [
        [{ outcome: 'delivered' }, delivered],
        [{ outcome: 'retried' }, retried],
        [{ outcome: 'failed' }, failed],
      ];
    },
  ),
];

export const signingKeyMetrics = (keys: SigningKeyService): Definition[] => [
  gauge('signing_key_age_seconds', 'Seconds since the current signing key became active.', ['purpose'], () =>
    keys.ages.map(([purpose, ms]) => [{ purpose }, ms / 1000]),
  ),
];
