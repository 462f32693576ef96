const PLUS = 0x2b;
const PERCENT = 0x25;
const AMPERSAND = 0x26;
const EQUALS = 0x3d;
const SPACE = 0x20;

/** The value of an ASCII hexadecimal digit, or -1. */
function hexDigit(byte: number | undefined): number {
  if (byte === undefined) return -1;
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

// A leading U+FEFF is part of the value, not an encoding mark. `ignoreBOM` keeps it.
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Decodes `+` and percent-encoding. A `%` that two digits do not follow stays, as in the URL standard.
 *
 * @returns nothing when the result is not UTF-8
 */
export function decodeFormValue(bytes: Uint8Array): string | undefined {
  const decoded = new Uint8Array(bytes.length);
  let length = 0;
  for (let i = 0; i < bytes.length; i++) {
    const byte = bytes[i] ?? 0;
    const high = byte === PERCENT ? hexDigit(bytes[i + 1]) : -1;
    const low = high >= 0 ? hexDigit(bytes[i + 2]) : -1;
    if (low >= 0) {
      decoded[length++] = high * 16 + low;
      i += 2;
    } else {
      decoded[length++] = byte === PLUS ? SPACE : byte;
    }
  }
  try {
    return utf8.decode(decoded.subarray(0, length));
  } catch {
    return undefined;
  }
}

/**
 * Parses `application/x-www-form-urlencoded` (URL standard §5.1). Unlike lenient parsers, keeps repeated fields and
 * reports invalid UTF-8.
 *
 * @param bytes the body or query, undecoded
 * @returns name and value of each field in order. A value that is not UTF-8 is `undefined`. A field whose name is not
 *   UTF-8 is left out, since no caller knows such a name
 */
export function parseForm(bytes: Uint8Array): [name: string, value: string | undefined][] {
  const fields: [string, string | undefined][] = [];
  for (let start = 0; start < bytes.length;) {
    let end = bytes.indexOf(AMPERSAND, start);
    if (end === -1) end = bytes.length;
    if (end > start) {
      const equals = bytes.subarray(start, end).indexOf(EQUALS);
      const nameEnd = equals === -1 ? end : start + equals;
      const name = decodeFormValue(bytes.subarray(start, nameEnd));
      if (name !== undefined) fields.push([name, decodeFormValue(bytes.subarray(Math.min(nameEnd + 1, end), end))]);
    }
    start = end + 1;
  }
  return fields;
}

const MAX_CODE_POINTS = 256;

/** Why a value cannot be a username or a password, or nothing when it can. */
export function faultOfCredentialText(value: string): string | undefined {
  if (value === '') return 'is empty';
  // A string of more than 512 UTF-16 units has more than 256 code points, so they need not be counted.
  const isTooLong =
    value.length > MAX_CODE_POINTS && (value.length > 2 * MAX_CODE_POINTS || [...value].length > MAX_CODE_POINTS);
  if (isTooLong) return `has more than ${String(MAX_CODE_POINTS)} characters`;
  return /\p{Cc}/u.test(value) ? 'has a control character, such as a line break at its end' : undefined;
}

/** Whether a value can be a username or a password: not empty, not too long, without control characters. */
export const isCredentialText = (value: string): boolean => faultOfCredentialText(value) === undefined;
