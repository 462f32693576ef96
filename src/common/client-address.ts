import { type BlockList, isIP, isIPv6 } from 'node:net';

/** The eight 16-bit groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  // The WHATWG URL parser writes every IPv6 address in one form (RFC 5952).
  const canonical = new URL(`http://[${address}]`).hostname.slice(1, -1);
  const [head = '', tail] = canonical.split('::');
  const parse = (part: string): number[] => (part === '' ? [] : part.split(':').map((group) => parseInt(group, 16)));
  if (tail === undefined) return parse(head);
  const [left, right] = [parse(head), parse(tail)];
  return [...left, ...new Array<number>(8 - left.length - right.length).fill(0), ...right];
}

/** IPv4-mapped IPv6 counts as IPv4; a zone (`%eth0`) is dropped. */
function normalizeAddress(address: string): string | undefined {
  const zone = address.indexOf('%');
  const bare = zone === -1 ? address : address.slice(0, zone);
  const family = isIP(bare);
  if (family !== 6) return family === 4 ? bare : undefined;
  const groups = groupsOf(bare);
  const [, , , , , marker, high = 0, low = 0] = groups;
  if (marker === 0xffff && groups.slice(0, 5).every((group) => group === 0)) {
    return [high >> 8, high & 0xff, low >> 8, low & 0xff].join('.');
  }
  return bare.toLowerCase();
}

/**
 * What counts as one client: an IPv4 address, or the /64 that an IPv6 subscriber has to itself.
 *
 * @param address as {@link clientAddress} returns it
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const prefix = groupsOf(address).slice(0, 4);
  return `${prefix.map((group) => group.toString(16)).join(':')}::/64`;
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

/** What a parameter says in one element of `Forwarded` (RFC 7239 §4). @param name matches it, up to the `=` */
function parameterOf(element: string, name: RegExp): string | undefined {
  const pair = element.split(';').find((part) => name.test(part));
  return pair?.slice(pair.indexOf('=') + 1);
}

/** The address in one element of `Forwarded`. */
function addressOfElement(element: string): string | undefined {
  const node = parameterOf(element, /^\s*for\s*=/i);
  return node === undefined ? undefined : addressOfNode(node);
}

/** The nearest hop that is no trusted proxy. Hops are read backwards, and no further than needed. */
function lastUntrusted(
  list: string | string[],
  read: (element: string) => string | undefined,
  trustedProxies: BlockList,
): string | undefined {
  const elements = String(list).split(',');
  for (let i = elements.length - 1; ; i--) {
    const address = read(elements[i] ?? '');
    if (i <= 0 || address === undefined || !isInNetworks(address, trustedProxies)) return address;
  }
}

/**
 * The address a request came from. Forwarding headers (RFC 7239 `Forwarded`, `X-Forwarded-For`) are read from the
 * nearest hop backwards and only as long as the hop that wrote them is a trusted proxy, so that a client cannot choose
 * its own address. When both are there and disagree, a client wrote one of them: the address is not known.
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
  const peer = socketAddress === undefined ? undefined : normalizeAddress(socketAddress);
  const { forwarded, 'x-forwarded-for': list } = headers;
  if (peer === undefined || (forwarded === undefined && list === undefined)) return peer;
  if (!isInNetworks(peer, trustedProxies)) return peer;
  const fromForwarded =
    forwarded === undefined ? undefined : lastUntrusted(forwarded, addressOfElement, trustedProxies);
  const fromList = list === undefined ? undefined : lastUntrusted(list, addressOfNode, trustedProxies);
  if (forwarded === undefined || list === undefined) return fromForwarded ?? fromList;
  return fromForwarded === fromList ? fromList : undefined;
}

/**
 * Whether the nearest proxy says that it was asked over https. When the two headers for that disagree, a client wrote one
 * of them.
 *
 * @param headers of a request from a trusted proxy
 */
export function isForwardedHttps(headers: Record<string, string | string[] | undefined>): boolean {
  const { forwarded, 'x-forwarded-proto': proto } = headers;
  const lastOf = (list: string | string[]): string => String(list).split(',').at(-1)?.trim() ?? '';
  const said = [
    proto === undefined ? undefined : lastOf(proto),
    forwarded === undefined
      ? undefined
      : parameterOf(lastOf(forwarded), /^\s*proto\s*=/i)?.replace(/^\s*"?|"?\s*$/g, ''),
  ].filter((scheme) => scheme !== undefined);
  return said.length > 0 && said.every((scheme) => scheme.toLowerCase() === 'https');
}
