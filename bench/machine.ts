import { readFile } from 'node:fs/promises';
import os from 'node:os';
import path from 'node:path';
import { postgresVersion } from './database.ts';
import { ROOT } from './server-process.ts';

/** The packages that are measured, or that measure. */
const PACKAGES = [
  '@nestjs/core',
  '@nestjs/platform-fastify',
  '@nestjs/platform-express',
  '@nestjs/jwt',
  '@nestjs/passport',
  'fastify',
  'jsonwebtoken',
  'passport-local',
  'passport-jwt',
  '@node-rs/bcrypt',
  '@node-rs/argon2',
  'typeorm',
  'pg',
  'lru-cache',
  'oidc-provider',
  'autocannon',
];

/** The conditions of the measurement, as pairs of name and value. */
export async function describeMachine(): Promise<[string, string][]> {
  const [cpu] = os.cpus();
  const versions = await Promise.all(
    PACKAGES.map(async (name) => {
      const text = await readFile(path.join(ROOT, 'node_modules', name, 'package.json'), 'utf8');
      return `${name} ${(JSON.parse(text) as { version: string }).version}`;
    }),
  );
  return [
    ['Date', new Date().toISOString().slice(0, 10)],
    ['Processor', `${cpu?.model.trim() ?? 'unknown'}, ${String(os.cpus().length)} cores`],
    ['Memory', `${(os.totalmem() / 2 ** 30).toFixed(0)} GiB`],
    ['System', `${os.type()} ${os.release()}`],
    ['Node', process.version],
    ['PostgreSQL', await postgresVersion()],
    ['Packages', versions.join(', ')],
  ];
}
