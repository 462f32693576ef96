import ipaddr from 'ipaddr.js';

/**
 * Reads an IPv6 address without a zone. The WHATWG URL parser first writes it in one form (RFC 5952), because ipaddr.js
 * takes the deprecated form `::192.0.2.1` for the IPv4-mapped `::ffff:192.0.2.1`.
 */
export const parseIpv6 = (text: string): ipaddr.IPv6 =>
  ipaddr.IPv6.parse(new URL(`http://[${text}]`).hostname.slice(1, -1));
