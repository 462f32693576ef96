/** Captures what follows the authority. */
const PATH = /^https?:\/\/[^/]*(\/.*)$/;
const EXPECTED = 'expected one such as https://latchkey.example';

/**
 * Says what is wrong with the URL that partners use. This URL is the issuer of every token, which is compared character
 * by character. A path needs a proxy that removes it, and the console works only at the root of a host name.
 *
 * @returns the rest of a sentence that begins with the setting's name; nothing when it is usable
 */
export function publicUrlProblem(text: string): string | undefined {
  // The text before an @ may be a password.
  const found = `found ${JSON.stringify(text.replace(/\/\/[^/]*@/, '//…@').slice(0, 200))}, ${EXPECTED}`;
  if (!/^https?:\/\//.test(text)) return `must be an http or https URL: ${found}`;
  if (text.includes(',')) return `must be one URL, not a list: ${found}`;
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return `must be an http or https URL with no port, or one from 1 to 65535: ${found}`;
  }
  if (url.username !== '' || url.password !== '') return `must have no user or password: ${found}`;
  if (/[?#]/.test(text)) return `must be an http or https URL without query or fragment: ${found}`;
  // The parser resolves dot segments and encodes characters, but an issuer is compared as it is written.
  if (url.pathname !== (PATH.exec(text)?.[1] ?? '/') || url.pathname.includes('//')) {
    return `must have a path without dot segments, empty segments or characters that need encoding: ${found}`;
  }
  if (url.port === '0') return `must have no port, or one from 1 to 65535: ${found}`;
  if (/[^\x21-\x7e]/.test(text)) {
    return `must be in ASCII; write this host name as ${JSON.stringify(url.hostname)}: ${found}`;
  }
  if (!/^(?:[a-z0-9._-]+|\[[0-9a-f:.]+\])$/.test(url.hostname)) return `must name a host: ${found}`;
  return undefined;
}
