/**
 * Finds a character of a URL that should be percent-encoded. Parsers treat such a character differently, and a wrong
 * guess yields a wrong password.
 *
 * @returns the rest of a sentence that begins with the setting's name; nothing when every character is fine
 */
export function bareCharacter(url: string): string | undefined {
  if (/%(?![0-9a-f]{2})/i.test(url)) return 'has a % without two hexadecimal digits after it: write a % as %25';
  if (!isUtf8(url)) return 'has percent-encoded bytes that are not UTF-8: encode each character as UTF-8';
  if (/\s/.test(url)) return 'has a space: write it as %20';
  // The values of parameters may have an @.
  const [beforeParameters = ''] = url.slice(url.indexOf('://') + 3).split(/\?\w+=/, 1);
  const end = /[/?#]/.exec(beforeParameters);
  const at = beforeParameters.lastIndexOf('@');
  // The host follows the last @, so a /, ? or # before that @ belongs to the password.
  if (end && at > end.index) {
    const [character] = end;
    return `has a bare ${character} in the password: write it as ${encodeURIComponent(character)}`;
  }
  if (url.includes('#')) return 'has a bare #: write it as %23';
  return undefined;
}

function isUtf8(url: string): boolean {
  try {
    decodeURIComponent(url);
    return true;
  } catch {
    return false;
  }
}
