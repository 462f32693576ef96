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

export const oauth2Server = (accounts: number): ServerDefinition => ({
  name: '@node-oauth/oauth2-server',
  args: ['bench/servers/oauth2-server.ts'],
  env: { PUBLIC_URL, ACCOUNTS: String(accounts) },
});

/**
 * Resource servers that verify Latchkey's tokens.
 *
 * @param jwksUri where the keys are
 */
export const guardPeers = async (jwksUri: string): Promise<ServerDefinition[]> => {
  const env = { ISSUER: PUBLIC_URL, JWKS_URI: jwksUri };
  return [
    { name: 'express-oauth2-jwt-bearer', args: ['bench/servers/express-oauth2-jwt-bearer.ts'], env },
    { name: '@fastify/jwt with get-jwks', args: ['bench/servers/fastify-jwt.ts'], env },
    { name: 'passport-jwt with jwks-rsa', args: [await compiled('passport-jwks')], env },
  ];
};

export async function tutorial(databaseUrl: string): Promise<ServerDefinition> {
  return { name: 'tutorial', args: [await compiled('tutorial')], env: { DATABASE_URL: databaseUrl, JWT_SECRET } };
}

/** Compiles a server with decorators, which Node does not run. @returns its path from the root of the repository */
async function compiled(name: string): Promise<string> {
  const { code } = await transformFile(path.join(ROOT, `bench/servers/${name}.ts`), {
    swcrc: false,
    jsc: {
      target: 'es2023',
      parser: { syntax: 'typescript', decorators: true },
      transform: { legacyDecorator: true, decoratorMetadata: true, useDefineForClassFields: false },
    },
    module: { type: 'es6' },
  });
  const file = `dist/bench/${name}.js`;
  await mkdir(path.join(ROOT, path.dirname(file)), { recursive: true });
  await writeFile(path.join(ROOT, file), code);
  return file;
}
