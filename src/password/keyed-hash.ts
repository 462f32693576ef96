import { createHash, createHmac, hkdfSync } from 'node:crypto';
import { sameHash } from './secret-hash.ts';

const SCHEME = '$hmac-sha256$';
const KEY_ID_LENGTH = 11;

interface Key {
  /** Prefix of every hash under this key. */
  readonly prefix: string;
  readonly bytes: Buffer;
}

/**
 * Fast hashes of passwords that a slow hash has verified, so that the next sign-in needs no slow one. Each is an HMAC
 * of credential id and password under a key derived from a key encryption key, with the id of that key in front.
 */
export class KeyedHashes {
  readonly #keys: readonly Key[];

  /** @param keyEncryptionKeys the newest first */
  constructor(keyEncryptionKeys: readonly Buffer[]) {
    this.#keys = keyEncryptionKeys.map((key) => {
      const bytes = Buffer.from(hkdfSync('sha256', key, '', 'latchkey verified passwords', 32));
      const id = createHash('sha256').update('latchkey key id\0').update(bytes).digest('base64url');
      return { prefix: `${SCHEME}${id.slice(0, KEY_ID_LENGTH)}$`, bytes };
    });
  }

  /** Prefix of every hash under the newest key. */
  get currentPrefix(): string {
    return this.#keys[0]?.prefix ?? SCHEME;
  }

  /** Hashes a password under the newest key. */
  hash(credentialId: string, password: string): string {
    const [newest] = this.#keys;
    if (!newest) throw new Error('There is no key encryption key');
    return hashUnder(newest, credentialId, password);
  }

  /** Whether a hash belongs to a password. False if the key of the hash has been retired. */
  verify(hash: string, credentialId: string, password: string): boolean {
    const key = this.#keys.find(({ prefix }) => hash.startsWith(prefix));
    return key !== undefined && sameHash(hash, hashUnder(key, credentialId, password));
  }
}

function hashUnder({ prefix, bytes }: Key, credentialId: string, password: string): string {
  return prefix + createHmac('sha256', bytes).update(`${credentialId}\n${password}`).digest('base64url');
}
