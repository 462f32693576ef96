import { LRUCache } from 'lru-cache';
import { BlockList, isIP } from 'node:net';
import { parseNetworks } from '../config/networks.ts';
import type { ChannelUserStatus } from './channel-user.entity.ts';
import type { CredentialStatus } from './credential.entity.ts';

/** A channel user as the directory's query reads it; times are in milliseconds since the epoch. */
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
  readonly credentials:
    { id: string; label: string; secret_hash: string; expires_at: number | null; revoked: boolean }[] | null;
}

const isPast = (time: number | null, now: number): boolean => time !== null && time <= now;

/** One password of an account, as sign-ins and the guard need it. */
export class AccountCredential {
  constructor(
    readonly id: string,
    readonly label: string,
    /** Names its own scheme, see `secret-hash.ts`. */
    readonly secretHash: string,
    /** Milliseconds since the epoch. */
    readonly expiresAt: number | null,
    readonly revoked: boolean,
  ) {}

  statusAt(now: number): CredentialStatus {
    if (this.revoked) return 'revoked';
    return isPast(this.expiresAt, now) ? 'expired' : 'active';
  }
}

/** Most accounts have one of a few lists of scopes: one array for all of them. */
const scopeLists = new LRUCache<string, readonly string[]>({ max: 1_000 });

function shared(scopes: string[]): readonly string[] {
  const key = scopes.join(' ');
  const known = scopeLists.get(key);
  if (!known) scopeLists.set(key, scopes);
  return known ?? scopes;
}

const EVERYWHERE = Symbol('everywhere');

/** What decides about an account's sign-ins and tokens: small, immutable, kept in memory by the directory. */
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
  readonly epoch: number;
  readonly credentials: readonly AccountCredential[];
  readonly #networks: BlockList | typeof EVERYWHERE;

  constructor(row: AccountRow) {
    this.id = row.id;
    this.username = row.username;
    this.usernameKey = row.username_key === row.username ? row.username : row.username_key;
    this.displayName = row.display_name;
    this.suspended = row.suspended;
    this.expiresAt = row.expires_at;
    this.scopes = shared(row.scopes);
    this.tokenTtlSeconds = row.token_ttl_seconds;
    this.tokensPerMinute = row.tokens_per_minute;
    this.epoch = row.epoch;
    this.credentials = (row.credentials ?? []).map(
      ({ id, label, secret_hash, expires_at, revoked }) =>
        new AccountCredential(id, label, secret_hash, expires_at, revoked),
    );
    // A list that cannot be read allows nothing.
    this.#networks =
      row.allowed_ips.length === 0 ? EVERYWHERE : (parseNetworks(row.allowed_ips.join(',')) ?? new BlockList());
  }

  /** Suspended outranks expired. */
  statusAt(now: number): ChannelUserStatus {
    if (this.suspended) return 'suspended';
    return isPast(this.expiresAt, now) ? 'expired' : 'active';
  }

  /** Whether it may be used from an address; from an unknown one only where every address is allowed. */
  allows(address: string | undefined): boolean {
    if (this.#networks === EVERYWHERE) return true;
    return address !== undefined && this.#networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
  }

  credential(id: unknown): AccountCredential | undefined {
    return this.credentials.find((credential) => credential.id === id);
  }
}
