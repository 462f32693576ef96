import { Injectable, type OnApplicationBootstrap } from '@nestjs/common';
import { HttpAdapterHost } from '@nestjs/core';
import type { FastifyInstance } from 'fastify';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { collectDefaultMetrics, Registry } from 'prom-client';
import { DataSource } from 'typeorm';
import { ActivityService } from '../activity/activity.service.ts';
import { Directory } from '../channel-user/directory.service.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { Config } from '../config/config.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import { HealthService } from '../health/health.service.ts';
import { LimiterStore } from '../rate-limit/limiter-store.service.ts';
import { ThrottleService } from '../rate-limit/throttle.service.ts';
import { WaitingRoom } from '../rate-limit/waiting-room.service.ts';
import { SigningKeyService } from '../signing-key/signing-key.service.ts';
import { UsageService } from '../usage/usage.service.ts';
import { httpMetrics } from './http-metrics.ts';
import {
  databaseMetrics,
  directoryMetrics,
  feedMetrics,
  limiterMetrics,
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
  readonly #registry = new Registry();

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
      queueMetrics({ activity: this.activity, usage: this.usage, waitingRoom: this.waitingRoom }),
      signingKeyMetrics(this.keys),
    ];
    for (const metric of sources.flat()) this.#registry.registerMetric(metric);
    collectDefaultMetrics({ register: this.#registry });
  }

  /** The media type of {@link scrape}. */
  get contentType(): string {
    return this.#registry.contentType;
  }

  /** Every metric as it stands, in Prometheus' text format. */
  scrape(): Promise<string> {
    return this.#registry.metrics();
  }
}
