import { randomBytes } from 'node:crypto';
import { performance } from 'node:perf_hooks';
import { DataSource } from 'typeorm';
import { type App, createApp } from '../../src/server/create-app.ts';
import type { Application } from '../../src/application.ts';
import { CONNECTION_LIMITS, type ConnectionLimits } from '../../src/platform/http/connections.ts';
import { Clock } from '../../src/platform/common/clock.ts';
import { MonotonicClock, type Wait } from '../../src/platform/common/monotonic-clock.ts';
import { ReadPatience } from '../../src/platform/common/read-patience.ts';
import { type PeriodicTask, Scheduler } from '../../src/platform/common/scheduler.ts';
import { createLogger } from '../../src/platform/common/logging.ts';
import type { Actor, Role } from '../../src/platform/common/principal.ts';
import { type Config, loadConfig } from '../../src/platform/config/config.ts';
import { runMigrations } from '../../src/platform/database/migrate.ts';
import { MigrationFolders } from '../../src/platform/database/migration-folders.ts';
import { StaffService } from '../../src/staff/staff.service.ts';
import { serveReference } from '../../src/server/openapi-document.ts';
import { type Answer, answerOf } from './answer.ts';
import { createDatabase, onDatabase } from './database.ts';
import { keepOutput, secret } from './secrets.ts';

/** How long {@link TestApp.signIn} tries. */
const SIGN_IN_PATIENCE_MS = 60_000;

export type { Answer };

export interface StaffMember {
  readonly id: string;
  readonly email: string;
  readonly password: string;
  readonly token: string;
}

export interface Partner {
  readonly id: string;
  readonly username: string;
  readonly password: string;
  readonly credentialId: string;
}

export interface PartnerWithToken extends Partner {
  readonly token: string;
}

/** The body of `POST /admin/channel-users/:id/grants`. */
export interface GrantFields {
  readonly resourceType: string;
  readonly resourceIds: readonly string[];
  readonly permissions?: readonly string[];
  readonly expiresAt?: string | null;
}

export interface PartnerFields extends Record<string, unknown> {
  readonly scopes?: readonly string[];
  readonly grants?: readonly GrantFields[];
}

export interface RequestOptions {
  token?: string | undefined;
  headers?: Record<string, string>;
  /** Sent as JSON. */
  json?: unknown;
  /** Sent as a form. */
  form?: Record<string, string> | string;
  body?: string | Buffer;
}

const TEST: Actor = { type: 'system', id: null, name: 'test', address: null, requestId: null };
/** Settings of the tests that differ from the defaults. Signing keys rotate only when a test rotates them. */
const TEST_SETTINGS = { OPS_PORT: '0', DATABASE_POOL_SIZE: '8', CACHE_SIZE: '1000', SIGNING_KEY_ROTATION_DAYS: '0' };
/** Milliseconds that reads wait for recorded rows, long enough for a busy machine and within the deadline of a request. */
const READ_PATIENCE_MS = 3_000;
/** Milliseconds from a request's arrival until it is answered 503, long enough for a busy machine. */
const DEADLINE_MS = 60_000;
/** Periodic tasks that run less often than this, in milliseconds, run only when a test runs them. */
const SELDOM_MS = 60_000;
/** The longest time that a timer takes, in milliseconds. */
const NEVER_MS = 2 ** 31 - 1;
let counter = 0;
/** What is still in here at the end of a file is stopped by `test/runner/native-environment.mjs`. */
const running = (Reflect.get(globalThis, Symbol.for('latchkey.test.running')) ?? new Set()) as Set<TestApp>;

/**
 * Keeps the periodic tasks by name, for {@link TestApp.runTask}. Those that run seldom run at the start or when a test
 * runs them: by the machine's clock, they would run in the middle of a test on a slow machine alone.
 */
function keepTasks(scheduler: Scheduler): ReadonlyMap<string, PeriodicTask> {
  const tasks = new Map<string, PeriodicTask>();
  const schedule = scheduler.schedule.bind(scheduler);
  scheduler.schedule = (task) => {
    tasks.set(task.name, task);
    const { name, run, everyMs, firstAfterMs } = task;
    if (everyMs < SELDOM_MS) schedule(task);
    else if (firstAfterMs === 0) schedule({ name, run, firstAfterMs, everyMs: NEVER_MS });
  };
  return tasks;
}

/** A clock that stands still at its beginning, where no time runs out and no wait lasts. */
class StoppedClock extends MonotonicClock {
  override now = (): number => 0;
  override timeout = (): Wait => ({ over: new Promise(() => undefined), cancel: () => undefined });
  override waitFor = (): Wait => ({ over: Promise.resolve(), cancel: () => undefined });
}

/** A running application on its own database. Tests talk to it over HTTP. */
export class TestApp {
  #clockOffset = 0;
  /** How far the clock has been moved forward in all, in milliseconds. */
  #movedMs = 0;
  /** The machine's clock, which a test may stop. */
  now = Date.now;
  /** The public listener. */
  readonly url: string;
  /** The listener for staff, which is the public one unless `adminPort` is set. */
  readonly staffUrl: string;
  /** The listener for health and metrics. Empty if the configuration sets `opsPort: undefined`. */
  readonly opsUrl: string;
  readonly #members = new Map<Role, StaffMember>();

  private constructor(
    readonly app: App,
    urls: { readonly public: string; readonly staff: string | undefined; readonly ops: string | undefined },
    readonly config: Config,
    readonly databaseUrl: string,
    readonly dropDatabase: () => Promise<void>,
    private readonly tasks: ReadonlyMap<string, PeriodicTask>,
  ) {
    this.url = urls.public;
    this.staffUrl = urls.staff ?? urls.public;
    this.opsUrl = urls.ops ?? '';
    const clock = app.nest.get(Clock);
    clock.now = () => this.now() + this.clockOffset;
    clock.elapsed = () => performance.now() + this.#movedMs;
    running.add(this);
    this.readPatienceMs = READ_PATIENCE_MS;
    this.waits = 'none';
  }

  /**
   * @param overrides with the `config` of a running application, starts a second instance on its database
   * @param application modules and migrations besides Latchkey's own
   * @param connectionLimits Latchkey's own by default, but for the deadline of requests, which a busy machine may miss
   */
  static async start(
    overrides: Partial<Config> = {},
    application: Application = {},
    connectionLimits: ConnectionLimits = { ...CONNECTION_LIMITS, deadlineMs: DEADLINE_MS },
  ): Promise<TestApp> {
    const database =
      overrides.databaseUrl === undefined
        ? await createDatabase()
        : { url: overrides.databaseUrl, drop: () => Promise.resolve() };
    // The template database already has the migrations of `src`.
    if (application.migrations && overrides.databaseUrl === undefined) {
      await runMigrations(database.url, await new MigrationFolders(application.migrations).all());
    }
    const config: Config = {
      ...loadConfig(TEST_SETTINGS),
      databaseUrl: database.url,
      publicUrl: 'http://latchkey.test',
      tokenAudience: 'http://api.latchkey.test',
      keyEncryptionKeys: [randomBytes(32)],
      ...overrides,
    };
    const logger = createLogger('trace', { write: keepOutput });
    const app = await createApp(config, logger, { application, connectionLimits });
    serveReference(app.nest);
    const tasks = keepTasks(app.nest.get(Scheduler));
    try {
      return new TestApp(app, await app.listen('127.0.0.1', 0), config, database.url, database.drop, tasks);
    } catch (error) {
      // Started work, such as listening for changes, must not outlive the test.
      await app.close();
      await app.end();
      throw error;
    }
  }

  /** Stops the application and leaves its database, for a test that starts another instance on it. */
  async stop(): Promise<void> {
    running.delete(this);
    await this.app.close();
    await this.app.end();
  }

  async close(): Promise<void> {
    await this.stop();
    await this.dropDatabase();
  }

  /**
   * How refused sign-ins wait, and how long checks of passwords may take. With `none`, nobody waits for a refusal and
   * every check has all the time that it needs, however busy the machine is. A test of the delay itself sets `real`.
   */
  set waits(kind: 'none' | 'real') {
    Object.assign(this.app.nest.get(MonotonicClock), kind === 'real' ? new MonotonicClock() : new StoppedClock());
  }

  /** Milliseconds that a read waits for recorded rows to be written. */
  set readPatienceMs(ms: number) {
    this.app.nest.get(ReadPatience).ms = ms;
  }

  /** Milliseconds that the application's clock is ahead of {@link now}. */
  get clockOffset(): number {
    return this.#clockOffset;
  }

  set clockOffset(ms: number) {
    this.#movedMs += Math.max(0, ms - this.#clockOffset);
    this.#clockOffset = ms;
  }

  /** Runs a periodic task, such as `Scanning for notices`, once. @param name what the log calls it */
  async runTask(name: string): Promise<void> {
    const task = this.tasks.get(name);
    if (!task) throw new Error(`No task is called "${name}". There are: ${[...this.tasks.keys()].join(', ')}`);
    await task.run();
  }

  /**
   * Runs a statement that prepares many rows, on a connection of its own: on a slow machine it may take longer than the
   * application's statements are allowed to.
   */
  async seed<T extends object>(statement: string, parameters: unknown[] = []): Promise<T[]> {
    return onDatabase(this.databaseUrl, async (client) => (await client.query<T>(statement, parameters)).rows);
  }

  /** The application's own connection pool, for tests that inspect or break the database. */
  get dataSource(): DataSource {
    return this.app.nest.get(DataSource);
  }

  async request(method: string, path: string, options: RequestOptions = {}): Promise<Answer> {
    const { token, headers = {}, json, form, body } = options;
    const sent: Record<string, string> = { ...headers };
    if (token !== undefined) sent['authorization'] = `Bearer ${token}`;
    let payload: string | Buffer | undefined = body;
    if (json !== undefined) {
      sent['content-type'] ??= 'application/json';
      payload = JSON.stringify(json);
    } else if (form !== undefined) {
      sent['content-type'] ??= 'application/x-www-form-urlencoded';
      payload = typeof form === 'string' ? form : new URLSearchParams(form).toString();
    }
    const response = await fetch((path.startsWith('/admin') ? this.staffUrl : this.url) + path, {
      method,
      headers: sent,
      redirect: 'manual',
      ...(payload !== undefined && { body: payload as NonNullable<RequestInit['body']> }),
    });
    return answerOf(`${method} ${path}`, response);
  }

  /** A signed-in staff member of a role. Each call returns the same one. */
  async asStaff(role: Role): Promise<StaffMember> {
    const known = this.#members.get(role);
    if (known) return known;
    const member = await this.newStaff(role);
    this.#members.set(role, member);
    return member;
  }

  /** Creates another staff member and signs it in. */
  async newStaff(role: Role): Promise<StaffMember> {
    const email = `${role}-${String(++counter)}@staff.example`;
    const created = await this.app.nest.get(StaffService).create({ email, name: `Staff ${role}`, role }, TEST);
    const password = secret(created.password);
    return { id: created.id, email, password, token: await this.signIn(email, password) };
  }

  /** Signs staff in. A busy machine may have no time to check the password, which answers 503 and changes nothing. */
  async signIn(email: string, password: string): Promise<string> {
    const end = performance.now() + SIGN_IN_PATIENCE_MS;
    let answer: Answer;
    do answer = await this.request('POST', '/admin/session', { json: { email, password } });
    while (answer.status === 503 && performance.now() < end);
    return secret(answer.expect(200).json<{ accessToken: string }>().accessToken);
  }

  /** Provisions a partner through the API. */
  async newPartner(fields: Record<string, unknown> = {}): Promise<Partner> {
    const { token } = await this.asStaff('operator');
    const username = `partner-${String(++counter)}-${randomBytes(3).toString('hex')}`;
    const answer = await this.request('POST', '/admin/channel-users', {
      token,
      json: { username, displayName: `Partner ${String(counter)}`, ...fields },
    });
    const { channelUser, credential } = answer.expect(201).json<{
      channelUser: { id: string; username: string };
      credential: { id: string; password: string };
    }>();
    return {
      id: channelUser.id,
      username: channelUser.username,
      password: secret(credential.password),
      credentialId: credential.id,
    };
  }

  /** Obtains a token as a partner would. */
  async generateToken({ username, password }: { username: string; password: string }): Promise<string> {
    const answer = await this.request('POST', '/generateToken', { form: { Username: username, Password: password } });
    return secret(answer.expect(200).text);
  }

  /**
   * Provisions a partner and obtains a token.
   *
   * @param fields the channel user's fields, such as `scopes`, and its grants
   */
  async asPartner({ grants = [], ...fields }: PartnerFields = {}): Promise<PartnerWithToken> {
    const partner = await this.newPartner(fields);
    for (const grant of grants) await this.grant(partner, grant);
    return { ...partner, token: await this.generateToken(partner) };
  }

  /** Grants resources to a partner, as an operator would. */
  async grant({ id }: Pick<Partner, 'id'>, grant: GrantFields): Promise<void> {
    const { token } = await this.asStaff('operator');
    const answer = await this.request('POST', `/admin/channel-users/${id}/grants`, { token, json: grant });
    answer.expect(200);
  }
}
