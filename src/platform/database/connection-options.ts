import { parse } from 'pg-connection-string';
import type { ClientConfig } from 'pg';

/**
 * Settings that every session needs, whatever the defaults of server, database and role are. The driver reads only ISO
 * dates. The statements rely on standard strings, and the transactions on read committed.
 */
const SESSION = [
  'DateStyle=ISO,MDY',
  'IntervalStyle=postgres',
  'TimeZone=UTC',
  'standard_conforming_strings=on',
  'default_transaction_isolation=read\\ committed',
];

/**
 * The options of every connection to the database: the pool's, the listener's and the migrations'. The driver's own
 * parser reads the URL, and the environment is ignored.
 *
 * @param url postgres://user:password@host:port/database, with the parameters that the driver knows
 * @param session further session settings, as `name=value`; `undefined` behind a pooler, which refuses any setting
 */
export function connectionOptions(url: string, session: readonly string[] | undefined): ClientConfig {
  const { ssl = false, options: own, ...parsed } = parse(url);
  const asked = session && [...SESSION, ...session].map((setting) => `-c ${setting}`);
  // Latchkey's settings come last, since the later of two equal names wins.
  const options = [own, ...(asked ?? [])].filter((text) => text !== undefined).join(' ');
  return { ...withoutEmpty(parsed), ssl: ssl as ClientConfig['ssl'], ...(options !== '' && { options }) };
}

/** Removes empty options, which the driver would take for values. */
function withoutEmpty(parsed: object): ClientConfig {
  return Object.fromEntries(Object.entries(parsed).filter(([, value]) => value !== '' && value !== null));
}
