import { databaseUrlProblem } from './database-url.ts';
import { publicUrlProblem } from './public-url.ts';
import { redisUrlProblem } from './redis-url.ts';
import { adminUrlProblem } from './staff-oidc.ts';
import { STAFF_OIDC_SETTINGS } from './staff-oidc-settings.ts';
import {
  checked,
  choice,
  flag,
  keys,
  matching,
  networks,
  password,
  port,
  type SettingType,
  text,
  wholeNumber,
} from './setting-types.ts';

/** A variable of the environment. */
export interface Setting {
  readonly type: SettingType<unknown>;
  /** The text of the default. A setting without a default may be absent. */
  readonly default?: string;
  /** What happens without the setting, in words, where the default alone does not say it. */
  readonly absent?: string;
  /** Markdown. */
  readonly description: string;
  /** A text that the type accepts. Production refuses the examples of keys and passwords. */
  readonly example: string;
  /** The value is never shown, and `<name>_FILE` may name a file that holds it. */
  readonly secret: boolean;
  /** The setting that takes the place of this one. The old name works for one more minor version. */
  readonly replacedBy?: string;
}

const postgres = checked(databaseUrlProblem);
const KEY_EXAMPLE = `${'A'.repeat(43)}=`;

/**
 * Every setting. `npm run settings` writes `.env.example` and the table in the documentation from these rows; the type
 * {@link SettingValues} and the checks of `loadConfig()` derive from them as well.
 */
const SETTINGS = {
  NODE_ENV: {
    type: choice('development', 'production', 'test'),
    absent: '`production` with `DATABASE_URL`, else `development`',
    description:
      '`production` requires `DATABASE_URL`, an https `PUBLIC_URL`, real secrets and a migrated database. If ' +
      '`DATABASE_URL` is set, only `development` lifts these requirements.',
    example: 'production',
    secret: false,
  },
  HOST: {
    type: matching(/^[A-Za-z0-9.:_-]+$/, 'must be an address or a host name'),
    default: '127.0.0.1',
    description: 'The address to listen on. The image sets `0.0.0.0`.',
    example: '0.0.0.0',
    secret: false,
  },
  PORT: {
    type: port,
    default: '3000',
    description: 'The port for partners. For this and the other ports, 0 lets the system choose.',
    example: '8080',
    secret: false,
  },
  ADMIN_PORT: {
    type: port,
    absent: 'staff use `PORT`',
    description:
      'A separate port for staff: `/admin`, the console at `/console`, and `/docs/admin`. `PORT` then serves none ' +
      'of these, so that you can expose each port to a different network.',
    example: '3001',
    secret: false,
  },
  OPS_PORT: {
    type: port,
    absent: 'served nowhere',
    description:
      'The port for `/health/live`, `/health/startup`, `/health/ready` and `/metrics`. It requires no ' +
      "credentials: expose it only to the operators' network. The image sets 9464.",
    example: '9464',
    secret: false,
  },
  DATABASE_URL: {
    type: postgres,
    absent: 'an embedded PostgreSQL runs',
    description:
      'PostgreSQL 15 or newer. In the password, write `/ ? # %` as `%2F %3F %23 %25`. Latchkey ignores the ' +
      'variables of other PostgreSQL programs (`PGHOST`, `PGSSLMODE`, …).',
    example: 'postgres://user:password@host:5432/database',
    secret: true,
  },
  DATABASE_PASSWORD: {
    type: password,
    absent: 'none',
    description: 'The password, unencoded. Used if `DATABASE_URL` and `DATABASE_DIRECT_URL` contain none.',
    example: 'password',
    secret: true,
  },
  DATABASE_DIRECT_URL: {
    type: postgres,
    absent: '`DATABASE_URL` is used for everything',
    description:
      'The same database without the pooler, for `LISTEN` and migrations. Needed when `DATABASE_URL` leads to a ' +
      'pooler (PgBouncer, transaction pooling). Latchkey then sends no timeouts when it connects: set them on the ' +
      'role (docs/deploying.md, PgBouncer).',
    example: 'postgres://user:password@host:5432/database',
    secret: true,
  },
  DATABASE_POOL_SIZE: {
    type: wholeNumber(1, 1_000),
    default: '10',
    description: 'Maximum number of database connections of each instance.',
    example: '20',
    secret: false,
  },
  CACHE_SIZE: {
    type: wholeNumber(1, 10_000_000),
    default: '100000',
    description:
      'Maximum number of accounts that each instance keeps in memory, and of verified tokens; 100,000 of both take ' +
      'about 100 MB.',
    example: '250000',
    secret: false,
  },
  DIRECTORY_CACHE_SIZE: {
    type: wholeNumber(1, 10_000_000),
    description: 'The old name of `CACHE_SIZE`.',
    example: '250000',
    secret: false,
    replacedBy: 'CACHE_SIZE',
  },
  TOKEN_CACHE_SIZE: {
    type: wholeNumber(1, 10_000_000),
    description: 'Maximum number of verified tokens that each instance keeps in memory.',
    example: '50000',
    secret: false,
    replacedBy: 'CACHE_SIZE',
  },
  REDIS_URL: {
    type: checked(redisUrlProblem),
    absent: 'each instance counts for itself',
    description:
      'Redis counts the limits for all instances together. Percent-encode the password. `rediss://` uses TLS; ' +
      "`NODE_EXTRA_CA_CERTS` names a private CA's certificate (a PEM file). Use one server, or an address that follows the " +
      'primary: Sentinel and Redis Cluster are not supported.',
    example: 'redis://user:password@host:6379/0',
    secret: true,
  },
  ACTIVITY_RETENTION_DAYS: {
    type: wholeNumber(1, 3_650),
    default: '90',
    description: 'Days to keep sign-in attempts. After a decrease, older attempts are deleted within the hour.',
    example: '30',
    secret: false,
  },
  LATCHKEY_DATA_DIR: {
    type: text,
    default: '.latchkey',
    description: 'The folder for the embedded database and the generated secrets.',
    example: '/var/lib/latchkey',
    secret: false,
  },
  PUBLIC_URL: {
    type: { ...checked(publicUrlProblem), quotes: true },
    absent: 'the address of the first start; required with `DATABASE_URL`',
    description:
      'The address that partners use, the same on all instances; https in production. It is the issuer (`iss`) of ' +
      'every token: after a change, existing tokens are refused and every verifier must be reconfigured. A path ' +
      'is possible if a proxy removes it; the console then needs its own host name (`ADMIN_PORT`).',
    example: 'https://latchkey.example',
    secret: false,
  },
  ADMIN_URL: {
    type: { ...checked(adminUrlProblem), quotes: true },
    absent: '`PUBLIC_URL`',
    description:
      'The address of the console, if it differs from `PUBLIC_URL`, as with `ADMIN_PORT` behind a name of its own; ' +
      'https in production. Links for staff and the redirect URI of single sign-on come from it, never from the ' +
      '`Host` of a request.',
    example: 'https://console.latchkey.example',
    secret: false,
  },
  TOKEN_AUDIENCE: {
    type: matching(/^\S{1,255}$/, 'must be 1 to 255 characters without spaces'),
    absent: '`PUBLIC_URL`',
    description:
      'The audience (`aud`) of partner tokens. After a change, existing tokens are refused and every ' +
      'verifier must be reconfigured.',
    example: 'https://api.latchkey.example',
    secret: false,
  },
  KEY_ENCRYPTION_KEY: {
    type: keys,
    absent: 'one is generated; required with `DATABASE_URL`',
    description:
      '32 random bytes that encrypt signing keys and personal data at rest (`openssl rand -base64 32`), the same ' +
      'on all instances. If the key is lost, every token ends and names in the audit trail become unreadable. To ' +
      'replace the key, list several, comma-separated, newest first: the first one encrypts, all of them decrypt.',
    example: KEY_EXAMPLE,
    secret: true,
  },
  KEY_ENCRYPTION_KEYS: {
    type: keys,
    description: 'The old name of `KEY_ENCRYPTION_KEY` with several keys.',
    example: KEY_EXAMPLE,
    secret: true,
    replacedBy: 'KEY_ENCRYPTION_KEY',
  },
  ...STAFF_OIDC_SETTINGS,
  SIGNING_KEY_ROTATION_DAYS: {
    type: wholeNumber(0, 3_650),
    default: '90',
    description: 'Days after which the key that signs tokens is replaced. 0: only by hand.',
    example: '30',
    secret: false,
  },
  TRUSTED_PROXIES: {
    type: networks,
    default: '',
    absent: 'none',
    description:
      'Networks of your reverse proxies, comma-separated. Latchkey trusts forwarding headers only from them. If ' +
      "it is unset behind a proxy, all partners appear with the proxy's address and allow-lists refuse " +
      'everybody. If a network is too wide, clients can forge their address.',
    example: '10.0.0.0/8,fd00::/8',
    secret: false,
  },
  WEBHOOK_ALLOWED_NETWORKS: {
    type: networks,
    default: '',
    absent: 'only the public Internet',
    description:
      'Networks that webhooks may lead to besides the public Internet. In these, http and any port are allowed ' +
      'too. Set the same value on all instances, since any of them may deliver.',
    example: '10.1.0.0/16',
    secret: false,
  },
  LEGACY_QUERY_CREDENTIALS: {
    type: flag,
    default: 'false',
    description:
      'Accept credentials in the URL of `POST /generateToken`, for partners that cannot change their client. ' +
      'Latchkey redacts these URLs in its logs; your proxy does not.',
    example: 'true',
    secret: false,
  },
  PARTNER_PAGE: {
    type: flag,
    default: 'true',
    description:
      'Serve the page at `/partner`, where partners sign in and see the state of their passwords, sign-ins and calls.',
    example: 'false',
    secret: false,
  },
  LOG_LEVEL: {
    type: choice('fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'),
    default: 'info',
    description: 'The lowest severity that is logged.',
    example: 'debug',
    secret: false,
  },
} as const satisfies Record<string, Setting>;

type Table = typeof SETTINGS;
export type SettingName = keyof Table;

type ValueOf<T> = T extends { type: { parse: (text: string) => infer P } }
  ? Extract<P, { value: unknown }>['value']
  : never;
/** The values of the settings: one property a row, `undefined` when a setting without a default is absent. */
export type SettingValues = {
  readonly [N in SettingName]: Table[N] extends { default: string } ? ValueOf<Table[N]> : ValueOf<Table[N]> | undefined;
};

/** The rows in their order. */
export const SETTING_ROWS = Object.entries(SETTINGS) as [SettingName, Setting][];
