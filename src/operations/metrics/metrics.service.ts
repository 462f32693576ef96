import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import type { Registry } from 'prom-client';
import { DataSource } from 'typeorm';
import { CallCounterService } from '../../activity/calls/call-counter.service.ts';
import { CallErrorRecorderService } from '../../activity/calls/call-error-recorder.service.ts';
import { SignInRecorderService } from '../../activity/sign-in-log/sign-in-recorder.service.ts';
import { AuditService } from '../../audit/audit.service.ts';
import { AccountCache } from '../../channel-user/account/account-cache.service.ts';
import { Lifecycle } from '../../platform/common/lifecycle.ts';
import { Config } from '../../platform/config/config.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { HealthService } from '../health/health.service.ts';
import { DeliveryService } from '../../notice/delivery.service.ts';
import { LimiterStore } from '../../rate-limit/limiter-store.service.ts';
import { ThrottleService } from '../../rate-limit/throttle.service.ts';
import { ResponseDelayService } from '../../password/response-delay.service.ts';
import { SigningKeyService } from '../../auth/signing-key/signing-key.service.ts';
import { UsageService } from '../../activity/usage/usage.service.ts';
import { httpMetrics } from './http-metrics.ts';
import {
  auditMetrics,
  databaseMetrics,
  accountCacheMetrics,
  feedMetrics,
  limiterMetrics,
  noticeMetrics,
  processMetrics,
  queueMetrics,
  signingKeyMetrics,
  slowHashMetrics,
} from './service-metrics.ts';

/** Latchkey's package.json, as seen from the sources or from the build. */
const PACKAGE = path.join(
  import.meta.dirname,
  import.meta.filename.endsWith('.ts') ? '../../../package.json' : '../../../../package.json',
);

/** Reads the counts of the services, only when Prometheus scrapes. */
@Injectable()
export class MetricsService implements OnApplicationBootstrap {
  /** This application's own registry, since a process may run several applications. */
  #registry: Registry | undefined;

  constructor(
    private readonly host: HttpAdapterHost,
    private readonly config: Config,
    private readonly lifecycle: Lifecycle,
    private readonly health: HealthService,
    private readonly dataSource: DataSource,
    private readonly feed: ChangeFeed,
    private readonly accounts: AccountCache,
    private readonly throttle: ThrottleService,
    private readonly limiterStore: LimiterStore,
    private readonly responseDelays: ResponseDelayService,
    private readonly activity: SignInRecorderService,
    private readonly usage: UsageService,
    private readonly calls: CallCounterService,
    private readonly callErrors: CallErrorRecorderService,
    private readonly keys: SigningKeyService,
    private readonly audit: AuditService,
    private readonly notices: DeliveryService,
  ) {}

  async onApplicationBootstrap(): Promise<void> {
    // The command line has no HTTP adapter.
    const adapter = this.host.httpAdapter as HttpAdapterHost['httpAdapter'] | null;
    if (!adapter || this.config.opsPort === undefined) return;
    const { version } = JSON.parse(await readFile(PACKAGE, 'utf8')) as { version: string };
    const sources = [
      httpMetrics(adapter.getInstance<FastifyInstance>().stats),
      processMetrics(this.lifecycle, version),
      limiterMetrics(this.throttle, this.limiterStore),
      accountCacheMetrics(this.accounts),
      feedMetrics(this.feed),
      databaseMetrics(this.health, this.dataSource, this.config.databasePoolSize),
      slowHashMetrics(this.responseDelays),
      queueMetrics({
        activity: this.activity,
        usage: this.usage,
        calls: this.calls,
        callErrors: this.callErrors,
        responseDelays: this.responseDelays,
        notices: this.notices,
      }),
      signingKeyMetrics(this.keys),
      auditMetrics(this.audit),
      noticeMetrics(this.notices),
    ];
    // Loaded only with an operations port, since the package imports a lot.
    const promClient = await import('prom-client');
    const registry = new promClient.Registry();
    for (const create of sources.flat()) registry.registerMetric(create(promClient));
    promClient.collectDefaultMetrics({ register: registry });
    this.#registry = registry;
  }

  /** The media type of {@link scrape}. */
  get contentType(): string {
    return this.#current.contentType;
  }

  /** All metrics in Prometheus' text format. */
  scrape(): Promise<string> {
    return this.#current.metrics();
  }

  get #current(): Registry {
    if (!this.#registry) throw new Error('There is no listener for metrics');
    return this.#registry;
  }
}
