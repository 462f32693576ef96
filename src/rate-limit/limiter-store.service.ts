import { Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { Redis } from 'ioredis';
import { createHash, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { performance } from 'node:perf_hooks';
import { RateLimiterRedis } from 'rate-limiter-flexible';
import { Config, ConfigError } from '../platform/config/config.ts';
import { FixedWindow, type WindowUse } from './fixed-window.ts';

/** Longest wait for a command. A limiter counts in memory instead when Redis takes longer. */
const COMMAND_TIMEOUT_MS = 250;
const MAX_RECONNECT_MS = 2_000;
/** How often an instance checks that Redis counts. */
const CHECK_MS = 500;
/** How long Redis keeps the key of a check after the instance has ended. */
const PROBE_SECONDS = 60;
/** How long startup waits for Redis to confirm the database of `REDIS_URL`. Startup goes on without Redis. */
const START_MS = 1_000;
/** Points of a limiter that only counts and never refuses. */
const UNLIMITED = 2 ** 31 - 1;
/**
 * Keys that each in-memory limiter of failures counts separately. There are nine such limiters, which take 31 MB when
 * all are full (`limiter-store.spec.ts`).
 */
const MAX_KEYS = 25_000;

export interface LimiterOptions {
  /** Prefix of the limiter's keys in Redis. */
  readonly name: string;
  readonly durationSeconds: number;
}

/** Counts the uses of keys, in one window for each key. */
export interface Limiter {
  /** Counts one more use of a key. */
  use(key: string): WindowUse | Promise<WindowUse>;
  /** The present count of a key, or null without one. */
  get(key: string): Promise<WindowUse | null>;
  /** Starts a new window for a key, with a count and a length of its own. */
  set(key: string, points: number, seconds: number): Promise<void>;
}

/** Whether an error is Redis's own answer, not a failure of the connection. */
const isReply = ({ name }: Error): boolean => name === 'ReplyError';

/**
 * Creates limiters, which count in this instance's memory or, with `REDIS_URL`, in Redis for all instances together.
 * While Redis does not answer or refuses to write, each instance counts for itself.
 */
@Injectable()
export class LimiterStore implements OnModuleInit, OnApplicationShutdown {
  readonly #logger = new Logger(LimiterStore.name);
  readonly #redis: Redis | undefined;
  readonly #probe: RateLimiterRedis | undefined;
  readonly #probeKey = randomUUID();
  readonly #prefix: string;
  /** Starts true: Redis is used only after it has counted once. */
  #away = true;
  #hasWarned = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;
  /** The clock of the windows in memory, in milliseconds. A test moves it. */
  now = (): number => performance.now();

  constructor(config: Config) {
    // Several deployments may share one Redis.
    this.#prefix = `latchkey:${createHash('sha256').update(config.publicUrl).digest('hex').slice(0, 8)}`;
    if (config.redisUrl === undefined) return;
    this.#redis = this.#connect(config.redisUrl);
    this.#probe = this.#shared(this.#redis, { name: 'probe', durationSeconds: PROBE_SECONDS });
  }

  /** @throws ConfigError when Redis does not have the database that `REDIS_URL` names */
  async onModuleInit(): Promise<void> {
    const redis = this.#redis;
    if (!redis) return;
    // A failed connection ends the wait. Startup goes on without Redis.
    await Promise.race([once(redis, 'ready', { signal: AbortSignal.timeout(START_MS) }), once(redis, 'close')]).catch(
      () => undefined,
    );
    if (redis.status !== 'ready') return;
    const { message } = (await this.#check(redis)) ?? {};
    if (message?.includes('DB index') !== true) return;
    this.onApplicationShutdown();
    throw new ConfigError([
      `REDIS_URL names database ${String(redis.options.db)}, which this Redis does not have: use a number below its ` +
        '`databases` setting (16 by default), or none',
    ]);
  }

  /** Where limits are counted. With `redis-away`, each instance counts for itself until Redis counts again. */
  get state(): 'memory' | 'redis' | 'redis-away' {
    if (!this.#redis) return 'memory';
    return this.#away ? 'redis-away' : 'redis';
  }

  /** Creates a limiter with bounded memory, for keys that outsiders choose. */
  create(options: LimiterOptions): Limiter {
    return this.#limiter(options, MAX_KEYS);
  }

  /** Creates a limiter for keys that exist in the database, whose number needs no bound. */
  createUnbounded(options: LimiterOptions): Limiter {
    return this.#limiter(options, Infinity);
  }

  onApplicationShutdown(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#redis?.disconnect();
  }

  #limiter(options: LimiterOptions, maxKeys: number): Limiter {
    const memory = new FixedWindow(options.durationSeconds * 1000, maxKeys, () => this.now());
    const redis = this.#redis && this.#shared(this.#redis, options);
    return {
      use: (key) => (this.#isUsable(redis) ? this.#orElse(redis.penalty(key), () => memory.use(key)) : memory.use(key)),
      get: async (key) =>
        this.#isUsable(redis) ? this.#orElse(redis.get(key), () => memory.get(key)) : memory.get(key),
      set: async (key, points, seconds) => {
        const inMemory = (): void => {
          memory.set(key, points, seconds * 1000);
        };
        if (this.#isUsable(redis)) await this.#orElse(redis.set(key, points, seconds), inMemory);
        else inMemory();
      },
    };
  }

  #isUsable(redis: RateLimiterRedis | undefined): redis is RateLimiterRedis {
    return redis !== undefined && !this.#away;
  }

  #shared(redis: Redis, { name, durationSeconds }: LimiterOptions): RateLimiterRedis {
    return new RateLimiterRedis({
      keyPrefix: `${this.#prefix}:${name}`,
      points: UNLIMITED,
      duration: durationSeconds,
      storeClient: redis,
      rejectIfRedisNotReady: true,
    });
  }

  /** A late command counts in memory, but only a refusal by Redis marks it as away: a busy machine is late at times. */
  async #orElse<T, U>(inRedis: Promise<T>, inMemory: () => U): Promise<T | U> {
    try {
      return await inRedis;
    } catch (error) {
      if (isReply(error as Error)) this.#lost(error as Error);
      return inMemory();
    }
  }

  #connect(url: string): Redis {
    const redis = new Redis(url, {
      connectTimeout: MAX_RECONNECT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
      // Commands fail at once while Redis is away, and memory counts instead.
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      retryStrategy: (attempt) => Math.min(100 * attempt, MAX_RECONNECT_MS),
      keepAlive: 1_000,
    });
    redis.on('error', (error: Error) => {
      this.#lost(error);
    });
    redis.on('close', () => {
      this.#lost(new Error('the connection was closed'));
    });
    redis.on('ready', () => void this.#check(redis));
    this.#timer = setInterval(() => void this.#check(redis), CHECK_MS).unref();
    return redis;
  }

  /**
   * Runs every command that limiters use. Only this reveals a Redis that is frozen, full, a replica or without
   * permissions: a frozen one keeps its connections open, and the others still answer.
   */
  async #check(redis: Redis): Promise<Error | undefined> {
    if (redis.status !== 'ready' || !this.#probe) return undefined;
    try {
      // Selects the database again, since the client silently stays in database 0 when a SELECT fails.
      const { db = 0 } = redis.options;
      if (db !== 0) await redis.select(db);
      await this.#probe.penalty(this.#probeKey);
      await this.#probe.set(this.#probeKey, 1, PROBE_SECONDS);
      await this.#probe.get(this.#probeKey);
      this.#found();
      return undefined;
    } catch (thrown) {
      const error = thrown as Error;
      this.#lost(error);
      // Reconnects: after a failover, the host name may lead to another server. Other refusals may end by themselves.
      if (!isReply(error) || error.message.startsWith('READONLY')) redis.disconnect(true);
      return error;
    }
  }

  #found(): void {
    this.#away = false;
    if (this.#hasWarned) this.#logger.warn('Redis answers again: all instances share the limits');
    this.#hasWarned = false;
  }

  #lost(error: Error): void {
    this.#away = true;
    if (this.#hasWarned || this.#closed) return;
    this.#hasWarned = true;
    const what = isReply(error) ? 'refuses to count' : 'does not answer';
    this.#logger.warn(`Redis ${what} (${error.message}): each instance counts limits for itself`);
  }
}
