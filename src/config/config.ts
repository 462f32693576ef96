import 'reflect-metadata';
import { plainToInstance, Transform } from 'class-transformer';
import {
  IsBoolean,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUrl,
  Matches,
  Max,
  Min,
  Validate,
  ValidatorConstraint,
  type ValidatorConstraintInterface,
  validateSync,
} from 'class-validator';
import type { BlockList } from 'node:net';
import { parseNetworks } from './networks.ts';
import { parseTelemetry, type TelemetryConfig } from './telemetry.ts';

/** Secrets that stand in examples; production refuses to start with one of them. */
const EXAMPLE_SECRETS = new Set(['change-me', 'changeme', 'example', 'secret', 'password', 'postgres', 'latchkey']);

const emptyIsAbsent = ({ value }: { value: unknown }): unknown => (value === '' ? undefined : value);
const toInteger = ({ value }: { value: unknown }): unknown =>
  typeof value === 'string' && /^-?\d{1,15}$/.test(value) ? Number(value) : emptyIsAbsent({ value });
const toBoolean = ({ value }: { value: unknown }): unknown =>
  value === 'true' ? true : value === 'false' ? false : emptyIsAbsent({ value });

/**
 * Reads a 256-bit key.
 *
 * @param text 32 bytes as base64, base64url or 64 hexadecimal digits
 * @returns the key, or `undefined` when the text is not one
 */
export function parseKeyEncryptionKey(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return undefined;
  const key = Buffer.from(text, 'base64');
  return key.length === 32 ? key : undefined;
}

@ValidatorConstraint({ name: 'isKeyEncryptionKey' })
class IsKeyEncryptionKey implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    return typeof value === 'string' && parseKeyEncryptionKey(value) !== undefined;
  }
  defaultMessage(): string {
    return 'must be 32 random bytes as base64 or hexadecimal (openssl rand -base64 32)';
  }
}

const splitKeys = (text: string): string[] => text.split(',').map((key) => key.trim());

@ValidatorConstraint({ name: 'isKeyEncryptionKeyList' })
class IsKeyEncryptionKeyList implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    return typeof value === 'string' && splitKeys(value).every((key) => parseKeyEncryptionKey(key) !== undefined);
  }
  defaultMessage(): string {
    return 'must be a comma-separated list of keys, the newest first, each 32 random bytes as base64 or hexadecimal';
  }
}

@ValidatorConstraint({ name: 'isNetworkList' })
class IsNetworkList implements ValidatorConstraintInterface {
  validate(value: unknown): boolean {
    return typeof value === 'string' && parseNetworks(value) !== undefined;
  }
  defaultMessage(): string {
    return 'must be a comma-separated list of IP addresses or CIDR networks';
  }
}

const LOG_LEVELS = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
const ORIGIN = /^https?:\/\/[^/?#@\s]+(\/[^?#\s]*)?$/;

/** The environment, one property a variable. `.env.example` describes each of them. */
export class Environment {
  @IsOptional()
  @IsIn(['development', 'production', 'test'], { message: 'must be development, production or test' })
  @Transform(emptyIsAbsent)
  NODE_ENV: 'development' | 'production' | 'test' = 'development';

  @IsOptional()
  @Matches(/^[A-Za-z0-9.:_-]+$/, { message: 'must be an address or a host name' })
  @Transform(emptyIsAbsent)
  HOST = '127.0.0.1';

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(65535, { message: 'must be at most 65535' })
  @Transform(toInteger)
  PORT = 3000;

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(65535, { message: 'must be at most 65535' })
  @Transform(toInteger)
  ADMIN_PORT?: number;

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(65535, { message: 'must be at most 65535' })
  @Transform(toInteger)
  OPS_PORT?: number;

  @IsOptional()
  @IsUrl(
    { protocols: ['postgres', 'postgresql'], require_tld: false, require_protocol: true, allow_underscores: true },
    { message: 'must be a URL such as postgres://user:password@host:5432/database' },
  )
  @Transform(emptyIsAbsent)
  DATABASE_URL?: string;

  @IsOptional()
  @IsUrl(
    { protocols: ['postgres', 'postgresql'], require_tld: false, require_protocol: true, allow_underscores: true },
    { message: 'must be a URL such as postgres://user:password@host:5432/database' },
  )
  @Transform(emptyIsAbsent)
  DATABASE_DIRECT_URL?: string;

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(1, { message: 'must be at least 1' })
  @Max(1000, { message: 'must be at most 1000' })
  @Transform(toInteger)
  DATABASE_POOL_SIZE = 10;

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(1, { message: 'must be at least 1' })
  @Max(10_000_000, { message: 'must be at most 10000000' })
  @Transform(toInteger)
  DIRECTORY_CACHE_SIZE = 100_000;

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(1, { message: 'must be at least 1' })
  @Max(10_000_000, { message: 'must be at most 10000000' })
  @Transform(toInteger)
  TOKEN_CACHE_SIZE = 20_000;

  @IsOptional()
  @IsUrl(
    { protocols: ['redis', 'rediss'], require_tld: false, require_protocol: true, allow_underscores: true },
    { message: 'must be a URL such as redis://user:password@host:6379/0' },
  )
  @Transform(emptyIsAbsent)
  REDIS_URL?: string;

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(1, { message: 'must be at least 1' })
  @Max(3650, { message: 'must be at most 3650' })
  @Transform(toInteger)
  ACTIVITY_RETENTION_DAYS = 90;

  @IsOptional()
  @IsString({ message: 'must be a path' })
  @Transform(emptyIsAbsent)
  LATCHKEY_DATA_DIR = '.latchkey';

  @IsOptional()
  @Matches(ORIGIN, { message: 'must be an http or https URL without query or fragment' })
  @Transform(emptyIsAbsent)
  PUBLIC_URL?: string;

  @IsOptional()
  @Matches(/^\S{1,255}$/, { message: 'must be 1 to 255 characters without spaces' })
  @Transform(emptyIsAbsent)
  TOKEN_AUDIENCE?: string;

  @IsOptional()
  @Validate(IsKeyEncryptionKey)
  @Transform(emptyIsAbsent)
  KEY_ENCRYPTION_KEY?: string;

  @IsOptional()
  @Validate(IsKeyEncryptionKeyList)
  @Transform(emptyIsAbsent)
  KEY_ENCRYPTION_KEYS?: string;

  @IsOptional()
  @IsInt({ message: 'must be a whole number' })
  @Min(0, { message: 'must be at least 0' })
  @Max(3650, { message: 'must be at most 3650' })
  @Transform(toInteger)
  SIGNING_KEY_ROTATION_DAYS = 90;

  @IsOptional()
  @Validate(IsNetworkList)
  @Transform(emptyIsAbsent)
  TRUSTED_PROXIES = '';

  @IsOptional()
  @Validate(IsNetworkList)
  @Transform(emptyIsAbsent)
  WEBHOOK_ALLOWED_NETWORKS = '';

  @IsOptional()
  @IsBoolean({ message: 'must be true or false' })
  @Transform(toBoolean)
  LEGACY_QUERY_CREDENTIALS = false;

  @IsOptional()
  @IsIn(LOG_LEVELS, { message: `must be one of ${LOG_LEVELS.join(', ')}` })
  @Transform(emptyIsAbsent)
  LOG_LEVEL: (typeof LOG_LEVELS)[number] = 'info';
}

/** Variables without a default. */
export const OPTIONAL = [
  'ADMIN_PORT',
  'OPS_PORT',
  'DATABASE_URL',
  'DATABASE_DIRECT_URL',
  'PUBLIC_URL',
  'TOKEN_AUDIENCE',
  'KEY_ENCRYPTION_KEY',
  'KEY_ENCRYPTION_KEYS',
  'REDIS_URL',
] as const;

/** The start is refused: each problem names the variable and the rule, never the value. */
export class ConfigError extends Error {
  constructor(readonly problems: string[]) {
    super(`The configuration is not usable:\n${problems.map((problem) => `  - ${problem}`).join('\n')}`);
  }
}

/** What the environment says, checked; `publicUrl` and `keyEncryptionKeys` may still be derived by the quickstart. */
export interface EnvironmentConfig {
  readonly production: boolean;
  readonly host: string;
  /** 0 lets the system choose, here and below. */
  readonly port: number;
  readonly adminPort: number | undefined;
  readonly opsPort: number | undefined;
  readonly databaseUrl: string | undefined;
  readonly databaseDirectUrl: string | undefined;
  readonly databasePoolSize: number;
  readonly directoryCacheSize: number;
  readonly tokenCacheSize: number;
  readonly redisUrl: string | undefined;
  readonly activityRetentionDays: number;
  readonly dataDir: string;
  readonly publicUrl: string | undefined;
  readonly tokenAudience: string | undefined;
  /** The newest first. */
  readonly keyEncryptionKeys: readonly [Buffer, ...Buffer[]] | undefined;
  /** 0: only by hand. */
  readonly signingKeyRotationDays: number;
  /** Peers whose `Forwarded` and `X-Forwarded-*` headers are believed. */
  readonly trustedProxies: BlockList;
  /** Where webhooks may lead although it is not the Internet, without https and at any port too. */
  readonly webhookAllowedNetworks: BlockList;
  readonly legacyQueryCredentials: boolean;
  readonly logLevel: Environment['LOG_LEVEL'];
  /** Absent: nothing of OpenTelemetry is loaded. */
  readonly telemetry: TelemetryConfig | undefined;
}

/** The configuration of a running application, complete. Injected by this class. */
export abstract class Config {
  abstract readonly production: boolean;
  abstract readonly port: number;
  /** Where staff come in; absent: at the public port. */
  abstract readonly adminPort: number | undefined;
  /** Where health and metrics are served; absent: nowhere. */
  abstract readonly opsPort: number | undefined;
  abstract readonly databaseUrl: string;
  /**
   * The same database without the pooler that `databaseUrl` then leads to: for what needs a session (LISTEN,
   * migrations). Absent: `databaseUrl` is direct.
   */
  abstract readonly databaseDirectUrl: string | undefined;
  abstract readonly databasePoolSize: number;
  /** Accounts kept in memory. */
  abstract readonly directoryCacheSize: number;
  /** Verified tokens kept in memory. */
  abstract readonly tokenCacheSize: number;
  /** Where limits are counted for all instances together; absent: each counts for itself. */
  abstract readonly redisUrl: string | undefined;
  abstract readonly activityRetentionDays: number;
  /** The issuer (`iss`), without a trailing slash. */
  abstract readonly publicUrl: string;
  /** The `aud` of partner tokens. */
  abstract readonly tokenAudience: string;
  /** 32 bytes each: the first encrypts signing keys and personal values at rest, all of them decrypt. */
  abstract readonly keyEncryptionKeys: readonly [Buffer, ...Buffer[]];
  /** Days after which the signing key is replaced; 0: only by hand. */
  abstract readonly signingKeyRotationDays: number;
  abstract readonly trustedProxies: BlockList;
  /** Where webhooks may lead although it is not the Internet, without https and at any port too. */
  abstract readonly webhookAllowedNetworks: BlockList;
  abstract readonly legacyQueryCredentials: boolean;
}

function parseKeys(text: string | undefined): [Buffer, ...Buffer[]] | undefined {
  const [newest, ...older] = splitKeys(text ?? '').flatMap((key) => parseKeyEncryptionKey(key) ?? []);
  return newest && [newest, ...older];
}

function isExampleSecret(value: string): boolean {
  const key = parseKeyEncryptionKey(value);
  // A key of one repeated byte, or of printable text, was typed and not generated.
  return (
    EXAMPLE_SECRETS.has(value.toLowerCase()) ||
    (key !== undefined && (new Set(key).size < 12 || key.every((byte) => byte >= 0x20 && byte < 0x7f)))
  );
}

/** Each listener has a port of its own. */
function portProblems(environment: Environment): string[] {
  const names = ['PORT', 'ADMIN_PORT', 'OPS_PORT'] as const;
  return names.flatMap((name, i) => {
    const port = environment[name];
    const other = port === undefined || port === 0 ? undefined : names.slice(0, i).find((n) => environment[n] === port);
    return other === undefined ? [] : [`${name} must differ from ${other}`];
  });
}

function productionProblems(environment: Environment): string[] {
  const problems: string[] = [];
  if (environment.DATABASE_URL === undefined) {
    problems.push('DATABASE_URL is required in production (the embedded database is for trying Latchkey out)');
  }
  for (const name of ['DATABASE_URL', 'DATABASE_DIRECT_URL'] as const) {
    const url = environment[name];
    if (url !== undefined && EXAMPLE_SECRETS.has(decodeURIComponent(new URL(url).password).toLowerCase())) {
      problems.push(`${name} must not carry an example password in production`);
    }
  }
  if (environment.PUBLIC_URL !== undefined && !environment.PUBLIC_URL.startsWith('https://')) {
    problems.push('PUBLIC_URL must be an https URL in production');
  }
  for (const name of ['KEY_ENCRYPTION_KEY', 'KEY_ENCRYPTION_KEYS'] as const) {
    const value = environment[name];
    if (value !== undefined && splitKeys(value).some(isExampleSecret)) {
      problems.push(`${name} must not be an example value in production (openssl rand -base64 32)`);
    }
  }
  return problems;
}

/**
 * Reads and checks the environment. Nothing else in Latchkey reads `process.env`.
 *
 * @param variables the environment; variables that are not Latchkey's are ignored, empty ones count as absent
 * @throws ConfigError naming every variable that breaks a rule
 */
export function loadConfig(variables: Record<string, string | undefined>): EnvironmentConfig {
  const known = Object.keys(new Environment());
  const names = [...known, ...OPTIONAL];
  const given = Object.fromEntries(names.filter((name) => variables[name]).map((name) => [name, variables[name]]));
  const environment = plainToInstance(Environment, given, { exposeDefaultValues: true });
  // The innermost rule, of the type, stands last; the others mean little without it.
  const problems = validateSync(environment).map(
    ({ property, constraints = {} }) => `${property} ${Object.values(constraints).at(-1) ?? 'is not valid'}`,
  );
  const telemetry = parseTelemetry(variables, problems);
  if (problems.length === 0) {
    problems.push(...portProblems(environment));
    if (environment.DATABASE_URL !== undefined || environment.NODE_ENV === 'production') {
      for (const name of ['PUBLIC_URL', 'KEY_ENCRYPTION_KEY'] as const) {
        const isListed = name === 'KEY_ENCRYPTION_KEY' && environment.KEY_ENCRYPTION_KEYS !== undefined;
        if (environment[name] === undefined && !isListed) {
          const when = environment.DATABASE_URL === undefined ? 'in production' : 'when DATABASE_URL is set';
          problems.push(`${name} is required ${when}, the same on all instances`);
        }
      }
    }
    if (environment.DATABASE_DIRECT_URL !== undefined && environment.DATABASE_URL === undefined) {
      problems.push('DATABASE_DIRECT_URL is the way around the pooler of DATABASE_URL: set that one too');
    }
    if (environment.KEY_ENCRYPTION_KEY !== undefined && environment.KEY_ENCRYPTION_KEYS !== undefined) {
      problems.push('KEY_ENCRYPTION_KEYS takes the place of KEY_ENCRYPTION_KEY: set one of them');
    }
    if (environment.NODE_ENV === 'production') problems.push(...productionProblems(environment));
  }
  const trustedProxies = parseNetworks(environment.TRUSTED_PROXIES);
  const webhookAllowedNetworks = parseNetworks(environment.WEBHOOK_ALLOWED_NETWORKS);
  if (problems.length > 0 || !trustedProxies || !webhookAllowedNetworks) throw new ConfigError(problems);
  return {
    production: environment.NODE_ENV === 'production',
    host: environment.HOST,
    port: environment.PORT,
    adminPort: environment.ADMIN_PORT,
    opsPort: environment.OPS_PORT,
    databaseUrl: environment.DATABASE_URL,
    databaseDirectUrl: environment.DATABASE_DIRECT_URL,
    databasePoolSize: environment.DATABASE_POOL_SIZE,
    directoryCacheSize: environment.DIRECTORY_CACHE_SIZE,
    tokenCacheSize: environment.TOKEN_CACHE_SIZE,
    redisUrl: environment.REDIS_URL,
    activityRetentionDays: environment.ACTIVITY_RETENTION_DAYS,
    dataDir: environment.LATCHKEY_DATA_DIR,
    publicUrl: environment.PUBLIC_URL?.replace(/\/+$/, ''),
    tokenAudience: environment.TOKEN_AUDIENCE,
    keyEncryptionKeys: parseKeys(environment.KEY_ENCRYPTION_KEYS ?? environment.KEY_ENCRYPTION_KEY),
    signingKeyRotationDays: environment.SIGNING_KEY_ROTATION_DAYS,
    trustedProxies,
    webhookAllowedNetworks,
    legacyQueryCredentials: environment.LEGACY_QUERY_CREDENTIALS,
    logLevel: environment.LOG_LEVEL,
    telemetry,
  };
}
