import { createHash } from 'node:crypto';
import { Secret, TOTP } from 'otpauth';

/** The parameters that all authenticators support (RFC 6238 §1.2): SHA-1, six digits, time steps of 30 seconds. */
const FORM = { issuer: 'Latchkey', algorithm: 'SHA1', digits: 6, period: 30 };
/** Accepted time steps before and after the present one, since clocks may differ by one (RFC 6238 §5.2). */
const STEPS_AROUND = 1;
const RECOVERY_CODES = 10;
/** 80 random bits, too many to guess, so that a fast hash suffices. */
const RECOVERY_CODE_BYTES = 10;

/** Generates a TOTP secret. @returns 160 random bits in base32, the length that RFC 4226 §4 recommends */
export const generateTotpSecret = (): string => new Secret({ size: 20 }).base32;

const totpOf = (secret: string, label = ''): TOTP => new TOTP({ ...FORM, label, secret: Secret.fromBase32(secret) });

/** The `otpauth://` URI that authenticators read from a QR code. */
export const totpUri = (secret: string, label: string): string => totpOf(secret, label).toString();

/** Removes spaces and dashes, since people type codes in groups. */
const withoutGroups = (code: string): string => code.replace(/[\s-]/g, '').toUpperCase();

/** @returns the six digits of a TOTP code, or undefined when the input is not one */
export function totpDigits(code: string): string | undefined {
  const digits = withoutGroups(code);
  return /^\d{6}$/.test(digits) ? digits : undefined;
}

/**
 * Finds the time step that a code belongs to, so that the caller can accept each code only once.
 *
 * @param secret in base32
 * @param digits a result of {@link totpDigits}
 * @param now in milliseconds since the epoch
 * @returns the time step, or undefined for a wrong code
 */
export function totpStepOf(secret: string, digits: string, now: number): number | undefined {
  const totp = totpOf(secret);
  const delta = totp.validate({ token: digits, timestamp: now, window: STEPS_AROUND });
  return delta === null ? undefined : totp.counter({ timestamp: now }) + delta;
}

const hashOf = (plain: string): string => `$sha256$${createHash('sha256').update(plain).digest('base64url')}`;

/** Generates codes for a lost authenticator, each good for one sign-in. The codes are shown once, the hashes stored. */
export function generateRecoveryCodes(): { code: string; hash: string }[] {
  return Array.from({ length: RECOVERY_CODES }, () => {
    const plain = new Secret({ size: RECOVERY_CODE_BYTES }).base32;
    return { code: plain.replace(/(.{4})(?=.)/g, '$1-'), hash: hashOf(plain) };
  });
}

/** @returns the stored form of a recovery code, or undefined when the input does not look like one */
export function recoveryCodeHash(code: string): string | undefined {
  const plain = withoutGroups(code);
  return /^[A-Z2-7]{16}$/.test(plain) ? hashOf(plain) : undefined;
}
