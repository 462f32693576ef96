import { transformFile } from '@swc/core';
import { randomBytes } from 'node:crypto';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { ROOT, type ServerDefinition } from './server-process.ts';

const PUBLIC_URL = 'https://bench.example';
const KEY_ENCRYPTION_KEY = randomBytes(32).toString('base64');
const JWT_SECRET = randomBytes(32).toString('base64');

/** The required settings. All others keep their defaults. */
export const latchkeyEnvironment = (databaseUrl: string): Record<string, string> => ({
  DATABASE_URL: databaseUrl,
  PUBLIC_URL,
  KEY_ENCRYPTION_KEY,
});

export const latchkey = (name: string, databaseUrl: string): ServerDefinition => ({
  name,
  args: ['dist/src/main.js'],
  env: latchkeyEnvironment(databaseUrl),
});

/** Bare node:http with form parsing and a constant answer. */
export const floor = (): ServerDefinition => ({ name: 'floor', args: ['bench/servers/floor.ts'], env: {} });

/** Bare node:http with only the work that a signed response and a verified token require. */
export const limit = (accounts: number): ServerDefinition => ({
  name: 'limit',
  args: ['bench/servers/limit.ts'],
  env: { PUBLIC_URL, ACCOUNTS: String(accounts) },
});

export const oidcProvider = (accounts: number): ServerDefinition => ({
  name: 'oidc-provider',
  args: ['bench/servers/oidc-provider.ts'],
  env: { PUBLIC_URL, ACCOUNTS: String(accounts) },
});

/** The tutorial's server is compiled first, because Node does not run decorators. */
export async function tutorial(databaseUrl: string): Promise<ServerDefinition> {
  const { code } = await transformFile(path.join(ROOT, 'bench/servers/tutorial.ts'), {
    swcrc: false,
    jsc: {
      target: 'es2023',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
    },
    module: { type: 'es6' },
  });
  const compiled = 'dist/bench/tutorial.js';
  await mkdir(path.join(ROOT, path.dirname(compiled)), { recursive: true });
  await writeFile(path.join(ROOT, compiled), code);
  return { name: 'tutorial', args: [compiled], env: { DATABASE_URL: databaseUrl, JWT_SECRET } };
}
