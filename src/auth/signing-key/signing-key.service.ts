import { Injectable } from '@nestjs/common';
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { DataSource, type EntityManager } from 'typeorm';
import { AuditService } from '../../audit/audit.service.ts';
import { Clock } from '../../platform/common/clock.ts';
import { Config } from '../../platform/config/config.ts';
import { ADVISORY_LOCKS, lockUntilCommit } from '../../platform/database/advisory-locks.ts';
import { ChangeFeed } from '../../platform/database/change-feed.service.ts';
import { TableCache } from '../../platform/database/table-cache.ts';
import { DecryptionError, EncryptionService } from '../../platform/encryption/encryption.service.ts';
import type { SigningKeyDto, SigningKeyListDto } from './signing-key.dto.ts';
import { SigningKey, type SigningKeyPurpose, VERIFYING_STATES } from './signing-key.entity.ts';
import { UnreadableKeyError } from './signing-key.errors.ts';

const generate = promisify(generateKeyPair);

/** The topic of the trigger on `signing_key`. */
const TOPIC = 'signing_key';
const DAY_MS = 86_400_000;
/** Milliseconds that a standby must be published before the schedule lets it sign. The JWKS is cached far less long. */
const STANDBY_MS = DAY_MS;
/**
 * The `max-age` of the JWKS, in seconds. A verifier that honours it knows every key that was published longer ago, and
 * trusts a revoked key for at most this long.
 */
export const JWKS_MAX_AGE_S = 300;

export interface VerificationKey {
  readonly kid: string;
  readonly purpose: SigningKeyPurpose;
  readonly publicKey: KeyObject;
}

export interface ActiveKey extends VerificationKey {
  readonly privateKey: KeyObject;
}

/** A public key as the JWKS shows it (RFC 7517 §4). */
export type PublicJwk = Record<string, string>;

/** The keys that sign or verify now. A new reading keeps the objects of known keys, by which tokens are remembered. */
interface Keys {
  readonly active: ReadonlyMap<SigningKeyPurpose, ActiveKey>;
  /** When the active keys began to sign. */
  readonly activeSince: ReadonlyMap<SigningKeyPurpose, Date>;
  /** The active keys and the standbys, by `kid`. */
  readonly signing: ReadonlyMap<string, ActiveKey>;
  /** Every key that verifies, by `kid`. */
  readonly verifying: ReadonlyMap<string, VerificationKey>;
  readonly published: readonly PublicJwk[];
}

/** The SHA-256 of the required members in lexicographic order (RFC 7638 §3). */
function thumbprint({ crv, kty, x, y }: Record<string, string>): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}

const sealContext = (kid: string): string => `signing-key:${kid}`;

function verificationKeyOf({ kid, purpose, publicJwk }: SigningKey): VerificationKey {
  return { kid, purpose, publicKey: createPublicKey({ key: publicJwk, format: 'jwk' }) };
}

/**
 * Stores the ES256 keys encrypted, and keeps them in memory as KeyObjects. A private key leaves this process only in
 * encrypted form. `KeyRotationService` decides which key signs.
 */
@Injectable()
export class SigningKeyService {
  readonly #keys: TableCache<Keys>;

  constructor(
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly audit: AuditService,
    private readonly feed: ChangeFeed,
    private readonly config: Config,
    private readonly clock: Clock,
  ) {
    this.#keys = new TableCache(feed, TOPIC, (before) => this.#read(before));
  }

  /**
   * Reads the keys again.
   *
   * @throws UnreadableKeyError
   */
  async refresh(): Promise<void> {
    await this.#keys.fresh();
  }

  /** The key that signs now. */
  async current(purpose: SigningKeyPurpose): Promise<ActiveKey> {
    const { active } = await this.#keys.current();
    const key = active.get(purpose);
    if (!key) throw new Error(`There is no active ${purpose} key`);
    return key;
  }

  /** The key that a token names, if it is in memory and the keys in memory are up to date. */
  peek(kid: string): VerificationKey | undefined {
    return this.#keys.peek()?.verifying.get(kid);
  }

  /** The key that a token names. Reads the table if the key is unknown: another instance may have just made it. */
  async find(kid: string): Promise<VerificationKey | undefined> {
    return this.peek(kid) ?? (await this.#keys.fresh()).verifying.get(kid);
  }

  /** How long the keys have been signing, in milliseconds, as this instance knows them. */
  get ages(): [SigningKeyPurpose, number][] {
    const now = this.clock.now();
    return [...(this.#keys.last?.activeSince ?? [])].map(([purpose, since]) => [purpose, now - since.getTime()]);
  }

  /** The public keys of the partner API, the standby included. */
  async jwks(): Promise<readonly PublicJwk[]> {
    return (await this.#keys.current()).published;
  }

  /** Every key that was ever made, newest first. */
  async list(): Promise<SigningKeyListDto> {
    const rows = await this.dataSource.manager.find(SigningKey, { order: { createdAt: 'DESC', kid: 'ASC' } });
    const active = rows.find(({ state, purpose }) => state === 'active' && purpose === 'partner');
    const standby = rows.find(({ state, purpose }) => state === 'published' && purpose === 'partner');
    return { items: rows.map(toDto), nextRotationAt: this.nextRotation(active, standby) };
  }

  /**
   * Encrypts the private keys again under the newest key encryption key.
   *
   * @returns how many were under an older one
   */
  async reencrypt(): Promise<number> {
    return this.change(async (manager) => {
      const rows = await manager.createQueryBuilder(SigningKey, 'key').addSelect('key.privateKey').getMany();
      let count = 0;
      for (const { kid, privateKey } of rows) {
        const resealed = this.encryption.renewed(privateKey, sealContext(kid));
        if (!resealed) continue;
        await manager.update(SigningKey, { kid }, { privateKey: resealed });
        count++;
      }
      return count;
    });
  }

  /** When the schedule may rotate: the signing key is old enough then, and the standby published long enough. */
  nextRotation(active: SigningKey | undefined, standby: SigningKey | undefined): Date | null {
    const days = this.config.signingKeyRotationDays;
    if (days === 0 || !active || !standby) return null;
    const oldEnough = (active.activatedAt ?? active.createdAt).getTime() + days * DAY_MS;
    return new Date(Math.max(oldEnough, standby.createdAt.getTime() + STANDBY_MS));
  }

  /** Changes the keys in a transaction, one change at a time over all instances, and tells every instance. */
  async change<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    try {
      return await this.audit.transaction(async (manager) => {
        await lockUntilCommit(manager, ADVISORY_LOCKS.signingKeys);
        return work(manager);
      });
    } finally {
      this.feed.announce(TOPIC, '*');
    }
  }

  /** Makes a key pair and stores it. */
  async create(
    manager: EntityManager,
    purpose: SigningKeyPurpose,
    state: 'active' | 'published',
    now: Date,
  ): Promise<void> {
    const { publicKey, privateKey } = await generate('ec', { namedCurve: 'P-256' });
    const publicJwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
    const kid = thumbprint(publicJwk);
    const der = privateKey.export({ format: 'der', type: 'pkcs8' });
    await manager.insert(SigningKey, {
      kid,
      purpose,
      state,
      publicJwk,
      privateKey: this.encryption.encrypt(der, sealContext(kid)),
      createdAt: now,
      activatedAt: state === 'active' ? now : null,
    });
  }

  async #read(before: Keys | undefined): Promise<Keys> {
    const rows = await this.dataSource.manager
      .createQueryBuilder(SigningKey, 'key')
      .addSelect('key.privateKey')
      .where('key.state IN (:...states)', { states: VERIFYING_STATES })
      .orderBy('key.createdAt', 'ASC')
      .getMany();
    const verifying = new Map(rows.map((row) => [row.kid, before?.verifying.get(row.kid) ?? verificationKeyOf(row)]));
    // The standby's private key is decrypted too, so that an unreadable key is noticed before it has to sign.
    const signing = rows
      .filter(({ state }) => state !== 'retiring')
      .map((row) => ({ ...row, key: before?.signing.get(row.kid) ?? this.#signingKeyOf(row) }));
    const active = signing.filter(({ state }) => state === 'active').map(({ purpose, key }) => [purpose, key] as const);
    const activeSince = rows
      .filter(({ state }) => state === 'active')
      .map(({ purpose, activatedAt, createdAt }) => [purpose, activatedAt ?? createdAt] as const);
    const published = rows
      .filter(({ purpose }) => purpose === 'partner')
      .map(({ kid, publicJwk }) => ({ ...publicJwk, kid, use: 'sig', alg: 'ES256' }));
    return {
      active: new Map(active),
      activeSince: new Map(activeSince),
      signing: new Map(signing.map(({ kid, key }) => [kid, key])),
      verifying,
      published,
    };
  }

  #signingKeyOf(row: SigningKey): ActiveKey {
    try {
      const der = this.encryption.decrypt(row.privateKey, sealContext(row.kid));
      return { ...verificationKeyOf(row), privateKey: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }) };
    } catch (error) {
      throw error instanceof DecryptionError ? new UnreadableKeyError(error) : error;
    }
  }
}

export function toDto({
  kid,
  purpose,
  state,
  createdAt,
  activatedAt,
  verifiesUntil,
  revokedAt,
}: SigningKey): SigningKeyDto {
  return { kid, purpose, state, createdAt, activatedAt, verifiesUntil, revokedAt };
}
