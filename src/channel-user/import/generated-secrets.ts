import { createHmac, randomBytes } from 'node:crypto';
import { derivePassword } from '../../password/secret-hash.ts';

/**
 * The passwords that an import generates, and the secrets of their links. They are derived from a random key and the
 * row number, and derived again for the answer, so that none is ever stored.
 */
export class GeneratedSecrets {
  readonly #key = randomBytes(32);

  /** The password of a row, with its fingerprint and its stored hash. */
  passwordOf(row: number): ReturnType<typeof derivePassword> {
    return derivePassword(this.#key, row);
  }

  /** The link secret of a row: 256 bits in base64url. */
  linkSecretOf(row: number): string {
    return createHmac('sha256', this.#key)
      .update(`link ${String(row)}`)
      .digest('base64url');
  }

  /** Overwrites the key, so that no secret can be derived again. */
  forget(): void {
    this.#key.fill(0);
  }
}
