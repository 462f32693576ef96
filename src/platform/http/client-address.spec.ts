import { BlockList } from 'node:net';
import { parseNetworks } from '../config/networks.ts';
import { clientAddress, isForwardedHttps, isInNetworks, networkOf } from './client-address.ts';

const networks = (text: string): BlockList => {
  const parsed = parseNetworks(text);
  if (!parsed) throw new Error('The networks cannot be read');
  return parsed;
};
const TRUSTED = networks('10.0.0.0/8, 192.168.1.1, 2001:db8:ffff::/48');

const xff = (value: string): Record<string, string> => ({ 'x-forwarded-for': value });
const forwarded = (value: string): Record<string, string> => ({ forwarded: value });

describe('the address of a client', () => {
  it.each([
    ['IPv4', '192.0.2.1', '192.0.2.1'],
    ['IPv6, in lower case', '2001:DB8::1', '2001:db8::1'],
    ['IPv4-mapped IPv6', '::ffff:192.0.2.1', '192.0.2.1'],
    ['IPv4-mapped IPv6 in capitals', '::FFFF:192.0.2.1', '192.0.2.1'],
    ['IPv4-mapped IPv6 in hexadecimal', '::ffff:c000:201', '192.0.2.1'],
    ['IPv4-mapped IPv6 in full', '0:0:0:0:0:ffff:c000:0201', '192.0.2.1'],
    ['IPv4-mapped IPv6 in full with dots', '0000:0000:0000:0000:0000:ffff:192.0.2.1', '192.0.2.1'],
    ['the mapped 0.0.0.0', '::ffff:0:0', '0.0.0.0'],
    ['what only looks mapped', '::1:ffff:c000:201', '::1:ffff:c000:201'],
    ['the deprecated IPv4-compatible form, which is IPv6', '::192.0.2.1', '::192.0.2.1'],
    ['a zone', 'fe80::1%eth0', 'fe80::1'],
    ['the loopback', '::1', '::1'],
    ['none', undefined, undefined],
    ['a socket that is none of these', '/run/latchkey.sock', undefined],
    ['nothing', '', undefined],
  ])('is that of the peer without forwarding headers: %s', (_, peer, expected) => {
    expect(clientAddress(peer, {}, TRUSTED)).toBe(expected);
  });

  it.each([
    ['X-Forwarded-For', xff('203.0.113.9')],
    ['Forwarded', forwarded('for=203.0.113.9')],
    ['both', { ...xff('203.0.113.9'), ...forwarded('for=203.0.113.9') }],
    ['a header that claims a trusted proxy', xff('203.0.113.9, 10.0.0.1')],
    ['nonsense', { ...xff('%%%'), ...forwarded(';;,,==') }],
  ])('is that of the peer when the peer is no trusted proxy, whatever it sends: %s', (_, headers) => {
    for (const peer of ['192.0.2.1', '192.168.1.2', '11.0.0.1', '9.255.255.255']) {
      expect(clientAddress(peer, headers, TRUSTED)).toBe(peer);
    }
    expect(clientAddress('2001:db8:fffe:ffff::1', headers, TRUSTED)).toBe('2001:db8:fffe:ffff::1');
    expect(clientAddress('10.0.0.1', headers, new BlockList())).toBe('10.0.0.1');
    expect(clientAddress(undefined, headers, TRUSTED)).toBeUndefined();
  });

  it.each([
    ['one hop', '203.0.113.9', '203.0.113.9'],
    ['the last hop that is no proxy', '198.51.100.1, 203.0.113.9', '203.0.113.9'],
    ['what a client put in front of it', '10.0.0.1, 127.0.0.1, 203.0.113.9', '203.0.113.9'],
    ['trusted proxies in between', '203.0.113.9, 10.0.0.2,192.168.1.1', '203.0.113.9'],
    ['a trusted proxy behind an untrusted one', '198.51.100.1, 10.0.0.7, 203.0.113.9, 10.0.0.2', '203.0.113.9'],
    ['a mapped proxy', '203.0.113.9, ::ffff:10.0.0.2', '203.0.113.9'],
    ['a mapped client', '::ffff:203.0.113.9', '203.0.113.9'],
    ['a mapped client in hexadecimal', '::ffff:cb00:7109', '203.0.113.9'],
    ['IPv6', '2001:DB8::7', '2001:db8::7'],
    ['an IPv6 proxy', '2001:db8::7, 2001:db8:ffff::1', '2001:db8::7'],
    ['a port', '203.0.113.9:4711', '203.0.113.9'],
    ['IPv6 in brackets', '[2001:db8::7]', '2001:db8::7'],
    ['IPv6 with a port', '[2001:db8::7]:443', '2001:db8::7'],
    ['quotes', '"203.0.113.9"', '203.0.113.9'],
    ['a zone', 'fe80::7%eth0', 'fe80::7'],
    ['only proxies: the first of them', '10.0.0.3, 10.0.0.2', '10.0.0.3'],
    ['spaces', '  203.0.113.9  ', '203.0.113.9'],
  ])('is read from X-Forwarded-For of a trusted proxy: %s', (_, list, expected) => {
    for (const peer of ['10.0.0.1', '::ffff:10.0.0.1', '192.168.1.1', '2001:db8:ffff::2']) {
      expect(clientAddress(peer, xff(list), TRUSTED)).toBe(expected);
    }
  });

  it.each([
    ['one hop', 'for=203.0.113.9', '203.0.113.9'],
    ['other parameters, any case', 'By=10.0.0.1;FOR=203.0.113.9;proto=https', '203.0.113.9'],
    ['quotes and a port', 'for="203.0.113.9:4711"', '203.0.113.9'],
    ['IPv6', 'for="[2001:db8::7]:4711";proto=http', '2001:db8::7'],
    ['a mapped address', 'for="[::ffff:203.0.113.9]"', '203.0.113.9'],
    ['what a client put in front of it', 'for=10.0.0.1, for=198.51.100.1, for=203.0.113.9', '203.0.113.9'],
    ['trusted proxies in between', 'for=203.0.113.9;proto=https, for=10.0.0.2', '203.0.113.9'],
    ['spaces', ' proto=https ; for = 203.0.113.9 ', '203.0.113.9'],
  ])('is read from Forwarded of a trusted proxy: %s', (_, header, expected) => {
    expect(clientAddress('10.0.0.1', forwarded(header), TRUSTED)).toBe(expected);
  });

  it.each([
    ['an obfuscated hop', forwarded('for=203.0.113.9, for=_hidden')],
    ['an unknown hop', forwarded('for=unknown')],
    ['an element without a hop', forwarded('for=203.0.113.9, proto=https')],
    ['nothing in the list', xff('')],
    ['an empty last element', xff('203.0.113.9,')],
    ['a name', xff('client.example')],
    ['a name in front of a proxy', xff('client.example, 10.0.0.2')],
    ['a number', xff('3405803785')],
    ['a short form', xff('203.0.113')],
    ['octal digits', xff('0203.0.113.011')],
    ['a network', xff('203.0.113.0/24')],
    ['a bracket that does not close', xff('[2001:db8::7')],
    ['a port that is too long', xff('203.0.113.9:123456')],
    ['an address with a script', xff('203.0.113.9<script>')],
    ['two headers that disagree', { ...xff('203.0.113.9'), ...forwarded('for=198.51.100.1') }],
    ['two headers of which one is obfuscated', { ...xff('203.0.113.9'), ...forwarded('for=_x') }],
    ['two headers of which one is broken', { ...xff('nobody'), ...forwarded('for=203.0.113.9') }],
  ])('is unknown when a trusted proxy sends %s', (_, headers) => {
    expect(clientAddress('10.0.0.1', headers, TRUSTED)).toBeUndefined();
  });

  it('is read from both headers when they agree, in any spelling', () => {
    const headers = { ...xff('::ffff:cb00:7109, 10.0.0.2'), ...forwarded('for="203.0.113.9:80"') };
    expect(clientAddress('10.0.0.1', headers, TRUSTED)).toBe('203.0.113.9');
  });

  it('is read from several header lines as from one list', () => {
    const headers = { 'x-forwarded-for': ['198.51.100.1', '203.0.113.9, 10.0.0.2'] };
    expect(clientAddress('10.0.0.1', headers, TRUSTED)).toBe('203.0.113.9');
  });

  it.each([
    ['addresses', '203.0.113.9,'.repeat(2500)],
    ['proxies', '10.0.0.2,'.repeat(3500)],
    ['colons', ':'.repeat(32_000)],
    ['brackets', '['.repeat(32_000)],
    ['quotes', '"'.repeat(32_000)],
    ['spaces', ' '.repeat(32_000)],
    ['digits', '1'.repeat(32_000)],
    ['pairs', 'for=;'.repeat(6_000)],
    ['IPv6 proxies', '2001:db8:ffff::1,'.repeat(1_900)],
  ])('costs little for any header: 32 KiB of %s', (_, value) => {
    // The first runs include compilation, so they are not measured.
    for (let i = 0; i < 3; i++) clientAddress('10.0.0.1', { ...xff(value), ...forwarded(value) }, TRUSTED);
    const times = Array.from({ length: 9 }, () => {
      const started = performance.now();
      clientAddress('10.0.0.1', { ...xff(value), ...forwarded(value) }, TRUSTED);
      return performance.now() - started;
    });
    expect(Math.min(...times)).toBeLessThan(5);
  });
});

describe('the network of an address', () => {
  it.each([
    ['192.0.2.1', '192.0.2.1'],
    ['2001:db8:1:2::1', '2001:db8:1:2::/64'],
    ['2001:db8:1:2:ffff:ffff:ffff:ffff', '2001:db8:1:2::/64'],
    ['2001:0db8:0001:0002:0000:0000:0000:0001', '2001:db8:1:2::/64'],
    ['2001:db8:1:3::1', '2001:db8:1:3::/64'],
    ['2001:db8::1', '2001:db8:0:0::/64'],
    ['::1', '0:0:0:0::/64'],
    ['2001:db8:1:2::192.0.2.1', '2001:db8:1:2::/64'],
  ])('of %s is %s', (address, expected) => {
    expect(networkOf(address)).toBe(expected);
  });
});

describe('an address in networks', () => {
  it.each([
    ['10.255.255.255', true],
    ['11.0.0.0', false],
    ['192.168.1.1', true],
    ['192.168.1.0', false],
    ['2001:db8:ffff:ffff::1', true],
    ['2001:db8:fffe::1', false],
    ['::', false],
  ])('%s: %p', (address, expected) => {
    expect(isInNetworks(address, TRUSTED)).toBe(expected);
  });
});

describe('forwarding headers that no chain of proxies writes', () => {
  const client = '203.0.113.9';
  const hops = (count: number, hop: string): string => Array<string>(count).fill(hop).join(', ');

  it.each([
    ['32 elements', xff(`${client}, ${hops(31, '10.0.0.2')}`), client],
    ['33 elements', xff(`${client}, ${hops(32, '10.0.0.2')}`), undefined],
    ['33 elements of Forwarded', forwarded(hops(33, `for=${client}`)), undefined],
    ['2,048 bytes', xff(`${' '.repeat(2_048 - client.length)}${client}`), client],
    ['2,049 bytes', xff(`${' '.repeat(2_049 - client.length)}${client}`), undefined],
    ['2,049 bytes in two lines', { 'x-forwarded-for': [client, `${' '.repeat(2_040)}${client}`] }, undefined],
    ['one that is too long beside one that is not', { ...xff(client), ...forwarded(hops(33, 'for=a')) }, undefined],
  ])('are read quickly: %s', (_, headers, expected) => {
    expect(clientAddress('10.0.0.1', headers, TRUSTED)).toBe(expected);
  });

  it('take no longer than their length', () => {
    const header = forwarded(`for=${client};proto=a${' '.repeat(30_000)}b`);
    const before = process.cpuUsage();
    for (let i = 0; i < 1_000; i++) {
      clientAddress('10.0.0.1', header, TRUSTED);
      isForwardedHttps(header);
    }
    // An expression that rescans every space would take 400 s.
    expect(process.cpuUsage(before).user).toBeLessThan(1_000_000);
  });
});

describe('the scheme behind a proxy', () => {
  it.each([
    [{}, false],
    [{ 'x-forwarded-proto': 'https' }, true],
    [{ 'x-forwarded-proto': 'HTTPS' }, true],
    [{ 'x-forwarded-proto': 'http, https' }, true],
    [{ 'x-forwarded-proto': 'https, http' }, false],
    [{ forwarded: 'for=192.0.2.1;proto=https' }, true],
    [{ forwarded: 'for=192.0.2.1; Proto="https"' }, true],
    [{ forwarded: 'proto=https;for=192.0.2.1, for=192.0.2.2;proto=http' }, false],
    [{ forwarded: 'for=192.0.2.1' }, false],
    [{ forwarded: 'for=192.0.2.1;proto=https', 'x-forwarded-proto': 'http' }, false],
    [{ forwarded: 'for=192.0.2.1', 'x-forwarded-proto': 'https' }, true],
    [{ forwarded: `for=192.0.2.1;by=${'x'.repeat(2_048)}`, 'x-forwarded-proto': 'https' }, false],
    [{ forwarded: `${'for=192.0.2.1,'.repeat(32)}proto=https` }, false],
    [{ 'x-forwarded-proto': `${'http,'.repeat(32)}https` }, false],
  ])('%p is https: %p', (headers, isHttps) => {
    expect(isForwardedHttps(headers)).toBe(isHttps);
  });
});
