import { execFile } from 'node:child_process';
import { keepOutput, secret } from './secrets.ts';
import type { TestApp } from './app.ts';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
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
  return new Promise((resolve) => {
    const options = { env: environment, maxBuffer: 1e8 };
    execFile(process.execPath, ['dist/src/cli.js', ...args], options, (error, stdout, stderr) => {
      keepOutput(stdout + stderr);
      resolve({ code: error === null ? 0 : Number(error.code ?? NaN), stdout, stderr });
    });
  });
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
