import { Injectable, Logger, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';
import { performance } from 'node:perf_hooks';
import pg from 'pg';
import { DataSource } from 'typeorm';
import { Config } from '../config/config.ts';
import { renewConnections } from './data-source.ts';

const CHANNEL = 'latchkey_change';
/** What the listening connections of all instances are called. */
const APPLICATION_NAME = 'latchkey-changes';
const HEARTBEAT_MS = 200;
/**
 * How long after the last answered heartbeat was sent memory may be believed. What PostgreSQL had to tell before it
 * answered that heartbeat has arrived before the answer, so nothing older than this is believed, half-open
 * connections included.
 */
const TRUST_MS = 750;
/** A heartbeat that stays unanswered for so long means that the connection is dead. */
const DEAD_MS = 2_000;
const RECONNECT_MS = [50, 100, 250, 500, 1_000, 2_000];

/** Who remembers something of the database. */
export interface ChangeListener {
  /** Something with this key changed: forget it. */
  changed(key: string): void;
  /** Anything may have changed: forget everything. */
  reset(): void;
}

/**
 * Tells what changed in the database, whoever changed it: another instance, the command line, somebody in psql.
 * Triggers notify (`<topic>:<key>`), one dedicated connection listens.
 */
@Injectable()
export class ChangeFeed implements OnModuleInit, OnApplicationShutdown {
  readonly #logger = new Logger(ChangeFeed.name);
  readonly #listeners = new Map<string, ChangeListener[]>();
  #client: pg.Client | undefined;
  /** When the last heartbeat that was answered had been sent, on the monotonic clock. */
  #heardAt = -Infinity;
  #timer: NodeJS.Timeout | undefined;
  #attempts = 0;
  #closed = false;

  constructor(
    private readonly config: Config,
    private readonly dataSource: DataSource,
  ) {}

  /** A database that does not answer here is no reason not to start: memory is bypassed until it does. */
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
   * Tells this instance's own listeners at once, where the notification would take a moment. To be called after the
   * change was committed, and also when it is not known whether it was.
   */
  announce(topic: string, key: string): void {
    for (const listener of this.#listeners.get(topic) ?? []) {
      if (key === '*') listener.reset();
      else listener.changed(key);
    }
  }

  /** Whether notifications arrive, so that what is read now may be remembered. */
  get connected(): boolean {
    return this.#client !== undefined;
  }

  /** Whether what is remembered may be believed. */
  get trusted(): boolean {
    return this.#client !== undefined && performance.now() - this.#heardAt <= TRUST_MS;
  }

  /** How long ago the last heartbeat was sent that was answered, in milliseconds; infinite before the first. */
  get lagMs(): number {
    return performance.now() - this.#heardAt;
  }

  /**
   * Resolves when no instance believes any more what it remembered before this call: at once when no other listens.
   * For what must not be done anywhere with the old state once it has been answered.
   */
  async settled(): Promise<void> {
    const waited = new Promise((resolve) => setTimeout(resolve, TRUST_MS));
    const others = await this.#client
      ?.query<{ others: number }>(
        `SELECT count(*)::int AS others FROM pg_stat_activity
           WHERE datname = current_database() AND application_name = $1 AND pid <> pg_backend_pid()`,
        [APPLICATION_NAME],
      )
      .then(
        ({ rows }) => rows[0]?.others,
        () => undefined,
      );
    if (others !== 0) await waited;
  }

  async #connect(): Promise<void> {
    const client = new pg.Client({
      connectionString: this.config.databaseDirectUrl ?? this.config.databaseUrl,
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
      this.#lost(client, new Error('the connection has ended'));
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
      // What was read while nobody listened may be outdated, and those that read it be connected to another server.
      if (this.#attempts > 0) renewConnections(this.dataSource);
      for (const listener of [...this.#listeners.values()].flat()) listener.reset();
      this.#client = client;
      this.#heardAt = sent;
      if (this.#attempts > 0) this.#logger.warn('Change notifications arrive again');
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
      await demandWritable(client);
    } catch (error) {
      this.#lost(client, error as Error);
      return;
    }
    if (this.#client !== client) return;
    this.#heardAt = sent;
    const next = Math.max(0, HEARTBEAT_MS - (performance.now() - sent));
    this.#timer = setTimeout(() => void this.#heartbeat(client), next);
  }

  #lost(client: pg.Client, error: Error): void {
    if (this.#client !== client) return;
    this.#client = undefined;
    clearTimeout(this.#timer);
    this.#drop(client);
    if (this.#closed) return;
    // Whatever ended this one may have ended them too, and they need not know it yet.
    renewConnections(this.dataSource);
    this.#retry(error);
  }

  #retry(error: Error): void {
    if (this.#closed) return;
    if (this.#attempts === 0) {
      this.#logger.warn(`Change notifications do not arrive (${error.message}): memory is bypassed`);
    }
    const delay = RECONNECT_MS[Math.min(this.#attempts++, RECONNECT_MS.length - 1)];
    this.#timer = setTimeout(() => void this.#connect(), delay);
  }

  /** Whatever state the connection is in. What it says from now on does not matter. */
  #drop(client: pg.Client | undefined): void {
    client?.end().catch(() => undefined);
  }
}

/**
 * A heartbeat. After a failover the old server may go on answering whoever is connected to it, but only another one
 * takes changes, and tells of them.
 */
async function demandWritable(client: pg.Client): Promise<void> {
  const { rows } = await client.query<{ transaction_read_only: string }>('SHOW transaction_read_only');
  if (rows[0]?.transaction_read_only !== 'off') throw new Error('the server is read-only');
}
