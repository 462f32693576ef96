import { type BlockList, isIP, isIPv6 } from 'node:net';

/** IPv4-mapped IPv6 counts as IPv4; a zone (`%eth0`) is dropped. */
function normalizeAddress(address: string): string | undefined {
  const bare = address.split('%', 1)[0] ?? '';
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(bare)?.[1];
  if (mapped !== undefined && isIP(mapped) === 4) return mapped;
  return isIP(bare) === 0 ? undefined : bare.toLowerCase();
}

/** `192.0.2.1:443`, `[2001:db8::1]:443`, `"[2001:db8::1]"` and the bare forms; obfuscated nodes (`_x`, `unknown`) are none. */
function addressOfNode(node: string): string | undefined {
  const bare = node.trim().replace(/^"(.*)"$/, '$1');
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(bare)?.[1];
  if (bracketed !== undefined) return normalizeAddress(bracketed);
  return normalizeAddress(isIPv6(bare) ? bare : bare.replace(/:\d{1,5}$/, ''));
}

/** Whether an address lies in one of the networks. */
export function isInNetworks(address: string, networks: BlockList): boolean {
  return networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** The hops a proxy reports, nearest last (RFC 7239 `Forwarded`, else `X-Forwarded-For`). */
function forwardedHops(headers: Record<string, string | string[] | undefined>): (string | undefined)[] {
  const forwarded = headers['forwarded'];
  if (forwarded !== undefined) {
    return String(forwarded)
      .split(',')
      .map((element) => {
        const pair = element.split(';').find((part) => /^\s*for\s*=/i.test(part));
        return pair === undefined ? undefined : addressOfNode(pair.slice(pair.indexOf('=') + 1));
      });
  }
  const list = headers['x-forwarded-for'];
  return list === undefined ? [] : String(list).split(',').map(addressOfNode);
}

/**
 * The address a request came from. Forwarding headers are read from the nearest hop backwards and only as long as
 * the hop that wrote them is a trusted proxy, so that a client cannot choose its own address.
 *
 * @param socketAddress the peer of the connection
 * @param headers the request's headers, lower case
 * @param trustedProxies the networks of `TRUSTED_PROXIES`
 * @returns an IPv4 or IPv6 address, or `undefined` when it is not known
 */
export function clientAddress(
  socketAddress: string | undefined,
  headers: Record<string, string | string[] | undefined>,
  trustedProxies: BlockList,
): string | undefined {
  let address = socketAddress === undefined ? undefined : normalizeAddress(socketAddress);
  if (address === undefined || !isInNetworks(address, trustedProxies)) return address;
  for (const hop of forwardedHops(headers).reverse()) {
    address = hop;
    if (address === undefined || !isInNetworks(address, trustedProxies)) break;
  }
  return address;
}
