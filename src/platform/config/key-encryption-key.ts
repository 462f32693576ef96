import { isUtf8 } from 'node:buffer';

const FORM = '32 random bytes as base64 or hexadecimal';

/**
 * Reads a 256-bit key.
 *
 * @param text 32 bytes as base64, base64url or 64 hexadecimal digits
 * @returns the key, or `undefined` when the text is not one
 */
export function parseKeyEncryptionKey(text: string): Buffer | undefined {
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex');
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(text)) return undefined;
  const key = Buffer.from(text, 'base64');
  return key.length === 32 ? key : undefined;
}

/** The newest key comes first. It encrypts, and all keys decrypt. */
export type KeyEncryptionKeys = readonly [Buffer, ...Buffer[]];

/**
 * Reads one key, or a comma-separated list of keys.
 *
 * @returns the keys, or the rest of a sentence that begins with the setting's name
 */
export function parseKeyEncryptionKeys(text: string): { value: KeyEncryptionKeys } | { problem: string } {
  const parts = text.split(',');
  const [newest, ...older] = parts.flatMap((part) => parseKeyEncryptionKey(part.trim()) ?? []);
  if (newest && older.length === parts.length - 1) return { value: [newest, ...older] };
  return {
    problem:
      parts.length === 1
        ? `must be ${FORM} (openssl rand -base64 32)`
        : `must be a comma-separated list of keys, the newest first, each ${FORM}`,
  };
}

/** Whether a key looks typed or follows a pattern, as one in a hundred million random keys does. */
export function isWeakKey(key: Buffer): boolean {
  const step = (key[1] ?? 0) - (key[0] ?? 0);
  return (
    new Set(key).size < 12 ||
    // 00 01 02 …, up or down by any step.
    key.every((byte, i) => i === 0 || ((byte - (key[i - 1] ?? 0) - step) & 0xff) === 0) ||
    key.subarray(0, 16).equals(key.subarray(16)) ||
    isUtf8(key)
  );
}
