/**
 * A bounds-checked view of one IPv4 packet inside a larger buffer. One object is reused for all packets.
 * Addresses are signed 32-bit numbers (the same bits as Ipv4): V8 keeps those without allocating.
 */
export class Ipv4View {
  offset = 0;
  headerBytes = 0;
  /** Header and payload as the packet states it; never more than was there. */
  totalBytes = 0;
  protocol = 0;
  source = 0;
  destination = 0;
  /** In bytes; 0 for the first fragment and for whole packets. */
  fragmentOffset = 0;
  dontFragment = false;

  /**
   * Reads the header at `offset`. @returns false if it is not a well-formed IPv4 packet of at most `length` bytes;
   * the fields are then unspecified.
   */
  read(bytes: Uint8Array, offset: number, length: number): boolean {
    if (length < 20 || offset + length > bytes.length || bytes[offset] >>> 4 !== 4) return false;
    const headerBytes = (bytes[offset] & 15) * 4;
    const totalBytes = (bytes[offset + 2] << 8) | bytes[offset + 3];
    if (headerBytes < 20 || headerBytes > totalBytes || totalBytes > length) return false;
    const fragment = (bytes[offset + 6] << 8) | bytes[offset + 7];
    this.offset = offset;
    this.headerBytes = headerBytes;
    this.totalBytes = totalBytes;
    this.protocol = bytes[offset + 9];
    this.source = readInt32(bytes, offset + 12);
    this.destination = readInt32(bytes, offset + 16);
    this.fragmentOffset = (fragment & 0x1fff) * 8;
    this.dontFragment = (fragment & 0x4000) !== 0;
    return true;
  }

  /** First byte after the IP header, for whole packets and first fragments. */
  payloadOffset(): number {
    return this.offset + this.headerBytes;
  }

  payloadBytes(): number {
    return this.totalBytes - this.headerBytes;
  }

  /**
   * Whether the header's options name further hops (RFC 791: loose and strict source route), or can't be told apart: the
   * destination that routes and rules judge would then not be where the packet ends.
   */
  isSourceRouted(bytes: Uint8Array): boolean {
    const end = this.payloadOffset();
    let at = this.offset + 20;
    while (at < end && bytes[at] !== OPTION_END) {
      if (bytes[at] === OPTION_NOP) {
        at++;
        continue;
      }
      if (bytes[at] === OPTION_LOOSE_ROUTE || bytes[at] === OPTION_STRICT_ROUTE) return true;
      if (at + 1 >= end || bytes[at + 1] < 2) return true;
      at += bytes[at + 1];
    }
    return at > end;
  }

  /** The ICMP type, or −1 if this is no ICMP, a later fragment, or too short for an ICMP header. */
  icmpType(bytes: Uint8Array): number {
    if (this.protocol !== PROTOCOL_ICMP || this.fragmentOffset !== 0 || this.payloadBytes() < 8) return -1;
    return bytes[this.payloadOffset()];
  }

  /** Where the packet that an ICMP error quotes begins; −1 if this is no ICMP error or quotes no whole IPv4 header. */
  quotedOffset(bytes: Uint8Array): number {
    if (!isIcmpError(this.icmpType(bytes)) || this.payloadBytes() < 8 + 20) return -1;
    const quoted = this.payloadOffset() + 8;
    return bytes[quoted] >>> 4 === 4 ? quoted : -1;
  }
}

/** The IP version nibble, 0 for an empty slot. */
export function ipVersion(bytes: Uint8Array, offset: number, length: number): number {
  return length > 0 ? bytes[offset] >>> 4 : 0;
}

export function readInt32(bytes: Uint8Array, offset: number): number {
  return (bytes[offset] << 24) | (bytes[offset + 1] << 16) | (bytes[offset + 2] << 8) | bytes[offset + 3];
}

export function writeInt32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value >>> 24;
  bytes[offset + 1] = value >>> 16;
  bytes[offset + 2] = value >>> 8;
  bytes[offset + 3] = value;
}

/** Destination unreachable, source quench, redirect, time exceeded, parameter problem: never answered with another error. */
export function isIcmpError(type: number): boolean {
  return type === 3 || type === 4 || type === 5 || type === 11 || type === 12;
}

const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_LOOSE_ROUTE = 131;
const OPTION_STRICT_ROUTE = 137;
export const PROTOCOL_ICMP = 1;
export const PROTOCOL_TCP = 6;
export const ICMP_ECHO_REQUEST = 8;
