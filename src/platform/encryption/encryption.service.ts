import { Injectable } from '@nestjs/common';
import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { Config } from '../config/config.ts';

const VERSION = 1;
const KEY_ID_BYTES = 4;
const IV_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = 1 + KEY_ID_BYTES;

/** An encrypted value cannot be decrypted with the keys at hand. */
export class DecryptionError extends Error {}

/**
 * Encrypts with AES-256-GCM. The result is: version (1 byte), key id (4), IV (12), tag (16), ciphertext.
 *
 * @param key 32 bytes
 * @param context authenticated but not stored. Decryption needs the same context, so a value works only in its place.
 */
export function seal(key: Buffer, plaintext: Buffer, context: string): Buffer {
  const iv = randomBytes(IV_BYTES);
  const header = Buffer.concat([Buffer.of(VERSION), keyId(key)]);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.concat([header, Buffer.from(context)]));
  const ciphertext = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([header, iv, cipher.getAuthTag(), ciphertext]);
}

/**
 * Decrypts a result of {@link seal}.
 *
 * @throws DecryptionError for another key, another context or changed bytes
 */
export function unseal(key: Buffer, sealed: Buffer, context: string): Buffer {
  const header = sealed.subarray(0, HEADER_BYTES);
  const iv = sealed.subarray(HEADER_BYTES, HEADER_BYTES + IV_BYTES);
  const tag = sealed.subarray(HEADER_BYTES + IV_BYTES, HEADER_BYTES + IV_BYTES + TAG_BYTES);
  if (header[0] !== VERSION || tag.length !== TAG_BYTES) throw new DecryptionError('Unknown form of encrypted value');
  if (!header.subarray(1).equals(keyId(key))) throw new DecryptionError('Encrypted with another key');
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.concat([header, Buffer.from(context)]));
  decipher.setAuthTag(tag);
  try {
    return Buffer.concat([decipher.update(sealed.subarray(HEADER_BYTES + IV_BYTES + TAG_BYTES)), decipher.final()]);
  } catch (cause) {
    throw new DecryptionError('The encrypted value or its context was changed', { cause });
  }
}

const isUnder = (key: Buffer, sealed: Buffer): boolean => sealed.subarray(1, HEADER_BYTES).equals(keyId(key));

/** Identifies a key without revealing it. */
function keyId(key: Buffer): Buffer {
  return createHash('sha256').update('latchkey key id\0').update(key).digest().subarray(0, KEY_ID_BYTES);
}

/**
 * Encryption at rest under the key encryption keys. The newest key encrypts, and older keys still decrypt their values,
 * so that a key can be replaced while the application runs.
 */
@Injectable()
export class EncryptionService {
  constructor(private readonly config: Config) {}

  /** See {@link seal}. */
  encrypt(plaintext: Buffer, context: string): Buffer {
    return seal(this.config.keyEncryptionKeys[0], plaintext, context);
  }

  /** See {@link unseal}. */
  decrypt(sealed: Buffer, context: string): Buffer {
    const { keyEncryptionKeys } = this.config;
    return unseal(keyEncryptionKeys.find((key) => isUnder(key, sealed)) ?? keyEncryptionKeys[0], sealed, context);
  }

  /**
   * Encrypts a value again, under the newest key.
   *
   * @returns undefined when the newest key has encrypted it already
   */
  renewed(sealed: Buffer, context: string): Buffer | undefined {
    if (isUnder(this.config.keyEncryptionKeys[0], sealed)) return undefined;
    return this.encrypt(this.decrypt(sealed, context), context);
  }
}
