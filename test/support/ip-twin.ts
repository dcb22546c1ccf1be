/**
 * IPv4, TCP and UDP packets built and split the slow and obvious way, to compare the addon with.
 */
export interface TcpFields {
  readonly source: readonly [string, number];
  readonly destination: readonly [string, number];
  readonly sequence: number;
  readonly acknowledgement?: number;
  readonly flags?: number;
  readonly window?: number;
  readonly options?: Uint8Array;
  readonly id?: number;
  readonly payload: Uint8Array;
}

export const TcpFlag = { Fin: 0x01, Syn: 0x02, Push: 0x08, Ack: 0x10, Cwr: 0x80 } as const;

/** The Internet checksum of the bytes, one 16-bit word at a time. */
export function internetChecksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  for (const part of parts) {
    for (let i = 0; i < part.length; i += 2) sum += (part[i] << 8) | (i + 1 < part.length ? part[i + 1] : 0);
  }
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

export function ipv4Packet(
  protocol: number,
  source: string,
  destination: string,
  inner: Uint8Array,
  id = 1,
): Uint8Array {
  const packet = new Uint8Array(20 + inner.length);
  const view = new DataView(packet.buffer);
  packet.set([0x45, 0]);
  view.setUint16(2, packet.length);
  view.setUint16(4, id & 0xffff);
  view.setUint16(6, 0x4000);
  packet.set([64, protocol], 8);
  packet.set(source.split('.').map(Number), 12);
  packet.set(destination.split('.').map(Number), 16);
  packet.set(inner, 20);
  mendChecksums(packet);
  return packet;
}

export function tcpPacket(fields: TcpFields): Uint8Array {
  const options = fields.options ?? new Uint8Array(0);
  const inner = new Uint8Array(20 + options.length + fields.payload.length);
  const view = new DataView(inner.buffer);
  view.setUint16(0, fields.source[1]);
  view.setUint16(2, fields.destination[1]);
  view.setUint32(4, fields.sequence >>> 0);
  view.setUint32(8, fields.acknowledgement ?? 1);
  inner[12] = ((20 + options.length) / 4) << 4;
  inner[13] = fields.flags ?? TcpFlag.Ack;
  view.setUint16(14, fields.window ?? 500);
  inner.set(options, 20);
  inner.set(fields.payload, 20 + options.length);
  return ipv4Packet(6, fields.source[0], fields.destination[0], inner, fields.id);
}

export function udpPacket(
  source: readonly [string, number],
  destination: readonly [string, number],
  payload: Uint8Array,
  id = 1,
): Uint8Array {
  const inner = new Uint8Array(8 + payload.length);
  const view = new DataView(inner.buffer);
  view.setUint16(0, source[1]);
  view.setUint16(2, destination[1]);
  view.setUint16(4, inner.length);
  inner.set(payload, 8);
  return ipv4Packet(17, source[0], destination[0], inner, id);
}

/** Makes the IP checksum and that of TCP or UDP, in place. */
export function mendChecksums(packet: Uint8Array): void {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length);
  view.setUint16(10, 0);
  view.setUint16(10, internetChecksum(packet.subarray(0, 20)));
  const place = { 6: 36, 17: 26 }[packet[9]];
  if (place === undefined) return;
  view.setUint16(place, 0);
  const sum = internetChecksum(pseudoHeader(packet), packet.subarray(20));
  view.setUint16(place, packet[9] === 17 && sum === 0 ? 0xffff : sum);
}

export function hasValidChecksums(packet: Uint8Array): boolean {
  return (
    internetChecksum(packet.subarray(0, 20)) === 0 && internetChecksum(pseudoHeader(packet), packet.subarray(20)) === 0
  );
}

/** The packets a super-packet of `segmentBytes` stands for. */
export function segmentPacket(packet: Uint8Array, segmentBytes: number): Uint8Array[] {
  const isTcp = packet[9] === 6;
  const headerBytes = 20 + (isTcp ? (packet[32] >> 4) * 4 : 8);
  const source = new DataView(packet.buffer, packet.byteOffset, packet.length);
  const segments: Uint8Array[] = [];
  for (let at = headerBytes; at < packet.length; at += segmentBytes) {
    const payload = packet.subarray(at, at + segmentBytes);
    const isLast = at + segmentBytes >= packet.length;
    const segment = new Uint8Array(headerBytes + payload.length);
    segment.set(packet.subarray(0, headerBytes));
    segment.set(payload, headerBytes);
    const view = new DataView(segment.buffer);
    view.setUint16(2, segment.length);
    view.setUint16(4, (source.getUint16(4) + segments.length) & 0xffff);
    if (isTcp) {
      view.setUint32(24, (source.getUint32(24) + at - headerBytes) >>> 0);
      if (!isLast) segment[33] &= ~(TcpFlag.Fin | TcpFlag.Push);
      if (segments.length > 0) segment[33] &= ~TcpFlag.Cwr;
    } else {
      view.setUint16(24, 8 + payload.length);
    }
    mendChecksums(segment);
    segments.push(segment);
  }
  return segments;
}

function pseudoHeader(packet: Uint8Array): Uint8Array {
  const header = new Uint8Array(12);
  header.set(packet.subarray(12, 20));
  header[9] = packet[9];
  new DataView(header.buffer).setUint16(10, packet.length - 20);
  return header;
}
