import { createHash } from 'node:crypto';
import { Secret, TOTP } from 'otpauth';

/** What every authenticator takes for granted (RFC 6238 §1.2): SHA-1, six digits, steps of 30 seconds. */
const FORM = { issuer: 'Latchkey', algorithm: 'SHA1', digits: 6, period: 30 };
/** Clocks may be a step apart (RFC 6238 §5.2). */
const STEPS_AROUND = 1;
const RECOVERY_CODES = 10;
/** 80 random bits, which is too many to try: a fast hash of it suffices. */
const RECOVERY_CODE_BYTES = 10;

/** @returns 160 random bits, the length that RFC 4226 §4 recommends, in base32 */
export const generateTotpSecret = (): string => new Secret({ size: 20 }).base32;

const totpOf = (secret: string, label = ''): TOTP => new TOTP({ ...FORM, label, secret: Secret.fromBase32(secret) });

/** The `otpauth://` URI that authenticators read from a QR code. */
export const totpUri = (secret: string, label: string): string => totpOf(secret, label).toString();

/** People type codes in groups. */
const withoutGroups = (code: string): string => code.replace(/[\s-]/g, '').toUpperCase();

/** @returns the six digits of what may be a TOTP code */
export function totpDigits(code: string): string | undefined {
  const digits = withoutGroups(code);
  return /^\d{6}$/.test(digits) ? digits : undefined;
}

/**
 * Finds the time step that a code belongs to, so that the caller can see to it that each is used once.
 *
 * @param secret in base32
 * @param digits as {@link totpDigits} has them
 * @param now in milliseconds since the epoch
 * @returns nothing for a wrong code
 */
export function totpStepOf(secret: string, digits: string, now: number): number | undefined {
  const totp = totpOf(secret);
  const delta = totp.validate({ token: digits, timestamp: now, window: STEPS_AROUND });
  return delta === null ? undefined : totp.counter({ timestamp: now }) + delta;
}

const hashOf = (plain: string): string => `$sha256$${createHash('sha256').update(plain).digest('base64url')}`;

/** Codes for when the authenticator is lost, each good for one sign-in. Shown once; only their hashes are stored. */
export function generateRecoveryCodes(): { code: string; hash: string }[] {
  return Array.from({ length: RECOVERY_CODES }, () => {
    const plain = new Secret({ size: RECOVERY_CODE_BYTES }).base32;
    return { code: plain.replace(/(.{4})(?=.)/g, '$1-'), hash: hashOf(plain) };
  });
}

/** @returns what a recovery code is stored as; nothing for what is not of its form */
export function recoveryCodeHash(code: string): string | undefined {
  const plain = withoutGroups(code);
  return /^[A-Z2-7]{16}$/.test(plain) ? hashOf(plain) : undefined;
}
