import { isIPv6 } from 'node:net';
import { Environment } from '@marcbachmann/cel-js';
import { formatIpv4, parseIpv4 } from '../net/ipv4.ts';
import { ipv4Mask } from '../net/ipv4-prefix.ts';

/** An address as Kubernetes' CEL library sees it; IPv6 as eight 16-bit groups. */
class CelIp {
  readonly family: 4 | 6;
  readonly bits: bigint;
  constructor(family: 4 | 6, bits: bigint) {
    this.family = family;
    this.bits = bits;
  }
}

class CelCidr {
  readonly ip: CelIp;
  readonly length: number;
  constructor(ip: CelIp, length: number) {
    this.ip = ip;
    this.length = length;
  }
}

/** Thrown by `ip()` and `cidr()` for text that is neither, as in Kubernetes: the rule then fails. */
class CelConversionError extends Error {
  override readonly name = 'CelConversionError';
}

/**
 * CEL as Kubernetes offers it to `x-kubernetes-validations`: the standard language with `self` and
 * `oldSelf`, and the IP and CIDR libraries.
 *
 * @see https://kubernetes.io/docs/reference/using-api/cel/ "Kubernetes IP address library", "CIDR library"
 */
export function celEnvironment(): Environment {
  return new Environment({ homogeneousAggregateLiterals: false })
    .registerVariable('self', 'dyn')
    .registerVariable('oldSelf', 'dyn')
    .registerType('net.IP', { ctor: CelIp, fields: {} })
    .registerType('net.CIDR', { ctor: CelCidr, fields: {} })
    .registerOperator('net.IP == net.IP', equalIps)
    .registerOperator('net.CIDR == net.CIDR', (a: CelCidr, b: CelCidr) => a.length === b.length && equalIps(a.ip, b.ip))
    .registerFunction('isIP(string): bool', (text: string) => parseIp(text) !== undefined)
    .registerFunction('ip(string): net.IP', ipOrThrow)
    .registerFunction('net.IP.family(): int', (ip: CelIp) => BigInt(ip.family))
    .registerFunction('net.IP.isUnspecified(): bool', (ip: CelIp) => ip.bits === 0n)
    .registerFunction('net.IP.isLoopback(): bool', isLoopback)
    .registerFunction('string(net.IP): string', formatIp)
    .registerFunction('isCIDR(string): bool', (text: string) => parseCidr(text) !== undefined)
    .registerFunction('cidr(string): net.CIDR', cidrOrThrow)
    .registerFunction('net.CIDR.ip(): net.IP', (cidr: CelCidr) => cidr.ip)
    .registerFunction('net.CIDR.prefixLength(): int', (cidr: CelCidr) => BigInt(cidr.length))
    .registerFunction('net.CIDR.masked(): net.CIDR', masked)
    .registerFunction('net.CIDR.containsIP(net.IP): bool', containsIp)
    .registerFunction('net.CIDR.containsIP(string): bool', (cidr: CelCidr, text: string) =>
      containsIp(cidr, ipOrThrow(text)),
    )
    .registerFunction('net.CIDR.containsCIDR(net.CIDR): bool', containsCidr)
    .registerFunction('net.CIDR.containsCIDR(string): bool', (cidr: CelCidr, text: string) =>
      containsCidr(cidr, cidrOrThrow(text)),
    )
    .registerFunction('string(net.CIDR): string', (cidr: CelCidr) => `${formatIp(cidr.ip)}/${cidr.length}`);
}

function equalIps(a: CelIp, b: CelIp): boolean {
  return a.family === b.family && a.bits === b.bits;
}

function parseIp(text: string): CelIp | undefined {
  const ipv4 = parseIpv4(text);
  if (ipv4 !== undefined) return new CelIp(4, BigInt(ipv4));
  // Kubernetes refuses zones and IPv4 in IPv6 clothing.
  if (!isIPv6(text) || text.includes('%') || text.includes('.')) return undefined;
  const [head = '', tail] = text.split('::');
  const groups = (part: string): readonly string[] => (part === '' ? [] : part.split(':'));
  const left = groups(head);
  const right = groups(tail ?? '');
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length;
  const all = [...left, ...Array.from({ length: zeros }, () => '0'), ...right];
  return new CelIp(
    6,
    all.reduce((bits, group) => (bits << 16n) | BigInt(`0x${group}`), 0n),
  );
}

function parseCidr(text: string): CelCidr | undefined {
  const slash = text.indexOf('/');
  if (slash < 0) return undefined;
  const ip = parseIp(text.slice(0, slash));
  const length = text.slice(slash + 1);
  if (ip === undefined || !/^(0|[1-9][0-9]{0,2})$/.test(length)) return undefined;
  return Number(length) > width(ip) ? undefined : new CelCidr(ip, Number(length));
}

function ipOrThrow(text: string): CelIp {
  const ip = parseIp(text);
  if (ip === undefined) throw new CelConversionError(`${JSON.stringify(text)} is not an IP address`);
  return ip;
}

function cidrOrThrow(text: string): CelCidr {
  const cidr = parseCidr(text);
  if (cidr === undefined) throw new CelConversionError(`${JSON.stringify(text)} is not a CIDR`);
  return cidr;
}

function masked(cidr: CelCidr): CelCidr {
  return new CelCidr(new CelIp(cidr.ip.family, network(cidr.ip, cidr.length)), cidr.length);
}

function containsIp(cidr: CelCidr, ip: CelIp): boolean {
  return cidr.ip.family === ip.family && network(ip, cidr.length) === network(cidr.ip, cidr.length);
}

function containsCidr(outer: CelCidr, inner: CelCidr): boolean {
  return outer.length <= inner.length && containsIp(outer, inner.ip);
}

function network(ip: CelIp, length: number): bigint {
  if (ip.family === 4) return BigInt((Number(ip.bits) & ipv4Mask(length)) >>> 0);
  const host = BigInt(width(ip) - length);
  return (ip.bits >> host) << host;
}

function width(ip: CelIp): number {
  return ip.family === 4 ? 32 : 128;
}

function isLoopback(ip: CelIp): boolean {
  return ip.family === 4 ? ip.bits >> 24n === 127n : ip.bits === 1n;
}

function formatIp(ip: CelIp): string {
  if (ip.family === 4) return formatIpv4(Number(ip.bits));
  const groups = Array.from({ length: 8 }, (_, index) =>
    ((ip.bits >> BigInt(112 - 16 * index)) & 0xffffn).toString(16),
  );
  // RFC 5952: the longest run of zero groups, the first of equals, at least two long.
  const runs = [...groups.join(':').matchAll(/\b0(?::0\b)+/g)].map((match) => match[0]);
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), '');
  if (longest === '') return groups.join(':');
  const [before = '', ...rest] = groups.join(':').split(longest);
  return `${before.replace(/:$/, '')}::${rest.join(longest).replace(/^:/, '')}`;
}
