import { Injectable, Logger, type OnApplicationShutdown } from '@nestjs/common';
import { Redis } from 'ioredis';
import { createHash } from 'node:crypto';
import { type RateLimiterAbstract, RateLimiterMemory, RateLimiterRedis } from 'rate-limiter-flexible';
import { Config } from '../config/config.ts';
import { FixedWindow, type WindowUse } from './fixed-window.ts';

/** A limiter counts in Redis while it answers within this time, and in memory otherwise. */
const COMMAND_TIMEOUT_MS = 250;
const MAX_RECONNECT_MS = 2_000;
const CHECK_MS = 500;
/** For a limiter that only counts. */
const UNLIMITED = 2 ** 31 - 1;
/** Keys that each in-memory limiter tells apart; any further ones share so many buckets. */
const MAX_KEYS = 100_000;
const SHARED_BUCKETS = 4_096;

export interface LimiterOptions {
  /** Names the limiter in Redis. */
  readonly name: string;
  /** How many points a key has. */
  readonly points: number;
  readonly durationSeconds: number;
}

/**
 * Counts in memory, in bounded memory: when more keys are live than it tells apart, new ones share buckets. That can
 * only count too much, which for failures means a 429 in place of a 401.
 */
class BoundedMemoryLimiter extends RateLimiterMemory {
  #recent = new Set<string>();
  #older = new Set<string>();
  #turnAt = 0;

  override getKey(key: string | number): string {
    const name = String(key);
    const now = Date.now();
    if (now >= this.#turnAt) {
      // After two turns everything that was counted under a key has expired.
      this.#older = this.#recent;
      this.#recent = new Set();
      this.#turnAt = now + this.duration * 1000;
    }
    if (!this.#recent.has(name)) {
      if (!this.#older.has(name) && this.#isFull) {
        const bucket = createHash('sha256').update(name).digest().readUInt32BE() % SHARED_BUCKETS;
        return super.getKey(`shared:${String(bucket)}`);
      }
      this.#recent.add(name);
    }
    return super.getKey(name);
  }

  /** A key that nothing was counted under does not become one by being asked for. */
  override get(...[key, options]: Parameters<RateLimiterMemory['get']>): ReturnType<RateLimiterMemory['get']> {
    const name = String(key);
    if (!this.#recent.has(name) && !this.#older.has(name) && !this.#isFull) return Promise.resolve(null);
    return super.get(key, options);
  }

  get #isFull(): boolean {
    return this.#recent.size + this.#older.size >= MAX_KEYS;
  }
}

/**
 * Where limiters count: in this instance's memory, or with `REDIS_URL` in Redis for all instances together. While
 * Redis does not answer, each instance counts for itself.
 */
@Injectable()
export class LimiterStore implements OnApplicationShutdown {
  readonly #logger = new Logger(LimiterStore.name);
  readonly #redis: Redis | undefined;
  readonly #prefix: string;
  /** Until it is there for the first time. */
  #away = true;
  #told = false;
  #closed = false;
  #timer: NodeJS.Timeout | undefined;

  constructor(config: Config) {
    // Several deployments may share one Redis.
    this.#prefix = `latchkey:${createHash('sha256').update(config.publicUrl).digest('hex').slice(0, 8)}`;
    if (config.redisUrl !== undefined) this.#redis = this.#connect(config.redisUrl);
  }

  /** `redis-away`: limits are counted by each instance for itself until Redis is back. */
  get state(): 'memory' | 'redis' | 'redis-away' {
    if (!this.#redis) return 'memory';
    return this.#away ? 'redis-away' : 'redis';
  }

  create({ name, points, durationSeconds }: LimiterOptions): RateLimiterAbstract {
    const options = { keyPrefix: `${this.#prefix}:${name}`, points, duration: durationSeconds };
    const memory = new BoundedMemoryLimiter(options);
    if (!this.#redis) return memory;
    return new RateLimiterRedis({
      ...options,
      storeClient: this.#redis,
      rejectIfRedisNotReady: true,
      insuranceLimiter: memory,
    });
  }

  /**
   * Counts the uses of keys that exist: their number needs no bound.
   *
   * @returns takes a key, counts one more use of it
   */
  counter(name: string, durationSeconds: number): (key: string) => WindowUse | Promise<WindowUse> {
    const memory = new FixedWindow(durationSeconds * 1000);
    if (!this.#redis) return (key) => memory.use(key);
    const options = { keyPrefix: `${this.#prefix}:${name}`, points: UNLIMITED, duration: durationSeconds };
    const redis = new RateLimiterRedis({ ...options, storeClient: this.#redis, rejectIfRedisNotReady: true });
    // What goes wrong is noticed by the connection.
    return (key) => redis.penalty(key).catch(() => memory.use(key));
  }

  onApplicationShutdown(): void {
    this.#closed = true;
    clearInterval(this.#timer);
    this.#redis?.disconnect();
  }

  #connect(url: string): Redis {
    const redis = new Redis(url, {
      connectTimeout: MAX_RECONNECT_MS,
      commandTimeout: COMMAND_TIMEOUT_MS,
      // Nothing waits for Redis: the insurance counts meanwhile.
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
    redis.on('ready', () => {
      if (this.#told) this.#logger.warn('Redis answers again: limits are shared by all instances');
      this.#away = false;
      this.#told = false;
    });
    this.#timer = setInterval(() => void this.#check(redis), CHECK_MS).unref();
    return redis;
  }

  /** A server that is frozen keeps its connections: without this, every limit would wait for it. */
  async #check(redis: Redis): Promise<void> {
    if (redis.status !== 'ready') return;
    try {
      await redis.ping();
    } catch (error) {
      this.#lost(error as Error);
      redis.disconnect(true);
    }
  }

  #lost({ message }: Error): void {
    this.#away = true;
    if (this.#told || this.#closed) return;
    this.#told = true;
    this.#logger.warn(`Redis does not answer (${message}): each instance counts limits for itself`);
  }
}
