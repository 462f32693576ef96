import ipaddr from 'ipaddr.js';
import { isIP } from 'node:net';

/** Azure's metadata and DNS, at a public address. */
const AZURE = '168.63.129.16';
/**
 * The only IPv6 addresses of the Internet (RFC 4291 §2.4). Loopback, link-local, unique local, multicast, mapped IPv4
 * (`::ffff:0:0/96`) and NAT64 (`64:ff9b::/96`) addresses are outside.
 */
const GLOBAL_UNICAST = ipaddr.IPv6.parseCIDR('2000::/3');

/** Whether an address belongs to no host of the Internet, so that a request to it may reach an internal network. */
export function isSpecial(text: string): boolean {
  // A zone names an interface of this machine.
  if (isIP(text) === 0 || text.includes('%')) return true;
  const address = ipaddr.parse(text);
  // IANA's special-purpose addresses, multicast, and the IPv6 prefixes that embed an IPv4 address.
  if (address.range() !== 'unicast') return true;
  return address.kind() === 'ipv4' ? text === AZURE : !address.match(GLOBAL_UNICAST);
}
