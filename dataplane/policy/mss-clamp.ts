import { type Ipv4View, PROTOCOL_TCP } from './ip-packet.ts';

/**
 * Lowers the MSS option of a TCP SYN or SYN-ACK to `maxSegmentBytes`, in place; everything else is left untouched.
 * The checksum is mended incrementally (RFC 1624) unless `partialChecksum`: then the field holds only the
 * pseudo-header's sum and whoever completes it reads the changed option.
 *
 * Every length is checked before use: a lying header leaves the packet as it was (CVE-2017-7508).
 *
 * @param packet already read from `bytes`. @returns whether the option was changed.
 */
export function clampMss(
  bytes: Uint8Array,
  packet: Ipv4View,
  maxSegmentBytes: number,
  partialChecksum: boolean,
): boolean {
  if (packet.protocol !== PROTOCOL_TCP || packet.fragmentOffset !== 0) return false;
  const tcp = packet.payloadOffset();
  const available = packet.payloadBytes();
  if (available < 20 || (bytes[tcp + 13] & SYN) === 0) return false;
  const headerBytes = (bytes[tcp + 12] >>> 4) * 4;
  if (headerBytes < 20 || headerBytes > available) return false;

  const end = tcp + headerBytes;
  let at = tcp + 20;
  while (at < end) {
    const kind = bytes[at];
    if (kind === OPTION_END) return false;
    if (kind === OPTION_NOP) {
      at++;
      continue;
    }
    if (at + 1 >= end) return false;
    const size = bytes[at + 1];
    if (size < 2 || at + size > end) return false;
    if (kind === OPTION_MSS && size === 4) return lower(bytes, tcp, at + 2, maxSegmentBytes, partialChecksum);
    at += size;
  }
  return false;
}

function lower(bytes: Uint8Array, tcp: number, at: number, ceiling: number, partialChecksum: boolean): boolean {
  const announced = (bytes[at] << 8) | bytes[at + 1];
  if (announced <= ceiling) return false;
  const sumAt = tcp + 16;
  const checksum = (bytes[sumAt] << 8) | bytes[sumAt + 1];
  bytes[at] = ceiling >>> 8;
  bytes[at + 1] = ceiling;
  if (partialChecksum) return true;
  // An option at an odd offset lies across two checksum words: its bytes count swapped.
  const odd = ((at - tcp) & 1) === 1;
  const before = odd ? swap16(announced) : announced;
  const after = odd ? swap16(ceiling) : ceiling;
  const mended = updateChecksum(checksum, before, after);
  bytes[sumAt] = mended >>> 8;
  bytes[sumAt + 1] = mended;
  return true;
}

/** RFC 1624: the checksum after one 16-bit word changed. */
function updateChecksum(checksum: number, before: number, after: number): number {
  let sum = (~checksum & 0xffff) + (~before & 0xffff) + after;
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

function swap16(word: number): number {
  return ((word & 0xff) << 8) | (word >>> 8);
}

const SYN = 0x02;
const OPTION_END = 0;
const OPTION_NOP = 1;
const OPTION_MSS = 2;
