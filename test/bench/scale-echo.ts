import { parseIpv4 } from '../../net/ipv4.ts';

/** An IPv4 packet with an ICMP echo request of `bytes` in all that carries the time it was sent. */
export function echoPacket(source: string | null, destination: number, bytes: number, stampMs: number): Uint8Array {
  const packet = new Uint8Array(Math.max(bytes, STAMP_AT + 8));
  const view = new DataView(packet.buffer);
  view.setUint16(0, 0x4500);
  view.setUint16(2, packet.length);
  view.setUint16(8, 0x4001);
  view.setUint32(12, (source === null ? undefined : parseIpv4(source)) ?? 0);
  view.setUint32(16, destination);
  view.setUint16(10, checksum(view, 0, 20));
  view.setUint16(20, 0x0800);
  view.setFloat64(STAMP_AT, stampMs);
  view.setUint16(22, checksum(view, 20, packet.length & ~1));
  return packet;
}

export function isEchoReply(packet: Uint8Array): boolean {
  return packet.length >= STAMP_AT + 8 && packet[9] === 1 && packet[20] === 0;
}

export function readStamp(packet: Uint8Array): number {
  return new DataView(packet.buffer, packet.byteOffset).getFloat64(STAMP_AT);
}

function checksum(view: DataView, from: number, to: number): number {
  let sum = 0;
  for (let at = from; at < to; at += 2) sum += view.getUint16(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

const STAMP_AT = 28;
