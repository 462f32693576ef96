import { Injectable, type OnModuleInit } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { Repository } from 'typeorm';
import { ChangeFeed, type ChangeListener } from '../database/change-feed.service.ts';
import { DecryptionError, EncryptionService } from '../encryption/encryption.service.ts';
import { SigningKey, type SigningKeyPurpose } from './signing-key.entity.ts';

export type { SigningKeyPurpose };

const generate = promisify(generateKeyPair);

export interface VerificationKey {
  readonly kid: string;
  readonly purpose: SigningKeyPurpose;
  readonly publicKey: KeyObject;
}

export interface ActiveKey extends VerificationKey {
  readonly privateKey: KeyObject;
}

/** The stored keys cannot be read: the start stops with this message. */
class UnreadableKeyError extends Error {
  constructor(cause: unknown) {
    super(
      'The signing keys in the database cannot be decrypted: KEY_ENCRYPTION_KEY is not the one they were encrypted with.',
      { cause },
    );
  }
}

/** RFC 7638 §3: the SHA-256 of the required members in lexicographic order. */
function thumbprint({ crv, kty, x, y }: Record<string, string>): string {
  return createHash('sha256').update(JSON.stringify({ crv, kty, x, y })).digest('base64url');
}

const sealContext = (kid: string): string => `signing-key:${kid}`;

/** The topic of the trigger on `signing_key`. */
const TOPIC = 'signing_key';

/**
 * The ES256 keys, in memory as KeyObjects; a private key leaves neither the process nor, in clear, the memory. Memory
 * is believed while the change feed can be trusted, and a key that is not in it is looked for in the database.
 */
@Injectable()
export class SigningKeyService implements OnModuleInit, ChangeListener {
  #active = new Map<SigningKeyPurpose, ActiveKey>();
  #known = new Map<string, VerificationKey>();
  /** Counts what the feed said, so that a read that it overtook does not pass for new. */
  #changes = 0;
  #isNewest = false;
  #reading: Promise<void> | undefined;
  #nextReading: Promise<void> | undefined;

  constructor(
    @InjectRepository(SigningKey) private readonly keys: Repository<SigningKey>,
    private readonly encryption: EncryptionService,
    private readonly feed: ChangeFeed,
  ) {
    feed.subscribe(TOPIC, this);
  }

  async onModuleInit(): Promise<void> {
    await this.#read();
    for (const purpose of ['partner', 'staff'] as const) {
      // Several instances may start at once on an empty database: the unique index lets one key in.
      if (!this.#active.has(purpose)) await this.#create(purpose);
    }
    await this.#read();
  }

  /** The key that signed last, as far as this instance knows. */
  active(purpose: SigningKeyPurpose): ActiveKey {
    const key = this.#active.get(purpose);
    if (!key) throw new Error(`There is no active ${purpose} key`);
    return key;
  }

  /** The key that signs now. */
  async current(purpose: SigningKeyPurpose): Promise<ActiveKey> {
    if (!this.#believable) await this.#readSoon();
    return this.active(purpose);
  }

  /** A key that a token names, if it is remembered and memory can be trusted. */
  peek(kid: string): VerificationKey | undefined {
    return this.#believable ? this.#known.get(kid) : undefined;
  }

  /** A key that a token names. One that is not known here may have been made by another instance just now. */
  async find(kid: string): Promise<VerificationKey | undefined> {
    const known = this.peek(kid);
    if (known) return known;
    await this.#readSoon();
    return this.#known.get(kid);
  }

  changed(): void {
    this.reset();
  }

  reset(): void {
    this.#changes++;
    this.#isNewest = false;
    // When it fails, the next one who needs a key tries again.
    this.#readSoon().catch(() => undefined);
  }

  get #believable(): boolean {
    return this.#isNewest && this.feed.trusted;
  }

  /** Reads the keys by a query that starts after this call; whoever asks before it starts shares it. */
  #readSoon(): Promise<void> {
    this.#nextReading ??= this.#readAfter(this.#reading);
    return this.#nextReading;
  }

  async #readAfter(previous: Promise<void> | undefined): Promise<void> {
    await previous?.catch(() => undefined);
    this.#nextReading = undefined;
    this.#reading = this.#read();
    await this.#reading;
  }

  async #read(): Promise<void> {
    const changes = this.#changes;
    const rows = await this.keys.createQueryBuilder('key').addSelect('key.privateKey').getMany();
    // The same object for the same key: what was verified with it stays verified.
    const known = new Map(rows.map((row) => [row.kid, this.#known.get(row.kid) ?? verificationKeyOf(row)]));
    const active = rows
      .filter(({ retiredAt }) => retiredAt === null)
      .map((row): [SigningKeyPurpose, ActiveKey] => {
        const before = this.#active.get(row.purpose);
        return [row.purpose, before?.kid === row.kid ? before : this.#activeKeyOf(row)];
      });
    this.#known = known;
    this.#active = new Map(active);
    this.#isNewest = changes === this.#changes && this.feed.connected;
  }

  #activeKeyOf(row: SigningKey): ActiveKey {
    try {
      const der = this.encryption.decrypt(row.privateKey, sealContext(row.kid));
      return { ...verificationKeyOf(row), privateKey: createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }) };
    } catch (error) {
      throw error instanceof DecryptionError ? new UnreadableKeyError(error) : error;
    }
  }

  async #create(purpose: SigningKeyPurpose): Promise<void> {
    const { publicKey, privateKey } = await generate('ec', { namedCurve: 'P-256' });
    const publicJwk = publicKey.export({ format: 'jwk' }) as Record<string, string>;
    const kid = thumbprint(publicJwk);
    const der = privateKey.export({ format: 'der', type: 'pkcs8' });
    await this.keys
      .createQueryBuilder()
      .insert()
      .values({ kid, purpose, publicJwk, privateKey: this.encryption.encrypt(der, sealContext(kid)) })
      .orIgnore()
      .execute();
  }
}

function verificationKeyOf({ kid, purpose, publicJwk }: SigningKey): VerificationKey {
  return { kid, purpose, publicKey: createPublicKey({ key: publicJwk, format: 'jwk' }) };
}
