import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Registry } from 'prom-client';
import { DataSource } from 'typeorm';
import { ActivityService } from '../activity/activity.service.ts';
import { AuditService } from '../audit/audit.service.ts';
import { Directory } from '../channel-user/directory.service.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { Config } from '../config/config.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import { HealthService } from '../health/health.service.ts';
import { DeliveryService } from '../notice/delivery.service.ts';
import { LimiterStore } from '../rate-limit/limiter-store.service.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import { SigningKeyService } from '../signing-key/signing-key.service.ts';
import { UsageService } from '../usage/usage.service.ts';
import { httpMetrics } from './http-metrics.ts';
import {
  auditMetrics,
  databaseMetrics,
  directoryMetrics,
  feedMetrics,
  limiterMetrics,
  noticeMetrics,
  processMetrics,
  queueMetrics,
  signingKeyMetrics,
  slowHashMetrics,
} from './service-metrics.ts';

/** Beside the folder of the sources, or of the build. */
const PACKAGE = path.join(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? '../../package.json' : '../../../package.json',
);

/** Reads what the services have counted when somebody scrapes, and at no other time. */
@Injectable()
export class MetricsService implements OnApplicationBootstrap {
  /** Of this application: a process may run several. */
  #registry: Registry | undefined;

  constructor(
    private readonly host: HttpAdapterHost,
    private readonly config: Config,
    private readonly lifecycle: Lifecycle,
    private readonly health: HealthService,
    private readonly dataSource: DataSource,
    private readonly feed: ChangeFeed,
    private readonly directory: Directory,
    private readonly throttle: ThrottleService,
    private readonly limiterStore: LimiterStore,
    private readonly waitingRoom: WaitingRoom,
    private readonly activity: ActivityService,
    private readonly usage: UsageService,
    private readonly keys: SigningKeyService,
    private readonly audit: AuditService,
    private readonly notices: DeliveryService,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    // There is none in the command line, which serves nothing.
    const adapter = this.host.httpAdapter as HttpAdapterHost['httpAdapter'] | null;
    if (!adapter || this.config.opsPort === undefined) return;
    const { version } = JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string };
    const sources = [
      httpMetrics(adapter.getInstance<FastifyInstance>().stats),
      processMetrics(this.lifecycle, version),
      limiterMetrics(this.throttle, this.limiterStore),
      directoryMetrics(this.directory),
      feedMetrics(this.feed),
      databaseMetrics(this.health, this.dataSource, this.config.databasePoolSize),
      slowHashMetrics(this.waitingRoom),
      queueMetrics({
        activity: this.activity,
        usage: this.usage,
        waitingRoom: this.waitingRoom,
        notices: this.notices,
      }),
      signingKeyMetrics(this.keys),
      auditMetrics(this.audit),
      noticeMetrics(this.notices),
    ];
    // Loaded only where somebody scrapes: it brings more with it.
    const { collectDefaultMetrics, Registry } = await import('prom-client');
    const registry = new Registry();
    for (const metric of sources.flat()) registry.registerMetric(metric);
    collectDefaultMetrics({ register: registry });
    this.#registry = registry;
  }

  /** The media type of {@link scrape}. */
  get contentType(): string {
    return this.#current.contentType;
  }

  /** Every metric as it stands, in Prometheus' text format. */
  scrape(): Promise<string> {
    return this.#current.metrics();
  }

  get #current(): Registry {
    if (!this.#registry) throw new Error('There is no listener for metrics');
    return this.#registry;
  }
}
