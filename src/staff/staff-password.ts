import { hash, verify } from '@node-rs/argon2';
import { randomBytes } from 'node:crypto';

/**
 * OWASP's first choice for argon2id, the library's default algorithm: 19 MiB, two passes, one lane. A hash takes about
 * 25 ms on one core, off the main thread.
 */
const OPTIONS = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };

/** Memory that hashing and verifying need, in KiB. */
export const PASSWORD_HASH_KIB = OPTIONS.memoryCost;

/** 24 characters with at least 143 random bits. The first is no dash, so that programs do not take it for an option. */
export function generateStaffPassword(): string {
  const password = randomBytes(18).toString('base64url');
  return password.startsWith('-') ? generateStaffPassword() : password;
}

export const hashPassword = (password: string): Promise<string> => hash(password, OPTIONS);

export const verifyPassword = (password: string, passwordHash: string): Promise<boolean> =>
  verify(passwordHash, password);
