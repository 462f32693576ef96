import type { Pool } from 'pg';
import type { DataSource } from 'typeorm';
import type { ActivityService } from '../activity/activity.service.ts';
import type { AuditService } from '../audit/audit.service.ts';
import type { Directory } from '../channel-user/directory.service.ts';
import type { Lifecycle } from '../common/lifecycle.ts';
import type { ChangeFeed } from '../database/change-feed.service.ts';
import type { HealthService } from '../health/health.service.ts';
import type { DeliveryService } from '../notice/delivery.service.ts';
import type { LimiterStore } from '../rate-limit/limiter-store.service.ts';
import type { ThrottleService } from '../rate-limit/throttle.service.ts';
import type { WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import type { SigningKeyService } from '../signing-key/signing-key.service.ts';
import type { UsageService } from '../usage/usage.service.ts';
import { type AnyMetric, counter, gauge, type Sample } from './metric.ts';

const flag = (is: boolean): number => (is ? 1 : 0);

export const processMetrics = (lifecycle: Lifecycle, version: string): AnyMetric[] => [
  gauge('shutting_down', '1 from the signal on.', () => flag(lifecycle.state === 'shutting-down')),
  gauge('build_info', 'Always 1.', () => [[{ version }, 1]]),
];

export const limiterMetrics = (throttle: ThrottleService, store: LimiterStore): AnyMetric[] => [
  counter('limiter_decisions_total', 'Failures within the free ones, tokens within the limit; and those beyond.', () =>
    Object.entries(throttle.decisions).flatMap(([limiter, { allowed, refused }]): Sample[] => [
      [{ limiter, decision: 'allowed' }, allowed],
      [{ limiter, decision: 'refused' }, refused],
    ]),
  ),
  gauge('limiter_store_up', '0 while Redis is configured and away.', () => flag(store.state !== 'redis-away')),
];

export const directoryMetrics = (directory: Directory): AnyMetric[] => [
  counter('directory_reads_total', 'Reads of an account: from memory, not in memory, or past it.', () => {
    const { hits, misses, bypasses } = directory.stats;
    return [
      [{ result: 'hit' }, hits],
      [{ result: 'miss' }, misses],
      [{ result: 'bypass' }, bypasses],
    ];
  }),
  gauge('directory_accounts', 'Accounts in memory.', () => directory.stats.accounts),
];

export const feedMetrics = (feed: ChangeFeed): AnyMetric[] => [
  gauge('change_feed_up', '1 while memory is believed.', () => flag(feed.trusted)),
  gauge('change_feed_lag_seconds', 'Age of the last answered heartbeat.', () => feed.lagMs / 1000),
];

export function databaseMetrics(health: HealthService, dataSource: DataSource, poolMax: number): AnyMetric[] {
  const none = { totalCount: 0, idleCount: 0, waitingCount: 0 };
  // There is none any more when it has ended, and scrapes go on.
  const pool = (): typeof none => (dataSource.driver as unknown as { master?: Pool }).master ?? none;
  return [
    gauge('database_up', '1 while PostgreSQL answers.', async () =>
      flag((await health.database()).database !== 'no-answer'),
    ),
    gauge('database_pool_connections', 'Connections of the pool.', () => {
      const { totalCount, idleCount } = pool();
      return [
        [{ state: 'active' }, totalCount - idleCount],
        [{ state: 'idle' }, idleCount],
      ];
    }),
    gauge('database_pool_waiting', 'Queries that wait for a connection.', () => pool().waitingCount),
    gauge('database_pool_max', 'Connections that the pool may have.', () => poolMax),
  ];
}

export const slowHashMetrics = ({ partnerHashes, staffHashes }: WaitingRoom): AnyMetric[] => {
  const queues = [partnerHashes.queue, staffHashes.queue];
  return [
    counter('slow_hashes_total', 'Slow hashes verified.', () =>
      queues.reduce((sum, { completed }) => sum + completed, 0),
    ),
    gauge('slow_hash_running', 'Slow hashes that are being verified.', () =>
      queues.reduce((sum, { running }) => sum + running, 0),
    ),
  ];
};

/** What waits, in memory where it may be lost. Another queue is a line here. */
export const queueMetrics = (queues: {
  activity: ActivityService;
  usage: UsageService;
  waitingRoom: WaitingRoom;
  notices: DeliveryService;
}): AnyMetric[] => {
  const { activity, usage, waitingRoom, notices } = queues;
  const depths: Record<string, () => number> = {
    activity: () => activity.stats.queued,
    usage: () => usage.stats.queued,
    slow_hash: () => waitingRoom.partnerHashes.queue.length + waitingRoom.staffHashes.queue.length,
    waiting_room: () => waitingRoom.waiting,
    notices: () => notices.stats.waiting,
  };
  const losses: Record<string, () => number> = {
    activity: () => activity.stats.lost,
    usage: () => usage.stats.lost,
  };
  const samples = (of: Record<string, () => number>): Sample[] =>
    Object.entries(of).map(([queue, read]) => [{ queue }, read()]);
  return [
    gauge('queue_depth', 'What waits in memory; notices wait in the database.', () => samples(depths)),
    counter('records_lost_total', 'Records given up: the database was away for too long, or refused them.', () =>
      samples(losses),
    ),
  ];
};

export const auditMetrics = (audit: AuditService): AnyMetric[] => [
  counter('audit_events_total', 'Events that this instance appended to the trail.', () => audit.stats.events),
  gauge('audit_chain_sequence', 'The last place in the chain that this instance knows.', () => {
    const { sequence } = audit.stats;
    return sequence === undefined ? [] : [[{}, sequence]];
  }),
];

export const noticeMetrics = (notices: DeliveryService): AnyMetric[] => [
  counter('notice_deliveries_total', 'Attempts to deliver a notice: delivered, to be tried again, given up.', () => {
    const { delivered, retried, failed } = notices.stats;
    return [
      [{ outcome: 'delivered' }, delivered],
      [{ outcome: 'retried' }, retried],
      [{ outcome: 'failed' }, failed],
    ];
  }),
];

export const signingKeyMetrics = (keys: SigningKeyService): AnyMetric[] => [
  gauge('signing_key_age_seconds', 'How long the key that signs has been signing.', () =>
    keys.ages.map(([purpose, ms]) => [{ purpose }, ms / 1000]),
  ),
];
