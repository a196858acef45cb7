/** Which network an IP address belongs to: this machine, a private or special one, or the internet (IANA special-purpose registries). */
import net from 'node:net';

const loopback = new net.BlockList();
loopback.addSubnet('127.0.0.0', 8, 'ipv4');
loopback.addAddress('::1', 'ipv6');

const special = new net.BlockList();
for (const [network, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.0.0.0', 24],
  ['192.0.2.0', 24],
  ['192.88.99.0', 24],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['224.0.0.0', 3],
] as const) {
  special.addSubnet(network, prefix, 'ipv4');
}

/** Global unicast; all other IPv6 addresses are special. */
const globalUnicast = new net.BlockList();
globalUnicast.addSubnet('2000::', 3, 'ipv6');
/** Inside it: protocol assignments and Teredo, documentation, 6to4 (which carries an IPv4 address). */
for (const [network, prefix] of [
  ['2001::', 23],
  ['2001:db8::', 32],
  ['2002::', 16],
  ['3fff::', 20],
] as const) {
  special.addSubnet(network, prefix, 'ipv6');
}

export type AddressKind = 'loopback' | 'special' | 'public';

/** What is no IP address counts as special. */
export function addressKind(address: string): AddressKind {
  const family = net.isIP(address);
  if (family === 0) return 'special';
  if (family === 4) {
    if (loopback.check(address, 'ipv4')) return 'loopback';
    return special.check(address, 'ipv4') ? 'special' : 'public';
  }
  const mapped = mappedAddress(address);
  if (mapped !== undefined) return addressKind(mapped);
  if (loopback.check(address, 'ipv6')) return 'loopback';
  return globalUnicast.check(address, 'ipv6') && !special.check(address, 'ipv6') ? 'public' : 'special';
}

/** The IPv4 address in `::ffff:a.b.c.d`, however it is written. */
function mappedAddress(address: string): string | undefined {
  // A URL brings an IPv6 address into its one short form.
  const short = URL.parse(`http://[${address.replace(/%.*$/, '')}]/`)?.hostname.slice(1, -1);
  const [, high, low] = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/.exec(short ?? '') ?? [];
  if (high === undefined || low === undefined) return undefined;
  const [one, two] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return `${one >> 8}.${one & 255}.${two >> 8}.${two & 255}`;
}

/** `localhost` or an address of this machine, as a URL or a setting has it. */
export function isLoopbackHost(host: string): boolean {
  const bare = host.replace(/^\[|\]$/g, '').toLowerCase();
  return bare === 'localhost' || addressKind(bare) === 'loopback';
}
