import * as argon2 from '@node-rs/argon2';
import * as bcrypt from '@node-rs/bcrypt';
import { createHmac, hash, randomUUID, timingSafeEqual } from 'node:crypto';
import { v4 as uuidV4 } from 'uuid';

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
export const generatePassword = (): GeneratedPassword => describePassword(randomUUID());

/**
 * What {@link generatePassword} would have made, for somebody who can make it again: the same for the same key and
 * number, random for everybody else.
 *
 * @param key 256 random bits
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

const UUID_V4 = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/i;

/** Whether a password of an older system is a random UUID, as Latchkey's own are: then it is stored as they are. */
export const isRandomUuid = (password: string): boolean => UUID_V4.test(password);

/** OWASP's first choice for a server; `m` in KiB. */
const CURRENT = { memoryCost: 19_456, timeCost: 2, parallelism: 1 };
/** A verification within about a second, and within what a machine can spare. */
const MOST = { memoryKiB: 262_144, passes: 10, lanes: 4, workKiB: 1_048_576, bcryptCost: 14 };
const LEAST_BCRYPT_COST = 4;
const ARGON2ID = /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,3})\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{22,86}$/;
const BCRYPT = /^\$2[aby]\$(\d\d)\$[./A-Za-z0-9]{53}$/;

const argon2Cost = (secretHash: string): { m: number; t: number; p: number } | undefined => {
  const parts = ARGON2ID.exec(secretHash);
  return parts ? { m: Number(parts[1]), t: Number(parts[2]), p: Number(parts[3]) } : undefined;
};

/**
 * Whether a hash of an older system can be verified here, at a bearable cost. Weak ones can: they are replaced when they
 * are used first.
 */
export function isBearableHash(secretHash: string): boolean {
  const bcryptCost = Number(BCRYPT.exec(secretHash)?.[1] ?? NaN);
  if (bcryptCost >= LEAST_BCRYPT_COST && bcryptCost <= MOST.bcryptCost) return true;
  const cost = argon2Cost(secretHash);
  if (!cost) return false;
  const { m, t, p } = cost;
  // RFC 9106 §3.1: at least 8 KiB for each lane.
  if (t < 1 || p < 1 || m < 8 * p) return false;
  return m <= MOST.memoryKiB && t <= MOST.passes && p <= MOST.lanes && m * t <= MOST.workKiB;
}

/** How many times as long as a hash of today's cost one takes to verify. */
export function relativeCost(secretHash: string): number {
  const cost = argon2Cost(secretHash);
  if (cost) return (cost.m * cost.t) / (CURRENT.memoryCost * CURRENT.timeCost);
  // bcrypt of cost 10 takes about twice as long, and each step doubles it.
  return 2 ** (Number(BCRYPT.exec(secretHash)?.[1] ?? 0) - 9);
}

/** Whether a slow hash is weaker than those that are made today, or of another scheme. */
export function isOutdatedHash(secretHash: string): boolean {
  const cost = argon2Cost(secretHash);
  return !cost || cost.m < CURRENT.memoryCost || cost.t < CURRENT.timeCost;
}

/** What a password is stored as that may be short or made by a person; off the main thread. */
export const slowHashOf = (password: string): Promise<string> => argon2.hash(password, CURRENT);
