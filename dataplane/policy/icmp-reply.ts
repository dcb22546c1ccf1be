import { isSpecialAddress } from './evaluate.ts';
import { type Ipv4View, isIcmpError, PROTOCOL_ICMP, writeInt32 } from './ip-packet.ts';

/** IP header, ICMP header, and at most this much of the offending packet (RFC 792 asks for its header and 8 bytes). */
export const ICMP_REPLY_MAX_BYTES = 20 + 8 + 60 + 8;

const ICMP_UNREACHABLE = 3;
/** "Communication administratively prohibited". */
export const CODE_PROHIBITED = 13;
export const CODE_FRAGMENTATION_NEEDED = 4;

/**
 * Whether an ICMP error may answer this packet (RFC 1122 3.2.2): not a later fragment, not an ICMP error itself,
 * not to or from an address that is no single host. Echo replies and the like are answered; a short ICMP is not.
 *
 * The caller has made sure that the source is not spoofed.
 */
export function mayAnswer(bytes: Uint8Array, packet: Ipv4View): boolean {
  if (packet.fragmentOffset !== 0) return false;
  if (packet.protocol === PROTOCOL_ICMP) {
    const type = packet.icmpType(bytes);
    if (type < 0 || isIcmpError(type)) return false;
  }
  return !isManyHosts(packet.destination) && !isSpecialAddress(packet.source);
}

/**
 * Writes an ICMP "destination unreachable" about `packet` (in `bytes`), from `from` to the packet's source.
 *
 * @param extra the low half of the second ICMP word: the next hop's MTU for fragmentation needed, else 0.
 * @returns bytes written at `at`, at most ICMP_REPLY_MAX_BYTES.
 */
export function writeUnreachable(
  bytes: Uint8Array,
  packet: Ipv4View,
  from: number,
  code: number,
  extra: number,
  into: Uint8Array,
  at: number,
): number {
  const quoted = Math.min(packet.totalBytes, packet.headerBytes + 8);
  const total = 28 + quoted;
  into.fill(0, at, at + 28);
  into[at] = 0x45;
  into[at + 2] = total >>> 8;
  into[at + 3] = total;
  into[at + 8] = 64;
  into[at + 9] = PROTOCOL_ICMP;
  writeInt32(into, at + 12, from);
  writeInt32(into, at + 16, packet.source);
  writeChecksum(into, at + 10, at, 20);
  into[at + 20] = ICMP_UNREACHABLE;
  into[at + 21] = code;
  into[at + 26] = extra >>> 8;
  into[at + 27] = extra;
  for (let i = 0; i < quoted; i++) into[at + 28 + i] = bytes[packet.offset + i];
  writeChecksum(into, at + 22, at + 20, 8 + quoted);
  return total;
}

/** The Internet checksum (RFC 1071) of a run of bytes. */
export function internetChecksum(bytes: Uint8Array, offset: number, length: number): number {
  let sum = 0;
  const even = length & ~1;
  for (let i = 0; i < even; i += 2) sum += (bytes[offset + i] << 8) | bytes[offset + i + 1];
  if (even !== length) sum += bytes[offset + even] << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function writeChecksum(bytes: Uint8Array, field: number, offset: number, length: number): void {
  const sum = internetChecksum(bytes, offset, length);
  bytes[field] = sum >>> 8;
  bytes[field + 1] = sum;
}

/** Multicast, reserved and limited broadcast. */
function isManyHosts(address: number): boolean {
  return address >>> 24 >= 224;
}
