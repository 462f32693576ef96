import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { Agent, type IncomingMessage, request } from 'node:http';
import { performance } from 'node:perf_hooks';
import { promisify } from 'node:util';
import { freePort } from './ports.ts';
import { ServerProcess } from './server.ts';
import { staffTokenOf } from './staff-sign-in.ts';

const run = promisify(execFile);

export interface Sent {
  readonly method?: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  readonly path: string;
  readonly token?: string | undefined;
  readonly form?: Record<string, string>;
  readonly json?: unknown;
  readonly headers?: Record<string, string>;
}

export interface Received {
  readonly status: number;
  readonly headers: IncomingMessage['headers'];
  readonly text: string;
}

/** Sends a request. @param agent keeps connections open. Without an agent, each request opens its own */
export function send(url: string, sent: Sent, agent: Agent | false = false): Promise<Received> {
  const { method = 'GET', path, token, form, json, headers } = sent;
  const body = form ? new URLSearchParams(form).toString() : json === undefined ? undefined : JSON.stringify(json);
  return new Promise((resolve, reject) => {
    const outgoing = request(url + path, {
      method,
      agent,
      headers: {
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && {
          'content-type': form ? 'application/x-www-form-urlencoded' : 'application/json',
          'content-length': Buffer.byteLength(body),
        }),
        ...headers,
      },
    });
    outgoing.on('error', reject);
    outgoing.on('response', (answer) => {
      let text = '';
      answer.setEncoding('utf8');
      answer.on('data', (chunk: string) => (text += chunk));
      answer.on('error', reject);
      answer.on('end', () => {
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text });
      });
    });
    outgoing.end(body);
  });
}

/** An instance of the built server. It keeps its port when it starts again, so that a proxy finds it. */
export class Instance {
  readonly port: number;
  readonly #opsPort: number;
  readonly #env: Record<string, string>;
  /** The output of this instance's earlier processes. */
  #earlier = '';
  #server: ServerProcess | undefined;

  constructor(port: number, opsPort: number, env: Record<string, string>) {
    this.port = port;
    this.#opsPort = opsPort;
    this.#env = env;
  }

  get url(): string {
    return `http://127.0.0.1:${String(this.port)}`;
  }

  /** The URL of its health and metrics. */
  get opsUrl(): string {
    return `http://127.0.0.1:${String(this.#opsPort)}`;
  }

  get pid(): number {
    return this.#running.pid;
  }

  /** The output of all its processes. */
  get output(): string {
    const { stdout, stderr } = this.#server ?? { stdout: '', stderr: '' };
    return this.#earlier + stdout + stderr;
  }

  /** Its log messages of the level warn or higher, without those about a slow Redis. */
  get complaints(): string[] {
    const lines = this.output.split('\n').filter((line) => line.startsWith('{'));
    return (
      lines
        .map((line) => JSON.parse(line) as { level: string; msg: string })
        .filter(({ level }) => ['warn', 'error', 'fatal'].includes(level))
        .map(({ msg }) => msg)
        // On a busy machine, Redis may take longer than the 250 ms that it is given.
        .filter((message) => !/^Redis (does not answer|answers again)/.test(message))
    );
  }

  /** @returns once it serves */
  async start(): Promise<void> {
    this.#earlier = this.output;
    const ports = { PORT: String(this.port), OPS_PORT: String(this.#opsPort) };
    this.#server = new ServerProcess({ env: { ...this.#env, ...ports } });
    await this.#server.listening();
  }

  signal(signal: NodeJS.Signals): void {
    process.kill(this.pid, signal);
  }

  /** Sends a signal and waits for the end of the process. @returns how and after how many milliseconds it ended */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<{ exit: number | NodeJS.Signals; ms: number }> {
    const from = performance.now();
    const exit = await this.#running.kill(signal);
    return { exit, ms: performance.now() - from };
  }

  /** Kills the process, whatever its state. */
  async end(): Promise<void> {
    await this.#server?.kill('SIGKILL').catch(() => undefined);
  }

  get #running(): ServerProcess {
    if (!this.#server) throw new Error('The instance was not started');
    return this.#server;
  }
}

export interface FleetAccount {
  readonly id: string;
  readonly username: string;
  readonly password: string;
  readonly credentialId: string;
}

/** Several instances of the built server, in production, on one database and with the same settings. */
export class Fleet {
  readonly instances: readonly Instance[];
  readonly #env: Record<string, string>;
  #counter = 0;
  staffToken = '';

  private constructor(instances: Instance[], env: Record<string, string>) {
    this.instances = instances;
    this.#env = env;
  }

  /**
   * Starts all instances at once, and signs an admin in.
   *
   * @param env further settings, which may override those that every instance needs
   */
  static async start(databaseUrl: string, env: Record<string, string> = {}, count = 3): Promise<Fleet> {
    const settings = {
      NODE_ENV: 'production',
      DATABASE_URL: databaseUrl,
      DATABASE_POOL_SIZE: '5',
      PUBLIC_URL: 'https://latchkey.test',
      KEY_ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      TRUSTED_PROXIES: '127.0.0.1',
      ...env,
    };
    const ports = await Promise.all(Array.from({ length: 2 * count }, freePort));
    const fleet = new Fleet(
      ports.slice(count).map((port, i) => new Instance(port, ports[i] ?? 0, settings)),
      settings,
    );
    try {
      await Promise.all(fleet.instances.map((instance) => instance.start()));
      await fleet.#signIn();
      return fleet;
    } catch (error) {
      await fleet.remove();
      throw error;
    }
  }

  get ports(): number[] {
    return this.instances.map(({ port }) => port);
  }

  instance(index: number): Instance {
    const found = this.instances[index];
    if (!found) throw new Error(`There is no instance ${String(index)}`);
    return found;
  }

  async remove(): Promise<void> {
    await Promise.all(this.instances.map((instance) => instance.end()));
  }

  /** Sends a request as an admin. @param at the instance or the proxy in front of it */
  async admin(sent: Sent, { url } = this.instance(0)): Promise<Received> {
    return send(url, { token: this.staffToken, ...sent });
  }

  /** Provisions a partner. */
  async newAccount(fields: Record<string, unknown> = {}): Promise<FleetAccount> {
    const username = `fleet-${String(++this.#counter)}`;
    const json = { username, displayName: username, tokensPerMinute: 1_000_000, ...fields };
    const { status, text } = await this.admin({ method: 'POST', path: '/admin/channel-users', json });
    if (status !== 201) throw new Error(`Provisioning answered ${String(status)}: ${text}`);
    const { channelUser, credential } = JSON.parse(text) as {
      channelUser: { id: string };
      credential: { id: string; password: string };
    };
    return { id: channelUser.id, username, password: credential.password, credentialId: credential.id };
  }

  /** The request that obtains a token. */
  signIn({ username, password }: FleetAccount): Sent {
    return { method: 'POST', path: '/generateToken', form: { Username: username, Password: password } };
  }

  async newToken(account: FleetAccount, { url } = this.instance(0)): Promise<string> {
    const { status, text } = await send(url, this.signIn(account));
    if (status !== 200) throw new Error(`/generateToken answered ${String(status)}: ${text}`);
    return text;
  }

  /** Creates the first admin on the command line, and signs it in. */
  async #signIn(): Promise<void> {
    const email = 'admin@fleet.example';
    const args = ['dist/src/cli.js', 'staff', 'create', '--email', email, '--name', 'Admin'];
    const { stdout } = await run(process.execPath, args, { env: { PATH: process.env['PATH'], ...this.#env } });
    const password = /^Password: (.+)$/m.exec(stdout)?.[1] ?? '';
    this.staffToken = await staffTokenOf(this.instance(0).url, { email, password });
  }
}

/** The outcome of one request of a {@link Load}. */
export interface Outcome {
  readonly name: string;
  /** When the request began, in milliseconds on the monotonic clock. */
  readonly begunAt: number;
  readonly endedAt: number;
  /** The status, or 0 if there was no answer. */
  readonly status: number;
  readonly requestId: string | undefined;
  readonly error: string | undefined;
}

/** Functions by name. Each makes a new request. */
export type Mix = Record<string, () => Sent>;

/**
 * Sends the requests of a mix in turn, with `atOnce` in parallel, until it is stopped. Does not repeat a failed
 * request.
 */
export class Load {
  readonly outcomes: Outcome[] = [];
  readonly #url: string;
  readonly #mix: [string, () => Sent][];
  readonly #workers: Promise<void>[];
  readonly #keepAlive: boolean;
  #next = 0;
  #isStopped = false;

  /** @param keepAlive if false, each request opens its own connection */
  constructor(url: string, mix: Mix, atOnce: number, { keepAlive = true } = {}) {
    this.#url = url;
    this.#keepAlive = keepAlive;
    this.#mix = Object.entries(mix);
    this.#workers = Array.from({ length: atOnce }, () => this.#work());
  }

  get failures(): Outcome[] {
    return this.outcomes.filter(({ status }) => status < 200 || status > 299);
  }

  /** The kinds of failures in words, with the number of each. */
  get failureKinds(): Record<string, number> {
    const kinds: Record<string, number> = {};
    for (const { name, status, error, requestId } of this.failures) {
      // Instances add a request id to every answer, so an answer without one comes from the proxy.
      const kind = `${name}: ${error ?? String(status)}${error === undefined && requestId === undefined ? ' of the proxy' : ''}`;
      kinds[kind] = (kinds[kind] ?? 0) + 1;
    }
    return kinds;
  }

  /** The requests that were answered with 2xx. */
  succeeded(name?: string): Outcome[] {
    return this.outcomes.filter(
      (outcome) => outcome.status >= 200 && outcome.status <= 299 && (name === undefined || outcome.name === name),
    );
  }

  /** Resolves when this many further requests have ended. */
  async further(count: number): Promise<void> {
    const enough = this.outcomes.length + count;
    for (const end = Date.now() + 60_000; this.outcomes.length < enough;) {
      if (Date.now() > end || this.#isStopped) throw new Error('The load does not go on');
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }

  /** Stops sending, and waits for the requests in progress. */
  async stop(): Promise<Outcome[]> {
    this.#isStopped = true;
    await Promise.all(this.#workers);
    return this.outcomes;
  }

  async #work(): Promise<void> {
    const agent = this.#keepAlive && new Agent({ keepAlive: true, maxSockets: 1 });
    while (!this.#isStopped) {
      const [name, make] = this.#mix[this.#next++ % this.#mix.length] ?? [];
      if (name === undefined || !make) return;
      const begunAt = performance.now();
      const { status, headers, error } = await send(this.#url, make(), agent).then(
        (answer) => ({ ...answer, error: undefined }),
        (reason: unknown) => {
          const { code, message } = reason as NodeJS.ErrnoException;
          return { status: 0, headers: {}, error: code ?? message };
        },
      );
      const requestId = (headers as Received['headers'])['x-request-id']?.toString();
      this.outcomes.push({ name, begunAt, endedAt: performance.now(), status, requestId, error });
      // A server that is gone would otherwise get thousands of requests a second.
      if (error !== undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    if (agent) agent.destroy();
  }
}
