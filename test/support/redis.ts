import { Redis } from 'ioredis';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { freePort } from './ports.ts';
import { eventually } from './sign-ins.ts';

const hasRedis = spawnSync('redis-server', ['--version']).status === 0;
const isSkipped = !hasRedis && process.env['CI'] !== 'true';
if (isSkipped) process.stdout.write('What needs Redis is skipped: there is no redis-server on this machine\n');

/** `describe` for tests that need Redis. Without redis-server, skips the tests, but lets them fail in CI. */
export const describeWithRedis = isSkipped ? describe.skip : describe;
/** `it` with the rule of {@link describeWithRedis}. */
export const itWithRedis = isSkipped ? it.skip : it;

/** A Redis that a test may stop and freeze. */
export class RedisServer {
  #process: ChildProcess | undefined;

  private constructor(
    readonly port: number,
    private readonly folder: string,
  ) {}

  static async start(): Promise<RedisServer> {
    const server = new RedisServer(await freePort(), await mkdtemp(path.join(tmpdir(), 'latchkey-redis-')));
    await server.restart();
    return server;
  }

  get url(): string {
    return `redis://127.0.0.1:${String(this.port)}`;
  }

  async restart(): Promise<void> {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    this.#process = spawn('redis-server', [...args, '--dir', this.folder], { stdio: 'ignore' });
    await once(this.#process, 'spawn');
    await eventually(() => this.#answers(), 'Redis answers');
  }

  async stop(): Promise<void> {
    const ended = this.#process && once(this.#process, 'exit');
    this.#process?.kill('SIGKILL');
    await ended;
    this.#process = undefined;
  }

  freeze(): void {
    this.#process?.kill('SIGSTOP');
  }

  thaw(): void {
    this.#process?.kill('SIGCONT');
  }

  async remove(): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Runs `work` with a connection of its own. */
  async use<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis(this.url, { lazyConnect: true, retryStrategy: () => null });
    redis.on('error', () => undefined);
    try {
      await redis.connect();
      return await work(redis);
    } finally {
      redis.disconnect();
    }
  }

  async #answers(): Promise<true | undefined> {
    try {
      await this.use((redis) => redis.ping());
      return true;
    } catch {
      return undefined;
    }
  }
}
