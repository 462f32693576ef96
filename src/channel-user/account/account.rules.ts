import { BlockList, isIP } from 'node:net';
import { SharedValues } from '../../platform/common/shared-values.ts';
import { parseNetworks } from '../../platform/config/networks.ts';
import type { ChannelUserStatus } from '../model/channel-user.entity.ts';
import type { CredentialStatus } from '../model/credential.entity.ts';

/** A row of the account cache's query. Times are in milliseconds since the epoch. */
export interface AccountRow {
  readonly id: string;
  readonly username: string;
  readonly username_key: string;
  readonly display_name: string;
  readonly suspended: boolean;
  readonly expires_at: number | null;
  readonly scopes: string[];
  readonly token_ttl_seconds: number;
  readonly tokens_per_minute: number;
  readonly allowed_ips: string[];
  readonly epoch: number;
  readonly self_service: boolean;
  readonly credentials:
    | {
        id: string;
        label: string;
        secret_hash: string;
        keyed_hash: string | null;
        expires_at: number | null;
        revoked: boolean;
        pending: boolean;
      }[]
    | null;
}

const isPast = (time: number | null, now: number): boolean => time !== null && time <= now;

/** A credential of an account, with the fields that sign-ins and the guard need. */
export class AccountCredential {
  constructor(
    readonly id: string,
    readonly label: string,
    /** The stored hash, which names its own scheme, see `secret-hash.ts`. */
    readonly secretHash: string,
    /** Milliseconds since the epoch. */
    readonly expiresAt: number | null,
    readonly revoked: boolean,
    /** Fast hash of the password that the slow hash has verified, see `keyed-hash.ts`. */
    readonly keyedHash: string | null,
    /** Whether its first token has yet to make it active. */
    readonly pending: boolean,
  ) {}

  statusAt(now: number): CredentialStatus {
    if (this.revoked) return 'revoked';
    if (isPast(this.expiresAt, now)) return 'expired';
    return this.pending ? 'pending' : 'active';
  }
}

const labels = new SharedValues<string>();
const scopeLists = new SharedValues<readonly string[]>();

/** Returns the same array for equal scopes. Accounts and tokens share it. */
export const sharedScopes = (scopes: readonly string[]): readonly string[] => scopeLists.of(scopes.join(' '), scopes);

const EVERYWHERE = Symbol('everywhere');

/** The fields of a channel user that decide about sign-ins and tokens. Small and immutable, for the account cache. */
export class Account {
  readonly id: string;
  readonly username: string;
  readonly usernameKey: string;
  readonly displayName: string;
  readonly suspended: boolean;
  /** Milliseconds since the epoch. */
  readonly expiresAt: number | null;
  readonly scopes: readonly string[];
  readonly tokenTtlSeconds: number;
  readonly tokensPerMinute: number;
  readonly tokenGeneration: number;
  /** Whether the partner may rotate its passwords by itself. */
  readonly selfService: boolean;
  readonly credentials: readonly AccountCredential[];
  readonly #networks: BlockList | typeof EVERYWHERE;

  constructor(row: AccountRow) {
    this.id = row.id;
    this.username = row.username;
    this.usernameKey = row.username_key === row.username ? row.username : row.username_key;
    this.displayName = row.display_name;
    this.suspended = row.suspended;
    this.expiresAt = row.expires_at;
    this.scopes = sharedScopes(row.scopes);
    this.tokenTtlSeconds = row.token_ttl_seconds;
    this.tokensPerMinute = row.tokens_per_minute;
    this.tokenGeneration = row.epoch;
    this.selfService = row.self_service;
    this.credentials = (row.credentials ?? []).map(
      ({ id, label, secret_hash, keyed_hash, expires_at, revoked, pending }) =>
        new AccountCredential(id, labels.of(label, label), secret_hash, expires_at, revoked, keyed_hash, pending),
    );
    // An allow-list that cannot be parsed allows no address.
    this.#networks =
      row.allowed_ips.length === 0 ? EVERYWHERE : (parseNetworks(row.allowed_ips.join(',')) ?? new BlockList());
  }

  /** Suspended outranks expired. */
  statusAt(now: number): ChannelUserStatus {
    if (this.suspended) return 'suspended';
    return isPast(this.expiresAt, now) ? 'expired' : 'active';
  }

  /** Whether the account may be used from an address. An unknown address needs an empty allow-list. */
  allows(address: string | undefined): boolean {
    if (this.#networks === EVERYWHERE) return true;
    return address !== undefined && this.#networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }

  credential(id: unknown): AccountCredential | undefined {
    return this.credentials.find((credential) => credential.id === id);
  }
}
