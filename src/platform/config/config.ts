import type { BlockList } from 'node:net';
import { OperatorError } from '../common/operator-error.ts';
import { withDatabasePassword } from './database-url.ts';
import type { KeyEncryptionKeys } from './key-encryption-key.ts';
import type { SettingValues } from './settings.ts';
import { type Findings, readSettings, type Variables } from './settings-reader.ts';
import { isProduction, ruleProblems } from './settings-rules.ts';
import { type StaffOidcConfig, staffOidcOf } from './staff-oidc.ts';
import { parseTelemetry, type TelemetryConfig } from './telemetry.ts';

/** Stops the start. Each problem names the variable, its rule, and the value found unless that may be a secret. */
export class ConfigError extends OperatorError {
  constructor(readonly problems: string[]) {
    const [first, ...more] = problems;
    const text = more.length === 0 ? ` ${first ?? ''}.` : problems.map((problem) => `\n  - ${problem}`).join('');
    super(`The configuration is not valid:${text}`);
  }
}

/** The checked settings of the environment. The quickstart may still derive `publicUrl` and `keyEncryptionKeys`. */
export interface EnvironmentConfig {
  readonly production: boolean;
  readonly host: string;
  /** 0 lets the system choose a port, for this listener and the other two. */
  readonly port: number;
  readonly adminPort: number | undefined;
  readonly opsPort: number | undefined;
  readonly databaseUrl: string | undefined;
  readonly databaseDirectUrl: string | undefined;
  readonly databasePoolSize: number;
  readonly accountCacheSize: number;
  readonly tokenCacheSize: number;
  readonly redisUrl: string | undefined;
  readonly activityRetentionDays: number;
  readonly dataDir: string;
  readonly publicUrl: string | undefined;
  readonly adminUrl: string | undefined;
  readonly staffOidc: StaffOidcConfig | undefined;
  readonly tokenAudience: string | undefined;
  /** The newest first. */
  readonly keyEncryptionKeys: KeyEncryptionKeys | undefined;
  /** Days; 0: the signing key is replaced only by hand. */
  readonly signingKeyRotationDays: number;
  /** Peers whose `Forwarded` and `X-Forwarded-*` headers are believed. */
  readonly trustedProxies: BlockList;
  /** Networks outside the Internet that webhooks may lead to, also over http and on any port. */
  readonly webhookAllowedNetworks: BlockList;
  readonly legacyQueryCredentials: boolean;
  readonly partnerPage: boolean;
  readonly logLevel: SettingValues['LOG_LEVEL'];
  /** Absent: OpenTelemetry is not loaded. */
  readonly telemetry: TelemetryConfig | undefined;
  /** Sentences for the log about old names of settings that are in use. */
  readonly warnings: readonly string[];
}

/** The configuration of a running application, complete. Injected by this class. */
export abstract class Config {
  abstract readonly production: boolean;
  abstract readonly port: number;
  /** The port for staff; absent: staff use the public port. */
  abstract readonly adminPort: number | undefined;
  /** The port for health and metrics; absent: no port serves them. */
  abstract readonly opsPort: number | undefined;
  abstract readonly databaseUrl: string;
  /**
   * The address of the same database without a pooler, for what needs a session (LISTEN, migrations). Absent:
   * `databaseUrl` leads to no pooler.
   */
  abstract readonly databaseDirectUrl: string | undefined;
  abstract readonly databasePoolSize: number;
  /** Accounts kept in memory. */
  abstract readonly accountCacheSize: number;
  /** Verified tokens kept in memory. */
  abstract readonly tokenCacheSize: number;
  /** The Redis that counts limits for all instances together; absent: each instance counts its own. */
  abstract readonly redisUrl: string | undefined;
  abstract readonly activityRetentionDays: number;
  /** The issuer (`iss`), without a trailing slash. */
  abstract readonly publicUrl: string;
  /** The address of the console, without a trailing slash; absent: it is that of `publicUrl`. */
  abstract readonly adminUrl: string | undefined;
  /** The identity provider of staff; absent: staff sign in with passwords only. */
  abstract readonly staffOidc: StaffOidcConfig | undefined;
  /** The `aud` of partner tokens. */
  abstract readonly tokenAudience: string;
  /** 32 bytes each: the first encrypts signing keys and personal values at rest, all of them decrypt. */
  abstract readonly keyEncryptionKeys: KeyEncryptionKeys;
  /** Days after which the signing key is replaced; 0: only by hand. */
  abstract readonly signingKeyRotationDays: number;
  abstract readonly trustedProxies: BlockList;
  /** Networks outside the Internet that webhooks may lead to, also over http and on any port. */
  abstract readonly webhookAllowedNetworks: BlockList;
  abstract readonly legacyQueryCredentials: boolean;
  /** Whether `/partner` is served. */
  abstract readonly partnerPage: boolean;
}

const withoutSlash = (url: string | undefined): string | undefined => url?.replace(/(?<!\/)\/+$/, '');

function cacheSizes(values: SettingValues): Pick<Config, 'accountCacheSize' | 'tokenCacheSize'> {
  const accounts = values.DIRECTORY_CACHE_SIZE ?? values.CACHE_SIZE;
  return { accountCacheSize: accounts, tokenCacheSize: values.TOKEN_CACHE_SIZE ?? accounts };
}

/**
 * Reads and checks the environment. Nothing else in Latchkey reads `process.env`.
 *
 * @param variables the environment; variables that are not Latchkey's are ignored, empty ones count as absent
 * @throws ConfigError naming every variable that breaks a rule
 */
export function loadConfig(variables: Variables): EnvironmentConfig {
  const findings: Findings = { problems: [], warnings: [] };
  const { problems, warnings } = findings;
  const values = readSettings(variables, findings);
  const telemetry = parseTelemetry(variables, problems);
  if (problems.length === 0) problems.push(...ruleProblems(values));
  if (problems.length > 0) throw new ConfigError(problems);
  const { DATABASE_PASSWORD: password } = values;
  const withPassword = (url: string | undefined): string | undefined =>
    url === undefined || password === undefined ? url : withDatabasePassword(url, password);
  return {
    production: isProduction(values),
    host: values.HOST,
    port: values.PORT,
    adminPort: values.ADMIN_PORT,
    opsPort: values.OPS_PORT,
    databaseUrl: withPassword(values.DATABASE_URL),
    databaseDirectUrl: withPassword(values.DATABASE_DIRECT_URL),
    databasePoolSize: values.DATABASE_POOL_SIZE,
    ...cacheSizes(values),
    redisUrl: values.REDIS_URL,
    activityRetentionDays: values.ACTIVITY_RETENTION_DAYS,
    dataDir: values.LATCHKEY_DATA_DIR,
    publicUrl: withoutSlash(values.PUBLIC_URL),
    adminUrl: withoutSlash(values.ADMIN_URL),
    staffOidc: staffOidcOf(values),
    tokenAudience: values.TOKEN_AUDIENCE,
    keyEncryptionKeys: values.KEY_ENCRYPTION_KEYS ?? values.KEY_ENCRYPTION_KEY,
    signingKeyRotationDays: values.SIGNING_KEY_ROTATION_DAYS,
    trustedProxies: values.TRUSTED_PROXIES,
    webhookAllowedNetworks: values.WEBHOOK_ALLOWED_NETWORKS,
    legacyQueryCredentials: values.LEGACY_QUERY_CREDENTIALS,
    partnerPage: values.PARTNER_PAGE,
    logLevel: values.LOG_LEVEL,
    telemetry,
    warnings,
  };
}
