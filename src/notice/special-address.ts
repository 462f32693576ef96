import { type BlockList, isIP } from 'node:net';
import { parseNetworks } from '../platform/config/networks.ts';

function networks(...list: string[]): BlockList {
  const parsed = parseNetworks(list.join());
  if (!parsed) throw new Error('A network of the list below cannot be read');
  return parsed;
}

/** IANA's special-purpose addresses, multicast, and the IPv6 prefixes that embed an IPv4 address. */
const SPECIAL = networks(
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.31.196.0/24',
  '192.52.193.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '192.175.48.0/24',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/4',
  '240.0.0.0/4',
  // Azure's metadata and DNS, at a public address.
  '168.63.129.16',
  // IETF protocol assignments: Teredo, ORCHID, benchmarking.
  '2001::/23',
  '2001:db8::/32',
  // 6to4.
  '2002::/16',
  '2620:4f:8000::/48',
  '3fff::/20',
);
/**
 * The only IPv6 addresses of the Internet (RFC 4291 §2.4). Loopback, link-local, unique local, multicast, mapped IPv4
 * (`::ffff:0:0/96`) and NAT64 (`64:ff9b::/96`) addresses are outside.
 */
const GLOBAL_UNICAST = networks('2000::/3');

/** Whether an address belongs to no host of the Internet, so that a request to it may reach an internal network. */
export function isSpecial(address: string): boolean {
  const family = isIP(address);
  if (family === 4) return SPECIAL.check(address, 'ipv4');
  // A zone names an interface of this machine.
  if (family !== 6 || address.includes('%')) return true;
  return !GLOBAL_UNICAST.check(address, 'ipv6') || SPECIAL.check(address, 'ipv6');
}
