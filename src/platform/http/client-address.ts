import { type BlockList, isIP, isIPv6 } from 'node:net';
import { parseIpv6 } from '../common/ipv6.ts';

/** Turns IPv4-mapped IPv6 into IPv4, and drops a zone (`%eth0`). */
function normalizeAddress(address: string): string | undefined {
  const zone = address.indexOf('%');
  const bare = zone === -1 ? address : address.slice(0, zone);
  const family = isIP(bare);
  if (family !== 6) return family === 4 ? bare : undefined;
  const ipv6 = parseIpv6(bare);
  if (ipv6.isIPv4MappedAddress()) return ipv6.toIPv4Address().toString();
  return bare.toLowerCase();
}

/**
 * The network that counts as one client: an IPv4 address, or the /64 that one IPv6 subscriber has.
 *
 * @param address as {@link clientAddress} returns it
 */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const prefix = parseIpv6(address).parts.slice(0, 4);
  return `${prefix.map((group) => group.toString(16)).join(':')}::/64`;
}

const withoutQuotes = (text: string): string =>
  text.length >= 2 && text.startsWith('"') && text.endsWith('"') ? text.slice(1, -1) : text;

/** Reads `192.0.2.1:443`, `[2001:db8::1]:443` and bare addresses, also in quotes, but not obfuscated nodes (`_x`). */
function addressOfNode(node: string): string | undefined {
  const bare = withoutQuotes(node.trim());
  const bracketed = /^\[([^\]]*)\](?::\d{1,5})?$/.exec(bare)?.[1];
  if (bracketed !== undefined) return normalizeAddress(bracketed);
  return normalizeAddress(isIPv6(bare) ? bare : bare.replace(/:\d{1,5}$/, ''));
}

/** Whether an address lies in one of the networks. */
export function isInNetworks(address: string, networks: BlockList): boolean {
  return networks.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

/** Characters of a forwarding header. No chain of proxies writes longer ones, so longer ones are not read. */
const MAX_LIST_LENGTH = 2_048;
const MAX_ELEMENTS = 32;

/** The elements of a forwarding header, or nothing if it is too long or has too many. */
function elementsOf(list: string | string[]): string[] | undefined {
  const text = String(list);
  if (text.length > MAX_LIST_LENGTH) return undefined;
  const elements = text.split(',', MAX_ELEMENTS + 1);
  return elements.length > MAX_ELEMENTS ? undefined : elements;
}

/** The value of a parameter in one element of `Forwarded` (RFC 7239 §4). @param name in lower case */
function parameterOf(element: string, name: string): string | undefined {
  for (const pair of element.split(';')) {
    const equals = pair.indexOf('=');
    if (equals !== -1 && pair.slice(0, equals).trim().toLowerCase() === name) return pair.slice(equals + 1);
  }
  return undefined;
}

/** The address in one element of `Forwarded`. */
function addressOfElement(element: string): string | undefined {
  const node = parameterOf(element, 'for');
  return node === undefined ? undefined : addressOfNode(node);
}

/** The nearest hop that is not a trusted proxy. Reads hops backwards, and only as far as needed. */
function lastUntrusted(
  list: string | string[],
  read: (element: string) => string | undefined,
  trustedProxies: BlockList,
): string | undefined {
  const elements = elementsOf(list);
  if (!elements) return undefined;
  for (let i = elements.length - 1; ; i--) {
    const address = read(elements[i] ?? '');
    if (i <= 0 || address === undefined || !isInNetworks(address, trustedProxies)) return address;
  }
}

/**
 * The address from which a request came. Forwarding headers (RFC 7239 `Forwarded`, `X-Forwarded-For`) are read from the
 * nearest hop backwards, as long as each hop is a trusted proxy, so that a client cannot choose its own address. The
 * address is unknown if a header is too long, or if the two headers disagree, because a client then wrote one of them.
 *
 * @param socketAddress the peer of the connection
 * @param headers the request's headers, lower case
 * @param trustedProxies the networks of `TRUSTED_PROXIES`
 * @returns an IPv4 or IPv6 address, or `undefined` when the address is unknown
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
 * Whether the nearest proxy says that it received the request over https. If the two headers for that disagree, a
 * client wrote one of them, so the answer is no.
 *
 * @param headers of a request from a trusted proxy
 */
export function isForwardedHttps(headers: Record<string, string | string[] | undefined>): boolean {
  const { forwarded, 'x-forwarded-proto': proto } = headers;
  const lists = [forwarded, proto].map((list) => (list === undefined ? undefined : elementsOf(list)));
  if ((forwarded !== undefined && !lists[0]) || (proto !== undefined && !lists[1])) return false;
  const [ofForwarded, ofProto] = lists.map((list) => list?.at(-1));
  const said = [
    ofProto?.trim(),
    ofForwarded === undefined ? undefined : parameterOf(ofForwarded, 'proto')?.trim().replaceAll('"', ''),
  ].filter((scheme) => scheme !== undefined);
  return said.length > 0 && said.every((scheme) => scheme.toLowerCase() === 'https');
}
