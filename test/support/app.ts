import { randomBytes } from 'node:crypto';
import { BlockList } from 'node:net';
import { DataSource } from 'typeorm';
import { type App, createApp } from '../../src/app.ts';
import type { Application } from '../../src/application.ts';
import { Clock } from '../../src/common/clock.ts';
import { createLogger } from '../../src/common/logging.ts';
import type { Actor, Role } from '../../src/common/request-context.ts';
import type { Config } from '../../src/config/config.ts';
import { runMigrations } from '../../src/database/migrate.ts';
import { MigrationFolders } from '../../src/database/migration-folders.ts';
import { StaffService } from '../../src/staff/staff.service.ts';
import { serveReference } from '../../src/openapi.ts';
import { createDatabase } from './database.ts';
import { keepOutput, secret } from './secrets.ts';

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** The body as JSON; throws when it is none. */
  json<T = Record<string, unknown>>(): T;
}

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

/** As `POST /admin/channel-users/:id/grants` takes it. */
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
let counter = 0;

/** A running application on a database of its own, spoken to over HTTP. */
export class TestApp {
  /** Milliseconds that the application's clock is ahead of the machine's. */
  clockOffset = 0;
  /** The public listener. */
  readonly url: string;
  /** Where staff come in: with `adminPort`, a listener of their own. */
  readonly staffUrl: string;
  /** Where health and metrics are, unless the configuration says `opsPort: undefined`. */
  readonly opsUrl: string;
  readonly #members = new Map<Role, StaffMember>();

  private constructor(
    readonly app: App,
    urls: { readonly public: string; readonly staff: string | undefined; readonly ops: string | undefined },
    readonly config: Config,
    readonly databaseUrl: string,
    readonly dropDatabase: () => Promise<void>,
  ) {
    this.url = urls.public;
    this.staffUrl = urls.staff ?? urls.public;
    this.opsUrl = urls.ops ?? '';
    const clock = app.nest.get(Clock);
    clock.now = () => Date.now() + this.clockOffset;
  }

  /**
   * @param overrides with the `config` of an application that runs, another instance on its database
   * @param application modules and migrations besides the application's own
   */
  static async start(overrides: Partial<Config> = {}, application: Application = {}): Promise<TestApp> {
    const database =
      overrides.databaseUrl === undefined
        ? await createDatabase()
        : { url: overrides.databaseUrl, drop: () => Promise.resolve() };
    // The template has those of `src`.
    if (application.migrations && overrides.databaseUrl === undefined) {
      await runMigrations(database.url, await new MigrationFolders(application.migrations).all());
    }
    const config: Config = {
      production: false,
      port: 3000,
      adminPort: undefined,
      opsPort: 0,
      databaseUrl: database.url,
      databaseDirectUrl: undefined,
      databasePoolSize: 8,
      directoryCacheSize: 1_000,
      tokenCacheSize: 1_000,
      redisUrl: undefined,
      activityRetentionDays: 90,
      publicUrl: 'http://latchkey.test',
      tokenAudience: 'http://api.latchkey.test',
      keyEncryptionKeys: [randomBytes(32)],
      signingKeyRotationDays: 0,
      trustedProxies: new BlockList(),
      webhookAllowedNetworks: new BlockList(),
      legacyQueryCredentials: false,
      ...overrides,
    };
    const logger = createLogger('trace', { write: keepOutput });
    const app = await createApp(config, logger, { application });
    serveReference(app.nest);
    try {
      return new TestApp(app, await app.listen('127.0.0.1', 0), config, database.url, database.drop);
    } catch (error) {
      // What had begun, such as listening for changes, must not outlive the test.
      await app.close();
      await app.end();
      throw error;
    }
  }

  async close(): Promise<void> {
    await this.app.close();
    await this.app.end();
    await this.dropDatabase();
  }

  /** The application's own connection pool, for looking and for breaking things. */
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
      ...(payload !== undefined && { body: payload as BodyInit }),
    });
    const text = await response.text();
    return { status: response.status, headers: response.headers, text, json: <T>() => JSON.parse(text) as T };
  }

  /** A signed-in staff member of a role; the same one each time. */
  async asStaff(role: Role): Promise<StaffMember> {
    const known = this.#members.get(role);
    if (known) return known;
    const member = await this.newStaff(role);
    this.#members.set(role, member);
    return member;
  }

  /** Another staff member, signed in. */
  async newStaff(role: Role): Promise<StaffMember> {
    const email = `${role}-${String(++counter)}@staff.example`;
    const created = await this.app.nest.get(StaffService).create({ email, name: `Staff ${role}`, role }, TEST);
    const password = secret(created.password);
    return { id: created.id, email, password, token: await this.signIn(email, password) };
  }

  async signIn(email: string, password: string): Promise<string> {
    const attempt = (): Promise<Answer> => this.request('POST', '/admin/session', { json: { email, password } });
    let answer = await attempt();
    // On a machine under load a slow hash may take longer than a refusal waits: then the right password is refused.
    for (let i = 0; i < 5 && answer.status === 401; i++) answer = await attempt();
    if (answer.status !== 200) throw new Error(`Signing in answered ${String(answer.status)}: ${answer.text}`);
    return secret(answer.json<{ accessToken: string }>().accessToken);
  }

  /** Provisions a partner through the API. */
  async newPartner(fields: Record<string, unknown> = {}): Promise<Partner> {
    const { token } = await this.asStaff('operator');
    const username = `partner-${String(++counter)}-${randomBytes(3).toString('hex')}`;
    const answer = await this.request('POST', '/admin/channel-users', {
      token,
      json: { username, displayName: `Partner ${String(counter)}`, ...fields },
    });
    if (answer.status !== 201) throw new Error(`Provisioning answered ${String(answer.status)}: ${answer.text}`);
    const { channelUser, credential } = answer.json<{
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
    if (answer.status !== 200) throw new Error(`/generateToken answered ${String(answer.status)}: ${answer.text}`);
    return secret(answer.text);
  }

  /**
   * A partner with a token.
   *
   * @param fields of the channel user, such as `scopes`, and what is granted to it
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
    if (answer.status !== 200) throw new Error(`Granting answered ${String(answer.status)}: ${answer.text}`);
  }
}
