import { BlockList, isIP } from 'node:net';

const MAPPED = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i;

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
    const mapped = MAPPED.exec(written)?.[1];
    const address = mapped ?? written;
    const family = isIP(address);
    if (family === 0 || address.includes('%') || rest.length > 0) return undefined;
    if (prefix !== undefined && !/^\d{1,3}$/.test(prefix)) return undefined;
    const bits = family === 4 ? 32 : 128;
    const length = prefix === undefined ? bits : Number(prefix) - (mapped === undefined ? 0 : 96);
    if (length < 0 || length > bits) return undefined;
    networks.addSubnet(address, length, family === 4 ? 'ipv4' : 'ipv6');
  }
  return networks;
}
