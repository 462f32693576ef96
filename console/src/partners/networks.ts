const IPV4 = /^(?:(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)(?:\.(?!$)|$)){4}$/;
const MAPPED = /^::ffff:\d+\.\d+\.\d+\.\d+$/i;

/** Whether a text is an IPv6 address, as the browser's URL parser decides. */
function isIpv6(text: string): boolean {
  return /^[0-9a-f:.]+$/i.test(text) && text.includes(':') && URL.canParse(`http://[${text}]/`);
}

/**
 * Checks an entry of an allow-list by the API's rules.
 *
 * @param entry an IPv4 or IPv6 address, or a network in CIDR form
 * @returns a sentence about the problem, or `undefined` when the entry is valid
 */
export function networkProblem(entry: string): string | undefined {
  const [address = '', prefix, ...rest] = entry.split('/');
  const isV4 = IPV4.test(address);
  if ((!isV4 && !isIpv6(address)) || rest.length > 0) {
    return `“${entry}” is not an IP address. Examples: 192.0.2.7, 192.0.2.0/24, 2001:db8::/32`;
  }
  if (prefix === undefined) return undefined;
  const least = MAPPED.test(address) ? 96 : 0;
  const most = isV4 ? 32 : 128;
  if (!/^\d{1,3}$/.test(prefix) || Number(prefix) < least || Number(prefix) > most) {
    return `“${entry}”: the number after the slash must be from ${String(least)} to ${String(most)}`;
  }
  return undefined;
}
