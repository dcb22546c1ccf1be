/**
 * The block of addresses that one party is taken to hold, as text that is equal for equal blocks: of IPv4 the address
 * itself or its /24, of IPv6 the first 48, 56 or 64 bits. A subscriber has a /64 at least, a site a /56 or a /48.
 *
 * @param address as sockets show it; IPv4 mapped into IPv6 counts as IPv4
 */
export function addressBlock(address: string, ipv4Bits: 24 | 32, ipv6Bits: 48 | 56 | 64): string {
  const plain = /^::ffff:[0-9.]+$/i.test(address) ? address.slice('::ffff:'.length) : address;
  if (!plain.includes(':')) return ipv4Bits === 32 ? plain : plain.slice(0, plain.lastIndexOf('.'));
  const [head = '', tail] = (plain.split('%', 1)[0] ?? '').split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = tail === undefined ? 0 : Math.max(0, 8 - first.length - last.length);
  const groups = [...first, ...Array<string>(zeros).fill('0'), ...last].slice(0, 4).map((group) => parseInt(group, 16));
  groups[3] = (groups[3] ?? 0) & FOURTH_GROUP[ipv6Bits];
  return groups.map((group) => group.toString(16)).join(':');
}

const FOURTH_GROUP = { 48: 0, 56: 0xff00, 64: 0xffff } as const;
