import { formatIpv4, parseIpv4, type Ipv4 } from './ipv4.ts';

/** An IPv4 network: `address` has no bit set below `length` (0–32). */
export interface Ipv4Prefix {
  readonly address: Ipv4;
  readonly length: number;
}

/** The netmask of a prefix length, as an unsigned 32-bit number. */
export function ipv4Mask(length: number): Ipv4 {
  // A shift by 32 is a shift by 0 in JavaScript, so /0 needs its own case.
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
}

/** Parses `a.b.c.d/n`; host bits are refused. */
export function parseIpv4Prefix(text: string): Ipv4Prefix | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const address = parseIpv4(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (address === undefined || !/^(0|[1-9][0-9]?)$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  if (length > 32 || (address & ipv4Mask(length)) >>> 0 !== address) return undefined;
  return { address, length };
}

export function formatIpv4Prefix(prefix: Ipv4Prefix): string {
  return `${formatIpv4(prefix.address)}/${prefix.length}`;
}

export function prefixContainsAddress(prefix: Ipv4Prefix, address: Ipv4): boolean {
  return (address & ipv4Mask(prefix.length)) >>> 0 === prefix.address;
}

/** Whether `inner` lies in `outer` (equal prefixes do). */
export function prefixContains(outer: Ipv4Prefix, inner: Ipv4Prefix): boolean {
  return outer.length <= inner.length && prefixContainsAddress(outer, inner.address);
}

export function prefixesOverlap(a: Ipv4Prefix, b: Ipv4Prefix): boolean {
  return prefixContains(a, b) || prefixContains(b, a);
}

/** The number of addresses in the network, 1 to 2^32. */
export function prefixSize(prefix: Ipv4Prefix): number {
  return 2 ** (32 - prefix.length);
}
