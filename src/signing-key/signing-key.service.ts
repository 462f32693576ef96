import { Injectable, Logger, type OnModuleDestroy, type OnModuleInit } from '@nestjs/common';
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { DataSource, type EntityManager, In } from 'typeorm';
import { AuditService } from '../audit/audit.service.ts';
import { Clock } from '../common/clock.ts';
import { Lifecycle } from '../common/lifecycle.ts';
import { every } from '../common/every.ts';
import type { Actor } from '../common/request-context.ts';
import { Config } from '../config/config.ts';
import { ChangeFeed } from '../database/change-feed.service.ts';
import { Replica } from '../database/replica.ts';
import { DecryptionError, EncryptionService } from '../encryption/encryption.service.ts';
import type { SigningKeyDto, SigningKeyListDto } from './signing-key.dto.ts';
import {
  SIGNING_KEY_PURPOSES,
  SigningKey,
  type SigningKeyPurpose,
  type SigningKeyState,
} from './signing-key.entity.ts';
import { SigningKeyNotFoundError, UnreadableKeyError } from './signing-key.errors.ts';

export type { SigningKeyPurpose };

const generate = promisify(generateKeyPair);

/** The topic of the trigger on `signing_key`. */
const TOPIC = 'signing_key';
/** Any number will do, as long as every instance takes the same. */
const ROTATION_LOCK = 7_236_003;
const MAINTENANCE_MS = 60_000;
const DAY_MS = 86_400_000;
/** How long the standby has been published at least before it signs on schedule; far longer than the JWKS is cached. */
const STANDBY_MS = DAY_MS;
/** The longest life of any token, and a minute for clocks that differ. */
const LONGEST_TOKEN_MS = DAY_MS + 60_000;

const SYSTEM: Actor = { type: 'system', id: null, name: 'system', address: null, requestId: null };

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

/** The keys that matter now; the same objects as long as the key is the same. */
interface Keys {
  readonly active: ReadonlyMap<SigningKeyPurpose, ActiveKey>;
  /** When the active ones began to sign. */
  readonly activeSince: ReadonlyMap<SigningKeyPurpose, Date>;
  /** The active ones and those that stand by. */
  readonly signing: ReadonlyMap<string, ActiveKey>;
  /** Everything that verifies. */
  readonly verifying: ReadonlyMap<string, VerificationKey>;
  readonly published: readonly PublicJwk[];
}

/** RFC 7638 §3: the SHA-256 of the required members in lexicographic order. */
function thumbprint({ crv, kty, x, y }: Record<string, string>): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}

const sealContext = (kid: string): string => `signing-key:${kid}`;

const VERIFYING: SigningKeyState[] = ['published', 'active', 'retiring'];

function verificationKeyOf({ kid, purpose, publicJwk }: SigningKey): VerificationKey {
  return { kid, purpose, publicKey: createPublicKey({ key: publicJwk, format: 'jwk' }) };
}

/**
 * The ES256 keys, in memory as KeyObjects; a private key leaves neither the process nor, in clear, the memory.
 *
 * A key is published before it signs, signs until it is replaced, and verifies until the last token it signed has
 * expired. One is always standing by, known to everybody who verifies.
 */
@Injectable()
export class SigningKeyService implements OnModuleInit, OnModuleDestroy {
  readonly #logger = new Logger(SigningKeyService.name);
  readonly #keys: Replica<Keys>;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly dataSource: DataSource,
    private readonly encryption: EncryptionService,
    private readonly audit: AuditService,
    private readonly feed: ChangeFeed,
    private readonly config: Config,
    private readonly clock: Clock,
    private readonly lifecycle: Lifecycle,
  ) {
    this.#keys = new Replica(feed, TOPIC, (before) => this.#read(before));
  }

  async onModuleInit(): Promise<void> {
    // First of all: a key encryption key that is not the right one must not make new keys.
    await this.#keys.fresh();
    await this.#change((manager) => this.#complete(manager));
    await this.#keys.fresh();
    if (!this.lifecycle.doesBackgroundWork) return;
    this.#timer = every(
      MAINTENANCE_MS,
      () => this.maintain(),
      (reason) => {
        this.#logger.warn(`The signing keys were not looked after: ${reason}`);
      },
    );
  }

  onModuleDestroy(): void {
    clearInterval(this.#timer);
  }

  /** The key that signs now. */
  async current(purpose: SigningKeyPurpose): Promise<ActiveKey> {
    const { active } = await this.#keys.current();
    const key = active.get(purpose);
    if (!key) throw new Error(`There is no active ${purpose} key`);
    return key;
  }

  /** A key that a token names, if memory may be believed and has it. */
  peek(kid: string): VerificationKey | undefined {
    return this.#keys.peek()?.verifying.get(kid);
  }

  /** A key that a token names. One that is not known here may have been made by another instance just now. */
  async find(kid: string): Promise<VerificationKey | undefined> {
    return this.peek(kid) ?? (await this.#keys.fresh()).verifying.get(kid);
  }

  /** How long the keys have been signing, in milliseconds, as this instance knows them. */
  get ages(): [SigningKeyPurpose, number][] {
    const now = this.clock.now();
    return [...(this.#keys.last?.activeSince ?? [])].map(([purpose, since]) => [purpose, now - since.getTime()]);
  }

  /** The public keys of the partner plane, the standby among them. */
  async jwks(): Promise<readonly PublicJwk[]> {
    return (await this.#keys.current()).published;
  }

  /** Every key there was, newest first. */
  async list(): Promise<SigningKeyListDto> {
    const rows = await this.dataSource.manager.find(SigningKey, { order: { createdAt: 'DESC', kid: 'ASC' } });
    const active = rows.find(({ state, purpose }) => state === 'active' && purpose === 'partner');
    const standby = rows.find(({ state, purpose }) => state === 'published' && purpose === 'partner');
    return { items: rows.map(present), nextRotationAt: this.#nextRotation(active, standby) };
  }

  /**
   * The standby becomes the key that signs, and a new one stands by. Tokens of the old key stay valid.
   *
   * @param reason for the audit trail
   */
  async rotate(purpose: SigningKeyPurpose, reason: string | undefined, actor: Actor): Promise<void> {
    await this.#change(async (manager) => {
      await this.#complete(manager);
      await this.#rotate(manager, purpose, reason, actor);
    });
  }

  /**
   * Refuses every token of a key from now on. If it was the one that signs, the standby signs; whoever verifies
   * elsewhere knows that one already. Revoking twice changes nothing.
   *
   * @throws SigningKeyNotFoundError
   */
  async revoke(kid: string, reason: string | undefined, actor: Actor): Promise<SigningKeyDto> {
    return this.#change(async (manager) => {
      const key = await manager.findOneBy(SigningKey, { kid });
      if (!key) throw new SigningKeyNotFoundError();
      if (key.state === 'revoked') return present(key);
      const before = key.state;
      key.state = 'revoked';
      key.revokedAt = new Date(this.clock.now());
      await manager.update(SigningKey, { kid }, { state: key.state, revokedAt: key.revokedAt });
      if (before === 'active') await this.#promote(manager, key.purpose, actor);
      await this.#complete(manager);
      this.#record(manager, 'signing-key.revoked', key, actor, [before, 'revoked'], reason);
      return present(key);
    });
  }

  /**
   * Refuses every token ever issued, on both planes: for a database that was restored to an earlier time, where tokens
   * that were revoked since would be accepted again. New keys sign from now on.
   *
   * @returns how many keys were revoked
   */
  async revokeAll(reason: string | undefined, actor: Actor): Promise<number> {
    return this.#change(async (manager) => {
      const keys = await manager.findBy(SigningKey, { state: In(VERIFYING) });
      const revokedAt = new Date(this.clock.now());
      // The standby too: it may have signed after the moment that was restored.
      for (const key of keys) {
        await manager.update(SigningKey, { kid: key.kid }, { state: 'revoked', revokedAt });
        this.#record(manager, 'signing-key.revoked', key, actor, [key.state, 'revoked'], reason);
      }
      await this.#complete(manager);
      return keys.length;
    });
  }

  /**
   * What the schedule demands: rotates keys that are old enough, retires those that have no token left, and sees to a
   * standby. Of several instances one does it.
   */
  async maintain(): Promise<void> {
    const due = await this.list();
    const now = this.clock.now();
    const isRotationDue = due.nextRotationAt !== null && due.nextRotationAt.getTime() <= now;
    const isRetirementDue = due.items.some(
      ({ state, verifiesUntil }) => state === 'retiring' && (verifiesUntil?.getTime() ?? 0) <= now,
    );
    const needsStandby = SIGNING_KEY_PURPOSES.some(
      (purpose) => !due.items.some((key) => key.purpose === purpose && key.state === 'published'),
    );
    if (!isRotationDue && !isRetirementDue && !needsStandby) return;
    await this.#change(async (manager) => {
      await this.#complete(manager);
      const keys = await manager.findBy(SigningKey, { state: In(VERIFYING) });
      for (const key of keys) {
        if (key.state !== 'retiring' || (key.verifiesUntil?.getTime() ?? 0) > now) continue;
        await manager.update(SigningKey, { kid: key.kid }, { state: 'retired' });
        this.#record(manager, 'signing-key.retired', key, SYSTEM, ['retiring', 'retired']);
      }
      for (const purpose of SIGNING_KEY_PURPOSES) {
        const of = (state: SigningKeyState): SigningKey | undefined =>
          keys.find((key) => key.purpose === purpose && key.state === state);
        // Looked at again under the lock: another instance may have done it.
        const next = this.#nextRotation(of('active'), of('published'));
        if (next !== null && next.getTime() <= now) await this.#rotate(manager, purpose, undefined, SYSTEM);
      }
    });
  }

  /**
   * Encrypts the private keys anew under the newest key encryption key.
   *
   * @returns how many were under another one
   */
  async reencrypt(): Promise<number> {
    return this.#change(async (manager) => {
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

  /** When the schedule rotates: the key that signs is old enough, and the standby has been published long enough. */
  #nextRotation(active: SigningKey | undefined, standby: SigningKey | undefined): Date | null {
    const days = this.config.signingKeyRotationDays;
    if (days === 0 || !active || !standby) return null;
    const oldEnough = (active.activatedAt ?? active.createdAt).getTime() + days * DAY_MS;
    return new Date(Math.max(oldEnough, standby.createdAt.getTime() + STANDBY_MS));
  }

  /** Changes of the keys happen one after the other, on whichever instance. */
  async #change<T>(work: (manager: EntityManager) => Promise<T>): Promise<T> {
    try {
      return await this.audit.transaction(async (manager) => {
        await manager.query('SELECT pg_advisory_xact_lock($1)', [ROTATION_LOCK]);
        return work(manager);
      });
    } finally {
      this.feed.announce(TOPIC, '*');
    }
  }

  /** Makes what is missing: of each purpose a key that signs and one that stands by. */
  async #complete(manager: EntityManager): Promise<void> {
    const keys = await manager.findBy(SigningKey, { state: In(['active', 'published']) });
    for (const purpose of SIGNING_KEY_PURPOSES) {
      for (const state of ['active', 'published'] as const) {
        if (!keys.some((key) => key.purpose === purpose && key.state === state)) {
          await this.#create(manager, purpose, state);
        }
      }
    }
  }

  async #rotate(
    manager: EntityManager,
    purpose: SigningKeyPurpose,
    reason: string | undefined,
    actor: Actor,
  ): Promise<void> {
    const active = await manager.findOneByOrFail(SigningKey, { purpose, state: 'active' });
    const verifiesUntil = new Date(this.clock.now() + LONGEST_TOKEN_MS);
    await manager.update(SigningKey, { kid: active.kid }, { state: 'retiring', verifiesUntil });
    this.#record(manager, 'signing-key.retiring', active, actor, ['active', 'retiring'], reason);
    await this.#promote(manager, purpose, actor);
    await this.#complete(manager);
  }

  /** The standby signs from now on. */
  async #promote(manager: EntityManager, purpose: SigningKeyPurpose, actor: Actor): Promise<void> {
    const standby = await manager.findOneBy(SigningKey, { purpose, state: 'published' });
    // Without one, #complete() makes a key that signs.
    if (!standby) return;
    const activatedAt = new Date(this.clock.now());
    await manager.update(SigningKey, { kid: standby.kid }, { state: 'active', activatedAt });
    this.#record(manager, 'signing-key.activated', standby, actor, ['published', 'active']);
  }

  async #create(manager: EntityManager, purpose: SigningKeyPurpose, state: 'active' | 'published'): Promise<void> {
    const { publicKey, privateKey } = await generate('ec', { namedCurve: 'P-256' });
    const publicJwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
    const kid = thumbprint(publicJwk);
    const der = privateKey.export({ format: 'der', type: 'pkcs8' });
    const now = new Date(this.clock.now());
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
      .where('key.state IN (:...states)', { states: VERIFYING })
      .orderBy('key.createdAt', 'ASC')
      .getMany();
    const verifying = new Map(rows.map((row) => [row.kid, before?.verifying.get(row.kid) ?? verificationKeyOf(row)]));
    // The standby's private key as well: that it cannot be read must show before it is needed.
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

  #record(
    manager: EntityManager,
    action: string,
    { id, kid }: SigningKey,
    actor: Actor,
    state: [SigningKeyState, SigningKeyState],
    reason?: string,
  ): void {
    const target = { type: 'signing-key', id, name: kid } as const;
    this.audit.record(manager, { actor, action, target, reason, changes: { state } });
  }
}

function present({ kid, purpose, state, createdAt, activatedAt, verifiesUntil, revokedAt }: SigningKey): SigningKeyDto {
  return { kid, purpose, state, createdAt, activatedAt, verifiesUntil, revokedAt };
}
