import { Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { Config } from '../config/config.ts';
import { connectionOptions } from './connection-options.ts';
import { renewConnections } from './data-source.ts';

const CHANNEL = 'latchkey_change';
/** `application_name` of every instance's listening connection, by which {@link ChangeFeed.settled} counts them. */
const APPLICATION_NAME = 'latchkey-changes';
const HEARTBEAT_MS = 200;
/**
 * How long caches are trusted after the last answered heartbeat was sent. PostgreSQL delivers earlier notifications
 * before that answer, so a cached value is never staler than this, even on a half-open connection.
 */
const TRUST_MS = 750;
/** A heartbeat that is unanswered for this long means that the connection is dead. */
const DEAD_MS = 2_000;
/** Pauses before the attempts to connect again; the last one repeats. */
const RECONNECT_MS = [50, 100, 250, 500, 1_000, 2_000];

/** A cache of rows of the database. */
export interface ChangeListener {
  /** A row with this key changed: drop it from the cache. */
  changed(key: string): void;
  /** Any row may have changed: drop the whole cache. */
  reset(): void;
}

/**
 * Tells caches what changed in the database, whether another instance, the command line or someone in psql changed it.
 * Triggers send notifications (`<topic>:<key>`), and one dedicated connection listens for them.
 */
@Injectable()
export class ChangeFeed implements OnModuleInit, OnApplicationShutdown {
  readonly #logger = new Logger(ChangeFeed.name);
  readonly #listeners = new Map<string, ChangeListener[]>();
  #client: pg.Client | undefined;
  /** Settles with the last query on the listening connection. */
  #lastAnswer: Promise<unknown> = Promise.resolve();
  /** When the last answered heartbeat was sent, on the monotonic clock. */
  #heardAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #attempts = 0;
  #closed = false;

  constructor(
    private readonly config: Config,
    private readonly dataSource: DataSource,
  ) {}

  /** Does not fail when the database does not answer: caches are bypassed until it does. */
  async onModuleInit(): Promise<void> {
    await this.#connect();
  }

  onApplicationShutdown(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drop(this.#client);
  }

  /** @param topic the part of a notification before the colon */
  subscribe(topic: string, listener: ChangeListener): void {
    this.#listeners.set(topic, [...(this.#listeners.get(topic) ?? []), listener]);
  }

  /**
   * Tells this instance's own listeners at once, ahead of the notification. Call it after the change was committed, and
   * also when it is unknown whether the change was committed.
   *
   * @param key `*` resets the listeners
   */
  announce(topic: string, key: string): void {
    for (const listener of this.#listeners.get(topic) ?? []) {
      if (key === '*') listener.reset();
      else listener.changed(key);
    }
  }

  /** Tells the listeners of all instances, including this one, about a change that no trigger announces. */
  async publish(topic: string, key: string): Promise<void> {
    await this.dataSource.query('SELECT pg_notify($1, $2)', [CHANNEL, `${topic}:${key}`]);
  }

  /** Whether notifications arrive, so that a value that is read now may be cached. */
  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** Whether cached values may be used. */
  get trusted(): boolean {
    return this.#client !== undefined && performance.now() - this.#heardAt <= TRUST_MS;
  }

  /** Milliseconds since the last answered heartbeat was sent; before the first, since this process started. */
  get lagMs(): number {
    return performance.now() - Math.max(this.#heardAt, 0);
  }

  /**
   * Resolves when no instance uses a value that it cached before this call: at once if no other instance listens. For
   * changes that must hold on every instance by the time they are answered.
   */
  async settled(): Promise<void> {
    const waited = new Promise((resolve) => setTimeout(resolve, TRUST_MS));
    const client = this.#client;
    const others = await this.#inTurn(async () =>
      client?.query<{ others: number }>(
        `SELECT count(*)::int AS others FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()`,
        [APPLICATION_NAME],
      ),
    ).then(
      (result) => result?.rows[0]?.others,
      () => undefined,
    );
    if (others !== 0) await waited;
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({
      ...connectionOptions(this.config.databaseDirectUrl ?? this.config.databaseUrl, []),
      application_name: APPLICATION_NAME,
      keepAlive: true,
      keepAliveInitialDelayMillis: 1_000,
      connectionTimeoutMillis: DEAD_MS,
      query_timeout: DEAD_MS,
    });
    client.on('error', (error) => {
      this.#lost(client, error);
    });
    client.on('end', () => {
      this.#lost(client, new Error('the connection ended'));
    });
    client.on('notification', ({ payload = '' }) => {
      const colon = payload.indexOf(':');
      this.announce(payload.slice(0, colon), payload.slice(colon + 1));
    });
    try {
      await client.connect();
      const sent = performance.now();
      await client.query(`LISTEN ${CHANNEL}`);
      await demandWritable(client);
      if (this.#closed) {
        this.#drop(client);
        return;
      }
      // Values read without a listener may be outdated, and the pool may be connected to another server.
      if (this.#attempts > 0) renewConnections(this.dataSource);
      for (const listener of [...this.#listeners.values()].flat()) listener.reset();
      this.#client = client;
      this.#lastAnswer = Promise.resolve();
      this.#heardAt = sent;
      if (this.#attempts > 0) this.#logger.warn('Change notifications arrive again, caches are trusted');
      this.#attempts = 0;
      this.#timer = setTimeout(() => void this.#heartbeat(client), HEARTBEAT_MS);
    } catch (error) {
      this.#drop(client);
      this.#retry(error as Error);
    }
  }

  async #heartbeat(client: pg.Client): Promise<void> {
    const sent = performance.now();
    try {
      await this.#inTurn(() => demandWritable(client));
    } catch (error) {
      this.#lost(client, error as Error);
      return;
    }
    if (this.#client !== client) return;
    this.#heardAt = sent;
    const next = Math.max(0, HEARTBEAT_MS - (performance.now() - sent));
    this.#timer = setTimeout(() => void this.#heartbeat(client), next);
  }

  /** Sends a query on the listening connection after the one before, since pg runs one at a time. */
  #inTurn<T>(query: () => Promise<T>): Promise<T> {
    const answer = this.#lastAnswer.then(query, query);
    this.#lastAnswer = answer.catch(() => undefined);
    return answer;
  }

  #lost(client: pg.Client, error: Error): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    clearTimeout(this.#timer);
    this.#drop(client);
    if (this.#closed) return;
    // The pool's connections may be dead for the same reason, without having noticed.
    renewConnections(this.dataSource);
    this.#retry(error);
  }

  #retry(error: Error): void {
    if (this.#closed) return;
    if (this.#attempts === 0) {
      this.#logger.warn(`Change notifications do not arrive (${error.message}): bypassing the caches until they do`);
    }
    const delay = RECONNECT_MS[Math.min(this.#attempts++, RECONNECT_MS.length - 1)];
    this.#timer = setTimeout(() => void this.#connect(), delay);
  }

  /** Ends a connection in any state and ignores its errors. */
  #drop(client: pg.Client | undefined): void {
    client?.end().catch(() => undefined);
  }
}

/**
 * The heartbeat's query. It refuses a read-only server, since a demoted primary keeps answering after a failover while
 * changes and their notifications happen on the new one.
 */
async function demandWritable(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ transaction_read_only: string }>('SHOW transaction_read_only');
  if (rows[0]?.transaction_read_only !== 'off') throw new Error('the server is read-only');
}
