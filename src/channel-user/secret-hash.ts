import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { hash, randomUUID, timingSafeEqual } from 'node:crypto';

/** A generated password with everything that is stored of it. */
export interface GeneratedPassword {
  /** A version 4 UUID: 122 random bits. Shown once, stored nowhere. */
  readonly password: string;
  /** First 8 hexadecimal digits of its SHA-256. */
  readonly fingerprint: string;
  readonly secretHash: string;
}

const SHA256 = '$sha256$';

/** In one call: an object for each hash costs its native memory until the garbage collector comes. */
const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer');

/**
 * Generates a password. A plain SHA-256 suffices for a secret of at least 112 random bits (NIST SP 800-63B §3.1.1.2),
 * and makes a sign-in cost microseconds.
 */
export function generatePassword(): GeneratedPassword {
  const password = randomUUID();
  const digest = sha256(password);
  return {
    password,
    fingerprint: digest.toString('hex').slice(0, 8),
    secretHash: SHA256 + digest.toString('base64url'),
  };
}

/** What a generated password is stored as. */
export const fastHashOf = (password: string): string => SHA256 + hash('sha256', password, 'base64url');

/** Whether a stored hash is one of a generated password, verified in microseconds; others take tens of milliseconds. */
export const isFastHash = (secretHash: string): boolean => secretHash.startsWith(SHA256);

/** Compares two hashes in constant time. */
export function sameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'));
}

/**
 * Verifies a password that came from an older system, off the main thread.
 *
 * @param secretHash argon2id in PHC string form, or bcrypt (`$2a$`, `$2b$`, `$2y$`)
 * @returns false for a scheme this version does not know and for a hash that cannot be read, too
 */
export async function verifySlowHash(password: string, secretHash: string): Promise<boolean> {
  try {
    if (secretHash.startsWith('$argon2id$')) return await argon2.verify(secretHash, password);
    if (/^\$2[aby]\$/.test(secretHash)) return await bcrypt.verify(password, secretHash);
  } catch {
    // No password belongs to what is no hash.
  }
  return false;
}
