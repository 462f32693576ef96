import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';

/** A generated password with everything that is stored of it. */
export interface GeneratedPassword {
  /** A version 4 UUID: 122 random bits. Shown once, stored nowhere. */
  readonly password: string;
  /** First 8 hexadecimal digits of its SHA-256. */
  readonly fingerprint: string;
  readonly secretHash: string;
}

const SHA256 = '$sha256$';

const sha256 = (text: string): Buffer => createHash('sha256').update(text).digest();

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

/**
 * Compares in constant time.
 *
 * @param secretHash `$scheme$…` as stored
 * @returns false for a scheme this version does not know, too
 */
export function passwordMatches(password: string, secretHash: string): boolean {
  if (!secretHash.startsWith(SHA256)) return false;
  const stored = Buffer.from(secretHash.slice(SHA256.length), 'base64url');
  const digest = sha256(password);
  return stored.length === digest.length && timingSafeEqual(stored, digest);
}
