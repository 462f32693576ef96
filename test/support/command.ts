import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import type { Readable } from 'node:stream';
import { keepOutput, secret } from './secrets.ts';
import type { TestApp } from './app.ts';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A character that no command writes, which ends its output. */
const END = '\u0004';
let host: ChildProcess | undefined;
/** Resolves when no command runs. */
let idle: Promise<unknown> = Promise.resolve();

/** The process of `command-host.mjs`, which ends with this one. */
function startHost(): ChildProcess {
  const child = fork(new URL('command-host.mjs', import.meta.url), { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
  child.unref();
  for (const stream of [child.stdout, child.stderr]) (stream as unknown as { unref: () => void } | null)?.unref();
  child.channel?.unref();
  return child;
}

/** What a command writes to a stream. */
function outputOf(stream: Readable | null): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const read = (chunk: Buffer): void => {
      chunks.push(chunk);
      if (chunk.at(-1) !== END.charCodeAt(0)) return;
      stream?.off('data', read);
      resolve(Buffer.concat(chunks).toString().slice(0, -END.length));
    };
    stream?.on('data', read);
  });
}

/**
 * Runs a command of the built command line on an application's database.
 *
 * @param args such as `'keys', 're-encrypt'`
 * @param options.keys the keys of `KEY_ENCRYPTION_KEY`, the application's by default
 * @param options.env further environment variables
 */
export function runCommand(
  { config, databaseUrl }: Pick<TestApp, 'config' | 'databaseUrl'>,
  args: readonly string[],
  { keys = config.keyEncryptionKeys, env = {} }: { keys?: readonly Buffer[]; env?: Record<string, string> } = {},
): Promise<Ended> {
  const environment = {
    NODE_ENV: 'development',
    DATABASE_URL: databaseUrl,
    PUBLIC_URL: config.publicUrl,
    KEY_ENCRYPTION_KEY: keys.map((key) => secret(key.toString('base64'))).join(','),
    ...env,
  };
  const run = async (): Promise<Ended> => {
    host ??= startHost();
    host.ref();
    host.channel?.ref();
    const end = new AbortController();
    const { signal } = end;
    const ended = Promise.all([outputOf(host.stdout), outputOf(host.stderr), once(host, 'message', { signal })]);
    host.send({ args, env: environment, end: END });
    const died = once(host, 'exit', { signal }).then(() => {
      host = undefined;
      throw new Error(`The process of latchkey ${args.join(' ')} has died`);
    });
    const [stdout, stderr, message] = await Promise.race([ended, died]);
    died.catch(() => undefined);
    end.abort();
    host.unref();
    host.channel?.unref();
    keepOutput(stdout + stderr);
    const [{ code }] = message as [{ code: number }];
    return { code, stdout, stderr };
  };
  const running = idle.then(run);
  idle = running.catch(() => undefined);
  return running;
}

/** Runs `keys re-encrypt`. @returns how many were encrypted anew, or dropped */
export async function reencrypt(
  app: Pick<TestApp, 'config' | 'databaseUrl'>,
  keys?: readonly Buffer[],
): Promise<
  Record<'signingKeys' | 'personalKeys' | 'secondFactors' | 'handovers' | 'webhooks' | 'keyedHashes', number>
> {
  const { code, stdout, stderr } = await runCommand(app, ['keys', 're-encrypt'], { ...(keys && { keys }) });
  if (code !== 0) throw new Error(stderr);
  const count = (pattern: RegExp): number => Number(pattern.exec(stdout)?.[1]);
  return {
    signingKeys: count(/(\d+) signing keys/),
    personalKeys: count(/(\d+) keys of the audit trail/),
    secondFactors: count(/(\d+) second factors/),
    handovers: count(/(\d+) passwords awaiting hand-over/),
    webhooks: count(/the secrets and URLs of (\d+) webhooks/),
    keyedHashes: count(/the keyed hashes of (\d+) imported passwords/),
  };
}
