import { BlockList, isIP } from 'node:net';
import { parseIpv6 } from '../common/ipv6.ts';

/**
 * Reads a list of addresses and networks. IPv4-mapped IPv6 counts as IPv4.
 *
 * @param text comma-separated IPv4 or IPv6 addresses or CIDR networks
 * @returns the networks, or `undefined` when one of them cannot be read
 */
export function parseNetworks(text: string): BlockList | undefined {
  const networks = new BlockList();
  for (const entry of text.split(',').map((part) => part.trim())) {
    if (entry === '') continue;
    const [written = '', prefix, ...rest] = entry.split('/');
    if (isIP(written) === 0 || written.includes('%') || rest.length > 0) return undefined;
    if (prefix !== undefined && !/^\d{1,3}$/.test(prefix)) return undefined;
    const ipv6 = isIP(written) === 6 ? parseIpv6(written) : undefined;
    const isMapped = ipv6?.isIPv4MappedAddress() === true;
    const address = isMapped ? ipv6.toIPv4Address().toString() : written;
    const isIpv6 = ipv6 !== undefined && !isMapped;
    const bits = isIpv6 ? 128 : 32;
    const length = prefix === undefined ? bits : Number(prefix) - (isMapped ? 96 : 0);
    if (length < 0 || length > bits) return undefined;
    networks.addSubnet(address, length, isIpv6 ? 'ipv6' : 'ipv4');
  }
  return networks;
}
