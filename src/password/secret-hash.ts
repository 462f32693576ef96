import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { createHmac, hash, randomUUID, timingSafeEqual } from 'node:crypto';
import { v4 as uuidV4 } from 'uuid';

/** A generated password, and what is stored of it. */
export interface GeneratedPassword {
  /** A version 4 UUID: 122 random bits. Shown once, stored nowhere. */
  readonly password: string;
  /** First 8 hexadecimal digits of its SHA-256. */
  readonly fingerprint: string;
  readonly secretHash: string;
}

const SHA256 = '$sha256$';

/** The one-shot `hash()`: a Hash object would hold native memory until it is garbage-collected. */
const sha256 = (text: string): Buffer => hash('sha256', text, 'buffer');

/**
 * Generates a password. A plain SHA-256 suffices for a secret of at least 112 random bits (NIST SP 800-63B §3.1.1.2),
 * and makes a sign-in cost microseconds.
 */
export const generatePassword = (): GeneratedPassword => describePassword(randomUUID());

/**
 * Derives a password of the same form as {@link generatePassword}: reproducible with the key and the number, and
 * random to anyone without the key.
 *
 * @param key 32 random bytes
 */
export function derivePassword(key: Buffer, number: number): GeneratedPassword {
  const bytes = createHmac('sha256', key).update(String(number)).digest().subarray(0, 16);
  return describePassword(uuidV4({ random: bytes }));
}

function describePassword(password: string): GeneratedPassword {
  const digest = sha256(password);
  return {
    password,
    fingerprint: digest.toString('hex').slice(0, 8),
    secretHash: SHA256 + digest.toString('base64url'),
  };
}

/** The stored form of a generated password. */
export const fastHashOf = (password: string): string => SHA256 + hash('sha256', password, 'base64url');

/** Whether a stored hash is a plain SHA-256, verified in microseconds. The others take tens of milliseconds. */
export const isFastHash = (secretHash: string): boolean => secretHash.startsWith(SHA256);

/** Compares two hashes in constant time. */
export function sameHash(a: string, b: string): boolean {
  return a.length === b.length && timingSafeEqual(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1'));
}

/** Bytes of a password that bcrypt reads. Longer passwords that begin alike have the same hash. */
const BCRYPT_BYTES = 72;

/** Whether a password is too long for its stored bcrypt hash. Such a password is always refused. */
export const isBeyondHash = (password: string, secretHash: string): boolean =>
  /^\$2[aby]\$/.test(secretHash) && Buffer.byteLength(password) > BCRYPT_BYTES;

/**
 * Verifies a password that came from an older system, off the main thread.
 *
 * @param secretHash argon2id in PHC string form, or bcrypt (`$2a$`, `$2b$`, `$2y$`)
 * @returns whether they match; false also for an unknown scheme or an unreadable hash
 */
export async function verifySlowHash(password: string, secretHash: string): Promise<boolean> {
  if (isBeyondHash(password, secretHash)) return false;
  try {
    if (secretHash.startsWith('$argon2id$')) return await argon2.verify(secretHash, password);
    if (/^\$2[aby]\$/.test(secretHash)) return await bcrypt.verify(password, secretHash);
  } catch {
    // An unreadable hash matches no password.
  }
  return false;
}

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** Whether an imported password is a random UUID like Latchkey's own, so that a plain SHA-256 may store it. */
export const isRandomUuid = (password: string): boolean => UUID_V4.test(password);

/** Today's argon2id parameters, OWASP's first choice for a server; `memoryCost` in KiB. */
const CURRENT = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
/** Highest accepted costs: a verification takes about a second and fits `HASH_MEMORY_KIB` of `ResponseDelayService`. */
const MAX = { memoryKiB: 196_608, passes: 10, lanes: 4, workKiB: 1_048_576, bcryptCost: 14 };
const MIN_BCRYPT_COST = 4;
const ARGON2ID = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/;
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;

const argon2Cost = (secretHash: string): { m: number; t: number; p: number } | undefined => {
  const parts = ARGON2ID.exec(secretHash);
  return parts ? { m: Number(parts[1]), t: Number(parts[2]), p: Number(parts[3]) } : undefined;
};

/**
 * Whether an imported hash can be verified here at an acceptable cost. Weak hashes are accepted, since the first
 * sign-in replaces them.
 */
export function isBearableHash(secretHash: string): boolean {
  const bcryptCost = Number(BCRYPT.exec(secretHash)?.[1] ?? NaN);
  if (bcryptCost >= MIN_BCRYPT_COST && bcryptCost <= MAX.bcryptCost) return true;
  const cost = argon2Cost(secretHash);
  if (!cost) return false;
  const { m, t, p } = cost;
  // RFC 9106 §3.1: at least 8 KiB for each lane.
  if (t < 1 || p < 1 || m < 8 * p) return false;
  return m <= MAX.memoryKiB && t <= MAX.passes && p <= MAX.lanes && m * t <= MAX.workKiB;
}

/** Cost of verifying a hash, as a multiple of today's argon2id; 0 for a hash that cannot be verified. */
export function relativeCost(secretHash: string): number {
  const cost = argon2Cost(secretHash);
  if (cost) return (cost.m * cost.t) / (CURRENT.memoryCost * CURRENT.timeCost);
  const bcryptCost = Number(BCRYPT.exec(secretHash)?.[1] ?? NaN);
  // bcrypt of cost 10 takes about twice as long as today's argon2id, and each further step doubles that.
  return bcryptCost >= MIN_BCRYPT_COST && bcryptCost <= 31 ? 2 ** (bcryptCost - 9) : 0;
}

/** Memory that verifying a slow hash needs, in KiB; 0 for bcrypt, which needs next to none. */
export const memoryOf = (secretHash: string): number => argon2Cost(secretHash)?.m ?? 0;

/** Whether a slow hash is weaker than today's argon2id, or of another scheme. */
export function isOutdatedHash(secretHash: string): boolean {
  const cost = argon2Cost(secretHash);
  return !cost || cost.m < CURRENT.memoryCost || cost.t < CURRENT.timeCost;
}

/** Hashes a password that may be short or chosen by a person, off the main thread. */
export const slowHashOf = (password: string): Promise<string> => argon2.hash(password, CURRENT);

/** Memory that {@link slowHashOf} needs, in KiB. */
export const SLOW_HASH_KIB = CURRENT.memoryCost;
