import { parse } from 'pg-connection-string';
import { bareCharacter } from './url-text.ts';

const SSL_MODES = ['disable', 'prefer', 'require', 'verify-ca', 'verify-full', 'no-verify'];
const EXPECTED = 'expected a URL such as postgres://user:password@host:5432/database';

/**
 * Says what is wrong with the address of a database. Uses the driver's own parser, so that the driver reads every
 * accepted address in the same way.
 *
 * @param url as it was configured
 * @returns the rest of a sentence that begins with the setting's name, without the address; nothing when it is usable
 */
export function databaseUrlProblem(url: string): string | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1];
  if (scheme === undefined) return `must be a URL: ${EXPECTED}`;
  if (!/^postgres(ql)?$/.test(scheme)) return `must be a URL of PostgreSQL: found ${scheme}://, ${EXPECTED}`;
  const bare = bareCharacter(url);
  if (bare !== undefined) return bare;
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse(url);
  } catch (error) {
    return unreadable(error as NodeJS.ErrnoException);
  }
  const { host, port, sslmode } = parsed;
  if (host?.includes(',') === true) return `must name one host: found a list, ${EXPECTED}`;
  if (port != null && port !== '' && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65_535)) {
    return `must have a port from 1 to 65535: found ${JSON.stringify(port)}`;
  }
  if (typeof sslmode === 'string' && !SSL_MODES.includes(sslmode)) {
    return `must have one of these values for sslmode: ${SSL_MODES.join(', ')}; found ${JSON.stringify(sslmode)}`;
  }
  return undefined;
}

function unreadable({ code, path, message }: NodeJS.ErrnoException): string {
  // The parser also reads the files that sslrootcert, sslcert and sslkey name.
  if (path !== undefined) return `names a file that cannot be read: ${path} (${code ?? message})`;
  if (message.startsWith('SECURITY WARNING')) return 'must name a certificate (sslrootcert) with sslmode=verify-ca';
  return `cannot be read: ${EXPECTED}, with /, ?, # and % in the password written as %2F, %3F, %23 and %25, and a port from 1 to 65535`;
}

/** The decoded password of a usable address; empty when the address has none. */
export function databasePassword(url: string): string {
  return parse(url).password ?? '';
}

/** Adds a password to a usable address, unless the address has one. */
export function withDatabasePassword(url: string, password: string): string {
  const query = url.includes('?') ? '&' : '?';
  return databasePassword(url) === '' ? `${url}${query}password=${encodeURIComponent(password)}` : url;
}

/** Host, port and database of an address, for messages. */
export function databasePlace(url: string): string {
  const { host, port, database } = parse(url);
  const where = host == null || host === '' ? 'localhost' : host.includes(':') ? `[${host}]` : host;
  return `${where}${port == null || port === '' ? '' : `:${port}`}/${database ?? ''}`;
}
