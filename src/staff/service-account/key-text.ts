import { randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { KEY_PREFIX } from '../../platform/common/service-account-key.ts';

/**
 * A key: the prefix, the id without hyphens, a secret of 256 random bits, and a checksum of everything before the
 * checksum. docs/provisioning-as-code.md gives the form to secret scanners.
 */
const FORM = new RegExp(`^${KEY_PREFIX}([0-9a-f]{32})_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`);
const LENGTH = KEY_PREFIX.length + 32 + 1 + 43 + 1 + 6;
const CHECKSUM_LENGTH = 6;
const DIGITS = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';

/** A number in base 62, most significant digit first, padded with zeros. */
function base62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; text.length < length; rest /= 62n) text = (DIGITS[Number(rest % 62n)] ?? '') + text;
  return text;
}

/** The CRC-32 (ISO 3309, as in zlib) of an ASCII text, in base 62. */
const checksumOf = (text: string): string => base62(BigInt(crc32(text)), CHECKSUM_LENGTH);

/** Makes a key. @param id a UUID */
export function generateKey(id: string): string {
  const secret = base62(BigInt(`0x${randomBytes(32).toString('hex')}`), 43);
  const stem = `${KEY_PREFIX}${id.replaceAll('-', '')}_${secret}_`;
  return stem + checksumOf(stem);
}

/** The id in a key, a UUID, or undefined when the text is not a key or its checksum shows that it was mistyped. */
export function idOfKey(text: string): string | undefined {
  if (text.length !== LENGTH) return undefined;
  const id = FORM.exec(text)?.[1];
  const stem = text.slice(0, -CHECKSUM_LENGTH);
  if (id === undefined || text.slice(-CHECKSUM_LENGTH) !== checksumOf(stem)) return undefined;
  return [id.slice(0, 8), id.slice(8, 12), id.slice(12, 16), id.slice(16, 20), id.slice(20)].join('-');
}
