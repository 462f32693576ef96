import { Injectable, type OnModuleInit } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { createHash, createPrivateKey, createPublicKey, generateKeyPair, type KeyObject } from 'node:crypto';
import { promisify } from 'node:util';
import { Repository } from 'typeorm';
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

/** The ES256 keys, in memory as KeyObjects; a private key leaves neither the process nor, in clear, the memory. */
@Injectable()
export class SigningKeyService implements OnModuleInit {
  readonly #active = new Map<SigningKeyPurpose, ActiveKey>();
  readonly #known = new Map<string, VerificationKey>();

  constructor(
    @InjectRepository(SigningKey) private readonly keys: Repository<SigningKey>,
    private readonly encryption: EncryptionService,
  ) {}

  async onModuleInit(): Promise<void> {
    for (const purpose of ['partner', 'staff'] as const) await this.#ensure(purpose);
  }

  /** The key that signs now. */
  active(purpose: SigningKeyPurpose): ActiveKey {
    const key = this.#active.get(purpose);
    if (!key) throw new Error(`No active ${purpose} key: the module has not been initialised`);
    return key;
  }

  /**
   * Finds the key a token names. One that is not known here is looked for in the database, since another instance
   * may have made it just now.
   */
  async find(kid: string): Promise<VerificationKey | undefined> {
    const known = this.#known.get(kid);
    if (known) return known;
    const row = await this.keys.findOneBy({ kid });
    return row ? this.#remember(row) : undefined;
  }

  /** Several instances may start at once on an empty database: the unique index lets one key in. */
  async #ensure(purpose: SigningKeyPurpose): Promise<void> {
    let row = await this.#readActive(purpose);
    if (!row) {
      await this.#create(purpose);
      row = await this.#readActive(purpose);
    }
    if (!row) throw new Error(`The ${purpose} key was created and cannot be read`);
    try {
      const der = this.encryption.decrypt(row.privateKey, sealContext(row.kid));
      const privateKey = createPrivateKey({ key: der, format: 'der', type: 'pkcs8' });
      this.#active.set(purpose, { ...this.#remember(row), privateKey });
    } catch (error) {
      throw error instanceof DecryptionError ? new UnreadableKeyError(error) : error;
    }
  }

  #readActive(purpose: SigningKeyPurpose): Promise<SigningKey | null> {
    return this.keys
      .createQueryBuilder('key')
      .addSelect('key.privateKey')
      .where('key.purpose = :purpose AND key.retiredAt IS NULL', { purpose })
      .getOne();
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

  #remember({ kid, purpose, publicJwk }: SigningKey): VerificationKey {
    const key = { kid, purpose, publicKey: createPublicKey({ key: publicJwk, format: 'jwk' }) };
    this.#known.set(kid, key);
    return key;
  }
}
